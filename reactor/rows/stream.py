"""`StreamRow`: the row of a connection. It reads for its channel, sends what the channel has, and lingers at the end.

The selector calls `StreamRow.ready`; the reactor calls `StreamRow.settle` for a row that anything else has touched. A
row reads once for each event. It sends the output in the same batch (`Loop.unsent`), and waits for
EVENT_WRITE only with what the kernel has not taken. An event is a hint: if the read or the send would block all the
same, nothing changes.
"""

from __future__ import annotations

import socket
from functools import cache
from selectors import EVENT_READ, EVENT_WRITE

from ..handlers import Cancelled, Cause, Failed, LimitPassed, RequestRefused, Reset, StreamMachine
from ..handlers.channel import ENDED, ENDING, is_between_messages
from ..handlers.files import Files
from ..handlers.machines import close_files
from ..loop.descriptors import close_passed
from ..loop.kernel import AGAIN, INET, credentials
from ..loop.selecting import EVENT_HANGUP, EVENT_URGENT
from ..table.request import CALLER, LOOP
from .copying import send_files
from .driven import DRAINING, LINGERING, SERVING, SocketRow
from .hangup import hangup
from .lingering import LINGER, LOOK, Acknowledgement, unacknowledged
from .relaying import begin_relay
from .urgent import at_mark, hears_urgent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..handlers import StreamHandler
    from ..table.reactor import Reactor
    from ..table.request import DrivenBy, Owner

LULL = 0.2
"""Seconds that a drain leaves a new connection to send its first byte."""

READ_SIZE = StreamMachine.read_size
"""Bytes that a row reads at most before the other rows have their turn; a filter may read some more."""

BULK_SIZE = 262_144
"""The same, after a read that was full, for a wait that takes more than `READ_SIZE` at once."""

SMALL = 4_096
"""Bytes of output that wait for the output of other rows of the batch, to be sent with it. More is sent at once."""

VAIN = 64
"""Full reads until a larger one is tried again, after one that was no larger."""


@cache
def keep_blocks() -> None:
    """Have glibc keep blocks of `BULK_SIZE` on its heap, instead of mapping and unmapping pages for each read.

    It does so when the first block of at least that size has been freed: see M_MMAP_THRESHOLD in ``mallopt(3)``.
    """
    bytes(2 * BULK_SIZE)


