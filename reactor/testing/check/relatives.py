"""The properties of bytes that a parser may take for others: numbers that are none, and ends that only look like ends.

A handler takes bytes for others if its output is the same with both. That says something only where the handler looks
at them: so with the *controls*, which no parser could take for the same, the output must be another one.
"""

from __future__ import annotations

import re
from itertools import chain, islice, pairwise, product
from typing import TYPE_CHECKING, NamedTuple

from ...handlers import Exactly
from ..inputs.borders import firsts_of, parts_of
from ..inputs.enclosing import BINARY, counting
from ..inputs.pieces import replaced, spots
from ..inputs.tried import Tried
from ..running.evidence import answers_of, bytes_of, differing, fault_of
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.spreading import places, thinned
from .sums import summed, summed_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ...handlers import World
    from ..inputs.enclosing import Counting
    from ..running.schedule import Schedule

SPOTS = 16
"""The most numbers, and the most ends, of a conversation that are tried. Of more, they are evenly spread."""

BYTES = 32
"""The most bytes of a binary piece that may be two digits."""

RETURNS = 4
"""The fewest CR, where there is no LF, that are ends of lines: fewer may be numbers."""

DIGITS = 4
"""The most bytes of an answer that differ where a number is one more."""

LENGTHS = 2
"""The most lengths about a number that are corrected."""

TOLD = 3
"""The fewest bytes of data whose length in digits is sought before them."""

NEAR = 256
"""Bytes before data among which their length is sought."""

_NUMBER = re.compile(rb"(?<![0-9A-Za-z_])[0-9A-Fa-f]+(?![0-9A-Za-z_])")
_VALUE = re.compile(rb"(?<=: )[A-Za-z]{4,}(?=\r\n)")  # of a field, alone
_TOLD = re.compile(rb"(?<![0-9A-Za-z])[0-9]{1,6}(?=[: \r\n])")
_FIXED = re.compile(rb"(?<=[A-Za-z])[0-9]{3,}|(?<![0-9])[0-9]{3,}(?=[A-Za-z])")
_ADDRESS = re.compile(rb"(?<![0-9A-Za-z.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z.])")
_WORD = re.compile(rb"[A-Za-z]+")
_END = re.compile(rb"\r\n|(?<![\0-\x08\x0b\x0c\x0e-\x1f])(?<!\d:)\n")
"""Behind a control character LF may be a number; where a netstring begins, it ends no line."""
_RETURN = re.compile(rb"(?<=[ -~\x80-\xff])\r")
_DOT = re.compile(rb"\r\n\.\r\n")
_NO_DOTS = b"\n.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r\n. \r\n", b"\r\n .\r\n"
_FRAMING_HEADER = re.compile(rb"(?<=\n)(?:Content-Length|Transfer-Encoding)(?=:)", re.IGNORECASE)

_SIP = b" SIP/2.0\r\n"  # there blanks before a colon are right (RFC 3261, section 25.1: HCOLON)
_BOUNDARY = re.compile(rb"(?<=\n)([^\w\s])\1+(\w{2,})(?!\w)")  # such as --limit, where the head has named it
_LINE = re.compile(rb"[^\r\n]+")
_CHUNK = re.compile(rb"(?:\A|(?<=\n))[0-9A-Fa-f]{1,4}\r\n")  # the line before a chunk: its size
_ESCAPE = re.compile(rb"[!-~]%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(rb"([\\\x10\x1b}\xdb])(.)", re.DOTALL)  # a backslash, DLE, ESC, and those of PPP and SLIP
_SEPARATOR = re.compile(rb"(?<=[!-~])[ =&](?=[!-~])")
_LENGTH = re.compile(rb"(?<=\n)((?:Content-Length|l): *)([0-9]+)(?=\r?\n)", re.IGNORECASE)
_DIGITS = {ord("0") + value: chr(0x660 + value) for value in range(10)}  # ARABIC-INDIC DIGIT ZERO and so on
_LOOK_LIKE_ENDS = b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x85", "\x85".encode(), "\u2028".encode()
"""What ``str.splitlines()`` takes for the end of a line; CR first, which ends lines where there is no LF."""


