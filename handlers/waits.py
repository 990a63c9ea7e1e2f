"""Waits: what a partially finished request can wait for.

A wait is a value: a state returns it, the table prints it, a test compares it. Only the machine satisfies it. A wait
that fails has a cause (see `causes`), and never the result ``b""`` or ``None`` instead.
"""

from __future__ import annotations

from abc import ABCMeta
from functools import lru_cache

from .causes import Failed, LimitPassed
from .channel import OPEN
from .saying import safe_str
from .sources import NOTHING
from .wait import LIMIT, StreamWait, Wait, is_seconds
from .world import NO_MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Generator
    from typing import Any, TypeAlias

    from .channel import PacketChannel, StreamChannel
    from .filter import Filter
    from .handler import Handler, StreamHandler
    from .machine import Machine
    from .packet_filter import PacketFilter

    Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | bytes
    MakeFilter: TypeAlias = Callable[[StreamChannel], Filter]
    MakePacketFilter: TypeAlias = Callable[[PacketChannel], PacketFilter]


def function_name(function: object) -> str:
    """The name of a function, for a text."""
    return safe_str(getattr(function, "__qualname__", function))


class LookedUp(ABCMeta):
    """The class of a class that gives one object for equal arguments: a look-up costs less than a new object.

    A class that is derived from such a class is `Made`, because its objects may have a state. It may also be derived
    from an abstract class, whose class has to be a base of this one.
    """

    if not TYPE_CHECKING:
        __call__ = lru_cache(maxsize=256, typed=True)(type.__call__)

    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any], **named: Any) -> Any:
        is_derived = any(isinstance(base, LookedUp) for base in bases)
        return super().__new__(Made if is_derived else cls, name, bases, space, **named)

    @property
    def __signature__(cls) -> Any:
        """That of the constructor, which ``inspect.signature`` does not find behind the look-up."""
        from inspect import signature  # here, because no server asks

        made = signature(cls.__init__)  # type: ignore[misc]
        return made.replace(parameters=list(made.parameters.values())[1:])


class Made(LookedUp):
    """The class of a class derived from one that is `LookedUp`: each call makes an object, as for any other class."""

    if not TYPE_CHECKING:
        __call__ = type.__call__


class Until(StreamWait, metaclass=LookedUp):
    """All bytes up to ``delimiter``, the delimiter included.

    ``limit`` is in bytes, the delimiter included. A delimiter that is split over two reads is found. Bytes after it
    stay for the next wait. Many handlers wait for the same, so calls with equal arguments give one object: never change
    it.
    """

    __slots__ = ("delimiter",)
    hungry = True

    def __init__(self, delimiter: bytes, limit: int = LIMIT, timeout: float | None = None) -> None:
        StreamWait.__init__(self, limit, timeout)
        if not isinstance(delimiter, bytes) or not delimiter:
            raise ValueError(f"Until: delimiter is at least one byte of type bytes, not {delimiter!r}")
        if limit < len(delimiter):
            raise ValueError(f"Until: limit counts the delimiter too, and {delimiter!r} is longer than {limit}")
        self.delimiter = delimiter

    def _said(self) -> tuple[object, ...]:
        return (self.delimiter, self.limit)

    def __repr__(self) -> str:
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"Until({self.delimiter!r}, limit={self.limit}{timeout})"

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        delimiter = self.delimiter
        first = start if scanned == start else max(start, scanned - len(delimiter) + 1)
        found = held.find(delimiter, first, start + self.limit)
        if found >= 0:
            return found + len(delimiter)
        if len(held) - start >= self.limit:
            raise LimitPassed(self)
        return -1


class UntilAny(StreamWait):
    """All bytes up to the first of several ``delimiters``, that delimiter included.

    The delimiter that begins first ends the piece; of several that begin at one place, the longest. So with ``b"\\r"``
    and ``b"\\r\\n"``, a CR at the end of what has come waits for the next byte, or for the end of the stream: a stream
    that is cut in another place gives the same pieces. ``limit`` is in bytes, the delimiter included.

    >>> from handlers import StreamHandler, StreamMachine, UntilAny
    >>> class Lines(StreamHandler):
    ...     async def handle(self):
    ...         while True:
    ...             self.send(b"%r " % await UntilAny(b"\\r\\n", b"\\n", limit=512))
    >>> machine = StreamMachine(Lines())
    >>> _ = machine.feed(b"one\\r\\ntwo\\nthr")
    >>> machine.read()
    b"b'one\\\\r\\\\n' b'two\\\\n' "
    """

    __slots__ = ("delimiters",)
    hungry = True

    def __init__(self, *delimiters: bytes, limit: int = LIMIT, timeout: float | None = None) -> None:
        StreamWait.__init__(self, limit, timeout)
        if not delimiters or not all(isinstance(delimiter, bytes) and delimiter for delimiter in delimiters):
            raise ValueError(f"UntilAny: a delimiter is at least one byte of type bytes, not {delimiters!r}")
        if limit < max(map(len, delimiters)):
            raise ValueError(
                f"UntilAny: limit counts the delimiter too, and one of {delimiters!r} is longer than {limit}"
            )
        self.delimiters = delimiters

    def _said(self) -> tuple[object, ...]:
        return (*self.delimiters, self.limit)

    def __repr__(self) -> str:
        said = ", ".join(map(repr, self.delimiters))
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"UntilAny({said}, limit={self.limit}{timeout})"

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        pattern, longest = _alternatives(self.delimiters)
        first, last = max(start, scanned - longest + 1), start + self.limit
        found = pattern.search(held, first, last)
        if found is None:
            if len(held) >= last:
                raise LimitPassed(self)
            return -1
        place, end = found.span()
        return end if ended or self._is_decided(held, max(first, len(held) - longest + 1), place, end, last) else -1

    def _is_decided(self, held: bytes | bytearray, first: int, place: int, end: int, last: int) -> bool:
        """Whether no delimiter that has come in part, from ``first`` on, may come before the one at ``place``."""
        for begin in range(first, place + 1):
            tail = bytes(held[begin:])
            for delimiter in self.delimiters:
                is_better = begin < place or begin + len(delimiter) > end
                if is_better and len(tail) < len(delimiter) <= last - begin and delimiter.startswith(tail):
                    return False
        return True


