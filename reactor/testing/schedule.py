"""A schedule is what happens to a request, as plain data; `play` makes it happen to a machine, with no network.

What a loop and a kernel would do is done here by calls of the machine's public methods. They
are written down, so that a run can be told as the code of a test.

>>> from handlers.services import Echo
>>> run = play(Echo, [b"he", Take(1), b"llo", 299.0, END])
>>> run.output, run.finished, run.reason
(b'hello', True, None)
"""

from __future__ import annotations

import textwrap
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from handlers import Cancelled, Delay, Failed, LimitPassed, Reset, StreamWait

from .counting import (
    LINES,
    LINES_PER_BYTE,
    METER,
    EndlessLoop,
    count_attributes,
    counted_arrays,
    counting_machine,
    line_limit,
)
from .subject import Asked, Row, Subject, brief, folded, is_literal, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from handlers import Cause, Machine, Wait, World

    Step: TypeAlias = "bytes | float | Take | Event"
    Schedule: TypeAlias = "list[Step]"

TALK = 1 << 18
"""Bytes of output in a row, with no input taken, after which a handler is held to talk without end."""

YEAR = 31_536_000
"""Seconds. A wait that may take longer is held to have no time out."""

ROUNDS = 200
"""Times in a row that a handler may let time pass or output drain before it is held never to come to rest."""


class Take:
    """The kernel takes at most ``limit`` bytes of the output (of datagrams: packets). With 0, it refuses."""

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        if not isinstance(limit, int) or limit < 0:
            raise ValueError(f"Take: limit is a number of bytes, or of packets, >= 0, not {limit!r}")
        self.limit = limit

    def __repr__(self) -> str:
        return f"Take({self.limit})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Take) and other.limit == self.limit

    def __hash__(self) -> int:
        return hash((Take, self.limit))


class Event(Enum):
    """What can happen to a connection besides bytes."""

    END = "the client ends its side"
    RESET = "the connection breaks"

    def __repr__(self) -> str:
        return self.name


END, RESET = Event.END, Event.RESET


class Unbounded(NamedTuple):
    """A wait without a bound: after how many calls it began, what it lacks, the expression that is false of it."""

    calls: int
    lack: str
    bound: str


