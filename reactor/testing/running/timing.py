"""The processor time of a run: `seconds`."""

from __future__ import annotations

from contextlib import suppress
from time import thread_time
from typing import TYPE_CHECKING, Any, NamedTuple

from .counting import EndlessLoop
from .run import Run, played
from .subject import Subject
from .surroundings import no_collection
from .tracing import untold
from .watching import watched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World
    from .schedule import Schedule, Step


class Cost(NamedTuple):
    """What a run has cost."""

    seconds: float
    """The processor time."""
    lines: int
    """The lines of Python."""


def seconds(kind: Any, schedule: Iterable[Step], world: World | None = None) -> float:
    """The seconds of processor time that ``schedule`` costs a new request of the handler class ``kind``.

    >>> from handlers.services import Echo
    >>> seconds(Echo, [b"one"]) < 0.5
    True
    """
    return plain_seconds(Subject(kind, world), list(schedule))


def plain_seconds(subject: Subject, schedule: Schedule) -> float:
    """The seconds of processor time that a schedule costs where nobody counts lines."""
    with untold(), no_collection():
        begun = thread_time()
        run = Run(subject, counts=False)
        with suppress(EndlessLoop), watched(f"{subject.name}.handle"):
            for step in schedule:
                run.step(step)
        spent = thread_time() - begun
        run.close()
    return spent


def cost_of(subject: Subject, schedule: Schedule) -> Cost:
    """What a schedule costs where lines are counted: so the seconds are more than those of `plain_seconds`."""
    begun = thread_time()
    run = played(subject, schedule)
    return Cost(thread_time() - begun, run.cost)
