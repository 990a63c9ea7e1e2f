"""The row of a blocking handler that has filters in front of it: a loop of its own drives it while the handler waits.

The handler has a `Face` for its socket. Each call of the face that waits runs the loop of the row until the call is
satisfied: in the caller, a child or a thread, as for a state machine. `close()` of the server waits for the handler, as
it does for a blocking handler without filters; while a filter still opens, the request is cancelled.
"""

from __future__ import annotations

from ..handlers import Cancelled
from ..handlers.blocking.face import Passive
from ..handlers.saying import safe_name
from ..loop.kernel import credentials
from .driven import OPENING
from .stream import StreamRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..handlers import Cause
    from ..handlers.blocking.face import Face
    from ..handlers.waits import MakeFilter
    from ..table.reactor import Reactor
    from ..table.request import Owner


class FaceRow(StreamRow):
    """The row of a connection whose blocking handler is behind filters. The table shows the name of its class."""

    __slots__ = ("_passive",)
    has_face = True

    def __init__(
        self, reactor: Reactor, server: Any, sock: socket.socket, peer: Any, owner: Owner, filters: Sequence[MakeFilter]
    ) -> None:
        self._passive = Passive(self._pump)
        super().__init__(reactor, server, sock, peer, self._passive, owner, filters)
        self.credentials = credentials(sock)

    @property
    def handler(self) -> str:
        return safe_name(self.server.RequestHandlerClass)

    @property
    def state(self) -> str:
        return super().state if self.stage is OPENING else "handle"

    @property
    def wait(self) -> str:
        """What the filter that opens waits for; what a blocking handler waits for, only the handler knows."""
        return super().wait if self.stage is OPENING else ""

    @property
    def held_in(self) -> int:
        """Bytes of input held, with those that have come through and that the blocking handler has not asked for."""
        return 0 if self.channel is None else self.channel.held_in + self._passive.held

    def go_on(self, now: float) -> None:
        super().go_on(now)
        self.weigh()

    def serve(self, inner: Reactor, work: Callable[[Face], object]) -> None:
        """Drive the row in ``inner``, and call ``work(face)`` when its filters have opened. Raises what that raises."""
        with inner.signals():
            inner.adopt(self)
            inner.drive_while(lambda: not self.channel.begun)
            try:
                if self.channel.begun and not self.channel.finished:
                    work(self._passive.face)
            except BaseException as error:
                self.channel.discard(error)  # filters know by the reason that the output may not be all
                if isinstance(error, Exception):  # else the thread, the child or the process is to end
                    self.touched()
                    self._see_out(inner)
                raise
            if self.channel.begun:
                self._passive.done()
            self._see_out(inner)

    def _see_out(self, inner: Reactor) -> None:
        """The handler has ended: send what is left to send."""
        inner.drive_while(lambda: True)
        inner.cancel(inner.table)

    def forget(self) -> None:
        super().forget()
        self._passive.forget()

    def _pump(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        return self.reactor.drive_until(self, condition, timeout)

    def is_between_messages(self) -> bool:
        return False  # only the handler knows

    def break_off(self) -> None:
        """End the request, from any thread: kill the child that runs the handler, or end the connection."""
        if self.driven_by.pid:
            self.reactor.children.kill(self.driven_by.pid)
        else:
            self.reactor.call_soon(self._lose_if_open, Cancelled())

    def _lose_if_open(self, cause: Cause) -> None:
        if self in self.reactor.table:  # else the handler has ended meanwhile
            self.lose(cause)
