"""Fork mode: a child process drives each request."""

from __future__ import annotations

import logging  # noqa: F401 - prints the traceback of one child whole, see `loop.log`
import os
import socket
from contextlib import contextmanager
from selectors import EVENT_READ

from ..loop.children import NO_FORK
from ..loop.kernel import NONE_LEFT, NoneLeft
from ..rows.packets import PacketRow
from ..servers.hooks import call_hook
from ..servers.mode import Mode, register_mode
from ..servers.tcp import TCPServer
from ..servers.udp import UDPServer
from ..servers.words import apply_exit_report, exit_report
from .mailbox import Bell, Mailbox
from .mixin import ModeMixIn
from .select import BATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..table.reactor import Reactor
    from ..table.request import Request

    _Base = TCPServer
else:
    _Base = ModeMixIn


class ForkMode(Mode):
    """A child process drives each request; the parent keeps a row for it."""

    batch, in_turn = BATCH, False
    work = "fork"
    bound = ("max_children", "children")
    serves_directly = False
    _close_bell: Bell | None = None  # rung when the server closes: the children cancel their requests
    _drain_bell: Bell  # rung when it drains: they end connections on which nothing is under way; made with the other
    _mailbox: Mailbox | None = None  # in a child

    def adapt(self, handler: Any) -> Any:
        if not hasattr(os, "fork"):
            raise RuntimeError(f"{type(self.service.server).__name__}: {NO_FORK}")
        return super().adapt(handler)

    def child_began(self, pid: int) -> None:
        server = self.service.server
        if server.active_children is None:
            server.active_children = set()
        server.active_children.add(pid)

    def child_ended(self, pid: int) -> None:
        (self.service.server.active_children or set()).discard(pid)  # a child that could not be watched never counted

    def may_begin(self) -> bool:
        if self.loop_drives:
            return True  # a child is for a whole request
        server = self.service.server
        busy = len(server.active_children or ())
        return busy < int(server.max_children)

    def take(self) -> None:
        if self.loop_drives:
            super().take()
            return
        with self.room():
            super().take()

    @contextmanager
    def room(self) -> Iterator[None]:
        """A context in which as many descriptors are kept free as the child of one more request needs.

        Otherwise queued requests could hold all descriptors, and none of them could begin.
        """
        if self._close_bell is None:
            close_bell = Bell(self.service.server, self.service.reactor)
            try:
                self._drain_bell = Bell(self.service.server, self.service.reactor)
            except OSError:  # the host has descriptors for one of the two: both are made for a later request
                close_bell.close()
                raise
            self._close_bell = close_bell
        spare = list(os.pipe())
        try:
            if not self.service.intake.is_listener:
                spare += os.pipe()  # a mailbox needs two descriptors
            yield
        finally:
            for end in spare:
                os.close(end)

    def process(self, row: Request, request: Any, client_address: Any) -> None:
        service = self.service
        if self.loop_drives:
            service.leave_to_loop(row)
            return
        server = service.server
        mailbox: Mailbox | None = None

        def on_exit(status: int | None, words: bytes) -> None:
            self.child_ended(pid)
            if mailbox is not None:
                mailbox.close()
            apply_exit_report(row, status, words)
            if status and not words and not (service.closing or server.is_draining):  # which kills children
                service.admission.tell("a child died, and its request with it: %s", row.error)
            service.strike(row)

        try:
            if isinstance(row, PacketRow):
                mailbox = Mailbox(service.reactor, row)
            pid = service.reactor.children.fork(on_exit, keep=row)
        except BaseException as error:
            if mailbox is not None:
                mailbox.give_up()
            if isinstance(error, OSError) and error.errno in NONE_LEFT:
                raise NoneLeft(*error.args) from error
            raise
        if pid == 0:
            self._be_child(row, request, client_address, mailbox)
        self.child_began(pid)
        service.leave_to_child(row, pid)
        if mailbox is not None:
            mailbox.open()
        server.close_request(request)

    def _be_child(self, row: Request, request: Any, client_address: Any, mailbox: Mailbox | None) -> None:
        """In the child: finish the request. Never returns."""
        server, status = self.service.server, 1
        try:
            if mailbox is not None:
                self._mailbox = mailbox
                mailbox.be_child()
            self.service.do(request, client_address)
            status = 0
        except Exception:
            call_hook(server, "handle_error", request, client_address)
        finally:
            try:
                server.shutdown_request(request)
                if mailbox is not None:
                    mailbox.give_back()
                self.service.reactor.children.tell(exit_report(row))
            finally:
                os._exit(status)

    def alongside(self, inner: Reactor) -> None:
        mailbox = self._mailbox
        if mailbox is not None:
            inner.watch(mailbox.child, EVENT_READ, lambda events: mailbox.collect())
        if self._close_bell is not None:

            def end(events: int) -> None:
                watch.cancel()  # the pipe stays readable; the loop would spin while a blocking handler goes on
                inner.stop()

            def drain(events: int) -> None:
                draining.cancel()
                self.service.is_draining = True
                inner.end_idle(self.service.server)

            watch = inner.watch(self._close_bell, EVENT_READ, end)
            draining = inner.watch(self._drain_bell, EVENT_READ, drain)

    def drain(self) -> None:
        if self._close_bell is not None:
            self._drain_bell.ring()  # a child may have a connection on which nothing is under way

    def close(self) -> None:
        super().close()
        if self._close_bell is not None:
            self._close_bell.ring()
        server = self.service.server
        server.collect_children(blocking=server.block_on_close)
        if self._close_bell is not None:
            self._close_bell.close()
            self._drain_bell.close()
            self._close_bell = None


class ForkingMixIn(_Base):
    """A child process drives each request; see ``socketserver.ForkingMixIn``.

    For a blocking handler that declares ``request``, the loop waits until a request is whole, and a child answers it,
    with those behind it that are whole by then.
    """

    timeout = 300
    active_children: set[int] | None = None
    """The pids of the children that have not been reaped. ``None`` before the first child."""

    max_children = 40
    """Children that may run at once; more requests wait in the table, each with its descriptor (``max_requests``)."""

    block_on_close = True
    """Whether `server_close` waits for the children."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork a child that serves the request."""
        self._srv.process(request, client_address)

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have ended; with ``blocking``, wait until all have ended."""
        for pid in list(self.active_children or ()):
            self.reactor.children.reap(pid, blocking)

    def handle_timeout(self) -> None:
        """Reap the children that have ended."""
        self.collect_children()

    def service_actions(self) -> None:
        """Reap the children that have ended. ``socketserver`` does it here; here the loop has done it already."""
        self.collect_children()

    def server_close(self) -> None:
        """Cancel the state machines in the children, and wait for the children if ``block_on_close``."""
        super().server_close()


register_mode(ForkingMixIn, ForkMode)


class ForkingTCPServer(ForkingMixIn, TCPServer):
    """TCP, a child for each connection."""


class ForkingUDPServer(ForkingMixIn, UDPServer):
    """UDP, a child for each exchange."""


if hasattr(socket, "AF_UNIX"):
    from ..servers.unix import UnixDatagramServer, UnixStreamServer

    class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer):
        """Unix stream sockets, a child for each connection."""

    class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer):
        """Unix datagram sockets, a child for each exchange."""
