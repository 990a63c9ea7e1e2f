"""Causes, for which a wait can fail and a row can end.

A cause is an exception, because in a coroutine it is raised at the ``await``; a handler made of states gets the same
object in ``interrupted(cause)``.
"""

from __future__ import annotations

from .saying import safe_repr, safe_str

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .handler import Handler
    from .wait import Wait
    from .waits import Filtered


class Cause(Exception):
    """Why a wait was not satisfied, and why a row has ended: the base class of all causes."""

    is_end = False
    """Whether it says no more than that the peer has ended the connection, in order or not."""

    nothing_lost = False
    """Whether nothing was under way: the end is logged at the level DEBUG."""

    def __reduce__(self) -> tuple[Callable[..., Cause], tuple[object, ...], dict[str, object]]:
        """A copy, such as a `Forked` child sends, has the same text and attributes; no constructor is called again."""
        return Exception.__new__, (type(self), *self.args), vars(self)


class EndOfStream(Cause):
    """The stream has ended, and the wait needs more input.

    ``partial`` has the bytes that had come for this wait; they are not held any more.
    """

    is_end = True

    def __init__(self, partial: bytes = b"") -> None:
        super().__init__(f"end of stream with {len(partial)} bytes of an unfinished piece")
        self.partial = partial


class TimedOut(Cause):
    """``wait``, or the whole request, has taken too long. The input held stays held for the next wait."""

    def __init__(self, wait: Wait, what: str = "") -> None:
        super().__init__(what or f"timed out in {safe_repr(wait)}")
        self.wait = wait


class LimitPassed(Cause):
    """More input has come, or must come, than the wait's limit; or another bound of the row is passed.

    ``partial`` has the bytes of this wait up to its limit, which are not held any more (none for an `Exactly` over its
    limit). ``wait`` is ``None`` for the other bounds, such as ``max_output``.
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
    """Input is held that came before the filter of ``wait``, and the wait refuses it (`REFUSE`).

    ``partial`` has the bytes that the request held; they are not held any more.
    """

    def __init__(self, wait: Filtered, partial: bytes, held: int) -> None:
        super().__init__(f"{held} bytes of input came before {safe_repr(wait)}, and are not for the filter")
        self.wait = wait
        self.partial = partial


class Reset(Cause):
    """The connection is lost: ``error`` is the ``OSError`` of the system call. Nothing more can be sent."""

    is_end = True

    def __init__(self, error: OSError) -> None:
        super().__init__(f"connection lost: {safe_str(error)}")
        self.error = error


class Cancelled(Cause):
    """The server shuts down, or another row closed this one."""

    def __init__(self, why: str = "the server shuts down") -> None:
        super().__init__(why)


class Failed(Cause):
    """The work for ``wait`` has failed; ``error`` is the exception."""

    def __init__(self, wait: Wait, error: BaseException) -> None:
        super().__init__(f"{safe_repr(wait)}: {type(error).__name__}: {safe_str(error)}")
        self.wait = wait
        self.error = error


class RequestRefused(Cause):
    """A request is refused. ``answer`` is sent, then the connection ends; ``why`` is logged with the row.

    A framing of a blocking handler raises it (see `handlers.blocking`). The connection lingers until the peer has ended
    the stream or has had its time, because the peer may still send the request and would not get the answer otherwise.
    """

    def __init__(self, answer: bytes, why: str) -> None:
        super().__init__(f"request refused: {why}")
        self.answer = answer
