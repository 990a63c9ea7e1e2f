"""The properties that every handler should have, each tried with Hypothesis, and `check`, which tries them all.

A property searches for the smallest schedule that breaks it, and raises `CheckFailed` with a test that contains this
schedule. Only `same_in_every_mode` opens sockets.
"""

from __future__ import annotations

from functools import partial
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any

from . import strategies
from .apart import Evidence, meeting
from .blocking import calls_nothing_that_blocks
from .bombs import bears_any_bomb
from .causes import ends_if_it_drips, takes_causes_for_ends
from .choices import each, either, one_of
from .counting import Spent
from .damaged import same_for_any_chunking_of_faults
from .dropped import drops_no_step
from .evidence import (
    COSTLY,
    FEW,
    Budget,
    Flood,
    alike,
    answers_of,
    asserted,
    differing,
    fault_of,
    flooded,
    minimal,
    places,
    singly,
    thinned,
    unlike,
)  # fmt: skip
from .filtered import listed
from .headers import splits_no_answer, takes_names_in_any_case
from .keys import has_a_key_for_any_packet
from .lapses import answers_duplicates_once, forgives_timeouts
from .learned import BUDGET, Try, conversations, tries_of
from .lengths import takes_true_lengths_only
from .limits import same_at_its_limits
from .linear import works_linearly
from .loopback import modes_of
from .looping import answers_no_answer
from .matching import matches_in_time
from .modes import same_in_every_mode
from .nested import bears_any_nesting
from .numbers import bears_any_number
from .overlapping import bears_two_at_once
from .pristine import pristine, restorer, shared_on_purpose
from .process import leaves_the_process_as_it_was
from .refused import skips_what_it_refuses
from .relatives import takes_exact_ends_only, takes_one_length_only, takes_plain_numbers_only
from .repeated import KEPT, stays_in_bounds_when_repeated
from .report import Answers, fail, held_in_time, in_all
from .run import Run, played
from .schedule import END, RESET
from .stateful import answers_as_told, is_grammar
from .strategies import NOT_REPEATABLE, smallest
from .subject import world_of
from .through import ends_at_any_byte_of_the_wire, same_through_filters
from .tried import Tried, is_open_for_ever
from .watching import trying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from ...handlers import World
    from ..peers.peer import Through
    from .schedule import Schedule

    Conversation: TypeAlias = "bytes | Iterable[bytes]"

SINGLY = 48
"""The most damaged conversations that come byte by byte to show each wait."""

LARGEST = 64
"""The most places of a conversation at which a byte is as large as may be."""

_FOR_EVER = "it goes on for ever when nothing more comes"


