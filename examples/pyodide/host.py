"""The sockets of a host whose Python has none: they and their selector are fed by the program around Python.

What a `Reactor` needs of a network is little: a listening socket, connections, and to be told which of
them are ready. Here the host's program (`serve.mjs`) accepts, reads and writes, and calls this module.
"""

from __future__ import annotations

import selectors
from collections import deque
from typing import Any

from reactor import Reactor

SOCK_STREAM = 1
AF_INET = 2
MOST = 1 << 16
"""Bytes that a connection takes until the host has passed them on; more waits in the row, where its bounds are."""


class Socket:
    """One socket of the host's, listening or connected. ``link`` is the host's own connection."""

    family, type = AF_INET, SOCK_STREAM

    def __init__(self, host: Host, link: Any = None, peer: tuple[str, int] = ("", 0)) -> None:
        self._host, self._link, self._peer = host, link, peer
        self._number = host.number()
        self._address = ("", 0)
        self._came: deque[Any] = deque()  # connections, or bytes; b"" is the end
        self._backlog = 0
        self._under_way = 0
        self._error: OSError | None = None

    def fileno(self) -> int:
        return self._number

    def readable(self) -> bool:
        return bool(self._came) or self._error is not None

    def writable(self) -> bool:
        return self._under_way < MOST or self._error is not None

    def is_full(self) -> bool:
        """Whether as many connections wait to be accepted as `listen` allows."""
        return len(self._came) >= self._backlog

    # What the host calls

    def arrives(self, data: Any) -> None:
        """Take a piece of input; the host reads no more until ``link.more()``."""
        self._came.append(data.to_bytes())

    def ended(self) -> None:
        self._came.append(b"")

    def passed_on(self, size: int) -> None:
        self._under_way -= size

    def broke(self, why: str) -> None:
        self._error = ConnectionResetError(why)

    # What the reactor calls

    def setblocking(self, flag: bool) -> None:
        pass  # nothing here blocks

    def settimeout(self, seconds: float | None) -> None:
        pass

    def gettimeout(self) -> float | None:
        return 0.0

    def setsockopt(self, *option: Any) -> None:
        pass

    def bind(self, address: tuple[str, int]) -> None:
        self._address = address

    def listen(self, backlog: int = 0) -> None:
        self._backlog = backlog
        self._host.listening[self._address[1]] = self

    def getsockname(self) -> tuple[str, int]:
        return self._address

    def getpeername(self) -> tuple[str, int]:
        return self._peer

    def accept(self) -> tuple[Socket, tuple[str, int]]:
        if not self._came:
            raise BlockingIOError
        connection: Socket = self._came.popleft()
        return connection, connection._peer

    def recv(self, limit: int, flags: int = 0) -> bytes:
        if self._error is not None:
            raise self._error
        if not self._came:
            raise BlockingIOError
        data: bytes = self._came[0]
        if not data:  # the end stays the end
            return b""
        self._came.popleft()
        if len(data) > limit:
            self._came.appendleft(data[limit:])
        else:
            self._link.more()
        return data[:limit]

    def send(self, data: bytes | bytearray, flags: int = 0) -> int:
        if self._error is not None:
            raise self._error
        part = bytes(data[: max(0, MOST - self._under_way)])
        if not part:
            raise BlockingIOError
        self._under_way += len(part)
        self._link.write(part)
        return len(part)

    def shutdown(self, how: int) -> None:
        if self._error is not None:
            raise self._error
        self._link.end()

    def close(self) -> None:
        if self._number >= 0:
            self._host.forget(self)
            self._number = -1
            if self._link is not None:
                self._link.close()


class Selector(selectors.BaseSelector):
    """Says which sockets of the host are ready. It never waits: the host steps the loop when something has come."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = []
        for number, key in list(self._keys.items()):
            sock = self._host.sockets[number]
            events = selectors.EVENT_READ * sock.readable() | selectors.EVENT_WRITE * sock.writable()
            if events & key.events:
                ready.append((key, events & key.events))
        return ready

    def get_map(self) -> dict[Any, selectors.SelectorKey]:
        return self._keys


class Host:
    """The network of the program around Python, and the loop on it."""

    AF_INET, SOCK_STREAM = AF_INET, SOCK_STREAM

    def __init__(self) -> None:
        self._selector = Selector(self)
        self.sockets: dict[int, Socket] = {}
        self.listening: dict[int, Socket] = {}
        self._numbers = 0
        self.loop = Reactor(self._selector, network=self)

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def socket(self, family: int = AF_INET, kind: int = SOCK_STREAM, proto: int = 0) -> Socket:
        return self._kept(Socket(self))

    def connected(self, port: int, link: Any, host: str, peer_port: int) -> Socket | None:
        """Somebody has connected to ``port``; ``None`` where nobody listens, or too many wait already."""
        listener = self.listening.get(port)
        if listener is None or listener.is_full():
            return None
        connection = self._kept(Socket(self, link, (host, peer_port)))
        listener._came.append(connection)
        return connection

    def forget(self, sock: Socket) -> None:
        self.sockets.pop(sock.fileno(), None)
        for port in [port for port, listener in self.listening.items() if listener is sock]:
            del self.listening[port]
            for connection in sock._came:
                connection.close()

    def _kept(self, sock: Socket) -> Socket:
        self.sockets[sock.fileno()] = sock
        return sock

    def step(self) -> float:
        """Do what can be done now. Returns in how many milliseconds to call it again at the latest; -1: never."""
        self.loop.step(0)
        if self._selector.select():  # what a row has come to wait for in this step may be here already
            return 0
        seconds = self.loop.timeout()
        return -1 if seconds is None else 1000 * seconds
