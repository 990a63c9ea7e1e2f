"""What a protocol is: waits, causes, handlers and the machine that runs them. Pure.

Nothing in this package imports a socket, a selector, a clock, a thread or the reactor, so a
handler runs wherever Python does.
"""

from .blocking import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
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
