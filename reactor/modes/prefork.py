"""Prefork mode: a number of processes, the workers, serve one address, each in select mode with a loop of its own.

**One listener for all workers**, made before the fork, and not a listener each with ``SO_REUSEPORT``. With
``SO_REUSEPORT`` the kernel puts each connection into the accept queue of one worker when the handshake completes. The
connections in the queue of a worker that ends are reset, and those in the queue of a worker that is busy wait although
another one is idle. A shared listener has one queue: no connection is lost when a worker ends, whether it crashes or is
replaced, so a rolling restart refuses and resets none. It works for Unix sockets too. Its two faults are mended:
all workers wake for each connection (``EPOLLEXCLUSIVE`` wakes one; elsewhere the others find nothing and sleep again),
and one worker could take all connections (`servers.sharing`).

**A datagram socket for each worker**, because two packets of one exchange have to reach the same worker. With
``SO_REUSEPORT`` Linux chooses the socket by the addresses of both ends. The parent makes all sockets and keeps them: a
worker that takes the place of another one gets its socket, with the packets that wait there. Where the kernel has no
such sockets, as for Unix datagrams, worker 1 takes all packets.
"""

from __future__ import annotations

import os
import socket
import sys
from _thread import get_ident
from contextlib import ExitStack

from ..loop.children import NO_FORK
from ..loop.kernel import INET
from ..loop.loop import Loop
from ..servers.kinds import is_ours
from ..servers.last import NoNewHandshakes
from ..servers.mode import register_mode
from ..servers.tcp import QUEUE, TCPServer
from ..servers.udp import UDPServer
from .select import SelectMixIn, SelectMode
from .supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .joined import Joined
    from .worker import Worker

SPREADS = sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")
"""Whether the kernel spreads the packets to one address over sockets, by their senders."""


class PreforkMode(SelectMode):
    """In the parent: the sockets of the workers, and the supervisor while they run. In a worker: select mode."""

    supervisor: Supervisor | None = None
    _stop: Callable[[Supervisor], object] | None = None  # what `end` was called with
    sockets: tuple[socket.socket, ...] = ()
    """The datagram sockets of the workers, in the order of their numbers; empty for a listener."""

    def adapt(self, handler: Any) -> Any:
        name = type(self.service.server).__name__
        if self.service.is_shared:
            raise TypeError(f"{name}: each worker has a loop of its own; leave reactor= away")
        if not hasattr(os, "fork"):
            raise RuntimeError(f"{name}: {NO_FORK}")
        return super().adapt(handler)

    def running(self) -> Supervisor:
        """The supervisor. Raises `RuntimeError` while there is none."""
        if self.supervisor is None:
            raise RuntimeError("there are workers only while serve_forever() runs, and only their parent can ask them")
        return self.supervisor

    def end(self, stop: Callable[[Supervisor], object]) -> None:
        """Have the supervisor's loop call ``stop(supervisor)``, and wait until `PreforkMixIn.serve_forever` is over."""
        serving = self.service.serving
        self._stop = stop  # before the loop can find that it is asked to end
        serving.ask_to_end()
        supervisor = self.supervisor  # one that comes after this finds that it is asked to end
        if supervisor is not None:
            supervisor.loop.call_soon(self.stop, supervisor)
        serving.shutdown()

    def stop(self, supervisor: Supervisor) -> None:
        """In the loop of the supervisor: have the workers end, as `end` says. A second call does nothing."""
        if supervisor.stopping:
            return
        stop, self._stop = self._stop, None
        if stop is None:
            server: Any = self.service.server
            supervisor.stop(server.grace)
        else:
            stop(supervisor)

    def take_socket(self, number: int) -> socket.socket | None:
        """In the worker with this number: its socket, ``None`` if others get all packets. The others' are closed."""
        server = self.service.server
        if server.socket_type != socket.SOCK_DGRAM:
            listener: socket.socket = server.socket
            return listener
        sockets = self.sockets or (server.socket,)
        for sock in sockets[: number - 1] + sockets[number:]:
            sock.close()
        return sockets[number - 1] if number <= len(sockets) else None

    def serve(self, worker: Worker, interval: float) -> None:
        """In a worker: serve until it is told to end."""
        service, server = self.service, self.service.server
        self.supervisor = None
        if service.has_reactor:
            service.close()  # the copy of the parent's loop
        service.serving.be_worker()
        sock = self.take_socket(worker.number)
        server.socket = sock or server.socket
        reactor, seconds = service.reactor, float(server.grace)
        worker.serve(reactor, [server] if sock is not None else [])

        def drain(patience: float, is_last: bool) -> None:
            nonlocal seconds
            seconds = patience
            service.serving.leaves_arrivals = not is_last
            reactor.stop()

        service.serving.leaves_arrivals = True  # if the worker ends for another reason
        worker.ready(drain, lambda: drain(0.0, not service.serving.leaves_arrivals))
        if sock is not None:
            service.serving.serve_forever(None if is_ours(server.service_actions) else interval)
        else:
            reactor.run()
        service.serving.begin_to_drain(seconds)
        worker.taken()
        unfinished = service.drain(seconds)
        worker.leave(unfinished)
        server.server_close()


