"""Counts the work of a run: `work`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .builtin import counted_builtins
from .counting import METER, count_attributes, counted_arrays, counting_machine
from .patterns import counted_patterns
from .run import Run, played
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World
    from .schedule import Step


def work(kind: Any, schedule: Iterable[Step], world: World | None = None) -> int:
    """The work that ``schedule`` costs a new request of the handler class ``kind``, as a count.

    The count is the same on every run. It is the number of lines of Python that the handler runs, plus about as many as
    its machine does for each call, plus the number of bytes that searches, slices and concatenations go over. It sees
    the bytes that the handler is given, the text that they are decoded to, what the handler keeps in attributes, and
    each ``bytearray`` that the module of its class constructs. A ``join``, a ``sum``, a checksum and the like count if
    the call names what it goes over. A regular expression counts once for each byte that it goes over, however often it
    tries another way there. Compare two counts rather than rely on one. Raises the exception that the handler raises.

    >>> from handlers.services import Discard
    >>> work(Discard, [b"a"] * 200) < 3 * work(Discard, [b"a"] * 100)
    True
    """
    run, cost = worked(Subject(kind, world), schedule)
    if run.error is not None:
        raise run.error
    return cost


def worked(subject: Subject, schedule: Iterable[Step]) -> tuple[Run, int]:
    """The run of a schedule, and the work that it costs."""
    METER.touched = 0
    counting = counting_machine(subject.machine)
    with counted_arrays(subject.kind), counted_patterns(subject.kind), counted_builtins():
        run = played(subject, schedule, machine=counting, watch=lambda machine: count_attributes(machine.handler))
    return run, run.cost + METER.touched
