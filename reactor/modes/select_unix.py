"""Select mode over Unix sockets, of streams and of datagrams."""

from __future__ import annotations

from ..servers.tcp import QUEUE
from ..servers.unix import UnixDatagramServer, UnixStreamServer
from .select import SelectMixIn


class SelectUnixStreamServer(SelectMixIn, UnixStreamServer):
    """Unix stream sockets, one loop for all connections."""

    request_queue_size = QUEUE


class SelectUnixDatagramServer(SelectMixIn, UnixDatagramServer):
    """Unix datagram sockets, one loop for all exchanges."""
