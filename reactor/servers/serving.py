"""When a server takes requests: for ever, one, or none; and the lock between its thread and `shutdown`."""

from __future__ import annotations

from _thread import RLock, get_ident

from ..loop.timers import NEVER
from .kinds import is_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .service import Service


class Serving:
    """Has the parts of one server take requests."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._shutdown_asked = False
        self._serving = RLock()  # reentrant, so that shutdown() in the thread that serves can't wait for itself
        self._serving_thread = 0

    @property
    def is_elsewhere(self) -> bool:
        """Whether another thread serves."""
        return self._serving_thread not in (0, get_ident())

    def forget_threads(self) -> None:
        """In a forked child: a thread of the parent may have held the lock."""
        self._serving = RLock()

    def start(self) -> None:
        """Take requests from now on, whenever the reactor runs."""
        source = self._service.source
        if source is None or not source.open:
            self._listen(self._service.arrivals)

    def stop(self) -> None:
        """Take no more requests."""
        self._service.intake.unlisten()

    def _listen(self, arrivals: Callable[[], object]) -> None:
        self._service.mode.listen()
        self._service.intake.listen(arrivals)

    def serve_forever(self, interval: float | None) -> None:
        """Serve until `shutdown`, until the reactor is stopped, or until nothing is open."""
        if get_ident() == self._serving_thread or self._service.hand.is_within:
            raise RuntimeError("serve_forever() is running already, and has called what calls it again")
        if self.is_elsewhere:
            raise RuntimeError("another thread runs serve_forever() of this server: shutdown() ends it")
        with self._serving:
            self._serving_thread = get_ident()
            self.start()
            try:
                self._service.reactor.run_while(self._goes_on, interval)
            finally:
                self._shutdown_asked = False
                self._serving_thread = 0
                if not self._service.is_shared:
                    self.stop()

    def _goes_on(self) -> bool:
        if not self._shutdown_asked:
            self._service.server.service_actions()
        return not self._shutdown_asked and self._service.reactor.busy

    def shutdown(self) -> None:
        """End `serve_forever`, and wait until it has ended, where that is not this very thread."""
        if self._service.is_copy:
            return  # the thread that serves is the parent's
        self._shutdown_asked = True
        if self._service.has_reactor:
            self._service.reactor.call_soon(nothing)  # wakes it
        with self._serving:
            pass

    def handle_request(self) -> None:
        """Take one request, wait for it if need be, and process it."""
        reactor, taken = self._service.reactor, self._service.taken
        timeouts = (self._service.server.timeout, self._service.intake.timeout())
        deadline = reactor.clock.monotonic() + min(
            (seconds for seconds in timeouts if seconds is not None), default=NEVER
        )
        source = self._service.source
        was_open = source is not None and source.open
        newest = max((row.serial for row in reactor.table), default=0)

        looks = 0

        def is_over() -> bool:
            return reactor.clock.monotonic() >= deadline

        def waits() -> bool:
            nonlocal looks
            looks += 1
            return self._service.taken == taken and (looks == 1 or not is_over())  # a timeout of 0 looks once

        self._listen(self._one_arrival)
        timer = None if deadline == NEVER else reactor.call_at(deadline, nothing)
        try:
            reactor.run_while(waits)
            if self._service.taken != taken:
                self._service.mode.see_through(newest)
            elif is_over():
                self._service.server.handle_timeout()
        finally:
            if timer is not None:
                timer.cancel()
            self.stop()
            if was_open:
                self.start()

    def _one_arrival(self) -> None:
        if self._service.has_room():
            self._service.intake.pause()
            self._service.take()
        else:
            self._service.admission.wait_for_room()

    def begin_to_drain(self, seconds: float) -> None:
        """End `serve_forever` if another thread runs it. Raises `RuntimeError`, before anything is changed."""
        if self._service.hand.is_within:
            raise RuntimeError("drain() waits for the request that has called it: call it from another thread")
        if self.is_elsewhere:
            self.shutdown()
        self._service.reactor.require_rest("drain()")
        self._service.drain_until = self._service.reactor.clock.monotonic() + seconds

    def take_completed(self) -> None:
        """Take the connections that have completed their handshake, as many as there is room for in the table."""
        service = self._service
        if service.closing or service.source is None or not is_ours(service.server.get_request):  # it may mean to wait
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


def nothing() -> None:
    """What is called where only that something is called matters."""
