"""The properties of header fields: their names are the same in any case, and a client puts none into an answer.

Only conversations of HTTP/1 and SIP, and answers with a status line as these have it, are tried.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from ..inputs.pieces import replaced, spots
from ..inputs.tried import Tried
from ..running.report import Answers, fail, held_in_time
from ..running.run import Run, played
from ..running.snippets import literal
from ..running.spreading import thinned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World

SPOTS = 16
"""The most names, and the most escapes, that are tried. Of more, they are evenly spread."""

_HEAD = re.compile(
    rb"(?<![^\n])[^\n]*(?:HTTP/1|SIP/2)\.[0-9]\r?\n(?:[^\r\n]+\r?\n)*"
)  # a request line, and the lines behind it
_NAME = re.compile(rb"(?<=\n)[A-Za-z][!-9;-~]*(?=:)")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_STATUS = re.compile(rb"[A-Z]+/[0-9](?:\.[0-9])? [0-9]{3}[ \r\n]")
_BLANK = re.compile(rb"\r?\n\r?\n")
_MARK = b"X-Mark:"
_LINE = b"\n" + _MARK
_QUOTED = re.compile(rb'"[^"\\\r\n]*"')
_ESCAPED = (rb"\r\nX-Mark", b"\r\nX-Mark"), (rb"\nX-Mark", b"\nX-Mark")
_PERCENT = (b"%0D%0AX-Mark", b"\r\nX-Mark"), (b"%0AX-Mark", b"\nX-Mark")
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{4,}={0,2}(?![A-Za-z0-9+/=])")
_TEXT = re.compile(rb"[\0 -~]{3,}")
_LETTERS = re.compile(rb"[A-Za-z]+")
_WORD = re.compile(rb"(?<![!-~])[A-Za-z]+(?=[ \t\r\n])")
_SPLITS = b"%0D%0AX-Mark:%20x", b"%0AX-Mark:%20x"


@held_in_time
def takes_names_in_any_case(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A header field of HTTP or SIP is the same field whatever the case of its name is.

    Names of fields are case-insensitive (RFC 9110, section 5.1; RFC 3261, section 7.3.1): many clients, and each
    program that translates HTTP/2, send ``content-length``. If that is taken for another field, the body is taken for
    the next request. The property writes each name of the conversation in lower case. It fails if the output then is
    that for a name that nobody knows, in either case, and not that for the field.

    >>> from handlers.services import Echo
    >>> takes_names_in_any_case(Echo, b"POST / HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    """
    tried = Tried(kind, conversation, world)
    for place, start, end in _names(tried.pieces):
        name = tried.pieces[place][start:end]
        other = name.lower() if name != name.lower() else name.title()
        plain, run = (_with(tried, place, start, end, instead) for instead in (name, other))
        if run.error is not None or _folded(run) == _folded(plain):
            continue
        unknown = [_with(tried, place, start, end, _unknown(instead)).output for instead in (name, other)]
        if run.output == unknown[0] == unknown[1]:
            fault = f"it does not take {other!r} for the name of the field {name!r}"
            plain, run = (
                _with(tried, place, start, end, instead, name=said)
                for instead, said in ((name, "plain"), (other, "run"))
            )
            code = f"{plain.code()}\n{run.code()}\nassert {run.output_code()} == {plain.output_code()}"
            fail(tried, fault, "names_in_any_case", code, answers=Answers(run.output, plain.output))


