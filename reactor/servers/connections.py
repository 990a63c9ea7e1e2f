"""`Connections`: takes connections from a listening socket."""

from __future__ import annotations

import os
import socket

from ..handlers import StreamHandler
from ..rows.stream import stream_row
from .kinds import is_kind, is_ours
from .wrapped import require_plain, unwrapped, without_handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..handlers.waits import MakeFilter
    from ..table.reactor import Reactor
    from ..table.request import Request
    from .service import Service


class Connections:
    """Takes connections, one at a time, with the server's ``get_request()``."""

    is_listener = True

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_machine = is_kind(service.handler, StreamHandler)
        self._row: Any = stream_row
        if not self._is_machine:
            from ..rows.face import FaceRow

            self._face_row = FaceRow
            if service.filters:
                self._require_hooks()
        elif service.is_framed:
            from ..rows.framed import row_of

            self._row = row_of(service.handler)
        self._simulated: float | None = None  # the timeout of a simulated socket, before it was made non-blocking

    def _require_hooks(self) -> None:
        """Raise `TypeError` if an overridden ``finish_request()`` would not be given the face of the connection.

        Behind filters, a blocking handler works on a `Face` instead of the socket.
        """
        server = self._service.server
        in_thread = getattr(server, "process_request_thread", server.process_request)
        hands_on = is_ours(server.process_request) and is_ours(in_thread)
        if not is_ours(server.finish_request) and not hands_on:
            raise TypeError(
                f"{type(server).__name__} has filters, and overrides finish_request() and how it is called, so that "
                f"its handler would have the connection in front of the filters: leave one of the two as it is"
            )

    def has_room(self) -> bool:
        return True

    def listen(self, arrivals: Callable[[], object]) -> None:
        self._make_non_blocking()
        source = self._service.open_source()
        source.exclusive = self._service.serving.share is not None
        source.listen(arrivals)

    def _make_non_blocking(self) -> None:
        """Make the listener non-blocking, so that ``accept()`` can't block when the client has left before it.

        The flag belongs to the kernel's socket, which other processes and threads may share and rely on, so it is never
        reset. The timeout of the Python object stays. An overridden ``get_request()`` may mean to wait, so for it the
        socket stays as it is.
        """
        sock = getattr(self._service.server, "socket", None)
        if isinstance(sock, socket.socket):
            if is_ours(self._service.server.get_request):
                os.set_blocking(sock.fileno(), False)
        elif sock is not None and sock.gettimeout() != 0:
            self._simulated = sock.gettimeout()
            sock.settimeout(0)

    def unlisten(self) -> None:
        source = self._service.source
        if source is not None:
            source.close()

    def timeout(self) -> float | None:
        sock = getattr(self._service.server, "socket", None)
        if sock is None or not isinstance(sock, socket.socket):
            return self._simulated
        return sock.gettimeout()

    def take(self) -> None:
        server, service = self._service.server, self._service
        front: Sequence[MakeFilter] = ()
        listener = getattr(server, "socket", None)
        if type(listener) is socket.socket and is_ours(server.get_request):  # so the connection is not wrapped
            request, client_address = server.get_request()
        else:
            request, client_address = without_handshake(server.get_request)
            if self._is_machine or service.filters:  # else the handler takes the SSLSocket itself
                request, front = unwrapped(request)
        service.admit(request, client_address, lambda: self.make_row(request, client_address, front))
        share = service.serving.share
        if share is not None:
            share.note()

    def make_row(self, request: Any, client_address: Any, front: Sequence[MakeFilter] = ()) -> Request:
        """The row of a connection. ``front`` makes filters that stand in front of the server's own filters."""
        service = self._service
        filters = (*front, *service.filters)
        if not self._is_machine and not filters:
            return service.blocking_row(request, client_address)
        require_plain(service.handler, request)
        if not self._is_machine:
            return self._face_row(service.reactor, service.server, request, client_address, service, filters)
        return self.machine_row(request, client_address, filters)

    def machine_row(self, request: Any, client_address: Any, filters: Sequence[MakeFilter] = ()) -> Request:
        """The row of a plain connection that a state machine serves."""
        service = self._service
        handler = service.handler()
        row: Request = self._row(
            service.reactor, service.server, request, client_address, handler, service, filters,
        )  # fmt: skip
        return row

    def pause(self) -> None:
        source = self._service.source
        if source is not None:
            source.pause()

    def wait_for_room(self) -> None:
        source = self._service.source
        if source is not None:
            source.pause_until_room()

    def alongside(self, inner: Reactor) -> None:
        """Nothing to do: connections wait in the kernel."""

    def over(self, row: Request) -> None:
        """No connection waits for the end of another one."""
        share = self._service.serving.share
        if share is not None:
            share.note()
