"""How the command ends: SIGINT and SIGTERM, and the children and threads that must not outlive their parent.

What a process does on a signal is its own affair, so nothing here is for those who serve from a
program of theirs: those have `Reactor.stop`, `BaseServer.shutdown` and ``KeyboardInterrupt``.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from .. import BaseServer, Reactor, handlers
from ..servers.kinds import is_kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import Any

GRACE = 2.0
"""Seconds that a request has to end after a signal, before it is ended by force."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal has come while this process was in a request; no handler's ``except Exception`` holds it up."""


def stop_at_once_on_signals() -> None:
    """Have `SIGNALS` raise `Stopped`, as long as there is nothing that would have to be wound down."""
    handle_signals(raise_stopped)


def raise_stopped(number: int, frame: FrameType | None) -> None:
    """End what goes on."""
    raise Stopped


def stop_on_signals(reactor: Reactor) -> None:
    """Have `SIGNALS` stop the loop. The children that it forks inherit nothing of that."""
    handle_signals(lambda number, frame: reactor.stop())
    if hasattr(signal, "SIGCHLD"):  # ignored, as the parent may have left it, the kernel would reap the children
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if hasattr(os, "register_at_fork"):
        # Blocked meanwhile, or a child could be told to end while it still has its parent's handler.
        block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, SIGNALS)
        unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, SIGNALS)
        os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=forget_signals)


def forget_signals() -> None:
    """In a child: let signals do what they do by default, and unblock them."""
    handle_signals(signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ignore_signals() -> None:
    """The end is on its way, and no further signal changes that."""
    handle_signals(do_nothing)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)  # see Interruptible


def hold_signals() -> None:
    """Let no signal through any more: while Python ends, its handlers have gone, and one would be the exit status."""
    handle_signals(signal.SIG_IGN)


def handle_signals(handler: Any) -> None:
    """Have ``handler`` called for all `SIGNALS`."""
    for number in SIGNALS:
        signal.signal(number, handler)


def do_nothing(number: int, frame: FrameType | None) -> None:
    """Ignore a signal. (Python complains on standard error if ``SIG_IGN`` is set when one is pending.)"""


class Interruptible(BaseServer):
    """A server that does requests in the main thread, its own or a child's: a signal gets it out of them.

    A state machine's loop is stopped, for an exception in the middle of its work would leave that
    half done. A blocking handler is where no loop can reach it, so the signal raises `Stopped` there.
    In both cases all unwinds: ``finish()`` is called, grandchildren are ended.
    """

    _told = False

    def finish_request(self, request: Any, client_address: Any) -> None:
        before = signal.getsignal(SIGNALS[0])
        try:
            handle_signals(self._stop if is_kind(self.RequestHandlerClass, handlers.Handler) else self._interrupt)
            super().finish_request(request, client_address)
            if self._told:
                raise Stopped  # the caller would take the next request
        finally:
            handle_signals(before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._insist()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        handle_signals(do_nothing)
        self._insist()
        raise Stopped

    def _insist(self) -> None:
        """Take note, and interrupt what still goes on after `GRACE` seconds.

        A state may block although it shouldn't; so may ``finish()``, which flushes a buffered ``wfile``.
        """
        self._told = True
        self.reactor.stop()
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._interrupt)
            signal.setitimer(signal.ITIMER_REAL, GRACE)


def wind_down(reactor: Reactor, servers: Sequence[BaseServer]) -> None:
    """End all requests: those of children and threads have `GRACE` seconds for it."""
    children = reactor.children
    children.send_signal(signal.SIGTERM)
    for server in servers:
        server.server_close()
    deadline = monotonic() + GRACE
    while monotonic() < deadline and (len(children) or any(row.channel is not None for row in reactor.table)):
        reactor.step(0.02)  # bounded: a thread that ends doesn't wake it
    children.kill_all()
    reactor.close()
