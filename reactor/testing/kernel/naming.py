"""Host names in a simulated world: its file ``/etc/hosts``, then its name server, which may not answer.

A lookup takes as long as the links to the name server make it take.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from ...handlers import Failed
from ...modes.jobs import ThreadedJob
from ...rows.names import Resolved
from ...table.work import does
from .network import Network, address_info

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...table.request import Request
    from ...table.work import Work


@does(Resolved)
def look_up(row: Request, wait: Resolved) -> Work:
    """The work of `Resolved`: in a simulated world a simulated lookup, elsewhere one in a thread."""
    return SimulatedLookup(row, wait) if isinstance(row.reactor.network, Network) else ThreadedJob(row, wait)


class SimulatedLookup:
    """A lookup for one row, while the loop goes on."""

    def __init__(self, row: Request, wait: Resolved) -> None:
        network: Any = row.reactor.network
        self._row = row
        self._wait = wait
        self._clock = network.wire.clock
        self._arguments: Any = wait.arguments
        self._found: list[str] = []
        self._lookup: Iterator[float] | None = network.lookup(self._arguments[0], self._found)

    def start(self) -> None:
        self._clock.at(self._clock.now, self._go_on)

    def cancel(self) -> None:
        self._lookup = None

    def close_copy(self) -> None:
        """It has no descriptor."""

    def _go_on(self) -> None:
        if self._lookup is None:
            return
        try:
            seconds = next(self._lookup, None)
        except socket.gaierror as error:
            self._finish(Failed(self._wait, error))
            return
        if seconds is None:
            _, port, _, kind = self._arguments
            self._finish([address_info(name, port, kind) for name in self._found])
        else:
            self._clock.at(self._clock.now + seconds, self._go_on)

    def _finish(self, result: object) -> None:
        self._row.reactor.work.finish(self._row, self, result)
