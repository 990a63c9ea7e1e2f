"""A select-based multiplexing reactor: it runs the protocols that are defined with the package `handlers`.

``import reactor as socketserver`` works: every public name of the standard library's module is here and behaves the
same. Protocols themselves are in the package `handlers`, which is also `reactor.handlers`.

The rooms, from the bottom up; a room imports only from those above it in this list:

    handlers/   protocols: waits, handlers, machines, filters. Pure
    loop/       the event loop: selectors, timers, signals, children. Knows no row
    table/      open requests: rows, the table, the reactor (a loop and its table)
    rows/       from readiness to channel: connections, exchanges of datagrams, calls, filters
    servers/    the contract of socketserver: arrivals, admission, the queue
    modes/      what drives a request: the loop, a child or a thread; the work of Forked and Threaded
    monitor/    observation: what blocks the loop
    command/    ``python3 -m reactor``
    testing/    tests of handlers, and of the reactor itself; no other room needs it

The life of a row:

    listener -> accept -> admission -> QUEUED -> OPENING -> SERVING -> DRAINING -> LINGERING -> ENDED
                                       waits     a filter   the        the output  the peer     reaped, and an
                                       its turn  opens      handler    drains      has not      entry of
                                                            runs                   ended        table.closed

The way of a byte: kernel -> row.ready -> (filters) -> machine.feed -> state -> send -> outbox -> (filters) -> kernel.
After each batch of events, the rows that it has touched are settled; then the rows that have ended are reaped.

A public name is imported when it is first used, with the one module that it is in (PEP 562); after that it is an
ordinary name of this package. A reactor or server imports what else serving may need, as far as the program has
imported what needs it, such as the wait `Forked` (`table.preparing`).
"""

import socket as _socket

from . import aliasing as _aliasing  # noqa: F401 - first: the others import reactor.handlers
from .table.preparing import preparations as _preparations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .handlers import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
    from .modes.forking import (
        ForkingMixIn,
        ForkingTCPServer,
        ForkingUDPServer,
        ForkingUnixDatagramServer,
        ForkingUnixStreamServer,
    )
    from .modes.prefork import (
        PreforkMixIn,
        PreforkTCPServer,
        PreforkUDPServer,
        PreforkUnixDatagramServer,
        PreforkUnixStreamServer,
    )
    from .modes.select import SelectMixIn, SelectTCPServer
    from .modes.select_udp import SelectUDPServer
    from .modes.select_unix import SelectUnixDatagramServer, SelectUnixStreamServer
    from .modes.threading import (
        ThreadingMixIn,
        ThreadingTCPServer,
        ThreadingUDPServer,
        ThreadingUnixDatagramServer,
        ThreadingUnixStreamServer,
    )
    from .servers.base import BaseServer
    from .servers.tcp import TCPServer
    from .servers.udp import UDPServer
    from .servers.unix import UnixDatagramServer, UnixStreamServer
    from .table.reactor import Reactor
    from .table.request import Request
    from .table.table import RequestTable

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
    "ForkingMixIn",
    "ForkingTCPServer",
    "ForkingUDPServer",
    "PreforkMixIn",
    "PreforkTCPServer",
    "PreforkUDPServer",
    "Reactor",
    "Request",
    "RequestTable",
    "SelectMixIn",
    "SelectTCPServer",
    "SelectUDPServer",
    "StreamRequestHandler",
    "TCPServer",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "UDPServer",
]

if hasattr(_socket, "AF_UNIX"):
    __all__ += [
        "ForkingUnixDatagramServer",
        "ForkingUnixStreamServer",
        "PreforkUnixDatagramServer",
        "PreforkUnixStreamServer",
        "SelectUnixDatagramServer",
        "SelectUnixStreamServer",
        "ThreadingUnixDatagramServer",
        "ThreadingUnixStreamServer",
        "UnixDatagramServer",
        "UnixStreamServer",
    ]


_MODULES = {
    ".handlers.blocking": ("BaseRequestHandler", "DatagramRequestHandler", "StreamRequestHandler"),
    ".modes.forking": (
        "ForkingMixIn", "ForkingTCPServer", "ForkingUDPServer", "ForkingUnixDatagramServer", "ForkingUnixStreamServer",
    ),
    ".modes.prefork": (
        "PreforkMixIn", "PreforkTCPServer", "PreforkUDPServer", "PreforkUnixDatagramServer", "PreforkUnixStreamServer",
    ),
    ".modes.select": ("SelectMixIn", "SelectTCPServer"),
    ".modes.select_udp": ("SelectUDPServer",),
    ".modes.select_unix": ("SelectUnixDatagramServer", "SelectUnixStreamServer"),
    ".modes.threading": (
        "ThreadingMixIn", "ThreadingTCPServer", "ThreadingUDPServer", "ThreadingUnixDatagramServer",
        "ThreadingUnixStreamServer",
    ),
    ".servers.base": ("BaseServer",),
    ".servers.tcp": ("TCPServer",),
    ".servers.udp": ("UDPServer",),
    ".servers.unix": ("UnixDatagramServer", "UnixStreamServer"),
    ".table.reactor": ("Reactor",),
    ".table.request": ("Request",),
    ".table.table": ("RequestTable",),
}  # fmt: skip
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def _prepare() -> None:
    """Import what does the work of the waits that the program has imported: those modules register themselves."""
    from . import handlers

    known = vars(handlers)
    if "filter" in known:
        from .table import steps  # noqa: F401
    if "connected" in known:
        from .rows import connecting  # noqa: F401
    if "programs" in known:
        from .modes import programs  # noqa: F401
    if "elsewhere" in known:
        from .modes import jobs  # noqa: F401
    if "blocking" in known and "buffered" in vars(known["blocking"]):
        from .modes import answering  # noqa: F401


_preparations.append(_prepare)

if not TYPE_CHECKING:  # a checker would take any name for one that is here

    def __getattr__(name):
        """Import a public name when it is first used (PEP 562), so that a program loads only what it uses."""
        found = _find(name)
        globals()[name] = found
        return found

    def _find(name):
        if name == "handlers":
            return _module(".handlers")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_module(_HOMES[name]), name)

    def _module(name):
        """The module of that name below this package. Without `importlib`, whose import brings in three modules."""
        return __import__(__name__ + name, fromlist=("__name__",))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
