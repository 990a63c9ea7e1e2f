"""A run: one schedule, made to happen to a machine by calls of the machine's public methods.

Nothing else takes part: no network, no loop and no real time. The run records its calls, so it can be printed as the
code of a test.

>>> from handlers.services import Echo
>>> run = play(Echo, [b"he", Take(1), b"llo", 299.0, END])
>>> run.output, run.finished, run.reason
(b'hello', True, None)
"""

from __future__ import annotations

import textwrap
from collections import deque
from typing import TYPE_CHECKING, Any

from ...handlers import (
    Cancelled,
    DatagramMachine,
    Exactly,
    Failed,
    LimitPassed,
    Machine,
    Reset,
    StreamMachine,
    StreamWait,
    Wait,
    WhileConnected,
    events,
    first,
    sources,
    states,
)
from .calls import make_call, may_call
from .counting import LINES, LINES_PER_BYTE, EndlessLoop, LinesRun, line_limit
from .driver import PacedRow, RecordingDriver, Unbounded, passes
from .schedule import END, RESET, Take
from .snippets import brief, folded, is_literal, literal
from .subject import Subject
from .tracing import tracing_stays
from .transcript import Transcript
from .watching import Unfit, timed, working

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...handlers import Cause, World
    from .schedule import Step

ENDLESS = 1 << 18
"""Bytes of output, with no input taken in between, after which a handler counts as one that sends without end."""

YEAR = 31_536_000
"""Seconds. A wait that may take longer counts as one without a timeout."""

ROUNDS = 200
"""Deadlines, or times that output drains, in a row, after which a request counts as one that never comes to rest."""

LINES_OF_A_CALL = 60
"""Lines of Python that a machine runs in a call of it, about."""

_OWN = frozenset({
    *(f"{__package__}.{name}" for name in ("run", "calls", "copying", "watching", "driver", "transcript")),
    *(f"{__package__}.{name}" for name in ("patterns", "builtin")),
    *(part.__module__ for part in (Machine, StreamMachine, DatagramMachine, Wait)),
    *(module.__name__ for module in (events, first, sources, states)),
})  # fmt: skip
"""The modules whose lines do not count as lines of the handler."""


