"""RPC over datagrams (RFC 5531, section 4): one call in each, and the cache of duplicate requests."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar
from zlib import crc32

from ..causes import Cause
from ..duplicates import NoDuplicates
from ..handler import DatagramHandler
from ..waits import Packet
from .message import HEADER, Refused
from .program import Serving, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable

    from .gss.server import Protection


RPCSEC_GSS = (6).to_bytes(4, "big")
"""The flavour whose calls are never the same twice."""


class Cached:
    """A call that is being made, or was made: the reply, and when it was sent, or when the call has come."""

    __slots__ = ("reply", "time")

    def __init__(self, time: float) -> None:
        self.time = time
        self.reply: bytes | None = None


class Replies:
    """The duplicate request cache of one handler class: calls that are being made, and the replies to those made.

    Threads may use it at the same time: each step is one operation of a dictionary.
    """

    def __init__(self) -> None:
        self._calls: OrderedDict[Hashable, Cached] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, key: Hashable, now: float, oldest: float, most: int) -> Cached | bytes | None:
        """A new call, which is made now and then given to `end`; or the reply, if it was sent since ``oldest``.

        ``None``: the call is being made. The oldest calls leave if there are more than ``most``, or they are too old.
        """
        mine = Cached(now)
        found = self._calls.setdefault(key, mine)
        if found is not mine:
            if found.reply is None or found.time >= oldest:
                return found.reply
            if self._calls.pop(key, None) is not found:
                return None  # another thread has begun it again meanwhile
            self._calls[key] = mine
        self._drop(oldest, most)
        return mine

    def keep(self, key: Hashable, now: float, reply: bytes, oldest: float, most: int) -> None:
        """Keep the reply to a call that another process has made."""
        made = Cached(now)
        made.reply = reply
        self._calls.pop(key, None)  # so that it becomes the latest
        self._calls[key] = made
        self._drop(oldest, most)

    def end(self, key: Hashable, made: Cached) -> None:
        """The call has ended; if it has no reply, the next one that is the same is made again."""
        if made.reply is None and self._calls.get(key) is made:
            self._calls.pop(key, None)

    def _drop(self, oldest: float, most: int) -> None:
        calls = self._calls
        try:
            while len(calls) > most or next(iter(calls.values())).time < oldest:
                key = next(iter(calls))
                if calls[key].reply is None:  # it is being made: later
                    calls.move_to_end(key)
                    return
                calls.pop(key)
        except (KeyError, RuntimeError, StopIteration):
            pass  # another thread has changed it meanwhile: the next call looks again


PACKET = Packet()
SHORT = 128
"""Bytes of a call that is kept whole to be compared; of a longer one, a checksum is compared."""


def key_of(server: object, peer: Any, call: bytes, handle: bytes = b"") -> Hashable:
    """What is the same when the call comes again; ``call`` is without the protection of RPCSEC_GSS."""
    same = call if len(call) <= SHORT else (call[: HEADER.size], crc32(call[HEADER.size :]))
    return id(server), peer, handle, same


class MachineOf:
    """The machine of a version, which is that of the handler of the datagram: they are one request.

    The handler has another machine when the request has got a row, so it is asked each time.
    """

    __slots__ = ("_handler",)

    def __init__(self, handler: DatagramHandler) -> None:
        self._handler = handler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler._machine, name)


class RPCDatagramHandler(Serving, NoDuplicates, DatagramHandler):
    """Serves `versions` over datagrams: each datagram is a call, and a request of its own.

    A call that comes again from its peer, with the same bytes, is not made again: it is dropped while it is being made,
    and answered with the same reply later. Among calls with the same xid, the program, version and procedure tell them
    apart, and a checksum of the rest: the credential and the arguments.

    In fork mode the parent keeps the replies, and each child begins with a copy of them; but not those to calls with
    RPCSEC_GSS. There, a procedure that must not be done twice has to see to that itself.
    """

    max_reply = 65_507
    """Bytes that a reply may have; a longer one is an error of the procedure: 65,507 is the most of UDP over IPv4."""
    max_replies = 1024
    """Replies that are kept for calls that come again. 0: none, where all procedures may be done twice."""
    reply_age = 60.0
    """Seconds for which a reply is kept."""

    _replies: ClassVar[Replies]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._replies = Replies()

    _version: Version | None = None
    _protection: Protection | None = None
    _key: Hashable = None
    _made: Cached | None = None

    def handle(self) -> Any:
        return PACKET, self._take

    def _take(self, packet: bytes) -> Any:
        try:
            version = self.begin(packet)
        except Refused as refused:
            if refused.reply is not None:
                self.send(refused.reply)
            return None
        driver, protection = self._machine.driver, version.protection
        if protection is None:
            key = key_of(driver.server, driver.peer, packet)
        else:
            self._protection = protection
            key = key_of(driver.server, driver.peer, protection.plain, protection.handle)
        if self.max_replies:
            now = driver.now()
            made = self._replies.begin(key, now, now - self.reply_age, self.max_replies)
            if not isinstance(made, Cached):
                if made is not None:
                    self.send(self._sealed(made))
                return None
            self._key, self._made = key, made
        self._version, version.carry = version, self._answer
        if version.make(MachineOf(self)):
            return None
        self.timeout = version.timeout
        return version.handle()  # they are one request, and have one row

    def interrupted(self, cause: Cause) -> Any:
        return None if self._version is None else self._version.interrupted(cause)

    def finish(self) -> None:
        version, self._version = self._version, None
        try:
            if version is not None:
                version.carry = None  # it refers to this handler
                version.finish()
        finally:
            if self._made is not None:
                self._replies.end(self._key, self._made)

    def _answer(self, reply: bytes) -> None:
        sealed = self._sealed(reply)
        if len(sealed) > self.max_reply:
            raise ValueError(f"a reply of {len(sealed)} bytes does not fit in a datagram: {self.max_reply} do")
        if self._made is not None:
            self._made.time, self._made.reply = self._machine.driver.now(), reply
        self._machine.write(sealed)

    def _sealed(self, reply: bytes) -> bytes:
        return reply if self._protection is None else self._protection.seal(reply)

    @classmethod
    def answered(cls, server: Any, peer: Any, packet: bytes, answer: bytes, now: float) -> None:
        if cls.max_replies and packet[HEADER.size : HEADER.size + 4] != RPCSEC_GSS:
            cls._replies.keep(key_of(server, peer, packet), now, answer, now - cls.reply_age, cls.max_replies)
