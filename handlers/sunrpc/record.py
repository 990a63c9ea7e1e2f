"""RPC over a stream: record marking (RFC 5531, section 11), and the calls of one connection."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any

from ..causes import LimitPassed
from ..handler import StreamHandler
from ..wait import StreamWait
from .message import Refused
from .program import Inside, Serving, too_long

LAST = 0x8000_0000
"""The bit of a mark that says that its fragment is the last one of the record."""


def mark(record: bytes) -> bytes:
    """The record as one fragment, its mark in front."""
    return _MARK(LAST | len(record)) + record


_MARK = Struct(">I").pack


class Fragment(StreamWait):
    """The next fragment, its mark in front. ``limit`` is in bytes, the mark not included."""

    __slots__ = ()
    hungry = True

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        body = start + 4
        if len(held) < body:
            return -1
        length = int.from_bytes(held[start:body], "big") & ~LAST
        if length > self.limit:
            raise LimitPassed(self, what=f"a fragment of {length} bytes in a record of at most {self.limit} more")
        return body + length if body + length <= len(held) else -1


PROTECTED = 1024
"""Bytes by which a record may be longer than the reply in it: the mark, and what RPCSEC_GSS adds."""

fragment = lru_cache(maxsize=256)(Fragment)
"""`Fragment`, made once for each limit."""


class RecordHandler(StreamHandler):
    """Reads records, in whatever fragments they come. A record that passes a bound ends the connection."""

    max_record = 2 << 20
    """Bytes that a record may have."""
    max_fragments = 1024
    """Fragments that a record may have."""

    __slots__ = ("_fragments", "_held")

    def setup(self) -> None:
        super().setup()
        self._fragments: list[bytes] = []  # of a record whose last fragment has not come
        self._held = 0  # their bytes

    @property
    def begun(self) -> bool:
        """Whether the first fragments of a record have come, and more must come."""
        return bool(self._fragments)

    def handle(self) -> Any:
        return fragment(self.max_record), self._only

    def _only(self, data: bytes) -> Any:
        """The first fragment of a record, which in most cases is the only one."""
        if data[0] & 0x80:
            return self.record(data[4:]) or (fragment(self.max_record), self._only)
        return self._more(data)

    def _more(self, data: bytes) -> Any:
        self._fragments.append(data[4:])
        self._held += len(data) - 4
        if self._held > self.max_record:
            raise LimitPassed(None, what=f"a record of more than {self.max_record} bytes")
        if data[0] & 0x80:
            record = b"".join(self._fragments)
            self._fragments.clear()
            self._held = 0
            return self.record(record) or (fragment(self.max_record), self._only)
        if len(self._fragments) >= self.max_fragments:
            raise LimitPassed(None, what=f"a record of more than {self.max_fragments} fragments")
        return Fragment(max(self.max_record - self._held, 1)), self._more

    def record(self, record: bytes) -> Any:
        """Called with each record. Returns a step that goes before the next record, or ``None``.

        Every class of records defines this.
        """
        raise NotImplementedError


class RPCStreamHandler(Serving, RecordHandler):
    """Serves `versions` over a stream. A call that waits has a row of its own; replies go out when they are there.

    A call that is refused does not end the connection. A reply that is too long to wait in the row beside the output
    that may be there already (``max_output`` less ``high_water``) is an error of the procedure: SYSTEM_ERR.

    >>> from handlers import StreamMachine
    >>> class Nothing(RPCStreamHandler):
    ...     pass
    >>> machine = StreamMachine(Nothing())
    >>> machine.feed(mark(bytes.fromhex("00000007 00000000 00000002 000186a3 00000003 00000000" + 16 * "00")))
    >>> machine.read().hex(" ", 4)  # PROG_UNAVAIL
    '80000018 00000007 00000001 00000000 00000000 00000000 00000001'
    """

    __slots__ = ()
    _max_reply = 0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._max_reply = max(cls.max_output - cls.high_water - PROTECTED, cls.max_output // 2 - PROTECTED, PROTECTED)

    def record(self, record: bytes) -> Any:
        try:
            version = self.begin(record)
        except Refused as refused:
            if refused.reply is not None:
                self._answer(refused.reply)
            return None
        protection = version.protection
        answer = version.carry = self._answer if protection is None else protection.before(self._answer)
        inside = Inside(self._machine, answer)
        if version.make(inside):
            inside.end()
        else:
            version.leave(inside)
            version.max_output = min(version.max_output, self._max_reply)
            self.call(version, record, answer)
        return None

    def _answer(self, reply: bytes) -> None:
        if len(reply) > self._max_reply + PROTECTED:
            raise too_long(reply, self._max_reply)
        self._machine.write(mark(reply))