class Run:
    """One request, or the exchanges of one client of a datagram handler.

    ``name`` is the name of the machine in the printed code, ``machine`` the class of the machine if it is not the
    usual one. ``watch`` is called with the machine after each call of the machine. Unless it ``counts``, nobody counts
    the lines of Python, nor the time that states block. ``limit`` is the class of what counts the lines.
    """

    def __init__(
        self, subject: Subject, *, name: str = "machine", machine: type[Machine] | None = None,
        watch: Callable[[Any], object] | None = None, counts: bool = True, limit: type[line_limit] = line_limit,
    ) -> None:  # fmt: skip
        self.subject = subject
        self.name = name
        self.error: BaseException | None = None
        """The exception that the handler raised; an `EndlessLoop` if a call did not return."""
        self.finished = False
        """Whether the request, or the last exchange, has ended."""
        self.reason: BaseException | None = None
        """Why it ended; ``None`` if it is open or ended normally."""
        self.wait: Wait | None = None
        """The current wait."""
        self.patience = 0.0
        """Seconds that this wait may take."""
        self.unbounded: Unbounded | None = None
        """The first wait without a bound."""
        self.calls_waited = False
        """Whether a call has waited, so that others may be answered before it."""
        self.needs_client = False
        """Whether work has been done that a client breaks off that ends its stream."""
        self.fed = 0
        """Bytes that the handler took; of a datagram handler, packets."""
        self.limit = limit(LINES, but=_OWN)
        """Counts the lines of Python that the handler runs, and ends a call of the machine in which it runs too many.

        What is not the handler's runs without it: under a trace function, Python is four times as slow."""
        self._transcript = Transcript(name, subject.packets)
        self._driver = self._make_driver()
        self._driver.limit = self.limit if counts else None
        untimed: Any = subject.machine if machine is None else machine
        self._kind = timed(untimed) if counts else untimed
        self._watch = watch
        self._arrivals: deque[bytes | None] = deque()  # ``None`` is the end of the stream
        self._output: list[bytes] = []
        self._since_input = 0  # bytes and packets of output since the handler last took input
        self._gave_up = False  # the request does not come to rest
        self._clock = 0.0
        self._allowed = LINES
        self._guarded_calls = 0
        subject.restore()
        self._construct()
        self._begin()

    # Its result

    @property
    def output(self) -> Any:
        """The output that was taken: ``bytes``, of a datagram handler a list of packets."""
        return list(self._output) if self.subject.packets else b"".join(self._output)

    @property
    def asked(self) -> set[str]:
        """What the handlers asked their world for: see `RecordingDriver.asked`."""
        return self._driver.asked

    @property
    def clock(self) -> float:
        """The seconds that have passed since the run began."""
        return self._clock

    @property
    def cost(self) -> int:
        """The lines of Python that the handler has run, and about as many as its machine has."""
        return self.limit.lines + LINES_OF_A_CALL * self._guarded_calls

    @property
    def over(self) -> bool:
        """Whether nothing more can happen."""
        done = self.finished and not (self.subject.packets and self._arrivals)
        return done or self._gave_up or self.error is not None

    @property
    def endless(self) -> bool:
        """Whether the handler sends without end: it neither finishes nor waits for input."""
        return self._gave_up and self._since_input > 0

    # Its steps

    def step(self, step: Step) -> None:
        """Make one step of a schedule happen. Raises `TypeError` if it is not a step."""
        if isinstance(step, bytes):
            self._arrivals.append(step)
        elif isinstance(step, Take):
            self._take(step.limit)
        elif step is RESET:
            self.reset()
        elif step is END:
            self._arrivals.append(None)
        elif isinstance(step, (int, float)) and step >= 0:
            self._pass(step)
        else:
            raise TypeError(f"a step is bytes, a number of seconds >= 0, Take(limit), END or RESET, not {step!r}")
        self._go_on()

    def finish(self, to_the_end: bool = False) -> Run:
        """Take all output and let delays pass, until the handler waits for more input. Returns the run.

        With ``to_the_end``, let time pass until the request has ended, and reset the connection of a handler that
        sends without end.
        """
        for done in range(ROUNDS):
            if done == ROUNDS // 2:  # a year passes, longer than the times that the class declares
                self._drain()
                self._since_input = 0
                self._clock += YEAR
            self._go_on()
            if self.over:
                break
            wait = self.machine.wait
            if self.machine.outbox and (self.machine.blocked or self._driver.calls):
                self.drain()
            elif passes(wait, self.patience) or to_the_end or (not self.subject.packets and self.machine.ended):
                if self._row.deadline == float("inf"):
                    break
                self._expire()
            else:
                break
        else:
            self._gave_up = True
        self._drain()
        if to_the_end and self.endless:
            self.reset()
        return self

    def close(self) -> None:
        """Cancel a request that is still open, so that its handler can release what it holds. No part of the run."""
        self.limit.allow(LINES)
        try:
            self.machine.abandon(Cancelled())
        except (Exception, EndlessLoop):
            pass  # a schedule in which the request is interrupted shows the same fault
        finally:
            self.machine.drop_output()  # closes the files in it
            LinesRun.lines += self.cost

    def forget(self) -> None:
        """Forget the calls, and the output that was taken: of a very long run."""
        del self._transcript.calls[:-1]
        self._output.clear()

    @property
    def left_calls(self) -> bool:
        """Whether the request has ended before all its calls were made."""
        return bool(self._driver.calls) and self.finished

    def cancel(self) -> None:
        """The server closes."""
        self._call("abandon(Cancelled())", self.machine.abandon, Cancelled())

    def drain(self) -> None:
        """The kernel takes all output."""
        if self.machine.outbox:
            self._transcript.drain()
            self._drain()

    def reset(self) -> None:
        """The connection is reset."""
        self._arrivals.clear()
        self._transcript.call('abandon(Reset(OSError("the client broke off")))')
        self._guarded(self._abandon)

    def _construct(self) -> None:
        self._driver.calls.clear()  # a request that has ended takes its calls with it
        self.machine: Any = self._channel()
        self._row = PacedRow(self.machine.handler, self._clock)
        self._transcript.construct()
        self._call("advance()", self.machine.advance)

    def _begin(self) -> None:
        """Feed the messages with which each run of the subject begins. The client reads what the handler flushes."""
        for message in self.subject.before:
            self.step(message)
            if not self.over and self.machine.blocked:
                self.drain()
                self._go_on()

    def _make_driver(self) -> RecordingDriver:
        return RecordingDriver(self.subject.world)

    def _channel(self) -> Any:
        """What runs a new request: its machine."""
        with self.limit:
            handler = self.subject.make()
        return self._kind(handler, self._driver)

    def _go_on(self) -> None:
        """Deliver the input that has arrived, as far as the handler wants it, and do the work that it waits for."""
        rounds = 0
        while not self.over:
            machine = self.machine
            if self.finished:
                self.drain()
                self._construct()
                rounds += 1
                self._gave_up = rounds > ROUNDS  # each exchange ends before it takes the packet
            elif machine.wait.outside and not machine.blocked:
                self._work(machine.wait)
                rounds += 1
                self._gave_up = rounds > ROUNDS
            elif may_call(machine, self._driver):
                self._make_call()
            elif self._arrivals and (machine.wants_input or self.subject.packets):
                self._deliver(self._arrivals.popleft())
                rounds = 0
            else:
                return

    def _deliver(self, arrival: bytes | None) -> None:
        self._since_input = 0
        if arrival is None:
            self._call("end()", self.machine.end)
            return
        self.fed += 1 if self.subject.packets else len(arrival)
        self._row.received(len(arrival), self._clock)
        self._transcript.feed(arrival)
        self._guarded(self.machine.feed, arrival, size=len(arrival))

    def _pass(self, seconds: float) -> None:
        self._clock += seconds
        for _ in range(ROUNDS):
            if self.over or self.finished or self._row.deadline > self._clock:
                return
            self._expire()

    def _expire(self) -> None:
        self._clock = max(self._clock, self._row.deadline)
        self._row.expire(_Expiring(self), self._clock)

    def _work(self, whole: Any) -> None:
        """Call the function of `Forked` or `Threaded` at once; any other work outside the loop fails.

        A function that runs more lines than a call of the machine may is not done in time.
        """
        wait: Any = next(part for part in whole.parts if part.outside)
        self.limit.allow(LINES)
        try:
            if not hasattr(wait, "function"):
                raise OSError("there is no network")
            with working(wait), self.limit:
                result = wait.function(*wait.arguments)
            self.needs_client |= isinstance(whole, WhileConnected)
        except EndlessLoop:
            self._call("expire()", self.machine.expire)
        except Exception as error:
            self.subject.mention(type(error))
            failed = f"interrupt(Failed({self.name}.wait, {error!r}))"
            self._call(failed, self.machine.interrupt, Failed(wait, error))
        else:
            again = f"{self.name}.wait.function(*{self.name}.wait.arguments)"
            said = literal(result) if is_literal(result) else again
            self._call(f"resume({said})", self.machine.resume, whole.answer(wait, result))

    def _make_call(self) -> None:
        self._since_input = 0
        before = self._allowed if self._transcript.make_calls() else 0
        size = len(self._driver.calls[0][1])
        with self.limit:
            self.calls_waited |= bool(self._guarded(make_call, self.machine, self._driver, size=size))
        self._allowed += before

    def _abandon(self) -> None:
        try:
            self.machine.abandon(Reset(OSError("the client broke off")))
        finally:
            self.machine.drop_output()

    def _take(self, limit: int) -> None:
        machine = self.machine
        if not machine.outbox:
            return
        for _ in range(min(limit, len(machine.outbox)) if self.subject.packets else 1):
            self._transcript.take(limit)
            self._got(self._guarded(machine.read, *([] if self.subject.packets else [limit])))

    def _drain(self) -> None:
        machine = self.machine
        if not machine.outbox or isinstance(self.error, EndlessLoop):
            return
        data = self._guarded(machine.read)
        while data is not None:
            self._got(data)
            data = self._guarded(machine.read) if self.subject.packets else None

    def _got(self, data: bytes | None) -> None:
        if data is not None and (data or self.subject.packets):
            self._since_input += len(data) + 1
            self._row.sent(len(data), self._clock)
            self._gave_up = self._gave_up or self._since_input > ENDLESS
            self._output.append(data)

    def _call(self, code: str, call: Callable[..., Any], *arguments: Any) -> None:
        """Call a method of the machine, which is ``code`` in the transcript."""
        self._transcript.call(code)
        self._guarded(call, *arguments)

    def _guarded(self, call: Callable[..., Any], *arguments: Any, size: int = 0) -> Any:
        """The result of a call that is given ``size`` bytes; ``None`` if it raises, or runs too many lines."""
        self._guarded_calls += 1
        self._allowed = LINES + LINES_PER_BYTE * size
        self.limit.allow(self._allowed)
        try:
            if not self.subject.blocking:
                return call(*arguments)
            with self.subject.in_its_time():
                return call(*arguments)
        except (KeyboardInterrupt, Unfit):
            raise
        except BaseException as error:
            self.error = error
        finally:
            self._settle()

    def _settle(self) -> None:
        """Do what a row does after each call: arm the deadline, and keep ``max_output``."""
        machine = self.machine
        self.finished, self.reason, self.wait = machine.finished, machine.reason, machine.wait
        if machine.fresh:
            machine.fresh = False
            self.patience = machine.patience
            self._row.begin(machine, self._clock)
            if self.unbounded is None and machine.wait is not None:
                self.unbounded = self._unbounded(machine.wait)
        else:
            self._row.look(machine, self._clock)
        if machine.held_out > machine.handler.max_output and not self.finished:
            self._call("abandon(LimitPassed(None))", machine.abandon, LimitPassed(None))
        if self._watch is not None:
            self._watch(machine)

    def _unbounded(self, wait: Wait) -> Unbounded | None:
        name, most, calls = self.name, self.machine.handler.max_output, len(self._transcript.calls)
        if self._row.deadline - self._clock > YEAR:
            lack = "without a timeout" if self.patience == float("inf") else "with a timeout of over a year"
            return Unbounded(calls, f"it waits for {wait!r} {lack}", f"{name}.patience <= {YEAR:_}  # a year")
        if isinstance(wait, Exactly) and wait.n <= most:
            return None  # it holds no more than it asks for
        if isinstance(wait, StreamWait) and wait.limit > most:
            said = f"getattr({name}.wait, 'n', 0)" if isinstance(wait, Exactly) else f"{name}.wait.limit"
            return Unbounded(calls, f"it waits for {wait!r} with a limit over max_output", f"{said} <= {most}")
        return None

    # Its code

    @property
    def calls(self) -> int:
        """The number of calls so far."""
        return len(self._transcript.calls)

    def output_code(self) -> str:
        """The expression for the whole output, to follow `code`."""
        return self._transcript.output()

    def code(self, most: int | None = None, first: int = 0) -> str:
        """The calls, or only those from ``first`` up to ``most``, as statements. A call that raised is the last.

        Input that the handler has not taken is fed at the end: a handler without the fault may take it.
        """
        calls = self._transcript.calls[first:most]
        if most is None and self.error is None and not self._gave_up:
            calls += [f"{self.name}.end()" if arrival is None else arrival for arrival in self._arrivals]
        lines = self._transcript.statements(self.subject.construct(self._driver.asked), calls)
        if isinstance(self.error, EndlessLoop) and most is None:
            lines[-1] = f"with line_limit({self._allowed:_}):\n    {lines[-1]}  # does not return"
        elif self.error is not None and most is None:
            lines[-1] += f"  # {type(self.error).__name__}: {_first_line(self.error)}".rstrip(": ")
        return "\n".join(folded(lines))


