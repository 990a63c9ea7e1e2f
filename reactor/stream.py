"""Readiness of a stream socket ↔ the machine of its row.

A row reads once for each readiness, and one system call takes all output that a read has caused:
send first, ask for writability only for what is left. Readiness is a hint; a call that would
block after all changes nothing.
"""

from __future__ import annotations

import socket
from selectors import EVENT_READ, EVENT_WRITE

from handlers import Reset, StreamMachine
from handlers.machines import ENDED, ENDING

from .table import LOOP, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handlers import StreamHandler

    from .loop import Reactor

READ_SIZE = 65_536
"""Bytes that one read of one row may take before the other rows have their turn."""

AGAIN = (BlockingIOError, InterruptedError)
"""What says that a call would have blocked, or was interrupted: nothing has happened, try later."""


class StreamRow(Request):
    """The row of a connected stream socket."""

    __slots__ = ("mask", "socket")
    machine: StreamMachine

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
        if machine.outbox:
            self._flush(now)
        if machine.blocked:
            machine.advance()
        if machine.fresh:
            self.took_turn(now)
        mask = EVENT_READ if machine.wants_input else 0
        if machine.outbox:
            mask |= EVENT_WRITE
        elif machine.output == ENDING or machine.finished:
            self._output_ended()
        if mask != self.mask:
            self.reactor.table.want(self, mask)

    def _flush(self, now: float) -> None:
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
            if machine.finished:
                self.deadline = now + machine.patience  # it still takes what it is sent: more time for the rest
        self.check_output()

    def _output_ended(self) -> None:
        """All that the handler has to say has been sent."""
        if self.machine.finished:
            self.reactor.end(self)
        else:
            self.machine.output = ENDED
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError as error:
                self.drop(Reset(error))
