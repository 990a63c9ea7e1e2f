"""`Timers`: the deadlines of one loop. Moving a deadline to a later time costs one assignment: each read does it.

An item has a ``deadline``, which anybody may move later by assigning to it, and ``armed``, the moment at which `Timers`
looks at it. If the deadline has moved on by then, the item is armed again, further on. A deadline that is far away is
looked at when its slot begins, one that is farther away when its far slot begins; only those of the current slot are in
order.

The items of one moment are linked in a ring, and a dictionary has the rings. So to arm an item, to arm it again and to
disarm it take a bounded number of steps, however many items there are, and nothing here refers to an item that is
disarmed. What is not bounded is done for many at once, when the loop looks for what is next. Moments that are new since
the last look are sorted in: one sort for all of them, or, where they are few, a search and ``list.insert()`` for each.
Rings that have become empty stay for other items of their moment. Once they may be half of all, they are dropped then,
too.

All links are changed without a call in between, because Python calls signal handlers between calls, and they may raise:
an interrupted call loses no item.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

NEVER = float("inf")

SLOT = 1 / 4
"""Seconds. What is due within the current slot is sorted; what is due later is only known to be due in its slot."""

FAR_SLOT = 1024
"""Seconds. What is not due within the current one of these is only known to be due in its own one."""

FEW = 64
"""New moments are inserted one by one where there are this many times as many others; else all are sorted."""

SPARE = 64
"""Empty rings that are always kept."""

LONGEST = 2_000_000
"""Seconds that one ``select()`` may take: the kernel counts milliseconds in an int, up to 24 days (``poll(2)``)."""


def nothing(*arguments: object) -> None:
    """A callback that does nothing: it wakes the loop or keeps its step from waiting, or nobody is to be told."""


class Timed:
    """Something with a deadline, in seconds of the loop's clock (``inf``: none)."""

    __slots__ = ("_next", "_previous", "armed", "deadline")
    _next: Timed  # its neighbours in the ring, while it is armed
    _previous: Timed

    def __init__(self) -> None:
        self.deadline = NEVER
        self.armed = NEVER

    def expire(self, now: float) -> None:
        """The deadline has come."""
        raise NotImplementedError


class Timer(Timed):
    """A call that is made later; `cancel` cancels it."""

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
        """Cancel the call and drop its arguments. Does nothing if the call was made or cancelled before."""
        self._take()
        if self._timers is not None:
            self._timers.disarm(self)

    def expire(self, now: float) -> None:
        call, arguments = self._take()
        if call is not None:
            call(*arguments)

    def failed(self, error: Exception) -> None:
        """What the call raises leaves through the loop."""
        raise error

    def _take(self) -> tuple[Callable[..., object] | None, tuple[Any, ...]]:
        call, arguments = self._call, self._arguments
        self._call, self._arguments = None, ()
        return call, arguments


class _Ring(Timed):
    """A ring of the items that are looked at when ``armed``, a moment, has come, in the order of arming."""

    __slots__ = ()

    def __init__(self, moment: float) -> None:
        self.armed = moment
        self._next = self._previous = self

    def __iter__(self) -> Iterator[Timed]:
        item = self._next
        while item is not self:
            yield item
            item = item._next