class Run:
    """One request, or one client's exchanges of datagrams, and what became of it.

    ``watch`` is called with the machine after each of its calls.
    """

    def __init__(
        self, subject: Subject, *, name: str = "machine", machine: type[Machine] | None = None,
        watch: Callable[[Any], object] | None = None,
    ) -> None:  # fmt: skip
        self.subject = subject
        self.name = name
        self.error: BaseException | None = None
        """What the handler raised, if it did; an `EndlessLoop` if it would not return."""
        self.finished = False
        """Whether the (last) request has ended."""
        self.reason: BaseException | None = None
        """Why it ended; ``None`` if it finished or is open."""
        self.wait: Wait | None = None
        self.patience = 0.0
        """What it waits for, and for how many seconds at most."""
        self.unbounded: Unbounded | None = None
        """The first wait that it came to and that had no bound, if there was one."""
        self.fed = 0
        """Bytes (of datagrams: packets) that the handler took."""
        self.limit = line_limit(LINES, but=globals())
        """Counts the lines of Python that the handler and its machine run, and ends what runs too many."""
        self.calls: list[str | tuple[str, bytes]] = []
        self._driver = Asked(subject.world)
        self._kind = subject.machine if machine is None else machine
        self._watch = watch
        self._arrivals: deque[bytes | None] = deque()
        self._read: list[bytes] = []
        self._read_midway = False
        self._talk = 0
        self._tired = False
        self._clock = 0.0
        self._allowed = LINES
        self._output = "output" if name == "machine" else f"{name}_output"
        self._begin()

    # What became of it

    @property
    def output(self) -> Any:
        """What was sent: ``bytes``, of datagrams a list of them."""
        return list(self._read) if self.subject.packets else b"".join(self._read)

    @property
    def asked(self) -> set[str]:
        """What the (last) handler asked its world for: ``"peer"``, ``"server"``, ``"now"``."""
        return self._driver.asked

    @property
    def over(self) -> bool:
        """Whether nothing can happen any more."""
        done = self.finished and not (self.subject.packets and self._arrivals)
        return done or self._tired or self.error is not None

    @property
    def endless(self) -> bool:
        """Whether it sends and sends, and neither ends nor waits for input."""
        return self._tired and self._talk > 0

    # What happens to it

    def step(self, step: Step) -> None:
        """Let one step of a schedule happen."""
        if isinstance(step, bytes):
            self._arrivals.append(step)
        elif isinstance(step, Take):
            self._take(step.limit)
        elif step is RESET:
            self.abandon()
        elif step is END:
            self._arrivals.append(None)
        elif isinstance(step, (int, float)) and step >= 0:
            self._pass(step)
        else:
            raise TypeError(f"a step is bytes, a number of seconds >= 0, Take(limit), END or RESET, not {step!r}")
        self._go()

    def finish(self, to_the_end: bool = False) -> Run:
        """Let the kernel take all output, and let the handler go on until it waits for more input.

        With ``to_the_end`` time passes until the request has ended, or the connection breaks because it
        sends without end. Returns the run.
        """
        for done in range(ROUNDS):
            if done == ROUNDS // 2:
                self._drain()
                self._talk = 0  # what counts is what it still says now
                self._clock += YEAR  # and the time that its class allows it is over
            self._go()
            if self.over:
                break
            wait = self.machine.wait
            if self.machine.blocked and self.machine.outbox:
                self.drain()
            elif type(wait) is Delay or to_the_end or self.machine.ended:
                if self._row.deadline == float("inf"):
                    break
                self._expire()
            else:
                break
        else:
            self._tired = True
        self._drain()
        if to_the_end and self.endless:
            self.abandon()
        return self

    def close(self) -> None:
        """End what is still open, so that its handler gives back what it holds. That is no part of the run."""
        self.limit.allow(LINES)
        try:
            with self.limit:
                self.machine.abandon(Cancelled())
        except (Exception, EndlessLoop):
            pass  # if it fails in this, it does so in a schedule too, and is found there

    def drain(self) -> None:
        """Let the kernel take all output."""
        if self.machine.outbox:
            self._read_midway = True
            self.calls.append(f"{self._output} += {self._reading()}")
            self._drain()

    def abandon(self) -> None:
        """Break the connection."""
        self._arrivals.clear()
        self._call('abandon(Reset(OSError("the client broke off")))', self._break)

    def _begin(self) -> None:
        self.machine: Any = self._kind(self.subject.handler(), self._driver)
        self._row = Row(self.machine.handler, self._clock)
        self.calls.append("=")
        self._call("advance()", self.machine.advance)

    def _go(self) -> None:
        """Deliver what has arrived for as long as the handler wants it."""
        rounds = 0
        while not self.over:
            machine = self.machine
            if self.finished:
                self.drain()
                self._begin()
            elif machine.wait.outside and not machine.blocked:
                self._elsewhere(machine.wait)
                rounds += 1
                self._tired = rounds > ROUNDS
            elif self._arrivals and (machine.wants_input or self.subject.packets):
                self._deliver(self._arrivals.popleft())
            else:
                return

    def _deliver(self, arrival: bytes | None) -> None:
        self._talk = 0
        if arrival is None:
            self._call("end()", self.machine.end)
        else:
            self.fed += 1 if self.subject.packets else len(arrival)
            self._row.took(len(arrival), self._clock)
            self._call(("feed", arrival), self.machine.feed, arrival)

    def _pass(self, seconds: float) -> None:
        self._clock += seconds
        for _ in range(ROUNDS):
            if self.over or self.finished or self._row.deadline > self._clock:
                return
            self._expire()

    def _expire(self) -> None:
        self._clock = max(self._clock, self._row.deadline)
        self._row.expire(Late(self), self._clock)

    def _elsewhere(self, wait: Any) -> None:
        """What a wait asks for elsewhere is done here and now; a connection can't be had without a network."""
        try:
            if not hasattr(wait, "function"):
                raise OSError("there is no network")
            result = wait.function(*wait.arguments)
        except Exception as error:
            self.subject.mention(type(error))
            text = f"interrupt(Failed({self.name}.wait, {error!r}))"
            self._call(text, self.machine.interrupt, Failed(wait, error))
        else:
            again = f"{self.name}.wait.function(*{self.name}.wait.arguments)"
            self._call(f"resume({literal(result) if is_literal(result) else again})", self.machine.resume, result)

    def _break(self) -> None:
        try:
            self.machine.abandon(Reset(OSError("the client broke off")))
        finally:
            self.machine.drop_output()

    def _take(self, limit: int) -> None:
        machine = self.machine
        if not machine.outbox:
            return
        if self.subject.packets:
            for _ in range(min(limit, len(machine.outbox))):
                self._got(self._call(f"{self._output}.append({self.name}.read())", machine.read))
        else:
            self._got(self._call(f"{self._output} += {self.name}.read({limit})", machine.read, limit))
        self._read_midway = True

    def _drain(self) -> None:
        machine = self.machine
        if not machine.outbox or isinstance(self.error, EndlessLoop):
            return
        data = self._call("", machine.read)
        while data is not None:
            self._got(data)
            data = self._call("", machine.read) if self.subject.packets else None

    def _reading(self) -> str:
        return f"iter({self.name}.read, None)" if self.subject.packets else f"{self.name}.read()"

    def _got(self, data: bytes | None) -> None:
        if data is not None and (data or self.subject.packets):
            self._talk += len(data) + 1
            self._row.gave(len(data), self._clock)
            self._tired = self._tired or self._talk > TALK
            self._read.append(data)

    def _call(self, text: str | tuple[str, bytes], call: Callable[..., Any], *arguments: Any) -> Any:
        if text:
            self.calls.append(text)
        size = len(arguments[0]) if arguments and isinstance(arguments[0], bytes) else 0
        self._allowed = LINES + LINES_PER_BYTE * size
        self.limit.allow(self._allowed)
        try:
            with self.limit:
                return call(*arguments)
        except KeyboardInterrupt:
            raise  # somebody has had enough
        except BaseException as error:
            self.error = error
        finally:
            self._settle()

    def _settle(self) -> None:
        """Do what a row does after each call: keep the deadline, and the bound of the output."""
        machine = self.machine
        self.finished, self.reason, self.wait = machine.finished, machine.reason, machine.wait
        if machine.fresh:
            machine.fresh = False
            self.patience = machine.patience
            self._row.begin(machine, self._clock)
            if self.unbounded is None and machine.wait is not None:
                self.unbounded = self._unbounded(machine.wait)
        if machine.held_out > machine.handler.max_output and not self.finished:
            self._call("abandon(LimitPassed(None))", machine.abandon, LimitPassed(None))
        if self._watch is not None:
            self._watch(machine)

    def _unbounded(self, wait: Wait) -> Unbounded | None:
        name, most = self.name, self.machine.handler.max_output
        if self._row.deadline - self._clock > YEAR:
            bound = f"{name}.patience <= {YEAR:_}  # a year"
            some = "" if self.patience == float("inf") else " to speak of"
            return Unbounded(len(self.calls), f"it waits for {wait!r} without a time out{some}", bound)
        if isinstance(wait, StreamWait) and wait.limit > most:
            lack = f"it waits for {wait!r} without a limit to speak of"
            return Unbounded(len(self.calls), lack, f"{name}.wait.limit <= {most}")
        return None

    # The code of it

    def reading(self) -> str:
        """The expression, in the code, for all that was sent."""
        last = f"list({self._reading()})" if self.subject.packets else self._reading()
        return f"{self._output} + {last}" if self._read_midway else last

    def code(self, most: int | None = None) -> str:
        """The calls, or the first ``most`` of them, as statements; the one that raised is the last.

        What still waits for a handler that wants no more is there too: a handler that is right may want it.
        """
        calls = self.calls[:most]
        if most is None and self.error is None and not self._tired:
            calls += ["end()" if arrival is None else ("feed", arrival) for arrival in self._arrivals]
        construct = f"{self.name} = {self.subject.construct(self._driver.asked)}"
        lines: list[str] = []
        if self._read_midway:
            lines.append(f"{self._output} = {'[]' if self.subject.packets else repr(b'')}")
        for place, call in enumerate(calls):
            if call == "=":
                lines.append(construct)
            elif isinstance(call, tuple):
                lines.append(f"{self.name}.{call[0]}({literal(call[1])})")
            elif call.startswith(self._output):
                lines.append(call)
            elif call != "advance()" or not _starts(calls[place + 1 : place + 2]):
                lines.append(f"{self.name}.{call}")
        if isinstance(self.error, EndlessLoop) and most is None:
            lines[-1] = f"with line_limit({self._allowed:_}):\n    {lines[-1]}  # does not return"
        elif self.error is not None and most is None:
            lines[-1] += f"  # {type(self.error).__name__}: {_first_line(self.error)}".rstrip(": ")
        return "\n".join(folded(lines))


