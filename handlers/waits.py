"""The vocabulary: what a partially finished request can wait for, and why a wait can fail.

A wait is a value. A state returns one, the table prints it, a test compares it; only the
machine satisfies it. A cause is an exception, because in a coroutine it is raised at the
``await``; a handler written as states gets the same object in ``interrupted(cause)``.
Nothing is in-band: no wait answers with ``b""`` or ``None`` to say that it failed.
"""

from __future__ import annotations

from .handler import NO_MACHINE, NoMachine
from .saying import safe_repr, safe_str

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any, TypeAlias

    from .channel import PacketChannel, StreamChannel
    from .filter import Filter
    from .handler import Handler, StreamHandler
    from .packet_filter import PacketFilter

    Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | bytes
    MakeFilter: TypeAlias = Callable[[StreamChannel], Filter]
    MakePacketFilter: TypeAlias = Callable[[PacketChannel], PacketFilter]

LIMIT = 65_536
"""Bytes that a wait for input may hold when it does not say otherwise (64 KiB)."""


class Wait:
    """What a request waits for: the base of the whole vocabulary.

    ``timeout`` is in seconds and counts from the moment the wait begins; ``None`` takes the
    ``timeout`` of the handler's class, ``math.inf`` waits without one.

    Waits are values: equal when they are of one class and all that they say is equal.

    >>> Until(b";", limit=9) == Until(b";", limit=9)
    True
    >>> Exactly(12, timeout=2.5)
    Exactly(12, timeout=2.5)
    """

    __slots__ = ("timeout",)

    reads = False
    """Whether input satisfies it, so that the row wants to read."""

    outside = False
    """Whether its driver has to do something for it: fork, start a thread, connect."""

    def __init__(self, timeout: float | None = None) -> None:
        if timeout is not None and not _is_seconds(timeout):
            raise ValueError(f"{type(self).__name__}: timeout is seconds >= 0 or None, not {timeout!r}")
        self.timeout = timeout

    def __await__(self) -> Generator[Wait, Any, Any]:
        return (yield self)

    def _said(self) -> tuple[object, ...]:
        return ()

    def __repr__(self) -> str:
        said = [safe_repr(value) for value in self._said()]
        if self.timeout is not None:
            said.append(f"timeout={self.timeout!r}")
        return f"{type(self).__name__}({', '.join(said)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._said() == other._said() and self.timeout == other.timeout

    def __hash__(self) -> int:
        return hash((type(self), self._said(), self.timeout))


def _name(function: object) -> str:
    return safe_str(getattr(function, "__qualname__", function))


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and value >= 0


class StreamWait(Wait):
    """A wait that bytes of a stream satisfy; its result is ``bytes``."""

    __slots__ = ("limit",)
    reads = True

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Wait, bytes, bytes]: ...

    def __init__(self, limit: int = LIMIT, timeout: float | None = None) -> None:
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"{type(self).__name__}: limit is a number of bytes >= 1, not {limit!r}")
        Wait.__init__(self, timeout)
        self.limit = limit

    def _said(self) -> tuple[object, ...]:
        return (self.limit,)

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        """Where in ``held`` the piece that begins at ``start`` ends, or -1 if more must come.

        ``scanned`` is where an earlier look stopped: nothing before it is looked at again.
        ``ended`` says that no more will come. Raises `LimitPassed` when nothing that may
        still come could satisfy the wait within its limit.
        """
        raise NotImplementedError


class Until(StreamWait):
    """All bytes up to ``delimiter``, the delimiter included.

    ``limit`` counts the delimiter too, in bytes. A delimiter that is split over two reads is
    found; bytes behind it stay for the next wait.
    """

    __slots__ = ("delimiter",)

    def __init__(self, delimiter: bytes, limit: int = LIMIT, timeout: float | None = None) -> None:
        # One condition in the usual case, because one of these is made for nearly every message.
        if delimiter.__class__ is bytes and limit.__class__ is int and 0 < len(delimiter) <= limit and timeout is None:
            self.limit, self.timeout = limit, None
        elif not isinstance(delimiter, bytes) or not delimiter:
            raise ValueError(f"Until: delimiter is at least one byte of type bytes, not {delimiter!r}")
        else:
            StreamWait.__init__(self, limit, timeout)
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