def check(
    kind: Any, conversation: Any, expected: Any = None, *, server: object = None,
    world: World | None = None, kept: int = KEPT, modes: Iterable[str] | None = None, examples: int | None = None,
    through: Through | Sequence[Through] | None = None, meant: Iterable[str] = (), deadline: float = inf,
    progress: Callable[[str], object] | None = None,
) -> None:  # fmt: skip
    """Try every property of this room on a handler class: those of this module, and those that it imports.

    - ``kind``: a `StreamHandler`, a `DatagramHandler`, a blocking handler that declares ``request``, or a
      `functools.partial` of one of these. A blocking handler runs as in select mode: in every mode it is the same state
      machine that waits for its requests. In the modes, real servers answer the conversation.
    - ``conversation``: the bytes that a client sends, or a list of messages or packets; the path of a file that
      `Recording` has written, or of a directory of them; a `Conversation` class with rules, or a Hypothesis strategy of
      lists of messages. A list of such, or a ``dict`` with their names, is several conversations: each is checked, and
      the report names it. Each message is also tried alone, deep, behind the others: for five million lines of Python.
    - ``expected``: the output for the conversation: bytes, of a datagram handler a list of packets. ``None``: not
      checked.
    - ``server``: the handler's ``self.server``: any object with the attributes that the handler uses. Each run begins
      with the attributes that it has now, and it has them again at the end. In the modes, the real server takes from
      it the attributes that it lacks.
    - ``world``: answers the handler's questions. By default the clock stands still at 1970-01-01 00:00 UTC.
    - ``kept``: bytes that the handler may keep besides the input in its machine.
    - ``modes``: the modes to serve it in; by default all that the host has.
    - ``examples``: the schedules that each property tries; by default as many as Hypothesis's profile says.
    - ``through``: a filter with a peer that speaks its protocol (`Through`; ``tls()`` is TLS), or several, the first
      next to the wire: behind them the plain text must be the same as without them, and each early end an error.
    - ``meant``: names of properties that the handler breaks on purpose; they are not tried. A server that takes a
      bare CR for the end of a line says ``meant=["takes_exact_ends_only"]``.
    - ``deadline``: seconds of real time after which the check fails, and says what it was trying; by default none.
    - ``progress``: called with a line of text before each property, such as ``print``.

    A filter that the handler puts in front of itself, as for STARTTLS, counts as open (`World`): the conversation is
    plain text, and the modes are left out. Calls (`Handler.call`) are made in their order, each to its end. In the
    modes, those that wait may be answered in another one.

    Raises `CheckFailed`, an ``AssertionError``, for the first property that does not hold, and `TypeError` or
    `ValueError` for a wrong argument. A handler may block for 2 seconds of real time, in all runs together, and the
    functions of its `Forked` and `Threaded` may take 20: then the check fails and names the state. In the main thread
    of a POSIX system that is so even if the state never returns.

    >>> from handlers.services import Echo
    >>> check(Echo, b"hello", b"hello")
    """
    modes, meant = modes_of(modes), [meant] if isinstance(meant, str) else list(meant)
    world, begun = world_of(world, server), perf_counter()
    subject = Tried(kind, b"", world)
    told = conversations(conversation, subject.packets)
    if expected is not None and (len(told) != 1 or is_grammar(told[0].messages)):
        raise TypeError("expected is the output for one conversation, and several are given: check it alone")
    filters = [] if through is None else listed(through)
    tries: list[Try] = []
    for one in told:
        pieces, deep = one.drawn(subject)
        holding = _as_told(kind, pieces, expected, one.messages, world, examples)
        holding += _all(kind, pieces, world, kept, modes, examples)
        if filters:
            holding += _behind(filters, kind, pieces, world, examples)
        tries += tries_of(one, _unmeant(holding, meant), deep)
    with in_all(deadline), shared_on_purpose("leaves_nothing_behind" in meant):
        _hold_all(tries, subject, begun, progress)


def _hold_all(tries: list[Try], subject: Tried, begun: float, progress: Callable[[str], object] | None) -> None:
    """Each property holds, or this fails. The server and the class are each time as they are now."""
    restore = restorer(subject.world.server, subject.kind)
    left = BUDGET
    for number, (name, holds, is_deep) in enumerate(tries, 1):
        if is_deep and left < 0:
            continue
        trying(name)
        if progress is not None:
            progress(f"{perf_counter() - begun:.1f} seconds: {number} of {len(tries)}, {name}")
        before = Spent.lines
        _hold(holds, subject.kind, restore)
        if is_deep:
            left -= Spent.lines - before


def _hold(holds: Callable[[], None], kind: type, restore: Callable[[], None]) -> None:
    """Try a property, and put what requests share back into the state that it had."""
    try:
        with pristine(kind):
            holds()
    finally:
        restore()


def _as_told(
    kind: Any, pieces: Any, expected: Any, messages: Any, world: World, examples: int | None
) -> list[partial[None]]:
    """The properties of the answers that the caller of `check` has told."""
    holding = [] if expected is None else [partial(answers, kind, pieces, expected, world=world)]
    if is_grammar(messages):
        holding.append(partial(answers_as_told, kind, messages, world=world, examples=examples))
    return holding


def _behind(filters: Any, kind: Any, pieces: Any, world: World, examples: int | None) -> list[partial[None]]:
    """The properties of the handler behind the filters."""
    return [
        partial(same_through_filters, kind, pieces, filters, world=world, examples=examples),
        partial(ends_at_any_byte_of_the_wire, kind, pieces, filters, world=world),
    ]


