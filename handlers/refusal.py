"""`RequestRefused`: the cause with which a framing refuses a request."""

from __future__ import annotations

from .waits import Cause


class RequestRefused(Cause):
    """A request is refused. ``answer`` is sent, then the connection ends; ``why`` is logged with the row.

    A framing of a blocking handler raises it (see `handlers.blocking`). The connection lingers until the peer has ended
    the stream or has had its time, because the peer may still send the request and would not get the answer otherwise.
    """

    def __init__(self, answer: bytes, why: str) -> None:
        super().__init__(f"request refused: {why}")
        self.answer = answer
