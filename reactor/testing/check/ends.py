"""The properties of the ends: wherever a client stops, and whatever it has sent, the request ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..inputs import strategies
from ..inputs.shortening import minimal
from ..inputs.strategies import smallest
from ..inputs.tried import Tried, is_open_for_ever
from ..running.evidence import asserted, fault_of
from ..running.report import fail, held_in_time
from ..running.run import played
from ..running.schedule import END, RESET
from ..running.spreading import places

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World
    from ..running.schedule import Schedule

_FOR_EVER = "it goes on for ever when nothing more comes"


@held_in_time
def ends_at_any_byte(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, examples: int | None = None
) -> None:
    """Wherever the client stops, the request ends: normally or with a `Cause`, but not with another exception.

    After every byte of the conversation the property ends the stream, resets the connection, or lets time pass; after
    every packet of a datagram conversation it lets time pass. A handler that sends without end must end when the
    connection is reset. A handler that waits for a silent client must have an ``idle_timeout`` or a
    ``request_timeout``, or send something now and then: a peer without power sends no end of the stream, so the
    request would stay open for ever.
    """
    tried = Tried(kind, conversation, world)

    def goes_on(schedule: Schedule) -> bool:
        return is_open_for_ever(played(tried, schedule, to_the_end=True), schedule)

    endings: list[Schedule] = [[]] if tried.packets else [[END], [RESET], []]
    stops: list[Schedule] = [[*tried.first(place), *end] for end in endings for place in places(tried.length)]
    found = next(filter(goes_on, stops), None)
    if found is None and not tried.packets:
        cut = strategies.stream_schedules(tried.pieces[0], seconds=None, ends=False, resets=False)
        found = smallest(tried, cut.map(lambda schedule: [*schedule, END]), goes_on, examples)
    if found is not None:
        run = played(tried, found, to_the_end=True)
        fail(tried, fault_of(run, _FOR_EVER), "ends_at_any_byte", asserted(run, finished=True))


@held_in_time
def survives_any_input(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, examples: int | None = None
) -> None:
    """For any input at any pace, each call of the machine returns and raises only causes, and the request ends.

    The request ends when the client ends the stream, resets the connection, or is silent. The input is the
    conversation, damaged as `mutations` and `deliveries` do it.
    """
    tried = Tried(kind, conversation, world)

    def goes_wrong(schedule: Schedule) -> bool:
        return is_open_for_ever(played(tried, schedule, to_the_end=True), schedule)

    found = tried.harm(goes_wrong, examples)
    if found is not None:
        run = played(tried, minimal(found, goes_wrong, tried.packets, damaged=True), to_the_end=True)
        fail(tried, fault_of(run, _FOR_EVER), "survives_any_input", asserted(run, finished=True))
