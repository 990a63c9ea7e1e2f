"""What happens to hosts and links at some time: crashes, partitions, slow links. They are given to `World` as a list.

A host is given by its number, or any place by its IP address, so that an event can be written down before the world.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from .process import Process

    Place: TypeAlias = Process | int | str


class Changed(Protocol):
    """The part of a `World` that events change."""

    def place(self, place: Place) -> Any:
        """The host with that number; an IP address as it is."""

    def at(self, seconds: float, call: Callable[[], object]) -> None:
        """Call ``call()`` at that time."""

    def cut(self, place: Place, other: Place, *, one_way: bool = False) -> None:
        """Partition the network."""

    def heal(self, place: Place, other: Place, *, one_way: bool = False) -> None:
        """End a partition."""

    def slow(self, place: Place, other: Place, seconds: float, *, one_way: bool = False) -> None:
        """Set how much longer packets take."""


class Crash(NamedTuple):
    """The host with this number crashes ``at`` some time, and restarts after ``seconds``; ``inf``: never."""

    host: int
    at: float = 0.0
    seconds: float = 1.0

    def plan(self, world: Changed) -> None:
        """Let it happen in a world that has not begun."""
        world.at(self.at, lambda: world.place(self.host).crash())
        if self.seconds < inf:
            world.at(self.at + self.seconds, lambda: world.place(self.host).restart())


class Cut(NamedTuple):
    """No packet gets from ``place`` to ``other``, nor back unless it is ``one_way``, for ``seconds``."""

    place: int | str
    other: int | str
    at: float = 0.0
    seconds: float = 1.0
    one_way: bool = False

    def plan(self, world: Changed) -> None:
        """Let it happen in a world that has not begun."""
        world.at(self.at, lambda: world.cut(self.place, self.other, one_way=self.one_way))
        if self.seconds < inf:
            world.at(self.at + self.seconds, lambda: world.heal(self.place, self.other, one_way=self.one_way))


class Slow(NamedTuple):
    """For ``seconds``, packets between two places take ``delay`` seconds longer."""

    place: int | str
    other: int | str
    at: float = 0.0
    seconds: float = 1.0
    delay: float = 0.1

    def plan(self, world: Changed) -> None:
        """Let it happen in a world that has not begun."""
        world.at(self.at, lambda: world.slow(self.place, self.other, self.delay))
        if self.seconds < inf:
            world.at(self.at + self.seconds, lambda: world.slow(self.place, self.other, 0.0))


if TYPE_CHECKING:
    Event: TypeAlias = Crash | Cut | Slow

EVENTS = Crash, Cut, Slow
"""The classes of events."""
