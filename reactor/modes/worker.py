"""`Worker`: a worker process as it sees itself: its number, what its parent tells it, and what it tells its parent."""

from __future__ import annotations

import os
import signal

from ..loop.timers import nothing
from ..servers.sharing import share_listeners
from .control import Control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from socket import socket
    from types import FrameType
    from typing import Any

    from ..servers.base import BaseServer
    from ..table.reactor import Reactor


class Worker:
    """What the function that serves in a worker process is given: see `supervisor.Supervisor`."""

    def __init__(self, number: int, sock: socket, counts: memoryview, place: int, grace: float) -> None:
        self.number = number
        """From 1 on. The worker that takes the place of another one has its number."""
        self._sock = sock
        self._counts = counts
        self._place = place
        self._grace = grace
        self._reactor: Reactor | None = None
        self._control: Control | None = None
        self._drain: Callable[[float, bool], object] | None = None
        self._insist: Callable[[], object] = nothing
        self.is_draining = False
        """Whether this worker has been told to end."""

    def serve(self, reactor: Reactor, servers: Iterable[BaseServer]) -> None:
        """``servers``, which serve on ``reactor``, share their listeners with the other workers from now on."""
        self._reactor = reactor
        share_listeners(servers, self._counts, self._place)

    def ready(self, drain: Callable[[float, bool], object], insist: Callable[[], object]) -> None:
        """Tell the parent that this worker accepts.

        ``drain(seconds, is_last)`` is called in the loop, once, when it is to end; ``is_last``: no other worker will
        serve the listeners. ``insist()`` is called when it is to end at once.
        """
        assert self._reactor is not None
        self._drain, self._insist = drain, insist
        self._control = Control(self._reactor, self._sock, self._heard, self._lost)
        self._say("ready")

    def wrong(self, text: str) -> None:
        """Tell the parent why this worker can't serve. The text is for the user."""
        from ..table.reactor import Reactor

        with Reactor() as loop:
            control = Control(loop, self._sock, nothing, nothing)
            control.send(wrong=text)
            control.close()

    def taken(self) -> None:
        """Tell the parent that this worker takes no more connections."""
        self._say("taken")

    def _say(self, word: str) -> None:
        if self._control is not None:
            self._control.send(**{word: True})

    def leave(self, unfinished: list[dict[str, Any]]) -> None:
        """Tell the parent what this worker has counted, and the records of its requests that did not finish."""
        control, reactor = self._control, self._reactor
        assert control is not None
        assert reactor is not None
        control.send(bye=reactor.stats(), unfinished=unfinished)
        control.close()
        self._control = None

    def terminated(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM, not from the parent: the parent replaces this worker, if it does not end all of them anyway."""
        if self._reactor is None or self._control is None:
            os._exit(0)  # nothing is served yet, or no more
        self._reactor.call_soon(self._say, "terminated")

    def _begin_to_drain(self, seconds: float, is_last: bool) -> None:
        if not self.is_draining and self._drain is not None:
            self.is_draining = True
            self._drain(seconds, is_last)

    def _heard(self, message: dict[str, object]) -> None:
        if "ask" in message:
            self._answer(message["ask"], bool(message["rows"]))
        elif "drain" in message:
            seconds = message["drain"]
            assert isinstance(seconds, (int, float))
            self._begin_to_drain(seconds, bool(message["is_last"]))
        else:
            self._insist()

    def _answer(self, question: object, has_rows: bool) -> None:
        if self._reactor is not None and self._control is not None:
            table = self._reactor.table
            oldest = next((row.age() for row in table), 0.0)  # the table has its rows in the order of arrival
            rows = table.as_dicts() if has_rows else []
            self._control.send(answer=question, stats=self._reactor.stats(), rows=rows, oldest=oldest)

    def _lost(self) -> None:
        """The parent has ended without a word: nobody else will serve the listeners."""
        self._begin_to_drain(self._grace, True)


def ignore(number: int, frame: FrameType | None) -> None:
    """SIGINT, which a terminal sends to the process group, is for the parent."""


def be_worker(worker: Worker, blocked: Iterable[int]) -> None:
    """In the child: hear the signals as a worker; ``blocked`` are those that stay blocked."""
    signal.signal(signal.SIGINT, ignore)
    signal.signal(signal.SIGTERM, worker.terminated)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
