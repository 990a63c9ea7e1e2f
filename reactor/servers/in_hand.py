"""The rows that the hooks of a server are about: a hook is given a request, not a row.

A hook is about the row of its request, or, where a hook has wrapped the request, about the row that the running code is
at. Neither needs the number of a thread: what the running code is at is a context variable.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar

from ..table.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class InHand:
    """The rows of one server that are in the hands of its hooks."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._rows: dict[Any, Request] = {}  # by the request

    def find(self, request: Any) -> Request | None:
        """The row of a request that a hook has in hand; ``None`` where there is none."""
        try:
            row = self._rows.get(request)
        except TypeError:  # a hook has made a request that is not hashable
            row = None
        if row is None:
            at = _at.get()
            if isinstance(at, Request) and at.server is self._server:
                row = at
        return row

    def keep(self, request: Any, row: Request) -> None:
        """Hooks may be called for the row from here on."""
        try:
            self._rows[request] = row
        except TypeError:
            pass  # it is found as the one that the running code is at

    def drop(self, row: Request) -> bool:
        """The row is not in hand any more; whether it was."""
        try:
            if self._rows.get(row.request) is row:
                del self._rows[row.request]
                return True
        except TypeError:
            pass
        return False

    @contextmanager
    def at(self, row: Request | None) -> Iterator[None]:
        """A context in which the running code is at ``row``; ``None``: at a request that has no row yet."""
        token = _at.set(self if row is None else row)
        try:
            yield
        finally:
            _at.reset(token)

    @property
    def is_within(self) -> bool:
        """Whether the running code is a hook of the server, or one of its blocking handlers."""
        at = _at.get()
        return at is self or (isinstance(at, Request) and at.server is self._server)

    @property
    def is_within_blocking(self) -> bool:
        """Whether the running code is a blocking handler of the server, or a hook that is about its request."""
        at = _at.get()
        return isinstance(at, Request) and at.server is self._server and at.channel is None


_at: ContextVar[Request | InHand | None] = ContextVar("reactor request", default=None)
"""What the running code is at: a row, or a server's request that has no row yet."""
