"""`buffered`: the state machine that runs a blocking handler over requests that have come whole.

Nobody waits inside ``handle()`` for a request to come. A state machine waits for it: for the wait ``request`` of the
class, or for all that its framing waits for (`framing`). Then the blocking handler runs with a `Whole` in place of the
socket, in the loop or wherever the mode has it run. Imported when such a server is made.
"""

from __future__ import annotations

from functools import partial
from io import UnsupportedOperation
from types import FunctionType

from ..causes import Cause, Failed, TimedOut
from ..elsewhere import Forked, Threaded
from ..handler import DatagramHandler, StreamHandler
from ..refusal import Refusing
from ..states import bare
from ..wait import StreamWait, Wait
from ..waits import Delay, Flushed, Packet
from .framing import MAX_REQUEST, Answered, Framed, as_exception, for_one_request, is_framing, too_long
from .whole import Whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

    from ..handler import Step
    from .framing import Outcome

PIECE = 65_536
"""Bytes of a reply that a client takes in ``timeout`` seconds, at least, or it is too slow."""

LIMITS = (
    "request_timeout", "idle_timeout", "min_rate", "high_water", "low_water", "max_output", "max_request",
)  # fmt: skip
"""What a blocking handler class may declare, with the meaning that it has for a state machine."""


def buffered(blocking: Any, packets: bool, work: str = "") -> type[StreamHandler] | type[DatagramHandler]:
    """The state machine that runs the blocking handler class over requests that have come whole.

    ``packets``: whether the server has a datagram socket. ``work`` says where ``handle()`` runs: ``""`` in the loop, or
    a place of `Answered`. Raises `TypeError` for a class that does not declare ``request``: the wait that a whole
    request satisfies, or for a stream a framing.
    """
    kind = bare(blocking)
    request: Any = getattr(kind, "request", None)
    name = getattr(kind, "__name__", repr(blocking))
    if not is_whole_by(request, packets):
        raise TypeError(_no_request(kind, name, packets))
    members = {
        "made_by": _made_by(blocking, kind, packets),
        "request": staticmethod(request) if is_framing(request) else request,
        "work": work,
        "handler_class": kind,
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
        "__slots__": (),
        **{limit: getattr(kind, limit) for limit in LIMITS if hasattr(kind, limit)},
    }
    members["blocking"] = staticmethod(members["made_by"])
    if getattr(kind, "timeout", None) is not None:
        members["timeout"] = kind.timeout
    if packets:
        base: Any = BufferedPacket
    else:
        base = FramedStream if is_framing(request) else BufferedStream
    return type(name, (base,), members)


def is_whole_by(request: object, packets: bool) -> bool:
    """Whether ``request``, as a class declares it, says when a whole request is here."""
    return isinstance(request, Packet) if packets else isinstance(request, StreamWait) or is_framing(request)


def _made_by(blocking: Any, kind: Any, packets: bool) -> Any:
    """What makes the blocking handler of one request: the class derived for it, where a class is known."""
    if packets or not isinstance(kind, type):
        return blocking
    made = for_one_request(kind)
    return partial(made, *blocking.args, **blocking.keywords) if isinstance(blocking, partial) else made


def _no_request(kind: Any, name: str, packets: bool) -> str:
    if isinstance(kind, FunctionType):
        return (
            f"{kind.__qualname__} is a function, and in select mode the server looks at the handler "
            f"class before the first request: give it the class, or functools.partial(Class, ...) where the "
            f"class takes more arguments; the Forking, the Threading and the plain server class take a function "
            f"that makes a blocking handler"
        )
    example = "Packet()" if packets else r'Until(b"\r\n", limit=512)'
    machine = "DatagramHandler" if packets else "StreamHandler"
    return (
        f"{name} is a blocking handler, and in select mode nothing may block. Three ways out: "
        f"(1) declare on the class when a whole request is here, such as request = {example}; "
        f"(2) take a mode that may block: the Forking, the Threading or the plain server class; "
        f"(3) derive it from {machine} and write it as a state machine"
    )


