"""What a protocol is: waits, causes, handlers and the machine that runs them. Pure.

Nothing in this package imports a socket, a selector, a clock, a thread or the reactor, so a
handler runs wherever Python does. Filters stand between a machine and its connection (`filter`), or
between a machine and its datagrams (`packet_filter`).

`wait`           the base classes of waits
`waits`          the waits for bytes, packets and time
`first`          the first of several waits; a wait that the peer may break off
`causes`         why a wait fails, and a request ends
`handler`        the base classes of handlers, and what a handler may ask of the outside
`states`         states, which are methods or coroutines, and errors about what they return
`machine`        runs a handler; what is common to streams and datagrams
`machines`       the machine for the bytes of a stream; `datagrams` has that for packets
`world`          what a machine has in the place of a row, where there is no reactor
`files`          output with files in it
`saying`         ``str()`` and ``repr()`` that never raise
`channel`        what a row may ask of a machine, and of the filters in front of it
`filter`         filters of streams; `packet_filter` has those of datagrams
`link`           runs a filter of streams, `packet_link` one of datagrams; `base_link` has what both have in common
`wire`           the bytes that a filter has put and that have not been sent
`elsewhere`      the waits for a call in a child or a thread
`programs`       the wait for another program
`connected`      the wait for a connection that a handler opens
`events`         waits for other requests; `sources` has what they have in common
`duplicates`     a mix-in for clients that send a request again
`refusal`        a mix-in that sends the answer with which a request is refused
`telnet`         lines of text with commands among them
`services`       echo, discard, daytime, time and character generator
`blocking`       the blocking handlers of ``socketserver``
`auth`           authentication
`http`           HTTP/1.1 and WebSocket
`sunrpc`         ONC RPC
"""

from .causes import Cancelled, Cause, EndOfStream, Failed, LimitPassed, RequestRefused, Reset, TimedOut, TooEarly
from .datagrams import DatagramMachine
from .first import FirstOf, InputEnded, WhileConnected
from .handler import DatagramHandler, Handler, StreamHandler
from .machine import Machine
from .machines import StreamMachine
from .wait import StreamWait, Wait
from .waits import (
    FEED,
    REFUSE,
    Delay,
    Exactly,
    Filtered,
    Flushed,
    Outside,
    Packet,
    Relayed,
    Some,
    ToEnd,
    Until,
    UntilAny,
)
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .blocking import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
    from .connected import Connected
    from .elsewhere import Elsewhere, Forked, Threaded
    from .events import Event, Happened, Queue, QueueFull, Taken
    from .filter import Filter, chain
    from .handler import State as State  # what annotations of handlers are made of
    from .handler import Step as Step
    from .packet_filter import PacketFilter
    from .programs import Finished, Ran

__all__ = [
    "FEED",
    "REFUSE",
    "BaseRequestHandler",
    "Cancelled",
    "Cause",
    "Connected",
    "DatagramHandler",
    "DatagramMachine",
    "DatagramRequestHandler",
    "Delay",
    "Elsewhere",
    "EndOfStream",
    "Event",
    "Exactly",
    "Failed",
    "Filter",
    "Filtered",
    "Finished",
    "FirstOf",
    "Flushed",
    "Forked",
    "Handler",
    "Happened",
    "InputEnded",
    "LimitPassed",
    "Machine",
    "Outside",
    "Packet",
    "PacketFilter",
    "Queue",
    "QueueFull",
    "Ran",
    "Relayed",
    "RequestRefused",
    "Reset",
    "Some",
    "StreamHandler",
    "StreamMachine",
    "StreamRequestHandler",
    "StreamWait",
    "Taken",
    "Threaded",
    "TimedOut",
    "ToEnd",
    "TooEarly",
    "Until",
    "UntilAny",
    "Wait",
    "WhileConnected",
    "World",
    "chain",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is here

    def __getattr__(name):
        """Import what most programs do not need when it is named (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in ("Filter", "chain"):
            from . import filter as module
        elif name == "PacketFilter":
            from . import packet_filter as module
        elif name in ("Elsewhere", "Forked", "Threaded"):
            from . import elsewhere as module
        elif name in ("Event", "Happened", "Queue", "QueueFull", "Taken"):
            from . import events as module
        elif name == "Connected":
            from . import connected as module
        elif name in ("Finished", "Ran"):
            from . import programs as module
        else:
            from . import blocking as module

        return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
