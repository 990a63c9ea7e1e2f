"""`RequestTable`: the explicit table of partially finished requests.

All rows are in it, whatever drives them; nothing else records what is open. A loop that drives one request for a
thread, a child or a caller has a table of its own, whose rows are in the server's table (``outer``) too.
"""

from __future__ import annotations

from _thread import RLock, get_ident
from collections import deque
from itertools import count
from operator import itemgetter

from ..handlers import Cause
from ..handlers.saying import safe_str
from ..loop.log import WARNING, log
from .ends import forget_frames, log_end
from .request import Request, finished_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..loop.interest import Interest


CLOSED = 100
"""Number of rows that have ended and whose records are kept."""

HEALTH_CHECK = "HealthCheck"
"""The key in `RequestTable.ends` for the health checks of a proxy that have succeeded."""

_BYTES_IN, _BYTES_OUT = itemgetter(3), itemgetter(4)  # in the arguments of `finished_record`

HEADING = (
    "row", "peer", "in front", "handler", "stage", "state", "waits for", "in", "out", "age", "idle", "due in",
    "driven by",
)  # fmt: skip


class RequestTable:
    """All open rows, in the order of their arrival.

    The table may change during an iteration, which goes over a copy.
    """

    def __init__(self, interest: Interest, outer: RequestTable | None = None) -> None:
        self._rows: dict[int, Request] = {}
        self._interest = interest
        self._outer = outer  # the server's table, if this is the table of an inner loop
        self._serials = count(1)
        self.next_serial = self._serials.__next__
        """Returns a serial that no row has."""
        self._lock = RLock()  # a thread that drives a row removes it, and a signal handler may ask for stats meanwhile
        self._passed: list[tuple[Any, ...]] = []  # requests that have finished: `_note_passed` counts them
        self._is_noting = False
        self._closed: deque[Any] = deque(maxlen=CLOSED)
        self._ends: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        """How many requests were refused (closed unread), by the limit or the hook that refused them."""
        self._total_in = self._total_out = 0  # bytes of the rows that have ended
        self._of_host: dict[str, int] = {}
        self.rowless: Any = None
        """The request that runs now, if it has no row yet. Its row is made when its thread looks at the table."""

    @property
    def closed(self) -> deque[dict[str, Any]]:
        """The `Request.record` of each row that has ended until now; the latest is the last."""
        with self._lock:
            self._note_passed()
            for index, record in enumerate(self._closed):
                if record.__class__ is tuple:
                    self._closed[index] = finished_record(*record)
            return self._closed

    @property
    def ends(self) -> dict[str, int]:
        """How many rows have ended until now, by the class of the reason; ``""`` for those that have finished.

        The health checks of a proxy are counted apart, as `HEALTH_CHECK`."""
        with self._lock:
            self._note_passed()
            return self._ends

    def __len__(self) -> int:
        if self.rowless is not None:
            self._enter_rowless()
        return len(self._rows)

    def __iter__(self) -> Iterator[Request]:
        if self.rowless is not None:
            self._enter_rowless()
        return iter(list(self._rows.values()))

    def __contains__(self, row: object) -> bool:
        return isinstance(row, Request) and self._rows.get(row.serial) is row

    def _enter_rowless(self) -> None:
        request = self.rowless  # once: the loop's thread may set it to None while this one looks
        if request is not None and request.thread == get_ident():
            self.rowless = None
            request.make_row()

    def add(self, row: Request) -> None:
        """Add a row, and give it a serial if it has none."""
        if self._outer is not None:
            self._outer.add(row)
        elif not row.serial:
            row.serial = next(self._serials)
            host = _host(row.peer) if row.is_arrival else ""
            if host:
                with self._lock:
                    self._of_host[host] = self._of_host.get(host, 0) + 1
        self._rows[row.serial] = row

    def remove(self, row: Request) -> None:
        """Remove a row from the table and from the selector. Does nothing if the row is not in the table."""
        if self._rows.pop(row.serial, None) is None:
            return
        if row.mask:
            source: Any = row  # a row with a descriptor
            self._interest.want(source, 0)  # before the close: with a copy in a child, epoll would go on reporting it
        if self._outer is None:
            self._record(row)
        else:
            self._outer.remove(row)

    def _record(self, row: Request) -> None:
        if row.is_arrival:
            self._count(row.peer, -1)
        if row.rare is None and (row.channel is None or row.channel.reason is None):  # as most rows
            self.count_passed(row.facts())
            return
        whole_reason = row.whole_reason
        reason = None if whole_reason is None else row.reason
        if isinstance(whole_reason, Cause):
            forget_frames(whole_reason)
        kind = HEALTH_CHECK if row.is_health_check else ""
        if reason is not None:
            kind = type(reason).__name__
        record = row.record()
        with self._lock:
            self._note_passed()
            self._closed.append(record)
            self._ends[kind] = self._ends.get(kind, 0) + 1
            self._total_in += row.total_in
            self._total_out += row.total_out
        log_end(row, reason, record)

    def count_passed(self, request: tuple[Any, ...]) -> None:
        """Count a request that has finished, of which only the arguments of `finished_record` are told."""
        if self._outer is not None:
            self._outer.count_passed(request)
            return
        passed = self._passed
        passed.append(request)
        if len(passed) >= CLOSED:
            with self._lock:
                self._note_passed()

    def _note_passed(self) -> None:
        """Do what `count_passed` has left, for many requests at once. Holds the lock.

        A signal handler that looks at the table meanwhile, in the same thread, finds them not counted yet.
        """
        passed = self._passed
        if not passed or self._is_noting:
            return
        try:
            self._is_noting = True
            ended = passed[:]
            number, total_in, total_out = len(ended), sum(map(_BYTES_IN, ended)), sum(map(_BYTES_OUT, ended))
            finished = self._ends.get("", 0) + number
            # From here on nothing is called: no signal handler that raises comes in between.
            self._closed += ended
            self._ends[""] = finished
            self._total_in += total_in
            self._total_out += total_out
            del passed[:number]
        finally:
            self._is_noting = False

    def become_copy(self) -> None:
        """In any forked child: a thread of the parent may have held the lock."""
        self._lock = RLock()
        self._is_noting = False

    def close_copy(self, keep: object) -> None:
        """In a forked child, after `become_copy`: close the copies of all rows but ``keep``."""
        for row in self:
            row.counted = 0
            if row is not keep:
                row.close_copy()

    def move(self, row: Request, peer: Any) -> None:
        """A filter has set the row's peer to ``peer``: count the row for that host."""
        if self._outer is not None:
            self._outer.move(row, peer)
        elif row in self:
            self._count(row.peer, -1)
            self._count(peer, 1)

    def _count(self, peer: Any, change: int) -> None:
        host = _host(peer)
        if host:
            with self._lock:
                self._count_host(host, change)

    def _count_host(self, host: str, change: int) -> None:
        number = self._of_host[host] = self._of_host.get(host, 0) + change
        if not number:
            del self._of_host[host]

    def count_of(self, peer: Any) -> int:
        """The number of rows, without calls, whose host is that of the address ``peer``; 0 for a Unix socket."""
        if self._outer is not None:
            return self._outer.count_of(peer)
        if self.rowless is not None:
            self._enter_rowless()
        return self._of_host.get(_host(peer), 0)

    def get(self, serial: int) -> Request | None:
        """The row with this serial; ``None`` if there is none in the table."""
        if self.rowless is not None:
            self._enter_rowless()
        return self._rows.get(serial)

    def count_refused(self, what: str) -> None:
        """Count a refused request; ``what`` is the key in `refused`. May be called from any thread."""
        if self._outer is not None:
            self._outer.count_refused(what)
            return
        with self._lock:
            self.refused[what] = self.refused.get(what, 0) + 1

    def stats(self) -> dict[str, Any]:
        """Counts since the table was made, as plain data.

        ``open`` rows, those that ``ended`` by the class of their reason (``""``: finished; ``"HealthCheck"``: health
        checks of a proxy), requests ``refused`` by the bound or hook, and the bytes in and out of all rows, but not of
        blocking handlers and children.
        """
        rows = list(self)
        return {
            "open": len(rows),
            "ended": dict(self.ends),
            "refused": dict(self.refused),
            "total_in": self._total_in + sum(row.total_in for row in rows),
            "total_out": self._total_out + sum(row.total_out for row in rows),
        }

    def as_dicts(self) -> list[dict[str, Any]]:
        """Every row as plain data: see `Request.as_dict`."""
        return [row.as_dict() for row in self]

    def __str__(self) -> str:
        """The table as lines of text, a heading first."""
        return text_of(self.as_dicts())


