"""`Inners`: the loops inside the server's loop, each of which drives one request for a caller, a child or a thread."""

from __future__ import annotations

from _thread import get_ident

from ..loop.timers import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..table.reactor import Reactor
    from .service import Service


class Inners:
    """The inner loops of one server. One that has no request is kept for the next: to make one takes a while."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._elsewhere: set[Reactor] = set()  # those that other threads than the server's drive now
        self._spare: list[Reactor] = []

    def take(self) -> Reactor:
        """An inner loop for one request; `leave` takes it back."""
        outer = self._service.reactor
        try:
            inner = self._spare.pop()
        except IndexError:
            return outer.inside()
        if inner.is_copy:  # of the parent's; it was closed after the fork
            return outer.inside()
        inner.time, inner.thread = inner.clock.monotonic(), get_ident()
        inner.threaded = False
        return inner

    def leave(self, inner: Reactor) -> None:
        """The request has ended."""
        if self._spare or self._service.closing or not inner.is_at_rest:
            inner.close()
        else:
            self._spare.append(inner)

    def drive(self, inner: Reactor, drive: Callable[[], None]) -> None:
        """Call ``drive()``, which drives a row in ``inner``; a stop of the server's loop stops ``inner`` too."""
        service = self._service
        outer = service.reactor
        service.mode.alongside(inner)
        if not outer.working_here:
            self._heed(inner, is_awaited=False)
            inner.threaded = True
            inner.make_wakeup()
            self._elsewhere.add(inner)
            if service.closing:
                inner.stop()
            try:
                drive()
            finally:
                self._elsewhere.discard(inner)
            return
        if not outer.is_copy:
            service.intake.alongside(inner)
        before, outer.inner = outer.inner, inner
        try:
            self._heed(inner, is_awaited=not outer.is_copy)
            if outer.stopping and service.is_draining:
                inner.call_soon(inner.cut)  # when the row is in it
            elif outer.stopping:
                inner.stop()
            drive()
        finally:
            outer.inner = before

    def _heed(self, inner: Reactor, is_awaited: bool) -> None:
        """Have the request that ``inner`` is about to drive end as a drain or, if it ``is_awaited``, a shutdown asks.

        Another thread may ask just now. It says what it asks and then looks for ``outer.inner``, which is set here
        before this looks at what is asked: one of the two sees the other.
        """
        service, serving = self._service, self._service.serving
        if service.drain_until != NEVER:
            if not service.reactor.is_copy:  # a child is ended by its parent, which has to see that it was not finished
                inner.call_at(service.drain_until, inner.cut)
            inner.end_idle(service.server)  # others wait behind it in the accept queue
        elif is_awaited and serving.is_asked_to_end and serving.thread:  # else it is for the next serve_forever()
            inner.end_idle(service.server)

    def stop(self) -> None:
        """Have the requests that other threads drive end."""
        for inner in list(self._elsewhere):
            inner.stop()

    def close(self) -> None:
        """The server is closed."""
        while self._spare:
            self._spare.pop().close()
