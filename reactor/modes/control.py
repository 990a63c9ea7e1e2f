"""`Control`: messages between a parent and one worker process: JSON objects, one a line, over a pair of Unix sockets.

The end of the stream tells a worker that its parent has ended, however that has come about: only the parent has the
other socket.
"""

from __future__ import annotations

import json
from selectors import EVENT_READ, EVENT_WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from typing import Any

    from ..loop.loop import Loop

PIECE = 1 << 16
"""Bytes that one call reads."""

FAREWELL = 1.0
"""Seconds that the last messages may take to leave."""


class Control:
    """One end of the pair. ``heard(message)`` is called for each message, ``lost()`` when the other end has closed."""

    def __init__(
        self, loop: Loop, sock: socket, heard: Callable[[dict[str, Any]], object], lost: Callable[[], object]
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._heard = heard
        self._lost = lost
        self._pieces: list[bytes] = []  # the beginning of a line; a long one is put together once
        self._output = bytearray()
        self._watch = loop.watch(sock, EVENT_READ, self._ready)
        loop.descriptors.add(self)

    def send(self, **message: Any) -> None:
        """Send a message. It never blocks; after the other end has closed, it does nothing."""
        self._output += json.dumps(message, default=str).encode() + b"\n"
        self._flush()

    def read(self) -> bool:
        """Take what has come. Returns whether more may come."""
        while True:
            try:
                piece = self._sock.recv(PIECE)
            except BlockingIOError:
                return True
            except OSError:
                piece = b""
            if not piece:
                return False
            *lines, rest = piece.split(b"\n")
            for line in lines:
                self._pieces.append(line)
                whole, self._pieces = b"".join(self._pieces), []
                self._heard(json.loads(whole))
            self._pieces.append(rest)

    def close(self) -> None:
        """Send what is left, for `FAREWELL` seconds at most, and close."""
        self._watch.cancel()
        self._loop.descriptors.discard(self)
        if self._output:
            self._sock.settimeout(FAREWELL)
            try:
                self._sock.sendall(self._output)
            except OSError:
                pass  # the other end has closed, or does not read
        self._sock.close()

    def close_copy(self, keep: object) -> None:
        """In a forked child: the messages are not for it."""
        self._sock.close()

    def _ready(self, events: int) -> None:
        if events & EVENT_WRITE:
            self._flush()
        if events & EVENT_READ and not self.read():
            self._watch.cancel()
            self._lost()

    def _flush(self) -> None:
        try:
            del self._output[: self._sock.send(self._output)]
        except BlockingIOError:
            pass
        except OSError:
            self._output.clear()  # the other end has closed; reading tells
        self._watch.modify(EVENT_READ | (EVENT_WRITE if self._output else 0))