def _all(kind: Any, pieces: Any, world: World, kept: int, modes: Any, examples: int | None) -> list[partial[None]]:
    """The properties that need nothing more of the caller of `check`, in the order in which they are tried."""
    return [
        partial(drops_no_step, kind),
        partial(calls_nothing_that_blocks, kind),
        partial(leaves_nothing_behind, kind, pieces, world=world, examples=examples),
        partial(leaves_the_process_as_it_was, kind, pieces, world=world),
        partial(bears_two_at_once, kind, pieces, world=world),
        partial(same_for_any_chunking, kind, pieces, world=world, examples=examples),
        partial(ends_at_any_byte, kind, pieces, world=world, examples=examples),
        partial(survives_any_input, kind, pieces, world=world, examples=examples),
        partial(stays_in_bounds, kind, pieces, world=world, kept=kept, examples=examples),
        partial(works_linearly, kind, pieces, world=world, examples=examples),
        partial(same_for_any_chunking_of_faults, kind, pieces, world=world, examples=examples),
        partial(has_a_key_for_any_packet, kind, pieces, world=world),
        partial(bears_any_number, kind, pieces, world=world),
        partial(same_at_its_limits, kind, pieces, world=world),
        partial(matches_in_time, kind, pieces, world=world),
        partial(bears_any_nesting, kind, pieces, world=world),
        partial(stays_in_bounds_when_repeated, kind, pieces, world=world, kept=kept),
        partial(bears_any_bomb, kind, pieces, world=world),
        partial(answers_duplicates_once, kind, pieces, world=world),
        partial(answers_no_answer, kind, pieces, world=world),
        partial(forgives_timeouts, kind, pieces, world=world),
        partial(takes_causes_for_ends, kind, pieces, world=world),
        partial(ends_if_it_drips, kind, pieces, world=world),
        partial(takes_plain_numbers_only, kind, pieces, world=world),
        partial(takes_exact_ends_only, kind, pieces, world=world),
        partial(takes_one_length_only, kind, pieces, world=world),
        partial(takes_true_lengths_only, kind, pieces, world=world),
        partial(takes_names_in_any_case, kind, pieces, world=world),
        partial(splits_no_answer, kind, pieces, world=world),
        partial(skips_what_it_refuses, kind, pieces, world=world),
        partial(same_in_every_mode, kind, pieces, world=world, modes=modes),
    ]


def _unmeant(tries: list[partial[None]], meant: list[str]) -> list[partial[None]]:
    """``tries`` without the properties that are named in ``meant``."""
    names = [holds.func.__name__ for holds in tries]
    for name in meant:
        if name not in names:
            raise ValueError(f"meant is a list of properties that check tries: {name!r} is not one of {names}")
    return [holds for holds in tries if holds.func.__name__ not in meant]


# The properties


@held_in_time
def answers(kind: Any, conversation: Conversation, expected: Any, *, world: World | None = None) -> None:
    """The output for the whole conversation is ``expected``, at once or after the stream has ended."""
    tried = Tried(kind, conversation, world)
    run = played(tried, tried.pieces)
    if run.output != expected and not tried.packets:
        run = played(tried, [*tried.pieces, END])
    if run.error is not None or run.output != expected:
        answers = None if run.error is not None else Answers(run.output, expected)
        fault = fault_of(run, "the output is not the expected one")
        fail(tried, fault, "answers", asserted(run, expected), answers=answers)


@held_in_time
def leaves_nothing_behind(
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
) -> None:
    """The output for a request does not depend on the input of another request that is still open.

    State in a class variable, a default argument or a global variable breaks this. Such state is restored before each
    run. The other request comes first, or between the halves of this one; or it sends the first half, such as the
    login, and this one only the second; or it sends all, and this one less, such as a line without its last word, or
    another word in the place of one. A chat room or a counter shares state on purpose: then
    ``check(..., meant=["leaves_nothing_behind"])`` restores it before each run, and tries all others.
    """
    tried = Tried(kind, conversation, world)
    with pristine(tried.kind):
        first = played(tried, tried.pieces, name="first")
    with pristine(tried.kind):
        again = played(tried, tried.pieces, name="again")
    if not alike(first, again):
        fail(
            tried, NOT_REPEATABLE, "leaves_nothing_behind", differing(again, first), answers=answers_of(again, first)
        )  # fmt: skip

    def runs(other: list[bytes], own: int) -> tuple[Run, Run, Run]:
        with pristine(tried.kind):
            alone = played(tried, tried.first(own))
        with pristine(tried.kind):
            before = played(tried, other, name="other", close=False)
            after = played(tried, tried.first(own))
            before.close()
        return alone, before, after

    def differs(drawn: tuple[list[bytes], int]) -> bool:
        alone, _, after = runs(*drawn)
        return not alike(alone, after)

    others = either(tried.lengths.map(tried.first), tried.damaged())
    found = smallest(tried, each(others, tried.lengths), differs, examples)
    if found is not None:
        alone, before, after = runs(*found)
        evidence: Evidence | None = Evidence(f"{before.code()}\n{unlike(after, alone)}", answers_of(after, alone))
    else:
        evidence = meeting(tried)
    if evidence is not None:
        fault = "the output depends on what another request has sent"
        fail(tried, fault, "leaves_nothing_behind", evidence.code, answers=evidence.answers)


