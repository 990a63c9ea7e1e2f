"""The memory that a run takes: `memory`."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

from .run import played
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World
    from .schedule import Step


def memory(kind: Any, schedule: Iterable[Step], world: World | None = None) -> int:
    """The most bytes of memory that a new request of ``kind`` has used at a time for ``schedule``.

    `tracemalloc` counts them: what Python has allocated, and most extension modules.
    """
    subject, was_tracing = Subject(kind, world), tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        played(subject, schedule)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not was_tracing:
            tracemalloc.stop()
