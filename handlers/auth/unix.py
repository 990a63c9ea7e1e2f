"""`UnixPeer`: checks the user at the other end of a Unix socket (``unix(7)``, SO_PEERCRED)."""

from __future__ import annotations

from ..handler import StreamHandler
from .attempts import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any


class UnixPeer(StreamHandler):
    """Accepts a peer whose user is in ``users`` or whose group is in ``groups``, and refuses others.

    `principal` is ``uid=N``. The credentials are those at the time of ``connect(2)``. `allows` may be overridden.

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
    """Primary groups; the kernel does not tell others."""

    def allows(self, pid: int, uid: int, gid: int) -> bool:
        """Whether a peer with these credentials is accepted."""
        return uid in self.users or gid in self.groups

    def handle(self) -> Any:
        credentials = self.credentials
        if credentials is None:
            raise Refused("the kernel does not tell the credentials of this peer")
        if not self.allows(*credentials):
            raise Refused(f"user {credentials[1]} is not allowed")
        self.principal = f"uid={credentials[1]}"
        return super().handle()
