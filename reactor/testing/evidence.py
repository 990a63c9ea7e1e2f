"""What a run shows against a handler, and the assertion that shows it: the part of `checks` that draws nothing."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import handlers
from handlers import StreamWait

from .counting import EndlessLoop, held
from .schedule import Run
from .subject import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from handlers import Handler, Machine, Wait

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


def beginnings(schedule: Schedule) -> Iterator[Schedule]:
    """All beginnings of a schedule, byte by byte and step by step, the shortest first.

    >>> list(beginnings([b"ab", 1.0]))
    [[], [b'a'], [b'ab'], [b'ab', 1.0]]
    """
    yield []
    for place, step in enumerate(schedule):
        if isinstance(step, bytes):
            yield from ([*schedule[:place], step[:size]] for size in range(1, len(step)))
        yield schedule[: place + 1]


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


def unlike(run: Run, model: Run) -> str:
    """The code of a run and of what tells it from its model."""
    if model.error is not None and run.error is None:
        return model.code()
    if run.endless or model.endless:
        least = min(len(run.output), len(model.output))
        return f"{run.code()}\nassert ({run.reading()})[:{least}] == {literal(model.output[:least])}"
    if run.output != model.output:
        return asserted(run, model.output)
    if run.finished != model.finished or run.error is not None:
        return asserted(run, finished=model.finished)
    if model.reason is None:
        return f"{run.code()}\nassert {run.name}.reason is None"
    kind = type(model.reason).__name__
    if hasattr(handlers, kind):
        return f"{run.code()}\nassert type({run.name}.reason) is {kind}"
    return f"{run.code()}\nassert type({run.name}.reason).__name__ == {kind!r}"  # a class that may be in no module


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
            first = 0 if damaged else len(step) - 1
            if len(step) > 1 and not (packets and not damaged):
                yield from ([*before, step[:byte] + step[byte + 1 :], *after] for byte in range(first, len(step)))


@contextmanager
def pristine(kind: type) -> Iterator[None]:
    """Put back, afterwards, what the classes of a handler hold."""
    classes = [base for base in kind.__mro__ if base.__module__ != "builtins"]
    before = [{name: _copied(value) for name, value in vars(base).items() if _is_data(name, value)} for base in classes]
    try:
        yield
    finally:
        for base, data in zip(classes, before, strict=True):
            for name in [name for name, value in vars(base).items() if _is_data(name, value)]:
                if name not in data:
                    delattr(base, name)
            for name, value in data.items():
                setattr(base, name, value)


def _is_data(name: str, value: object) -> bool:
    return not name.startswith("__") and not callable(value) and not hasattr(value, "__get__")


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # a lock, a file: no buffer of a request
        return value


# Bounds


class Overflow(NamedTuple):
    """A run that holds too many bytes, or has raised: how many it holds, and how many it may."""

    run: Run
    size: int
    bound: int


def flooded(subject: Subject, start: list[bytes], flood: bytes, kept: int) -> Overflow | None:
    """What comes of a flood that makes a handler raise, or hold too much; ``None`` if it does neither.

    Given up as soon as twice as many bytes do not make it hold more.
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
        run.close()
    return None if run.error is None else Overflow(run, sizes[-1], kept + limit + brought)


class Unbounded(NamedTuple):
    """A wait without a bound: what it lacks, and the expression that says so."""

    wait: Wait
    lacks: str
    bound: str


def unbounded(machine: Machine) -> Unbounded | None:
    """What bound it is that the wait of a machine lacks, if it lacks one."""
    wait, handler = machine.wait, machine.handler
    if wait is None:
        return None
    if machine.patience == float("inf") and not tires(type(handler)):
        return Unbounded(wait, "a time out", 'machine.patience < float("inf")')
    if isinstance(wait, StreamWait) and wait.limit > handler.max_output:
        return Unbounded(wait, "a limit to speak of", f"machine.wait.limit <= {handler.max_output}")
    return None


def tires(handler: type[Handler]) -> bool:
    """Whether the handler's class says for how long a silent client may hold a request, whatever it waits for."""
    return handler.idle_timeout is not None or handler.request_timeout is not None