class BufferedStream(Refusing, StreamHandler):  # type: ignore[override]
    """Runs a blocking handler over each request of a stream that satisfies a wait."""

    __slots__ = ("_number",)
    blocking: Callable[[Any, Any, Any], object]
    made_by: Any
    """What makes the blocking handler: its class, derived for one request, or a `functools.partial` of that."""

    handler_class: Any
    """The blocking handler class."""

    ended_input: Callable[[], int] | None = None
    """Returns a descriptor that is always readable (see `Whole.fileno`). ``None``: there are no descriptors here."""

    copy_of: Callable[[Any], BinaryIO | None] | None = None
    """Returns another file object for an open regular file (see `Whole.hold_file`); ``None`` for anything else."""

    request: Any
    work: str
    max_request = MAX_REQUEST
    """Bytes of one request; past that, the framing gets `LimitPassed`."""
    ends_when_idle = True

    def handle(self) -> Any:
        self._number = self.one_by_one + 1
        return self.request, self.whole

    def whole(self, data: bytes) -> Step:
        """The request has come."""
        if len(data) > self.max_request:
            raise too_long(self.request, type(self).__name__)
        if self.work:
            return Answered(self, data, self.work), self.answered
        if self._machine.outbox:  # replies leave one by one, so that `max_output` is for one of them
            return Flushed(), partial(self._answer_here, data)
        return self._answer_here(data)

    def _answer_here(self, data: bytes, _: None = None) -> Step:
        face = Whole(self, data)
        self.answer(face)
        if face.rest is not None or self._is_behind():
            return self._send_rest(face)
        return self.handle() if self.goes_on(face.is_kept) else None

    async def _send_rest(self, face: Whole) -> Step:
        await self._sent(face)
        return self.handle() if self.goes_on(face.is_kept) else None

    def _is_behind(self) -> bool:
        """Whether more of the reply waits for the client than `high_water`."""
        return len(self._machine.outbox or b"") > self.high_water

    async def _sent(self, face: Whole) -> None:
        """Send the rest of the reply that the handler has left, and wait until the client is not behind."""
        rest = face.rest
        if rest is not None:
            try:
                await self._taken()
                while next(rest, rest) is not rest:
                    await self._taken()
                    await Delay(0)  # the piece leaves before the next one is made, and other rows have their turn
            finally:
                rest.close()
                if face.error is not None:
                    self.abort()  # a part of the reply is on its way
        await self._taken()

    async def _taken(self) -> None:
        """Until the client, if it is behind, has taken the output: `PIECE` bytes in each ``timeout``, at least."""
        while self._is_behind():
            left = len(self._machine.outbox)
            try:
                await Flushed()
            except TimedOut:
                if left - len(self._machine.outbox) < PIECE:
                    self._machine.cut_output()
                    raise

    def answered(self, outcome: Outcome) -> Step:
        """The blocking handler has answered elsewhere."""
        if outcome.error is not None:
            raise outcome.error
        return self.handle() if self.goes_on(outcome.goes_on) else None

    def whole_in(self, held: bytes) -> tuple[bytes, int] | None:
        """The next request, if all of it is in the bytes ``held``, and how many of them it is."""
        try:
            end = self.request.find(held, 0, 0, False)
        except Cause:
            return None
        return (held[:end], end) if 0 < end <= self.max_request else None  # one that is too long is for `whole`

    def goes_on(self, is_kept: bool) -> bool:
        """Whether there may be another request: the handler keeps the connection, and its stream has not ended."""
        return is_kept and not (self._machine.ended and not self._machine.held_in)

    def answer(self, face: Whole) -> None:
        """Run the blocking handler. Raises what it raises, and `Whole.error` even if the handler has caught that."""
        try:
            self.blocking(face, self.peer, self.server)
            if face.error is not None:
                raise face.error
        finally:
            if face.error is not None:
                face.reply_instead(self.unanswered())

    def unanswered(self) -> bytes:
        """What the peer gets if the handler's reply can't be sent, and nothing of it has been."""
        return b""


