"""Binary messages of very many elements: what they cost grows as their number does, also in C.

``number in found`` goes over all that is found, and ``rest = rest[2:]`` copies all that follows; no line of Python runs
meanwhile. So this measures processor time, as `lists` does for lists in a line. A message has twice as many elements
each time until it takes long, so a right handler costs little.
"""

from __future__ import annotations

from textwrap import indent
from time import thread_time
from typing import TYPE_CHECKING, NamedTuple

from ..inputs.borders import firsts_of
from ..inputs.enclosing import BINARY, enclosing
from ..running.report import fail
from ..running.snippets import literal
from ..running.timing import plain_seconds
from .lists import RUNS, steep_of
from .matching import SLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..inputs.tried import Tried
    from ..running.schedule import Schedule

LEAST = 3_750
"""Bytes of the elements of the shortest message that is tried."""

PACKET, MOST = 60_000, 240_000
"""Bytes of the elements of the longest packet, and of the longest message of a stream."""

WIDTHS = 2, 4
"""Bytes of elements that are numbers."""

LONGEST = 32
"""Bytes of the longest element that comes again as it is."""

LARGEST = 4_096
"""Bytes of the largest message that is tried."""

VERY_SLOW = 0.6
"""Seconds of processor time after which no longer message is tried."""

SUSPICIOUS = 6.0
"""The factor for four times as many from which on they are measured again."""

ENOUGH = 0.3
"""Seconds of processor time after which no further elements are tried."""


class Many(NamedTuple):
    """A message with very many elements at its end."""

    begun: list[bytes]
    """What comes before it."""
    message: bytes
    element: bytes
    """What comes again; if it is empty, numbers come."""
    width: int
    """The bytes of an element."""
    is_counted: bool
    """Whether a length in the message that is that of the whole is made greater."""

    def schedule(self, count: int) -> Schedule:
        """The message with so many more elements."""
        numbers = (number & (1 << 8 * self.width) - 1 for number in range(count))
        elements = self.element * count or b"".join(number.to_bytes(self.width, "big") for number in numbers)
        return [*self.begun, self._before(count) + elements]

    def _before(self, count: int) -> bytes:
        """The message, with the length that it has with so many more elements."""
        return next(enclosing(self.message, len(self.message), self.width * count)) if self.is_counted else self.message

    def code(self, tried: Tried, count: int) -> str:
        """The function that returns the schedule with ``count`` elements."""
        number = f"(number & {(1 << 8 * self.width) - 1:#x}).to_bytes({self.width}, 'big')"
        elements = (
            f"{literal(self.element)} * count" if self.element else f"b''.join({number} for number in range(count))"
        )
        begun = f"{literal([*tried.before, *self.begun])} + " if tried.before or self.begun else ""
        told = f"elements = {elements}\nreturn {begun}[{literal(self._before(count))} + elements]"
        return f"def said(count):\n{indent(told, '    ')}"


def refuse_steep_elements(tried: Tried) -> None:
    """Fail if a message of twice as many elements takes far more than twice the time, twice in a row."""
    begun, most = thread_time(), PACKET if tried.packets else MOST
    for many in _messages(tried):
        size, spent = LEAST, 0.0
        while size <= most and spent < VERY_SLOW:
            spent = plain_seconds(tried, many.schedule(size // many.width))
            if spent > SLOW:
                _refuse(tried, many, size // many.width)
            size *= 2
        if thread_time() - begun > ENOUGH:
            break


def _refuse(tried: Tried, many: Many, count: int) -> None:
    """Fail if so many elements take far longer than half of them, and these than a quarter; the fastest runs count."""
    schedules = [many.schedule(count // part) for part in (4, 2, 1)]
    first = [plain_seconds(tried, schedule) for schedule in schedules]
    if first[-1] < SUSPICIOUS * first[0]:
        return
    runs = [first, *([plain_seconds(tried, schedule) for schedule in schedules] for _ in range(RUNS - 1))]
    if (found := steep_of(runs)) is None:
        return
    half, whole = found
    fault = (
        f"a message of {count} elements more, of {many.width} bytes each, takes it {whole:.1f} seconds of processor "
        f"time, and half of them {half:.2f}: it goes over all others, or all that follows, for each"
    )
    call = tried.call("seconds", tried.text, f"said({count})")
    fail(tried, fault, "works_linearly", f"{many.code(tried, count)}\n\nassert {call} < {whole / 2:.2f}")


def _messages(tried: Tried) -> Iterator[Many]:
    begun, message = _first(tried)
    if not BINARY.search(message) or len(message) > LARGEST:
        return
    has_length = next(enclosing(message, len(message), 1)) != message
    ways = [True] * has_length + [False] * tried.packets  # behind a message of a stream, without it, is another one
    last = message[-1:]
    start = message.rfind(last, 0, -1) + 1
    elements = {last, message[start:]} if len(message) - start <= LONGEST else {last}
    for is_counted in ways:
        for element in sorted(elements, key=len):
            yield Many(begun, message, element, len(element), is_counted)
        yield from (Many(begun, message, b"", width, is_counted) for width in WIDTHS)


def _first(tried: Tried) -> tuple[list[bytes], bytes]:
    """The first message, with what comes before it. The later ones are tried alone."""
    data = tried.pieces[0]
    firsts = [] if tried.packets else firsts_of(tried)
    begin, end = firsts[:2] if len(firsts) > 1 else (0, len(data))
    return [data[:begin]] if begin else [], data[begin:end]
