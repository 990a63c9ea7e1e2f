"""`FirstOf`: whichever of several waits is satisfied first; `WhileConnected`: a wait that the peer may break off."""

from __future__ import annotations

from .causes import EndOfStream
from .sources import NOTHING, Sourced
from .wait import StreamWait, Wait
from .waits import Delay, Outside, Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from .machine import Machine


PARTS = StreamWait, Packet, Delay, Sourced, Outside
"""The waits that may be one of several."""


class FirstOf(Wait):
    """Until one of several ``waits`` is satisfied; the result is a pair: that wait, and its result.

    One of them may be for input (a `StreamWait`, or a `Packet`); the others are a `Delay`, a `Happened`, a `Taken`, or
    work outside (`Forked`, `Threaded`, `Connected`, …). If several are satisfied at once, the one named first counts.

    Nothing is lost: input that does not satisfy its wait stays held, an item is taken from a queue only by the wait
    that counts, and work outside that is not done yet is ended as if its wait had timed out. A cause of any of the
    waits, such as `EndOfStream` or `Failed`, is the cause of the whole. ``timeout`` is of the whole; the waits have
    none of their own.

    >>> from handlers import Delay, Event, FirstOf, Happened, StreamHandler, StreamMachine, Until
    >>> class Chat(StreamHandler):
    ...     async def handle(self):
    ...         line, closing, rest = Until(b"\\n"), Happened(end), Delay(30)
    ...         while True:
    ...             wait, result = await FirstOf(line, closing, rest)
    ...             if wait is closing:
    ...                 return
    ...             self.send(result if wait is line else b"are you there?\\n")
    >>> end = Event()
    >>> machine = StreamMachine(Chat())
    >>> machine.advance()
    >>> _ = machine.feed(b"one\\ntw")
    >>> machine.expire()
    >>> _ = machine.feed(b"o\\n")
    >>> end.set()
    >>> machine.read()
    b'one\\nare you there?\\ntwo\\n'
    """

    __slots__ = ("due", "reads", "waits")
    hungry = False  # even without input the sources are looked at

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Wait, Any, Any]: ...

    def __init__(self, *waits: Wait, timeout: float | None = None) -> None:
        self.timeout = None
        if timeout is not None:
            super().__init__(timeout)
        reads, due = False, None
        for wait in waits:
            if not isinstance(wait, PARTS) or wait.timeout is not None or (reads and wait.reads):
                raise self._refusal(wait)
            reads = reads or wait.reads
            if wait.__class__ is Delay and (due is None or wait.seconds < due.seconds):
                due = wait
        if not waits:
            raise ValueError(f"{type(self).__name__}: one wait or more")
        self.waits = waits
        self.reads = reads
        self.due: Delay | None = None
        """The `Delay` that is satisfied when the time of the wait is over."""
        if due is not None and (timeout is None or due.seconds <= timeout):
            self.due, self.timeout = due, due.seconds

    def _refusal(self, wait: Wait) -> Exception:
        """What is wrong with ``wait`` as one of several."""
        name = type(self).__name__
        if not isinstance(wait, PARTS):
            return TypeError(f"{name}: {wait!r} can't be one of several waits")
        if wait.timeout is not None:
            return ValueError(f"{name}: the timeout is of the {name}, not of {wait!r}")
        return ValueError(f"{name}: one of the waits may be for input, and {wait!r} is the second")

    @property
    def parts(self) -> tuple[Wait, ...]:
        return self.waits

    @property
    def is_progress(self) -> bool:  # type: ignore[override]
        return any(part.is_progress for part in self.waits)

    @property
    def outside(self) -> bool:  # type: ignore[override]
        return any(wait.outside for wait in self.waits)

    def _said(self) -> tuple[object, ...]:
        return self.waits

    def __repr__(self) -> str:
        said = [*map(repr, self.waits)]
        if self.due is None and self.timeout is not None:
            said.append(f"timeout={self.timeout!r}")
        return f"{type(self).__name__}({', '.join(said)})"

    def find(self, held: bytes, start: int, scanned: int, ended: bool) -> int:
        """``start``: the hot path leaves it to `take`."""
        return start

    def take(self, machine: Machine) -> Any:
        """The answer, if one of the waits is satisfied, else `NOTHING`."""
        for part in self.waits:
            if not isinstance(part, machine.accepts):
                raise TypeError(f"{self!r}: a {type(machine).__name__} has no {type(part).__name__}")
            result = NOTHING if isinstance(part, Delay) else machine.take(part)
            if result is not NOTHING:
                machine.leave_wait()
                return self.answer(part, result)
            if machine.wait is not self:  # the stream has ended between messages
                break
        return NOTHING

    def leave(self, machine: Machine) -> None:
        for part in self.waits:
            if isinstance(part, Sourced):
                part.source.leave(machine)

    def answer(self, part: Wait, result: object) -> object:
        return part, result


class InputEnded(StreamWait):
    """Until the peer has ended its stream; the result is ``b""``.

    What the peer sends before stays held for the next wait. At ``limit`` bytes held the row reads no more, and does not
    notice the end. Of use in a `FirstOf`.
    """

    __slots__ = ()

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        return start if ended else -1


class WhileConnected(FirstOf):
    """``wait``, as long as the peer does not end its stream; the result is that of ``wait``.

    If the stream ends before, the cause is `EndOfStream`: work outside is broken off, the child of a `Forked` is
    killed. (A reset is the cause `Reset`, with or without this.) Input that comes meanwhile stays held for the next
    wait; at ``limit`` bytes the row reads no more, and does not notice the end.

    Not for a peer that ends its stream when it has sent its request, and then reads the answer.

    >>> from handlers import Delay, StreamHandler, StreamMachine, WhileConnected
    >>> class Slow(StreamHandler):
    ...     async def handle(self):
    ...         await WhileConnected(Delay(60))
    >>> machine = StreamMachine(Slow())
    >>> machine.advance()
    >>> _ = machine.feed(b"next"), machine.end()
    >>> machine.reason
    EndOfStream('end of stream with 0 bytes of an unfinished piece')
    """

    __slots__ = ()

    def __init__(self, wait: Wait, limit: int = 65_536, timeout: float | None = None) -> None:
        if getattr(wait, "reads", False):
            raise ValueError(f"WhileConnected: {wait!r} notices the end of the stream itself")
        super().__init__(wait, InputEnded(limit), timeout=timeout)

    def __repr__(self) -> str:
        said = [repr(self.waits[0])]
        limit = self.waits[1].limit  # type: ignore[attr-defined]
        if limit != 65_536:
            said.append(f"limit={limit}")
        if self.due is None and self.timeout is not None:
            said.append(f"timeout={self.timeout!r}")
        return f"WhileConnected({', '.join(said)})"

    def answer(self, part: Wait, result: object) -> object:
        if isinstance(part, InputEnded):
            raise EndOfStream
        return result
