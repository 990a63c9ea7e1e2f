"""A run with filters in front of the machine, and their peers at the other end of the wire: `play_through`.

The schedule says what happens to the plain text, as in any run. The peers make wire bytes of what the client sends, and
plain text of what the filters send; so the output of the run can be compared with that of a run without filters.
"""

from __future__ import annotations

from collections import deque
from itertools import chain as joined
from itertools import repeat
from typing import TYPE_CHECKING, Any

from ...handlers.channel import ENDING
from ...handlers.filter import chain
from ..peers.peer import Peers, Through
from .driver import RecordingDriver
from .run import Run
from .schedule import END, RESET
from .snippets import brief
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...handlers import World
    from .schedule import Event, Schedule, Step

WHOLE = 1 << 30
"""The size of a piece of the wire that nothing cuts."""

FLIGHTS = 1_000
"""Times that a peer may have something to send of its own, after which it counts as one that answers without end."""


class SteppingDriver(RecordingDriver):
    """A driver that lets a filter wait for its turn to do a costly step, as a loop does."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.steps: deque[Callable[[], object]] = deque()
        self.is_due = False
        """Whether a channel has something to do."""

    def queue_step(self, step: Callable[[], object]) -> bool:
        """The run calls it later."""
        self.steps.append(step)
        return True

    def touched(self) -> None:
        """The run lets the channel go on."""
        self.is_due = True


class FilteredRun(Run):
    """A run through filters.

    The wire from the client to the filters is cut into pieces of ``sizes`` bytes, the last of them again and again.
    Without sizes it is not cut, and what the client sends before the filters have opened comes in one piece. The wire
    stops after ``stop`` bytes, if ``stop`` is not ``None``: it ends as ``ending`` says, or is silent for ``None``.
    """

    _driver: SteppingDriver

    def __init__(
        self, subject: Subject, through: Sequence[Through], sizes: Sequence[int] = (), stop: int | None = None,
        ending: Event | None = END, **options: Any,
    ) -> None:  # fmt: skip
        self.through = through
        self.wire_in = 0
        """Bytes of the wire, from the client to the filters, that have been sent."""
        self.was_stopped = False
        """Whether the wire has stopped after ``stop`` bytes."""
        self._was_reset = False
        self._flights = 0  # times that the peers themselves had something to send
        self._peers: Peers
        self._plain: deque[bytes | None] = deque()  # what the client is to send; ``None`` is its end
        self._is_cut = bool(sizes)
        self._sizes = joined(sizes, repeat(sizes[-1] if sizes else WHOLE))
        self._left = 0  # bytes of the current piece
        self._stop, self._ending = stop, ending
        super().__init__(subject, **options)

    @property
    def facts(self) -> tuple[Any, Any, Any]:
        """The peer, the principal and what secures the connection, as the filters have found them."""
        return self._driver._peer, self._driver.principal, self._driver.secured

    def step(self, step: Step) -> None:
        if self.subject.packets or not (isinstance(step, bytes) or step is END):
            super().step(step)
            return
        self._plain.append(step if isinstance(step, bytes) else None)
        if self._is_cut or self._peers.is_open:
            self._go_on()

    def reset(self) -> None:
        self._was_reset = True
        super().reset()

    def finish(self, to_the_end: bool = False) -> Run:
        super().finish(to_the_end)
        while self._talk() and not self.over:  # a peer answers what it has received at last
            super().finish(to_the_end)
        if self.finished and self.reason is None and not (self.was_stopped or self._was_reset or self.subject.packets):
            self._ask(self._peers.received_end)
        return self

    def _make_driver(self) -> SteppingDriver:
        return SteppingDriver(self.subject.world)

    def _channel(self) -> Any:
        self._peers = Peers([through.peer() for through in self.through])
        return chain(super()._channel(), [through.filter for through in self.through])

    def _go_on(self) -> None:
        self._driver.is_due = True
        while True:
            super()._go_on()
            if self.over:
                return
            machine, driver = self.machine, self._driver
            if driver.steps:
                self._guarded(driver.steps.popleft())
            elif machine.outbox and (machine.opening or not self._peers.is_open):
                self.drain()
            elif driver.is_due and machine.blocked:
                driver.is_due = False
                self._guarded(machine.advance)
            elif not self._talk():
                return

    def _is_incomplete(self) -> bool:
        """Whether a request that has finished has more output than what is in the outbox."""
        return self.machine.finished and not (self.subject.packets or self.machine.complete)

    def _drain(self) -> None:
        super()._drain()
        self._driver.is_due = True
        if self.subject.packets:
            return
        machine = self.machine
        while self.error is None and not self._gave_up:
            if machine.blocked or self._is_incomplete():
                self._guarded(machine.advance)
            if not machine.outbox:
                break
            super()._drain()
        if machine.output is ENDING and not machine.outbox:
            machine.end_output()

    def _talk(self) -> bool:
        """Let the client send what it can; returns whether that is anything."""
        if self.subject.packets or self.was_stopped or self._was_reset or self.over:
            return False
        peers, plain = self._peers, self._plain
        wire: bytes = self._ask(peers.send, b"")
        self._flights += bool(wire)
        if self._flights > FLIGHTS:
            self.error = self.error or RuntimeError(f"the peer answers without end: it has sent {FLIGHTS} flights")
        ends = False
        while plain and not ends and self.error is None and peers.is_open:
            piece = plain.popleft()
            ends = piece is None
            wire += self._ask(peers.end) if piece is None else self._ask(peers.send, piece)
        self._carry(wire)
        if ends and not self.was_stopped:
            self._arrivals.append(None)
        return ends or bool(wire)

    def _carry(self, wire: bytes) -> None:
        """Cut the next bytes of the wire."""
        if self._stop is not None and self.wire_in + len(wire) > self._stop:
            wire = wire[: self._stop - self.wire_in]
            self.was_stopped = True
        self.wire_in += len(wire)
        while wire:
            self._left = self._left or next(self._sizes)
            piece, wire = wire[: self._left], wire[self._left :]
            self._left -= len(piece)
            self._arrivals.append(piece)
        if self.was_stopped and self._ending is not None:
            self._arrivals.append(None)

    def _deliver(self, arrival: bytes | None) -> None:
        if arrival is None and self.was_stopped and self._ending is RESET:
            self.reset()
        elif self.subject.packets and arrival is not None:
            super()._deliver(self._ask(self._peers.send, arrival))
        else:
            super()._deliver(arrival)
        self._driver.is_due = True

    def _guarded(self, call: Callable[..., Any], *arguments: Any, size: int = 0) -> Any:
        with self.limit:  # the lines of the filters count too
            return super()._guarded(call, *arguments, size=size)

    def _got(self, data: bytes | None) -> None:
        if data is not None and not self._was_reset:
            super()._got(self._ask(self._peers.received, data))

    def _ask(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the peers, however many lines it runs. What it raises is the error of the run."""
        self.limit.allow(WHOLE)
        try:
            return method(*arguments)
        except Exception as error:
            self.error = self.error or error
            return b""


