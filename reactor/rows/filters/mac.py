"""`PacketMAC`: a filter of datagrams that takes only packets with a right MAC, and each of them once.

A packet on the wire is, in order: the direction (1 byte), the length of the name (1 byte), the name, a counter (8
bytes), the payload, and a tag (the first 16 bytes of HMAC-SHA-256, RFC 2104, over everything before it). The name is
always the client's; a server answers with the name and the key of the client. The payload is not encrypted. It can't be
changed, forged, reflected or replayed.

A counter is the time in microseconds, or the last counter plus one. So a sender that is restarted continues with higher
counters, and a receiver that is restarted takes nothing older (see `ReplayWindows`). The clocks must agree roughly.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from secrets import token_bytes
from weakref import finalize

from ...handlers.causes import Cause
from ...handlers.packet_filter import PacketFilter

try:
    from fcntl import LOCK_EX, LOCK_UN, lockf
    from mmap import mmap
except ImportError:  # a host without fork
    lockf = mmap = None  # type: ignore[assignment, misc]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ...handlers.channel import PacketChannel

FROM_CLIENT, FROM_SERVER = b"C", b"S"
TAG = 16
"""Bytes of the tag."""

_ISSUED, _FLOOR, _RECENT = 1, 2, 3  # offsets in the slot of a sender; at offset 0 is the hash of its name


class NotAuthentic(Cause):
    """The first packet of a request has a wrong MAC, or is a replay."""


class ReplayWindows:
    """Remembers the last ``size`` counters that were taken of each sender. An older counter is taken for a replay.

    So packets may be reordered by up to ``size`` places. The memory is fixed: packets of more than ``senders`` senders
    are not taken. Children of fork mode share the memory with their parent, so make one object for each set of keys,
    before the server forks. Counters before the time ``since`` (in seconds since 1970) are not taken; by default that
    is now, because it is not known what was taken before. May be used from any thread.

    >>> windows = ReplayWindows(since=0)
    >>> [windows.take("ada", counter) for counter in (5, 7, 6, 6, 7)]
    [True, True, True, False, False]
    """

    def __init__(self, senders: int = 1024, size: int = 64, since: float | None = None) -> None:
        self._senders = senders
        self._width = _RECENT + size
        self._since = int((time.time() if since is None else since) * 1e6)
        self._secret = token_bytes(16)
        length = 8 * senders * self._width
        self._cells = memoryview(bytearray(length) if mmap is None else mmap(-1, length)).cast("Q")
        if lockf is not None:
            self._file = _nameless_file()  # for its lock: children that share the memory share it too
            finalize(self, os.close, self._file)
        self._pid, self._lock = os.getpid(), threading.Lock()

    def take(self, sender: str, counter: int) -> bool:
        """Whether the packet with this counter is new. Later calls with the same counter return ``False``."""
        with self._locked():
            slot = self._slot_of(sender)
            if slot is None or counter <= self._cells[slot + _FLOOR]:
                return False
            recent = self._cells[slot + _RECENT : slot + self._width]
            held = recent.tolist()
            if counter in held:
                return False
            oldest = min(held)  # 0 where there is room
            if counter < oldest:
                return False
            recent[held.index(oldest)] = counter
            self._cells[slot + _FLOOR] = max(oldest, self._cells[slot + _FLOOR])
            return True

    def issue(self, sender: str, now: float) -> int:
        """The counter of the next packet to ``sender``. Raises `OverflowError` if there are too many senders."""
        with self._locked():
            slot = self._slot_of(sender)
            if slot is None:
                raise OverflowError(f"there are more than {self._senders} senders")
            self._cells[slot + _ISSUED] = counter = max(self._cells[slot + _ISSUED] + 1, int(now * 1e6))
            return counter

    def _slot_of(self, sender: str) -> int | None:
        """The index at which the sender's slot begins; ``None`` if all slots belong to others."""
        digest = hashlib.blake2b(sender.encode(), key=self._secret, digest_size=8).digest()
        wanted = int.from_bytes(digest, "big") or 1
        for number in range(self._senders):
            slot = (wanted + number) % self._senders * self._width
            found = self._cells[slot]
            if found == wanted:
                return slot
            if not found:
                self._cells[slot], self._cells[slot + _FLOOR] = wanted, self._since
                return slot
        return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._pid != os.getpid():  # a child: another thread of the parent may have held the lock
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if lockf is None:
                yield
                return
            lockf(self._file, LOCK_EX)  # against other processes; the kernel releases it if a process is killed
            try:
                yield
            finally:
                lockf(self._file, LOCK_UN)


