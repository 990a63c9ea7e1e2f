"""`UnixPeer`: the user at the other end of a Unix socket, as the kernel tells it (``unix(7)``, SO_PEERCRED)."""

from __future__ import annotations

from ..handler import StreamHandler
from .attempts import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any


class UnixPeer(StreamHandler):
    """Let a peer in whose user or group is among those; end the connection of any other. `principal` is ``uid=N``.

    The credentials are those at the time of ``connect(2)``. `allows` may be overridden.

    >>> from handlers import StreamMachine, World
    >>> from handlers.services import Echo
    >>> class Server(UnixPeer, Echo):
    ...     users = {1000}
    >>> for uid in 1000, 1001:
    ...     machine = StreamMachine(Server(), World(credentials=(4711, uid, 100)))
    ...     machine.advance()
    ...     machine.handler.principal, machine.finished
    ('uid=1000', False)
    (None, True)
    """

    users: Container[int] = ()
    groups: Container[int] = ()
    """Primary groups: the kernel tells no others."""

    def allows(self, pid: int, uid: int, gid: int) -> bool:
        """Whether the peer with these credentials may come."""
        return uid in self.users or gid in self.groups

    def handle(self) -> Any:
        credentials = self.credentials
        if credentials is None:
            raise Refused("the kernel does not tell who the peer is")
        if not self.allows(*credentials):
            raise Refused(f"user {credentials[1]} may not come")
        self.principal = f"uid={credentials[1]}"
        return super().handle()
