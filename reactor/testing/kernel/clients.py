"""The scripted clients of a simulated world, and the scripted peers that its handlers connect to.

A script is a chain of actions, each of which begins when the one before it is done: ``client.send(b"hello").expect(
b"hello").shutdown()``. A stream client also reads all the time, as fast as `Client.read_slowly` allows.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from selectors import EVENT_READ
from typing import TYPE_CHECKING, Any

from ..peers.peer import Peer
from .streams import CONNECTING
from .wire import ANY_HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from .clock import Clock
    from .datagrams import DatagramSocket
    from .streams import StreamSocket
    from .wire import Address


class Actor:
    """Something outside of the reactor's process that does one action of its script after another.

    ``complaints`` collects what is not as a script expects.
    """

    def __init__(self, clock: Clock, name: str, complaints: list[str]) -> None:
        self.name = name
        self.complaints = complaints
        self._clock = clock
        self._script: deque[tuple[Callable[[Any], bool], Any]] = deque()
        self.unread = False
        """Whether actions were added to the script after it last ran."""
        self._awake = False
        self._until: float | None = None  # when the current pause is over

    @property
    def done(self) -> bool:
        """Whether the whole script is done."""
        return not self._script

    def wait(self, seconds: float) -> Self:
        """Pause for ``seconds`` of virtual time."""
        return self._then(self._wait, seconds)

    def do(self, call: Callable[[], object]) -> Self:
        """Call ``call()``."""
        return self._then(self._do, call)

    def _then(self, step: Callable[[Any], bool], argument: Any = None) -> Self:
        self._script.append((step, argument))
        self.unread = True
        self._wake()
        return self

    def _wake(self) -> None:
        """Plan to go on now: as an event, so not in the middle of another call."""
        if not self._awake:
            self._awake = True
            self._clock.at(self._clock.now, self._go_on)

    def _go_on(self) -> None:
        self._awake = self.unread = False
        script = self._script
        while script:
            step, argument = script[0]
            if not step(argument):
                return
            script.popleft()

    def _wait(self, seconds: float) -> bool:
        now = self._clock.now
        if self._until is None:
            self._until = now + seconds
            self._clock.at(self._until, self._wake)
        if now < self._until:
            return False
        self._until = None
        return True

    def _do(self, call: Callable[[], object]) -> bool:
        call()
        return True


class Client(Actor):
    """One end of a stream, with a script. `World.connect` and `World.listen` construct it.

    Its script is about plain text, of which ``peer`` makes the bytes of the wire; by default both are the same.
    """

    def __init__(
        self, clock: Clock, name: str, complaints: list[str], sock: StreamSocket, peer: Peer | None = None
    ) -> None:
        super().__init__(clock, name, complaints)
        self.socket = sock
        self.peer = Peer() if peer is None else peer
        self.ended = False
        """Whether the stream of the other side has ended."""
        self.error: OSError | None = None
        """Why the connection failed, or broke, or was truncated; ``None`` if it was not."""
        self._plain = bytearray()  # the plain text of which wire bytes were made
        self._wire = bytearray()  # wire bytes that the kernel has not taken
        self._pieces: list[tuple[int, int]] = []  # bytes of the wire and of plain text in each piece that was made
        self._end_made = False  # whether the last piece is the end of the protocol
        self._will_talk = False
        self._received = bytearray()
        self._expected = 0  # bytes that were expected and have come
        self._size, self._pause = 65_536, 0.0
        self._next_read = 0.0
        sock.watcher = self._hear

    @property
    def received(self) -> bytes:
        """All plain text that was read."""
        return bytes(self._received)

    @property
    def sent(self) -> bytes:
        """All bytes of the wire that were sent."""
        return bytes(self.socket.sent)

    def carried(self, count: int, at_end: bool) -> tuple[bytes, bool]:
        """The plain text in the first ``count`` bytes of the wire, and whether they tell that it ends there.

        ``at_end`` says whether the wire ends there. That is all that tells it, unless the protocol has an end of its
        own.
        """
        size = 0
        for wire, plain in self._pieces:
            if wire > count:
                size += count if wire == plain else 0  # a part of a record is nothing
                return bytes(self._plain[:size]), at_end and not self.peer.has_end
            count -= wire
            size += plain
        return bytes(self._plain[:size]), self._end_made if self.peer.has_end else at_end

    def send(self, data: bytes) -> Self:
        """Send ``data``, as fast as the connection takes it."""
        return self._then(self._send, data)

    def expect(self, data: bytes) -> Self:
        """Wait for the next ``len(data)`` bytes. They must be ``data``, unless the connection breaks before."""
        return self._then(self._expect, data)

    def expect_end(self) -> Self:
        """Wait for the end of the stream. Bytes before it are not checked."""
        return self._then(self._expect_end)

    def read_slowly(self, size: int, seconds: float) -> Self:
        """From now on read at most ``size`` bytes every ``seconds``. With a size of 0, do not read."""
        return self._then(self._set_pace, (size, seconds))

    def shutdown(self) -> Self:
        """Half-close the connection: end the stream to the other side, and go on reading."""
        return self._then(self._end, "shutdown")

    def truncate(self) -> Self:
        """Half-close the connection as `shutdown` does, but without the end of the peer's protocol."""
        return self._then(self._end, "truncate")

    def close(self) -> Self:
        """Close the connection. That is a reset if it holds unread bytes."""
        return self._then(self._end, "close")

    def reset(self) -> Self:
        """Reset the connection."""
        return self._then(self._end, "reset")

    def pending(self) -> str:
        """What the script still waits for, in words; empty if it waits for nothing."""
        if self._script and self.error is None and self.socket.number >= 0:
            step, argument = self._script[0]
            if step == self._expect:
                return f"{self.name} expects {argument!r}, but only {self.received[self._expected :]!r} has come"
            if step == self._expect_end:
                return f"{self.name} expects the end of the stream, which has not come"
        return ""

    def _hear(self) -> None:
        """The socket may have become ready."""
        self._read()
        if type(self.peer) is not Peer and not self._will_talk:
            self._will_talk = True
            self._clock.at(self._clock.now, self._talk)
        self._look_at_script()

    def _look_at_script(self) -> None:
        if self._script and self._until is None:  # a pause ends only with time
            self._wake()

    def _talk(self) -> None:
        """Send what the protocol itself has to say."""
        self._will_talk = False
        if self._is_connected():
            self._make(self.peer.send, b"")
            self._flush()
            self._look_at_script()

    def _is_connected(self) -> bool:
        return self.error is None and self.socket.number >= 0 and self.socket.state != CONNECTING

    def _make(self, make: Callable[..., bytes], *plain: bytes) -> None:
        """Have the peer make wire bytes of ``plain``, or of its end."""
        try:
            wire = make(*plain)
        except OSError as error:
            self.error = self.error or error
            return
        self._wire += wire
        self._plain += b"".join(plain)
        if wire:
            self._pieces.append((len(wire), sum(map(len, plain))))

    def _flush(self) -> bool:
        """Send what waits; whether nothing waits any more."""
        if not self._wire or not self._is_connected():
            return True
        try:
            del self._wire[: self.socket.send(bytes(self._wire))]
        except BlockingIOError:
            return False
        except OSError as error:
            self.error = error
            return True
        return not self._wire

    def _go_on(self) -> None:
        if self.socket.state == CONNECTING:
            self._awake = self.unread = False
        else:
            super()._go_on()

    def _read(self) -> None:
        sock, size = self.socket, self._size
        if not size or self.ended or self.error is not None or sock.number < 0 or not sock.events(EVENT_READ):
            return
        if self._pause and self._clock.now < self._next_read:
            return
        try:
            data = sock.recv(size)
        except OSError as error:
            self.error = error
            return
        try:
            if data:
                self._received += self.peer.received(data)
            else:
                self.ended = True
                self.peer.received_end()
        except OSError as error:
            self.error = error
        if self._pause:
            self._next_read = self._clock.now + self._pause
            self._clock.at(self._next_read, self._hear)
        else:
            self._read()

    def _send(self, data: bytes) -> bool:
        if not self._is_connected():
            return True
        if not self.peer.is_open:
            return self.ended
        if data:
            self._make(self.peer.send, data)
            self._script[0] = self._send, b""
        return self._flush()

    def _expect(self, data: bytes) -> bool:
        come = bytes(self._received[self._expected : self._expected + len(data)])
        if not data.startswith(come):
            self.complaints.append(f"{self.name} expects {data!r}, but {come!r} has come")
        elif len(come) < len(data):
            if self.ended:
                self.complaints.append(f"{self.name} expects {data!r}, but the stream ended after {come!r}")
            elif self.error is None and self.socket.number >= 0:
                return False
        self._expected += len(come)
        return True

    def _expect_end(self, _: None) -> bool:
        return self.ended or self.error is not None or self.socket.number < 0

    def _set_pace(self, pace: tuple[int, float]) -> bool:
        self._size, self._pause = pace
        self._read()
        return True

    def _end(self, how: str) -> bool:
        sock = self.socket
        if sock.number < 0:
            return True
        if how == "shutdown" and not self._end_protocol():
            return False
        if how in ("shutdown", "truncate"):
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                self.error = self.error or error
        else:
            if how == "close" and self.peer.is_open:
                self._end_protocol()
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        return True

    def _end_protocol(self) -> bool:
        """Send the end of the peer's protocol; whether it has been sent, or can't be."""
        if not self._is_connected():
            return True
        if not self.peer.is_open:
            return self.ended
        if not self._end_made:
            self._end_made = True
            self._make(self.peer.end)
        return self._flush()