def text_of(rows: list[dict[str, Any]], of_workers: bool = False) -> str:
    """Rows (`RequestTable.as_dicts`) as lines of text, a heading first; ``of_workers``: with ``worker``, a number."""
    lines: list[tuple[str, ...]] = [("worker", *HEADING) if of_workers else HEADING]
    for row in rows:
        due = "" if row["deadline"] is None else f"{row['deadline']:.1f}"
        lines.append((
            *([str(row["worker"])] if of_workers else []),
            str(row["serial"]), row["peer"], row["in_front"], row["handler"], row["stage"], row["state"],
            row["wait"], f"{row['held_in']}/{row['total_in']}", f"{row['held_out']}/{row['total_out']}",
            f"{row['age']:.1f}", f"{row['idle']:.1f}", due, row["driven_by"],
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def log_unfinished(records: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Log how many requests did not finish in ``seconds``, and name the first ten. Returns ``records``."""
    if records:
        some = ", ".join(f"{record['serial']} of {record['peer']}" for record in records[:10])
        log(WARNING, "%d requests did not finish in %g s: %s", len(records), seconds, some)
    return records


def _host(peer: Any) -> str:
    # An IPv6 socket shows an IPv4 client with this prefix (RFC 4291, section 2.5.5.2): it is the same host.
    if not isinstance(peer, tuple) or not peer:
        return ""
    host = peer[0]
    return (host if type(host) is str else safe_str(host)).removeprefix("::ffff:")
