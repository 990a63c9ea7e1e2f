"""Framings: when a whole request of a blocking handler is here.

A blocking handler class declares ``request``: a wait, or a *framing*, a coroutine function of waits:

    async def http_request(row):
        head = await Until(b"\\r\\n\\r\\n", limit=65_536)
        await Exactly(content_length(head), limit=row.max_request)

Its argument is the `StreamHandler` that runs the conversation in the loop. It may `send` (an interim response), asks
``row.handler_class`` for what the class declares, and raises `RequestRefused` to answer for itself and end the
connection; ``row.if_unanswered(answer)`` says what the peer gets if the handler's reply can't be sent
(`FramedStream.if_unanswered`). A cause is raised at the ``await``, as in every coroutine of waits; one that is not
caught ends the request.
"""

from __future__ import annotations

from types import CoroutineType, FunctionType

from ..causes import Cause, LimitPassed
from ..saying import safe_str
from ..states import bare
from ..wait import StreamWait, Wait
from ..waits import Outside
from ..wire import grown
from .whole import Whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..handler import StreamHandler
    from .whole import Send

_COROUTINE_FUNCTION = 0x80  # CO_COROUTINE of `inspect`, which takes long to import

MAX_REQUEST = 16 << 20
"""The default of ``max_request``: bytes of one request, which is held until it is whole."""


def is_framing(request: object) -> bool:
    """Whether ``request`` is a coroutine function, or an object with an asynchronous ``__call__``."""
    request = bare(request)
    if not callable(request) or isinstance(request, type):
        return False
    function = request if isinstance(request, FunctionType) else type(request).__call__
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _COROUTINE_FUNCTION)


def too_long(wait: Wait, name: str) -> LimitPassed:
    """The cause for a request, taken by ``wait``, of more than the ``max_request`` of the handler class ``name``."""
    return LimitPassed(wait, what=f"the request is longer than {name}.max_request")


class Framed:
    """One request that comes: runs the framing, and keeps what its waits have taken of the stream."""

    __slots__ = ("_coroutine", "_held", "_most", "_name", "taken", "unanswered", "whole")

    def __init__(self, framing: Callable[[Any], Any], handler: StreamHandler, most: int) -> None:
        self._coroutine = framing(handler)
        self._name = f"{type(handler).__name__}.request"
        if type(self._coroutine) is not CoroutineType:
            raise TypeError(f"{self._name} is a coroutine function of waits, and returned {self._coroutine!r}")
        self._held: bytes | bytearray | None = None
        self._most = most
        self.taken = 0
        """Bytes of the stream that its waits have taken."""
        self.whole: bytes | None = None
        """The request, when the framing has returned: the bytes that it returned, or those that its waits took."""
        self.unanswered: Callable[[], bytes] | None = None
        """Makes the answer if the handler's reply can't be sent: see `FramedStream.if_unanswered`."""

    def begin(self) -> Wait | None:
        """The first wait; ``None`` if the request is whole."""
        return self._go_on(self._coroutine.send, None)

    async def take(self, wait: Wait) -> Wait | None:
        """Wait, and give the framing the result or the cause. Returns the next wait; ``None``: the request is whole."""
        try:
            result = await wait
            if wait.reads:
                self._keep(wait, result)
        except Cause as cause:
            return self._go_on(self._coroutine.throw, cause)
        return self._go_on(self._coroutine.send, result)

    def close(self) -> None:
        """The connection has ended: end the coroutine, too, as that of a handler is ended (``GeneratorExit``)."""
        self._coroutine.close()

    def find_in(self, held: bytes) -> int | None:
        """Take the request from the bytes ``held``: how many of them it is. ``None`` if more must come.

        And if the framing does anything but wait for bytes, or gets a cause: that is for the loop.
        """
        start = 0
        wait = self.begin()
        while wait is not None:
            try:
                end = wait.find(held, start, start, False) if isinstance(wait, StreamWait) else -1
                if end < 0:
                    return None
                self._keep(wait, held[start:end])
            except Cause:
                return None
            wait, start = self._go_on(self._coroutine.send, held[start:end]), end
        return start

    def _keep(self, wait: Wait, piece: bytes) -> None:
        self.taken += len(piece)
        if self.taken > self._most:
            raise too_long(wait, self._name.rpartition(".")[0])
        self._held = grown(self._held, piece)

    def _go_on(self, call: Callable[[Any], Any], argument: object) -> Wait | None:
        try:
            wait = call(argument)
        except StopIteration as stop:
            self._finish(stop.value)
            return None
        if not isinstance(wait, Wait):
            raise TypeError(f"{self._name} awaited {wait!r}, which is no wait")
        return wait

    def _finish(self, returned: object) -> None:
        if returned is None:
            self.whole = bytes(self._held or b"")
        elif isinstance(returned, (bytes, bytearray, memoryview)):
            self.whole = bytes(returned)
        else:
            raise TypeError(f"{self._name} returns None or the bytes of the request, not {returned!r}")
        self._held = None


