"""The property of a slow client: one that sends a byte just before the time of each wait is over, in simulated time."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import Handler, World
from .counting import held
from .evidence import fail, in_time
from .run import Run
from .subject import Subject
from .tried import Tried

if TYPE_CHECKING:
    from collections.abc import Iterable

DRIPS = 200
"""Bytes after which a client that drips gives up."""

SHARE = 0.9
"""The part of the time of each wait that passes before the next byte comes."""

SPOTS = 16
"""The most places of a conversation at which a client begins to drip. Of more, they are evenly spread."""


class Drip(NamedTuple):
    """What has become of a request whose client drips."""

    seconds: float
    is_kept_open: bool
    """Whether it is open, has answered nothing, and holds more with each byte, although the handler has a timeout."""


def drip(kind: Any, start: bytes, filler: bytes = b"a", world: World | None = None) -> float:
    """The seconds for which a client that drips keeps a request of the stream handler ``kind`` open.

    The client sends ``start``, and then ``filler`` again and again, each time when nine tenths of the time of the wait
    are over, until the handler answers or the request ends, 200 times at most. The result counts whole pauses. No real
    time passes; ``self.now()`` goes on.

    >>> from handlers import StreamHandler, Until
    >>> class Bounded(StreamHandler):
    ...     timeout = 10
    ...     async def handle(self):
    ...         self.send(await Until(b"\\n", limit=80))
    >>> drip(Bounded, b"o")
    18.0
    """
    return dripped(Subject(kind, world), start, filler).seconds


def dripped(subject: Subject, start: bytes, filler: bytes) -> Drip:
    """What becomes of a request whose client sends ``start`` and then drips."""
    clock = [0.0]
    run = Run(_ticking(subject, clock))
    with run.limit:
        run.step(start)
        run.drain()
        before, answered = held(run.machine), run.output
        has_timeout = run.wait is not None and (run.wait.timeout or subject.handler.timeout) != Handler.timeout
        for _ in range(DRIPS):
            if run.finished or run.over or run.output != answered or run.patience == float("inf"):
                break
            pause = SHARE * run.patience
            clock[0] += pause
            run.step(pause)
            if not run.finished:
                run.step(filler)
            run.drain()
        else:
            has_timeout = has_timeout and held(run.machine) - before >= DRIPS * len(filler)
            run.close()
            return Drip(run.clock, has_timeout)
        run.close()
    return Drip(run.clock, False)


def _ticking(subject: Subject, clock: list[float]) -> Subject:
    """The handler class in a world whose time goes on with that of the ``clock``."""
    world, subject = subject.world, copy(subject)
    subject.world = World(
        world.peer, world.server, lambda: world.now() + clock[0],
        credentials=world.credentials, descriptors=world.descriptors,
    )  # fmt: skip
    return subject


@in_time
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
                    f"and more: each byte starts the timeout anew. Declare request_timeout or min_rate "
                    f"(if it should: meant=['ends_if_it_drips'])"
                )
                call = tried.call("drip", tried.text, repr(start), repr(filler))
                fail(tried, fault, "ends_if_it_drips", f"assert {call} < {found.seconds!r}")
