"""The properties of causes: an end is no reason to wait for more, and a slow client is timed out in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .drip import dripped
from .evidence import asserted, fault_of, places
from .report import fail, held_in_time
from .run import Run, played
from .schedule import END
from .tried import Tried

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World

SPOTS = 16
"""The most places of a conversation at which a client begins to drip. Of more, they are evenly spread."""


@held_in_time
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
                    "a wait catches EndOfStream too"
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
        run.close()
    return run


@held_in_time
def ends_if_it_drips(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A client that sends one byte of a message after another, each just in time, does not keep the request for ever.

    A timeout counts from the beginning of a wait. A handler that collects a message with many waits, such as `Some`
    again and again, starts it anew with each byte, so that many slow clients can hold all places of a server
    (slow loris). The property drips letters at the places of the conversation where a word begins or ends: the
    request must end, answer, or hold no more than before. It looks only at handlers that declare a ``timeout``, in the
    class or in the wait. One whose messages may take any time declares ``request_timeout`` or ``min_rate``, which the
    reactor keeps, or says ``check(..., meant=["ends_if_it_drips"])``.

    >>> from handlers.services import Echo
    >>> ends_if_it_drips(Echo, b"one")
    """
    tried = Tried(kind, conversation, world)
    handler = tried.handler
    if tried.packets or handler.request_timeout is not None or handler.min_rate:
        return
    for place in [0, *tried.borders(SPOTS)]:
        start = tried.pieces[0][:place]
        for filler in dict.fromkeys([b"a", *([start[-1:]] if start[-1:].isalnum() else [])]):
            found = dripped(tried, start, filler)
            if found.is_kept_open:
                fault = (
                    f"a client that sends a byte now and then keeps the request open for {found.seconds:.0f} seconds "
                    f"and more: each byte starts the timeout anew. Declare request_timeout or min_rate"
                )
                call = tried.call("drip", tried.text, repr(start), repr(filler))
                fail(tried, fault, "ends_if_it_drips", f"assert {call} < {found.seconds!r}")
