"""`Timers`: the deadlines of one loop. Moving a deadline to a later time costs one assignment: each read does it.

An item has a ``deadline``, which anybody may move later by assigning to it, and ``armed``, the moment at which `Timers`
looks at it. If the deadline has moved on by then, the item is armed again, further on. A deadline that is far away is
looked at when its slot begins; only the deadlines of the current slot are in order.

The items of one moment are linked in a ring. So arming and disarming cost the same however many items there are, and
nothing here refers to an item that is disarmed. All links are changed without a call in between, because Python calls
signal handlers between calls, and they may raise: an interrupted call loses no item.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

NEVER = float("inf")

SLOT = 1 / 4
"""Seconds. What is due within the current slot is sorted; what is due later is only known to be due in its slot."""

LONGEST = 2_000_000
"""Seconds that one ``select()`` may take: the kernel counts milliseconds in an int, up to 24 days (``poll(2)``)."""

_deadline = attrgetter("deadline")


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
        self._moments: list[float] = []  # those of the rings, the next one last
        self._horizon = 0.0  # deadlines before this slot have rings of their own

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
        """When something is due next, or up to a slot before; ``inf`` for never."""
        while self._moments:
            moment = self._moments[-1]
            ring = self._rings.get(moment)
            if ring is None or ring._next is ring:  # a signal has interrupted the call that made or emptied it
                self._drop(moment)
                continue
            item = ring._previous
            if item.deadline <= moment or (moment >= self._horizon and item.deadline < NEVER):
                return moment
            self._place(item)
        return NEVER

    def due(self, now: float) -> list[Timed]:
        """Take out and return, in the order of their deadlines, the items whose deadline has come."""
        due: list[Timed] = []
        while self._moments and self._moments[-1] <= now:
            moment = self._moments[-1]
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
                items.sort(key=_deadline, reverse=True)  # so that each makes a moment that is the next one
                for item in items:
                    self.arm(item)
        self._horizon = max(self._horizon, _slot(now) + SLOT)
        return due

    def _place(self, item: Timed) -> None:
        """Put ``item`` in the ring that its deadline belongs to now, or in none, and out of the one that it is in."""
        deadline = item.deadline
        if deadline == NEVER:
            self._take_out(item)
            return
        slot = _slot(deadline)
        ring = self._ring(deadline if slot < self._horizon else slot)
        emptied = None
        if item.armed < NEVER:
            before, after = item._previous, item._next
            before._next, after._previous = after, before
            emptied = before.armed if before is after else None
        last = ring._previous
        last._next = ring._previous = item
        item._previous, item._next = last, ring
        item.armed = ring.armed  # one float object for all of the ring: 24 bytes less for each
        if emptied is not None:
            self._drop(emptied)

    def _take_out(self, item: Timed) -> None:
        before, after = item._previous, item._next
        before._next, after._previous = after, before
        item.armed = NEVER
        del item._previous, item._next
        if before is after:  # the ring alone
            self._drop(before.armed)

    def _ring(self, moment: float) -> _Ring:
        ring = self._rings.get(moment)
        if ring is None:
            self._moments.insert(self._index(moment), moment)
            ring = self._rings[moment] = _Ring(moment)
        return ring

    def _empty(self, moment: float) -> list[Timed]:
        """Take all items out of the ring of ``moment``, and drop it. They are not armed any more."""
        items = list(self._rings.get(moment, ()))
        self._drop(moment)
        for item in items:
            item.armed = NEVER
            del item._previous, item._next
        return items

    def _drop(self, moment: float) -> None:
        """Forget the ring of ``moment``, if there is one: a signal may have interrupted `_ring`, or this."""
        ring = self._rings.pop(moment, None)
        index = self._index(moment)
        if self._moments[index : index + 1] == [moment]:
            del self._moments[index]
        if ring is not None:
            del ring._previous, ring._next  # if it is empty, it refers to itself

    def _index(self, moment: float) -> int:
        """Where ``moment`` is, or belongs, among the moments."""
        moments = self._moments
        low, high = 0, len(moments)
        if moments and moment <= moments[-1]:  # the most frequent case
            return high if moment < moments[-1] else high - 1
        # By hand, because the import of bisect is a tenth of this package's.
        while low < high:
            middle = (low + high) // 2
            if moments[middle] > moment:
                low = middle + 1
            else:
                high = middle
        return low


def _slot(moment: float) -> float:
    """When the slot began that ``moment`` is in."""
    return moment // SLOT * SLOT
