"""``fork_request()``: a blocking handler forks, and the child goes on with its request."""

from __future__ import annotations

import os

from ..table.request import LOOP, DrivenBy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..table.request import Request
    from .service import Service


class Heirs:
    """The children that handlers of one server have forked; in such a child, what ends the process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.count = 0
        """The children that run."""
        self.exit_status: int | None = None
        """The exit status of this process, if it is such a child; else ``None``."""

    @property
    def may_grow(self) -> bool:
        """Whether there are so few children that one more request may begin."""
        return not self.count or self.count < self._service.reactor.max_children

    def fork(self, row: Request | None) -> int:
        """Fork, and let the child finish the request of ``row``. Returns the child's pid, and 0 in the child."""
        if row is None or row.driven_by is LOOP:
            raise RuntimeError("fork_request() takes self.request, and not in select mode: there, wait for Forked()")
        if row.channel is not None:
            raise RuntimeError(
                "fork_request() can't give a connection with filters to a child: two processes would have the filters; "
                "take the Forking server class"
            )

        from .words import apply_exit_report  # here, as below: only blocking handlers fork

        def on_exit(status: int | None, words: bytes) -> None:
            self.count -= 1
            apply_exit_report(row, status, words)
            self._service.strike(row)

        pid = self._service.reactor.children.fork(on_exit, keep=row)
        if pid:
            self.count += 1
            row.driven_by = DrivenBy.child(pid)
        else:
            self.exit_status = 0
        return pid

    def note_failure(self) -> None:
        """The handler has raised: if this process is such a child, it will exit with status 1."""
        if self.exit_status is not None:
            self.exit_status = 1

    def leave(self, row: Request) -> None:
        """The handler has returned in such a child: report to the parent, and exit with `exit_status`."""
        from .words import exit_report

        assert self.exit_status is not None
        try:
            self._service.reactor.children.tell(exit_report(row))
        finally:
            os._exit(self.exit_status)
