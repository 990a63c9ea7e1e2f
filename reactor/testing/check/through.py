"""The properties of a handler behind filters: the plain text is the same, and no cut of the wire passes for an end."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import Cause
from ..inputs.choices import each, either, number, several
from ..inputs.shortening import minimal
from ..inputs.strategies import smallest
from ..inputs.tried import Tried
from ..running.evidence import alike, answers_of, ended, fault_of
from ..running.filtered import WHOLE, FilteredRun, listed, played_through
from ..running.report import Answers, fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END, RESET
from ..running.snippets import literal, unlike_at
from ..running.spreading import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...handlers import World
    from ..peers.peer import Through
    from ..running.schedule import Event, Schedule
    from ..running.subject import Subject

_SIZES = several(either(number(1, 9), number(1, 2_000)), 4, least=1)


@held_in_time
def same_through_filters(
    kind: Any, conversation: bytes | Iterable[bytes], through: Through | Sequence[Through], *,
    world: World | None = None, examples: int | None = None,
) -> None:  # fmt: skip
    """Behind filters the plain text of the output, and the end of the request, are those without filters.

    ``through`` is a `Through`, or several, the first next to the wire. The property cuts the wire once at each place,
    then into single bytes, then anywhere; and the plain text, and how the kernel takes the output, as
    `same_for_any_chunking` does it. The run without filters has the peer, the principal and what secures the connection
    that the filters have found. A peer must accept what a filter sends, and where its end of the wire is.

    >>> from handlers.services import Echo
    >>> from reactor.testing import same_through_filters, tls
    >>> same_through_filters(Echo, b"hello", tls(), examples=5)
    """
    tried, filters = Tried(kind, conversation, world), listed(through)
    first = played_through(tried, [*tried.pieces], filters)
    plain = _with_facts(tried, first)

    def model(schedule: Schedule) -> Run:
        return played(plain, schedule, name="plain")

    def differs(drawn: tuple[Schedule, list[int]]) -> bool:
        return not alike(played_through(tried, drawn[0], filters, drawn[1]), model(drawn[0]))

    whole = tried.whole(tried.pieces)
    cuts = [[], [1], *([place, WHOLE] for place in places(first.wire_in)[1:])]
    found = next(filter(differs, ((whole, cut) for cut in cuts)), None)
    if found is None:
        found = smallest(tried, each(tried.faithful(), _SIZES), differs, examples)
    if found is not None:
        schedule, sizes = found
        schedule = minimal(schedule, lambda less: differs((less, sizes)), tried.packets)
        run, right = played_through(tried, schedule, filters, sizes), model(schedule)
        code = f"run = {_call(tried, schedule, sizes)}\n"
        if run.error is not None:
            fail(tried, f"behind the filters {fault_of(run, '')}", "through_filters", f"{code}assert run.error is None")
        plain_name = ""
        if alike(right, played(tried, schedule)):  # it does not depend on the facts that the filters have found
            plain_name = "plain"
            code += f"plain = {tried.call('play', tried.text, literal(schedule))}\n"
        fault, wrong = _difference(run, right, plain_name)
        fail(tried, f"behind the filters {fault}", "through_filters", code + wrong, answers=answers_of(run, right))


@held_in_time
def ends_at_any_byte_of_the_wire(
    kind: Any, conversation: bytes | Iterable[bytes], through: Through | Sequence[Through], *,
    world: World | None = None,
) -> None:  # fmt: skip
    """Wherever the wire of a stream ends, or is reset, the request behind the filters ends, and raises only causes.

    If the protocol of a peer has an end of its own (see `Peer.has_end`), an end of the wire before it has a cause: it
    never passes for the end of the conversation.
    """
    tried, filters = Tried(kind, conversation, world), listed(through)
    if tried.packets:
        return
    schedule: Schedule = [*tried.pieces, END]
    first = played_through(tried, schedule, filters)
    has_end = any(filtered.peer().has_end for filtered in filters)
    for ending in END, RESET:
        for place in places(first.wire_in - 1):
            run = played_through(tried, schedule, filters, stop=place, ending=ending, to_the_end=True)
            found = _fault(run, ending, has_end) if run.was_stopped else None
            if found is not None and not _finishes_alone(tried, schedule, filters, place):
                call = _call(tried, schedule, (), f"stop={place}, ending={ending!r}")
                fail(
                    tried, f"where the wire ends after byte {place} of {first.wire_in}, {found.fault}",
                    "at_any_byte_of_the_wire", f"run = {call}\nassert {found.right}",
                    answers=found.answers, remedy=found.remedy,
                )  # fmt: skip


class _Fault(NamedTuple):
    """What is wrong with a run, and what would be right as an expression."""

    fault: str
    right: str
    answers: Answers | None = None
    remedy: str = ""


def _fault(run: FilteredRun, ending: Event, has_end: bool) -> _Fault | None:
    """What is wrong with a run whose wire has ended early."""
    needs_cause = has_end or ending is RESET
    if run.error is not None:
        return _Fault(fault_of(run, ""), "run.error is None")
    if not run.finished:
        right = "run.finished and run.reason is not None" if needs_cause else "run.finished"
        return _Fault("the request goes on for ever", right, Answers(ended(run), "the request has ended"))
    if needs_cause and not isinstance(run.reason, Cause):
        fault = "the request has no cause: the truncated input passes for all of it"
        answers = Answers(ended(run), "the request has ended, for a cause")
        remedy = "has_end = False (of the Peer)" if ending is END else ""
        return _Fault(fault, "run.finished and run.reason is not None", answers, remedy)
    return None


def _finishes_alone(tried: Tried, schedule: Schedule, filters: Sequence[Through], place: int) -> bool:
    """Whether the request is done with what the first bytes of the wire say, whatever comes after them."""
    run = played_through(tried, schedule, filters, stop=place, ending=None)
    return run.error is None and run.finished and run.reason is None


def _with_facts(tried: Tried, run: FilteredRun) -> Subject:
    """The handler class in a world that has the facts that the filters of ``run`` have found."""
    plain = copy(tried)
    plain.world = copy(tried.world)
    plain.world.peer, plain.world.principal, plain.world.secured = run.facts
    return plain


def _call(tried: Tried, schedule: Schedule, sizes: Sequence[int], options: str = "") -> str:
    cut = f"sizes={list(sizes)!r}" if sizes else ""
    arguments = [tried.text, literal(schedule), "through", *filter(None, [cut, options])]
    return tried.call("play_through", *arguments)


def _difference(run: Run, right: Run, plain: str = "") -> tuple[str, str]:
    """What differs between a run through filters and the run without, in words and as an assertion.

    ``plain`` is the name of the run without filters in the printed code, if it is there.
    """
    if run.output != right.output:
        told = unlike_at(run.output, right.output)
        expected = f"{plain}.output" if plain else literal(right.output)
        return f"the output is different: {told}", f"assert run.output == {expected}"
    if run.finished != right.finished:
        told = "ends" if run.finished else "does not end"
        expected = f"run.finished == {plain}.finished" if plain else f"{'not ' if run.finished else ''}run.finished"
        return f"the request {told}", f"assert {expected}"
    told = f"it ends for {run.reason!r}, not {right.reason!r}"
    if plain:
        return told, f"assert type(run.reason) is type({plain}.reason)"
    kind = "type(None)" if right.reason is None else run.subject.mention(type(right.reason))
    return told, f"assert type(run.reason) is {kind}"
