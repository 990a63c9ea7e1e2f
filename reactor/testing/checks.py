"""What every handler should hold to, tried with Hypothesis: each property a function, all of them `check`.

A property looks for the smallest schedule that breaks it, and fails with a test that has that
schedule in it. Nothing here opens a socket but `same_in_every_mode`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, NoSuchExample

from . import strategies
from .evidence import (
    CheckFailed,
    Overflow,
    alike,
    asserted,
    beginning,
    differing,
    extent,
    fail,
    fillers,
    flooded,
    minimal,
    places,
    singly,
    unlike,
    wrong,
)  # fmt: skip
from .loopback import ask, foretell, modes_of
from .pristine import pristine
from .schedule import END, RESET, Run, played, worked
from .subject import Subject, literal, pieces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    from hypothesis.strategies import SearchStrategy

    from handlers import World

    from .schedule import Schedule

    Conversation: TypeAlias = "bytes | Iterable[bytes]"

KEPT = 65_536
"""Bytes that a handler may keep in buffers of its own unless a check is told otherwise (64 KiB)."""

LINEAR = 6
"""Times as much work that four times as many bytes may be: 4 and half as much again. Squared, it is 16."""

_FICKLE = (
    "the same schedule gives another result each time: a request leaves something behind where it is not found, "
    "or the handler asks a clock or chance of its own (self.now() is the clock that a test can set)"
)
_FOR_EVER = "it goes on for ever when nothing more comes"
_T = TypeVar("_T")
_SHORT = 128  # bytes of the shorter of two floods whose work is compared
_SMALL = 32  # bytes of a conversation of which every beginning is cut everywhere
_FEW = 25  # examples that a costly property tries at most


def check(
    kind: Any, conversation: Conversation, expected: Any = None, *, world: World | None = None,
    kept: int = KEPT, modes: Iterable[str] | None = None, examples: int | None = None,
) -> None:  # fmt: skip
    """Try everything that a handler class should hold to, whatever the network and its client do.

    ``kind``: a `StreamHandler`, a `DatagramHandler`, or a blocking handler that declares ``request``.
    ``conversation``: the bytes that a client sends, or a list of packets. ``expected``: what it
    is to answer, if that is to be checked too: bytes, of datagrams a list. ``world`` answers what
    the handler asks its row; by default the clock stands at 1970-01-01 00:00 UTC. ``kept``: bytes
    that it may keep itself. ``modes``: those to serve it in, by default all that the host has.
    ``examples``: schedules that each property tries, by default as many as Hypothesis's profile says.

    Raises `CheckFailed`, an ``AssertionError``, for the first property that does not hold.

    >>> from handlers.services import Echo
    >>> check(Echo, b"hello", b"hello")
    """
    pieces = pieces_of(conversation, "conversation")
    modes = modes_of(modes)
    if expected is not None:
        answers(kind, pieces, expected, world=world)
    leaves_nothing_behind(kind, pieces, world=world, examples=examples)
    same_for_any_chunking(kind, pieces, world=world, examples=examples)
    ends_at_any_byte(kind, pieces, world=world, examples=examples)
    survives_any_input(kind, pieces, world=world, examples=examples)
    stays_in_bounds(kind, pieces, world=world, kept=kept, examples=examples)
    works_linearly(kind, pieces, world=world, examples=examples)
    same_in_every_mode(kind, pieces, world=world, modes=modes)


# The properties


def answers(kind: Any, conversation: Conversation, expected: Any, *, world: World | None = None) -> None:
    """The conversation, sent whole, is answered with ``expected``; if not at once, when the stream has ended."""
    it = _Tried(kind, conversation, world)
    run = played(it, it.pieces)
    if run.output != expected and not it.packets:
        run = played(it, [*it.pieces, END])
    if run.error is not None or run.output != expected:
        fail(it, wrong(run, "the answer is not the expected one"), "answers", asserted(run, expected))


def leaves_nothing_behind(
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
) -> None:
    """A request is answered as if it were the first, whatever another one, still open, has sent before.

    State in a class variable breaks this, or in a default argument or a global variable. What such
    things hold is put back each time.
    """
    it = _Tried(kind, conversation, world)
    with pristine(it.kind):
        first = played(it, it.pieces, name="first")
    with pristine(it.kind):
        again = played(it, it.pieces, name="again")
    if not alike(first, again):
        fail(it, _FICKLE, "leaves_nothing_behind", differing(again, first))

    def runs(other: list[bytes], own: int) -> tuple[Run, Run, Run]:
        with pristine(it.kind):
            alone = played(it, it.first(own))
        with pristine(it.kind):
            before = played(it, other, name="other", close=False)
            after = played(it, it.first(own))
            before.close()
        return alone, before, after

    def differs(drawn: tuple[list[bytes], int]) -> bool:
        alone, _, after = runs(*drawn)
        return not alike(alone, after)

    others = st.one_of(it.lengths.map(it.first), it.damaged())
    found = _smallest(it, st.tuples(others, it.lengths), differs, examples)
    if found is not None:
        alone, before, after = runs(*found)
        code = f"{before.code()}\n{unlike(after, alone)}"
        fail(it, "the answer depends on what another request has sent", "leaves_nothing_behind", code)


def same_for_any_chunking(
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
) -> None:
    """The output does not depend on how the input is cut, nor on how the kernel takes the output.

    Any beginning of the conversation is tried, with and without the end of the stream: with one cut
    anywhere, byte by byte, then with any cuts. Datagrams are not cut; for them it is only how their
    answers are taken.
    """
    it = _Tried(kind, conversation, world)
    models: dict[tuple[Any, ...], Run] = {}

    def model(schedule: Schedule) -> Run:
        """What the same bytes come to when they come at once."""
        arriving = [step for step in schedule if isinstance(step, bytes)]
        sent: Schedule = [*(arriving if it.packets else [b"".join(arriving)]), *([END] if END in schedule else [])]
        key = tuple(sent)
        if key not in models:
            models[key] = played(it, sent, name="whole")
        return models[key]

    def differs(schedule: Schedule) -> bool:
        return not alike(model(schedule), played(it, schedule))

    found = next(filter(differs, it.simple_cuts()), None)
    if found is None:
        found = _smallest(it, it.faithful(), differs, examples)
    if found is not None:
        found = minimal(found, differs, it.packets)
        what = "how the answers are taken" if it.packets else "how the input is cut"
        fail(it, f"the output depends on {what}", "for_any_chunking", differing(played(it, found), model(found)))


def ends_at_any_byte(
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
) -> None:
    """Wherever the client stops, the request ends: finished, or with a `Cause`; it neither raises nor goes on.

    The stream ends, or breaks, or nothing more comes and time passes, after every byte of the conversation;
    of datagrams, after every packet. A handler that sends without end must end when the connection breaks.
    One that is patient with a client who is silent must say so (``idle_timeout``, ``request_timeout``), or now and
    then send something: no end comes from a peer whose power was cut, and the request would be held for ever.
    """
    it = _Tried(kind, conversation, world)

    def goes_on(schedule: Schedule) -> bool:
        return _goes_on(played(it, schedule, to_the_end=True), schedule)

    endings: list[Schedule] = [[]] if it.packets else [[END], [RESET], []]
    stops: list[Schedule] = [[*it.first(place), *end] for end in endings for place in places(it.length)]
    found = next(filter(goes_on, stops), None)
    if found is None and not it.packets:
        cut = strategies.schedules(it.pieces[0], seconds=None, ends=False, resets=False)
        found = _smallest(it, cut.map(lambda schedule: [*schedule, END]), goes_on, examples)
    if found is not None:
        run = played(it, found, to_the_end=True)
        fail(it, wrong(run, _FOR_EVER), "ends_at_any_byte", asserted(run, finished=True))


def survives_any_input(
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
) -> None:
    """Whatever the client sends, at whatever pace, the handler raises nothing but causes, always returns, and ends.

    It ends when its client has, is gone, or is silent. What is sent is the conversation, damaged: see
    `strategies.mutations` and `strategies.deliveries`.
    """
    it = _Tried(kind, conversation, world)

    def goes_wrong(schedule: Schedule) -> bool:
        return _goes_on(played(it, schedule, to_the_end=True), schedule)

    found = it.harm(goes_wrong, examples)
    if found is not None:
        run = played(it, minimal(found, goes_wrong, it.packets, damaged=True), to_the_end=True)
        fail(it, wrong(run, _FOR_EVER), "survives_any_input", asserted(run, finished=True))


def stays_in_bounds(
    kind: Any, conversation: Conversation, *, world: World | None = None, kept: int = KEPT, examples: int | None = None
) -> None:
    """No wait is without a limit or a time out, and the bytes held stay bounded, however many come.

    Held are the machine's input and what the handler keeps itself (see `held`): at most ``kept``, the
    limit of a wait, and what one feed brought. A limit over the handler's ``max_output`` is none, nor
    is a time out over a year. Waits are looked at in the conversation, and in what damage makes of it.
    """
    it = _Tried(kind, conversation, world)
    _waits_in_bounds(it, examples)

    def flood(drawn: tuple[int, bytes]) -> Overflow | None:
        return flooded(it, it.first(drawn[0]), drawn[1], kept)

    floods = st.tuples(it.lengths, st.sampled_from(it.fillers))
    found = _smallest(it, floods, lambda drawn: flood(drawn) is not None, examples, _FEW)
    if found is not None and (overflow := flood(found)) is not None:
        run, size, bound = overflow
        if run.error is None:
            code = f"{run.code()}\nassert held({run.name}) <= {bound}"
            fail(it, f"it holds {size} bytes, and more the more come", "stays_in_bounds", code)
        fail(it, wrong(run, ""), "stays_in_bounds", run.code())


def _waits_in_bounds(it: _Tried, examples: int | None) -> None:
    """Fail for a wait without a bound, in the conversation or in what damage can make of it."""

    def passing(schedule: Schedule) -> Run | None:
        """The run that waits so; byte by byte if only that shows a wait, because all it wants is there."""
        runs = (played(it, steps) for steps in (schedule, singly(schedule, it.packets)))
        return next((run for run in runs if run.unbounded is not None), None)

    def passes(schedule: Schedule) -> bool:
        return played(it, singly(schedule, it.packets)).unbounded is not None

    stops: Iterator[Schedule] = ([*it.first(place)] for place in places(it.length))
    found = next(filter(passes, stops), None)
    if found is None and (hostile := it.harm(passes, examples)) is not None:
        found = minimal(hostile, passes, it.packets, damaged=True)
    if found is not None and (run := passing(found)) is not None and run.unbounded is not None:
        calls, lack, bound = run.unbounded
        fail(it, lack, "stays_in_bounds", f"{run.code(calls)}\nassert {bound}")


def works_linearly(
    kind: Any, conversation: Conversation, *, world: World | None = None, examples: int | None = None
) -> None:
    """Four times as many bytes cost about four times the work, byte by byte and all at once.

    The work is counted: see `work`. What comes in numbers is the conversation again and again, or
    one of its bytes, after any beginning of it.
    """
    it = _Tried(kind, conversation, world)

    def flood(start: int, filler: bytes, at_once: bool, times: int) -> tuple[Schedule, str]:
        """The schedule, and its code."""
        count = times * max(1, _SHORT // len(filler or b"a"))
        one = [filler] if it.packets else [filler[place : place + 1] for place in range(len(filler))]
        flow = [filler * count] if at_once else one * count
        first = it.first(start)
        end, ending = ([], "") if it.packets else ([END], " + [END]")
        return [*first, *flow, *end], (f"{literal(first)} + {literal(flow)}" if first else literal(flow)) + ending

    def raised(drawn: tuple[int, bytes, bool]) -> Run | None:
        runs = (played(it, flood(*drawn, times)[0]) for times in (1, 4, 16))
        return next((run for run in runs if run.error is not None), None)

    def steep(drawn: tuple[int, bytes, bool]) -> bool:
        """Whether it grows twice: work that begins with some hundred bytes, and is no more than that, does once."""
        before = None
        for times in 1, 4, 16:
            run, cost = worked(it, flood(*drawn, times)[0])
            if run.error is not None:
                return raised(drawn) is not None  # and not over what counts
            if before is not None and cost <= LINEAR * before:
                return False
            before = cost
        return True

    floods = st.tuples(it.lengths, st.sampled_from(it.fillers), st.booleans())
    found = _smallest(it, floods, steep, examples, _FEW)
    if found is not None:
        if (run := raised(found)) is not None:
            fail(it, wrong(run, ""), "works_linearly", run.code())
        short, long = (it.call("work", it.name, flood(*found, times)[1]) for times in (1, 4))
        code = f"short = {short}\nlong = {long}\nassert long <= {LINEAR} * short"
        fail(it, "four times as many bytes cost far more than four times the work", "works_linearly", code)


def same_in_every_mode(
    kind: Any, conversation: Conversation, *, world: World | None = None, modes: Iterable[str] | None = None
) -> None:
    """A real server on loopback answers the conversation in every mode as it is answered without a network.

    ``modes`` are those to try, of ``"sync"``, ``"select"``, ``"fork"`` and ``"thread"``; by default all
    that the host has. The clock stands still, as ``world`` says.
    """
    it = _Tried(kind, conversation, world)
    for mode in modes_of(modes):
        if (differing := _differs(it, mode, it.length)) is not None:
            if not it.blocking and differing[0] is not None:
                # What a blocking handler makes of half a request is not the same, and need not be.
                shorter = (_differs(it, mode, place) for place in places(it.length)[:64])
                differing = next((found for found in shorter if found is not None), differing)
            fail(it, f"in {mode} mode the answer is another", f"in_{mode}_mode", differing[1])


def _differs(it: _Tried, mode: str, length: int) -> tuple[Any, str] | None:
    """What the first ``length`` bytes are answered in ``mode`` (``None``: nothing in time), and the test of it."""
    first = it.first(length)
    model = played(it, first) if it.packets else foretell(it, b"".join(first))
    sent = first if it.packets else b"".join(first)
    try:
        answer = ask(mode, it.kind, sent, it.world)
    except TimeoutError:
        answer = None
    if answer == model.output:
        return None
    return answer, f"assert {it.call('ask', repr(mode), it.name, literal(sent))} == {literal(model.output)}"


# How they are tried


def _goes_on(run: Run, schedule: Schedule) -> bool:
    """Whether the handler has raised or, when its client has ended or is silent, does not end.

    That it waits for ever is another matter where nothing but silence came: see `stays_in_bounds`.
    """
    if run.error is not None or run.finished:
        return run.error is not None
    return END in schedule or RESET in schedule or run.patience < float("inf")


class _Tried(Subject):
    """A handler class and the conversation that it is tried with."""

    def __init__(self, kind: Any, conversation: Conversation, world: World | None) -> None:
        super().__init__(kind, world)
        self._given = world is not None
        self.pieces = self.conversation(conversation)
        self.length = extent(self.pieces, self.packets)
        self.lengths = st.integers(0, self.length)
        self.fillers = fillers(self.pieces, self.packets)

    def first(self, length: int) -> list[bytes]:
        """The first so many bytes, or packets, of the conversation."""
        return beginning(self.pieces, length, self.packets)

    def call(self, function: str, *arguments: str) -> str:
        """The code that calls ``function``, in the world that was given."""
        world = self.in_world(played(self, self.pieces).asked - {"peer"}) if self._given else ""
        return f"{function}({', '.join([*arguments, *([world] if world else [])])})"

    def simple_cuts(self) -> Iterator[Schedule]:
        """The beginnings (of a long conversation the whole), short ones first: in two pieces, then byte by byte."""
        if self.packets:
            return
        data = self.pieces[0]
        lengths = range(1, self.length + 1) if self.length <= _SMALL else [self.length]
        for length in lengths:
            for cut in places(length)[1:-1]:
                yield [data[:cut], data[cut:length]]
        for length in lengths:
            yield [data[place : place + 1] for place in range(length)]

    def faithful(self) -> SearchStrategy[Schedule]:
        """Schedules that neither lose nor damage anything, nor let time pass."""
        if self.packets:
            return strategies.packet_schedules(self.pieces, lossy=False, seconds=None)
        return strategies.schedules(self.pieces[0], seconds=None, resets=False)

    def harm(self, breaks: Callable[[Schedule], bool], examples: int | None) -> Schedule | None:
        """What a client that is broken, or means harm, does to break a property; ``None`` if nothing is found."""
        found = next(filter(breaks, self._slips()), None)
        return _smallest(self, self._hostile(), breaks, examples) if found is None else found

    def _slips(self) -> Iterator[Schedule]:
        if not self.packets:
            for data in strategies.slips(self.pieces[0]):
                yield [data, END]
            return
        for place, packet in enumerate(self.pieces):
            for data in strategies.slips(packet):
                yield [*self.pieces[:place], data, *self.pieces[place + 1 :]]

    def _hostile(self) -> SearchStrategy[Schedule]:
        """Schedules in which anything may happen."""
        if self.packets:
            return self.damaged().flatmap(lambda packets: strategies.packet_schedules(packets, whole=True))
        return self.damaged().flatmap(lambda pieces: strategies.schedules(pieces[0], whole=True))

    def damaged(self) -> SearchStrategy[list[bytes]]:
        """What of the conversation a broken client sends."""
        if not self.packets:
            return strategies.mutations(self.pieces[0]).map(lambda data: [data])
        whole = st.sampled_from(self.pieces or [b""])
        packet = st.one_of(whole, whole.flatmap(strategies.mutations))
        return st.lists(packet, max_size=len(self.pieces) + 2)


def _smallest(
    it: Subject, strategy: SearchStrategy[_T], breaks: Callable[[_T], bool], examples: int | None,
    most: int | None = None,
) -> _T | None:  # fmt: skip
    """The smallest example that breaks a property, ``None`` if none of those tried does."""
    profile = settings()
    count = profile.max_examples if examples is None else examples
    chosen = settings(
        profile, max_examples=count if most is None else min(most, count), database=None, deadline=None,
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    try:
        return find(strategy, breaks, settings=chosen)
    except NoSuchExample:
        return None
    except Flaky as error:
        raise CheckFailed(f"{it.name}: {_FICKLE}") from error
