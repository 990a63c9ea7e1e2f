"""How the command ends: SIGINT, SIGTERM and SIGHUP, and the children and threads that must not outlive their parent.

What a process does on a signal is its own affair, so nothing here is for those who serve from a
program of theirs: those have `Reactor.stop`, `BaseServer.shutdown` and ``KeyboardInterrupt``.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

from .. import BaseServer, Reactor, handlers
from ..loop import children  # noqa: F401 - so that nothing is imported in the end, when descriptors may be short
from ..loop.timers import nothing
from ..servers.kinds import is_kind
from ..table.table import log_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import FrameType
    from typing import Any

    from ..table.request import Request

GRACE = 2.0
"""Seconds that a request has to end once it has been told to, before it is ended by force."""

CUT = 3
"""The exit status if requests were cut."""

LULL = 0.2
"""Seconds without a byte after which a connection between messages is not waited for any more."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

HANGUP = getattr(signal, "SIGHUP", 0)
"""The signal of a terminal that goes away."""

_OF_PARENT = (*SIGNALS, HANGUP)
"""What a child must not get while it still has the handlers of its parent."""

LOOK = getattr(signal, "SIGURG", 0)
"""The signal by which a child is told, again and again, that the grace has begun. By default it is ignored."""


class Stopped(KeyboardInterrupt):
    """A signal has come while this process was in a request; no handler's ``except Exception`` holds it up."""


def stop_at_once_on_signals() -> None:
    """Have `SIGNALS` raise `Stopped`, as long as there is nothing that would have to be wound down.

    SIGHUP does what SIGTERM does from now on, unless it is ignored, as under nohup(1), or gets a handler of its own.
    """
    handle_signals(raise_stopped)
    if HANGUP and signal.getsignal(HANGUP) == signal.SIG_DFL:
        signal.signal(HANGUP, as_sigterm)


def as_sigterm(number: int, frame: FrameType | None) -> None:
    """The terminal has gone: by default the process would end here, and leave its children and Unix paths behind."""
    signal.raise_signal(signal.SIGTERM)


def replace_hangup(handler: Any) -> None:
    """Have ``handler`` called for SIGHUP, if `as_sigterm` is."""
    if HANGUP and signal.getsignal(HANGUP) is as_sigterm:
        signal.signal(HANGUP, handler)


def raise_stopped(number: int, frame: FrameType | None) -> None:
    """End what goes on."""
    raise Stopped


class Ending:
    """The end of this process: after the first signal, what is open has `grace` seconds to finish; a second ends it."""

    def __init__(self, reactor: Reactor, grace: float, tell: Callable[[], object]) -> None:
        self.reactor = reactor
        self.grace = grace
        self._tell_begin = tell  # called once, when the grace begins, perhaps in a signal handler
        self.deadline: float | None = None
        """When the grace is over, by ``time.monotonic()``; ``None`` before the first signal."""
        self._signals = count()
        self.is_insisted = False
        """Whether a second signal has come."""
        self.unfinished: list[dict[str, Any]] = []
        """The records of the requests that did not finish."""

    @property
    def cut(self) -> int:
        """How many requests did not finish."""
        return len(self.unfinished)

    @property
    def left(self) -> float:
        """Seconds that are left of the grace."""
        return max(0.0, self.begin() - monotonic())

    def begin(self) -> float:
        """The grace begins, if it has not begun yet. Returns its end."""
        if self.deadline is None:
            self.deadline = monotonic() + self.grace
            self._tell_begin()
        return self.deadline

    def is_first(self) -> bool:
        """A signal has come: whether it is the first. It may have come in the handler of the first."""
        return next(self._signals) == 0 and self.deadline is None

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """A signal has come while the loop runs."""
        if self.is_first():
            self.begin()
            self.reactor.call_soon(nothing)  # wakes it; to stop it would stop the request that begins in this batch
        else:
            self.is_insisted = True
            self.reactor.stop()

    def is_awaited(self) -> bool:
        """Whether the loop is to run on: no signal has come, and there is something to do."""
        return self.deadline is None and self.reactor.busy

    def tell(self, rows: Iterable[Request]) -> None:
        """Log the requests that did not finish, and count them; a connection on which nothing goes on is none."""
        cut = [row.record() for row in rows if not row.lingering and not row.is_between_messages()]
        self.unfinished += log_unfinished(cut, round(self.grace - self.left, 1))

    def taken(self) -> None:
        """No connection is accepted any more."""

    def stop_if_quiet(self) -> None:
        """Stop the loop if nothing is under way on any connection; else have the children look, and look again."""
        if is_quiet(self.reactor.table):
            self.reactor.stop()
        else:
            self.reactor.children.send_signal(LOOK)
            self.reactor.call_later(LULL / 4, self.stop_if_quiet)


def is_quiet(rows: Iterable[Request]) -> bool:
    """Whether nothing is under way on the connections of ``rows``, nor has been for `LULL` seconds."""
    return all(row.is_between_messages() and row.idle() >= LULL for row in rows)


def stop_on_signals(ending: Ending) -> None:
    """Have `SIGNALS` stop the loop. The children that it forks inherit nothing of that."""
    handle_signals(ending.signalled)
    if hasattr(signal, "SIGCHLD"):  # ignored, as the parent may have left it, the kernel would reap the children
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if hasattr(os, "register_at_fork"):
        block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, _OF_PARENT)
        unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, _OF_PARENT)
        os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=forget_signals)


def forget_signals() -> None:
    """In a child: SIGINT and SIGHUP, which a terminal sends to the process group, are for the parent. Unblocks them."""
    signal.signal(signal.SIGINT, do_nothing)  # not SIG_IGN, which a program that the child executes would inherit
    replace_hangup(do_nothing)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_PARENT)