class Timers:
    """All items that have a deadline."""

    def __init__(self) -> None:
        self._rings: dict[float, _Ring] = {}  # by the moment: a deadline before the horizon, or when a slot begins
        self._moments: list[float] = []  # those of the rings, and of some that were dropped; the next one last
        self._new: list[float] = []  # moments of rings that have been made since `_moments` was sorted
        self._emptied = 0  # how often a ring has become empty since empty ones were dropped
        self._horizon = 0.0  # deadlines before this slot have rings of their own
        self._far: float = FAR_SLOT  # deadlines before this far slot have the ring of their slot

    def __len__(self) -> int:
        """How many items are armed."""
        return sum(1 for ring in self._rings.values() for _ in ring)

    def arm(self, item: Timed) -> None:
        """Make sure that ``item`` is looked at when its deadline comes. Call it when a deadline has become earlier."""
        if item.deadline < item.armed:
            self._place(item)

    def disarm(self, item: Timed) -> None:
        """Remove ``item``: nothing here refers to it any more."""
        item.deadline = NEVER
        if item.armed < NEVER:
            self._take_out(item)

    def next(self) -> float:
        """When something is due next, or up to a slot before, or when a far slot begins; ``inf`` for never."""
        while self._new or self._moments:
            if self._new:
                self._sort_in()
                continue
            moment = self._moments[-1]
            ring = self._rings.get(moment)
            if ring is None or ring._next is ring:
                if ring is not None:
                    del self._rings[moment], ring._previous, ring._next  # an empty ring refers to itself
                del self._moments[-1]
                continue
            item = ring._previous
            if item.deadline <= moment or (moment >= self._horizon and item.deadline < NEVER):
                return moment
            self._place(item)
        return NEVER

    def due(self, now: float) -> list[Timed]:
        """Take out and return, in the order of their deadlines, the items whose deadline has come."""
        due: list[Timed] = []
        while self._new or self._moments:
            if self._new:
                self._sort_in()
                continue
            moment = self._moments[-1]
            if moment > now:
                break
            items = self._empty(moment)
            if moment < self._horizon:
                for item in items:
                    if item.deadline <= moment:
                        item.deadline = NEVER
                        due.append(item)
                    else:
                        self.arm(item)
            else:  # a slot begins
                self._horizon = moment + SLOT
                if moment >= self._far:
                    self._far = moment + FAR_SLOT
                for item in items:
                    self.arm(item)
        self._horizon = max(self._horizon, now // SLOT * SLOT + SLOT)
        self._far = max(self._far, now // FAR_SLOT * FAR_SLOT + FAR_SLOT)
        return due

    def _place(self, item: Timed) -> None:
        """Put ``item`` in the ring that its deadline belongs to now, or in none, and out of the one that it is in."""
        deadline = item.deadline
        if deadline == NEVER:
            self._take_out(item)
            return
        if deadline < self._horizon:
            moment = deadline
        elif deadline < self._far:
            moment = deadline // SLOT * SLOT
        else:
            moment = deadline // FAR_SLOT * FAR_SLOT
        ring = self._rings.get(moment)
        if ring is None:
            self._new.append(moment)
            ring = self._rings[moment] = _Ring(moment)
        was_alone = False
        if item.armed < NEVER:
            before, after = item._previous, item._next
            before._next, after._previous = after, before
            was_alone = before is after
        last = ring._previous
        last._next = ring._previous = item
        item._previous, item._next = last, ring
        item.armed = ring.armed  # one float object for all of the ring: 24 bytes less for each
        if was_alone:
            self._emptied += 1

    def _take_out(self, item: Timed) -> None:
        before, after = item._previous, item._next
        before._next, after._previous = after, before
        item.armed = NEVER
        del item._previous, item._next
        if before is after:  # the ring alone
            self._emptied += 1

    def _sort_in(self) -> None:
        """Put the new moments among the others. If too many rings have become empty, drop those that are."""
        count = len(self._new)
        if self._emptied > SPARE + len(self._rings) // 2:
            self._emptied = 0
            for moment, ring in list(self._rings.items()):
                if ring._next is ring:
                    del self._rings[moment], ring._previous, ring._next
            self._moments = sorted(self._rings, reverse=True)
        elif FEW * count < len(self._moments):
            for moment in self._new[:count]:
                self._moments.insert(self._index(moment), moment)
        else:
            self._moments = sorted(self._moments + self._new[:count], reverse=True)
        del self._new[:count]  # last: what an interrupted call has put in twice is dropped when its moment comes

    def _empty(self, moment: float) -> list[Timed]:
        """Take all items out of the ring of ``moment``, the first one, and drop it. They are not armed any more."""
        ring = self._rings.pop(moment, None)
        del self._moments[-1]
        items = [] if ring is None else list(ring)
        for item in items:
            item.armed = NEVER
            del item._previous, item._next
        if ring is not None:
            del ring._previous, ring._next
        return items

    def _index(self, moment: float) -> int:
        """Where ``moment`` belongs among the moments."""
        moments = self._moments
        low, high = 0, len(moments)
        # By hand, because the import of bisect is a tenth of this package's.
        while low < high:
            middle = (low + high) // 2
            if moments[middle] > moment:
                low = middle + 1
            else:
                high = middle
        return low
