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
        self.is_child = False
        """Whether this process is such a child."""

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
            self.is_child = True
        return pid

    def leave(self, row: Request) -> None:
        """The handler has ended in such a child: report to the parent, and exit, with status 1 if it has raised."""
        from .words import exit_report

        try:
            self._service.reactor.children.tell(exit_report(row))
        finally:
            os._exit(0 if row.error is None else 1)
