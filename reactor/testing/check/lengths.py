"""The property of lengths: one that says more than is there, or less than another one inside, is not believed."""

from __future__ import annotations

import re
from itertools import islice, pairwise, product
from typing import TYPE_CHECKING, Any, NamedTuple

from ..inputs.borders import firsts_of, parts_of
from ..inputs.enclosing import TAIL
from ..inputs.tried import Tried
from ..running.evidence import bytes_of
from ..running.report import fail, held_in_time
from ..running.run import played
from ..running.snippets import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..running.run import Run

SPOTS = 16
"""The most lengths that are tried."""

PADDING = 16
"""The most bytes that may follow the data."""

SHORT = 3
"""Bytes of the shortest data whose length is tried: shorter ones have it by chance."""

MORE = 1, 2, 8
"""By how much a length is made longer."""

_DIGITS = re.compile(rb"(?<![0-9A-Za-z])([1-9][0-9]{0,5})(?:[: ]|\r?\n)")


class Field(NamedTuple):
    """A length in a conversation, and the data that it is the length of, up to the end of a part or packet.

    Data that begins behind its length may have padding, or a checksum, behind it.
    """

    pieces: list[bytes]
    """The conversation up to the message, and with it."""
    at: int
    size: int
    end: int
    padding: int
    """Bytes between the data and the end of the part or packet."""

    @property
    def length(self) -> int:
        """What it says."""
        return int.from_bytes(self.pieces[-1][self.at : self.at + self.size], "big")

    @property
    def is_last(self) -> bool:
        """Whether the data begins behind the length, and the part or packet ends with it."""
        return not self.padding and self.at + self.size + self.length == self.end

    @property
    def data(self) -> bytes:
        """The data."""
        return self.pieces[-1][self.end - self.length : self.end]

    def said(self, length: int) -> list[bytes]:
        """The conversation with another length."""
        *before, last = self.pieces
        return [*before, last[: self.at] + length.to_bytes(self.size, "big") + last[self.at + self.size :]]


