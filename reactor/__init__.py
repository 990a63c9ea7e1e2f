"""A select-based multiplexing reactor: where and when protocols run.

``import reactor as socketserver`` works: every public name of the standard library's module is
here and behaves the same. Protocols themselves are in the package ``handlers``.
"""

import socket as _socket

from handlers import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler

from .loop import Reactor
from .modes import (
    ForkingMixIn,
    ForkingTCPServer,
    ForkingUDPServer,
    SelectMixIn,
    SelectTCPServer,
    SelectUDPServer,
    ThreadingMixIn,
    ThreadingTCPServer,
    ThreadingUDPServer,
)
from .packets import UDPServer
from .server import BaseServer
from .stream import TCPServer
from .table import Request, RequestTable

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
    from .modes import (
        ForkingUnixDatagramServer,
        ForkingUnixStreamServer,
        SelectUnixDatagramServer,
        SelectUnixStreamServer,
        ThreadingUnixDatagramServer,
        ThreadingUnixStreamServer,
    )
    from .packets import UnixDatagramServer
    from .stream import UnixStreamServer

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
