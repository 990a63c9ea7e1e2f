"""Readiness of a datagram socket ↔ the machines of its rows: one row for each peer in an exchange.

One socket serves all peers: what comes is sorted by the peer's address (`UDPServer`), what goes
out goes through that socket. A packet that the kernel does not take now waits in its row, and
the socket's `Port` asks for writability on behalf of all its rows.
"""

from __future__ import annotations

import socket
from collections import deque

from handlers import DatagramMachine, Reset

from .stream import AGAIN
from .table import LOOP, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from handlers import DatagramHandler

    from .loop import Reactor

DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)
"""Flag that makes one call non-blocking and leaves the socket as the handlers expect it."""


class PacketRow(Request):
    """The row of one exchange with one peer of a datagram socket."""

    __slots__ = ("first", "mail", "socket", "wake")
    machine: DatagramMachine

    def __init__(
        self, reactor: Reactor, server: Any, request: tuple[bytes, socket.socket], peer: Any,
        handler: DatagramHandler, driver: str,
    ) -> None:  # fmt: skip
        super().__init__(reactor, server, peer, DatagramMachine(handler, self), driver)
        self.first, self.socket = request
        self.mail = deque((self.first,))
        """Packets that have come and that the row's own loop has not yet collected."""
        self.wake: Callable[[], object] | None = None
        """Tells whoever drives the row that there is mail; ``None`` until somebody does."""

    def request(self) -> tuple[bytes, socket.socket]:
        return self.first, self.socket

    def released(self) -> None:
        super().released()
        if self.driver == LOOP:
            self.server.exchange_over(self)

    def start(self) -> None:
        """Let the handler begin; the packet that opened the exchange is in the mail."""
        self.wake = self.touched
        self.machine.advance()

    def deliver(self, packet: bytes) -> None:
        """Another packet of this peer has come; where the row has fallen far behind, it is dropped."""
        if len(self.mail) < DatagramMachine.max_packets:
            self.mail.append(packet)
            if self.wake is not None:
                self.wake()

    def settle(self, now: float) -> None:
        machine = self.machine
        while self.mail and not machine.finished:
            packet = self.mail.popleft()
            self.progress = now
            self.total_in += len(packet)
            machine.feed(packet)
        if machine.outbox:
            self._flush(now)
        if machine.blocked:
            machine.advance()
        if machine.fresh:
            self.took_turn(now)
        if machine.outbox:
            self.reactor.port(self.socket).send_later(self)
        elif machine.finished:
            self.reactor.end(self)

    def _flush(self, now: float) -> None:
        machine = self.machine
        if not self.peer:  # a Unix socket without a name: it can be heard, not answered
            self.drop(Reset(OSError("the peer has no address to answer to")))
        while machine.outbox:
            packet = machine.outbox[0]
            try:
                self.socket.sendto(packet, DONTWAIT, self.peer)
            except AGAIN:
                break
            except OSError as error:
                self.drop(Reset(error))
                return
            self.progress = now
            self.total_out += len(packet)
            machine.sent()
        self.check_output()
