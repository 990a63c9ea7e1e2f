"""The property of what is as long as may be, and one byte longer or shorter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...handlers import Cause, EndOfStream, Exactly, LimitPassed, Until
from ..inputs.stretched import SMALLEST, Stretched, every_stretched
from ..inputs.tried import Tried
from ..reading.largest import left_out
from ..running.evidence import alike, answers_of, differing, fault_of
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.snippets import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule

TIMES = 3
"""How many times as long as its limit a piece is that comes in several reads, each longer than that."""

GAP = 8
"""The most lengths between those that are taken and those that are refused, none of which a wait may refuse."""


@held_in_time
def same_at_its_limits(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A piece as long as the handler takes, and one byte longer or shorter, raises nothing and may be cut anywhere.

    The property stretches a word, a number, a piece whose length is written before it (``5:hello``, ``5\\r\\nhello``),
    or one whose length is in one, two or four bytes before it, up to 64 KiB; such a length may count itself, and an end
    may be behind the piece, or the rest of a head before it. It also repeats a record at the end of a binary message.
    Where the handler begins to answer in another way, it tries the lengths about this limit, whole and cut about the
    end of the piece, and three times the limit, whole and in reads that are longer than it. A limit that counts the
    delimiter in one place and not in the other is off by one, and so is a field for a length that is one too small: a
    length between those that are taken and those that the handler refuses is refused by a wait; or the limit of an
    `Until` refuses what the handler, which refuses longer ones itself, takes; or the shortest that the handler refuses
    is the largest that its source names, as in ``size < MAX_SIZE``. It also stretches a word that the rest of its line
    does not follow, up to 64 bytes.

    >>> from handlers import LimitPassed, StreamHandler, Until
    >>> class Upper(StreamHandler):
    ...     async def handle(self):
    ...         self.send((await Until(b"\\n", limit=80)).upper())
    >>> same_at_its_limits(Upper, b"one\\n")
    """
    tried = Tried(kind, conversation, world)
    largest = left_out(tried.kind)
    for stretched in every_stretched(tried):
        lengths = stretched.changes()
        for length in lengths:
            run = stretched.run(length)
            if run.error is not None:
                fail(tried, f"for {stretched.told(length)} {fault_of(run, '')}", "at_its_limits", run.code())
            for fault, assertion in _misplaced(stretched, length, run, largest):
                fail(tried, fault, "at_its_limits", f"{run.code()}\n{assertion}")
            for cut in () if tried.packets else stretched.cuts(length):
                _refuse_unlike(stretched, length, run, cut)
        longer = TIMES * lengths[-1]
        if longer <= stretched.most and not tried.packets:
            data, *end = stretched.schedule(longer)
            assert isinstance(data, bytes)
            size = lengths[-1] * 5 // 4
            reads = (data[at : at + size] for at in range(0, len(data), size))
            _refuse_unlike(stretched, longer, stretched.run(longer), [*reads, *end])


def _refuse_unlike(stretched: Stretched, length: int, run: Run, cut: Schedule) -> None:
    """Fail if a piece of this length, whole in ``run``, has another answer when it is cut so."""
    other = played(stretched.tried, cut)
    if not alike(run, other):
        fault = f"for {stretched.told(length)} the output depends on how the input is cut"
        fail(stretched.tried, fault, "at_its_limits", differing(other, run), answers=answers_of(other, run))


def _misplaced(stretched: Stretched, length: int, run: Run, largest: dict[int, str]) -> Iterator[tuple[str, str]]:
    """The faults of a limit at this length, each with the assertion that fails. ``largest`` is what `left_out` says."""
    within = f"assert not isinstance({run.name}.reason, LimitPassed)"
    if _is_gap(stretched, length, run):
        fault = (
            f"a piece of {length - 1} bytes is taken, one of {length + GAP} is refused by the handler, and one "
            f"of {length} by the limit of its wait, which is too small"
        )
        yield fault, within
    if not run.subject.packets and _is_short(stretched, length, run):
        fault = (
            f"the limit of a wait refuses a piece of {length} bytes, which the handler would take, for it "
            "refuses longer ones itself: the limit counts the delimiter too"
        )
        yield fault, within
    number = length + stretched.is_of_records
    if number in largest and _is_first_refused(stretched, length, run):
        fault = (
            f"{stretched.told(length)} is refused by the handler, which takes one less, although the source "
            f"names {number} as the largest: {largest[number]}"
        )
        yield fault, _not_so(run, stretched.run(length - 1))


