"""`RequestRefused`: the cause with which a framing refuses a request; `Refusing` sends the answer."""

from __future__ import annotations

from .waits import Cause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .handler import Step


class RequestRefused(Cause):
    """A request is refused. ``answer`` is sent, then the connection ends; ``why`` is logged with the row.

    A framing of a blocking handler raises it (see `handlers.blocking`). The connection lingers until the peer has ended
    the stream or has had its time, because the peer may still send the request and would not get the answer otherwise.
    """

    def __init__(self, answer: bytes, why: str) -> None:
        super().__init__(f"request refused: {why}")
        self.answer = answer


class Refusing:
    """In front of a `StreamHandler` that takes one request after another: sends the answer that refuses one.

    The handler counts its requests in ``_number``, for which it has a slot.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        _number: int

        def send(self, data: bytes | bytearray | memoryview) -> None: ...

    @property
    def one_by_one(self) -> int:
        """The number of the request: see `Handler.one_by_one`."""
        return getattr(self, "_number", 0)  # not set before the handler has begun

    def interrupted(self, cause: Cause) -> Step:
        """Send the answer with which a request is refused."""
        if isinstance(cause, RequestRefused):
            self.send(cause.answer)
        return None
