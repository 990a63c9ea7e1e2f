"""What is due when. Re-arming costs one assignment, because it happens on every read of every row.

An item has a ``deadline``, which anybody moves later by assigning to it, and ``armed``, the moment
at which it stands in here. When that moment comes and the deadline has moved on, the item is put
in again further on. What is far away stands unsorted in the list of its second: eight bytes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NEVER = float("inf")


class Timed:
    """Something with a deadline, in seconds of the reactor's clock (``inf``: none)."""

    __slots__ = ("armed", "deadline")

    def __init__(self) -> None:
        self.deadline = NEVER
        self.armed = NEVER

    def expire(self, now: float) -> None:
        """The deadline has come."""
        raise NotImplementedError


class Timer(Timed):
    """A call that has been put off; `cancel` takes it back."""

    __slots__ = ("_arguments", "_call", "_timers")

    def __init__(
        self, deadline: float, call: Callable[..., object], arguments: tuple[Any, ...], timers: Timers | None = None
    ) -> None:
        self.deadline = deadline
        self.armed = NEVER
        self._call: Callable[..., object] | None = call
        self._arguments = arguments
        self._timers = timers

    def cancel(self) -> None:
        """Take the call back. Does nothing when it has been made or taken back already."""
        self._call = None
        if self._timers is not None:
            self._timers.disarm(self)

    def expire(self, now: float) -> None:
        call, self._call = self._call, None
        if call is not None:
            call(*self._arguments)

    def failed(self, error: Exception) -> None:
        """What the call raises leaves through the loop."""
        raise error


class Timers:
    """All items with a deadline, those of the current second sorted, the others by their second."""

    def __init__(self) -> None:
        self._near: list[tuple[float, int, Timed]] = []  # the next one last
        self._far: dict[int, list[Timed]] = {}
        self._horizon = 0  # what is due before this second is near
        self._next_far = NEVER
        self._entries = 0  # ever put in: breaks ties in the order of arming
        self._dead = 0  # taken back since the last sweep, and perhaps still standing here
        self._enough = 100  # dead entries that are worth a sweep

    def __len__(self) -> int:
        """Entries held, those that have moved on or were taken back but not yet dropped included."""
        return len(self._near) + sum(map(len, self._far.values()))

    def arm(self, item: Timed) -> None:
        """Make sure that ``item`` is looked at when its deadline comes. Call it when that moved earlier."""
        deadline = item.deadline
        if deadline >= item.armed:
            return
        item.armed = deadline
        second = int(deadline)
        if second < self._horizon:
            self._insert(self._entry(item))
        else:
            self._far.setdefault(second, []).append(item)
            if second < self._next_far:
                self._next_far = second

    def disarm(self, item: Timed) -> None:
        """Take ``item`` back for good: it has no deadline any more."""
        item.deadline = NEVER
        if item.armed < NEVER:
            self._dead += 1
            if self._dead > self._enough:
                self._sweep()

    def next(self) -> float:
        """When something may be due next, ``inf`` for never."""
        while self._near:
            when, _, item = self._near[-1]
            if item.armed == when and item.deadline == when:
                return when
            self._again(self._near.pop())
        return self._next_far

    def due(self, now: float) -> list[Timed]:
        """Take out and return, in the order of their deadlines, the items whose deadline has come."""
        horizon = int(now) + 1
        if horizon > self._horizon:
            self._bring_near(horizon)
        due: list[Timed] = []
        while self._near and self._near[-1][0] <= now:
            entry = self._near.pop()
            when, _, item = entry
            if item.armed == when and item.deadline <= now:
                item.armed = item.deadline = NEVER
                due.append(item)
            else:
                self._again(entry)
        return due

    def _bring_near(self, horizon: int) -> None:
        self._horizon = horizon
        if self._next_far >= horizon:
            return
        for second in sorted(second for second in self._far if second < horizon):
            for item in self._far.pop(second):
                if second <= item.armed < second + 1:
                    self._near.append(self._entry(item))
        self._near.sort(reverse=True)
        self._next_far = min(self._far, default=NEVER)

    def _entry(self, item: Timed) -> tuple[float, int, Timed]:
        self._entries += 1
        return item.armed, self._entries, item

    def _insert(self, entry: tuple[float, int, Timed]) -> None:
        # By hand, because the import of bisect or heapq is a tenth of this package's.
        near, low, high = self._near, 0, len(self._near)
        while low < high:
            middle = (low + high) // 2
            if near[middle] > entry:
                low = middle + 1
            else:
                high = middle
        near.insert(low, entry)

    def _again(self, entry: tuple[float, int, Timed]) -> None:
        """Put an item whose moment came too soon in again, where its deadline is now."""
        when, _, item = entry
        if item.armed == when:
            item.armed = NEVER
            self.arm(item)

    def _sweep(self) -> None:
        """Drop the entries of all that have no deadline now; amortised over the calls of `disarm`."""
        self._near = [entry for entry in self._near if self._lives(entry[2])]
        self._far = {
            second: alive for second, items in self._far.items() if (alive := list(filter(self._lives, items)))
        }
        self._next_far = min(self._far, default=NEVER)
        self._dead = 0
        self._enough = max(100, len(self))

    @staticmethod
    def _lives(item: Timed) -> bool:
        if item.deadline < NEVER:
            return True
        item.armed = NEVER
        return False