class PreforkMixIn(SelectMixIn):
    """So many processes serve, each with one loop that drives its requests: for all the cores of a machine.

    `serve_forever` forks the workers, keeps as many running, and returns after `shutdown`, when they have ended. The
    requests are in the workers: there each hook is called, there are `reactor` and its table, and there each bound
    holds (``max_requests``, ``max_per_peer``, ``Reactor.max_held``), so that all workers together may have ``workers``
    times as much. Calls of `call_every` are made in every worker. What a worker changes on the server, the others don't
    see. Raises `RuntimeError` on a host without ``fork()``. The parent should run one thread when it forks.

    A worker that dies is replaced. A worker ends also when its parent has ended, for whatever reason, after ``grace``
    seconds at most, unless a handler blocks it.

    >>> from threading import Thread
    >>> import socket, time
    >>> from reactor import PreforkTCPServer
    >>> from handlers.services import Echo
    >>> server = PreforkTCPServer(("127.0.0.1", 0), Echo)
    >>> supervision = Thread(target=server.serve_forever)
    >>> supervision.start()
    >>> while server.serving_workers < 2:
    ...     time.sleep(0.01)
    >>> with socket.create_connection(server.server_address) as client:
    ...     client.sendall(b"hello")
    ...     client.recv(5), server.snapshot().stats["open"]
    (b'hello', 1)
    >>> server.drain(2)
    []
    >>> supervision.join()
    """

    workers = 2
    """The number of worker processes."""

    grace = 2.0
    """Seconds that the requests of a worker may take to finish when `shutdown` or `restart` ends it."""

    def server_bind(self) -> None:
        """Bind the socket, or the datagram sockets of all workers. May be overridden."""
        super().server_bind()  # which fails if another server has the address; with SO_REUSEPORT it would not
        mode: Any = self._srv.mode
        mode.sockets = spread(self, self.workers, super().server_bind)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Run the workers until `shutdown`, then let them finish. ``poll_interval``: see `BaseServer.serve_forever`."""
        mode: Any = self._srv.mode
        serving = self._srv.serving
        with serving.supervise(), Loop() as loop:
            supervisor = Supervisor(loop, self.workers, lambda worker: mode.serve(worker, poll_interval), self.grace)
            mode.supervisor = supervisor

            def goes_on() -> bool:
                if serving.is_asked_to_end:
                    mode.stop(supervisor)
                return not supervisor.is_over

            try:
                if not serving.is_asked_to_end:
                    supervisor.start()
                loop.run_while(goes_on)
            finally:
                mode.supervisor = None
                supervisor.close()

    def shutdown(self) -> None:
        """Have the workers end within ``grace`` seconds, and wait until `serve_forever` has returned.

        New requests wait in the kernel until the next `serve_forever`.
        """
        mode: Any = self._srv.mode
        mode.end(lambda supervisor: supervisor.stop(self.grace))

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """Give open requests ``seconds`` to finish, then close the server. Returns the rows that had to be cancelled.

        Connections in the accept queue are taken first, then the listener is closed, as by `BaseServer.drain`.
        """
        mode: Any = self._srv.mode
        supervisor = mode.supervisor
        if supervisor is None:
            return super().drain(seconds)
        if supervisor.loop.thread == get_ident():
            raise RuntimeError("drain() waits for serve_forever(), which runs in this thread: call it from another one")
        mode.end(lambda supervisor: stop_for_good(supervisor, [self], seconds))
        self.server_close()
        unfinished: list[dict[str, Any]] = supervisor.unfinished
        return unfinished

    @property
    def serving_workers(self) -> int:
        """The number of workers that accept now; 0 while `serve_forever` does not run."""
        supervisor = self._srv.mode.supervisor  # type: ignore[attr-defined]
        return 0 if supervisor is None else sum(post.current is not None for post in supervisor.posts)

    def restart(self) -> None:
        """Replace the workers one by one, so that no connection is refused. May be called from another thread.

        A new worker accepts before the old one drains (``grace``). It has the handler class that this process has; to
        import its module anew, run the command ``python3 -m reactor serve --workers N``, and send it SIGHUP. An
        exchange of datagrams that waits for another packet ends with the old worker.
        """
        supervisor = self._srv.mode.running()  # type: ignore[attr-defined]
        supervisor.loop.call_soon(supervisor.restart)

    def snapshot(self, seconds: float = 1.0) -> Joined:
        """The rows and the counts of all workers: `Joined`. Call it from another thread than `serve_forever` runs in.

        Raises `RuntimeError` while there are no workers. A worker that does not answer in so many seconds is named in
        the result, and its rows are missing.
        """
        joined: Joined = self._srv.mode.running().snapshot(seconds)  # type: ignore[attr-defined]
        return joined

    def server_close(self) -> None:
        """Close the sockets; if another thread runs `serve_forever`, end it first. May be extended."""
        mode: Any = self._srv.mode
        super().server_close()
        for sock in mode.sockets:
            sock.close()


def spread(server: TCPServer, count: int, bind: Callable[[], object]) -> tuple[socket.socket, ...]:
    """The datagram sockets of so many workers; empty for a listener, and one where the kernel spreads no packets.

    ``bind()`` has bound the server's socket, and binds each of these, as the server's socket, to the same address.
    """
    if server.socket_type != socket.SOCK_DGRAM:
        return ()
    if not SPREADS or server.address_family not in INET or count == 1:
        return (server.socket,)
    server.socket.close()
    sockets = []
    for _ in range(count):
        server.socket = socket.socket(server.address_family, server.socket_type)
        sockets.append(server.socket)
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if server.address_family != socket.AF_INET and hasattr(socket, "IPV6_V6ONLY"):
            server.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bind()
    return tuple(sockets)


def stop_for_good(supervisor: Supervisor, servers: Sequence[TCPServer], seconds: float) -> None:
    """Have all workers end, within ``seconds``, and close the sockets of ``servers`` in the parent.

    Connections that the kernel has completed are taken first. Call it in the thread of the supervisor's loop.
    """
    kept_off = ExitStack()
    for server in servers:
        kept_off.enter_context(NoNewHandshakes(server.socket))

    def close() -> None:
        kept_off.close()
        for server in servers:
            server._srv.close_socket()

    supervisor.stop(seconds, close)


register_mode(PreforkMixIn, PreforkMode)


class PreforkTCPServer(PreforkMixIn, TCPServer):
    """TCP, one loop in each of several processes."""

    request_queue_size = QUEUE


class PreforkUDPServer(PreforkMixIn, UDPServer):
    """UDP, one loop in each of several processes; all packets of one peer reach the same one."""


if hasattr(socket, "AF_UNIX"):
    from ..servers.unix import UnixDatagramServer, UnixStreamServer

    class PreforkUnixStreamServer(PreforkMixIn, UnixStreamServer):
        """Unix stream sockets, one loop in each of several processes."""

        request_queue_size = QUEUE

    class PreforkUnixDatagramServer(PreforkMixIn, UnixDatagramServer):
        """Unix datagram sockets: the first of several processes takes all packets."""
