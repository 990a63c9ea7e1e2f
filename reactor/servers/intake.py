"""`Intake`: the contract of the part that takes arrivals from a server's socket.

`connections.Connections` and `exchanges.Exchanges` fulfil it.
"""

from __future__ import annotations

_intakes: dict[type, type[Intake]] = {}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ..table.reactor import Reactor
    from ..table.request import Request

    class Intake(Protocol):
        """Takes arrivals from a server's socket: connections, or packets."""

        is_listener: bool
        """Whether each request has a socket of its own."""

        def has_room(self) -> bool:
            """Whether one more request may be taken, as far as this part limits it."""

        def listen(self, arrivals: Callable[[], object]) -> None:
            """Call ``arrivals()`` whenever something has arrived."""

        def unlisten(self) -> None:
            """Take the socket out of the selector: the server takes no more requests."""

        def take(self) -> None:
            """Take one arrival. Raises ``OSError``, as ``accept()`` or ``recvfrom()`` does, if there is none."""

        def make_row(self, request: Any, client_address: Any) -> Request:
            """The row of a new request; it is not in the table yet."""

        def pause(self) -> None:
            """Begin no request for now; packets of open exchanges are still taken."""

        def timeout(self) -> float | None:
            """The timeout that the user has set on the socket, in seconds."""

        def alongside(self, inner: Reactor) -> None:
            """The loop ``inner`` is about to drive one request in the thread of the server's loop, which stands still.

            What open requests need from the server's socket meanwhile, ``inner`` must watch.
            """

        def wait_for_room(self) -> None:
            """Leave arrivals in the kernel until a request has ended; packets of open exchanges are still taken."""

        def over(self, row: Request) -> None:
            """The request of ``row`` has ended."""


def register_intake(mixin: type, intake: type[Intake]) -> None:
    """Have servers that are derived from ``mixin`` take arrivals with ``intake``."""
    _intakes[mixin] = intake


def intake_of(server: type, default: type[Intake]) -> type[Intake]:
    """The intake of a server class; ``default`` if none of its mix-ins has one."""
    return next((_intakes[base] for base in server.__mro__ if base in _intakes), default)
