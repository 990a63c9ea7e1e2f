"""The row of a request that a blocking handler does by itself, in the caller, a child or a thread."""

from __future__ import annotations

from socket import SHUT_RDWR

from ..handlers import Cancelled
from ..table.request import Request, Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.reactor import Reactor
    from ..table.request import Owner


class BlockingRow(Request):
    """A row without a channel: what its handler waits for, and holds, only the handler knows."""

    __slots__ = ("_request",)

    def __init__(self, reactor: Reactor, server: Any, request: Any, peer: Any, owner: Owner) -> None:
        super().__init__(reactor, server, peer, owner)
        self._request = request

    @property
    def request(self) -> Any:
        return self._request

    @property
    def lingering(self) -> bool:
        return self.stage is Stage.LINGERING

    def break_off(self) -> None:
        """End what the handler waits for: kill the child that runs it, or shut down its connection."""
        if self.driven_by.pid:
            self.reactor.children.kill(self.driven_by.pid)
            return
        self.error = Cancelled()
        try:
            self._request.shutdown(SHUT_RDWR)
        except (AttributeError, OSError):  # a packet has no shutdown(); the client may have gone first
            pass

    def close_copy(self) -> None:
        close = getattr(self._request, "close", None)  # a packet has none
        if close is not None:
            close()