class StreamRow(SocketRow):
    """The row of a connected stream socket."""

    __slots__ = ()

    def __init__(
        self, reactor: Reactor, server: Any, sock: socket.socket, peer: Any, handler: StreamHandler, owner: Owner,
        filters: Sequence[Callable[[Any], Any]] = (), driven_by: DrivenBy = CALLER,
    ) -> None:  # fmt: skip
        super().__init__(reactor, server, sock, peer, owner, driven_by)
        self.channel = StreamMachine(handler, self)
        if filters:
            from ..handlers.filter import chain  # here, because most servers have no filters

            self.channel = chain(self.channel, filters)

    @classmethod
    def over(
        cls, machine: StreamMachine, reactor: Reactor, server: Any, sock: socket.socket, peer: Any, owner: Owner
    ) -> StreamRow:
        """The row of a connection whose request ``machine`` runs already; the loop drives it."""
        row = cls.__new__(cls)
        SocketRow.__init__(row, reactor, server, sock, peer, owner, LOOP)
        row.credentials = credentials(sock)
        row.channel = machine
        machine.driver = row
        return row

    def close_copy(self) -> None:
        super().close_copy()
        if self.channel is not None and not isinstance(self.channel.handler, type):
            close_files(self.channel.handler._machine.outbox)

    def forget(self) -> None:
        super().forget()
        if self.channel is not None:
            self.channel.driver.socket = self.socket

    @property
    def is_cut(self) -> bool:  # type: ignore[override]
        """Whether the peer lacks output that was dropped, or that a close now would drop: see `kernel.shut_down`."""
        channel = self.channel
        return channel is not None and (channel.is_cut or bool(channel.outbox))

    def is_between_messages(self) -> bool:
        try:
            return self.stage is SERVING and not self.channel.finished and is_between_messages(self.channel)
        except AttributeError:  # the row has no channel: a child has it, or the row's thread has just released it
            return False

    def end_if_idle(self) -> None:
        if not self.is_between_messages() or not self.channel.handler.ends_when_idle:
            return
        if not self.total_out and self.idle() < LULL:
            return  # the connection is new: its first request may be on its way
        self.reactor.guard(self, self.ready, EVENT_READ, self.reactor.time)  # what the kernel has is under way, too
        self.reactor.send_answers(self.reactor.time)
        if self.is_between_messages() and self in self.reactor.table:
            self.cancel(Cancelled("the server drains, and nothing is under way"))

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that have been received and not been taken; only a `PassingSocket` receives some."""
        return getattr(self.socket, "descriptors", [])

    def pass_on(self, descriptors: Sequence[int]) -> None:
        """Send ``descriptors`` with the next byte that is written."""
        pass_on = getattr(self.socket, "pass_on", None)
        if pass_on is None:
            raise RuntimeError(
                f"{self.handler} can't pass descriptors here: declare max_descriptors on the class, "
                f"and serve it on a Unix stream socket"
            )
        if self.channel.finished:
            close_passed(descriptors)
            return
        try:
            outbox = self.channel.outbox
            pass_on(len(outbox) if outbox.__class__ is Files else self.held_out, descriptors)
        except LimitPassed as passed:
            self.reactor.call_soon(self.lose, passed)  # not now: another row's state may be the caller

    def start(self) -> None:
        """Let the handler begin."""
        try:
            self.socket.setblocking(False)
        except OSError as error:  # a hook of the server has closed the socket
            self.lose(Reset(error))
        else:
            self.channel.advance()

    def ready(self, events: int, now: float) -> None:
        """The selector reports ``events`` of the socket: read once, let the handler run, and send.

        The hot path is that of a row which is settled, serves, reads only, holds no bytes and has no `Pace`. The mask
        of such a row is right: if EVENT_READ is all that is reported, the channel wants input. If the channel says that
        only the output and the wait have changed (`StreamChannel.feed`), the row sets the deadline of the new wait and
        sends the output, a small one together with that of other rows. Else `settle` looks at everything.
        """
        channel, rare = self.channel, self.rare
        is_plain = (
            events == EVENT_READ == self.mask and self.stage is SERVING and not (self.unsettled or self.counted)
            and (rare is None or (rare.pace is None and rare.relay is None))
        )  # fmt: skip
        if not is_plain and not self._may_read(events, now):
            return
        try:
            data = self.socket.recv(channel.read_size if rare is None or rare.bulk <= 0 else self._bulk_size())
        except AGAIN:
            pass
        except OSError as error:
            self.lose(Reset(error))
        except LimitPassed as passed:  # of descriptors
            self.lose(passed)
        else:
            if data:
                self.progress = now
                size = len(data)
                self.total_in += size
                if size >= READ_SIZE or (rare is not None and rare.bulk > 0):
                    self._note_bulk(size)
                patience = channel.feed(data)
                if patience is not None and is_plain:
                    channel.fresh = False
                    self.deadline = deadline = now + patience
                    if deadline < self.armed:
                        self.reactor.timers.arm(self)
                    outbox = channel.outbox
                    if outbox:
                        if len(outbox) <= SMALL:
                            self.reactor.unsent.append(self)
                        else:
                            self.send(now)
                    return
            else:
                channel.end()
        self._has_read(now)

    def send(self, now: float) -> None:
        """Send the output of a row that was settled but for that. If more is to be done now, settle the row.

        It is, if the kernel does not take all, or if the row was settled while the output waited, and watches for more
        than input since.
        """
        channel = self.channel
        if channel.outbox and not (self.flush(now) and self.mask == EVENT_READ and not channel.blocked):
            self.settle(now)

    def _bulk_size(self) -> int:
        """Bytes to read after a read that was full: what the wait takes at once. A filter has a size of its own."""
        channel = self.channel
        size: int = channel.read_size
        return size if size != READ_SIZE else max(size, min(getattr(channel.wait, "limit", 0), BULK_SIZE))

    def _note_bulk(self, size: int) -> None:
        """Take note of a read of ``size`` bytes that was full, or that could have been larger."""
        rare = self.rare
        if rare is not None and rare.bulk > 0:
            if size <= READ_SIZE:
                rare.bulk = -VAIN if size == READ_SIZE else 0  # messages of just that size are usual
        elif rare is not None and rare.bulk < 0:
            rare.bulk += 1
        elif self._bulk_size() > READ_SIZE:
            self.make_rare().bulk = 1
            keep_blocks()

    def _has_read(self, now: float) -> None:
        """The channel has been given what was read, and something other than its output and its wait has changed."""
        channel = self.channel
        if channel.wait is not None and channel.wait.relays:
            begin_relay(self)
        if channel.blocked:  # if it waits for the output of another row, that row is settled first, in this batch
            self.touched()
        elif not self.unsettled:
            self.settle(now)

    def _may_read(self, events: int, now: float) -> bool:
        """Whether input is to be read, now that the selector reports ``events``. If not, the row is settled."""
        rare = self.rare
        if rare is not None and rare.relay is not None and events == EVENT_READ and rare.relay(self, now):
            return False
        if events & EVENT_HANGUP:
            self._hung_up()
        if self.unsettled and self.channel.blocked:
            self.settle(now)  # another row of this batch may have sent the output that it waits for
        if events & EVENT_READ and self.channel.wants_input:
            return True
        self.settle(now)
        return False

    def resting(self) -> int:
        """The events to watch for while the channel wants no input."""
        is_hung_up = self.rare is not None and self.rare.is_hung_up
        if is_hung_up or self.channel.output is ENDED:  # the selector would report the hang-up again and again
            return 0
        return self.reactor.interest.events & EVENT_HANGUP

    def _hung_up(self) -> None:
        """The peer has reset the connection or closed its socket: end the row, unless input is left to be read."""
        try:
            error = hangup(self.socket, has_begun=True)
        except AGAIN:
            return
        if error is None:
            self.make_rare().is_hung_up = True
        else:
            self.lose(Reset(error))

    def settle(self, now: float) -> None:
        channel = self.channel
        self.go_on(now)
        mask = EVENT_READ if channel.wants_input else self.resting()
        if channel.outbox:
            mask = (mask | EVENT_WRITE) & ~EVENT_HANGUP  # after a hang-up the socket is reported as writable
        elif channel.wait is None:
            mask = self._closing(now)
        elif channel.output is ENDING:
            try:
                self._end_output()
            except OSError as error:
                self.lose(Reset(error))
            mask &= ~EVENT_HANGUP  # see resting()
        if mask != self.mask:
            self.watch_for(mask)

    def flush(self, now: float) -> bool:
        """Send as much output as the kernel takes. Returns whether it has taken all."""
        channel = self.channel
        outbox = channel.outbox
        size = len(outbox)
        try:
            count = send_files(self.socket, outbox) if outbox.__class__ is Files else self.socket.send(outbox)
        except AGAIN:
            count = 0
        except Failed as failed:  # a file is too short, or can't be read
            self.lose(failed)
            return False
        except OSError as error:
            self.lose(Reset(error))
            return False
        except BaseException:  # a signal handler raised: what was sent is not known, and must not be sent twice
            channel.drop_output()
            raise
        if count:
            self.progress = now
            self.total_out += count
            is_plain = outbox.__class__ is bytes and channel.__class__ is StreamMachine and not channel.followers
            if count == size and is_plain:
                channel.outbox = None  # what `sent` does, without the call
            else:
                channel.sent(count)
            if self.stage is DRAINING:
                self.took_some(count, now)
        if count < size:
            self.check_output()
        return count == size

    def _end_output(self) -> None:
        self.channel.end_output()
        self.socket.shutdown(socket.SHUT_WR)

    def _closing(self, now: float) -> int:
        """The request has ended and its output is sent: end the row, or let it linger. Returns the events to watch for.

        close(2) resets a connection whose peer still sends, and output that the peer has not acknowledged is lost then.
        So a row lingers until the peer has ended the stream or acknowledged all output; `lingering` bounds the time.
        """
        channel = self.channel
        if not channel.complete:  # a filter has more output; other rows have their turn first
            self.touched()
            return 0
        if channel.ended or channel.is_cut or not self.total_out:
            self.reactor.end(self)
            return 0
        taken = self._drop_input()
        if taken == 0:
            self.reactor.end(self)
            return 0
        if self.stage is not LINGERING:
            awaited = 0
            if taken is None and not isinstance(self.channel.reason, (LimitPassed, RequestRefused)):
                awaited = unacknowledged(self.socket)
                if not awaited:
                    self.reactor.end(self)
                    return 0
            try:
                self._end_output()
            except OSError:  # the peer has gone
                self.reactor.end(self)
                return 0
            self.stage = LINGERING
            self.deadline = now + LINGER
            if awaited:
                self.make_rare().acknowledgement = Acknowledgement(awaited, now)
                self.deadline = now
            self.reactor.timers.arm(self)
        return EVENT_READ

    def expire(self, now: float) -> None:
        awaited = None if self.rare is None else self.rare.acknowledgement
        if self.stage is LINGERING and awaited is not None and awaited.is_due(self.socket, now):
            self.deadline = now + LOOK
            self.reactor.timers.arm(self)
        else:
            super().expire(now)

    def _drop_input(self) -> int | None:
        """Read and drop input. Returns its size in bytes, 0 at the end of the stream, ``None`` if nothing has come."""
        try:
            data = self.socket.recv(READ_SIZE)
        except AGAIN:
            return None
        except (OSError, LimitPassed):
            return 0
        self.total_in += len(data)
        return len(data)


def tune(sock: socket.socket, keepalive: float = 60, user_timeout: float = 120) -> None:
    """Set the options of a TCP socket; connections inherit them from their listener. Does nothing for other sockets.

    The kernel sends at once (``TCP_NODELAY``), because a row sends all output of a turn in one call. It probes an idle
    peer after ``keepalive`` seconds, and gives up a peer that acknowledges nothing for ``user_timeout`` seconds.
    """
    if sock.family not in INET:
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
                pass  # the host defines the option, but does not support it


class UrgentRow(StreamRow):
    """The row of a stream socket whose handler takes urgent data. Urgent data is read even if no input is wanted."""

    __slots__ = ("early",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.early = False
        """Whether urgent data can't be read yet, because the network has lost bytes in front of it."""

    def resting(self) -> int:
        channel = self.channel
        hears = self.reactor.interest.events & EVENT_URGENT
        if not hears or channel.finished or channel.ended or channel.held_in >= READ_SIZE:
            return super().resting()
        return EVENT_READ if self.early else EVENT_URGENT

    def ready(self, events: int, now: float) -> None:
        if events & EVENT_HANGUP:
            self._hung_up()
        if events & EVENT_URGENT or (events & EVENT_READ and (self.early or self.channel.wants_input)):
            self.early = not self._read(now) and bool(events & EVENT_URGENT)
        self.settle(now)

    def _read(self, now: float) -> bool:
        """Read up to the mark, if there is one, and the urgent byte behind it. Returns whether anything was read."""
        sock, channel = self.socket, self.channel
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
            channel.urgent(data, before)
        elif before:
            channel.feed(before)
        elif ended:
            channel.end()
        if cause is not None:
            self.lose(cause)
        return True


def stream_row(
    reactor: Reactor, server: Any, sock: socket.socket, peer: Any, handler: StreamHandler, owner: Owner,
    filters: Sequence[Callable[[Any], Any]] = (), driven_by: DrivenBy = CALLER,
) -> StreamRow:  # fmt: skip
    """Make the row for a connection: an `UrgentRow` if the handler takes urgent data and the socket can tell it."""
    kind = UrgentRow if hears_urgent(type(handler), sock) else StreamRow
    row = kind(reactor, server, sock, peer, handler, owner, filters, driven_by)
    row.credentials = credentials(sock)
    return row
