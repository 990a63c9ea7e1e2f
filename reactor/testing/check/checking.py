"""`check`, which tries every property: those of this room, and those of ``costs``.

A property searches for the smallest schedule that breaks it, and raises `CheckFailed` with a test that contains this
schedule.
"""

from __future__ import annotations

from functools import partial
from math import inf
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from ..costs.linear import works_linearly
from ..costs.matching import matches_in_time
from ..inputs.learned import conversations
from ..inputs.stateful import is_grammar
from ..inputs.tried import Tried
from ..running.counting import LinesRun
from ..running.filtered import listed
from ..running.loopback import modes_of
from ..running.pristine import pristine, restorer, shared_on_purpose
from ..running.report import in_all
from ..running.subject import world_of
from ..running.watching import trying
from .apart import leaves_nothing_behind
from .bombs import bears_any_bomb
from .bounds import KEPT, stays_in_bounds
from .causes import ends_if_it_drips, takes_causes_for_ends
from .cuts import same_for_any_chunking, same_for_any_chunking_of_faults
from .ends import ends_at_any_byte, survives_any_input
from .headers import splits_no_answer, takes_names_in_any_case
from .keys import has_a_key_for_any_packet
from .lapses import answers_duplicates_once, forgives_timeouts
from .lengths import takes_true_lengths_only
from .limits import same_at_its_limits
from .looping import answers_no_answer
from .modes import same_in_every_mode
from .nested import bears_any_nesting
from .numbers import bears_any_number
from .overlapping import bears_two_at_once
from .process import leaves_the_process_as_it_was
from .refused import skips_what_it_refuses
from .relatives import takes_exact_ends_only, takes_one_length_only, takes_plain_numbers_only
from .repeated import stays_in_bounds_when_repeated
from .statements import calls_nothing_that_blocks, drops_no_step
from .through import ends_at_any_byte_of_the_wire, same_through_filters
from .told import answers, answers_as_told
from .trying import BUDGET, ENOUGH, Try, tries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...handlers import World
    from ..peers.peer import Through


def check(
    kind: Any, conversation: Any, expected: Any = None, *, server: object = None,
    world: World | None = None, kept: int = KEPT, modes: Iterable[str] | None = None, examples: int | None = None,
    through: Through | Sequence[Through] | None = None, meant: Iterable[str] = (), deadline: float = inf,
    progress: Callable[[str], object] | None = None,
) -> None:  # fmt: skip
    """Try every property on a handler class: those of this package, each of which can be called alone too.

    - ``kind``: a `StreamHandler`, a `DatagramHandler`, a blocking handler that declares ``request``, or a
      `functools.partial` of one of these. A blocking handler runs as in select mode: in every mode it is the same state
      machine that waits for its requests. In the modes, real servers answer the conversation.
    - ``conversation``: the bytes that a client sends, or a list of messages or packets; the path of a file that
      `Recording` has written, or of a directory of them; a `Conversation` class with rules, or a Hypothesis strategy of
      lists of messages. A list of such, or a ``dict`` with their names, is several conversations: each is checked, and
      the report names it. Each message is also tried alone, deep, behind the others: for five million lines of Python,
      while all has taken less than twelve seconds of processor time.
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
    left, until = BUDGET, process_time() + ENOUGH
    for number, (name, holds, is_deep) in enumerate(tries, 1):
        if is_deep and (left < 0 or process_time() > until):
            continue
        trying(name)
        if progress is not None:
            progress(f"{perf_counter() - begun:.1f} seconds: {number} of {len(tries)}, {name}")
        before = LinesRun.lines
        _hold(holds, subject.kind, restore)
        if is_deep:
            left -= LinesRun.lines - before


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