@held_in_time
def splits_no_answer(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """An end of a line that a request has escaped, as ``%0D%0A``, ends no line in the head of the answer.

    Otherwise whoever makes a link writes fields of the answer, or another answer, for whom follows it (response
    splitting, CWE-113). The property puts ``%0D%0AX-Mark:%20x`` in the place of each escape ``%XX`` of the
    conversation. No line of the answer before its first blank line may begin with ``X-Mark:``. An answer that does not
    begin with a status line, such as ``HTTP/1.1 302``, is not looked at.

    In the stream of another protocol it writes ``\\r\\nX-Mark`` and ``\\nX-Mark`` into each quoted string and
    behind each word, ``%0D%0AX-Mark`` and ``%0AX-Mark`` behind each word, and the ends of lines themselves into the
    text that a word is the base64 of, such as a name and a password. The output may not be the same with one more
    end of a line in it, and nothing that tells so, such as a length.

    >>> from handlers.services import Echo
    >>> splits_no_answer(Echo, b"GET /%7Eann HTTP/1.1\\r\\n\\r\\n")
    """
    tried = Tried(kind, conversation, world)
    for place, start, end in spots(tried.pieces, _ESCAPE, SPOTS):
        for instead in _SPLITS:
            run, answer = _answered(tried, place, start, end, instead)
            head = _BLANK.split(answer, 1)[0]
            if _STATUS.match(head) and _LINE in head:
                fault = f"{instead!r} in a request writes a field into the head of the answer"
                code = f"{run.code()}\nassert {literal(_LINE)} not in {run.output_code()}"
                fail(tried, fault, "splits_no_answer", code)
    if not tried.packets and not _HEAD.search(tried.pieces[0]):
        _refuse_unescaped(tried)


def _refuse_unescaped(tried: Tried) -> None:
    """Fail if an end of a line that is escaped in a quoted string, a word or base64 ends a line of the output."""
    plain = played(tried, tried.whole(tried.pieces))
    for end in _escaped_ends(tried.pieces):
        run = _with(tried, end.place, end.start, end.end, end.instead)
        if end.meant in run.output and run.output.replace(end.meant, b"") == plain.output:
            fault = f"{end.instead!r} {end.where} of a request begins a line of the output"
            code = f"{run.code()}\nassert {literal(end.meant)} not in {run.output_code()}"
            fail(tried, fault, "splits_no_answer", code)


class _Escaped(NamedTuple):
    """An end of a line that is escaped, and where it comes instead of other bytes."""

    place: int
    start: int
    end: int
    instead: bytes
    meant: bytes
    where: str


def _escaped_ends(pieces: list[bytes]) -> Iterator[_Escaped]:
    for place, _, end in spots(pieces, _QUOTED, SPOTS):
        yield from (_Escaped(place, end - 1, end - 1, *pair, "in a quoted string") for pair in _ESCAPED)
    for place, _, end in spots(pieces, _WORD, SPOTS):
        yield from (_Escaped(place, end, end, *pair, "behind a word") for pair in (*_PERCENT, *_ESCAPED))
    for place, start, end in spots(pieces, _BASE64, SPOTS):
        text = _decoded(pieces[place][start:end])
        for word in list(_LETTERS.finditer(text))[:2]:
            for _, meant in _ESCAPED:
                instead = b64encode(text[: word.end()] + meant + text[word.end() :])
                yield _Escaped(place, start, end, instead, meant, "in base64")


def _decoded(word: bytes) -> bytes:
    """The text that a word is the base64 of, with nulls between its words; empty if it is none."""
    try:
        text = b64decode(word, validate=True)
    except ValueError:
        return b""
    return text if _TEXT.fullmatch(text) else b""


def _names(pieces: list[bytes]) -> list[tuple[int, int, int]]:
    """Where the heads of the pieces have names of fields: the index of the piece, start and end."""
    heads = [(place, head) for place, piece in enumerate(pieces) for head in _HEAD.finditer(piece)]
    names = ((place, match) for place, head in heads for match in _NAME.finditer(pieces[place], *head.span()))
    return thinned([(place, *match.span()) for place, match in names], SPOTS)


def _unknown(name: bytes) -> bytes:
    """A name as long as this one, which nobody knows."""
    return (b"q" if name[:1].islower() else b"Q") + name[1:]


def _folded(run: Run) -> list[bytes]:
    """The output without the case of its letters: a handler may send back what has come."""
    return [data.lower() for data in (run.output if run.subject.packets else [run.output])]


def _with(tried: Tried, place: int, start: int, end: int, instead: bytes, name: str = "machine") -> Run:
    """The run of the conversation with other bytes in one place."""
    return played(tried, tried.whole(replaced(tried.pieces, place, start, end, instead)), name=name)


def _answered(tried: Tried, place: int, start: int, end: int, instead: bytes) -> tuple[Run, bytes]:
    """The run of the conversation with other bytes in one place, and the output from there on."""
    piece, run = tried.pieces[place], Run(tried)
    for before in tried.pieces[:place] if tried.packets else [piece[:start]]:
        run.step(before)
    run.drain()
    told = len(run.output)
    run.step(piece[:start] + instead + piece[end:] if tried.packets else instead + piece[end:])
    run.finish()
    run.close()
    return run, b"".join(run.output[told:]) if tried.packets else run.output[told:]
