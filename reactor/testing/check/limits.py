"""The property of what is as long as may be, and one byte longer or shorter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...handlers import Cause, EndOfStream, Exactly, LimitPassed, Until
from ..inputs.stretched import Stretched, every_stretched
from ..inputs.tried import Tried
from ..running.evidence import alike, answers_of, differing, fault_of
from ..running.report import fail, held_in_time
from ..running.run import Run, played

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World

GAP = 8
"""The most lengths between those that are taken and those that are refused, none of which a wait may refuse."""


@held_in_time
def same_at_its_limits(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A piece as long as the handler takes, and one byte longer or shorter, raises nothing and may be cut anywhere.

    The property stretches a word, a number, a piece whose length is written before it (``5:hello``, ``5\\r\\nhello``),
    or one whose length is in one, two or four bytes before it, up to 64 KiB; such a length may count itself, and an end
    may be behind the piece, or the rest of a head before it. It also repeats a record at the end of a binary message.
    Where the handler begins to answer in another way, it tries the lengths about this limit, whole and cut about the
    end of the piece. A limit that counts the delimiter in one place and not in the other is off by one, and so is a
    field for a length that is one too small: a length between those that are taken and those that the handler refuses
    is refused by a wait; or the limit of an `Until` refuses what the handler, which refuses longer ones itself, takes.
    It also stretches a word that the rest of its line does not follow, up to 64 bytes.

    >>> from handlers import LimitPassed, StreamHandler, Until
    >>> class Upper(StreamHandler):
    ...     async def handle(self):
    ...         self.send((await Until(b"\\n", limit=80)).upper())
    >>> same_at_its_limits(Upper, b"one\\n")
    """
    tried = Tried(kind, conversation, world)
    for stretched in every_stretched(tried):
        for length in stretched.changes():
            run = stretched.run(length)
            if run.error is not None:
                fail(tried, f"for {stretched.told(length)} {fault_of(run, '')}", "at_its_limits", run.code())
            if _is_gap(stretched, length, run):
                fault = (
                    f"a piece of {length - 1} bytes is taken, one of {length + GAP} is refused by the handler, and one "
                    f"of {length} by the limit of its wait, which is too small"
                )
                code = f"{run.code()}\nassert not isinstance({run.name}.reason, LimitPassed)"
                fail(tried, fault, "at_its_limits", code)
            if not tried.packets and _is_short(stretched, length, run):
                fault = (
                    f"the limit of a wait refuses a piece of {length} bytes, which the handler would take, for it "
                    "refuses longer ones itself: the limit counts the delimiter too"
                )
                code = f"{run.code()}\nassert not isinstance({run.name}.reason, LimitPassed)"
                fail(tried, fault, "at_its_limits", code)
            for cut in () if tried.packets else stretched.cuts(length):
                other = played(tried, cut)
                if not alike(run, other):
                    fault = f"for {stretched.told(length)} the output depends on how the input is cut"
                    fail(tried, fault, "at_its_limits", differing(other, run), answers=answers_of(other, run))


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
    is_refused = isinstance(longer.reason, Cause) and not isinstance(longer.reason, EndOfStream)
    return len(shorter.output) > len(run.output) and (is_refused or len(longer.output) > len(run.output))


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
    limit, wait.limit = wait.limit, wait.limit + len(wait.delimiter) + 2 * GAP
    try:
        for step in [data[place:], *end]:
            run.step(step)
        return run.finish()
    finally:
        wait.limit = limit
        run.close()
