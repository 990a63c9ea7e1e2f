"""The property of two requests of one server that are open at once: neither raises because of the other one."""

from __future__ import annotations

from copy import copy
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ..inputs.borders import borders_of
from ..inputs.pieces import beginning
from ..inputs.tried import Tried
from ..running.evidence import fault_of
from ..running.pristine import pristine, shared_items
from ..running.report import fail, held_in_time
from ..running.run import Run
from ..running.schedule import END
from ..running.spreading import spread_over

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule

SPOTS = 4
"""The most places of a conversation at which another request begins. Of more, they are evenly spread."""


class _Turn(NamedTuple):
    """What one of the two requests does while the other one waits."""

    is_first: bool
    steps: Schedule
    ends: bool
    """Whether it ends then."""


@held_in_time
def bears_two_at_once(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """Two requests of one server that are open at once raise nothing, in whatever order they end.

    What a request puts into the state of its server, such as its name, another one may replace or take away. Then the
    first one must not fail when it ends, also not in ``finish()``. The property sends the whole conversation twice,
    from two ports of one host. The second request begins where a wait of the first one begins, and ends before it or
    after it. Their answers may differ: the second may be refused. A handler that does not use its server
    (``self.server``), and whose class and module keep nothing while it is open, is not tried.

    >>> from handlers.services import Echo
    >>> bears_two_at_once(Echo, b"one\\r\\ntwo\\r\\n")
    """
    tried = Tried(kind, conversation, world)
    ends = _ends(tried)
    with pristine(tried.kind):
        if not _shares(tried, ends):
            return
    for turns in _orders(tried, ends):
        with pristine(tried.kind):
            code, faulty = _played(tried, turns)
        if faulty is not None:
            fault = f"with another request of its server that is open, {fault_of(faulty, '')}"
            fail(tried, fault, "two_at_once", code)


def _ends(tried: Tried) -> list[int]:
    """The lengths of the beginnings of the conversation behind which the other request comes."""
    ends = [*range(1, tried.length)] if tried.packets else [border.at for border in borders_of(tried) if border.at]
    return list(dict.fromkeys([*spread_over(ends, SPOTS), tried.length]))


def _shares(tried: Tried, ends: list[int]) -> bool:
    """Whether requests share anything; not if the request raises alone, which other properties tell."""
    before, run, is_shared = shared_items(tried.kind), Run(tried), False
    for begun, end in pairwise([0, *ends]):
        _go(run, _Turn(True, _steps(beginning(tried.rest(begun), end - begun, tried.packets)), end == tried.length))
        is_shared = is_shared or "server" in run.asked or shared_items(tried.kind) > before
    run.close()
    return is_shared and run.error is None


def _orders(tried: Tried, ends: list[int]) -> Iterator[list[_Turn]]:
    """The second request in all of its length, and in two halves, after each beginning of the first one."""
    for place in ends:
        first, rest, whole = (_steps(pieces) for pieces in (tried.first(place), tried.rest(place), tried.pieces))
        yield [_Turn(True, first, False), _Turn(False, whole, True), _Turn(True, rest, True)]
        begun = [_Turn(True, first, False), _Turn(False, first, False)]
        yield [*begun, _Turn(True, rest, True), _Turn(False, rest, True)]


def _steps(pieces: list[bytes]) -> Schedule:
    return [piece for piece in pieces if piece]


def _played(tried: Tried, turns: list[_Turn]) -> tuple[str, Run | None]:
    """The statements of two requests, and the one that has raised."""
    runs: dict[bool, Run] = {}
    parts: list[tuple[Run, int, int | None]] = []
    for turn in turns:
        run = runs.get(turn.is_first)
        told = 0 if run is None else run.calls
        if run is None:
            run = runs[turn.is_first] = Run(tried) if turn.is_first else Run(_neighbour(tried), name="other")
        _go(run, turn)
        if run.error is not None:
            parts.append((run, told, None))
            break
        parts.append((run, told, run.calls))
    for run in runs.values():
        run.close()
    raised = [run for run in runs.values() if run.error is not None]
    return "\n".join(run.code(most, told) for run, told, most in parts), raised[0] if raised else None


def _neighbour(tried: Tried) -> Tried:
    """The same from another port, and without the restoring of what the requests share."""
    other = copy(tried)
    other.world = copy(tried.world)
    peer: Any = other.world.peer
    if isinstance(peer, tuple) and len(peer) > 1:
        other.world.peer = (peer[0], (peer[1] + 1) % 65_536, *peer[2:])
    other.restore = lambda: None
    return other


def _go(run: Run, turn: _Turn) -> None:
    """One turn of a request. Nothing happens to one that the other one has ended."""
    for step in [*turn.steps, *([END] if turn.ends and not run.subject.packets else [])]:
        if run.machine.finished and not (run.subject.packets and run.finished):
            return
        run.step(step)
        if not run.over:
            run.drain()
    if turn.ends and not run.machine.finished:
        run.finish()
        if not run.over and not run.finished:
            run.cancel()
