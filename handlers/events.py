"""What happens in one request and another waits for: `Event` and `Queue`, and the waits `Happened` and `Taken`.

For publish and subscribe each subscriber has a `Queue`; a request that blocks until there is an item takes it from a
`Queue`; a long poll waits for an `Event`. Whatever is given to a request that ends, or goes on for another cause,
before it has taken it, is given to the next request that waits.

`Event.set` and `Queue.put` may be called from the states of any row, in thread mode too, and from the function of a
`Threaded`. A child process has its own copies: what happens in a child is not seen in its parent.
"""

from __future__ import annotations

from collections import deque

from .sources import NOTHING, Guard, Source, Sourced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .machine import Machine


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
