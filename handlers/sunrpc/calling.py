"""Calls that a handler makes inside a reactor: many at once over one connection, and the loop goes on meanwhile.

The handler connects a `StreamCaller` or a `DatagramCaller`, and gives it to the class of calls that `language` writes
for each version. Each method sends its call at once; `await` gives the result. A handler made of states returns such a
coroutine as its step, and the coroutine returns the next one.

    async def handle(self):
        caller = await Connected(("127.0.0.1", 2049), StreamCaller())
        calculator = CALCULATOR_1_calls(caller)
        first, second = calculator.ADD(2, 3), calculator.ADD(4, 5)
        self.send(b"%d" % (await first * await second))
        caller.close()

The caller has a row of its own, which stays open until it is closed.
"""

from __future__ import annotations

from random import getrandbits
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakValueDictionary

from ..causes import Reset, TimedOut
from ..events import Event, Happened
from ..handler import DatagramHandler
from ..waits import Packet
from . import xdr
from .client import Flavour, OpenCall, open_call
from .message import xid_of
from .program import Procedure, Version
from .record import RecordHandler, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from ..wait import Wait
    from .auth import AuthSys

T = TypeVar("T")


class Reply(Generic[T]):
    """The reply to a call that was sent; ``await`` it once for the result.

    Raises what a blocking client raises: `RPCError` or `AuthError` for a call that was refused, `xdr.Error` for a
    result that is no encoding, `ConnectionError` or another `OSError` if the connection ends first, `TimeoutError` if
    no reply comes in time. The reply to a call whose `Reply` nobody has is dropped.
    """

    __slots__ = ("__weakref__", "_call", "_caller", "_came", "_procedure")

    def __init__(self, caller: Calling, procedure: Procedure, call: OpenCall) -> None:
        self._caller = caller
        self._procedure = procedure
        self._call = call
        self._came = Event()

    def __await__(self) -> Generator[Wait, Any, T]:
        for attempt, seconds in enumerate(self._caller.waits):
            if attempt:
                self._caller.transmit(self._call.write())
            try:
                came = yield Happened(self._came, timeout=seconds)
            except TimedOut:
                continue
            if isinstance(came, Exception):
                raise came
            result: T = xdr.unpack(self._procedure.result, self._call.read(came))
            return result
        raise TimeoutError(f"no reply to {self._procedure.name} in {sum(self._caller.waits):g} seconds")

    def came(self, reply: bytes | Exception) -> None:
        """The reply has come, or will not come."""
        if not self._came.is_set:
            self._came.set(reply)


class Calling:
    """What `StreamCaller` and `DatagramCaller` have in common: the calls that are open."""

    waits: tuple[float, ...]
    """Seconds after each transmission of a call: then it is sent again, or fails after the last."""

    def setup(self) -> None:
        self._open: WeakValueDictionary[int, Reply[Any]] = WeakValueDictionary()
        self._xid = getrandbits(32)
        self._over: Exception | None = None
        super().setup()  # type: ignore[misc]

    def begin(
        self, version: type[Version], procedure: Procedure, arguments: tuple[Any, ...],
        credential: AuthSys | Flavour | None,
    ) -> Reply[Any]:  # fmt: skip
        """Send a call. Raises `xdr.Error` for wrong arguments, and what has ended the connection if it has ended."""
        encoded = b"".join(map(xdr.pack, procedure.arguments, arguments))
        if self._over is not None:
            raise self._over
        self._xid = self._xid + 1 & 0xFFFF_FFFF
        call = open_call(version, procedure, encoded, credential, self._xid)
        reply = self._open[self._xid] = Reply(self, procedure, call)
        self.transmit(call.write())
        return reply

    def transmit(self, call: bytes) -> None:
        """Send the call, or send it again."""
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        """What the server has sent. What is no reply to an open call is dropped."""
        xid = xid_of(data)
        reply = None if xid is None else self._open.pop(xid, None)
        if reply is not None:
            reply.came(data)

    def finish(self) -> None:
        """The connection has ended: so have all calls that are open."""
        reason = self.reason  # type: ignore[attr-defined]
        lost = reason.error if isinstance(reason, Reset) else None
        self._over = lost or ConnectionResetError("the connection has ended before the reply")
        if lost is None:
            self._over.__cause__ = reason
        for reply in list(self._open.values()):
            reply.came(self._over)
        super().finish()  # type: ignore[misc]


class StreamCaller(Calling, RecordHandler):
    """The client's end of a connection, for `Connected`. ``waits`` has the one time in which a reply must come."""

    max_record = 16 << 20
    waits = (60.0,)
    timeout = None

    def record(self, record: bytes) -> None:
        self.take(record)

    def transmit(self, call: bytes) -> None:
        self.send(mark(call))


class DatagramCaller(Calling, DatagramHandler):
    """The client's end of a datagram socket, for `Connected`. ``waits`` has the times after which a call is sent again.

    After the last it fails. The server may have made it, even twice. That nobody receives at its port (ICMP) ends all
    calls.
    """

    waits = (1.0, 2.0, 4.0, 8.0)
    timeout = None

    async def handle(self) -> None:
        while True:
            self.take(await Packet())

    def transmit(self, call: bytes) -> None:
        self.send(call)


class Calls:
    """The base of the classes that `language` writes for calls inside a reactor, one for each version.

    ``credential`` is that of all calls, AUTH_NONE by default.
    """

    version: ClassVar[type[Version]]

    def __init__(self, caller: StreamCaller | DatagramCaller, credential: AuthSys | Flavour | None = None) -> None:
        self.caller = caller
        self.credential = credential

    def _begin(self, number: int, *arguments: Any) -> Reply[Any]:
        return self.caller.begin(self.version, self.version.procedures[number], arguments, self.credential)
