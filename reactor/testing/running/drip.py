"""A slow client, which sends a byte just before the time of each wait is over, or none, in simulated time."""

from __future__ import annotations

from copy import copy
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import FirstOf, Handler, Some, Wait, World
from .counting import held
from .run import Run
from .snippets import literal
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DRIPS = 200
"""Bytes after which a client that drips gives up."""

LONG = 32
"""Bytes of a message, each with a wait of its own, after which no right handler waits for more of it."""

BY_HAND = 12
"""The same of a message whose length the handler knows, and that it collects by one `Some` after another, each of them
with a limit of what is left, and with the same time: `Exactly` waits for all of it at once."""

SHARE = 0.9
"""The part of the time of each wait that passes before the next byte comes."""


class Drip(NamedTuple):
    """What has become of a request whose client drips."""

    seconds: float
    is_kept_open: bool
    """Whether it was open too long, unanswered, and held more with each byte, although the handler has a timeout."""
    is_open: bool = False
    """Whether it is still open when the client gives up."""


def drip(
    kind: Any, start: bytes | Iterable[bytes], filler: bytes = b"a", world: World | None = None, *, within: float = inf
) -> float:
    """The seconds for which a client that drips keeps a request of the handler class ``kind`` open.

    The client sends ``start``, bytes or several packets, and then ``filler`` again and again, each time when nine
    tenths of the time of the wait are over, until the handler answers or the request ends, 200 times at most. If
    ``filler`` is empty, it says nothing more: each wait for it times out, until the request ends. A wait that may take
    longer than ``within`` seconds counts as one of so many. The result counts whole pauses. No real time passes;
    ``self.now()`` goes on.

    >>> from handlers import StreamHandler, Until
    >>> class Bounded(StreamHandler):
    ...     timeout = 10
    ...     async def handle(self):
    ...         self.send(await Until(b"\\n", limit=80))
    >>> drip(Bounded, b"o")
    18.0
    """
    start = [start] if isinstance(start, bytes) else start
    return dripped(Subject(kind, world), start, filler, within=within).seconds


def trickle(kind: Any, start: bytes, pieces: Iterable[bytes], world: World | None = None) -> float:
    """The seconds that a message takes whose client sends each of its ``pieces`` late, behind ``start``.

    Each piece but the first comes when nine tenths of the time of the wait for it, or of ``request_timeout`` if that is
    less, are over. 0 if the request ends before the last one, for the handler of the class ``kind`` bounds the time of
    the whole message. No real time passes.

    >>> from handlers import StreamHandler, Until
    >>> class Lines(StreamHandler):
    ...     timeout = 10
    ...     async def handle(self):
    ...         self.send(await Until(b"\\n") + await Until(b"\\n"))
    >>> trickle(Lines, b"", [b"one\\n", b"two\\n"])
    9.0
    """
    clock = [0.0]
    run = _begun(Subject(kind, world), [start], clock)
    seconds = 0.0
    for number, piece in enumerate(pieces):
        if number and not run.finished:
            _pause(run, clock, SHARE * min(run.patience, run.subject.handler.request_timeout or inf))
        if run.finished or run.over or run.patience == inf:
            break
        run.step(piece)
        run.drain()
    else:
        seconds = run.clock
    run.close()
    return seconds


def after_pauses(subject: Subject, steps: Sequence[bytes | float]) -> Run:
    """The run of a schedule of bytes and pauses in a world whose time goes on."""
    clock = [0.0]
    run = _begun(subject, [], clock)
    for step in steps:
        if isinstance(step, float):
            _pause(run, clock, step)
        elif not (run.finished or run.over):
            run.step(step)
    run.drain()
    run.close()
    return run


def pauses_code(subject: Subject, steps: Sequence[bytes | float], asked: set[str]) -> str:
    """The statements that play a schedule of bytes and pauses to a machine in a world whose time goes on."""
    lines = ["clock = [0.0]", f"machine = {subject.construct({*asked, 'now'}, 'clock[0]')}"]
    lines += (f"clock[0] += {step}" if isinstance(step, float) else f"machine.feed({literal(step)})" for step in steps)
    return "\n".join(lines)


def dripped(subject: Subject, start: Iterable[bytes], filler: bytes, grows: bool = True, within: float = inf) -> Drip:
    """What becomes of a request whose client sends the pieces ``start`` and then drips.

    It is kept open too long if it holds the last half of `LONG` bytes, whether it ends after more of them or not; or
    that of `BY_HAND` bytes, each of which a `Some` has taken that waits for what is left of a known length.
    Without ``grows``, a request that is still open at the end was kept open too long, whether it holds more or not.
    Where the client says nothing, a `FirstOf` ends the drip, for it does not wait for the client alone; but not if a
    datagram handler sends the same after each silence: nothing tells it that the client has gone.
    """
    clock = [0.0]
    run = _begun(subject, start, clock)
    sizes: list[int] = []
    answered = run.output
    has_timeout = run.wait is not None and (run.wait.timeout or subject.handler.timeout) != Handler.timeout
    left, patience = _left(run.wait), run.patience
    is_long, is_by_hand = False, left > 0
    said: list[Any] = []  # after each silence
    for number in range(1, DRIPS + 1):
        ends = run.output != answered if filler else not (_is_for_peer(run.wait) or _repeats(run, said))
        if run.finished or run.over or ends or run.patience == inf:
            break
        told = len(run.output)
        _pause(run, clock, (SHARE if filler else 1.0) * min(run.patience, within))
        if filler and not run.finished:
            run.step(filler)
        run.drain()
        said.append(run.output[told:])
        left -= len(filler)
        is_by_hand = is_by_hand and _left(run.wait) == left and run.patience >= patience
        for long in (LONG, *([BY_HAND] if is_by_hand else [])):
            if number in (long // 2, long) and not run.over:
                sizes.append(held(run.machine))
                is_long = is_long or (number == long and sizes[-1] - sizes[-2] >= long // 2 * len(filler))
    else:
        run.close()
        return Drip(run.clock, has_timeout and (is_long or not grows), is_open=True)
    run.close()
    return Drip(run.clock, has_timeout and is_long and grows)


def _begun(subject: Subject, start: Iterable[bytes], clock: list[float]) -> Run:
    """A run that has got the pieces ``start``, in a world whose time goes on with that of the ``clock``."""
    run = Run(_ticking(subject, clock))
    for piece in start:
        run.step(piece)
    run.drain()
    return run


def _pause(run: Run, clock: list[float], seconds: float) -> None:
    """The client says nothing for so long."""
    clock[0] += seconds
    run.step(seconds)


def _left(wait: Wait | None) -> int:
    """The bytes that a `Some` takes at most; 0 for another wait."""
    return wait.limit if isinstance(wait, Some) else 0


def _is_for_peer(wait: Wait | None) -> bool:
    return wait is not None and wait.reads and not isinstance(wait, FirstOf)


def _repeats(run: Run, said: list[Any]) -> bool:
    """Whether a datagram handler waits for the client or for a time, and may send the same again and again."""
    is_either = run.subject.packets and isinstance(run.wait, FirstOf) and run.wait.reads
    return is_either and (len(said) < 2 or (bool(said[-1]) and said[-1] == said[-2]))


def _ticking(subject: Subject, clock: list[float]) -> Subject:
    """The handler class in a world whose time goes on with that of the ``clock``."""
    world, subject = subject.world, copy(subject)
    subject.world = World(
        world.peer, world.server, lambda: world.now() + clock[0],
        credentials=world.credentials, descriptors=world.descriptors,
    )  # fmt: skip
    return subject
