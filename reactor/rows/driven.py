"""`ChannelRow`: what the rows of streams, packets and calls have in common, and `CallRow`, the row of a call.

`SocketRow` is what the rows with a socket of their own have in common.

The channel of a row runs its handler. Input comes by `ready`, or from the object that made the row. A turn ends with
`settle`: it sends the output and sets the selector and the timers to what the channel now wants. Nothing is closed in
this module: `Reactor.end` marks the row, and the reactor releases it after the batch.
"""

from __future__ import annotations

from _thread import get_ident

from ..handlers import Cancelled, DatagramMachine, Failed, Flushed, Reset, TimedOut, World
from ..handlers.causes import output_passed
from ..loop.descriptors import close_passed
from ..table.bounds import Pace, cut
from ..table.request import Request, Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..handlers import Cause, DatagramHandler
    from ..table.reactor import Reactor
    from ..table.request import DrivenBy, Owner, Rare

OPENING, SERVING, DRAINING, LINGERING = Stage.OPENING, Stage.SERVING, Stage.DRAINING, Stage.LINGERING

DRAIN_RATE = 500
"""Bytes per second that the peer of a request that has ended must take of what is left to send."""

DRAINED = Flushed()
"""The wait with which a call follows its parent's output, while the parent has no room for the call's answers."""

UNWEIGHED = 65_536
"""Bytes that other rows may write to a row in one batch before they are counted in the reactor's budget."""

FACTS = "principal", "secured", "peer_certificate", "alpn", "proxy_header", "left"
"""Attributes of a row that filters and mix-ins set."""


def hand_on(rare: Rare, to: Any) -> None:
    """Set the facts of ``rare`` on ``to``, which is another driver."""
    for name in FACTS:
        setattr(to, name, getattr(rare, name))


class Gone(World):
    """The driver of a machine whose row has been released."""

    def pass_on(self, descriptors: Sequence[int]) -> None:
        """Close them: they can't be sent any more."""
        close_passed(descriptors)


