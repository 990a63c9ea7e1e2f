"""`Serving`: when a server takes requests, and the lock that `shutdown` and the thread that serves share."""

from __future__ import annotations

from _thread import RLock, get_ident
from selectors import EVENT_READ

from ..loop.timers import NEVER, nothing
from ..table.preparing import prepare_to_serve
from .kinds import takes_at_once
from .last import NoNewHandshakes
from .overdue import Overdue
from .periodic import Periodic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..table.reactor import Reactor
    from .service import Service
    from .sharing import Share


class Serving:
    """Decides when the parts of one server take requests."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.is_asked_to_end = False
        """Whether `shutdown` was called, and the call that serves has not returned for it."""
        self.lock = RLock()
        """The thread that serves holds it. Reentrant, so that `shutdown` there can't wait for itself."""
        self.thread = 0
        """The thread that runs `serve_forever` or `handle_request`; 0 if none does."""
        self.periodic: list[Periodic] = []
        """The calls that are made while the server takes requests."""
        self.share: Share | None = None
        """What this process takes of the connections, where worker processes share the listener."""
        self.leaves_arrivals = False
        """Whether other workers go on to serve the socket, so that a drain takes nothing more from it."""

    def ask_to_end(self) -> None:
        """Have `supervise` end; `shutdown` waits for that."""
        self.is_asked_to_end = True

    @property
    def is_elsewhere(self) -> bool:
        """Whether another thread runs `serve_forever` or `handle_request`."""
        return self.thread not in (0, get_ident())

    def forget_threads(self) -> None:
        """In a forked child: a thread of the parent may have held the lock."""
        self.lock = RLock()

    def start(self) -> None:
        """Take requests from now on, whenever the reactor runs."""
        source = self._service.source
        if source is None or not source.open:
            self._listen(self._service.arrivals.take)
        for call in self.periodic:
            call.start()

    def stop(self) -> None:
        """Take no more requests."""
        self._service.intake.unlisten()
        for call in self.periodic:
            call.pause()

    def call_every(self, seconds: float, call: Callable[..., object], arguments: tuple[Any, ...]) -> Periodic:
        """Make the call every so many seconds while the server takes requests."""
        if not seconds > 0:
            raise ValueError(f"call_every: seconds > 0, not {seconds!r}")
        if self._service.closing:
            raise ValueError("call_every: the server is closed")
        periodic = Periodic(self._service, seconds, call, arguments)
        self.periodic.append(periodic)
        source = self._service.source
        if source is not None and source.open:
            periodic.start()
        return periodic

    def _listen(self, arrivals: Callable[[], object]) -> None:
        prepare_to_serve()
        self._service.mode.listen()
        self._service.intake.listen(arrivals)

    def serve_forever(self, interval: float | None) -> None:
        """Serve until `shutdown`, until the reactor is stopped, or until nothing is open."""
        if get_ident() == self.thread or self._service.hand.is_within:
            raise RuntimeError("serve_forever() is running already: a handler or a hook can't call it")
        with _Here(self):
            self.start()
            reactor = self._service.reactor
            try:
                reactor.awaits_ends = False
                reactor.run_while(self._goes_on, interval)
                self._service.direct.finish_lingering()
            finally:
                reactor.awaits_ends = True
                self.is_asked_to_end = False
                if not self._service.is_shared:
                    self.stop()

    def supervise(self) -> _Supervised:
        """A context in which worker processes serve, and this thread watches them; for `shutdown` it serves itself."""
        return _Supervised(self)

    def be_worker(self) -> None:
        """In a worker process, forked in `supervise`: nothing serves here yet."""
        self.forget_threads()
        self.thread, self.is_asked_to_end = 0, False

    def awaits_end(self, reactor: Reactor) -> bool:
        """Whether the loop must hear of the end of a request. Called in any thread, when the row has left the table.

        What waits for an end notes that first, and then looks at the table, or at what is busy, once more: so one of
        the two sees the other, and the thread that has ended a request need not wake the loop each time.
        """
        service = self._service
        is_idle = reactor.listening and service.intake.is_listener and not reactor.awaits_ends
        return not is_idle or bool(service.queue.rows or reactor.paused)

    def _goes_on(self) -> bool:
        if not self.is_asked_to_end:
            self._service.server.service_actions()
        return not self.is_asked_to_end and self._service.reactor.busy

    def in_loop(self, call: Callable[[], object]) -> None:
        """Make the call: in the thread that runs the loop, if several servers share it and another thread runs it."""
        service = self._service
        is_apart = service.is_shared and not (service.is_copy or self.is_elsewhere or service.hand.is_within)
        if is_apart and service.has_reactor and service.reactor.is_elsewhere:
            service.reactor.call_there(call)
        else:
            call()

    def shutdown(self) -> None:
        """End `serve_forever` or `handle_request`; wait until it has returned, unless it runs in this thread."""
        if self._service.is_copy:
            return  # the thread that serves is the parent's
        self._ask_to_return()
        with self.lock:
            pass

    def _ask_to_return(self) -> None:
        """Have `serve_forever` or `handle_request` return; in the plain mode when the request in progress has ended.

        What is asked is said first, and then that request is looked for: see `Inners.drive`, which may just begin it.
        """
        service = self._service
        self.is_asked_to_end = True
        if not service.has_reactor:
            return
        reactor = service.reactor
        reactor.call_soon(nothing)  # wakes the loop
        inner: Any = reactor.inner
        if inner is not None:
            inner.call_soon(inner.end_idle)  # a connection between requests is no request in progress
            if service.drain_until != NEVER:
                inner.call_soon(inner.call_at, service.drain_until, inner.cut)

    def handle_request(self) -> None:
        """Take one request, wait for it if need be, and process it."""
        is_nested = self.thread == get_ident()
        with _Here(self):
            asked = self.is_asked_to_end
            if not is_nested:
                self.is_asked_to_end = False  # an earlier shutdown() is for the next serve_forever(), not for this call
            try:
                self._handle_one()
            finally:
                if not is_nested:
                    self.is_asked_to_end = asked

    def _handle_one(self) -> None:
        service, reactor = self._service, self._service.reactor
        timeouts = (service.server.timeout, service.intake.timeout())
        patience = min((seconds for seconds in timeouts if seconds is not None), default=NEVER)
        deadline, attempts = reactor.clock.monotonic() + patience, service.take_attempts
        newest = max((row.serial for row in reactor.table), default=0)
        looks = 0

        def is_over() -> bool:
            return reactor.clock.monotonic() >= deadline

        def waits() -> bool:
            nonlocal looks
            looks += 1
            goes_on = service.take_attempts == attempts and not self.is_asked_to_end
            return goes_on and (looks == 1 or not is_over())  # a timeout of 0 looks once

        if service.hand.is_within_blocking:
            self._take_within(waits, deadline)
        else:
            source = service.source
            was_open = source is not None and source.open
            self._listen(self._one_arrival)
            try:
                self._run_until(deadline, waits)
                if service.take_attempts != attempts:
                    self._see_through(newest, patience)
            finally:
                self.stop()
                if was_open:
                    self.start()
        if service.take_attempts == attempts and is_over() and not self.is_asked_to_end:
            service.server.handle_timeout()

    def _take_within(self, waits: Callable[[], bool], deadline: float) -> None:
        """`handle_request` in a blocking handler: the server's loop waits for it, so an inner loop waits here."""
        service, outer = self._service, self._service.reactor
        arrived: list[int] = []
        inner = outer.inside()
        before, outer.inner = outer.inner, inner
        try:
            inner.watch(service.open_source().descriptor, EVENT_READ, arrived.append)
            if deadline != NEVER:
                inner.call_at(deadline, nothing)
            inner.run_while(lambda: waits() and not arrived)
        finally:
            outer.inner = before
            inner.close()
        if arrived:
            service.take()

    def _see_through(self, newest: int, patience: float) -> None:
        """Run the loop for the requests that were taken, until `Mode.is_through` or for ``patience`` seconds.

        After that time, input that has come already is still handled. With a timeout of 0 only that is handled.
        """
        reactor, mode = self._service.reactor, self._service.mode
        deadline, carried = reactor.clock.monotonic() + patience, -1

        def goes_on() -> bool:
            nonlocal carried
            if self.is_asked_to_end or mode.is_through(newest):
                return False
            if reactor.clock.monotonic() < deadline:
                return True
            before, carried = carried, sum(row.total_in + row.total_out for row in reactor.table)
            reactor.call_soon(nothing)  # the next step does not wait
            return carried != before

        self._run_until(deadline, goes_on)

    def _run_until(self, deadline: float, goes_on: Callable[[], bool]) -> None:
        """Run the loop while ``goes_on()`` is true; it is also called at the ``deadline``."""
        reactor = self._service.reactor
        timer = None if deadline == NEVER else reactor.call_at(deadline, nothing)
        try:
            reactor.run_while(goes_on)
        finally:
            if timer is not None:
                timer.cancel()

    def _one_arrival(self) -> None:
        if self._service.has_room():
            self._service.intake.pause()
            self._service.take()
        else:
            self._service.admission.wait_for_room()

    def overdue(self) -> Overdue:
        """A context in which this thread drives the requests of a drain: see `Overdue`."""
        return Overdue(self._service)

    def begin_to_drain(self, seconds: float) -> None:
        """End `serve_forever` if another thread runs it, take the connections that the kernel has completed, and close
        the listening socket: a client that comes now is refused at once, not when all is closed.

        Raises `RuntimeError`, before anything is changed.
        """
        service = self._service
        if service.hand.is_within:
            raise RuntimeError("drain() waits for the request that has called it: call it from another thread")
        drain_until = service.reactor.clock.monotonic() + seconds
        before = service.is_draining, service.drain_until
        if self.is_elsewhere:
            service.is_draining, service.drain_until = True, drain_until
            self._ask_to_return()
            Overdue(service).wait_for(self.lock)
        try:
            service.reactor.require_rest("drain()")
        except RuntimeError:
            service.is_draining, service.drain_until = before
            raise
        service.is_draining, service.drain_until = True, drain_until
        service.mode.drain()
        if self.share is not None:
            self.share.leave()
        if self.leaves_arrivals:
            self.stop()
        if not service.intake.is_listener:
            return
        try:
            self._take_last()
        finally:
            self.stop()
        service.close_socket()

    def _take_last(self) -> None:
        """Take the connections that are for this process and for no other."""
        if self.leaves_arrivals:
            return
        self._take_completed()
        if self.share is None:  # else the parent of the workers keeps new handshakes off, and closes the socket last
            service = self._service
            with NoNewHandshakes(service.server.socket):  # only for those that have come meanwhile
                self._take_completed()
                if service.reactor.may_have_children:  # on the copy of one, a handshake could still complete
                    service.reactor.children.wait_for_copies(COPIES)

    def _take_completed(self) -> None:
        """Take the connections in the accept queue, as many as the table has room for."""
        service = self._service
        if service.closing or service.source is None or not takes_at_once(service.server):
            return
        self._listen(nothing)  # makes the socket non-blocking
        service.intake.pause()
        service.holding = True  # a child that is forked now would keep the listener open
        now = service.reactor.clock.monotonic
        try:
            while service.has_room() and now() < service.drain_until and service.take():
                pass
        finally:
            service.holding = False
            service.reactor.call_soon(service.queue.go_on)


class _Here:
    """A context in which this thread serves. Entering it raises `RuntimeError` if another thread does."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._before = 0  # the thread that has served before: none, or this one

    def __enter__(self) -> None:
        serving = self._serving
        if serving.is_elsewhere:
            raise RuntimeError(
                "another thread runs serve_forever() or handle_request() of this server: shutdown() ends it"
            )
        self._lock = serving.lock
        self._lock.acquire()
        self._before, serving.thread = serving.thread, get_ident()

    def __exit__(self, *error: object) -> None:
        self._serving.thread = self._before
        self._lock.release()


class _Supervised(_Here):
    """See `Serving.supervise`."""

    def __exit__(self, *error: object) -> None:
        self._serving.is_asked_to_end = False
        super().__exit__(*error)


COPIES = 1.0
"""Seconds that children may take to close their copies of a listener that is about to be closed."""
