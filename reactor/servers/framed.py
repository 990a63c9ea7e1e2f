"""Blocking handlers that run over requests which have come whole, in a state machine of the package (`buffered`)."""

from __future__ import annotations

from ..handlers.blocking.buffered import LIMITS, buffered, is_whole_by
from ..loop.descriptors import copy_of, ended_input
from ..loop.log import WARNING, log
from .kinds import class_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def framed_by(handler: Any, packets: bool, work: str) -> Any:
    """The state machine that runs the blocking ``handler``: see `buffered`, whose arguments these are."""
    adapted: Any = buffered(handler, packets, work)
    adapted.blocking = staticmethod(_finish_request)
    adapted.ended_input, adapted.copy_of = staticmethod(ended_input), staticmethod(copy_of)
    return adapted


def has_framing(handler: Any) -> bool:
    """Whether the class of the blocking ``handler`` of streams says when a whole request is here."""
    kind = class_of(handler)
    return isinstance(kind, type) and is_whole_by(getattr(kind, "request", None), False)


def tell_unkept(handler: Any) -> None:
    """Log which limits a blocking handler declares that nothing keeps: it reads and writes its socket by itself."""
    kind = class_of(handler)
    if not isinstance(kind, type):
        return
    unkept = [limit for limit in LIMITS if getattr(kind, limit, None) is not None]
    if unkept:
        log(
            WARNING, "%s declares %s, and no such limit is kept for a blocking handler without a framing: declare on "
            "the class when a whole request is here (request = ...), or take a Select server class", kind.__name__,
            ", ".join(unkept),
        )  # fmt: skip


def _finish_request(request: Any, client_address: Any, server: Any) -> None:
    """Make the blocking handler by `finish_request`, which may be overridden to give it more arguments."""
    server.finish_request(request, client_address)
