"""What happens in one request and another waits for: `Event` and `Queue`, and the waits `Happened` and `Taken`.

For publish and subscribe each subscriber has a `Queue`; a request that blocks until there is an item takes it from a
`Queue`; a long poll waits for an `Event`. Whatever is given to a request that ends, or goes on for another cause,
before it has taken it, is given to the next request that waits.

`Event.set` and `Queue.put` may be called from the states of any row, in thread mode too, and from the function of a
`Threaded`. A child process has its own copies: what happens in a child is not seen in its parent.
"""

from __future__ import annotations

from collections import deque

from .saying import safe_repr
from .wait import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from .machine import Machine

NOTHING: Any = object()
"""There is nothing to take yet; not ``None``, which may be what is taken."""


class Unlocked:
    """The lock of a process with one thread."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...


class Guard:
    """A lock around what several threads may change. A reactor sets it, for a module of handlers knows no threads."""

    lock: AbstractContextManager[Any] = Unlocked()


class Source:
    """What `Event` and `Queue` have in common: the requests that wait, in order, and what is given to them."""

    def __init__(self) -> None:
        self._waiting: dict[Machine, None] = {}
        self._given: dict[Machine, Any] = {}  # what a machine gets when it goes on

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return len(self._waiting)

    def take(self, machine: Machine) -> Any:
        """What ``machine`` gets now. `NOTHING`: it is told when there is something."""
        with Guard.lock:
            if machine in self._given:
                return self._given.pop(machine)
            found = self._next()
            if found is NOTHING:
                self._waiting[machine] = None
            return found

    def leave(self, machine: Machine) -> None:
        """``machine`` does not wait any more; what was given to it goes to the next that waits."""
        with Guard.lock:
            self._waiting.pop(machine, None)
            told = self._take_back(self._given.pop(machine)) if machine in self._given else None
        if told is not None:
            told.notice()

    def _next(self) -> Any:
        """What a request that begins to wait gets at once, or `NOTHING`."""
        raise NotImplementedError

    def _take_back(self, value: Any) -> Machine | None:
        """Keep what a request has not taken, or give it to the one that is returned. Called under the lock."""
        raise NotImplementedError

    def _give(self, value: Any) -> Machine | None:
        """Give ``value`` to the first that waits, and return that one, which must be told without the lock."""
        for machine in self._waiting:
            del self._waiting[machine]
            self._given[machine] = value
            return machine
        return None


class Event(Source):
    """Happens once, for all requests that wait for it: see `Happened`.

    >>> from handlers import Event, Happened, StreamHandler, StreamMachine
    >>> class Poll(StreamHandler):
    ...     async def handle(self):
    ...         self.send(await Happened(done, timeout=30))
    >>> done = Event()
    >>> machines = [StreamMachine(Poll()), StreamMachine(Poll())]
    >>> for machine in machines:
    ...     machine.advance()
    >>> done.set(b"at last")
    >>> for machine in machines:
    ...     machine.advance()  # a reactor does this
    >>> [machine.read() for machine in machines]
    [b'at last', b'at last']
    """

    def __init__(self) -> None:
        super().__init__()
        self._value: Any = NOTHING

    @property
    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._value is not NOTHING

    def set(self, value: object = None) -> None:
        """It has happened: all requests that wait, and those that begin to wait until `clear`, get ``value``."""
        with Guard.lock:
            self._value = value
            told = list(self._waiting)
            self._waiting.clear()
            self._given.update(dict.fromkeys(told, value))
        for machine in told:
            machine.notice()

    def clear(self) -> None:
        """It can happen again. Requests that have waited already still get the value of the last `set`."""
        self._value = NOTHING

    def _next(self) -> Any:
        return self._value

    def _take_back(self, value: Any) -> Machine | None:
        return None


class QueueFull(Exception):
    """The queue holds as many items as its limit says."""


class Queue(Source):
    """Items, each of which one request takes: see `Taken`. The request that has waited longest is the first.

    At most ``limit`` items are held. `put` raises `QueueFull` past that: the caller says what becomes of a subscriber
    that is too slow.

    >>> from handlers import Queue, QueueFull, StreamHandler, StreamMachine, Taken
    >>> class Subscriber(StreamHandler):
    ...     async def handle(self):
    ...         while True:
    ...             self.send(await Taken(news))
    >>> news = Queue(limit=2)
    >>> machine = StreamMachine(Subscriber())
    >>> for item in b"one ", b"two ":
    ...     news.put(item)
    >>> try:
    ...     news.put(b"three ")
    ... except QueueFull:
    ...     print("full")
    full
    >>> machine.advance()
    >>> machine.read()
    b'one two '
    """

    def __init__(self, limit: int) -> None:
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"Queue: limit is a number of items >= 1, not {limit!r}")
        super().__init__()
        self.limit = limit
        self._items: deque[Any] = deque()

    def __len__(self) -> int:
        """The number of items that nobody has taken, or been given."""
        return len(self._items)

    def put(self, item: object) -> None:
        """Give ``item`` to the request that has waited longest, or hold it. Raises `QueueFull`."""
        with Guard.lock:
            told = self._give(item)
            if told is None:
                if len(self._items) >= self.limit:
                    raise QueueFull(f"{self.limit} items wait to be taken")
                self._items.append(item)
        if told is not None:
            told.notice()

    def take_at_once(self) -> Any:
        """Take the next item without a wait. Raises `IndexError` if there is none."""
        with Guard.lock:
            return self._items.popleft()

    def _next(self) -> Any:
        return self._items.popleft() if self._items else NOTHING

    def _take_back(self, value: Any) -> Machine | None:
        told = self._give(value)
        if told is None:
            self._items.appendleft(value)
        return told


class Sourced(Wait):
    """A wait for what another request, or any other part of the program, does."""

    __slots__ = ("source",)
    source: Source

    def leave(self, machine: Machine) -> None:
        self.source.leave(machine)

    def _said(self) -> tuple[object, ...]:
        return (self.source,)

    def __repr__(self) -> str:
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"{type(self).__name__}({safe_repr(self.source)}{timeout})"


class Happened(Sourced):
    """Until ``event`` is set, or at once if it is; the result is the value that `Event.set` was given."""

    __slots__ = ()

    def __init__(self, event: Event, timeout: float | None = None) -> None:
        if not isinstance(event, Event):
            raise TypeError(f"Happened: event is an Event, not {event!r}")
        super().__init__(timeout)
        self.source = event


class Taken(Sourced):
    """Until there is an item in ``queue``, which is taken; the result is the item."""

    __slots__ = ()
    is_progress = True

    def __init__(self, queue: Queue, timeout: float | None = None) -> None:
        if not isinstance(queue, Queue):
            raise TypeError(f"Taken: queue is a Queue, not {queue!r}")
        super().__init__(timeout)
        self.source = queue
