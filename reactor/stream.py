"""Streams: the row of one connection, readiness ↔ its machine, and the server that accepts them.

A row reads once for each readiness, and one system call takes all output that a read has caused:
send first, ask for writability only for what is left. Readiness is a hint; a call that would
block after all changes nothing.
"""

from __future__ import annotations

import socket
from selectors import EVENT_READ, EVENT_WRITE

from handlers import Cause, DatagramHandler, Handler, LimitPassed, Reset, StreamHandler, StreamMachine
from handlers.machines import ENDED, ENDING

from .request import CALLER, CHILD, LOOP, Request
from .selecting import EVENT_URGENT
from .server import UNSET, BaseServer, is_kind
from .sources import AGAIN, close
from .urgent import at_mark, hears_urgent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .loop import Reactor

LINGER = 2.0
"""Seconds that a request which has ended waits at most for a client who goes on sending."""

LINGERING = "lingering"
"""What has become of the output of a row that has ended and does so."""

READ_SIZE = 65_536
"""Bytes that one read of one row may take before the other rows have their turn."""


class StreamRow(Request):
    """The row of a connected stream socket."""

    __slots__ = ("mask", "socket")
    machine: StreamMachine
    resting = 0
    """What the selector is to tell of while the handler takes no input."""

    def __init__(
        self, reactor: Reactor, server: Any, sock: socket.socket, peer: Any, handler: StreamHandler, driver: str
    ) -> None:
        super().__init__(reactor, server, peer, StreamMachine(handler, self), driver)
        self.socket = sock
        self.mask = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def request(self) -> socket.socket:
        return self.socket

    def close_copy(self) -> None:
        self.socket.close()

    def released(self) -> None:
        super().released()
        if self.driver != LOOP:  # its driver closes it, after any connections that it has opened: the end comes now
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client has gone first

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that have come and that nobody has claimed; none, but by a `PassingSocket`."""
        return getattr(self.socket, "descriptors", [])

    def pass_on(self, descriptors: Sequence[int]) -> None:
        """Have ``descriptors`` leave with the next byte that is written."""
        pass_on = getattr(self.socket, "pass_on", None)
        if pass_on is None:
            raise RuntimeError(
                f"{self.handler} can't pass descriptors here: declare max_descriptors on the class, "
                f"and serve it on a Unix stream socket"
            )
        try:
            pass_on(self.held_out, descriptors)
        except LimitPassed as passed:
            self.reactor.call_soon(self.evict, passed)  # whoever sends may be another row's state

    def start(self) -> None:
        """Let the handler begin."""
        try:
            self.socket.setblocking(False)
        except OSError as error:  # closed already, by a hook of the server
            self.drop(Reset(error))
        else:
            self.machine.advance()

    def ready(self, events: int, now: float) -> None:
        """The selector says that the socket can be read or written."""
        machine = self.machine
        if events & EVENT_READ and machine.wants_input:
            try:
                data = self.socket.recv(READ_SIZE)
            except AGAIN:
                pass
            except OSError as error:
                self.drop(Reset(error))
            except LimitPassed as passed:  # of descriptors
                self.drop(passed)
            else:
                if data:
                    self.progress = now
                    self.total_in += len(data)
                    machine.feed(data)
                else:
                    machine.end()
        self.settle(now)

    def settle(self, now: float) -> None:
        machine = self.machine
        self.go_on(now)
        mask = EVENT_READ if machine.wants_input else self.resting
        if machine.outbox:
            mask |= EVENT_WRITE
        elif machine.state is None:
            mask = self._closing(now)
        elif machine.output is ENDING:
            self._end_output()
        if mask != self.mask:
            try:
                self.reactor.table.want(self, mask)
            except (OSError, ValueError) as error:  # the selector takes no more, or no number so high
                self.drop(Reset(OSError(f"the selector can't watch it: {error}")))

    def flush(self, now: float) -> None:
        machine = self.machine
        outbox = machine.outbox
        assert outbox is not None
        try:
            count = self.socket.send(outbox)
        except AGAIN:
            count = 0
        except OSError as error:
            self.drop(Reset(error))
            return
        except BaseException:  # a signal's handler raised: what has gone is not known, and twice is worst
            machine.drop_output()
            raise
        if count:
            self.progress = now
            self.total_out += count
            machine.sent(count)
            if machine.state is None:
                self.took_some(count, now)
        if machine.outbox:
            self.check_output()

    def _end_output(self) -> None:
        self.machine.output = ENDED
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.drop(Reset(error))

    def _closing(self, now: float) -> int:
        """The request has ended and all has been sent: let go of the row, or return the events that it still waits for.

        To close a socket while the client sends resets the connection, and what he has not read by then is lost.
        """
        machine = self.machine
        if machine.ended or not self.total_out or not self._is_still_sent_to():
            self.reactor.end(self)
            return 0
        if machine.output is not LINGERING:
            self._end_output()
            machine.output = LINGERING
            self.deadline = now + LINGER
            self.reactor.timers.arm(self)
        return EVENT_READ

    def _is_still_sent_to(self) -> bool:
        """Whether the client sends what nobody listens to; what there is of it is dropped."""
        machine = self.machine
        try:
            data = self.socket.recv(READ_SIZE)
        except AGAIN:
            return machine.output is LINGERING or isinstance(machine.reason, LimitPassed)
        except (OSError, LimitPassed):
            return False
        self.total_in += len(data)
        return bool(data)


def tune(sock: socket.socket, keepalive: float = 60, user_timeout: float = 120) -> None:
    """Set the options of a TCP socket, those of the connections too if it is one that listens.

    Output is sent whole, so nothing is gained where the kernel waits for more (``TCP_NODELAY``); and a peer that has
    vanished is found out.
    """
    if sock.family not in (socket.AF_INET, getattr(socket, "AF_INET6", None)):
        return
    options = (
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", int(keepalive)),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 6),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", int(user_timeout * 1000)),
    )
    for level, name, value in options:
        if hasattr(socket, name):
            try:
                sock.setsockopt(level, getattr(socket, name), value)
            except OSError:
                pass  # the host has the name, not the thing


class UrgentRow(StreamRow):
    """The row of a connected stream socket whose handler takes urgent data, and hears of it even while it rests."""

    __slots__ = ("early",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.early = False
        """Whether urgent data has come, and bytes before it, lost on the way, have not: it can't be read yet."""

    @property
    def resting(self) -> int:  # type: ignore[override]
        machine = self.machine
        if machine.finished or machine.ended or machine.held_in >= READ_SIZE or not self.reactor.table.has_urgent:
            return 0
        return EVENT_READ if self.early else EVENT_URGENT

    def ready(self, events: int, now: float) -> None:
        if events & EVENT_URGENT or (events & EVENT_READ and (self.early or self.machine.wants_input)):
            self.early = not self._read(now) and bool(events & EVENT_URGENT)
        self.settle(now)

    def _read(self, now: float) -> bool:
        """Read up to the mark, if there is one, and what is urgent behind it. Whether there was anything to read."""
        sock, machine = self.socket, self.machine
        before = data = b""
        ended = False
        cause: Cause | None = None
        try:
            if not at_mark(sock):
                before = sock.recv(READ_SIZE)
            if at_mark(sock):
                data = sock.recv(1)
            ended = not before and not data
        except AGAIN:
            if not before:
                return False
        except OSError as error:
            cause = Reset(error)
        except LimitPassed as passed:  # of descriptors
            cause = passed
        if before or data:
            self.progress = now
            self.total_in += len(before) + len(data)
        if data:
            machine.urgent(data, before)
        elif before:
            machine.feed(before)
        elif ended:
            machine.end()
        if cause is not None:
            self.drop(cause)
        return True


