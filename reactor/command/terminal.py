"""The line about the table that the command keeps on a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .errors import say

if TYPE_CHECKING:
    from .. import Reactor


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def show_table(reactor: Reactor) -> None:
    """Write a line about the table on the terminal, now and every second."""
    rows = list(reactor.table)
    taken, sent = sum(row.total_in for row in rows), sum(row.total_out for row in rows)
    oldest = rows[0].age() if rows else 0.0  # the table has its rows in the order of arrival
    overwrite(line_about(len(rows), taken, sent, oldest))
    reactor.call_later(1.0, show_table, reactor)


def line_about(rows: int, taken: int, sent: int, oldest: float) -> str:
    """The line about so many rows, the bytes that have come and gone on them, and the age of the oldest in seconds."""
    return f"rows {rows:,}, bytes in {taken:,}, out {sent:,}, oldest {oldest:.0f} s"


def overwrite(text: str) -> None:
    """Replace the terminal's last line, and leave the cursor at its beginning, where other output may overwrite it."""
    try:
        width = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
    except OSError:
        return  # the terminal has been closed
    say(f"\r{text[:width]:{width}}\r")
