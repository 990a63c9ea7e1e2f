"""RPC over datagrams (RFC 5531, section 4): one call in each, and the cache of duplicate requests."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar
from zlib import crc32

from ..handler import DatagramHandler
from ..waits import Cause, Packet
from .message import HEADER, Refused
from .program import Serving, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable

    from .gss.server import Protection


class Replies:
    """The duplicate request cache of one handler class: calls that are being made, and the replies to those made.

    Threads may use it at the same time: each step is one operation of a dictionary.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, object] = {}
        self._made: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        return len(self._made)

    def begin(self, key: Hashable, oldest: float) -> bool:
        """Whether the call is not being made already; then it must be told of with `end`."""
        self._drop(oldest)
        mine = object()
        return self._open.setdefault(key, mine) is mine

    def get(self, key: Hashable, oldest: float) -> bytes | None:
        """The reply to a call that was made, if it is not from before this time."""
        made, reply = self._made.get(key, (oldest, None))
        return reply if made >= oldest else None

    def put(self, key: Hashable, now: float, reply: bytes, most: int) -> None:
        """Keep the reply to a call; the oldest leaves if there are more than ``most``."""
        self._made.pop(key, None)
        self._made[key] = now, reply
        while len(self._made) > most:
            self._made.popitem(last=False)

    def end(self, key: Hashable) -> None:
        """The call has ended. Its reply, if it has one, was `put` before."""
        self._open.pop(key, None)

    def _drop(self, oldest: float) -> None:
        """Drop the replies from before this time."""
        while self._made:
            try:
                key = next(iter(self._made))
            except (RuntimeError, StopIteration):  # another thread has changed it meanwhile: the next call looks again
                return
            if self._made.get(key, (oldest, b""))[0] >= oldest:
                return
            self._made.pop(key, None)


class RPCDatagramHandler(Serving, DatagramHandler):
    """Serves `versions` over datagrams: each datagram is a call, and a request of its own.

    A call that comes again from its peer, with the same bytes, is not made again: it is dropped while it is being made,
    and answered with the same reply later. Among calls with the same xid, the program, version and procedure tell them
    apart, and a checksum of the rest: the credential and the arguments.

    In fork mode each call has a process of its own, so that no call knows of another one: there, a procedure that must
    not be done twice has to see to that itself.
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

    @staticmethod
    def key(packet: bytes) -> Hashable:
        """Each datagram is an exchange."""
        return object()

    def setup(self) -> None:
        super().setup()
        self._version: Version | None = None
        self._protection: Protection | None = None
        self._key: Hashable = None

    def handle(self) -> Any:
        return Packet(), self._take

    def _take(self, packet: bytes) -> Any:
        try:
            version = self.begin(packet)
        except Refused as refused:
            if refused.reply is not None:
                self.send(refused.reply)
            return None
        protection = self._protection = version.protection
        handle = b"" if protection is None else protection.handle
        plain = packet if protection is None else protection.plain  # what is the same when the call comes again
        key = id(self.server), self.peer, handle, plain[: HEADER.size], crc32(plain[HEADER.size :])
        if self.max_replies:
            oldest = self.now() - self.reply_age
            if not self._replies.begin(key, oldest):
                return None
            self._key = key
            reply = self._replies.get(key, oldest)
            if reply is not None:
                self.send(self._sealed(reply))
                return None
        self._version, self.timeout = version, version.timeout
        version._machine = self._machine  # they are one request: the version asks this row
        version.carry = self._answer
        version.setup()
        return version.handle()

    def interrupted(self, cause: Cause) -> Any:
        return None if self._version is None else self._version.interrupted(cause)

    def finish(self) -> None:
        version, self._version = self._version, None
        try:
            if version is not None:
                version.carry = None  # it refers to this handler
                version.finish()
        finally:
            if self._key is not None:
                self._replies.end(self._key)

    def _answer(self, reply: bytes) -> None:
        sealed = self._sealed(reply)
        if len(sealed) > self.max_reply:
            raise ValueError(f"a reply of {len(sealed)} bytes does not fit in a datagram: {self.max_reply} do")
        if self._key is not None:
            self._replies.put(self._key, self.now(), reply, self.max_replies)
        self.send(sealed)

    def _sealed(self, reply: bytes) -> bytes:
        return reply if self._protection is None else self._protection.seal(reply)
