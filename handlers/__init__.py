"""What a protocol is: waits, causes, handlers and the machine that runs them. Pure.

Nothing in this package imports a socket, a selector, a clock, a thread or the reactor, so a
handler runs wherever Python does.
"""

from .handler import DatagramHandler, Handler, StreamHandler, World
from .machine import Machine
from .machines import DatagramMachine, StreamMachine
from .waits import (
    Cancelled,
    Cause,
    Connected,
    Delay,
    Elsewhere,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Forked,
    LimitPassed,
    Packet,
    Reset,
    Some,
    StreamWait,
    Threaded,
    TimedOut,
    ToEnd,
    Until,
    Wait,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .blocking import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
    from .handler import State as State  # what annotations of handlers are made of
    from .handler import Step as Step

__all__ = [
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
    "Exactly",
    "Failed",
    "Flushed",
    "Forked",
    "Handler",
    "LimitPassed",
    "Machine",
    "Packet",
    "Reset",
    "Some",
    "StreamHandler",
    "StreamMachine",
    "StreamRequestHandler",
    "StreamWait",
    "Threaded",
    "TimedOut",
    "ToEnd",
    "Until",
    "Wait",
    "World",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is here

    def __getattr__(name):
        """Import ``socketserver``'s blocking handlers when one is named (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import blocking

        return getattr(blocking, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
