"""What requests leave behind when they have ended: items in the state that they share, descriptors, and themselves."""

from __future__ import annotations

import os
from collections import deque
from copy import copy
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import Cancelled
from ...loop.descriptors import listing
from ...servers.kinds import class_of
from .driver import RecordingDriver
from .forms import around, binary, digits, following, letters
from .pristine import homes_of, pristine, shared_items
from .schedule import END
from .spreading import spread
from .subject import PEER, Subject
from .surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...handlers import World
    from .schedule import Step


EXCHANGES = 16
"""The most packets of a schedule of which one begins an exchange. Of more, they are evenly spread."""


class Remains(NamedTuple):
    """What requests have left behind."""

    items: int
    """Items more in the containers that requests of the class share: in the class, its module, default arguments."""
    descriptors: int
    """Open descriptors more; 0 on a host that does not list them."""
    handlers: int
    """Handlers more in the containers of the server, or methods or machines of these."""
    entries: int
    """Items more in the dictionaries and sets of the server."""


def remains(
    kind: Any, schedule: Iterable[Step], times: int, number: tuple[int, int] | None = None, world: World | None = None,
    last: Iterable[Step] = (),
) -> Remains:  # fmt: skip
    """What ``times`` requests of the handler class ``kind`` leave behind, one after another, after a first one.

    Each request comes from another port, takes the bytes of the ``schedule``, and ends: with the stream if the schedule
    has an `END`, and in any case by `Cancelled`, as when the server closes. ``number`` is the start and the end of the
    part of the first bytes that is replaced by the number of the request, in letters if it is a word, and in bytes if
    it is neither a word nor digits. One more request takes the schedule ``last``, if that is not empty: it may clear up
    after the others. The state that requests share is restored afterwards. A request that raises is left as it is.

    >>> from handlers import StreamHandler, Until
    >>> class LeavesOpen(StreamHandler):
    ...     async def handle(self):
    ...         self.descriptor = os.open(os.devnull, os.O_RDONLY)
    ...         await Until(b";", limit=9)
    >>> remains(LeavesOpen, [b"abc;"], 5)
    Remains(items=0, descriptors=5, handlers=0, entries=0)
    """
    subject, steps, tidying = Subject(kind, world), list(schedule), list(last)
    with pristine(subject.kind):
        subject.restore()
        over = [ended(subject, _numbered(steps, number, 0), 0)]  # what the first one sets up is not counted
        before = _all_now(subject)
        over += [ended(subject, _numbered(steps, number, count), count) for count in range(1, times + 1)]
        if tidying:
            over.append(ended(subject, tidying, times + 1))
        now = _all_now(subject)
    subject.restore()
    del over  # what a collection of garbage would close is still open: so is the machine of a row until it is reaped
    return Remains(*(more - less for more, less in zip(now, before, strict=True)))


def _all_now(subject: Subject) -> Remains:
    return Remains(shared_items(subject.kind), _descriptors(), *_in_containers(subject))


def _in_containers(subject: Subject) -> tuple[int, int]:
    """The handlers in the containers of the server, each counted once, and the items of its dictionaries and sets."""
    server = subject.world.server
    kinds, homes = (subject.kind, class_of(subject.handler)), homes_of(subject.kind, type(server))
    found, seen, entries = set[int](), set[int](), 0
    left = [*getattr(server, "__dict__", {}).values()]
    left += [value for base in type(server).__mro__ if base.__module__ in homes for value in vars(base).values()]
    while left:
        value: Any = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (set, frozenset, dict)):
            entries += len(value)
        if isinstance(value, kinds):
            found.add(id(value))
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            left += value
        elif isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, subject.machine):
            left.append(value.handler)
        elif isinstance(value, MethodType):
            left.append(value.__self__)
        elif isinstance(value, FunctionType):
            left += [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        elif isinstance(value, partial):
            left += [value.func, *value.args, *value.keywords.values()]
        elif type(value).__module__ in homes and hasattr(value, "__dict__"):
            left += vars(value).values()
    return len(found), entries


def _numbered(steps: list[Step], number: tuple[int, int] | None, count: int) -> list[Step]:
    if number is None or not steps or not isinstance(steps[0], bytes):
        return steps
    start, end = number
    said = steps[0][start:end]
    if said.isalpha():
        form = letters()
    elif said.isalnum():
        form = digits()
    else:
        form = binary(end - start, following(1))
    return [around(steps[0][:start], form, steps[0][end:]).write(count), *steps[1:]]


def ended(subject: Subject, steps: Iterable[Step], count: int = 0, look: Callable[[], object] = int) -> Any:
    """The machine of a request that has ended. It calls ``look`` after each step, and at the end."""
    world = copy(subject.world)
    world.peer = PEER if world.peer is None else world.peer
    if isinstance(world.peer, tuple) and len(world.peer) > 1:
        peer: Any = world.peer
        world.peer = (peer[0], (peer[1] + count) % 65_536, *peer[2:])
    machine: Any = subject.machine(subject.make(), RecordingDriver(world))
    try:
        machine.advance()
        look()
        for step in steps:
            if not machine.finished:
                machine.end() if step is END else machine.feed(step)
            machine.drop_output()
            look()
        if not machine.finished:
            machine.abandon(Cancelled())
    except Exception:
        pass  # other properties tell of it
    look()
    return machine


def _descriptors() -> int:
    """The number of open descriptors."""
    place = listing()
    return len(os.listdir(place)) if place else 0


def changed(kind: Any, schedule: Iterable[Step], world: World | None = None) -> list[str]:
    """What a request of the handler class ``kind`` changes of what belongs to the whole process, as source text.

    The request takes the bytes of the ``schedule``, and ends. A change counts even if the request takes it back later,
    for others are served meanwhile. What is changed is restored.

    >>> import os
    >>> from handlers import StreamHandler, Until
    >>> class Changes(StreamHandler):
    ...     async def handle(self):
    ...         os.environ["NAME"] = (await Until(b"\\n", limit=80)).decode().strip()
    >>> changed(Changes, [b"ann\\n"]), "NAME" in os.environ
    (['os.environ'], False)
    """
    return changes_of(Subject(kind, world), [*schedule])


def changes_of(subject: Subject, schedule: Sequence[Step]) -> list[str]:
    """The same for a subject. A packet that one exchange leaves begins another."""
    subject.restore()
    before, found = Surroundings(), dict[str, None]()
    starts = spread(0, len(schedule) - 1, EXCHANGES) if subject.packets and schedule else [0]
    try:
        for start in starts:
            ended(subject, schedule[start:], look=lambda: found.update(dict.fromkeys(before.changed())))
    finally:
        before.restore()
    subject.restore()
    return list(found)