class Late:
    """The machine of a run whose time is over: what a `Row` does to it is written down."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.handler, self.wait, self.finished = run.machine.handler, run.machine.wait, run.machine.finished

    def expire(self) -> None:
        self._run._call("expire()", self._run.machine.expire)

    def abandon(self, cause: Cause) -> None:
        run = self._run
        run._call(f"abandon(TimedOut({run.name}.wait))", run.machine.abandon, cause)


def play(kind: Any, schedule: Iterable[Step], world: World | None = None) -> Run:
    """Let ``schedule`` happen to a new request of the handler class ``kind``, and return the `Run`.

    Each step is ``bytes`` that arrive, a number of seconds that pass, `Take`, `END` or `RESET`.
    Bytes that the handler does not want yet wait, as in the kernel. After the last step all output
    is taken. For a blocking class that declares ``request``, what select mode makes of it is run.

    Raises `TypeError` for anything else.
    """
    if isinstance(schedule, (bytes, bytearray, str)):
        raise TypeError(f"a schedule is a list of steps: for one piece of bytes [{brief(schedule)}]")
    return played(Subject(kind, world), schedule)


def played(
    subject: Subject, schedule: Iterable[Step], to_the_end: bool = False, close: bool = True, **options: Any
) -> Run:
    """`play`, for a `Subject`; ``options`` are those of `Run`."""
    run = Run(subject, **options)
    with run.limit:  # once, for to begin and to end it for each call takes longer than the calls
        for step in schedule:
            run.step(step)
        run.finish(to_the_end)
        if close:
            run.close()
        return run


def work(kind: Any, schedule: Iterable[Step], world: World | None = None) -> int:
    """What ``schedule`` costs a new request of the handler class ``kind``: a number to compare, not a time.

    It is the lines of Python that are run plus the bytes that are gone over when the handler
    searches, cuts and joins them: in bytes as it is given them, in what they are decoded to, in
    what it keeps in attributes, and in each ``bytearray`` that the module of its class makes. What regular
    expressions and ``bytes.join`` cost is not seen. Raises what the handler raises.

    >>> from handlers.services import Discard
    >>> work(Discard, [b"a"] * 200) < 3 * work(Discard, [b"a"] * 100)
    True
    """
    run, cost = worked(Subject(kind, world), schedule)
    if run.error is not None:
        raise run.error
    return cost


def worked(subject: Subject, schedule: Iterable[Step]) -> tuple[Run, int]:
    """The run of a schedule with what it costs counted, and what that is."""
    METER.touched = 0
    counting = counting_machine(subject.machine)
    with counted_arrays(subject.kind):
        run = played(subject, schedule, machine=counting, watch=lambda machine: count_attributes(machine.handler))
    return run, run.limit.lines + METER.touched


def _starts(following: list[str | tuple[str, bytes]]) -> bool:
    """Whether the next call starts the request as well as ``advance()`` does."""
    return bool(following) and (isinstance(following[0], tuple) or following[0] == "end()")


def _first_line(error: BaseException) -> str:
    line = textwrap.shorten(str(error).partition("\n")[0], 60, placeholder=" …")
    return "".join(letter if letter.isprintable() else "?" for letter in line)  # it is to stand in a comment
