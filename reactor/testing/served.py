"""A real server that runs in a thread while a test is its client: what the fixture ``serve`` makes."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..loop import Reactor
from .leaks import GRACE, Leak
from .loopback import SECONDS, server_class
from .subject import takes_packets

if TYPE_CHECKING:
    from typing_extensions import Self


class Served:
    """A server of the handler class ``kind`` in ``mode``, on a free port of loopback, running.

    ``network`` is where its sockets come from, such as ``chaotic(seed)``. ``members`` are those of its class:
    hooks to override, ``max_requests``, and the like.

    `close` ends it, and raises `Leak` if a row is still open ``grace`` seconds after all clients have
    gone. So does the end of a ``with`` block.
    """

    def __init__(
        self, kind: Any, mode: str = "select", *, network: Any = socket, grace: float = GRACE, **members: Any
    ) -> None:
        self._packets = takes_packets(kind)
        self._grace = grace
        self._clients: list[socket.socket] = []
        self._lock = threading.Lock()  # nobody forks while a client is made
        self._reactor = Reactor(network=network)
        self._ends: list[BaseException] = []
        self._is_open = True
        base = server_class(mode, self._packets)
        bases = (_Careful, base) if mode == "fork" else (base,)
        if mode == "thread":
            members.setdefault("daemon_threads", True)  # one that never ends is a leak, not a test that hangs
        try:
            self.server: Any = type(base.__name__, bases, members)(("127.0.0.1", 0), kind, reactor=self._reactor)
        except BaseException:
            self._reactor.close()
            raise
        self.server.clients, self.server.lock, self.server.parent = self._clients, self._lock, os.getpid()
        self._thread = threading.Thread(target=self._serve, name=f"{base.__name__} of {kind.__name__}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def address(self) -> tuple[str, int]:
        """Where it is: ``(host, port)``."""
        address: tuple[str, int] = self.server.server_address
        return address

    def connect(self) -> socket.socket:
        """A client's socket, connected, whose calls time out after 10 seconds. It is closed with the server.

        A child of the server's has no copy of it, as it would have of a socket that the test makes itself:
        the end of the stream comes when the client says so.
        """
        with self._lock:
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if self._packets else socket.SOCK_STREAM)
            self._clients.append(client)
        client.settimeout(SECONDS)
        client.connect(self.address)
        return client

    def close(self) -> None:
        """End it. A second call does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        with self._lock:
            for client in self._clients:
                client.close()
        rows = self._left_open()
        self._reactor.stop()
        self._thread.join(SECONDS)
        if self._thread.is_alive():
            raise Leak(f"{self._thread.name} does not end; open: {', '.join(rows) or 'nothing'}")
        for pid in getattr(self.server, "active_children", None) or () if rows else ():
            self._reactor.children.kill(pid)
        self.server.server_close()
        self._reactor.close()
        for error in self._ends:
            raise error
        if rows:
            raise Leak(f"left open when their clients had gone: {', '.join(rows)}")

    def _serve(self) -> None:
        try:
            self.server.serve_forever()
        except BaseException as error:
            self._ends.append(error)

    def _left_open(self) -> list[str]:
        """The rows that have not ended in time; an exchange of datagrams ends when nothing more comes."""
        deadline = time.monotonic() + self._grace
        table = self._reactor.table
        while not self._packets and len(table) and time.monotonic() < deadline:
            time.sleep(0.002)
        return [] if self._packets else [f"row {row.serial} ({row.handler}.{row.state}, {row.wait})" for row in table]


class _Careful:
    """What a server here does besides: its children have no copies of its clients' sockets."""

    clients: list[socket.socket]
    lock: threading.Lock
    parent: int

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            super().process_request(request, client_address)  # type: ignore[misc]

    def finish_request(self, request: Any, client_address: Any) -> None:
        if os.getpid() != self.parent:
            for client in self.clients:
                with suppress(OSError):
                    client.close()
        super().finish_request(request, client_address)  # type: ignore[misc]