@held_in_time
def takes_true_lengths_only(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A length inside a message that is not true is not believed.

    A slice of Python ends where its bytes end, so ``data[2 : 2 + size]`` takes a size that is too large, and says
    nothing. A handler that answers as many bytes as the client says it has sent answers with bytes of others
    (CVE-2014-0160). The property looks for a binary length in front of the last bytes of a part, or packet, that the
    answer contains, and makes it larger than all that follows it: up to 16 bytes of padding may stand behind the data.
    The answer must not be that for the right length, nor have more bytes. So it is with the length of a packet, or of
    the rest of it, and with one of two or four bytes that a message ends with, if the answer is another one for a
    smaller one.

    Two lengths whose data end in one place must agree, such as that of a list and that of its last element: else two
    programs disagree where the next message begins (request smuggling). The property makes the outer one of a stream,
    in digits or binary, smaller by one. The message, and the same one behind it, must not be answered as before. Nor
    may they be if the length in digits of the whole message says one byte less, or one more.

    >>> from handlers.services import Echo
    >>> takes_true_lengths_only(Echo, b"\\0\\5hello")
    """
    tried = Tried(kind, conversation, world)
    for field, _ in zip(_fields(tried), range(SPOTS), strict=False):
        _refuse(tried, field)
    for field in islice((field for field in _fields(tried) if field.size > 1 and field.is_last), SPOTS):
        _refuse_last(tried, field)
    for field in islice(_totals(tried), SPOTS):
        _refuse_total(tried, field)
    firsts = [] if tried.packets else firsts_of(tried)
    for begun, end in islice(pairwise(firsts), SPOTS):
        for outer in islice(_about(tried.pieces[0], begun, end), SPOTS):
            _refuse_disagreeing(tried, begun, end, outer)
        for whole in _of_whole(tried.pieces[0], begun, end):
            _refuse_any_whole(tried, begun, end, whole)


class _Outer(NamedTuple):
    """A length of a message, or of data at whose end, or next to it, the data of another length end too."""

    at: int
    stop: int
    """Where the length itself ends."""
    length: int
    is_text: bool

    def said(self, data: bytes, length: int) -> bytes:
        """The data with another length."""
        size = self.stop - self.at
        told = b"%d" % length if self.is_text else length.to_bytes(size, "big")
        return data[: self.at] + told + data[self.stop :]


def _about(data: bytes, begun: int, end: int) -> Iterator[_Outer]:
    """The lengths about other ones in a message, up to its end, or to the byte or two before it."""
    found = [
        (_Outer(match.start(1), match.end(1), int(match[1]), is_text=True), match.end())
        for match in _DIGITS.finditer(data, begun, end)
    ]
    for at, size in product(range(begun, end - 1), (1, 2, 4)):
        length = int.from_bytes(data[at : at + size], "big")
        found.append((_Outer(at, at + size, length, is_text=False), at + size))
    ending = [(one, start) for one, start in found if one.length >= SHORT and end - TAIL <= start + one.length <= end]
    for outer, start in ending:
        last = start + outer.length
        inner = [
            other
            for other, inside in found
            if start <= other.at and other.length >= SHORT and last - TAIL <= inside + other.length <= last
        ]
        if inner and outer.length < (1 << 8 * (outer.stop - outer.at)) - 1:
            yield outer


def _refuse_disagreeing(tried: Tried, begun: int, end: int, outer: _Outer) -> None:
    """Fail if a message is answered as before although the length about another one is smaller."""
    right, less = (_with_next(tried, begun, end, outer, step) for step in (0, -1))
    if right.output != less.output:
        return
    one, more = played(tried, [tried.pieces[0][:end]]), _with_next(tried, begun, end, outer, 1)
    if one.output != right.output != more.output:
        said = f"{outer.length - 1} in the place of {outer.length}"
        fault = f"it takes the length {said}, although the data of a length inside end behind that"
        code = f"{right.code()}\n{less.code()}\nassert {less.output_code()} != {right.output_code()}"
        fail(tried, fault, "true_lengths", code)


def _with_next(tried: Tried, begun: int, end: int, outer: _Outer, step: int) -> Run:
    """The run of a message with so much more as its length, and of the right one behind it."""
    data = tried.pieces[0]
    said = outer.said(data[:end], outer.length + step) + data[begun:end]
    return played(tried, [said], name="machine" if step else "plain")


def _of_whole(data: bytes, begun: int, end: int) -> Iterator[_Outer]:
    """The lengths in digits that are that of the whole message."""
    for match in _DIGITS.finditer(data, begun, end):
        if int(match[1]) == end - begun >= 10:
            yield _Outer(match.start(1), match.end(1), end - begun, is_text=True)


def _refuse_any_whole(tried: Tried, begun: int, end: int, whole: _Outer) -> None:
    """Fail if a message is answered as before although it says to have one byte less, or one more, than it has."""
    less, right, more = (_with_next(tried, begun, end, whole, step) for step in (-1, 0, 1))
    if less.output == right.output == more.output != played(tried, [tried.pieces[0][:end]]).output:
        fault = f"it takes the length {whole.length + 1} of a whole message, which has {whole.length} bytes"
        code = f"{right.code()}\n{more.code()}\nassert {more.output_code()} != {right.output_code()}"
        fail(tried, fault, "true_lengths", code)


def _totals(tried: Tried) -> Iterator[Field]:
    """The lengths of two or four bytes, each of which is that of a packet, or of the rest of it."""
    for place, packet in enumerate(tried.pieces if tried.packets else ()):
        end = len(packet)
        for at, size in product(range(end - 1), (4, 2)):
            found = Field(tried.pieces[: place + 1], at, size, end, 0)
            if found.length >= SHORT and found.length in (end, end - at, end - at - size):
                yield found


def _refuse_total(tried: Tried, field: Field) -> None:
    """Fail if the length of a packet is believed that says more than the packet has."""
    less, plain, *more = (_answer(tried, field.said(field.length + step)) for step in (-1, 0, *MORE))
    *before, packet = field.pieces
    ignored = _answer(tried, [*before, packet[: field.at]])  # as if the length were not believed, the rest left out
    if plain not in (b"", less, ignored) and all(answer == plain for answer in more):
        fault = f"it takes the length {field.length + 1} of a packet, or of the rest of it, which is {field.length}"
        _fail(tried, field, 1, fault)


def _fields(tried: Tried) -> Iterator[Field]:
    if tried.packets:
        spans = [(tried.pieces[: place + 1], 0, len(packet)) for place, packet in enumerate(tried.pieces)]
    else:
        firsts = firsts_of(tried)
        spans = []
        for part in parts_of(tried):
            begun = max((at for at in firsts if at <= part.border.at), default=0)
            stop = min((at for at in firsts if at >= part.end), default=len(tried.pieces[0]))
            spans.append(([tried.pieces[0][:stop]], begun, part.end))
    for pieces, begun, end in spans:
        for at in range(begun, end - SHORT):
            for size in 1, 2, 4:
                found = Field(pieces, at, size, end, 0)
                room = end - at - size
                if not SHORT <= found.length <= room:
                    continue
                yield found
                if 0 < room - found.length <= PADDING:
                    yield found._replace(end=at + size + found.length, padding=room - found.length)


def _refuse(tried: Tried, field: Field) -> None:
    """Fail if a length that is too large is believed."""
    length, steps = field.length, [field.padding + more for more in MORE]
    if length + steps[-1] >= 1 << 8 * field.size:
        return
    plain, less, *more = (_answer(tried, field.said(length + step)) for step in (0, -1, *steps))
    if field.data not in plain or field.data in less:
        return
    if all(answer == plain for answer in more):
        fault = f"it takes the length {length + steps[0]} for {literal(field.data)}, which has {length} bytes"
        _fail(tried, field, steps[0], fault)
    grown = [len(answer) - len(plain) for answer in more]
    if grown == steps and all(field.data in answer for answer in more):
        said = length + steps[-1]
        fault = f"for the length {said} of {length} bytes it answers with {MORE[-1]} bytes that nobody sent"
        _fail(tried, field, steps[-1], fault)


def _refuse_last(tried: Tried, field: Field) -> None:
    """Fail if the length of what a message ends with is believed that is too large, and not one that is too small."""
    if field.length + MORE[-1] >= 1 << 8 * field.size:
        return
    plain, less, *more = (_answer(tried, field.said(field.length + step)) for step in (0, -1, *MORE))
    *before, last = field.pieces
    if plain not in (less, _answer(tried, [*before, last[:-1]])) and all(answer == plain for answer in more):
        fault = f"it takes the length {field.length + 1} for {literal(field.data)}, which has {field.length} bytes"
        _fail(tried, field, 1, fault)


def _answer(tried: Tried, pieces: list[bytes]) -> bytes:
    return bytes_of(played(tried, pieces))


def _fail(tried: Tried, field: Field, step: int, fault: str) -> None:
    plain = played(tried, field.pieces, name="plain")
    run = played(tried, field.said(field.length + step))
    got, right = run.output_code(), plain.output_code()
    assertion = f"assert {got} != {right}" if run.output == plain.output else f"assert len({got}) <= len({right})"
    fail(tried, fault, "true_lengths", f"{plain.code()}\n{run.code()}\n{assertion}")
