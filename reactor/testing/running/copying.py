"""Counts the bytes that a handler copies: `copied`.

A copy allocates as many bytes as it has, whoever makes it: also a ``join``, a slice of a ``memoryview``, a ``decode``,
or a dict that is made anew. `tracemalloc` tells how many bytes have been allocated at most since it was asked last. So
it is asked at each line of Python: a copy counts although it is freed at once.
"""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

from .counting import line_limit
from .run import Run, played
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from ...handlers import World
    from .schedule import Step

LEAST = 1_024
"""Bytes up to which what a line allocates does not count: objects of Python, such as frames, are smaller."""


class copy_limit(line_limit):  # noqa: N801  # read as a statement, as line_limit
    """A `line_limit` that also counts what the lines of its block allocate, while `tracemalloc` traces.

    An object that grows in place allocates only what it grows by.

    >>> tracemalloc.start()
    >>> with copy_limit(1_000) as limit:
    ...     text = b"a" * 100_000
    ...     few = [text[:50_000] for _ in range(3)]
    >>> tracemalloc.stop()
    >>> limit.copied // 10_000
    25
    """

    @property
    def copied(self) -> int:
        """The bytes so far."""
        return self._copied()

    def __enter__(self) -> Self:
        if self._depth == 0:
            self._begin()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._depth == 1:
            self._look()
        super().__exit__(kind, error, traceback)

    def _told(self, count: Callable[..., None]) -> Callable[..., None]:
        self._begin, self._look, self._copied = _looks()

        def told(frame: object = None, event: str = "line", argument: object = None) -> None:
            look()
            count(frame, event, argument)

        look = self._look
        return told


def _looks() -> tuple[Callable[[], None], Callable[[], None], Callable[[], int]]:
    """What begins to count, what counts what has been allocated since, and what tells the sum.

    They are called for each line, so they are closures, as those of `line_limit`.
    """
    traced, reset = tracemalloc.get_traced_memory, tracemalloc.reset_peak
    before = copied = 0

    def begin() -> None:
        nonlocal before
        reset()
        before = traced()[0]

    def look() -> None:
        nonlocal before, copied
        now, most = traced()
        if most - before > LEAST:
            copied += most - before
        reset()
        before = now

    return begin, look, lambda: copied


def copied(kind: Any, schedule: Iterable[Step], world: World | None = None) -> int:
    """The bytes that a new request of the handler class ``kind`` copies for ``schedule``, as a count.

    It is nearly the same on every run. What a line of Python allocates counts if it is over 1,024 bytes, also if it is
    freed at once; of what a line allocates at several times, the most that it has at a time. An object that grows in
    place counts with what it grows by. Compare two counts rather than rely on one. `tracemalloc` tells: what is
    allocated in other threads meanwhile counts too. Raises the exception that the handler raises.

    >>> from handlers.services import Echo
    >>> copied(Echo, [b"a" * 2_000] * 200) < 5 * copied(Echo, [b"a" * 2_000] * 50)
    True
    """
    run, count = copies(Subject(kind, world), schedule)
    if run.error is not None:
        raise run.error
    return count


def copies(subject: Subject, schedule: Iterable[Step]) -> tuple[Run, int]:
    """The run of a schedule, and the bytes that it copies."""
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        run = played(subject, schedule, limit=copy_limit)
    finally:
        if not was_tracing:
            tracemalloc.stop()
    assert isinstance(run.limit, copy_limit)
    return run, run.limit.copied
