"""`Direct`: the direct way of a connection whose blocking handler serves it on its own socket, in plain and thread mode.

    accept -> the row, in the table -> the handler -> shut down, linger, close -> out of the table

The general way (`Service.admit`, `Service.begin`, and the hooks) does the same in three times as many calls. `is_open`
says for each connection what is taken for granted: a plain listener, default hooks, no filters, nothing queued, and
that the request may begin now. At a limit, the connection that has been accepted goes the general way. So does what
comes after the first unusual event: an exception goes to `Service.attempt`, the lack of a thread to the queue.
"""

from __future__ import annotations

from socket import socket

from ..loop.kernel import close
from ..table.request import CALLER, Stage
from .kinds import are_default, has_own_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.request import Request
    from .service import Service


class Direct:
    """Leads the connections of one server the direct way."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def is_open(self) -> bool:
        """Whether the next connection may go the direct way. A program may change each of these at any time."""
        service, server = self._service, self._service.server
        kind = type(server)
        return (
            type(getattr(server, "socket", None)) is socket  # and so are its connections; none is wrapped
            and are_default(
                kind.get_request, kind.verify_request, kind.process_request, kind.finish_request,
                kind.shutdown_request, kind.close_request, kind.connection_filters,
                getattr(kind, "process_request_thread", None),
            )
            and not has_own_hook(server)
            and not server.filters
            and service.serving.share is None
            and not service.queue
            and service.may_begin()
        )  # fmt: skip

    def take(self) -> None:
        """Take one connection, and serve it or have it served. Raises ``OSError`` as ``accept()`` does."""
        service, server, table = self._service, self._service.server, self._service.reactor.table
        request, peer = server.get_request()
        if len(table) >= server.max_requests or table.count_of(peer) >= server.max_per_peer:
            service.admit(request, peer, lambda: service.blocking_row(request, peer))
            return
        row = service.blocking_row(request, peer)
        row.stage, row.driven_by = Stage.SERVING, CALLER
        service.hand.keep(request, row)
        table.add(row)
        service.queue.begin_now(row, self._begin)

    def _begin(self, row: Request) -> None:
        self._service.attempt(row, self._service.mode.process_directly, row.request, row.peer, row)

    def serve(self, request: Any, peer: Any, row: Request) -> None:
        """Plain mode: serve the request to its end."""
        self._service.finish_blocking(request, peer)
        self._end(row, request)
        self._service.ended(row)

    def serve_in_thread(self, request: Any, peer: Any, row: Request) -> None:
        """Thread mode, in the thread: as ``process_request_thread()``."""
        try:
            self._service.finish_blocking(request, peer)
        except Exception:
            self._service.server.handle_error(request, peer)
        finally:
            self._end(row, request)

    def _end(self, row: Request, request: Any) -> None:
        self._service.shut_down(row, request)
        close(request)