def _nameless_file() -> int:
    """The descriptor of an empty file without a path, which no other process can open."""
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return descriptor


class Seal:
    """Makes and checks the packets of one client, at the client's or the server's end. Clients use it directly.

    ``name`` is UTF-8 of 1 to 255 bytes, ``key`` has 16 bytes at least. Raises `ValueError` for others.

    >>> key = bytes(32)
    >>> client = Seal("ada", key, ReplayWindows(since=0))
    >>> server = Seal("ada", key, ReplayWindows(since=0), is_server=True)
    >>> packet = client.seal(b"hello")
    >>> server.open(packet), server.open(packet), client.open(packet)
    (b'hello', None, None)
    """

    def __init__(
        self,
        name: str,
        key: bytes,
        windows: ReplayWindows,
        is_server: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        encoded = name.encode()
        if not 0 < len(encoded) < 256:
            raise ValueError("a name has 1 to 255 bytes")
        if len(key) < 16:
            raise ValueError("a key has 16 bytes at least")
        self.name = name
        self._key = key
        self._windows = windows
        self._now = now
        head = bytes((len(encoded),)) + encoded
        ours, theirs = (FROM_SERVER, FROM_CLIENT) if is_server else (FROM_CLIENT, FROM_SERVER)
        self._ours, self._theirs = ours + head, theirs + head

    def seal(self, payload: bytes) -> bytes:
        """The packet that carries ``payload`` to the other end."""
        counter = self._windows.issue(self.name, self._now())
        packet = self._ours + counter.to_bytes(8, "big") + payload
        return packet + self._tag(packet)

    def open(self, packet: bytes) -> bytes | None:
        """The payload of a packet of the other end; ``None`` if the packet is not authentic, or is a replay."""
        start = len(self._theirs)
        if len(packet) < start + 8 + TAG or not packet.startswith(self._theirs):
            return None
        if not hmac.compare_digest(self._tag(packet[:-TAG]), packet[-TAG:]):
            return None
        if not self._windows.take(self.name, int.from_bytes(packet[start : start + 8], "big")):
            return None
        return packet[start + 8 : -TAG]

    def _tag(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")[:TAG]


class PacketMAC(PacketFilter):
    """The server's end: takes each authentic packet once, and adds name, counter and MAC to the answers.

    ``keys`` has the key of each name; it is called in the loop, so it must not block. If the first packet of a request
    is not authentic, the request ends with `NotAuthentic`. Later packets that are not authentic, or are of another
    client, are dropped. `Handler.principal` is the name.

    ``filters = [partial(PacketMAC, keys=keys, windows=ReplayWindows())]``
    """

    __slots__ = ("_keys", "_seal", "_windows")
    name = "mac"

    def __init__(self, inner: PacketChannel, keys: Mapping[str, bytes], windows: ReplayWindows) -> None:
        super().__init__(inner)
        self._keys = keys
        self._windows = windows
        self._seal: Seal | None = None

    def begin(self) -> None:
        """Open with the first packet of the request."""
        self.open_until("an authentic packet")

    def received(self, packet: bytes) -> None:
        """Deliver the payload of the packet, if it is authentic."""
        seal = self._seal or self._first(packet)
        payload = seal.open(packet)
        if payload is not None:
            if self._seal is None:
                self._seal = seal
                self.driver.principal = seal.name
                self.open()
            self.deliver(payload)
        elif self._seal is None:
            raise NotAuthentic("the packet has a wrong MAC, or is a replay")

    def flow(self, packet: bytes) -> None:
        """Put the packet that carries an answer."""
        assert self._seal is not None
        self.put(self._seal.seal(packet))

    def _first(self, packet: bytes) -> Seal:
        """The `Seal` for the name in ``packet``; for an unknown name one with a random key, which fits no packet."""
        length = packet[1] if len(packet) > 1 else 0
        try:
            name = packet[2 : 2 + length].decode()
        except UnicodeDecodeError:
            name = ""
        if not name or len(packet) < 2 + length:
            raise NotAuthentic("the packet has no name")
        known = self._keys.get(name)
        return Seal(name, token_bytes(32) if known is None else known, self._windows, True, self.driver.now)
