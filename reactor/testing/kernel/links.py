"""The links between the addresses of a world: cut, slow or lossy; and the hosts that are down.

A link has one direction: from the address of a sender to that of a receiver.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeAlias

    Address: TypeAlias = tuple[Any, ...] | str | bytes | None


class Link:
    """What happens to packets from one address to another."""

    def __init__(self) -> None:
        self.cuts = 0
        """How many partitions drop all packets."""
        self.delay = 0.0
        """Seconds that packets take longer."""
        self.loss = 0.0
        """The share of packets that are lost, from 0 to 1."""


class Links:
    """The links of a world that differ from an ordinary one."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        """The addresses of hosts that are down."""
        self._links: dict[tuple[str, str], Link] = {}
        # Which packets a link loses depends only on the packets before. Random.random() is the same on every Python.
        self._random = Random(0).random

    def link(self, source: str, target: str) -> Link:
        """The link from one address to another, to be changed."""
        return self._links.setdefault((source, target), Link())

    def is_cut(self, source: Address, target: Address) -> bool:
        """Whether no packet gets from one socket address to the other."""
        if not self._links and not self.down:
            return False
        link = self._find(source, target)
        return (link is not None and link.cuts > 0) or self.is_down(target)

    def carries(self, source: Address, target: Address) -> bool:
        """Whether a packet that is sent now gets from one socket address to the other."""
        if self.is_cut(source, target):
            return False
        link = self._find(source, target)
        return link is None or not link.loss or self._random() >= link.loss

    def is_down(self, address: Address) -> bool:
        """Whether the host that has the address is down."""
        return isinstance(address, tuple) and address[0] in self.down

    def delay(self, source: Address, target: Address) -> float:
        """Seconds that a packet takes longer than over an ordinary link."""
        link = self._find(source, target)
        return 0.0 if link is None else link.delay

    def _find(self, source: Address, target: Address) -> Link | None:
        if not self._links or not isinstance(source, tuple) or not isinstance(target, tuple):
            return None
        return self._links.get((source[0], target[0]))