class Exactly(StreamWait):
    """The next ``n`` bytes, no fewer and no more.

    ``n`` often comes from the peer: more than ``limit`` bytes is `LimitPassed` at once, before
    one of them is held. ``Exactly(0)`` is satisfied at once with ``b""``.
    """

    __slots__ = ("n",)

    def __init__(self, n: int, limit: int = 1 << 20, timeout: float | None = None) -> None:
        if not isinstance(n, int) or n < 0:
            raise ValueError(f"Exactly: n is a number of bytes >= 0, not {n!r}")
        StreamWait.__init__(self, limit, timeout)
        self.n = n

    def _said(self) -> tuple[object, ...]:
        return (self.n,) if self.limit == 1 << 20 else (self.n, self.limit)

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        if self.n > self.limit:
            raise LimitPassed(self)
        end = start + self.n
        return end if end <= len(held) else -1


class Some(StreamWait):
    """Whatever has come, at least one byte and at most ``limit``."""

    __slots__ = ()

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        end = len(held)
        if end == start:
            return -1
        return end if end - start <= self.limit else start + self.limit


class ToEnd(StreamWait):
    """All bytes up to the end of the stream; for this wait the end is no cause but the answer.

    More than ``limit`` bytes is `LimitPassed`.
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
    """All output handed to the kernel; the result is ``None``.

    ``of`` names another row's handler and waits for *its* output instead: a proxy that reads on
    only when the other side has drained has backpressure from one side to the other. One drain ends the waits of all
    rows that wait for it, though the first to go on may send again. A row that has ended has nothing left to drain.
    """

    __slots__ = ("of",)

    def __init__(self, of: Handler | None = None, timeout: float | None = None) -> None:
        super().__init__(timeout)
        if of is not None and (isinstance(of, type) or not hasattr(of, "send")):
            raise TypeError(f"Flushed: of is another request's handler, not {of!r}")
        self.of = of

    def _said(self) -> tuple[object, ...]:
        return () if self.of is None else (self.of,)


class Delay(Wait):
    """``seconds`` to pass; the result is ``None``. Input that comes meanwhile stays in the kernel."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        super().__init__()
        if not _is_seconds(seconds):
            raise ValueError(f"Delay: seconds >= 0, not {seconds!r}")
        self.seconds = seconds

    def _said(self) -> tuple[object, ...]:
        return (self.seconds,)


class Outside(Wait):
    """A wait for work that the handler's driver does: derive, and register what does it (`reactor.table.work.does`).

    If the work fails, the cause is `Failed`.
    """

    __slots__ = ()
    outside = True


class Elsewhere(Outside):
    """Work that must not run in the loop: ``function(*arguments)``, its result the wait's result.

    If it raises, or its child or thread dies, the cause is `Failed`.
    """

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., object], *arguments: object, timeout: float | None = None) -> None:
        if not callable(function):
            raise TypeError(f"{type(self).__name__}: {function!r} can't be called")
        super().__init__(timeout)
        self.function = function
        self.arguments = arguments

    def _said(self) -> tuple[object, ...]:
        return (self.function, *self.arguments)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_name(self.function)})"


class Forked(Elsewhere):
    """``function(*arguments)`` in a forked child; the result comes back pickled.

    The child has a copy of the process as it is now, so the arguments need no pickling. When the
    wait's time runs out, or the row ends, the child is killed.
    """

    __slots__ = ()


class Threaded(Elsewhere):
    """``function(*arguments)`` in a thread of this process.

    A thread can't be stopped: when the wait's time runs out its result is dropped.
    """

    __slots__ = ()


class Connected(Outside):
    """A connection that this handler itself opens; the result is the handler that runs it.

    ``address`` is what ``socketserver`` takes: ``(host, port)`` or a Unix path. ``handler`` is a
    `StreamHandler`; it gets a row of its own beside this one and starts when the connection is
    there. A connection that can't be had is the cause `Failed`, its ``error`` the ``OSError``.

    A host given by name is looked up with the host's ``getaddrinfo``, which blocks; use a
    numeric address where that matters.

    ``filters`` are callables that make the filters of the connection (see `handlers.filter`): the first is next to
    the wire.
    """

    __slots__ = ("address", "filters", "handler")

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Wait, StreamHandler, StreamHandler]: ...

    def __init__(
        self, address: Address, handler: StreamHandler, timeout: float | None = None, *,
        filters: Sequence[MakeFilter] = (),
    ) -> None:  # fmt: skip
        super().__init__(timeout)
        if isinstance(handler, type) or not hasattr(handler, "handle"):
            raise TypeError(f"Connected: handler is an instance of a StreamHandler, not {handler!r}")
        if not isinstance(getattr(handler, "_machine", NO_MACHINE), NoMachine):
            raise ValueError(f"Connected: this {type(handler).__name__} has a request already; make a new one")
        self.address = address
        self.handler = handler
        self.filters = tuple(filters)

    def _said(self) -> tuple[object, ...]:
        return (self.address, self.handler, self.filters)

    def __repr__(self) -> str:
        return f"Connected({safe_repr(self.address)})"


