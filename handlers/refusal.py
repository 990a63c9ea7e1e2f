"""`Refusing`: sends the answer with which a framing refuses a request (`RequestRefused`)."""

from __future__ import annotations

from .causes import RequestRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .causes import Cause
    from .handler import Step


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