class FramedStream(BufferedStream):
    """Runs a blocking handler over each request of a stream that its framing takes."""

    __slots__ = ("_framed",)

    _framed: Framed | None

    @property
    def held(self) -> int:
        """Bytes of the request that comes, or that is answered, which waits have taken."""
        framed = getattr(self, "_framed", None)  # not set before the handler has begun
        return 0 if framed is None else framed.taken

    async def handle(self) -> Step:
        goes_on = True
        self._number = 0
        while goes_on:
            self._number += 1
            framed = self._framed = Framed(self.request, self, self.max_request)
            wait = framed.begin()
            if wait is not None:
                wait = await framed.take(wait)  # between messages: here the end of the stream is no cause
            while wait is not None:
                wait = await framed.take(wait)
            goes_on = await self._serve(framed)
        return None

    def whole_in(self, held: bytes) -> tuple[bytes, int] | None:
        framed, sent = Framed(self.request, self, self.max_request), self._machine.held_out
        try:
            end = framed.find_in(held)
        except Exception:
            return None  # raised again where the loop asks the framing
        finally:
            framed.close()
        if not end or self._machine.held_out != sent:  # what a framing sends goes out by the loop
            return None
        return framed.whole or b"", end

    def if_unanswered(self, answer: Callable[[], bytes]) -> None:
        """For the framing: ``answer()`` is what the peer gets if the reply can't be sent, and nothing of it has been.

        So it is for a reply over `max_output`, and for a handler that reads more than its request.
        """
        if self._framed is not None:
            self._framed.unanswered = answer

    def unanswered(self) -> bytes:
        answer = None if self._framed is None else self._framed.unanswered
        return b"" if answer is None else answer()

    def finish(self) -> None:
        framed = getattr(self, "_framed", None)
        if framed is not None:
            framed.close()
            self._framed = None

    async def _serve(self, framed: Framed) -> bool:
        """Have the request answered. Returns whether the connection goes on."""
        data, taken = framed.whole or b"", framed.taken
        if self.work:
            outcome: Any = await Answered(self, data, self.work)
            if outcome.error is not None:
                raise outcome.error
            goes_on = self.goes_on(outcome.goes_on)
        else:
            if self._machine.outbox:
                await Flushed()
            face = Whole(self, data)
            self.answer(face)
            await self._sent(face)
            goes_on = self.goes_on(face.is_kept)
        if goes_on and not taken:
            raise RuntimeError(
                f"{type(self).__name__}.request has returned without a byte of the stream, and the handler keeps the "
                f"connection: it would be called again and again"
            )
        return goes_on


class BufferedPacket(DatagramHandler):
    """Runs a blocking handler over a packet."""

    __slots__ = ()
    blocking: Callable[[Any, Any, Any], object]
    made_by: Any
    handler_class: Any
    request: Wait
    work: str

    def handle(self) -> Step:
        return self.request, self.whole

    def whole(self, packet: bytes) -> Step:
        if not self.work:
            self.blocking((packet, _PacketSocket(self, self.send)), self.peer, self.server)
            return None
        elsewhere = Forked if self.work == "fork" else Threaded
        return elsewhere(self._replies, packet, timeout=float("inf")), self._send

    def _replies(self, packet: bytes) -> list[bytes]:
        replies: list[bytes] = []
        self.blocking((packet, _PacketSocket(self, replies.append)), self.peer, self.server)
        return replies

    def _send(self, replies: list[bytes]) -> None:
        for reply in replies:
            self.send(reply)

    def interrupted(self, cause: Cause) -> Step:
        """Raise what the blocking handler has raised elsewhere."""
        if isinstance(cause, Failed):
            raise as_exception(cause.error)
        return None


class _PacketSocket:
    """Stands for the server's socket, in select mode, for a blocking datagram handler."""

    def __init__(self, handler: DatagramHandler, send: Callable[[bytes], object]) -> None:
        self._handler = handler
        self._send = send

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """Send ``data``, one packet, to the peer: ``sendto(data, address)`` or ``sendto(data, flags, address)``."""
        if not flags_and_address:
            raise TypeError("sendto() takes a packet, optional flags, and an address")
        *flags, address = flags_and_address
        if any(flags):
            raise UnsupportedOperation(f"in select mode sendto() has no flags, and was given {flags[0]:#x}")
        if address != self._handler.peer:
            raise UnsupportedOperation(
                f"in select mode a reply goes to the peer of the request, {self._handler.peer!r}, not to {address!r}"
            )
        self._send(bytes(data))
        return memoryview(data).nbytes

    def getsockname(self) -> Any:
        """The server's address."""
        return self._handler.server.server_address

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name}: a socket has this attribute; the object that stands for it in select mode has not "
            f"(the Forking, Threading and plain server classes give the socket)"
        )