class TCPServer(BaseServer):
    """A server of stream sockets, in the plain mode; see ``socketserver.TCPServer``, whose contract this is."""

    address_family: int = socket.AF_INET
    socket_type: int = socket.SOCK_STREAM
    request_queue_size = 5
    """Connections that the kernel keeps for the server until it accepts them (``listen(2)``)."""

    allow_reuse_address = False
    allow_reuse_port = False

    keepalive = 60
    """Seconds of silence after which the kernel asks a peer of a state machine whether it is there (``tcp(7)``)."""

    user_timeout = 120
    """Seconds for which what was sent to it may stay unacknowledged (``TCP_USER_TIMEOUT``, RFC 5482)."""

    def __init__(
        self, server_address: Any, RequestHandlerClass: Any, bind_and_activate: bool = True, *,
        reactor: Reactor | None = None,
    ) -> None:  # fmt: skip
        super().__init__(server_address, RequestHandlerClass, reactor=reactor)
        self._srv_check_handler()
        network = socket if reactor is None else reactor.network
        self.socket: socket.socket = network.socket(self.address_family, self.socket_type)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
                if reactor is not None:
                    self.start_serving()
            except BaseException:
                self.server_close()
                raise

    def _srv_check_handler(self) -> None:
        """Raise now what would otherwise fail on every request."""
        packets = self.socket_type == socket.SOCK_DGRAM
        wrong, right = (StreamHandler, "DatagramHandler") if packets else (DatagramHandler, "StreamHandler")
        if is_kind(self.RequestHandlerClass, wrong):
            raise TypeError(
                f"{self.RequestHandlerClass.__name__} is a {wrong.__name__}, but {type(self).__name__} has "
                f"{'datagram' if packets else 'stream'} sockets: it serves a {right} or a blocking handler"
            )

    def _srv_row(self, request: Any, client_address: Any) -> Request:
        if is_kind(self._srv_handler, StreamHandler):
            handler = self._srv_handler()
            kind = UrgentRow if hears_urgent(self._srv_handler, request) else StreamRow
            return kind(self.reactor, self, request, client_address, handler, CALLER)
        return super()._srv_row(request, client_address)

    def server_bind(self) -> None:
        """Bind the socket. May be overridden."""
        if self.allow_reuse_address and hasattr(socket, "SO_REUSEADDR"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.allow_reuse_port and hasattr(socket, "SO_REUSEPORT"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if self.address_family == getattr(socket, "AF_INET6", None) and hasattr(socket, "IPV6_V6ONLY"):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # on [::], IPv4 clients too
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        if is_kind(self._srv_handler, Handler):  # a blocking handler sets its own
            tune(self.socket, self.keepalive, self.user_timeout)
        if is_kind(self._srv_handler, StreamHandler):
            hears_urgent(self._srv_handler, self.socket)
        self.socket.listen(self.request_queue_size)

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        self._srv_unlisten()
        if self.socket_type == socket.SOCK_STREAM:  # who comes now is refused, and need not find out when it is closed
            self._srv_close_socket()
        return super().drain(seconds)

    def server_close(self) -> None:
        super().server_close()
        self._srv_close_socket()

    def _srv_close_socket(self) -> None:
        if self._srv_reactor is not None and self.socket.fileno() >= 0:
            self._srv_reactor.port(self).release()
        self.socket.close()

    def _srv_forked(self, keep: Request | None) -> None:
        super()._srv_forked(keep)
        if self.socket_type == socket.SOCK_STREAM or keep is None or keep.server is not self:
            self.socket.close()  # a copy would keep its address taken

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.socket.fileno()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection: ``(socket, client_address)``."""
        return self.socket.accept()

    def shutdown_request(self, request: Any) -> None:
        """End the stream to the client and close the connection."""
        row = self._srv_rows.get(self._srv_key(request))
        if row is None or not row.driver.startswith(CHILD):  # else it is still the child's
            try:
                request.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client has gone first
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close this process's end of the connection."""
        close(request)
        self._srv_closed(request)

    def _srv_deadline(self, *timeouts: float | None) -> float:
        own = self.socket.gettimeout() if self._srv_own_timeout is UNSET else self._srv_own_timeout
        return super()._srv_deadline(own, *timeouts)

    def _srv_listen(self, arrivals: Callable[[], None]) -> None:
        if self._srv_own_timeout is UNSET:  # a client that goes before it is accepted must not block the loop
            self._srv_own_timeout = self.socket.gettimeout()
            self.socket.settimeout(0)
        super()._srv_listen(arrivals)

    def _srv_unlisten(self) -> None:
        super()._srv_unlisten()
        if self._srv_own_timeout is not UNSET:
            self.socket.settimeout(self._srv_own_timeout)
            self._srv_own_timeout = UNSET