@held_in_time
def same_for_any_chunking(
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
) -> None:
    """The output does not depend on how the input is cut, nor on how the kernel takes the output.

    The property tries beginnings of the conversation with one cut at each place, then byte by byte, then with any
    cuts, with and without the end of the stream. Datagrams are not cut: for them it tries only how the kernel takes
    the output.
    """
    tried = Tried(kind, conversation, world)
    models: dict[tuple[Any, ...], Run] = {}

    def model(schedule: Schedule) -> Run:
        """The run of the same bytes in one piece."""
        arriving = [step for step in schedule if isinstance(step, bytes)]
        sent: Schedule = [*(arriving if tried.packets else [b"".join(arriving)]), *([END] if END in schedule else [])]
        key = tuple(sent)
        if key not in models:
            models[key] = played(tried, sent, name="whole")
        return models[key]

    def differs(schedule: Schedule) -> bool:
        return not alike(model(schedule), played(tried, schedule))

    found = next(filter(differs, tried.simple_cuts()), None)
    if found is None:
        found = smallest(tried, tried.faithful(), differs, examples)
    if found is not None:
        found = minimal(found, differs, tried.packets)
        run, whole = played(tried, found), model(found)
        cause = "how the output is taken" if tried.packets else "how the input is cut"
        fault, answers = f"the output depends on {cause}", answers_of(run, whole)
        fail(tried, fault, "for_any_chunking", differing(run, whole), answers=answers)


@held_in_time
def ends_at_any_byte(
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
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
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
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


@held_in_time
def stays_in_bounds(
    kind: Any, conversation: Conversation, *, world: World | None = None, kept: int = KEPT, examples: int | None = None
) -> None:
    """Every wait has a limit and a timeout, and the bytes that a request holds stay bounded, however many come.

    A request may hold (see `held`) ``kept`` bytes, plus the largest limit of a wait, plus the bytes of one round of
    input. A limit over the handler's ``max_output`` counts as none, and so does a timeout over a year. The property
    looks at the waits of the conversation and of damaged conversations.
    """
    tried = Tried(kind, conversation, world)
    _waits_in_bounds(tried, examples)

    def flood(start: int, filler: bytes) -> Flood:
        return flooded(tried, tried.first(start), filler, kept)

    def attempt(start: int, filler: bytes) -> tuple[bool, int]:
        made = flood(start, filler)
        return made.is_fault, made.run.cost

    floods = each(tried.lengths, one_of(tried.fillers))
    found = smallest(tried, floods, Budget(COSTLY, attempt).is_faulty, examples, FEW)
    if found is not None:
        run, size, bound = flood(*found)
        if run.error is None:
            code = f"{run.code()}\nassert held({run.name}) <= {bound}"
            fault = f"it holds {size} bytes, and the more come, the more it holds"
            fail(tried, fault, "stays_in_bounds", code, remedy=f"kept={2 * size} (bytes)")
        fail(tried, fault_of(run, ""), "stays_in_bounds", run.code())


def _waits_in_bounds(tried: Tried, examples: int | None) -> None:
    """Fail for a wait without a bound, in the conversation or in a damaged one."""

    def passing(schedule: Schedule) -> Run | None:
        """The run that has such a wait. If the input arrives in one piece the handler may never wait for it."""
        runs = (played(tried, steps) for steps in (schedule, singly(schedule, tried.packets)))
        return next((run for run in runs if run.unbounded is not None), None)

    def passes(schedule: Schedule) -> bool:
        return played(tried, singly(schedule, tried.packets)).unbounded is not None

    def ends_in_one(schedule: Schedule) -> bool:
        """Whether it has one when nothing more comes; to see what it waits for before costs many times as much."""
        return played(tried, schedule).unbounded is not None

    stops: Iterator[Schedule] = ([*tried.first(place)] for place in places(tried.length))
    found = next(filter(passes if passes([*tried.pieces]) else ends_in_one, stops), None)
    if found is None:
        hostile = next(filter(ends_in_one, tried.largest(LARGEST)), None)
        if hostile is None:
            hostile = tried.harm(ends_in_one, examples, FEW)
        if hostile is None:
            hostile = next(filter(passes, thinned(list(tried.slips()), SINGLY)), None)
        found = None if hostile is None else minimal(hostile, passes, tried.packets, damaged=True)
    if found is not None and (run := passing(found)) is not None and run.unbounded is not None:
        calls, lack, bound = run.unbounded
        fail(tried, lack, "stays_in_bounds", f"{run.code(calls)}\nassert {bound}")
