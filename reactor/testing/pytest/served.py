"""A real server that runs in a thread while a test is its client. The fixture ``serve`` constructs it."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...servers.kinds import class_of
from ...table.reactor import Reactor
from ..running.loopback import SECONDS, server_class
from ..running.subject import takes_packets
from .leaks import GRACE, Leak

if TYPE_CHECKING:
    from typing_extensions import Self


class Served:
    """A running server of the handler class ``kind`` in ``mode``, on a free port of loopback.

    ``network`` provides its sockets, for example ``chaotic(seed)``. ``members`` become members of its class: hooks to
    override, ``max_requests`` and the like. `close`, or the end of a ``with`` block, ends the server.

    Raises `ValueError` for a mode that the host does not have, and whatever the constructor of the server raises.
    """

    def __init__(
        self, kind: Any, mode: str = "select", *, network: Any = socket, grace: float = GRACE, **members: Any
    ) -> None:
        self._packets = takes_packets(kind)
        self._grace = grace
        self._clients: list[socket.socket] = []
        self._lock = threading.Lock()  # held while the server forks and while a client's socket is opened
        self._reactor = Reactor(network=network)
        self._ends: list[BaseException] = []
        self._is_open = True
        base = server_class(mode, self._packets)
        bases = (_ClosesClients, base) if mode == "fork" else (base,)
        if mode == "thread":
            members.setdefault("daemon_threads", True)  # else a thread that never ends blocks the end of the test run
        try:
            self.server: Any = type(base.__name__, bases, members)(("127.0.0.1", 0), kind, reactor=self._reactor)
        except BaseException:
            self._reactor.close()
            raise
        self.server.clients, self.server.lock, self.server.parent = self._clients, self._lock, os.getpid()
        self._thread = threading.Thread(
            target=self._serve, name=f"{base.__name__} of {class_of(kind).__name__}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def address(self) -> tuple[str, int]:
        """The address of the server: ``(host, port)``."""
        address: tuple[str, int] = self.server.server_address
        return address

    def connect(self) -> socket.socket:
        """A connected client socket with a timeout of 10 seconds. `close` closes it.

        Children of the server close their copies of it. So the server sees the end of the stream as soon as the client
        closes, which is not so for a socket that the test opens itself.
        """
        with self._lock:
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if self._packets else socket.SOCK_STREAM)
            self._clients.append(client)
        client.settimeout(SECONDS)
        client.connect(self.address)
        return client

    def close(self) -> None:
        """Close the clients, then the server. A second call does nothing.

        Raises `Leak` if a row is still open ``grace`` seconds after the clients were closed, or if the server's thread
        does not end. An exception that left ``serve_forever()`` is raised again.
        """
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
            raise Leak(f"left open after their clients were closed: {', '.join(rows)}")

    def _serve(self) -> None:
        try:
            self.server.serve_forever()
        except BaseException as error:
            self._ends.append(error)

    def _left_open(self) -> list[str]:
        """The rows that have not ended in time. Exchanges of datagrams do not count: no packet says that they end."""
        deadline = time.monotonic() + self._grace
        table = self._reactor.table
        while not self._packets and len(table) and time.monotonic() < deadline:
            time.sleep(0.002)
        return [] if self._packets else [f"row {row.serial} ({row.handler}.{row.state}, {row.wait})" for row in table]


class _ClosesClients:
    """A mix-in for a server that forks: its children close their copies of the clients' sockets."""

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
