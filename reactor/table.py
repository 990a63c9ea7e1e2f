"""The explicit table of partially finished requests: the one truth about what is open.

The selector is only a cache of it. What a row wants to hear of follows from the row (its wait,
its output, its water marks); `RequestTable.want` compares that with what is registered, and is
the only place that registers, modifies or unregisters.
"""

from __future__ import annotations

import select
from _thread import allocate_lock
from collections import deque
from itertools import count
from selectors import SelectSelector

from handlers import Cause

from .request import Request
from .selecting import UrgentSelector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from selectors import BaseSelector
    from typing import Any, Protocol

    class Source(Protocol):
        """What the selector may report on: a row, a listener, a watched descriptor."""

        mask: int

        def fileno(self) -> int: ...
        def ready(self, events: int, now: float) -> None: ...
        def failed(self, error: Exception) -> None: ...


CLOSED = 100
"""Rows that have ended and are still told of."""


class RequestTable:
    """All open rows, in the order of their arrival, whoever drives them.

    Iterating is safe whatever happens to the table meanwhile: it walks over the rows of the moment.
    """

    def __init__(self, selector: BaseSelector, outer: RequestTable | None = None) -> None:
        self._rows: dict[int, Request] = {}
        self._selector = selector
        self._is_select = isinstance(selector, SelectSelector)
        self.has_urgent = isinstance(selector, UrgentSelector)
        """Whether the selector has a third event."""
        self._outer = outer  # the server's table, where this is the table of one request's own loop
        self._serials = count(1)
        self._lock = allocate_lock()  # rows of threads are struck out by these
        self.closed: deque[dict[str, Any]] = deque(maxlen=CLOSED)
        """The rows that ended last, the latest last: see `Request.obituary`."""
        self.ends: dict[str, int] = {}
        """How many rows have ended, by the class of the reason; ``""`` for those that have finished."""
        self.refused: dict[str, int] = {}
        """How many requests were closed unread, by what they were refused for."""
        self.total_in = self.total_out = 0
        """Bytes of the rows that have ended."""
        self._of_host: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self._rows.values()))

    def __contains__(self, row: object) -> bool:
        return isinstance(row, Request) and self._rows.get(row.serial) is row

    def add(self, row: Request) -> None:
        """Enter a row; one that has no serial yet is given the next."""
        if self._outer is not None:
            self._outer.add(row)
        elif not row.serial:
            row.serial = next(self._serials)
            self._count(row, 1)
        self._rows[row.serial] = row

    def remove(self, row: Request) -> None:
        """Strike a row out, and out of the selector. Does nothing if it is not in here."""
        if self._rows.pop(row.serial, None) is None:
            return
        if row.mask:
            self.want(row, 0)  # before it is closed: a copy in a child would keep it reporting
        if self._outer is None:
            self._record(row)
        else:
            self._outer.remove(row)

    def _record(self, row: Request) -> None:
        reason = row.reason
        if isinstance(reason, Cause):  # its frames, and what they hold, would wait with the row for the collector
            for error in (reason, getattr(reason, "error", None)):
                if error is not None:
                    error.__traceback__ = error.__context__ = None
        kind = "" if reason is None else type(reason).__name__
        with self._lock:
            self.closed.append(row.obituary())
            self.ends[kind] = self.ends.get(kind, 0) + 1
            self.total_in += row.total_in
            self.total_out += row.total_out
        self._count(row, -1)

    def forked(self, keep: Request | None) -> None:
        """In a child: close the copies of all rows but ``keep``."""
        self._lock = allocate_lock()  # that of the parent may be held by one of its threads
        for row in self:
            row.counted = 0
            if row is not keep:
                row.close_copy()

    def _count(self, row: Request, change: int) -> None:
        host = _host(row.peer)
        if host:
            with self._lock:
                number = self._of_host[host] = self._of_host.get(host, 0) + change
                if not number:
                    del self._of_host[host]

    def count_of(self, peer: Any) -> int:
        """How many rows there are of the host that the address ``peer`` is of; 0 for a Unix socket's."""
        return self._of_host.get(_host(peer), 0)

    def get(self, serial: int) -> Request | None:
        """The row of that serial; ``None`` if it has ended, or has not come."""
        return self._rows.get(serial)

    def count_refused(self, what: str) -> None:
        """A request was closed unread, for ``what``."""
        self.refused[what] = self.refused.get(what, 0) + 1

    def stats(self) -> dict[str, Any]:
        """What there has been until now, as plain data.

        ``open`` rows, those that ``ended`` by the class of their reason (``""``: finished), requests ``refused``
        by the bound or hook, and the bytes in and out of all rows, but not of blocking handlers and children.
        """
        rows = list(self)
        return {
            "open": len(rows),
            "ended": dict(self.ends),
            "refused": dict(self.refused),
            "total_in": self.total_in + sum(row.total_in for row in rows),
            "total_out": self.total_out + sum(row.total_out for row in rows),
        }

    def want(self, source: Source, mask: int) -> None:
        """Have ``source`` told of the events in ``mask``; of none, and it is not in the selector at all."""
        held = source.mask
        if mask == held:
            return
        if not mask:
            self._selector.unregister(source.fileno())
        elif not held:
            if self._is_select:  # which refuses a number beyond its size only when it is called, and then all
                select.select([source.fileno()], [], [], 0)
            self._selector.register(source.fileno(), mask, source)
        else:
            try:
                self._selector.modify(source.fileno(), mask, source)
            except OSError:
                if (
                    source.fileno() not in self._selector.get_map()
                ):  # what those of ``selectors`` can't modify they forget
                    source.mask = 0
                raise
        source.mask = mask

    def as_dicts(self) -> list[dict[str, Any]]:
        """Every row as plain data: see `Request.as_dict`."""
        return [row.as_dict() for row in self]

    def __str__(self) -> str:
        """The table as lines of text, a heading first."""
        lines = [("row", "peer", "handler", "state", "waits for", "in", "out", "age", "idle", "due in", "driven by")]
        for row in self.as_dicts():
            due = "" if row["deadline"] is None else f"{row['deadline']:.1f}"
            lines.append((
                str(row["serial"]), row["peer"], row["handler"], row["state"], row["wait"],
                f"{row['held_in']}/{row['total_in']}", f"{row['held_out']}/{row['total_out']}",
                f"{row['age']:.1f}", f"{row['idle']:.1f}", due, row["driver"],
            ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def log_unfinished(rows: list[Request], seconds: float) -> list[dict[str, Any]]:
    """Log which rows have not finished in so many seconds, if any. They, as plain data: see `Request.obituary`."""
    told = [row.obituary() for row in rows]
    if told:
        import logging  # imported long since, by prepare()

        some = ", ".join(f"{row['serial']} of {row['peer']}" for row in told[:10])
        logging.getLogger(__package__).warning("%d requests did not finish in %g s: %s", len(told), seconds, some)
    return told


def _host(peer: Any) -> str:
    # A client of IPv4 is the same host to a server of IPv6, which calls him so (RFC 4291, 2.5.5.2).
    return str(peer[0]).removeprefix("::ffff:") if isinstance(peer, tuple) else ""
