"""`RequestQueue`: the requests of one server that are in the table and have not begun, in the order of arrival.

In select mode and plain mode a request begins at once; in fork mode and thread mode it waits while all children or
threads are busy. The queue owns its rows. It has three callbacks: whether one more request may begin, what begins a
request, and what is done for a request that will never begin. The connection of a request that waits is watched for a
hang-up, so a client that leaves is noticed.
"""

from __future__ import annotations

from collections import OrderedDict
from socket import socket

from ..handlers import Cancelled, Reset
from ..loop.kernel import AGAIN, PAUSE, NoneLeft
from ..loop.selecting import EVENT_HANGUP
from ..rows.hangup import hangup
from ..table.request import CALLER, Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handlers import Cause
    from ..loop.watches import Watch
    from ..table.request import Request


class RequestQueue:
    """Rows in the stage `Stage.QUEUED`.

    ``begin(row)`` may raise `NoneLeft`: the row is queued again, in front. ``dismissed(row)`` closes the request of a
    row that will never begin. At most ``batch`` requests begin at once.
    """

    def __init__(
        self, may_begin: Callable[[], bool], begin: Callable[[Request], object], dismissed: Callable[[Request], object],
        batch: int,
    ) -> None:  # fmt: skip
        self._may_begin = may_begin
        self._begin = begin
        self._dismissed = dismissed
        self._batch = batch
        self.rows: OrderedDict[int, Request] = OrderedDict()
        """The requests that wait, by serial; for reading."""
        self._watches: dict[int, Watch] = {}  # of the connections, for a hang-up; by the serial of the row
        self._short = False  # whether the host has just refused a child or a thread

    def __len__(self) -> int:
        return len(self.rows)

    def enter(self, row: Request, last: bool = True) -> None:
        """Have the request wait for its turn, behind the others or in front of them."""
        row.stage = Stage.QUEUED
        self.rows[row.serial] = row
        self.rows.move_to_end(row.serial, last)
        if self._short or len(self.rows) > 1 or not self._may_begin():
            self._watch(row)
            row.weigh()  # last, because the budget may end this very row

    def go_on(self) -> None:
        """Begin the requests whose turn it is, as many as may begin in one batch."""
        row = None
        for _ in range(self._batch):
            if not self.rows or self._short or not self._may_begin():
                return
            _, row = self.rows.popitem(last=False)
            if self._watches:
                self._unwatch(row)
            row.stage, row.driven_by = Stage.SERVING, CALLER
            row.reactor.budget.let_go(row)  # the bytes that it holds are not held in the queue any more
            try:
                self._begin(row)
            except NoneLeft:
                self.put_back(row)
        if self.rows and row is not None:
            row.reactor.call_soon(self.go_on)

    def put_back(self, row: Request) -> None:
        """The host has no child or thread for the row now: it is the first in the queue."""
        self._short = True
        self.enter(row, last=False)
        row.reactor.call_later(PAUSE, self.look_again)

    def look_again(self) -> None:
        """A child or a thread has ended: `go_on`, even if the host has refused one just before."""
        self._short = False
        self.go_on()

    def dismiss(self, row: Request, cause: Cause) -> None:
        """End a request that has not begun."""
        del self.rows[row.serial]
        self._unwatch(row)
        row.error = cause
        row.reactor.budget.let_go(row)
        self._dismissed(row)

    def _watch(self, row: Request) -> None:
        """Have the selector report when the client has reset or closed the connection, if it can."""
        sock, reactor = row.request, row.reactor
        if not isinstance(sock, socket) or not reactor.interest.events & EVENT_HANGUP:
            return

        def gone(events: int) -> None:
            self._unwatch(row)  # the selector would report the hang-up again in every step
            try:
                error = hangup(sock, has_begun=False)
            except AGAIN:
                return
            if error is not None:
                self.dismiss(row, Reset(error))

        try:
            self._watches[row.serial] = reactor.watch(sock, EVENT_HANGUP, gone)
        except (OSError, ValueError, KeyError):
            pass  # a hook has closed it, or the selector is full: the hang-up is noticed when the request begins

    def _unwatch(self, row: Request) -> None:
        watch = self._watches.pop(row.serial, None)
        if watch is not None:
            watch.cancel()

    def close(self) -> None:
        """The server closes: end all requests in the queue."""
        for row in list(self.rows.values()):
            self.dismiss(row, Cancelled())