class ChannelRow(Request):
    """A row whose handler is run by a channel: a machine, or the outermost filter in front of one."""

    turns = 256
    """Pieces of input that the handler takes before the other rows have their turn."""

    plain = False
    """See `handlers.handler.Driver`."""

    __slots__ = ()
    channel: Any

    @property
    def pace(self) -> Pace | None:
        """The time limits that the handler's class declares beyond the timeouts of waits; ``None`` if it has none."""
        return None if self.rare is None else self.rare.pace

    # What the channel asks of the row: see `handlers.handler.Driver`

    def touched(self) -> None:
        """Output or an end has come from outside the row's own states: settle the row at the end of the batch.

        May be called from another thread.
        """
        if not self.unsettled:
            self.reactor.settle_soon(self)
        elif get_ident() == self.reactor.thread and self.channel.held_out > self.counted + UNWEIGHED:
            self.reactor.budget.count(self, self.held_in + self.held_out, cut)  # another row's state runs

    def rest(self) -> None:
        """The handler has taken `turns` pieces: it goes on in the next batch, even if the row is touched before."""
        self.reactor.rest(self)

    def queue_step(self, step: Callable[[], object]) -> bool:
        """A filter has a costly ``step`` to do. ``False``: the caller does it now; else the reactor calls it later."""
        return self.reactor.steps.enter(self, step)

    def replace(self, channel: Any, inner: Any) -> None:
        """A filter has left the chain, or was put in: the row drives ``inner`` instead of ``channel`` from now on."""
        if self.channel is channel:
            self.channel = inner
            self.touched()

    def call(self, handler: DatagramHandler, packet: bytes, answer: Callable[[bytes], object]) -> None:
        """Begin a call: a request inside this one, with a row of its own."""
        rare = self.make_rare()
        if rare.calls is None:
            rare.calls = Calls(self)
        rare.calls.begin(handler, packet, answer)

    # How it is driven

    def begin(self, reactor: Reactor) -> None:
        """From now on ``reactor`` drives the row."""
        super().begin(reactor)
        pace = Pace.of(self.channel.handler, reactor.time)
        if pace is not None:
            self.make_rare().pace = pace

    def start(self) -> None:
        """Let the handler begin."""
        raise NotImplementedError

    def ready(self, events: int, now: float) -> None:
        """The selector reports ``events``."""

    def settle(self, now: float) -> None:
        """Bring the kernel, the selector and the timers into line with what the channel wants now."""

    def flush(self, now: float) -> object:
        """Hand the kernel as much output as it takes."""

    def go_on(self, now: float) -> None:
        """The first part of `settle`: send, let the handler go on if it was blocked, take note of a new wait."""
        channel = self.channel
        if channel.outbox:
            self.flush(now)
        if channel.blocked and not self.reactor.rests(self):
            channel.advance()
        if channel.fresh:
            self.took_turn(now)
        elif self.rare is not None and self.rare.pace is not None:
            self.deadline = self.rare.pace.look(self, channel, now)
            if self.deadline < self.armed:
                self.reactor.timers.arm(self)
        if channel.inbox or channel.outbox or self.counted:
            self.weigh()
        if self.stage is OPENING:  # a filter that is opening holds the request's output; it is not in the outbox
            self.weigh()
            self.check_output()

    def took_turn(self, now: float) -> None:
        """Take note of the wait that has begun: set the row's deadline and stage, and begin the wait's work outside."""
        channel, reactor = self.channel, self.reactor
        channel.fresh = False
        pace = None if self.rare is None else self.rare.pace
        self.deadline = now + channel.patience if pace is None else pace.begin(self, channel, now)
        is_over = channel.wait is None and not channel.outbox and channel.complete  # then it ends at once
        if self.deadline < self.armed and not is_over:
            reactor.timers.arm(self)
        if reactor.work.jobs:
            reactor.work.forget(self)
        wait, was_opening = channel.wait, self.stage is OPENING
        if wait is None:
            self.stage = DRAINING
            self._end_calls()
            if channel.excess is not None:  # some output was dropped: the peer must not take the rest for all of it
                self.lose(channel.excess)
        else:
            self.stage = OPENING if channel.opening else SERVING
        if was_opening and self.stage is not OPENING:
            self.owner.opened(self)
        if wait is not None and wait.outside:
            reactor.work.begin(self, wait)

    def took_some(self, count: int, now: float) -> None:
        """The peer of a request that has ended has taken ``count`` bytes: it gets more time for the rest."""
        channel = self.channel
        latest = now + channel.patience
        if self.pace is None:
            self.deadline = min(self.deadline + count / DRAIN_RATE, latest)
        else:
            self.deadline = self.pace.took_some(self, channel, count / DRAIN_RATE, latest)

    def expire(self, now: float) -> None:
        """The time of the wait is over; if the request has ended, the time that the peer had to take its output."""
        channel = self.channel
        if self.stage is LINGERING:
            self.reactor.end(self)
        elif channel.fresh:  # the deadline is of a wait that has ended in this batch: `settle` sets that of the new one
            pass
        elif channel.finished:
            self.lose((self.pace and self.pace.passed(self, channel, now)) or TimedOut(Flushed()))
        elif self.pace is None:
            renewed = self.progress + channel.patience if channel.wait.relays else now
            if renewed > now:
                self.deadline = renewed
                self.reactor.timers.arm(self)
            else:
                channel.expire()
        else:
            self.pace.expire(self, channel, now)
        self.settle(now)

    def check_output(self) -> None:
        """End the row if more output waits than its handler allows."""
        channel = self.channel
        if channel.excess is not None or channel.held_out > channel.handler.max_output:
            self.lose(channel.excess or output_passed(channel.handler))

    # How it ends

    def cancel(self, cause: Cause) -> None:
        """End the row for ``cause``: its handler is told, and its output is sent as far as the kernel takes it now."""
        if self.stage is Stage.QUEUED or self.channel is None:  # no handler runs here: it waits, or a child drives it
            super().cancel(cause)
            return
        reactor = self.reactor
        if self.channel.handler._machine.running:  # its own state is the caller: when that has returned
            reactor.call_soon(self._cancel_if_open, cause)
            return
        reactor.guard(self, self.channel.abandon, cause)
        reactor.guard(self, self.settle, reactor.time)
        while self.channel.finished and not (self.channel.outbox or self.channel.complete):  # a filter has more output
            reactor.guard(self, self.settle, reactor.time)
        reactor.end(self)

    def _cancel_if_open(self, cause: Cause) -> None:
        if self in self.reactor.table:
            self.cancel(cause)

    def lose(self, cause: Cause) -> None:
        """End the row for ``cause``: its handler is told, and its output is dropped."""
        if self.stage is Stage.QUEUED or self.channel is None:
            super().lose(cause)
            return
        self.reactor.guard(self, self.channel.lose, cause)
        self.reactor.end(self)

    def failed(self, error: BaseException) -> None:
        """The handler has raised ``error``. Called in the ``except`` clause, for the owner prints the traceback.

        In a child that the handler has forked, ``error`` leaves the loop: the requests are the parent's.
        """
        if self.reactor.is_copy:
            raise error
        self.end_for(error)
        self.owner.failed(self)

    def end_for(self, error: BaseException) -> None:
        """End the row for ``error``. The channel may not know it: work that a state asked for could not be begun."""
        channel = self.channel
        if channel.reason is not error:
            self.error = error
            self.lose(Failed(channel.wait or Flushed(), error))

    def release(self) -> None:
        self._end_calls()
        if self.rare is not None and self.rare.posted is not None:
            self.rare.posted.end()
        super().release()
        self.forget()

    def forget(self) -> None:
        """Break the reference cycles of row, channel and handler. The row still tells how its request has ended."""
        if self.channel is None or isinstance(self.channel.handler, type):
            return
        world = Gone(self.peer, self.server, self.reactor.clock.time, credentials=self.credentials)
        in_front = self.in_front if self.rare is not None or self.channel.labels else ""
        if in_front:
            self.left = (in_front,)
        if self.rare is not None:
            hand_on(self.rare, world)
            self.rare.posted = None
        self.channel = self.channel.forget(world)

    def _end_calls(self) -> None:
        rare = self.rare
        if rare is not None and rare.calls is not None:
            calls, rare.calls = rare.calls, None
            calls.cancel()


