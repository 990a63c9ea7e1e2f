"""The explicit table of partially finished requests: the one truth about what is open.

All rows stand in it, whoever drives them. The table of a loop that drives one request for a thread, a child or a caller
stands in front of the server's table: its rows are rows of both.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from itertools import count

from ..handlers import Cause
from ..handlers.saying import safe_str
from .ends import forget_frames, log_end
from .request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..loop.interest import Interest


CLOSED = 100
"""Rows that have ended and are still told of."""


HEALTH_CHECK = "HealthCheck"
"""What the health checks of a proxy are counted as in `RequestTable.ends`, if nothing was wrong with them."""

HEADING = (
    "row", "peer", "in front", "handler", "stage", "state", "waits for", "in", "out", "age", "idle", "due in",
    "driven by",
)  # fmt: skip


class RequestTable:
    """All open rows, in the order of their arrival, whoever drives them.

    Iterating is safe whatever happens to the table meanwhile: it walks over the rows of the moment.
    """

    def __init__(self, interest: Interest, outer: RequestTable | None = None) -> None:
        self._rows: dict[int, Request] = {}
        self._interest = interest
        self._outer = outer  # the server's table, where this is the table of one request's own loop
        self._serials = count(1)
        self._lock = allocate_lock()  # a thread removes its row itself
        self.closed: deque[dict[str, Any]] = deque(maxlen=CLOSED)
        """The rows that ended last, the latest last: see `Request.record`."""
        self.ends: dict[str, int] = {}
        """How many rows have ended, by the class of the reason; ``""`` for those that have finished.

        The health checks of a proxy are counted apart, as `HEALTH_CHECK`."""
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
            if row.is_arrival:
                self._count(row.peer, 1)
        self._rows[row.serial] = row

    def remove(self, row: Request) -> None:
        """Strike a row out, and out of the selector. Does nothing if it is not in here."""
        if self._rows.pop(row.serial, None) is None:
            return
        if row.mask:
            source: Any = row  # a row with a descriptor
            self._interest.want(source, 0)  # before it is closed: a copy in a child would keep it reporting
        if self._outer is None:
            self._record(row)
        else:
            self._outer.remove(row)

    def _record(self, row: Request) -> None:
        reason = row.reason
        if isinstance(row.whole_reason, Cause):
            forget_frames(row.whole_reason)
        kind = HEALTH_CHECK if row.is_health_check else ""
        if reason is not None:
            kind = type(reason).__name__
        record = row.record()
        with self._lock:
            self.closed.append(record)
            self.ends[kind] = self.ends.get(kind, 0) + 1
            self.total_in += row.total_in
            self.total_out += row.total_out
        if row.is_arrival:
            self._count(row.peer, -1)
        log_end(row, reason, record)

    def close_copy(self, keep: object) -> None:
        """In a forked child: close the copies of all rows but ``keep``."""
        self._lock = allocate_lock()  # a thread of the parent may have held the old one
        for row in self:
            row.counted = 0
            if row is not keep:
                row.close_copy()

    def move(self, row: Request, peer: Any) -> None:
        """The row's peer is ``peer``, as a filter has found out: count it as a row of that host."""
        if self._outer is not None:
            self._outer.move(row, peer)
        elif row in self:
            self._count(row.peer, -1)
            self._count(peer, 1)

    def _count(self, peer: Any, change: int) -> None:
        host = _host(peer)
        if host:
            with self._lock:
                number = self._of_host[host] = self._of_host.get(host, 0) + change
                if not number:
                    del self._of_host[host]

    def count_of(self, peer: Any) -> int:
        """How many rows, calls left out, there are of the host of the address ``peer``; 0 for a Unix socket's."""
        return self._of_host.get(_host(peer), 0)

    def get(self, serial: int) -> Request | None:
        """The row of that serial; ``None`` if it has ended, or has not come."""
        return self._rows.get(serial)

    def count_refused(self, what: str) -> None:
        """A request was refused, for ``what``. May be called from any thread."""
        if self._outer is not None:
            self._outer.count_refused(what)
            return
        with self._lock:
            self.refused[what] = self.refused.get(what, 0) + 1

    def stats(self) -> dict[str, Any]:
        """What there has been until now, as plain data.

        ``open`` rows, those that ``ended`` by the class of their reason (``""``: finished; ``"HealthCheck"``: health
        checks of a proxy), requests ``refused`` by the bound or hook, and the bytes in and out of all rows, but not of
        blocking handlers and children.
        """
        rows = list(self)
        return {
            "open": len(rows),
            "ended": dict(self.ends),
            "refused": dict(self.refused),
            "total_in": self.total_in + sum(row.total_in for row in rows),
            "total_out": self.total_out + sum(row.total_out for row in rows),
        }

    def as_dicts(self) -> list[dict[str, Any]]:
        """Every row as plain data: see `Request.as_dict`."""
        return [row.as_dict() for row in self]

    def __str__(self) -> str:
        """The table as lines of text, a heading first."""
        lines: list[tuple[str, ...]] = [HEADING]
        for row in self.as_dicts():
            due = "" if row["deadline"] is None else f"{row['deadline']:.1f}"
            lines.append((
                str(row["serial"]), row["peer"], row["in_front"], row["handler"], row["stage"], row["state"],
                row["wait"], f"{row['held_in']}/{row['total_in']}", f"{row['held_out']}/{row['total_out']}",
                f"{row['age']:.1f}", f"{row['idle']:.1f}", due, row["driven_by"],
            ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def log_unfinished(records: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Log the `Request.record` of each row that has not finished in so many seconds, if there is one."""
    if records:
        import logging

        some = ", ".join(f"{record['serial']} of {record['peer']}" for record in records[:10])
        logging.getLogger("reactor").warning("%d requests did not finish in %g s: %s", len(records), seconds, some)
    return records


def _host(peer: Any) -> str:
    # A client of IPv4 is the same host to a server of IPv6, which calls him so (RFC 4291, 2.5.5.2).
    return safe_str(peer[0]).removeprefix("::ffff:") if isinstance(peer, tuple) and peer else ""
