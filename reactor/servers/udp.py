"""`UDPServer`: the names and the contract of ``socketserver.UDPServer``."""

from __future__ import annotations

import socket

from .tcp import TCPServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..handlers.waits import MakePacketFilter


class UDPServer(TCPServer):
    """A server of datagram sockets, in the plain mode; see ``socketserver.UDPServer``.

    A request is ``(packet, socket)``, the packet whole. For a `DatagramHandler`, the packets of one peer
    to one of the server's addresses go to one request for as long as it waits for them (see `DatagramHandler.key`).

    A server that is bound to a wildcard address answers from the address that the packet was sent to; so does a
    blocking handler that sends with the socket of its request. An ICMP error that quotes the packet sent last to a
    peer ends the request of that peer with `Reset`; blocking handlers get no ICMP errors.

    A packet that claims to come from the server's own address, or at a wildcard from the server's port at any address
    of this host, is dropped and counted as ``"own address"`` in `RequestTable.refused`: each answer to it would be the
    next request, for ever. A forged packet can still make two servers at different ports answer each other, if both
    answer every packet; a handler should not answer a packet that is itself an answer.
    """

    socket_type = socket.SOCK_DGRAM
    max_packet_size = 65_536
    """Bytes that a packet may have (UDP allows 65,527). A longer one is dropped, counted as ``"truncated"`` in
    `RequestTable.refused`, and logged, at most once a minute."""

    filters: Sequence[MakePacketFilter] = ()  # type: ignore[assignment]
    """What makes the filters of each request (see `handlers.packet_filter`): the first is next to the wire.

    They are in front of a `DatagramHandler`, in every mode. A blocking handler of datagrams sends by the server's own
    socket, so that a server with filters refuses it (`TypeError`)."""

    def server_bind(self) -> None:
        """Bind the socket. May be overridden."""
        self._srv.exchanges.equip()  # first: the kernel notes the address called only for packets that come after this
        super().server_bind()
        self._srv.exchanges.equip()

    def server_activate(self) -> None:
        """Nothing to do: a datagram socket doesn't listen."""

    def get_request(self) -> tuple[Any, Any]:
        """Take ``((packet, socket), client_address)``. Raises ``OSError`` if there is no packet or it is too long."""
        return self._srv.exchanges.receive()

    def shutdown_request(self, request: Any) -> None:
        """Nothing to end: the socket is the server's."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """End the request; the socket is the server's and stays open."""
        self._srv.closed(request)