class SocketRow(ChannelRow):
    """A row with a connected socket of its own, which the selector watches."""

    __slots__ = ("descriptor", "mask", "socket")

    def __init__(
        self, reactor: Reactor, server: Any, sock: socket.socket, peer: Any, owner: Owner, driven_by: DrivenBy
    ) -> None:
        super().__init__(reactor, server, peer, owner, driven_by)
        self.socket = sock
        self.descriptor = sock.fileno()
        self.mask = 0

    @property
    def request(self) -> socket.socket:
        return self.socket

    def is_stale(self) -> bool:
        """Whether the socket was closed by others, so that its number may be that of another descriptor."""
        return self.socket.fileno() != self.descriptor

    def close_copy(self) -> None:
        self.socket.close()

    def watch_for(self, events: int) -> None:
        """Have the selector watch for ``events`` of the socket. If it can't, the row ends."""
        try:
            self.reactor.interest.want(self, events)
        except (OSError, ValueError) as error:  # the selector is full, or select(2) takes no number so high
            self.lose(Reset(OSError(f"the selector can't watch it: {error}")))


class Calls:
    """The open calls of one request, and the `Owner` of their rows. They end with the request."""

    def __init__(self, parent: ChannelRow) -> None:
        self._parent = parent
        self._open: dict[CallRow, None] = {}

    def begin(self, handler: DatagramHandler, packet: bytes, answer: Callable[[bytes], object]) -> None:
        """Make the row of a call, put it into the table and let its handler begin."""
        row = CallRow(self._parent, self, handler, packet, answer)
        self._open[row] = None
        self._parent.reactor.adopt(row)

    def cancel(self) -> None:
        """The request has ended: end its calls."""
        for row in list(self._open):
            row.cancel(Cancelled("the request of this call has ended"))

    def failed(self, row: Request) -> None:
        self._parent.owner.failed(row)

    def released(self, row: Request) -> None:
        self._open.pop(row, None)  # type: ignore[call-overload]
        self._parent.channel.call_ended()

    def dismiss(self, row: Request, cause: Cause) -> None:
        raise RuntimeError("a call is never queued")

    def opened(self, row: Request) -> None:
        """A call has no filters."""

    def moved(self, row: Request) -> None:
        """A call has the peer of its request."""


class CallRow(ChannelRow):
    """The row of a call: a request inside a parent request, without a descriptor, such as an RPC call (RFC 5531).

    ``answer`` is called with each packet that the handler of the call sends. The call ends at the latest with its
    parent.
    """

    __slots__ = ("_answer", "_first", "_parent")
    is_arrival = False
    channel: DatagramMachine

    def __init__(
        self, parent: ChannelRow, owner: Owner, handler: DatagramHandler, packet: bytes,
        answer: Callable[[bytes], object],
    ) -> None:  # fmt: skip
        super().__init__(parent.reactor, parent.server, parent.peer, owner, parent.driven_by)
        self.channel = DatagramMachine(handler, self)
        if parent.rare is not None:
            hand_on(parent.rare, self)
            self.left = (parent.in_front,) if parent.in_front else ()
            self.credentials = parent.credentials
        self._parent = parent
        self._first = packet
        self._answer = answer

    def start(self) -> None:
        self.total_in += len(self._first)
        self.channel.feed(self._first)

    def settle(self, now: float) -> None:
        self.go_on(now)
        if self.channel.outbox:  # a packet that `flush` left: no event will tell when the parent has room for it
            if self._may_answer():
                self.touched()
        elif self.channel.finished:
            self.reactor.end(self)

    def flush(self, now: float) -> None:
        channel, parent = self.channel, self._parent
        while channel.outbox:
            if parent.channel.finished:  # perhaps because of the last answer
                channel.drop_output()
                return
            if not self._may_answer():
                return
            packet = channel.outbox[0]
            channel.sent()
            self.progress = now
            self.total_out += len(packet)
            parent.reactor.guard(parent, self._answer, packet)

    def _may_answer(self) -> bool:
        """Whether the parent has room for an answer. If not, this row is touched when the parent's output drains."""
        channel = self._parent.channel
        if channel.finished or channel.held_out <= channel.handler.high_water:
            return True
        machine = channel.handler._machine
        if not machine.outbox:
            return True
        machine.follow(self.channel, DRAINED)
        return False
