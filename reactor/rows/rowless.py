"""`Rowless`: drives the machine of a new connection in its first turn, which may end the request before it has a row.

Most short connections bring their request at once, get the answer and end. Their handlers run here, and can't tell. At
anything else (a request that does not end, an exception, output that the kernel does not take, input behind the
request, a look at the table) the row of the request is made, over the same machine, and goes on.
"""

from __future__ import annotations

from ..handlers import Reset, StreamMachine
from ..handlers.channel import OPEN
from ..handlers.files import Files
from ..handlers.machines import STEADY
from ..loop.kernel import AGAIN
from .driven import Gone
from .lingering import is_done_with, unacknowledged
from .stream import READ_SIZE, StreamRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from ..handlers import StreamHandler
    from ..table.reactor import Reactor
    from ..table.request import Owner, Passed


def _of_row(name: str, default: object = None) -> Any:
    """A fact of the row; ``default`` as long as there is none."""

    def get(rowless: Rowless) -> Any:
        return default if rowless._row is None else getattr(rowless._row, name)

    def set_(rowless: Rowless, value: object) -> None:
        setattr(rowless.make_row(), name, value)

    return property(get, set_)


class Rowless:
    """The driver of a machine (`handlers.handler.StreamDriver`) until the request ends or has a row."""

    __slots__ = ("_machine", "_owner", "_reactor", "_row", "peer", "server", "socket", "total_in", "total_out")

    turns = StreamRow.turns
    plain = False
    principal = _of_row("principal")
    secured = _of_row("secured")
    peer_certificate = _of_row("peer_certificate")
    alpn = _of_row("alpn")
    proxy_header = _of_row("proxy_header")
    left = _of_row("left", ())

    def __init__(
        self, handler: StreamHandler, reactor: Reactor, server: Any, sock: socket.socket, peer: Any, owner: Owner
    ) -> None:
        self.peer = peer
        self.server = server
        self.socket = sock
        self.total_in = self.total_out = 0
        self._reactor = reactor
        self._owner = owner
        self._row: Any = None
        self._machine: StreamMachine | None = StreamMachine(handler, self)

    def run(self) -> Passed | None:
        """Read once, let the handler run, and send. Returns what is counted if nothing is left to do.

        The caller then closes the connection. In every other case the row goes on.
        """
        reactor, machine = self._reactor, self._machine
        assert machine is not None
        kind = type(machine.handler)
        try:
            self._begin(machine)
        except BaseException as error:
            row = self.make_row()
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise  # it ends the program; if the loop goes on all the same, the row ends then
            row.failed(error)
        is_over = machine.state is None and machine.reason is None and machine.output is OPEN
        may_close = self._row is None and is_over and self._send(machine) and self._may_close()
        if may_close and self._row is None:  # again: a signal handler may have looked at the table
            self._machine = None  # from now on the request has ended
            machine.forget(self)
            return reactor.table.next_serial(), self.peer, kind, self.total_in, self.total_out, None
        row = self.make_row()
        row.total_in, row.total_out = self.total_in, self.total_out
        reactor.guard(row, row.settle, reactor.time)
        return None

    def _begin(self, machine: StreamMachine) -> None:
        self.socket.setblocking(False)
        machine.advance()
        if machine.running is not STEADY and not machine.wants_input:
            return
        try:
            data = self.socket.recv(READ_SIZE)
        except AGAIN:
            return
        except OSError as error:
            self.make_row().lose(Reset(error))
            return
        if data:
            self.total_in = len(data)
            if self._row is not None:
                self._row.total_in = self.total_in
            machine.feed(data)
        else:
            machine.end()

    def _send(self, machine: StreamMachine) -> bool:
        """Send the output. Returns whether the kernel has taken all."""
        outbox = machine.outbox
        if not outbox or outbox.__class__ is Files:
            return not outbox
        try:
            self.total_out = self.socket.send(outbox)
        except AGAIN:
            return False
        except OSError as error:
            self.make_row().lose(Reset(error))
            return False
        machine.sent(self.total_out)
        return not machine.outbox

    def _may_close(self) -> bool:
        """Whether a close loses nothing: see `StreamRow._closing`."""
        if not self.total_out or is_done_with(self.socket):
            return True
        try:
            more = self.socket.recv(READ_SIZE)
        except AGAIN:
            return not unacknowledged(self.socket)
        except OSError:
            return True
        self.total_in += len(more)
        return not more

    def make_row(self) -> Any:
        """The row in the table, made if there is none; when the request has ended without one, a `Gone`."""
        if self._row is not None:
            return self._row
        machine, reactor = self._machine, self._reactor
        if machine is None:
            self._row = Gone(self.peer, self.server, self.now)
        else:
            row = self._row = StreamRow.over(machine, reactor, self.server, self.socket, self.peer, self._owner)
            row.total_in, row.total_out = self.total_in, self.total_out
            reactor.adopt(row)
        return self._row

    @property
    def thread(self) -> int:
        """The thread in which the request runs."""
        return self._reactor.thread

    def failed(self, error: BaseException) -> None:
        """The handler has raised ``error``. Called in the ``except`` clause."""
        self.make_row().failed(error)

    def now(self) -> float:
        return self._reactor.clock.time()

    def touched(self) -> None:
        if self._row is not None:
            self._row.touched()  # without a row, `run` looks at the machine when the handler has run

    def __getattr__(self, name: str) -> Any:
        return getattr(self.make_row(), name)  # whatever else the machine may ask of its driver