class Answered(Outside):
    """Until the blocking handler has answered ``request``, in a thread or a child; the result is an `Outcome`.

    ``place`` is ``"thread"``, ``"fork"``, or ``"here"`` for the thread that drives the loop of this connection.
    """

    __slots__ = ("handler", "place", "request")
    writes = answers = True

    def __init__(self, handler: Any, request: bytes, place: str) -> None:
        super().__init__(float("inf"))  # the calls of the handler's connection have a time, not its work
        self.handler = handler
        self.request = request
        self.place = place

    def _said(self) -> tuple[object, ...]:
        return (self.place, len(self.request))

    def __repr__(self) -> str:
        return f"Answered({self.place!r}, {len(self.request)} bytes)"

    def run(self, send: Send) -> Outcome:
        """Run the blocking handler here; ``send`` takes its output. Raises nothing of class `Exception`."""
        face = Whole(self.handler, self.request, send)
        try:
            self.handler.answer(face)
        except Exception as error:
            return Outcome(False, error)
        return Outcome(face.is_kept)


class Outcome:
    """How a blocking handler has answered: whether the connection goes on, and what the handler has raised."""

    __slots__ = ("error", "goes_on")

    def __init__(self, goes_on: bool, error: BaseException | None = None) -> None:
        self.goes_on = goes_on
        self.error = error


def as_exception(error: BaseException) -> Exception:
    """``error``, or an exception that tells of it: ``SystemExit`` of a thread or a child ends no loop."""
    if isinstance(error, Exception):
        return error
    told = RuntimeError(f"the handler has raised {type(error).__name__}: {safe_str(error)}")
    told.__cause__ = error
    return told


class _Derived:
    """Stands between a class that is derived here and the user's: its ``__init_subclass__()`` is not for that one."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        pass


def for_one_request(kind: Any) -> type:
    """A class derived from the blocking handler class ``kind``, whose objects handle one request.

    They tell their connection whether it goes on: if ``close_connection`` is false at the end. A handler of
    ``http.server`` handles requests in a loop. Here the loop is told, at the second request, that there is no more:
    what it has not read of the first is never taken for a second.
    """
    if getattr(kind, "is_for_one_request", False):  # the class that another server has
        return kind  # type: ignore[no-any-return]

    def finish(self: Any) -> None:
        face = _face_of(self)
        if face is not None:
            face.keep(self)
        kind.finish(self)

    def handle_one_request(self: Any) -> None:
        face = _face_of(self)
        if face is not None and face.begun:
            self.close_connection = True  # the loop waits for the next request, and another object handles it
            return
        if face is not None:
            face.begun = True
        kind.handle_one_request(self)
        if face is not None:
            face.keep(self)

    members: dict[str, Any] = {"is_for_one_request": True}
    members.update({name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")})
    if hasattr(kind, "handle_one_request"):  # if its handle() does not call that, it is for one request, as in wsgiref
        members["handle_one_request"] = handle_one_request
    elif hasattr(kind, "finish"):
        members["finish"] = finish
    copyfile = getattr(kind, "copyfile", None)
    if getattr(copyfile, "__module__", "") == "http.server":
        members["copyfile"] = _holding(copyfile)
    made: type = type(kind)(kind.__name__, (_Derived, kind), members)
    return made


def _holding(copyfile: Any) -> Any:
    """``copyfile()`` of ``http.server``, or in the loop: have the row hold the file, which it sends."""

    def copyfile_or_hold(self: Any, source: Any, outputfile: Any) -> None:
        face, held = _face_of(self), None
        if face is not None and outputfile is self.wfile:
            outputfile.flush()
            held = face.hold_file(source)
        if held is None:
            copyfile(self, source, outputfile)

    return copyfile_or_hold


def _face_of(handler: Any) -> Whole | None:
    face = getattr(handler, "request", None)
    return face if isinstance(face, Whole) else None
