"""The scripted clients of a simulated world, and the peers that its handlers connect to.

A script is a chain of actions, each done when the one before is: ``client.send(b"hello").expect(
b"hello").shutdown()``. A client reads all the while, as fast as it is told to.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from selectors import EVENT_READ
from typing import TYPE_CHECKING, Any

from .streams import CONNECTING

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from .network import Address, Clock
    from .sockets import DatagramSocket
    from .streams import StreamSocket


class Actor:
    """Whoever does one thing after another, each in its time."""

    def __init__(self, clock: Clock, name: str, complaints: list[str]) -> None:
        self.name = name
        self.complaints = complaints
        """Where to say what is not as the script expects."""
        self._clock = clock
        self._script: deque[tuple[Callable[[Any], bool], Any]] = deque()
        self.unread = False
        """Whether there are steps in the script that came when nothing ran any more."""
        self._awake = False
        self._until: float | None = None  # when the wait that has begun is over

    @property
    def done(self) -> bool:
        """Whether the whole script is done."""
        return not self._script

    def wait(self, seconds: float) -> Self:
        """Do nothing for so long."""
        return self._then(self._wait, seconds)

    def do(self, call: Callable[[], object]) -> Self:
        """Call ``call()``: for what a script has no word for."""
        return self._then(self._do, call)

    def _then(self, step: Callable[[Any], bool], argument: Any = None) -> Self:
        self._script.append((step, argument))
        self.unread = True
        self._wake()
        return self

    def _wake(self) -> None:
        """Go on at once, but not in the middle of somebody else's call."""
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
    """One end of a stream, with a script. Made by `World.connect` and `World.listen`."""

    def __init__(self, clock: Clock, name: str, complaints: list[str], sock: StreamSocket) -> None:
        super().__init__(clock, name, complaints)
        self.socket = sock
        self.ended = False
        """Whether the end of the other side's stream was heard."""
        self.error: OSError | None = None
        """Why there is no connection any more, if it did not end in order."""
        self._received = bytearray()
        self._expected = 0  # bytes that have been expected, and have come
        self._size, self._pause = 65_536, 0.0
        self._next_read = 0.0
        sock.watcher = self._hear

    @property
    def received(self) -> bytes:
        """All that has been read."""
        return bytes(self._received)

    @property
    def sent(self) -> bytes:
        """All that has been sent."""
        return bytes(self.socket.said)

    def send(self, data: bytes) -> Self:
        """Send it, as the connection takes it."""
        return self._then(self._send, data)

    def expect(self, data: bytes) -> Self:
        """Wait for the next ``len(data)`` bytes; they must be these, unless the connection breaks before."""
        return self._then(self._expect, data)

    def expect_end(self) -> Self:
        """Wait for the end of the stream, whatever comes before it."""
        return self._then(self._expect_end)

    def read_slowly(self, size: int, seconds: float) -> Self:
        """From now on read at most ``size`` bytes every so many seconds. A size of 0 is not to read at all."""
        return self._then(self._set_pace, (size, seconds))

    def shutdown(self) -> Self:
        """End the stream to the other side, and go on reading."""
        return self._then(self._end, "shutdown")

    def close(self) -> Self:
        """Close the connection; with a reset, if not all has been read."""
        return self._then(self._end, "close")

    def reset(self) -> Self:
        """Reset the connection."""
        return self._then(self._end, "reset")

    def pending(self) -> str:
        """What the script waits for in vain, if it does; empty if not."""
        if self._script and self.error is None and self.socket.number >= 0:
            step, argument = self._script[0]
            if step == self._expect:
                return f"{self.name} expects {argument!r}, but only {self.received[self._expected :]!r} has come"
            if step == self._expect_end:
                return f"{self.name} expects the end of the stream, which has not come"
        return ""

    def _hear(self) -> None:
        """Something has changed at the socket."""
        self._read()
        if self._script and self._until is None:  # else it waits for the time alone
            self._wake()

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
        if data:
            self._received += data
        else:
            self.ended = True
        if self._pause:
            self._next_read = self._clock.now + self._pause
            self._clock.at(self._next_read, self._hear)
        else:
            self._read()

    def _send(self, data: bytes) -> bool:
        if self.error is not None or self.socket.number < 0:
            return True
        try:
            count = self.socket.send(data)
        except BlockingIOError:
            return False
        except OSError as error:
            self.error = error
            return True
        if count == len(data):
            return True
        self._script[0] = self._send, data[count:]
        return False

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
        if how == "shutdown":
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                self.error = self.error or error
        else:
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        return True


class Correspondent(Actor):
    """One who sends datagrams to one address, and keeps what comes back. Made by `World.correspond`."""

    def __init__(self, clock: Clock, name: str, complaints: list[str], sock: DatagramSocket, address: Address) -> None:
        super().__init__(clock, name, complaints)
        self.socket = sock
        self.received: list[bytes] = []
        """The datagrams that have come, in their order."""
        self.sent: list[bytes] = []
        self._address = address
        sock.watcher = self._wake

    def send(self, packet: bytes) -> Self:
        """Send one datagram."""
        return self._then(self._send, packet)

    def close(self) -> Self:
        """Close the socket."""
        return self._then(self._close)

    def pending(self) -> str:
        """What the script waits for in vain: a correspondent waits for nothing."""
        return ""

    def _go_on(self) -> None:
        while self.socket.inbox:
            packet, sender = self.socket.recvfrom(65_536)
            self.received.append(packet)
            if sender != self._address and not _same_port(sender, self._address):
                self.complaints.append(f"{self.name} hears {packet!r} from {sender!r}, not from {self._address!r}")
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
    """Whether it may be the same socket, bound to all addresses."""
    return isinstance(sender, tuple) and sender[0] in ("0.0.0.0", "::") and sender[1] == address[1]