class Correspondent(Actor):
    """A client that sends datagrams to one address and keeps the answers. `World.correspond` constructs it."""

    def __init__(self, clock: Clock, name: str, complaints: list[str], sock: DatagramSocket, address: Address) -> None:
        super().__init__(clock, name, complaints)
        self.socket = sock
        self.received: list[bytes] = []
        """The datagrams that have arrived, in their order."""
        self.sent: list[bytes] = []
        """The datagrams that were sent, in their order."""
        self._address = address
        sock.watcher = self._wake

    def send(self, packet: bytes) -> Self:
        """Send one datagram."""
        return self._then(self._send, packet)

    def close(self) -> Self:
        """Close the socket."""
        return self._then(self._close)

    def pending(self) -> str:
        """Empty: this script never waits for data."""
        return ""

    def _go_on(self) -> None:
        while self.socket.inbox:
            packet, sender = self.socket.recvfrom(65_536)
            self.received.append(packet)
            if sender != self._address and not _same_port(sender, self._address):
                self.complaints.append(f"{self.name} receives {packet!r} from {sender!r}, not from {self._address!r}")
        super()._go_on()

    def _send(self, packet: bytes) -> bool:
        try:
            self.socket.sendto(packet, self._address)
        except BlockingIOError:
            self._clock.at(self._clock.now + 0.01, self._wake)
            return False
        self.sent.append(packet)
        return True

    def _close(self, _: None) -> bool:
        self.socket.close()
        return True


def _same_port(sender: Any, address: Any) -> bool:
    """Whether the sender is a socket with the port of ``address`` that is bound to the wildcard address."""
    return isinstance(sender, tuple) and sender[0] in ANY_HOST.values() and sender[1] == address[1]
