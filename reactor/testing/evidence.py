"""What a run shows against a handler, and the assertion that shows it: the part of `checks` that draws nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .counting import EndlessLoop, held
from .schedule import END, Run
from .subject import brief, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .schedule import Schedule
    from .subject import Subject

FLOOD = 4_096
"""Bytes (of datagrams: at least) that one feed of a flood brings."""

PLACES = 256
"""Places in a conversation that are tried one by one; of a longer one, as many, evenly spread."""


class CheckFailed(AssertionError):
    """A handler breaks a property; the message says which, and is a test that shows it."""


def fail(subject: Subject, what: str, title: str, body: str) -> NoReturn:
    """Raise `CheckFailed` with a test whose statements are ``body``."""
    raise CheckFailed(f"{subject.name}: {what}\n\n{subject.test(title, body)}")


# Conversations


def beginning(pieces: list[bytes], length: int, packets: bool) -> list[bytes]:
    """The first ``length`` bytes of the stream, or packets."""
    return pieces[:length] if packets else [data[:length] for data in pieces if length]


def singly(schedule: Schedule, packets: bool) -> Schedule:
    """The same, byte by byte; packets are left whole."""
    if packets:
        return schedule
    single: Schedule = []
    for step in schedule:
        single += [step[place : place + 1] for place in range(len(step))] if isinstance(step, bytes) else [step]
    return single


def extent(pieces: list[bytes], packets: bool) -> int:
    """How many bytes, or packets, there are."""
    return len(pieces) if packets else sum(map(len, pieces))


def places(length: int) -> list[int]:
    """Where, from 0 to ``length``, a conversation is stopped.

    >>> places(3), len(places(100_000))
    ([0, 1, 2, 3], 256)
    """
    if length < PLACES:
        return list(range(length + 1))
    return [length * place // (PLACES - 1) for place in range(PLACES)]


def fillers(pieces: list[bytes], packets: bool) -> list[bytes]:
    """What a flood is made of: a byte of the conversation, or all of it; of datagrams, one of the packets."""
    if packets:
        return sorted(set(pieces), key=len) or [b"a"]
    singles = sorted({bytes([byte]) for data in pieces for byte in data})
    return list(dict.fromkeys([b"a", *singles, b"".join(pieces) or b"a"]))


# Runs


def alike(one: Run, other: Run) -> bool:
    """Whether both were answered with the same, and ended the same way; of endless output, as far as both go."""
    if one.endless or other.endless:
        least = min(len(one.output), len(other.output))
        return bool(one.output[:least] == other.output[:least])
    return bool(one.output == other.output) and _end(one) == _end(other)


def _end(run: Run) -> tuple[object, ...]:
    return run.finished, type(run.reason), type(run.error)


def wrong(run: Run, otherwise: str) -> str:
    """What is wrong with a run, in words."""
    if isinstance(run.error, EndlessLoop):
        return "it does not return"
    return otherwise if run.error is None else f"it raises {type(run.error).__name__}"


def asserted(run: Run, output: Any = None, finished: bool | None = None) -> str:
    """The code of a run and what should have come of it. A run that raised needs no assertion."""
    code = run.code()
    if run.error is not None:
        return code
    if output is not None:
        return f"{code}\nassert {run.reading()} == {literal(output)}"
    return f"{code}\nassert {'' if finished else 'not '}{run.name}.finished"


def differing(run: Run, model: Run) -> str:
    """The code of two runs that should have come to the same, and the assertion that they have not."""
    if run.error is None and model.error is not None:
        return model.code()
    if run.error is not None:
        return run.code()
    told, expected, _ = _difference(run, model)
    both = f"{model.code()}\n{run.code()}"
    comment = "" if run.endless or run.output == model.output else f"  # {brief(run.output)}, not {brief(model.output)}"
    return f"{both}\nassert {told} == {expected}{comment}"


def unlike(run: Run, model: Run) -> str:
    """The code of a run and of what should have come of it, which is what came of its model."""
    if run.error is None and model.error is not None:
        return model.code()
    if run.error is not None:
        return run.code()
    told, _, expected = _difference(run, model)
    return f"{run.code()}\nassert {told} == {expected}"


def _difference(run: Run, model: Run) -> tuple[str, str, str]:
    """The expression that tells a run from its model, the same of the model, and what that comes to."""
    if run.endless or model.endless:
        least = min(len(run.output), len(model.output))
        return f"({run.reading()})[:{least}]", f"({model.reading()})[:{least}]", literal(model.output[:least])
    if run.output != model.output:
        return run.reading(), model.reading(), literal(model.output)
    if run.finished != model.finished:
        return f"{run.name}.finished", f"{model.name}.finished", repr(model.finished)
    kind = "type(None)" if model.reason is None else model.subject.mention(type(model.reason))
    return f"type({run.name}.reason)", f"type({model.name}.reason)", kind


def minimal(schedule: Schedule, breaks: Callable[[Schedule], bool], packets: bool, damaged: bool = False) -> Schedule:
    """A schedule that breaks as ``schedule`` does, and no longer if it is shorter, or has one cut or step less.

    Unless it is ``damaged`` anyway, no byte but the last is left out. Hypothesis comes close; where it
    has drawn one thing, it does not try another in its place.
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
    """``data`` without its halves, without its quarters, and so on to single bytes; never nothing."""
    size = len(data) // 2
    while size:
        yield from (data[:place] + data[place + size :] for place in range(0, len(data), size))
        size //= 2


# Bounds


class Overflow(NamedTuple):
    """A run that holds too many bytes, or has raised: how many it holds, and how many it may."""

    run: Run
    size: int
    bound: int


def flooded(subject: Subject, start: list[bytes], flood: bytes, kept: int) -> Overflow | None:
    """What comes of a flood that makes a handler raise, or hold too much; ``None`` if it does neither.

    Given up, with the end of the stream, as soon as twice as many bytes do not make it hold more.
    """
    run = Run(subject)
    flow = [flood] * (FLOOD // max(16, len(flood))) if subject.packets else [flood * (FLOOD // len(flood) or 1)]
    brought = sum(map(len, flow))
    limit, sizes = 0, [0]
    with run.limit:
        for piece in start:
            run.step(piece)
        while not run.over:
            for piece in flow:
                run.step(piece)
            run.drain()
            limit = max(limit, getattr(run.wait, "limit", 0))
            sizes.append(held(run.machine))
            if sizes[-1] > kept + limit + brought:
                run.close()
                return Overflow(run, sizes[-1], kept + limit + brought)
            feeds = len(sizes) - 1
            if feeds > 1 and sizes[-1] - sizes[feeds // 2] <= brought * (feeds - feeds // 2) // 32:
                break
        if not subject.packets:
            run.step(END)
        run.finish(to_the_end=True)
        run.close()
    return None if run.error is None else Overflow(run, sizes[-1], kept + limit + brought)
