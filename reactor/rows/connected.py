"""`ConnectedRow`: the row of a datagram socket of its own, which a handler has connected to one peer (`Connected`).

The kernel hands over packets of that peer only, and tells of an ICMP error (nobody receives at the port) as the error
of the next system call (``udp(7)``). While the handler waits for no packet, packets stay in the kernel.
"""

from __future__ import annotations

from selectors import EVENT_READ, EVENT_WRITE

from ..handlers import DatagramMachine, Reset
from ..handlers.filter import chain
from ..loop.kernel import AGAIN, SHORT
from .driven import SocketRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..handlers import DatagramHandler
    from ..handlers.channel import PacketChannel
    from ..table.reactor import Reactor
    from ..table.request import DrivenBy, Owner

MAX_PACKET = 65_536
"""Bytes of a datagram that are read; UDP has fewer."""

RETRY = 0.01
"""Seconds until a packet is sent again for which the host had no memory."""


class ConnectedRow(SocketRow):
    """The row of a connected datagram socket; its handler begins without a packet."""

    __slots__ = ("_is_short",)
    channel: PacketChannel

    def __init__(
        self, reactor: Reactor, server: Any, sock: socket.socket, peer: Any, handler: DatagramHandler, owner: Owner,
        filters: Sequence[Callable[[Any], Any]], driven_by: DrivenBy,
    ) -> None:  # fmt: skip
        super().__init__(reactor, server, sock, peer, owner, driven_by)
        self._is_short = False  # whether the host has no memory for a packet; the socket can be written all the while
        self.channel = DatagramMachine(handler, self)
        if filters:
            self.channel = chain(self.channel, filters)

    def start(self) -> None:
        self.channel.advance()

    def ready(self, events: int, now: float) -> None:
        if events & EVENT_READ and self.channel.wants_input:
            try:
                packet = self.socket.recv(MAX_PACKET)
            except AGAIN:
                pass
            except OSError as error:
                self.lose(Reset(error))
            else:
                self.progress = now
                self.total_in += len(packet)
                self.channel.feed(packet)
        self.settle(now)

    def settle(self, now: float) -> None:
        self.go_on(now)
        channel = self.channel
        mask = EVENT_READ if channel.wants_input else 0
        if channel.outbox:
            mask |= 0 if self._is_short else EVENT_WRITE
        elif channel.finished:
            self.reactor.end(self)
            return
        if mask != self.mask:
            self.watch_for(mask)

    def flush(self, now: float) -> None:
        """Send packets until the kernel takes no more."""
        channel = self.channel
        while channel.outbox and not self._is_short:
            packet = channel.outbox[0]
            try:
                self.socket.send(packet)
            except AGAIN:
                break
            except OSError as error:
                if error.errno not in SHORT:
                    self.lose(Reset(error))
                    return
                self._is_short = True
                self.reactor.call_later(RETRY, self._try_again)
                break
            self.progress = now
            self.total_out += len(packet)
            channel.sent()
        self.check_output()

    def _try_again(self) -> None:
        self._is_short = False
        self.touched()
