"""What a child reports to its parent when it exits: how the request that it drove has ended."""

from __future__ import annotations

import marshal

from ..handlers.saying import safe_str
from ..loop.children import died

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.request import Request

MAX_TEXT = 400
"""Characters of each text, so that all fit into one write to a pipe (``PIPE_BUF``)."""


def exit_report(row: Request) -> bytes:
    """In the child: the report. It has the bytes in and out, the reason, and the facts that filters have set."""
    reason, rare = row.reason, row.rare
    kind, text = ("", "") if reason is None else (type(reason).__name__, safe_str(reason))
    found = None
    if rare is not None:
        told = [None if name is None else _cut(safe_str(name)) for name in (rare.principal, rare.secured)]
        found = (row.peer if rare.is_moved else None, *told, rare.refusal)
    words = row.total_in, row.total_out, kind, text, found
    try:
        return marshal.dumps((*words[:2], _cut(kind), _cut(text), found))
    except ValueError:  # a filter has set a peer that can't be marshalled
        return marshal.dumps((*words[:2], _cut(kind), _cut(text), None))


def apply_exit_report(row: Request, status: int | None, words: bytes) -> None:
    """In the parent: set the parent's ``row`` to what the child has reported, or to its exit status without a report.

    The reason becomes an exception derived from ``ChildProcessError``, with the class name and the text of the
    exception in the child.
    """
    if words:
        found: Any
        row.total_in, row.total_out, kind, text, found = marshal.loads(words)
        if kind:
            row.error = type(kind, (ChildProcessError,), {})(text)
        if found is not None:
            _apply_facts(row, *found)
    if status and row.error is None:
        row.error = died(status)


def _apply_facts(row: Request, peer: Any, principal: str | None, secured: str | None, refusal: str) -> None:
    row.principal, row.secured = principal, secured
    if peer is not None:
        row.move(peer)
    if refusal:
        row.refused(refusal)


def _cut(text: str) -> str:
    """The first `MAX_TEXT` characters, with surrogates escaped."""
    return text[:MAX_TEXT].encode(errors="backslashreplace").decode()
