"""Messages that come again very many times, each time with another number in them: a handler may keep each.

Which number makes a message a new one, a protocol does not tell. So it is in the place of one word after another, of a
few bytes if the message is binary, or there is none.
"""

from __future__ import annotations

import re
from itertools import islice
from textwrap import indent
from time import thread_time
from typing import TYPE_CHECKING, NamedTuple

from ...handlers import Some
from ..inputs.borders import borders_of, pieces_again
from ..inputs.enclosing import BINARY, enclosing
from ..running.courses import TOGETHER
from ..running.forms import Number, around, binary, digits, letters, same
from ..running.snippets import literal
from .lists import shape
from .steep import refuse_steep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..inputs.tried import Tried
    from ..running.forms import Form

SPOTS = 6
"""The most messages that are tried."""

WORDS = 4
"""The most words of a message that are tried."""

PLACES = 8
"""The most places of a binary message that are tried."""

WAYS = 2
"""The most ways to correct the length of a message."""

KEPT = 2
"""The most messages of which the handler keeps something that are tried."""

LONGEST = 2.5
"""Seconds of processor time after which no further place of a number is tried."""

WIDTH = 5
"""Digits of a number. They are as large if few come as if many come, and in no order."""

WIDE = 48
"""Digits of a number in messages for a handler that has a long text of what came."""

LONG = 16_384
"""Bytes of such a text."""

_LINE = re.compile(rb"[^\n]+\n?")
_WORD = re.compile(rb"[0-9A-Za-z]+")


MIXED = Number(lambda number: number * 40_503 % 65_536, "(number * 40_503 % 65_536)")
"""Any number of two bytes: in no order."""

SPREAD = Number(lambda number: 10_000 + number * 40_503 % 65_536, "(10_000 + number * 40_503 % 65_536)")
"""A number of five digits: in no order."""


class Again(NamedTuple):
    """A message that comes again and again; see `steep.Growing`."""

    begun: list[bytes]
    """What comes before it."""
    message: Form
    is_alone: bool
    """Whether each comes alone, so that the handler sees where it begins."""

    def pieces(self, count: int) -> list[bytes]:
        """The messages from number ``count`` on that are measured together."""
        found = [self.message.write(number) for number in range(count, count + TOGETHER)]
        return found if self.is_alone else [b"".join(found)]

    def code(self, tried: Tried) -> str:
        """The function that returns so many of them."""
        first = [*tried.before, *self.begun]
        pieces = "pieces"
        lines = [f"pieces = [{self.message.code} for number in range(count)]"]
        if not self.is_alone:
            lines.append(f"few = [b''.join(pieces[at : at + {TOGETHER}]) for at in range(0, count, {TOGETHER})]")
            pieces = "few"
        lines.append(f"return {literal(first)} + {pieces}" if first else f"return {pieces}")
        return "def said(count):\n" + indent("\n".join(lines), "    ")

    def told(self, count: int) -> str:
        """So many of it, in words."""
        return f"{count} pieces like {literal(self.message.write(1))}"


def refuse_steep_messages(tried: Tried) -> None:
    """Fail if a message costs far more the more came before it."""
    begun, kept = thread_time(), 0
    for message in _messages(tried):
        for again in _forms(*message):
            if thread_time() - begun > LONGEST:
                return
            if found := refuse_steep(tried, again):
                kept += 1
                if found.text > LONG:
                    any(refuse_steep(tried, wide) for wide in _forms(*message, WIDE))
                break
        if kept == KEPT:
            return


def _messages(tried: Tried) -> Iterator[tuple[list[bytes], bytes, bool]]:
    """What comes before a message, the message, and whether it comes alone. Of those that are alike, the first."""
    if tried.packets:
        found = [(tried.pieces[:place], piece, True) for place, piece in enumerate(tried.pieces)]
    else:
        data, is_alone = tried.pieces[0], any(isinstance(border.wait, Some) for border in borders_of(tried))
        if is_alone:
            spans = [match.span() for match in _LINE.finditer(data)]
        else:
            spans = sorted(pieces_again(tried), key=lambda span: span[1] - span[0])
        found = [([data[:begin]] if begin else [], data[begin:end], is_alone) for begin, end in spans]
        if is_alone:
            found.append(([], b"a", True))
    distinct = {shape(message): (begun, message, is_alone) for begun, message, is_alone in reversed(found)}
    return islice(reversed(distinct.values()), SPOTS)


def _forms(begun: list[bytes], piece: bytes, is_alone: bool, width: int = WIDTH) -> Iterator[Again]:
    is_binary = BINARY.search(piece) is not None
    for word in list(_WORD.finditer(piece))[: -WORDS - 1 : -1]:
        start = max(word.start(), word.end() - width)
        before, after = piece[:start], piece[word.end() :]
        more = width - (word.end() - start)
        starts = enclosing(before, len(piece), more) if is_binary and more else iter([before])
        for first in islice(starts, WAYS):
            for form in (digits,) if word[0].isdigit() else (digits, letters):
                yield Again(begun, around(first, form(width, SPREAD), after), is_alone)
    if width > WIDTH:
        return
    if is_binary:
        for at in range(len(piece) - 2, -1, -2)[:PLACES]:
            yield Again(begun, around(piece[:at], binary(2, MIXED), piece[at + 2 :]), is_alone)
    yield Again(begun, same(piece), is_alone)
