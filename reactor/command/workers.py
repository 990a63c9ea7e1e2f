"""``--workers N``: the command as the parent of worker processes, and as one of them.

The parent binds the sockets, and never imports the module of the handler: the workers do, each for itself. So SIGHUP
is a rolling restart with the code, the certificate and the files that are there now; the parent need not execute itself
anew, and its sockets and its pid stay. If the new code can't be imported, the workers from before go on. This package
itself is as old as the parent: for a new version of it, restart the command.
"""

from __future__ import annotations

import importlib
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

from .. import Reactor
from ..loop.loop import Loop
from ..loop.timers import nothing
from ..modes.prefork import stop_for_good
from ..modes.supervisor import Supervisor
from ..servers.tcp import is_listening
from .errors import Wrong, say
from .places import on_sockets
from .stopping import Ending, handle_signals, wind_down
from .terminal import is_terminal, line_about, overwrite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from .. import TCPServer
    from ..modes.joined import Joined
    from ..modes.worker import Worker
    from .notify import Notifier
    from .places import Place

    MakeServers = Callable[[Sequence[Place], Ending], list[TCPServer]]

LOOK = 1.0
"""Seconds between two looks at the joined table, where anybody looks at it."""


class ParentLoop(Loop):
    """The loop of the parent."""

    table: range = range(0)
    """As many items as all workers had rows when the parent has last asked."""


class Parent:
    """The parent of ``count`` workers, which serve at ``places``.

    ``bind`` makes a server for the sockets of a place; ``make`` makes the servers of a worker, on its sockets.
    """

    def __init__(
        self, count: int, places: Sequence[Place], grace: float, bind: Callable[[Place, int], Any], make: MakeServers,
        notifier: Notifier,
    ) -> None:  # fmt: skip
        self._places = places
        self._grace = grace
        self._make = make
        self._notifier = notifier
        self._loop = ParentLoop()
        handle_signals(self._at_end)
        self._is_serving = self._is_reloading = False
        with ExitStack() as made:
            self.servers = [made.enter_context(bind(place, count)) for place in places]
            """The servers that have the sockets."""
            self._until_end = made.pop_all()
        self._supervisor = Supervisor(self._loop, count, self._work, grace)
        self._supervisor.on_change = self._look

    def run(self, urls: Sequence[str]) -> int:
        """Serve until a signal, and say that it listens at ``urls``. Returns how many requests were cut.

        Raises `Wrong` if the first workers can't serve.
        """
        self._urls = urls
        supervisor, terminal = self._supervisor, is_terminal()
        self._handle("SIGHUP", lambda: self._loop.call_soon(self._restart))
        self._handle("SIGUSR1", lambda: self._loop.call_soon(supervisor.ask, lambda joined: say(f"{joined}\n")))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            supervisor.start()
            if terminal or self._notifier.is_heard:
                self._ask_again(terminal)
            self._loop.run_while(lambda: not supervisor.is_over)
        finally:
            supervisor.close()
            self._until_end.close()
            self._loop.close()
            if terminal:
                overwrite("")
        if supervisor.problem:
            raise Wrong(supervisor.problem)
        return len(supervisor.unfinished) + supervisor.killed

    def _handle(self, name: str, call: Callable[[], object]) -> None:
        signal.signal(getattr(signal, name), lambda number, frame: call() and None)

    def _at_end(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        """SIGINT or SIGTERM: the first has the workers finish what is open, a second has them end at once."""
        if self._supervisor.stopping:
            self._supervisor.insist()
        else:
            self._notifier.stopping()
            stop_for_good(self._supervisor, self.servers, self._grace)

    def _restart(self) -> None:
        """SIGHUP: replace the workers."""
        self._is_reloading = True
        self._notifier.reloading()
        self._supervisor.restart()

    def _look(self) -> None:
        """Workers have become ready, or have ended."""
        supervisor = self._supervisor
        if self._is_reloading and not supervisor.is_restarting:
            self._is_reloading = False
            self._notifier.reloaded()
        if not self._is_serving and supervisor.is_ready and not supervisor.stopping:
            self._is_serving = True
            self._notifier.ready(cast(Reactor, self._loop))
            for url in self._urls:
                say(f"listening on {url} (select)\n")

    def _ask_again(self, terminal: bool) -> None:
        """Ask for the rows of the workers, now and every `LOOK` seconds."""

        def tell(joined: Joined) -> None:
            stats = joined.stats
            self._loop.table = range(stats["open"])
            if terminal and not self._supervisor.is_over:
                taken, sent = stats.get("total_in", 0), stats.get("total_out", 0)
                overwrite(line_about(stats["open"], taken, sent, joined.oldest))
            self._loop.call_later(LOOK, self._ask_again, terminal)

        self._supervisor.ask(tell, has_rows=False)

    # In a worker

    def _work(self, worker: Worker) -> None:
        """Serve until the worker is told to end."""
        for number in signal.SIGHUP, signal.SIGUSR1:  # which a terminal or a script may send to the process group
            signal.signal(number, lambda number, frame: None)
        importlib.invalidate_caches()  # the parent may have looked for modules before one was there
        own = on_sockets(self._places, [server._srv.mode.take_socket(worker.number) for server in self.servers])
        ending = WorkerEnding(Reactor(), self._grace, worker)
        try:
            ending.servers = self._make(own, ending)
        except Wrong as wrong:
            worker.wrong(str(wrong))
            return
        worker.serve(ending.reactor, ending.servers)
        worker.ready(ending.drain, ending.insist)
        try:
            ending.reactor.run_while(ending.is_awaited)
        finally:
            wind_down(ending.servers, ending)
            worker.leave(ending.unfinished)


class WorkerEnding(Ending):
    """The end of a worker: what its parent says, instead of signals."""

    servers: Sequence[TCPServer] = ()

    def __init__(self, reactor: Reactor, grace: float, worker: Worker) -> None:
        super().__init__(reactor, grace, nothing)
        self._worker = worker

    def taken(self) -> None:
        self._worker.taken()

    def drain(self, seconds: float, is_last: bool) -> None:
        """What is open has so many seconds to finish; without ``is_last`` other workers serve the sockets."""
        for server in self.servers:
            server._srv.serving.leaves_arrivals = not is_last
        self.grace = seconds
        self.signalled(0, None)

    def insist(self) -> None:
        """End at once."""
        self.begin()
        self.is_insisted = True
        self.reactor.stop()


def listen(server: Any, count: int, backlog: int) -> Any:
    """Bind the sockets of a server in prefork mode for so many workers, and let clients connect. Returns the server."""
    try:
        server.workers = count
        server.server_bind()
        if server.socket_type == socket.SOCK_STREAM and not is_listening(server.socket):
            server.socket.listen(backlog)
    except BaseException:
        server.server_close()
        raise
    return server