class Swap(NamedTuple):
    """Bytes of a conversation, and what comes instead of them."""

    noun: str
    piece: int
    """The index of the packet; of a stream 0."""
    start: int
    end: int
    instead: bytes
    controls: tuple[bytes, ...]
    """What comes instead to see whether the handler looks at the bytes."""
    length: Counting | None = None
    """A length in digits that counts the bytes, and is corrected for what comes instead."""
    is_summed: bool = False
    """Whether the sum of the text that they are in is corrected too: see `summed`."""
    right: bytes | None = None
    """What is right there, and is not taken for ``instead``; ``None``: the bytes of the conversation."""

    def is_blank(self, pieces: list[bytes]) -> bool:
        """Whether the bytes are the end of a line, alone: such as a blank line between messages."""
        return pieces[self.piece][self.start : self.end] in (b"\n", b"\r\n")


@held_in_time
def takes_plain_numbers_only(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A number is one or more of the digits that the protocol has, and nothing else that Python takes for a number.

    ``int()`` takes ``+5``, ``0_5``, ``" 5"`` and, of text, the digits of every script; with base 16 also ``0x5``.
    ``bytes.fromhex()`` skips blanks between the digits. ``str.isdigit()`` is true for ``²``, for which ``int()``
    raises. Two programs that read one length differently disagree where the next message begins (request smuggling):
    RFC 9112, section 6.3, has ``1*DIGIT``. The property writes each number of the conversation in these forms, also
    with a length in digits before it made greater that counts it, or the right sum behind it. The output must not be
    that for the plain number. Digits that are a part of a word, such as a field of a given width, are tried with as
    many bytes: ``+23`` for ``123``. An IPv4 address has no zero before a number, which some programs take for octal
    (RFC 6943, section 3.1.1). Two digits in a byte (BCD) are tried with a ten in the place of the second one:
    the byte ``0A`` for ``10``.

    >>> from handlers import Exactly, StreamHandler, Until
    >>> class Blob(StreamHandler):
    ...     async def handle(self):
    ...         digits = (await Until(b":", limit=7))[:-1]
    ...         self.send(await Exactly(int(digits)) if digits.isdigit() else b"?")
    >>> takes_plain_numbers_only(Blob, b"5:hello")
    """
    tried = Tried(kind, conversation, world)
    _refuse_same(tried, chain(_spelled(tried.pieces), _carried(tried)), "plain_numbers")


@held_in_time
def takes_exact_ends_only(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    r"""What only looks like the end of a line, or of a message, is none.

    ``str.splitlines()`` ends a line also at ``\r``, ``\v``, ``\f``, ``\x1c``, ``\x85`` and U+2028. ``\n.\r\n`` is not
    the end of mail data (RFC 5321, section 4.1.1.4), and a blank before the colon of ``Content-Length`` makes it no
    such header (RFC 9112, section 5.1): a program in front that reads them otherwise lets a client hide a request in
    another one. The property writes each end of a line, and each lone dot, in these forms, the dot also with letters
    before it, so that as many bytes come; a dot with a blank beside it is none either. It replaces CR LF behind a chunk
    of HTTP, and the byte, or the two, behind data of a given length that are the same each time, or that a length in
    digits before does not count, and it writes letters before them; also if the handler reads CR, LF or both alone, by
    their length. It puts NUL and a letter behind each word, which is no end of a word where nothing else has NUL.
    Behind the mark of an end that a line before has named, such as ``--limit`` of MIME (RFC 2046, section 5.1.1), it
    writes a letter, and such a mark at the end of another line. Before a word that is alone the value of a field it
    writes a letter. Where the conversation has escapes such as ``%2F``, an escaped blank, ``=`` or ``&`` separates
    nothing. Where it has such as ``\n`` and ``\\``, both in a row, ``\\n``, are a backslash and a letter, and not a
    backslash and LF. The output must not be that for the right end. ``\n`` for ``\r\n`` may end a line (RFC 9112,
    section 2.2).

    >>> from handlers.services import Echo
    >>> takes_exact_ends_only(Echo, b"one\r\n.\r\n")
    """
    tried = Tried(kind, conversation, world)
    begun = set(firsts_of(tried))
    swaps = [
        *_ended(tried.pieces),
        *_escaped(tried.pieces),
        *_escaped_twice(tried.pieces),
        *_named(tried.pieces),
        *_ended_after_lengths(tried),
        *_ended_as_told(tried),
        *_ended_later(tried),
    ]
    begun -= {at + 1 for at in begun}  # where it reads byte by byte, no byte begins a message for that
    between = [swap for swap in swaps if swap.start in begun and swap.is_blank(tried.pieces)]
    _refuse_same(tried, [swap for swap in swaps if swap not in between], "exact_ends")
    _refuse_marks_in_lines(tried)


@held_in_time
def takes_one_length_only(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A message that tells its length twice, and differently, is not taken as if it told it once.

    A program in front that believes the other length lets a client hide a request in another one: two lines
    ``Content-Length`` with different numbers, or one beside ``Transfer-Encoding: chunked`` (RFC 9112, section 6.3). The
    property adds such a line before and after each ``Content-Length`` of the conversation, of SIP also one with the
    other form of the name, ``l``. The output must not be that without it. It adds ``Transfer-Encoding`` only where the
    conversation has that, too: a server that knows one framing only may have another program in front that knows both.

    >>> from handlers.services import Echo
    >>> takes_one_length_only(Echo, b"POST / HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    """
    tried = Tried(kind, conversation, world)
    _refuse_same(tried, _lengths(tried.pieces), "one_length")


def _has_chunks(pieces: list[bytes]) -> bool:
    """Whether a message of HTTP in chunks is part of the conversation."""
    return b"\ntransfer-encoding:" in b"".join(pieces).lower()


def _lengths(pieces: list[bytes]) -> Iterator[Swap]:
    """Each length with another one beside it."""
    chunked = (b"\r\nTransfer-Encoding: chunked",) if _has_chunks(pieces) else ()
    for place, start, end in spots(pieces, _LENGTH, SPOTS):
        line = pieces[place][start:end]
        name, _, number = line.partition(b":")
        others = [b"%b: %d" % (other, int(number) + 1) for other in (name, *_other_names(pieces, name))]
        controls = b"X-" + line, name + b": x", others[0]  # the handler looks at the length
        beside = [both for other in others for both in (line + b"\r\n" + other, other + b"\r\n" + line)]
        for instead in *beside, *(line + more for more in chunked):
            yield Swap("length", place, start, end, instead, controls)


def _other_names(pieces: list[bytes], name: bytes) -> list[bytes]:
    """What a length is called too, where the conversation has the compact form of SIP (RFC 3261, section 7.3.3)."""
    known = (b"Content-Length", b"l") if re.search(rb"\nl: *[0-9]", b"".join(pieces)) else ()
    return [other for other in known if other.lower() != name.lower()]


def _spelled(pieces: list[bytes]) -> Iterator[Swap]:
    """Each number in other forms."""
    for place, start, end in spots(pieces, _NUMBER, SPOTS):
        piece = pieces[place]
        number, before, after = piece[start:end], piece[start - 1 : start], piece[end : end + 1]
        digits = number.decode()
        forms = [f"+{digits}", f"0_{digits}", f"0x{digits}", f"{digits[0]}_{digits[1:]}", digits.translate(_DIGITS)]
        if before in b"\n$*" and after and not after.isspace():
            forms.insert(1, f" {digits}")  # elsewhere many protocols skip blanks
        if len(digits) > 3 and len(digits) % 2 == 0:
            forms.append(f"{digits[:2]}\v{digits[2:]}")  # which bytes.fromhex() skips
        for form in (*(form.encode() for form in forms if form != digits and form[-1] != "_"), "²".encode(), b"\xb2"):
            behind = b"x" * max(1, len(form) - len(number)) + number  # what has another form may only be longer
            begun = number[:1] + b"!" * (len(form) - 1)  # it may look at the first byte alone
            swap = Swap("number", place, start, end, form, (b"x" * len(number), b"x" * len(form), behind, begun))
            yield swap._replace(is_summed=summed(piece, start, end))
            if len(form) != len(number):
                yield from (swap._replace(length=length) for length in islice(counting(piece, start, end), LENGTHS))
    for place, start, end in spots(pieces, _FIXED, SPOTS):
        fixed = pieces[place][start:end]
        for instead in b"+" + fixed[1:], fixed[:1] + b"_" + fixed[2:]:
            controls = b"x" + fixed[1:], fixed[:1] + b"x" + fixed[2:], b"." + fixed[1:]
            yield Swap("number", place, start, end, instead, controls)
    for place, start, end in spots(pieces, _ADDRESS, SPOTS):
        address = pieces[place][start:end]
        front, _, last = address.rpartition(b".")
        controls = b"x" * len(address), b"%b.%d" % (front, int(last) ^ 1), b"%b.x%b" % (front, last)
        for instead in b"0" + address, b"%b.0%b" % (front, last):
            yield Swap("address", place, start, end, instead, controls)


def _carried(tried: Tried) -> Iterator[Swap]:
    """Each two digits in a byte of a binary piece as one less and ten more, which is no digit: ``0A`` for ``10``."""
    pieces = tried.pieces
    binary = [place for place, piece in enumerate(pieces) if BINARY.search(piece)]
    plain = bytes_of(played(tried, pieces)) if binary else b""
    for place in binary:
        piece = pieces[place]
        spots = [at for at, byte in enumerate(piece) if byte >> 4 in range(1, 10) and byte & 15 <= 5]
        for at in thinned(spots, BYTES):
            controls = bytes([piece[at] + 1]), bytes([piece[at] - 16])
            other = bytes_of(played(tried, replaced(pieces, place, at, at + 1, controls[0])))
            differing = sum(one != two for one, two in zip(plain, other, strict=False))
            if len(plain) == len(other) and 0 < differing <= DIGITS:  # the answer has the number, in digits or in bytes
                yield Swap("digits", place, at, at + 1, bytes([piece[at] - 6]), controls)


def _ended(pieces: list[bytes]) -> Iterator[Swap]:
    """Each end in other forms."""
    whole = b"".join(pieces)
    for place, start, end in spots(pieces, _DOT, SPOTS):
        fill = b"x" * (end - start)
        as_long = (fill[len(instead) :] + instead for instead in _NO_DOTS if len(instead) < len(fill))
        for instead in chain(_NO_DOTS, as_long):
            yield Swap("end", place, start, end, instead, (b"\r\n,\r\n", instead.replace(b".", b",")))
    for place, start, end in spots(pieces, _FRAMING_HEADER, SPOTS):
        name = pieces[place][start:end]
        for instead in [b"X-" + name] if _SIP in whole else [b"X-" + name, name + b" "]:
            yield Swap("name", place, start, end, instead, (b"x" + name[1:], name + b"x"))
    yield from _chunks(pieces)
    for place, start, end in spots(pieces, _VALUE, SPOTS):
        word = pieces[place][start:end]
        yield Swap("word", place, start, end, b"x" + word, (b"x" * len(word), word[:-1] + b"x", b"x" + word[1:]))
    for place, start, end in [] if b"\0" in whole else spots(pieces, _WORD, SPOTS):
        word = pieces[place][start:end]
        yield Swap("word", place, start, end, word + b"\0x", (word + b"x", word + b"."))
    has_returns = b"\n" not in whole and len(_RETURN.findall(whole)) >= RETURNS
    for place, start, end in spots(pieces, _RETURN if has_returns else _END, SPOTS):
        for instead in _LOOK_LIKE_ENDS[1:] if has_returns else _LOOK_LIKE_ENDS:
            controls = (control * size for size in (1, len(instead)) for control in (b"x", b" "))
            yield Swap("end", place, start, end, instead, tuple(controls))  # " ": words need no end of a line


def _escaped(pieces: list[bytes]) -> Iterator[Swap]:
    """What separates words, escaped as other bytes of the conversation are (RFC 3986, section 2.2)."""
    for place, start, end in spots(pieces, _SEPARATOR, SPOTS) if _ESCAPE.search(b"".join(pieces)) else ():
        separator = pieces[place][start:end]
        yield Swap("separator", place, start, end, b"%%%02X" % ord(separator), (b"x", b"_", b"x20"))


def _escaped_twice(pieces: list[bytes]) -> Iterator[Swap]:
    """Each escape, such as ``\\n``, behind another one that stands for the sign of escapes: ``\\\\n`` is none of LF."""
    found = [
        (place, match) for place, piece in enumerate(pieces) for match in _ESCAPED.finditer(piece)
        if match[1] == b"\\" or BINARY.search(piece)
    ]  # fmt: skip
    kinds = list(dict.fromkeys(match[0] for _, match in found))[:SPOTS]
    for (place, match), other in product(found[:SPOTS], kinds):
        stands_for_sign = other == b"\\\\" or match[1] != b"\\"  # of the others nobody can tell which one does
        if match[0] != other and match[1] == other[:1] and stands_for_sign:
            controls = other + b"x", b"x" + match[2], other
            start, end = match.span()
            swap = Swap("escape", place, start, end, other + match[2], controls)
            yield swap
            yield swap._replace(right=other + match[0])


def _named(pieces: list[bytes]) -> Iterator[Swap]:
    """Each mark of an end, behind two or more signs at the beginning of a line, that a line before has named."""
    for place, piece in enumerate(pieces):
        for match in thinned(list(_BOUNDARY.finditer(piece)), SPOTS):
            (start, end), mark = match.span(2), match[2]
            if re.search(rb"(?<!\w)%b(?!\w)" % mark, piece[: match.start()]):
                for instead in mark + b"x", mark + b"0":
                    yield Swap("end", place, start, end, instead, (b"x" * len(mark), mark[:-1] + b"_"))


def _refuse_marks_in_lines(tried: Tried) -> None:
    """Fail if the mark of an end that comes again, which begins lines, is one at the end of another line, too."""
    whole = played(tried, tried.pieces).output
    for place, piece in enumerate(tried.pieces if whole else ()):
        for mark in dict.fromkeys(match[0] for match in _BOUNDARY.finditer(piece)):
            first, last = piece.find(mark), piece.rfind(mark)
            long = (found for found in _LINE.finditer(piece, first, last) if len(found[0]) > 2 * len(mark))
            for line in islice(long, SPOTS if first < last else 0):
                other = mark[:-1] + (b"y" if mark.endswith(b"x") else b"x")
                begin = line.end() - len(mark)
                right, wrong = (
                    played(tried, replaced(tried.pieces, place, begin, line.end(), instead), name=name)
                    for instead, name in ((other, "plain"), (mark, "machine"))
                )
                if right.output == whole != wrong.output:
                    fault = f"it takes {mark!r} in the middle of a line for the mark of an end, which begins a line"
                    fail(tried, fault, "exact_ends", differing(wrong, right), answers=answers_of(wrong, right))


def _ended_after_lengths(tried: Tried) -> Iterator[Swap]:
    """The last byte, and the last two, of all that is read by length in one place, if they are the same each time."""
    found: dict[object, list[tuple[int, int]]] = {}
    alone: dict[object, list[tuple[int, int]]] = {}
    for border, end in parts_of(tried):
        if isinstance(border.wait, Exactly) and end - border.at <= 2:
            alone.setdefault(border.place, []).append((border.at, end))
        if isinstance(border.wait, Exactly) and end - border.at > 1:
            found.setdefault(border.place, []).append((border.at, end))
    for spans in alone.values():
        marks = {tried.pieces[0][start:end] for start, end in spans}
        if len(marks) == 1 and marks <= {b"\r", b"\n", b"\r\n"}:
            start, end = spans[0]
            yield Swap("end", 0, start, end, b"x" * (end - start), (b"",))
    for spans in found.values():
        parts = [tried.pieces[0][start:end] for start, end in spans]
        are_equal = len({len(part) for part in parts}) == 1
        for size in 1, 2:
            mark = parts[0][-size:]
            if are_equal or any(len(part) <= size or part[-size:] != mark for part in parts):
                break
            if _is_mark(mark, parts) and _are_ignored(tried, [end for _, end in spans], size):
                yield _other_mark(tried, spans[0][1], size)


def _are_ignored(tried: Tried, ends: list[int], size: int) -> bool:
    """Whether all these marks may be letters. Where a mark may be missing, the letters are data, and in an answer."""
    data = bytearray(tried.pieces[0])
    for end in ends:
        data[end - size : end] = b"x" * size
    return bytes_of(played(tried, [bytes(data)])) == bytes_of(played(tried, tried.pieces))


def _ended_as_told(tried: Tried) -> Iterator[Swap]:
    """The last byte, or the last two, of what is read by length, if a length in digits before counts all but them."""
    whole = tried.pieces[0]
    for (border, end), size in product(parts_of(tried), (1, 2)):
        length, mark = end - border.at - size, whole[end - size : end]
        if isinstance(border.wait, Exactly) and not mark.isalnum() and _is_told(whole, border.at, length):
            yield _other_mark(tried, end, size)


def _ended_later(tried: Tried) -> Iterator[Swap]:
    """The end of a line right behind data whose length in digits comes before them, with letters between the two."""
    whole = tried.pieces[0]
    for (border, end), (_, last) in pairwise(parts_of(tried)):
        data, mark = whole[border.at : end], whole[end:last]
        if isinstance(border.wait, Exactly) and mark in (b"\n", b"\r\n") and _is_told(whole, border.at, len(data)):
            yield Swap("end", 0, border.at, last, data + b"xx" + mark, (data[:-1] + mark,))


def _is_told(whole: bytes, at: int, length: int) -> bool:
    """Whether a length in digits before the data that begin there is this one."""
    return length >= TOLD and any(int(found[0]) == length for found in _TOLD.finditer(whole[:at][-NEAR:]))


def _other_mark(tried: Tried, end: int, size: int) -> Swap:
    """Letters in the place of a mark of so many bytes that ends there."""
    data = tried.pieces[0]
    last = data[end - size - 1 : end - size]  # the byte of the data that is looked at
    other = b"x" if last != b"x" else b"y"
    return Swap("end", 0, end - size - 1, end, last + b"x" * size, (other + data[end - size : end],))


def _is_mark(mark: bytes, parts: list[bytes]) -> bool:
    """Whether the bytes may be the end of the parts. NUL is often a reserved byte, or a part of a number."""
    is_text = all(b"\0" not in part[: -len(mark)] and part[: -len(mark)].isascii() for part in parts)
    return not any(mark[at : at + 1].isalnum() for at in range(len(mark))) and (b"\0" not in mark or is_text)


def _chunks(pieces: list[bytes]) -> Iterator[Swap]:
    """Each chunk (RFC 9112, section 7.1) with something else than CR LF behind its bytes."""
    for place, start, end in spots(pieces, _CHUNK, SPOTS) if _has_chunks(pieces) else ():
        piece = pieces[place]
        size = int(piece[start : end - 2], 16)
        chunk = piece[end : end + size]
        if size and piece.startswith(b"\r\n", end + size):
            controls = (b"%x\r\n%b\r\n" % (other, chunk) for other in (size + 1, size - 1))
            yield Swap("chunk", place, start, end + size + 2, piece[start:end] + chunk + b"xx", tuple(controls))


def _refuse_same(tried: Tried, swaps: Iterable[Swap], title: str) -> None:
    """Fail for the first swap with which the output is the same, or with which the handler raises."""
    silent = played(tried, []).output  # a greeting, or the answers to the messages before these
    ending: Schedule = [] if tried.packets or played(tried, tried.pieces).output != silent else [END]
    outputs: dict[tuple[bytes, ...], Any] = {}

    def output(pieces: list[bytes]) -> Any:
        key = tuple(pieces)
        if key not in outputs:
            outputs[key] = played(tried, [*pieces, *ending]).output
        return outputs[key]

    def same(pieces: list[bytes], swap: Swap) -> bool:
        plain = output(_right(pieces, swap))
        if plain == silent or output(_swapped(pieces, swap, swap.instead)) != plain:
            return False
        return all(output(_swapped(pieces, swap, control)) != plain for control in swap.controls)

    for swap in swaps:
        changed = played(tried, [*_swapped(tried.pieces, swap, swap.instead), *ending])
        if changed.error is not None:
            fail(tried, f"for {swap.instead!r} as {swap.noun} {fault_of(changed, '')}", title, changed.code())
        if changed.output == output(_right(tried.pieces, swap)) and same(tried.pieces, swap):
            pieces, swap = _shortest(tried, swap, same)
            _fail(tried, pieces, swap, ending, title)


def _fail(tried: Tried, pieces: list[bytes], swap: Swap, ending: Schedule, title: str) -> None:
    right = pieces[swap.piece][swap.start : swap.end] if swap.right is None else swap.right
    plain = played(tried, [*_right(pieces, swap), *ending], name="plain")
    run: Run = played(tried, [*_swapped(pieces, swap, swap.instead), *ending])
    code = f"{plain.code()}\n{run.code()}\nassert {run.output_code()} != {plain.output_code()}"
    fault = f"it takes {swap.instead!r} for the {swap.noun} {right!r}"
    fail(tried, fault, title, code)


def _right(pieces: list[bytes], swap: Swap) -> list[bytes]:
    return pieces if swap.right is None else _swapped(pieces, swap, swap.right)


def _swapped(pieces: list[bytes], swap: Swap, instead: bytes) -> list[bytes]:
    changed = replaced(pieces, swap.piece, swap.start, swap.end, instead)
    if swap.length is not None:
        growth = len(instead) - (swap.end - swap.start)
        changed[swap.piece] = swap.length.corrected(changed[swap.piece], growth)
    if swap.is_summed:
        changed[swap.piece] = summed_anew(changed[swap.piece])
    return changed


def _shortest(tried: Tried, swap: Swap, same: Callable[[list[bytes], Swap], bool]) -> tuple[list[bytes], Swap]:
    """A shorter conversation with which the output is the same: first without its end, then without its beginning."""
    pieces = tried.pieces
    if tried.packets:
        alone = swap._replace(piece=0)
        candidates = [([pieces[swap.piece]], alone), (pieces[: swap.piece + 1], swap), (pieces, swap)]
        return next(candidate for candidate in candidates if same(*candidate))
    data = pieces[0]
    lengths = [swap.end + place for place in places(len(data) - swap.end)]
    length = next((length for length in lengths if same([data[:length]], swap)), len(data))
    counted = swap.length
    for begun in reversed(places(swap.start if counted is None else counted.at)):
        less, moved = [data[begun:length]], swap._replace(start=swap.start - begun, end=swap.end - begun)
        if counted is not None:
            moved = moved._replace(length=counted._replace(at=counted.at - begun))
        if same(less, moved):
            return less, moved
    return [data], swap
