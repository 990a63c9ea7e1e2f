"""What is due when. Re-arming costs one assignment, because it happens on every read of every row.

An item has a ``deadline``, which anybody moves later by assigning to it, and ``armed``, the moment
at which it stands in here. When that moment comes and the deadline has moved on, the item is put
in again further on. What is far away stands unsorted in the list of its slot: eight bytes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NEVER = float("inf")

SLOT = 1 / 4
"""Seconds. What is due within the current slot is sorted: all else costs the same, however much there is."""

LONGEST = 2_000_000
"""Seconds that one ``select()`` may take: the kernel counts milliseconds in an int, up to 24 days (``poll(2)``)."""


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
    """All items with a deadline, those of the current slot sorted, the others by their slot."""

    def __init__(self) -> None:
        self._near: list[tuple[float, int, Timed]] = []  # the next one last
        self._far: dict[float, list[Timed]] = {}
        self._horizon = 0.0  # what is due before this slot is near
        self._latest = NEVER  # the slot that was last put in `_far`
        self._first = NEVER  # the first slot that is in `_far`
        self._armings = 0  # breaks ties, in the order of arming
        self._size = 0
        self._dead = 0  # entries, at the most, whose item has been taken back or stands elsewhere now

    def __len__(self) -> int:
        """Entries held, those of items that have moved on or were taken back included."""
        return self._size

    def arm(self, item: Timed) -> None:
        """Make sure that ``item`` is looked at when its deadline comes. Call it when that moved earlier."""
        deadline = item.deadline
        if deadline >= item.armed:
            return
        if item.armed < NEVER:
            self._died()
        self._size += 1
        slot = _slot(deadline)
        if slot < self._horizon:
            item.armed = deadline
            self._insert(self._entry(item))
        else:
            if slot != self._latest:
                self._latest = slot
            item.armed = self._latest  # one object for all of that slot: 24 bytes less for each
            self._far.setdefault(slot, []).append(item)
            if slot < self._first:
                self._first = slot

    def disarm(self, item: Timed) -> None:
        """Take ``item`` back: it has no deadline any more."""
        item.deadline = NEVER
        if item.armed < NEVER:
            item.armed = NEVER
            self._died()

    def next(self) -> float:
        """When something is due next, or up to a slot before; ``inf`` for never."""
        while self._near:
            when, _, item = self._near[-1]
            if item.armed == when and item.deadline == when:
                return when
            self._near.pop()
            self._again(item, item.armed == when)
        while self._far:
            items = self._far[self._first]
            while items:
                item = items[-1]
                if item.deadline < NEVER and item.armed == self._first:
                    return self._first
                items.pop()
                self._again(item, item.armed == self._first)
            del self._far[self._first]
            self._first = min(self._far, default=NEVER)
        return NEVER

    def due(self, now: float) -> list[Timed]:
        """Take out and return, in the order of their deadlines, the items whose deadline has come."""
        horizon = _slot(now) + SLOT
        if horizon > self._horizon:
            self._bring_near(horizon)
        due: list[Timed] = []
        while self._near and self._near[-1][0] <= now:
            when, _, item = self._near.pop()
            if item.armed == when and item.deadline == when:
                self._size -= 1
                item.armed = item.deadline = NEVER
                due.append(item)
            else:
                self._again(item, item.armed == when)
        return due

    def _bring_near(self, horizon: float) -> None:
        self._horizon = horizon
        if self._first >= horizon:
            return
        for slot in sorted(slot for slot in self._far if slot < horizon):
            for item in self._far.pop(slot):
                if item.armed == slot and _slot(item.deadline) == slot:
                    item.armed = item.deadline
                    self._near.append(self._entry(item))
                else:
                    self._again(item, item.armed == slot)
        self._near.sort(reverse=True)
        self._first = min(self._far, default=NEVER)

    def _entry(self, item: Timed) -> tuple[float, int, Timed]:
        self._armings += 1
        return item.armed, self._armings, item

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

    def _again(self, item: Timed, is_current: bool) -> None:
        """An entry has been taken out too soon; if it is its item's, put that in where its deadline is now."""
        self._size -= 1
        if is_current:
            item.armed = NEVER
            self.arm(item)

    def _died(self) -> None:
        """An entry is of no use any more. When half of them are, drop those: that is cheap on average."""
        self._dead += 1
        if self._dead > 100 and 2 * self._dead > self._size:
            self._near = [entry for entry in self._near if entry[2].armed == entry[0]]
            for slot, items in list(self._far.items()):
                self._far[slot] = [item for item in dict.fromkeys(items) if item.armed == slot]
                if not self._far[slot]:
                    del self._far[slot]
            self._first = min(self._far, default=NEVER)
            self._size = len(self._near) + sum(map(len, self._far.values()))
            self._dead = 0


def _slot(moment: float) -> float:
    """When the slot began that ``moment`` is in; ``inf`` is in none of them."""
    return moment // SLOT * SLOT if moment < NEVER else NEVER
