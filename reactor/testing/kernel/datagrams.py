"""Simulated datagram sockets: UDP and Unix, connected to one peer or not."""

from __future__ import annotations

import errno
import socket
from collections import deque
from selectors import EVENT_WRITE
from typing import TYPE_CHECKING, Any

from .faults import FULL, LOST, OVERTAKEN, REPEATED, TRUNCATED, failure
from .sockets import BOTH, UNIX, Socket, unreachable
from .wire import ANY_HOST

if TYPE_CHECKING:
    from .sockets import Kernel
    from .wire import Address, Bound

_LARGEST, _LARGEST_6 = 65_507, 65_527  # bytes: 65,535 without the headers that count (RFC 768, RFC 791, RFC 8200)


class DatagramSocket(Socket):
    """A UDP or a Unix datagram socket."""

    type: int = socket.SOCK_DGRAM
    __slots__ = ("_held", "inbox", "received_from", "sent_to")

    def __init__(self, network: Kernel, family: int) -> None:
        super().__init__(network, family)
        self.inbox: deque[tuple[bytes, Address | None]] = deque()
        """The datagrams that have arrived and were not read, each with its sender."""
        self.received_from: set[Address | None] = set()
        """The senders of all datagrams that ``recvfrom()`` has returned."""
        self.sent_to: set[Address | None] = set()
        """The addresses of all calls of ``sendto()``."""
        self._held = 0

    def connect(self, address: Address) -> None:
        """As ``socket.connect``: from now on only packets of ``address`` come, and errors of ICMP are told."""
        self._check_open()
        if isinstance(address, tuple):
            address = self.network.wire.whole(self.family, address)
            self.bind_for(address)
        elif (number := self._unreachable(self.network.wire.find(self, address), address)) != 0:
            raise self._failed("connect", number)
        self.remote = address

    def send(self, data: Any, flags: int = 0) -> int:
        """As ``socket.send``, of a connected socket."""
        if self.remote is None:
            self._check_open()
            raise self._failed("send", errno.EDESTADDRREQ if self.family != UNIX else errno.ENOTCONN)
        return self.sendto(data, flags, self.remote)

    def recv(self, limit: int, flags: int = 0) -> bytes:
        """As ``socket.recv``."""
        packet: bytes = self.recvfrom(limit, flags)[0]
        return packet

    def getpeername(self) -> Address:
        """As ``socket.getpeername``."""
        self._check_open()
        if self.remote is None:
            raise failure(errno.ENOTCONN)
        return self.remote

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """As ``socket.sendto``."""
        *rest, address = flags_and_address
        flags = rest[0] if rest else 0
        plan, wire = self.network.plan, self.network.wire
        self._begin("sendto")
        self._raise_error("sendto")
        self.sent_to.add(address)
        if self.family != UNIX:
            self._prepare(len(data), address)
        self._could("sendto", flags)
        if plan.draw(FULL):
            raise self._failed("sendto", errno.ENOBUFS)
        target = wire.find(self, address)
        packet = bytes(data)
        if self.family == UNIX:
            self._sendto_unix(packet, target, address, flags)
        self.note("sendto", (packet, address))
        if self.family != UNIX:
            self._transmit(packet, target, address)
        return len(packet)

    def recvfrom(self, limit: int, flags: int = 0) -> tuple[bytes, Any]:
        """As ``socket.recvfrom``."""
        if limit < 0:
            raise ValueError("negative buffersize in recvfrom")
        self._begin("recvfrom")
        self._raise_error("recvfrom")
        if not self.inbox:
            raise self._blocks("recvfrom", flags)
        self._could("recvfrom", flags)
        packet, address = self.inbox.popleft()
        self._held -= len(packet)
        self.received_from.add(address)
        self.note("recvfrom", (packet, address))
        return packet[:limit], address

    def events(self, wanted: int = BOTH) -> int:
        return wanted if self.inbox or self.error else EVENT_WRITE & wanted

    def arrive(self, packet: bytes, sender: Address | None) -> None:
        """A datagram arrives. It is dropped if the socket is closed, has no room, or is connected to another peer."""
        if self.number >= 0 and self._has_room(packet) and self._hears(sender):
            self.inbox.append((packet, sender))
            self._held += len(packet)
            self.changed()

    def arrive_refusal(self) -> None:
        """The peer's host tells that nothing receives at the port (ICMP, RFC 792)."""
        if self.number >= 0:
            self.error = errno.ECONNREFUSED
            self.changed()

    def vanish(self) -> None:
        super().vanish()
        self.inbox.clear()

    def _hears(self, sender: Any) -> bool:
        """Whether packets of the sender come: it may be bound to the wildcard address, and on no host."""
        remote: Any = self.remote
        if remote is None or sender == remote:
            return True
        return isinstance(sender, tuple) and sender[0] in ANY_HOST.values() and sender[1] == remote[1]

    def _raise_error(self, call: str) -> None:
        number, self.error = self.error, 0
        if number:
            raise self._failed(call, number)

    def _has_room(self, packet: bytes) -> bool:
        return not self.inbox or self._held + len(packet) <= self.network.wire.capacity

    def _prepare(self, size: int, address: Address) -> None:
        """Bind the socket if it is not bound, and raise ``OSError`` if ``size`` bytes cannot be sent to ``address``."""
        self.bind_for(address)
        if size > (_LARGEST if self.family == socket.AF_INET else _LARGEST_6):
            raise self._failed("sendto", errno.EMSGSIZE)
        if not address[1]:
            raise self._failed("sendto", errno.EINVAL)

    def _sendto_unix(self, packet: bytes, target: Bound | None, address: Address, flags: int) -> None:
        number = self._unreachable(target, address)
        if number:
            raise self._failed("sendto", number)
        assert isinstance(target, DatagramSocket)
        if not target._has_room(packet):
            raise self._blocks("sendto", flags)
        target.arrive(packet, self.local)

    def _unreachable(self, target: Bound | None, address: Address) -> int:
        """The ``errno`` for a Unix address at which no datagram can arrive; 0 if one can."""
        if isinstance(target, DatagramSocket) and target.number >= 0:
            return 0
        return unreachable(target, self.type, address)

    def _transmit(self, packet: bytes, target: Bound | None, address: Address) -> None:
        wire = self.network.wire
        sender = self._sender(address)
        if not isinstance(target, DatagramSocket):
            if self.remote is not None and wire.links.carries(sender, address) and wire.links.carries(address, sender):
                wire.clock.at(wire.clock.now + wire.delay(sender, address), self.arrive_refusal)
            return
        draw = wire.plan.draw
        if draw(LOST):
            return
        size = draw(TRUNCATED, len(packet) - 1) if len(packet) > 1 else 0
        if size:
            packet = packet[:size]
        for _ in range(2 if draw(REPEATED) else 1):
            delay = wire.delay(sender, address) + draw(OVERTAKEN, 200) / 1000
            if not wire.links.carries(sender, address):
                continue
            if delay:
                wire.clock.at(wire.clock.now + delay, target.arrive, packet, sender)
            else:
                target.arrive(packet, sender)

    def _sender(self, target: Address) -> Any:
        """The address that the packet comes from. On a host it is one of the host's own."""
        local: Any = self.local
        if self.site and local[0] in ANY_HOST.values():
            return (self.network.own_address(self.family, target), *local[1:])
        return self.local
