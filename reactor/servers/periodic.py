"""`Periodic`: a call that a server makes again and again while it takes requests (`BaseServer.call_every`)."""

from __future__ import annotations

from .hooks import call_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..loop.timers import Timer
    from .service import Service


class Periodic:
    """One call that is made every so many seconds; `cancel` ends it."""

    def __init__(
        self, service: Service, seconds: float, call: Callable[..., object], arguments: tuple[Any, ...]
    ) -> None:
        self._service: Service | None = service
        self._seconds = seconds
        self._call = call
        self._arguments = arguments
        self._timer: Timer | None = None

    def cancel(self) -> None:
        """Make the call no more. A second call does nothing."""
        self.pause()
        if self._service is not None:
            self._service.serving.periodic.remove(self)
            self._service = None

    def start(self) -> None:
        """Make the call from now on, whenever the loop runs. Does nothing if it is being made."""
        if self._timer is None and self._service is not None:
            self._arm(self._service.reactor.clock.monotonic() + self._seconds)

    def pause(self) -> None:
        """Make no call until `start`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, due: float) -> None:
        if self._service is not None:
            self._timer = self._service.reactor.call_at(due, self._make, due)

    def _make(self, due: float) -> None:
        service: Any = self._service
        # At even distances; what could not be in time, because a state took long, is left out.
        missed = (service.reactor.clock.monotonic() - due) // self._seconds
        self._arm(due + (missed + 1) * self._seconds)
        try:
            self._call(*self._arguments)
        except Exception:
            call_hook(service.server, "handle_error", None, None)
