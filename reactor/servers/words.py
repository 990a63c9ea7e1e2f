"""What a child reports to its parent when it exits: how the request that it drove has ended."""

from __future__ import annotations

import marshal

from ..handlers.saying import safe_str
from ..loop.children import MAX_WORDS, died

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.request import Request

MAX_TEXT, MIN_TEXT = 400, 100
"""Characters of each text in a report, and in one that would be too long otherwise."""


def exit_report(row: Request) -> bytes:
    """In the child: the report. It has the bytes in and out, the reason, and the facts that filters have set.

    One that would be too long has less of the facts: shorter texts and no PROXY header, or none at all.
    """
    reason, rare = row.reason, row.rare
    kind = "" if reason is None else type(reason).__name__
    words = row.total_in, row.total_out, *_texts(MIN_TEXT, kind), *_texts(MAX_TEXT, reason)
    if rare is not None:
        peer = row.peer if rare.is_moved else None
        facts = rare.principal, rare.secured, row.in_front, rare.refusal
        header = rare.proxy_header and tuple(rare.proxy_header)
        for found in ((peer, *_texts(MAX_TEXT, *facts), header), (peer, *_texts(MIN_TEXT, *facts), None)):
            try:
                report = marshal.dumps((*words, found))
            except ValueError:  # a filter has set a peer, or a header, that can't be marshalled
                continue
            if len(report) <= MAX_WORDS:
                return report
    return marshal.dumps((*words, None))


def _texts(size: int, *values: object) -> list[str | None]:
    """The first ``size`` characters of each value as text, with surrogates escaped; ``None`` for ``None``."""
    return [
        None if value is None else safe_str(value)[:size].encode(errors="backslashreplace").decode() for value in values
    ]


def answer_report(row: Request, goes_on: bool, taken: int, is_cut: bool) -> bytes:
    """In a child that has answered requests of a connection: the report. The parent has the other facts itself.

    ``goes_on``: whether the connection goes on. ``taken``: the bytes that the child has taken of the input that the row
    holds. ``is_cut``: whether the client has not taken the reply in time. The report also has the error and the
    principal.
    """
    error = row.error
    kind = "" if error is None else type(error).__name__
    return marshal.dumps((is_cut, goes_on, taken, *_texts(MIN_TEXT, kind), *_texts(MAX_TEXT, error, row.principal)))


def apply_answer_report(row: Request, words: bytes) -> tuple[bool, int]:
    """In the parent: set ``row`` to what the child has reported.

    Returns whether the connection goes on, and the bytes that were taken of the input that the row holds.
    """
    goes_on: bool
    taken: int
    _, goes_on, taken, kind, text, principal = marshal.loads(words)
    if principal is not None:
        row.principal = principal
    if kind:
        row.error = _error(kind, text)
    return goes_on, taken


def was_cut(words: bytes) -> bool:
    """In the parent: whether the child has reported that the client has not taken its reply in time."""
    return bool(words) and bool(marshal.loads(words)[0])


def _error(kind: str, text: str) -> ChildProcessError:
    error: ChildProcessError = type(kind, (ChildProcessError,), {})(text)
    return error


def apply_exit_report(row: Request, status: int | None, words: bytes) -> None:
    """In the parent: set the parent's ``row`` to what the child has reported, or to its exit status without a report.

    The reason becomes an exception derived from ``ChildProcessError``, with the class name and the text of the
    exception in the child.
    """
    if words:
        found: Any
        row.total_in, row.total_out, kind, text, found = marshal.loads(words)
        if kind:
            row.error = _error(kind, text)
        if found is not None:
            _apply_facts(row, *found)
    if status and row.error is None:
        row.error = died(status)


def _apply_facts(
    row: Request, peer: Any, principal: str | None, secured: str | None, in_front: str, refusal: str,
    header: tuple[Any, ...] | None,
) -> None:  # fmt: skip
    row.principal, row.secured = principal, secured
    if in_front:
        row.left = (in_front,)
    if header is not None:
        from ..rows.filters.proxy import Header  # here, because most servers have no such filter

        row.proxy_header = Header(*header)
    if peer is not None:
        row.move(peer)
    if refusal:
        row.refused(refusal)
