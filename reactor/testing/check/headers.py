"""The property of header fields: a client puts none into an answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .report import fail, held_in_time
from .run import Run
from .snippets import literal
from .tried import Tried

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World

SPOTS = 16
"""The most escapes that are tried. Of more, they are evenly spread."""

_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_STATUS = re.compile(rb"[A-Z]+/[0-9](?:\.[0-9])? [0-9]{3}[ \r\n]")
_BLANK = re.compile(rb"\r?\n\r?\n")
_MARK = b"X-Mark:"
_LINE = b"\n" + _MARK
_SPLITS = b"%0D%0AX-Mark:%20x", b"%0AX-Mark:%20x"


@held_in_time
def splits_no_answer(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """An end of a line that a request has escaped, as ``%0D%0A``, ends no line in the head of the answer.

    Otherwise whoever makes a link writes fields of the answer, or another answer, for whom follows it (response
    splitting, CWE-113). The property puts ``%0D%0AX-Mark:%20x`` in the place of each escape ``%XX`` of the
    conversation. No line of the answer before its first blank line may begin with ``X-Mark:``. An answer that does not
    begin with a status line, such as ``HTTP/1.1 302``, is not looked at.

    >>> from handlers.services import Echo
    >>> splits_no_answer(Echo, b"GET /%7Eann HTTP/1.1\\r\\n\\r\\n")
    """
    tried = Tried(kind, conversation, world)
    for place, start, end in _spots(tried.pieces, _ESCAPE):
        for instead in _SPLITS:
            run, answer = _answered(tried, place, start, end, instead)
            head = _BLANK.split(answer, 1)[0]
            if _STATUS.match(head) and _LINE in head:
                fault = f"{instead!r} in a request writes a field into the head of the answer"
                code = f"{run.code()}\nassert {literal(_LINE)} not in {run.output_code()}"
                fail(tried, fault, "splits_no_answer", code)


def _spots(pieces: list[bytes], pattern: re.Pattern[bytes]) -> list[tuple[int, int, int]]:
    return _few((place, *match.span()) for place, piece in enumerate(pieces) for match in pattern.finditer(piece))


def _few(spots: Iterator[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    found = list(spots)
    return found[:: len(found) // SPOTS + 1]


def _answered(tried: Tried, place: int, start: int, end: int, instead: bytes) -> tuple[Run, bytes]:
    """The run of the conversation with other bytes in one place, and the output from there on."""
    piece, run = tried.pieces[place], Run(tried)
    with run.limit:
        for before in tried.pieces[:place] if tried.packets else [piece[:start]]:
            run.step(before)
        run.drain()
        told = len(run.output)
        run.step(piece[:start] + instead + piece[end:] if tried.packets else instead + piece[end:])
        run.finish()
        run.close()
    return run, b"".join(run.output[told:]) if tried.packets else run.output[told:]
