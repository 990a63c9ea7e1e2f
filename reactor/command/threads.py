"""``--threads N``: the command with several loops, each in a thread, and one table.

The loops share what the workers of ``--workers`` share: one listener (`servers.sharing`), and a datagram socket each.
Each loop runs inside the loop of the main thread, which only hears signals, so that loop's table has the rows of all.
What several connections use is used by several threads here. ``max_requests`` holds for each thread, and
``max_per_peer`` may be passed by as many connections as there are threads, which look at the same time. Only a
free-threaded Python (PEP 703) runs the threads on several cores at once; with the global interpreter lock they take
turns, and two are slower than one. On CPython 3.13.5, free-threaded, two threads answer 1.6 times as many lines as one
where these are only sent back, and 1.8 times where each is work (``python3 -m tests.benchmarks.workers``).
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from array import array
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .. import Reactor
from ..loop.timers import nothing
from ..modes.prefork import spread
from ..servers.last import NoNewHandshakes
from ..servers.sharing import ABSENT, share_listeners
from .errors import say
from .places import on_sockets
from .stopping import CUT, GRACE, Ending, handle_signals, wind_down
from .terminal import is_terminal, overwrite, show_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any

    from .. import TCPServer
    from .notify import Notifier
    from .places import Place
    from .workers import MakeServers

IDLE = 3600.0
"""Seconds after which the main thread looks around, if no signal comes."""


class Threads:
    """So many loops in threads, which serve at ``places``; the arguments are those of `workers.Parent`."""

    def __init__(
        self, count: int, places: Sequence[Place], grace: float, bind: Callable[[Place, int], Any], make: MakeServers,
        notifier: Notifier,
    ) -> None:  # fmt: skip
        self._grace = grace
        self._notifier = notifier
        self.reactor = Reactor()
        handle_signals(self._at_end)
        self._error: BaseException | None = None
        self._counts = memoryview(array("q", [ABSENT] * count))
        self._endings: list[ThreadEnding] = []
        self._taking = self._running = count
        self._when_taken = ExitStack()
        with ExitStack() as made:
            made.callback(self.reactor.close)
            self.sources = [made.enter_context(bind(place, count)) for place in places]
            """The servers that have bound the sockets."""
            for source in self.sources:
                self.reactor.descriptors.add(source._srv)  # a child that a handler forks closes its copies
            spreads = [
                _sockets(source, place, count) for source, place in zip(self.sources, places, strict=True)
            ]  # fmt: skip
            for number in range(count):
                ending = ThreadEnding(Reactor(outer=self.reactor), grace, self._one_has_taken)
                ending.reactor.threaded = True
                self._endings.append(ending)
                own = on_sockets(places, (socks[number] for socks in spreads))
                ending.servers = make(own, ending)
                share_listeners(ending.servers, self._counts, number)
            self._until_end = made.pop_all()

    @property
    def servers(self) -> list[TCPServer]:
        """The servers of all threads."""
        return [server for ending in self._endings for server in ending.servers]

    def run(self) -> int:
        """Serve until a signal. Returns how many requests were cut."""
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if hasattr(signal, "SIGUSR1") and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, self._at_question)
        threads = [threading.Thread(target=self._serve, args=(ending,), daemon=True) for ending in self._endings]
        with self._until_end:
            for thread in threads:
                thread.start()
            self._notifier.ready(self.reactor)
            if is_terminal():
                self._until_end.callback(overwrite, "")
                show_table(self.reactor)
            self._look_around()
            self.reactor.run_while(lambda: self._running > 0)
            for thread in threads:
                thread.join(GRACE)
        if self._error is not None:
            raise self._error
        return sum(ending.cut for ending in self._endings)

    def _look_around(self) -> None:
        self.reactor.call_later(IDLE, self._look_around)

    def _serve(self, ending: ThreadEnding) -> None:
        """In a thread: serve to the end."""
        try:
            ending.reactor.run_while(ending.is_awaited)
        except BaseException as error:
            self._error = error
            self.reactor.call_soon(self._end)
        finally:
            wind_down(ending.servers, ending)
            self.reactor.call_soon(self._one_has_ended)

    def _at_question(self, number: int, frame: FrameType | None) -> None:
        self.reactor.call_soon(lambda: say(f"{self.reactor.table}\n"))

    def _at_end(self, number: int, frame: FrameType | None) -> None:
        self.reactor.call_soon(self._end)

    def _end(self) -> None:
        """A signal: the first has the threads finish what is open, a second has them end at once."""
        if self._endings[0].deadline is None:
            self._notifier.stopping()
            for source in self.sources:
                self._when_taken.enter_context(NoNewHandshakes(source.socket))
            self.reactor.call_later(self._grace + 2 * GRACE, self._give_up)
        for ending in self._endings:
            ending.signalled(0, None)

    def _give_up(self) -> None:
        """A handler blocks its thread, which nothing can interrupt."""
        say("python3 -m reactor serve: a handler blocks its thread; the process ends\n")
        os._exit(CUT)

    def _one_has_taken(self) -> None:
        self.reactor.call_soon(self._count_taken)

    def _count_taken(self) -> None:
        self._taking -= 1
        if not self._taking:
            self._when_taken.close()
            for source in self.sources:
                source._srv.close_socket()

    def _one_has_ended(self) -> None:
        self._running -= 1


class ThreadEnding(Ending):
    """The end of one thread."""

    servers: Sequence[TCPServer] = ()

    def __init__(self, reactor: Reactor, grace: float, taken: Callable[[], object]) -> None:
        super().__init__(reactor, grace, nothing)
        self._taken = taken

    def taken(self) -> None:
        self._taken()


def _sockets(source: Any, place: Place, count: int) -> list[socket.socket | None]:
    """The sockets of so many threads: copies of the listener, or datagram sockets, of which some may be missing."""
    if source.socket_type != socket.SOCK_DGRAM:
        return [source.socket.dup() for _ in range(count)]
    found: list[socket.socket | None] = [source.socket]
    if not isinstance(place.address, socket.socket):
        found = list(spread(source, count, source.server_bind))
    return found + [None] * (count - len(found))