def listed(through: Any) -> tuple[Through, ...]:
    """``through``, a `Through` or several, as a tuple. Raises `TypeError` for anything else."""
    given = (through,) if isinstance(through, Through) else through
    if isinstance(given, (tuple, list)) and given and all(isinstance(one, Through) for one in given):
        return tuple(given)
    raise TypeError(f"through is a Through(filter, peer), or a list of them, not {brief(through)}")


def play_through(
    kind: Any, schedule: Iterable[Step], through: Through | Sequence[Through], sizes: Sequence[int] = (), *,
    stop: int | None = None, ending: Event = END, world: World | None = None,
) -> FilteredRun:  # fmt: skip
    """`play` through filters: ``schedule`` and the output are plain text. Returns the `FilteredRun`.

    ``through`` is a `Through`, or several, the first next to the wire. The wire from the client to the filters is cut
    into pieces of ``sizes`` bytes, the last of them again and again. Without sizes it is not cut, and what the client
    sends before the filters have opened comes in one piece. ``stop`` is a number of bytes of the wire after which the
    connection ends, as ``ending`` says: `END` or `RESET`.

    Raises `TypeError` for an argument of the wrong type, and `ValueError` for a size that is not positive.

    >>> from handlers.services import Echo
    >>> from reactor.testing import END, proxy, tls
    >>> run = play_through(Echo, [b"hel", b"lo", END], [proxy(), tls()], sizes=[1])
    >>> run.output, run.finished, run.facts
    (b'hello', True, (('192.0.2.1', 56324), None, 'tls1.3'))
    """
    if any(size < 1 for size in sizes):
        raise ValueError(f"sizes are numbers of bytes > 0, not {list(sizes)}")
    if ending not in (END, RESET):
        raise TypeError(f"ending is END or RESET, not {ending!r}")
    return played_through(Subject(kind, world), list(schedule), listed(through), sizes, stop, ending)


def played_through(
    subject: Subject, schedule: Schedule, through: Sequence[Through], sizes: Sequence[int] = (),
    stop: int | None = None, ending: Event | None = END, to_the_end: bool = False,
) -> FilteredRun:  # fmt: skip
    """The `FilteredRun` of a schedule and of what `Run.finish` does after it."""
    run = FilteredRun(subject, through, sizes, stop, ending)
    with run.limit:
        for step in schedule:
            run.step(step)
        run.finish(to_the_end)
        run.close()
    return run