REFUSE, FEED = "refuse", "feed"
"""What `Filtered` does with input that is held already."""


class Filtered(Wait):
    """A filter between this request and its connection, from here on; the result, when the filter is open, is ``None``.

    ``make`` is called with the channel of the request and returns a `Filter` in front of it.
    The output sent before leaves first, and not through the filter. ``timeout`` is the time for that; how long it may
    take to open is for the filter to say. If the filter can't open, the request ends with the filter's cause.

    ``held`` says what becomes of input that is held when the filter is put in, input that the peer has sent before
    it knew that there would be a filter:

    - ``REFUSE``: the cause is `TooEarly` and there is no filter. Right for STARTTLS, where such input is not
      protected by TLS and must not be taken for input that was (RFC 3207, section 6; CVE-2011-0411);
    - ``FEED``: it is the first input of the filter. Right where the peer need not wait before it goes on, as after a
      header that says how the body is compressed.
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
        return f"Filtered({_name(self.make)}, held={self.held!r}{timeout})"


class Opening(Wait):
    """What the row of a request waits for while a filter opens: ``what``, in words. No handler returns one."""

    __slots__ = ("what",)
    reads = True
    if TYPE_CHECKING:
        timeout: float

    def __init__(self, what: str, timeout: float) -> None:
        super().__init__(timeout)
        self.what = what

    def _said(self) -> tuple[object, ...]:
        return (self.what,)


class Cause(Exception):
    """Why a wait was not satisfied: the base of all causes, and a row's reason for ending."""


class EndOfStream(Cause):
    """The peer has sent all that it will send, and the wait needs more.

    ``partial`` holds the bytes that had come for this wait; they are the handler's now.
    """

    def __init__(self, partial: bytes = b"") -> None:
        super().__init__(f"end of stream with {len(partial)} bytes of an unfinished piece")
        self.partial = partial


class TimedOut(Cause):
    """The time of ``wait``, or of the whole request, ran out. The bytes held stay held for the next wait."""

    def __init__(self, wait: Wait, what: str = "") -> None:
        super().__init__(what or f"timed out in {safe_repr(wait)}")
        self.wait = wait


class LimitPassed(Cause):
    """More came than the row may hold, or was announced.

    ``partial`` has the bytes of this wait up to its limit, which are the handler's now (an
    `Exactly` that asks for too much takes none); ``wait`` is ``None`` where the output passed
    the handler's ``max_output``.
    """

    def __init__(self, wait: Wait | None, partial: bytes = b"", what: str = "") -> None:
        super().__init__(what or f"limit passed in {safe_repr(wait)}")
        self.wait = wait
        self.partial = partial


def output_passed(handler: Handler) -> LimitPassed:
    """The cause for a request with more output than its handler's ``max_output``."""
    what = f"more output waits than the {handler.max_output} bytes of {type(handler).__name__}.max_output"
    return LimitPassed(None, what=what)


class TooEarly(Cause):
    """Input is held that came before the filter of ``wait``, and the wait says to refuse it.

    ``partial`` has the bytes that the request holds, which are the handler's now.
    """

    def __init__(self, wait: Filtered, partial: bytes, held: int) -> None:
        super().__init__(f"{held} bytes of input came before {safe_repr(wait)}, and are not for the filter")
        self.wait = wait
        self.partial = partial


class Reset(Cause):
    """The connection broke: ``error`` is the ``OSError`` that said so. Nothing more can be sent."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"connection lost: {safe_str(error)}")
        self.error = error


class Cancelled(Cause):
    """The server shuts down, or another row closed this one."""

    def __init__(self, why: str = "the server shuts down") -> None:
        super().__init__(why)


class Failed(Cause):
    """What ``wait`` asked for elsewhere did not come about; ``error`` says why."""

    def __init__(self, wait: Wait, error: BaseException) -> None:
        super().__init__(f"{safe_repr(wait)}: {type(error).__name__}: {safe_str(error)}")
        self.wait = wait
        self.error = error
