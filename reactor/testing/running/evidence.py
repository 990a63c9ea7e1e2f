"""Evidence against a handler: runs that differ, schedules made shorter, and the assertion that shows the fault.

Nothing here draws examples or needs Hypothesis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ...handlers import Exactly
from .counting import EndlessLoop
from .errors import server_lacks, told
from .report import Answers
from .run import Run
from .snippets import literal, unlike_at

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    from ...handlers import Wait
    from .schedule import Schedule

_T = TypeVar("_T")

COSTLY = 300_000
"""Lines of Python after which a costly property tries no further example."""

SEARCH = 5_000_000
"""Lines of Python of the search for the smallest example: some seconds."""

FEW = 25
"""The most examples that a costly property tries."""

PLACES = 256
"""Places in a conversation that are tried one by one. In a longer conversation they are evenly spread."""


# Conversations


def beginning(pieces: list[bytes], length: int, packets: bool) -> list[bytes]:
    """The first ``length`` bytes of a stream, or the first ``length`` packets."""
    return pieces[:length] if packets else [data[:length] for data in pieces if length]


def singly(schedule: Schedule, packets: bool) -> Schedule:
    """The schedule with its bytes one at a time. Packets stay whole."""
    if packets:
        return schedule
    single: Schedule = []
    for step in schedule:
        single += [step[place : place + 1] for place in range(len(step))] if isinstance(step, bytes) else [step]
    return single


def extent(pieces: list[bytes], packets: bool) -> int:
    """The number of bytes, or of packets."""
    return len(pieces) if packets else sum(map(len, pieces))


def places(length: int) -> list[int]:
    """The places, from 0 to ``length``, at which to stop a conversation.

    >>> places(3), len(places(100_000))
    ([0, 1, 2, 3], 256)
    """
    return spread(0, length, PLACES)


def spread(first: int, last: int, most: int) -> list[int]:
    """The numbers from ``first`` to ``last``, or so many of them, evenly spread.

    >>> spread(1, 4, 10), spread(0, 100, 3), spread(1, 9, 1)
    ([1, 2, 3, 4], [0, 50, 100], [1])
    """
    if last - first < most:
        return list(range(first, last + 1))
    return [first + (last - first) * step // max(1, most - 1) for step in range(most)]


def spread_over(found: list[_T], most: int) -> list[_T]:
    """At most so many of what was found, evenly spread, the first and the last among them.

    >>> spread_over([1, 2, 3], 3), spread_over([1, 2, 3, 4], 3), spread_over([], 3)
    ([1, 2, 3], [1, 2, 4], [])
    """
    return [found[at] for at in spread(0, len(found) - 1, most)] if found else []


def thinned(found: list[_T], most: int) -> list[_T]:
    """At most so many of what was found, evenly spread, the first among them.

    >>> thinned([1, 2, 3], 3), thinned([1, 2, 3, 4], 3)
    ([1, 2, 3], [1, 3])
    """
    return found[:: -(-len(found) // most) or 1]


def spots(pieces: list[bytes], pattern: re.Pattern[bytes], most: int) -> list[tuple[int, int, int]]:
    """Where the pieces have the pattern, at most so many places: the index of the piece, start and end."""
    matches = ((place, match) for place, piece in enumerate(pieces) for match in pattern.finditer(piece))
    return thinned([(place, *match.span()) for place, match in matches], most)


def replaced(pieces: list[bytes], place: int, start: int, end: int, instead: bytes) -> list[bytes]:
    """The pieces, with other bytes in one place of one piece."""
    piece = pieces[place]
    return [*pieces[:place], piece[:start] + instead + piece[end:], *pieces[place + 1 :]]


def fillers(pieces: list[bytes], packets: bool) -> list[bytes]:
    """The parts that a flood may repeat: each byte of the conversation, and all of it; or each of the packets."""
    if packets:
        return sorted(set(pieces), key=len) or [b"a"]
    singles = sorted({bytes([byte]) for data in pieces for byte in data})
    return list(dict.fromkeys([b"a", *singles, b"".join(pieces) or b"a"]))


# Runs


def alike(one: Run, other: Run) -> bool:
    """Whether both runs have the same output and the same end. Of endless output, the shorter one is compared.

    If a request has ended before its calls, their answers are lost, and the cut says how many: nothing is compared.
    """
    if one.left_calls or other.left_calls:
        return True
    if one.endless or other.endless:
        least = min(len(one.output), len(other.output))
        return bool(one.output[:least] == other.output[:least])
    return bool(one.output == other.output) and _end(one) == _end(other)


def _end(run: Run) -> tuple[object, ...]:
    return run.finished, type(run.reason), type(run.error)


def answers_of(run: Run, model: Run) -> Answers | None:
    """What differs between two runs that should have the same result: the outputs, or how they have ended."""
    if run.error is not None or model.error is not None:
        return None
    if run.output != model.output:
        least = min(len(run.output), len(model.output)) if run.endless or model.endless else None
        return Answers(run.output[:least], model.output[:least])
    return Answers(ended(run), ended(model))


def ended(run: Run) -> str:
    """How a run has ended, in words."""
    if not run.finished:
        return "the request is open"
    return f"the request has ended, for {type(run.reason).__name__}" if run.reason else "the request has ended normally"


def fault_of(run: Run, otherwise: str) -> str:
    """The fault of a run in words; ``otherwise`` if no call of the run raised."""
    if isinstance(run.error, EndlessLoop):
        return f"it does not return: {run.error}"
    if run.error is None:
        return otherwise
    remedy = server_lacks(run.error, None) if run.subject.world.server is None else ""
    return f"it raises {told(run.error, run.subject.kind)}{remedy}"


def asserted(run: Run, output: Any = None, finished: bool | None = None) -> str:
    """The code of a run, and the assertion of its correct result. A run that raised needs no assertion."""
    code = run.code()
    if run.error is not None:
        return code
    if output is not None:
        return f"{code}\nassert {run.output_code()} == {literal(output)}  # {unlike_at(run.output, output)}"
    return f"{code}\nassert {'' if finished else 'not '}{run.name}.finished"


def differing(run: Run, model: Run) -> str:
    """The code of two runs that should have the same result, and the assertion that both have it."""
    if run.error is None and model.error is not None:
        return model.code()
    if run.error is not None:
        return run.code()
    actual, expected, _ = _difference(run, model)
    both = f"{model.code()}\n{run.code()}"
    comment = "" if run.endless or run.output == model.output else f"  # {unlike_at(run.output, model.output)}"
    return f"{both}\nassert {actual} == {expected}{comment}"


def unlike(run: Run, model: Run, first: int = 0) -> str:
    """The code of a run from its call ``first`` on, and the assertion that its result is the one that ``model`` has."""
    if run.error is None and model.error is not None:
        return model.code()
    if run.error is not None:
        return run.code(first=first)
    actual, _, expected = _difference(run, model)
    return f"{run.code(first=first)}\nassert {actual} == {expected}"


def _difference(run: Run, model: Run) -> tuple[str, str, str]:
    """An expression whose value differs: for the run, for its model, and the value that it has for the model."""
    if run.endless or model.endless:
        least = min(len(run.output), len(model.output))
        return f"({run.output_code()})[:{least}]", f"({model.output_code()})[:{least}]", literal(model.output[:least])
    if run.output != model.output:
        return run.output_code(), model.output_code(), literal(model.output)
    if run.finished != model.finished:
        return f"{run.name}.finished", f"{model.name}.finished", repr(model.finished)
    kind = "type(None)" if model.reason is None else model.subject.mention(type(model.reason))
    return f"type({run.name}.reason)", f"type({model.name}.reason)", kind


def minimal(schedule: Schedule, breaks: Callable[[Schedule], bool], packets: bool, damaged: bool = False) -> Schedule:
    """``schedule``, made shorter as long as it ``breaks``: no schedule with one cut or one step less breaks.

    Bytes are left out only at the end, or anywhere if the schedule is ``damaged``. Hypothesis shrinks most of the way,
    but it does not replace one kind of step by another.
    """
    for _ in range(PLACES):
        less = next(filter(breaks, _smaller(schedule, packets, damaged)), None)
        if less is None:
            break
        schedule = less
    return schedule


def _smaller(schedule: Schedule, packets: bool, damaged: bool) -> Iterator[Schedule]:
    last = max((place for place, step in enumerate(schedule) if isinstance(step, bytes)), default=-1)
    for place, step in enumerate(schedule):
        before, after = schedule[:place], schedule[place + 1 :]
        if not isinstance(step, bytes):
            yield [*before, *after]
            continue
        if after and isinstance(after[0], bytes) and not packets:
            yield [*before, step + after[0], *after[1:]]
        if damaged or place == last:
            yield [*before, *after]
            if damaged:
                yield from ([*before, less, *after] for less in _less(step))
            elif len(step) > 1 and not packets:
                yield [*before, step[:-1], *after]


def _less(data: bytes) -> Iterator[bytes]:
    """``data`` without one of its halves, without one of its quarters, and so on down to single bytes."""
    size = len(data) // 2
    while size:
        yield from (data[:place] + data[place + size :] for place in range(0, len(data), size))
        size //= 2


# Bounds


class Budget:
    """Tries examples of one kind until they have cost too many lines of Python; each example once.

    Once a faulty one is found, there are `SEARCH` more lines, for the search for the smallest.
    """

    def __init__(self, lines: int, attempt: Callable[..., tuple[bool, int]]) -> None:
        self._left = lines
        self._attempt = attempt
        self._known: dict[Any, bool] = {}

    def is_faulty(self, example: Any) -> bool:
        """Whether the example is faulty; ``False`` if the lines are spent."""
        if example not in self._known:
            if self._left <= 0:
                return False
            is_first = not any(self._known.values())
            self._known[example], lines = self._attempt(*example)
            self._left = SEARCH if is_first and self._known[example] else self._left - lines
        return self._known[example]


def limit_of(wait: Wait | None) -> int:
    """The bytes that a wait holds at most. An `Exactly` with a limit over the default holds what it asks for."""
    limit: int = getattr(wait, "limit", 0)
    return min(limit, max(wait.n, 1 << 20)) if isinstance(wait, Exactly) else limit