@lru_cache(maxsize=64)
def _alternatives(delimiters: tuple[bytes, ...]) -> tuple[re.Pattern[bytes], int]:
    """A pattern that finds the delimiter that begins first, of several the longest; and the length of the longest."""
    import re  # here because most programs have no use for it

    longest_first = sorted(delimiters, key=len, reverse=True)
    return re.compile(b"|".join(map(re.escape, longest_first))), len(longest_first[0])


class Exactly(StreamWait):
    """The next ``n`` bytes, no fewer and no more.

    ``n`` often comes from the peer: if it is more than ``limit``, the cause is `LimitPassed` at once, before any of
    the bytes is held. ``Exactly(0)`` is satisfied at once with ``b""``.
    """

    __slots__ = ("n",)

    def __init__(self, n: int, limit: int = 1 << 20, timeout: float | None = None) -> None:
        if n.__class__ is int and limit.__class__ is int and n >= 0 < limit and timeout is None:  # as in `Until`
            self.limit, self.timeout = limit, None
        elif not isinstance(n, int) or n < 0:
            raise ValueError(f"Exactly: n is a number of bytes >= 0, not {n!r}")
        else:
            StreamWait.__init__(self, limit, timeout)
        self.n = n

    @property
    def hungry(self) -> bool:  # type: ignore[override]
        return 0 < self.n <= self.limit

    def _said(self) -> tuple[object, ...]:
        return (self.n,) if self.limit == 1 << 20 else (self.n, self.limit)

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        if self.n > self.limit:
            raise LimitPassed(self)
        end = start + self.n
        return end if end <= len(held) else -1


class Some(StreamWait):
    """The bytes that have come, at least one and at most ``limit``."""

    __slots__ = ()
    hungry = True

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        end = len(held)
        if end == start:
            return -1
        return end if end - start <= self.limit else start + self.limit


class ToEnd(StreamWait):
    """All bytes up to the end of the stream, which satisfies this wait instead of being a cause.

    If more than ``limit`` bytes come, the cause is `LimitPassed`.
    """

    __slots__ = ()

    def __init__(self, limit: int = 1 << 20, timeout: float | None = None) -> None:
        super().__init__(limit, timeout)

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        if len(held) - start > self.limit:
            raise LimitPassed(self)
        return len(held) if ended else -1


class Packet(Wait):
    """The next datagram from this peer, as ``bytes``, whole. For datagram handlers only."""

    __slots__ = ()
    reads = True

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Wait, bytes, bytes]: ...


class Flushed(Wait):
    """Until the kernel has taken all output of this request; the result is ``None``.

    With ``of``, the handler of another row, it waits for the output of that row instead: a proxy that reads on only
    when the other side has drained passes backpressure from one side to the other. When the output drains, the waits of
    all rows that wait for it end, even if the first of them sends again. For a row that has ended, the wait ends at
    once.
    """

    __slots__ = ("of",)

    def __init__(self, of: Handler | None = None, timeout: float | None = None) -> None:
        super().__init__(timeout)
        if of is not None and (isinstance(of, type) or not hasattr(of, "send")):
            raise TypeError(f"Flushed: of is the handler of another request, not {of!r}")
        self.of = of

    def _said(self) -> tuple[object, ...]:
        return () if self.of is None else (self.of,)

    def leave(self, machine: Machine) -> None:
        target: Any = getattr(self.of, "_machine", NO_MACHINE)
        if target is not NO_MACHINE:
            target.unfollow(machine)
            machine.drained = None