class _Expiring:
    """The machine of a run whose deadline has come: the run records the calls."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run.machine, name)

    def expire(self) -> None:
        self._run._call("expire()", self._run.machine.expire)

    def abandon(self, cause: Cause) -> None:
        run = self._run
        run._call(f"abandon(TimedOut({run.name}.wait))", run.machine.abandon, cause)


def play(kind: Any, schedule: Iterable[Step], world: World | None = None) -> Run:
    """Make ``schedule`` happen to a new request of the handler class ``kind``; returns the `Run`.

    A step is ``bytes`` that arrive, a number of seconds that pass, a `Take`, `END` or `RESET`. Bytes that the handler
    does not want yet wait, as in a kernel's receive buffer. After the last step all output is taken. A blocking class
    that declares ``request`` runs as it does in select mode. ``world`` answers the handler's questions.

    Raises `TypeError` for anything that is not a schedule or not a handler class.
    """
    if isinstance(schedule, (bytes, bytearray, str)):
        raise TypeError(f"a schedule is a list of steps: for one piece of bytes [{brief(schedule)}]")
    return played(Subject(kind, world), schedule)


def played(
    subject: Subject, schedule: Iterable[Step], to_the_end: bool = False, close: bool = True, **options: Any
) -> Run:
    """The `Run` of a schedule and of what `Run.finish` does after it; ``options`` are those of `Run`."""
    with tracing_stays():
        run = Run(subject, **options)
        for step in schedule:
            run.step(step)
        run.finish(to_the_end)
        if close:
            run.close()
        return run


def _first_line(error: BaseException) -> str:
    """The first line of the message, shortened and printable, for a comment."""
    line = textwrap.shorten(str(error).partition("\n")[0], 60, placeholder=" …")
    return "".join(letter if letter.isprintable() else "?" for letter in line)
