"""The property of causes that a handler catches: an end that it has been told of is no reason to wait for more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .evidence import asserted, fail, fault_of, in_time, places
from .run import Run, played
from .schedule import END
from .tried import Tried

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World


@in_time
def takes_causes_for_ends(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """At each wait, the end of the stream ends the request, and so does a server that closes.

    ``except Exception`` around a wait catches the causes too: `EndOfStream`, `TimedOut`, `Cancelled` and others. A
    handler that answers each of them and waits for input again goes round for ever after the end of the stream, for it
    is told of the end at each wait. The property tries this after each byte of the conversation. It also cancels the
    request there, as a server does that closes: the handler may raise nothing but the cause. A handler that sends
    without end of its own accord, and waits for no input, is not meant.

    >>> from handlers.services import CharGen
    >>> takes_causes_for_ends(CharGen, b"")
    """
    tried = Tried(kind, conversation, world)
    for place in places(tried.length):
        if not tried.packets:
            run = played(tried, [*tried.first(place), END])
            if run.endless and run.error is None and run.wait is not None and run.wait.reads:
                fault = (
                    "it answers the end of the stream and waits for input again, for ever: `except Exception` around "
                    "a wait catches EndOfStream too (if it should: meant=['takes_causes_for_ends'])"
                )
                fail(tried, fault, "takes_causes_for_ends", asserted(run, finished=True))
        run = _cancelled(tried, place)
        if run.error is not None:
            fail(tried, f"when it is cancelled {fault_of(run, '')}", "takes_causes_for_ends", run.code())


def _cancelled(tried: Tried, place: int) -> Run:
    """The run of a request that is cancelled after a beginning of the conversation."""
    run = Run(tried)
    with run.limit:
        for piece in tried.first(place):
            run.step(piece)
        if not run.over and not run.finished:
            run.cancel()
    return run