def _is_gap(stretched: Stretched, length: int, run: Run) -> bool:
    """Whether a wait refuses it, between shorter pieces that are taken and longer ones that the handler refuses.

    The handler must have waited for so many bytes, and a few more for the end of the piece. It refuses longer ones
    with an answer, or with a cause of its own.
    """
    wait = run.reason.wait if isinstance(run.reason, LimitPassed) else None
    if not isinstance(wait, Exactly) or not 1 < length <= wait.n <= length + GAP <= stretched.most:
        return False
    shorter, longer = (stretched.run(other) for other in (length - 1, length + GAP))
    if any(isinstance(other.reason, LimitPassed) for other in (shorter, longer)):
        return False
    return len(shorter.output) > len(run.output) and (_is_cause(longer) or len(longer.output) > len(run.output))


def _is_short(stretched: Stretched, length: int, run: Run) -> bool:
    """Whether the limit of an `Until` refuses it because it counts the delimiter.

    The handler would take it, and the delimiter's length less one more bytes, and refuses longer ones itself.
    """
    wait = run.reason.wait if isinstance(run.reason, LimitPassed) else None
    if not isinstance(wait, Until) or length + GAP > stretched.most:
        return False
    shorter, least = stretched.run(length - 1), length + len(wait.delimiter)
    same, last, longer = (_in_room(stretched, other) for other in (length, least - 1, least))
    if same is None or last is None or longer is None or not (shorter.output and longer.output):
        return False
    return stretched.kind_of(shorter) == stretched.kind_of(same) == stretched.kind_of(last) != stretched.kind_of(longer)


def _is_first_refused(stretched: Stretched, length: int, run: Run) -> bool:
    """Whether the handler itself refuses it and longer ones in one way, and takes those that are shorter.

    Of records there must be one in the message, so that their number is known: without it the message is refused.
    """
    if length < SMALLEST or length + GAP > stretched.most:
        return False
    kinds = [stretched.kind_of(stretched.run(length + more)) for more in (-2, -1, 0, 1, GAP)]
    if not kinds[0] == kinds[1] != kinds[2] == kinds[3] == kinds[4]:
        return False
    if stretched.is_of_records and stretched.kind_of(stretched.run(-1)) == kinds[1]:
        return False
    taken = stretched.run(length - 1)
    return len(taken.output) > 0 and not _is_cause(taken) and _refuses(run, taken)


def _refuses(run: Run, taken: Run) -> bool:
    """Whether a run ends for a cause of the handler's own, or has another answer than that of what is taken.

    A handler of streams that answers nothing may wait for more: what others follow is often as long as may be.
    """
    if isinstance(run.reason, LimitPassed):
        return False
    if _is_cause(run):
        return True
    return run.output != taken.output if run.subject.packets else not taken.output.startswith(run.output)


def _is_cause(run: Run) -> bool:
    """Whether it has ended for a cause that is not the end of its client."""
    return isinstance(run.reason, Cause) and not isinstance(run.reason, EndOfStream)


def _not_so(run: Run, taken: Run) -> str:
    """The assertion that a run does not end, or answer, as it does, but as the one that is taken."""
    if type(run.reason) is not type(taken.reason) and run.reason is not None:
        return f"assert not isinstance({run.name}.reason, {run.subject.mention(type(run.reason))})"
    if run.finished != taken.finished:
        return f"assert {'not ' if run.finished else ''}{run.name}.finished"
    return f"assert {run.output_code()} != {literal(run.output)}"


def _in_room(stretched: Stretched, length: int) -> Run | None:
    """What the handler makes of it if the limit of the wait that it comes for is greater; ``None`` without one."""
    data, *end = stretched.schedule(length)
    assert isinstance(data, bytes)
    place, run = data.find(stretched.letter * length), Run(stretched.tried)
    run.step(data[:place])
    wait: Any = run.machine.wait
    if run.over or not isinstance(wait, Until):
        run.close()
        return None
    run.machine.wait = Until(wait.delimiter, wait.limit + len(wait.delimiter) + 2 * GAP, wait.timeout)
    try:
        for step in [data[place:], *end]:
            run.step(step)
        return run.finish()
    finally:
        run.close()
