"""A select-based multiplexing reactor: where and when protocols run.

``import reactor as socketserver`` works: every public name of the standard library's module is
here and behaves the same. Protocols themselves are in the package ``handlers``.
"""

import socket as _socket

from .loop import Reactor
from .request import Request
from .table import RequestTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler

    from .modes import (
        ForkingMixIn,
        ForkingTCPServer,
        ForkingUDPServer,
        ForkingUnixDatagramServer,
        ForkingUnixStreamServer,
        SelectMixIn,
        SelectTCPServer,
        SelectUDPServer,
        SelectUnixDatagramServer,
        SelectUnixStreamServer,
        ThreadingMixIn,
        ThreadingTCPServer,
        ThreadingUDPServer,
        ThreadingUnixDatagramServer,
        ThreadingUnixStreamServer,
    )
    from .packets import UDPServer
    from .server import BaseServer
    from .stream import TCPServer
    from .unix import UnixDatagramServer, UnixStreamServer

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
    "ForkingMixIn",
    "ForkingTCPServer",
    "ForkingUDPServer",
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
        "SelectUnixDatagramServer",
        "SelectUnixStreamServer",
        "ThreadingUnixDatagramServer",
        "ThreadingUnixStreamServer",
        "UnixDatagramServer",
        "UnixStreamServer",
    ]

if not TYPE_CHECKING:  # a checker would take any name for one that is here

    def __getattr__(name):
        """Import the servers when the first is named (PEP 562): a loop without any needs none of that."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from handlers import blocking

        from . import modes, packets, server, stream, unix

        rooms = (server, stream, packets, unix, modes, blocking)
        found = next(getattr(room, name) for room in rooms if hasattr(room, name))
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