class Relayed(Wait):
    """Until the peer has ended its stream; all that it sends goes to ``to``, the handler of another row.

    The result is ``None``, and the output of ``to`` is still open: a half-close is passed on by ``to.send_eof()``. What
    is held goes first. The row reads on only when the output of ``to`` has drained, so at most one piece is held in
    each direction. A reactor has the kernel move the bytes where it can (``splice(2)``).

    ``timeout`` is for silence: it begins anew when a byte comes or goes on the connection of this row, in either
    direction. If ``to`` can't send any more, the cause is `Failed`, at once or when the next piece comes.

    >>> from handlers import Delay, Relayed, StreamHandler, StreamMachine
    >>> class Target(StreamHandler):
    ...     def handle(self):
    ...         return Delay(60), self.finish
    >>> class Client(StreamHandler):
    ...     async def handle(self):
    ...         await Relayed(target)
    ...         target.send_eof()
    >>> target = Target()
    >>> machines = StreamMachine(target), StreamMachine(Client())
    >>> for machine in machines:
    ...     machine.advance()
    >>> _ = machines[1].feed(b"for the target")
    >>> machines[0].read(), machines[0].output
    (b'for the target', 'open')
    >>> machines[1].end(), machines[0].output
    (None, 'ending')
    """

    __slots__ = ("to",)
    reads = relays = True
    hungry = False

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Wait, None, None]: ...

    def __init__(self, to: StreamHandler, timeout: float | None = None) -> None:
        super().__init__(timeout)
        if isinstance(to, type) or not hasattr(to, "send_eof"):
            raise TypeError(f"Relayed: to is the handler of another stream, not {to!r}")
        self.to = to

    def _said(self) -> tuple[object, ...]:
        return (self.to,)

    def find(self, held: bytes, start: int, scanned: int, ended: bool) -> int:
        """``start``: the hot path leaves it to `take`."""
        return start

    def take(self, machine: Any) -> Any:
        """Pass on what a `StreamMachine` holds. ``None`` at the end of its stream, else `NOTHING`."""
        target: Any = self.to._machine
        if machine.drained is self:
            machine.drained = None
        if target.state is None or target.output is not OPEN or target.excess is not None:
            raise Failed(self, BrokenPipeError("the request that it relays to takes no more output"))
        if not target.outbox and machine.held_in:
            target.write(machine.take_held())
        target.follow(machine, self)  # before the outbox is looked at: another thread may empty it
        if target.outbox:
            machine.blocked = True
            return NOTHING
        target.unfollow(machine)
        return None if machine.over and not machine.held_in else NOTHING

    def leave(self, machine: Machine) -> None:
        target: Any = self.to._machine
        if target is not NO_MACHINE:
            target.unfollow(machine)
            machine.drained = None


class Delay(Wait):
    """Until ``seconds`` have passed; the result is ``None``. Input that comes meanwhile stays in the kernel."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        super().__init__()
        if not is_seconds(seconds):
            raise ValueError(f"Delay: seconds >= 0, not {seconds!r}")
        self.seconds = seconds

    def _said(self) -> tuple[object, ...]:
        return (self.seconds,)


class Outside(Wait):
    """A wait for work that the driver does. Derive a class and register what does the work (`reactor.table.work.does`).

    If the work fails, the cause is `Failed`.
    """

    __slots__ = ()
    outside = True


REFUSE, FEED = "refuse", "feed"
"""What `Filtered` does with input that is held already (its argument ``held``)."""


class Filtered(Wait):
    """Put a filter between this request and its connection, and wait until it is open; the result is ``None``.

    ``make`` is called with the channel of the request and returns a `Filter` in front of it. Output that was sent
    before leaves first, not through the filter; ``timeout`` is the time for that. The filter sets the time for its
    opening. If the filter can't open, the request ends with the filter's cause.

    ``held`` says what becomes of input that is held when the filter is put in, which the peer has sent before it knew
    of the filter:

    - ``REFUSE``: the cause is `TooEarly`, and no filter is put in. Right for STARTTLS, where TLS does not protect such
      input, so it must not be taken for protected input (RFC 3207, section 6; CVE-2011-0411);
    - ``FEED``: it is the first input of the filter. Right where the peer may go on without waiting, as after a header
      that says how the body is compressed.
    """

    __slots__ = ("held", "make")

    def __init__(self, make: MakeFilter, *, held: str, timeout: float | None = None) -> None:
        super().__init__(timeout)
        if not callable(make):
            raise TypeError(f"Filtered: make is called with a channel and returns a filter, not {make!r}")
        if held not in (REFUSE, FEED):
            raise ValueError(f"Filtered: held is REFUSE or FEED, not {held!r}")
        self.make = make
        self.held = held

    def _said(self) -> tuple[object, ...]:
        return (self.make, self.held)

    def __repr__(self) -> str:
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"Filtered({function_name(self.make)}, held={self.held!r}{timeout})"


class Opening(Wait):
    """The wait of a row while a filter opens. ``what`` is a text for the table. Handlers do not return it."""

    __slots__ = ("what",)
    reads = True
    if TYPE_CHECKING:
        timeout: float

    def __init__(self, what: str, timeout: float) -> None:
        super().__init__(timeout)
        self.what = what

    def _said(self) -> tuple[object, ...]:
        return (self.what,)