def hold_signals() -> None:
    """Let no signal through any more: while Python ends, its handlers have gone, and one would be the exit status."""
    handle_signals(signal.SIG_IGN)
    replace_hangup(signal.SIG_IGN)


def handle_signals(handler: Any) -> None:
    """Have ``handler`` called for all `SIGNALS`."""
    for number in SIGNALS:
        signal.signal(number, handler)


def do_nothing(number: int, frame: FrameType | None) -> None:
    """Ignore a signal. (Python complains on standard error if ``SIG_IGN`` is set when one is pending.)"""


class Interruptible(BaseServer):
    """A server that does requests in the main thread, its own or a child's: a signal gets it out of them.

    In the command's own process the request has what is left of the grace. A child is told by its parent, with `LOOK`
    when the grace has begun, and with SIGTERM when it is over; SIGINT, which a terminal sends to the whole process
    group, it ignores.

    A state machine's loop is stopped, for an exception in the middle of its work would leave that
    half done. A blocking handler is where no loop can reach it, so the signal raises `Stopped` there.
    In both cases all unwinds: ``finish()`` is called, grandchildren are ended.
    """

    ending: Ending
    _row: Request | None = None
    _is_within = False  # whether a signal, or the timer, is for the request in hand
    _told = False

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._srv.is_framed or self._srv.mode.loop_drives:
            super().process_request(request, client_address)
            return
        with self._interruptible(request):  # between the requests of the connection too, each of which is finished
            super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._row is not None:
            super().finish_request(request, client_address)
        elif self.reactor.is_child:
            self._row = self._srv.hand.find(request)
            self._is_within = True
            signal.signal(signal.SIGTERM, self._end)
            if LOOK:
                signal.signal(LOOK, self._end_if_quiet)
            super().finish_request(request, client_address)
        else:
            with self._interruptible(request):
                super().finish_request(request, client_address)

    @contextmanager
    def _interruptible(self, request: Any) -> Iterator[None]:
        """A context in which signals are for ``request``."""
        try:
            try:
                self._row = self._srv.hand.find(request)
                self._is_within = True
                handle_signals(self._signalled)
                if self.ending.deadline is not None:
                    self._wait_on(0, None)
                yield
            finally:
                self._leave()
        except Stopped:  # a signal may have come in `_leave`
            self._leave()
            raise

    def _leave(self) -> None:
        """The request is over. A timer that stayed would end the process by SIGALRM while Python ends."""
        self._is_within = False
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        handle_signals(self.ending.signalled)
        self._row = None

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if not self._is_within:
            self.ending.signalled(number, frame)
        elif self.ending.is_first():
            self._wait_on(number, frame)
        else:
            self.ending.is_insisted = True
            self._end(number, frame)

    def _wait_on(self, number: int, frame: FrameType | None) -> None:
        """End the request when the grace is over, or before, when nothing is under way on its connection."""
        left = self.ending.left
        self._end_if_quiet(number, frame)
        if not self._told:
            self._set_timer(self._wait_on if left > LULL / 4 else self._end, min(left, LULL / 4))

    def _end_if_quiet(self, number: int, frame: FrameType | None) -> None:
        if self._row is not None and not self._told and is_quiet([self._row]):
            self._end(number, frame)

    def _end(self, number: int, frame: FrameType | None) -> None:
        """End the request; interrupt what still goes on after `GRACE` seconds.

        A state may block although it shouldn't; so may ``finish()``, which flushes a buffered ``wfile``.
        """
        if self._row is not None and not self._told and not self.reactor.is_child:
            self.ending.tell([self._row])
        self._told = True
        self.reactor.stop()
        self._set_timer(self._interrupt, GRACE)
        if not self._is_driven_by_loop():
            self._interrupt(number, frame)

    def _is_driven_by_loop(self) -> bool:
        """Whether a loop drives the request at the moment, and no blocking handler runs."""
        if self._srv.is_framed:
            return not self._srv.hand.is_within_answer
        return is_kind(self.RequestHandlerClass, handlers.Handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        handle_signals(do_nothing)
        raise Stopped

    def _set_timer(self, call: Callable[[int, FrameType | None], None], seconds: float) -> None:
        def is_due(number: int, frame: FrameType | None) -> None:
            if self._is_within:
                call(number, frame)

        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, is_due)
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))


def finish(servers: Sequence[BaseServer], ending: Ending) -> None:
    """Take what the kernel has completed, then run the loop until all has finished, or the grace is over."""
    reactor = ending.reactor
    seconds = 0.0 if ending.is_insisted else ending.left
    for server in servers:
        server._srv.serving.begin_to_drain(seconds)
    ending.taken()
    for port in list(reactor.sources.values()):
        port.finish()
    reactor.call_soon(ending.stop_if_quiet)
    reactor.call_later(seconds, reactor.stop)
    reactor.run_while(lambda: bool(reactor.table))
    ending.tell(reactor.table)


def wind_down(servers: Sequence[BaseServer], ending: Ending) -> None:
    """Let requests finish until the grace is over; end those that are left, those in children and threads too."""
    reactor = ending.reactor
    try:
        finish(servers, ending)
    except Stopped:
        ending.tell(reactor.table)
    forked = reactor.children
    forked.send_signal(signal.SIGTERM)
    for server in servers:
        server.server_close()
    deadline = monotonic() + GRACE
    while monotonic() < deadline and not ending.is_insisted:
        if not len(forked) and not any(row.channel is not None for row in reactor.table):
            break
        reactor.step(0.02)  # bounded: a thread that ends doesn't wake it
    forked.kill_all()
    reactor.close()
