"""What a server asks of whatever takes arrivals from its socket: `connections.Connections`, `exchanges.Exchanges`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ..table.reactor import Reactor
    from ..table.request import Request

    class Intake(Protocol):
        """What arrives at a server's socket: connections, or the packets of exchanges."""

        is_listener: bool
        """Whether requests have sockets of their own."""

        def has_room(self) -> bool: ...
        def listen(self, arrivals: Callable[[], object]) -> None:
            """Call ``arrivals()`` whenever something has arrived."""

        def unlisten(self) -> None: ...
        def take(self) -> bool:
            """Take one arrival; whether there may be more. Raises ``OSError``."""

        def make_row(self, request: Any, client_address: Any) -> Request: ...
        def pause(self) -> None:
            """Begin no request for now; what arrives for those that are open still comes."""

        def timeout(self) -> float | None:
            """The timeout that the user has set on the socket, in seconds."""

        def alongside(self, inner: Reactor) -> None:
            """``inner`` is about to drive a request in the thread of the server's loop."""

        def wait_for_room(self) -> None:
            """Leave arrivals in the kernel until a request has ended, but for those of open exchanges."""

        def over(self, row: Request) -> None:
            """The request of ``row`` has ended."""
