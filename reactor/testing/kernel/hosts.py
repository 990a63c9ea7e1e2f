"""The hosts of a simulated world: each has addresses, ports and processes of its own, and can crash and start again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...modes.select_unix import SelectUnixStreamServer
from .faults import Plan
from .network import Network
from .process import Process
from .sockets import UNIX
from .streams import StreamSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...table.reactor import Reactor
    from .wire import Wire


class Host(Process):
    """One host, with a process that ``boot(host)`` starts: now, and anew after each crash. `World.host` constructs it.

    Its methods `serve` and `reactor` are those of a world with one process.
    """

    def __init__(self, wire: Wire, number: int, boot: Callable[[Host], object], addresses: tuple[str, ...],
                 **options: Any) -> None:  # fmt: skip
        super().__init__(wire, site=f"host {number}", addresses=addresses, **options)
        self.number = number
        """Its number: 0 for the first host of the world."""
        self.boots = 0
        """How often it was started."""
        self.is_up = False
        """Whether it runs."""
        self._boot = boot
        self._dead: list[Reactor] = []  # kept, so that no ``finally`` of a process that has crashed runs meanwhile
        for address in addresses:
            if wire.sites.setdefault(address, self.site) != self.site:
                raise ValueError(f"{wire.sites[address]} has the address {address} already")
        self.restart()

    def __str__(self) -> str:
        return self.site

    @property
    def address(self) -> str:
        """Its first address."""
        return self.addresses[0]

    def start(self, handler: Any) -> None:
        """Let a handler begin that no client has called, such as one that connects to other hosts (`Connected`).

        ``handler`` is the class of a `StreamHandler`. Its stream is that of a silent client on the same host.
        """
        name = b"\0start %d" % len(self._servers)
        self.serve(SelectUnixStreamServer, name, handler)
        silent = StreamSocket(self._others, UNIX)
        self._others.allocate(silent)
        silent.setblocking(False)
        silent.connect(name)

    def crash(self) -> None:
        """Stop the host, after the current step of a reactor: nothing of it runs any more, and its peers are not told.

        A connection to it fails with ``EHOSTUNREACH`` after three seconds. Data for it is sent again and again.
        """
        self.wire.clock.between(self._crash)

    def restart(self) -> None:
        """Start the host again, if it is down, with nothing that it knew: ``boot`` is called.

        It answers a reset to whatever comes on a connection of before.
        """
        self.wire.clock.between(self._restart)

    def _crash(self) -> None:
        if not self.is_up:
            return
        self.is_up = False
        self.wire.links.down.update(self.addresses)
        self.network.crash()
        self._others.crash()
        if self.loop is not None:
            self._dead.append(self.loop)
            row: Any
            for row in self.loop.table:
                row.mask = 0  # the selector has forgotten it
                self.loop.table.remove(row)
        self.exec()

    def _restart(self) -> None:
        if self.is_up:
            return
        self.is_up = True
        self.boots += 1
        self.wire.links.down.difference_update(self.addresses)
        self._others = Network(self.wire, Plan(), 1 << 20, self.site, self.addresses)  # other processes of the host
        self._boot(self)

    def end(self) -> None:
        super().end()
        self._dead.clear()
