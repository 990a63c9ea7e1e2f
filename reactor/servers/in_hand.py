"""`InHand`: finds the row of a request. ``socketserver``'s hooks are given a request, not a row.

The row is found by the request. A hook may have wrapped the request in another object; then the row is the *current*
row of the running code, a context variable, which each thread has for itself.
"""

from __future__ import annotations

from contextvars import ContextVar

from ..table.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_answering(row: Request) -> bool:
    """Whether a blocking handler answers the row's whole request, outside the loop."""
    wait = None if row.channel is None else row.channel.wait
    return wait is not None and bool(wait.answers)


class InHand:
    """The rows of one server for which hooks may be called."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._rows: dict[Any, Request] = {}  # by the request, or its id() where it is not hashable

    def find(self, request: Any) -> Request | None:
        """The row of a request that a hook was given; ``None`` if it has none."""
        try:
            row = self._rows.get(request)
        except TypeError:  # a hook has made a request object that is not hashable
            row = self._rows.get(id(request))
        return self._current if row is None else row

    def keep(self, request: Any, row: Request) -> None:
        """Hooks may be called for the row from here on."""
        try:
            self._rows[request] = row
        except TypeError:  # not hashable
            self._rows[id(request)] = row

    def drop(self, row: Request) -> bool:
        """No hook will be called for the row any more. Returns whether hooks could be called for it until now."""
        if not self._rows:
            return False  # the loop drives all of them, as always in select mode
        request: Any = row.request
        try:
            row_of_it = self._rows.get(request)
        except TypeError:
            request = next((key for key, kept in self._rows.items() if kept is row), None)
            row_of_it = self._rows.get(request)
        if row_of_it is not row:
            return False
        del self._rows[request]
        return True

    def at(self, row: Request | None) -> _Current:
        """A context in which ``row`` is the current row; ``None``: the current request has no row yet."""
        return _Current(self if row is None else row)

    @property
    def _current(self) -> Request | None:
        """The row of this server for which the running code is called."""
        at = CURRENT.get()
        return at if isinstance(at, Request) and at.server is self._server else None

    @property
    def is_within(self) -> bool:
        """Whether the running code is a hook of the server, or one of its blocking handlers."""
        return CURRENT.get() is self or self._current is not None

    @property
    def is_within_answer(self) -> bool:
        """Whether the running code is a blocking handler of the server that answers a request that has come whole."""
        row = self._current
        return row is not None and is_answering(row)

    @property
    def is_within_blocking(self) -> bool:
        """Whether the running code is a blocking handler of the server, or a hook that is called for its request."""
        row = self._current
        return row is not None and row.channel is None


class _Current:
    """A context with a current row."""

    __slots__ = ("_row", "_token")

    def __init__(self, row: Request | InHand) -> None:
        self._row = row

    def __enter__(self) -> None:
        self._token = CURRENT.set(self._row)

    def __exit__(self, *error: object) -> None:
        CURRENT.reset(self._token)


CURRENT: ContextVar[Request | InHand | None] = ContextVar("reactor request", default=None)
"""The current row; an `InHand` stands for a request of its server that has no row yet.

What every connection goes through sets it without `InHand.at`, whose calls would cost more."""
