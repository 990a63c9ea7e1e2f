"""The properties of cuts: how the network cuts a conversation, right or damaged, changes no answer."""

from __future__ import annotations

import re
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from ..inputs import strategies
from ..inputs.borders import inner_firsts_of, messages_of
from ..inputs.shortening import minimal
from ..inputs.strategies import smallest
from ..inputs.tried import Tried
from ..running.evidence import alike, answers_of, differing
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.spreading import one_by_one, thinned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule

FEW = 25
"""The most schedules that are drawn. Before them, each of `slips` with a few tokens is tried."""

WRONG = 24
"""The most places of a conversation at which one byte is wrong: in its last bit, or in all, by turns."""

HEADS = 6
"""The most messages in whose head one byte is wrong, whatever comes behind them."""

HEAD = 12
"""The bytes of a head: such as a version, a length, flags and a kind."""

MESSAGES = 8
"""The most messages that come many times, each in another schedule."""

FLOOD = 4_096
"""Bytes of such a message in all: more than most limits of one message."""

TIMES = 256
"""The most times that it comes."""

_TOKENS = b"", b"\n", b"x", b"\xff", b"9999999999", b'\\"'
"""What is put in, with a letter of the answers that has several bytes. These, and the last two here, are one sign."""

_LETTER = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+")


@held_in_time
def same_for_any_chunking(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, examples: int | None = None
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
def same_for_any_chunking_of_faults(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, examples: int | None = None
) -> None:
    """The output for a damaged conversation does not depend on how it is cut either.

    A handler breaks this that holds a limit against all that came in a read, that sends an error before the answers
    to what came before it, that throws away the rest of the read after a broken frame, or that answers a line too
    long once for each piece of it. The property tries damaged conversations (see `mutations`) in one piece, byte by
    byte, and with any cuts; and the conversation with one wrong byte, above all in the heads of messages, in one piece
    and message by message. Datagrams are not cut.
    """
    tried = Tried(kind, conversation, world)
    if tried.packets:
        return

    def model(schedule: Schedule) -> Run:
        """The run of the same bytes in one piece."""
        data = b"".join(step for step in schedule if isinstance(step, bytes))
        return played(tried, [data, *([END] if END in schedule else [])], name="whole")

    def differs(schedule: Schedule) -> bool:
        whole = model(schedule)
        if alike(whole, played(tried, schedule)):
            return False
        return alike(whole, model(schedule))  # if not, the answer has random numbers, which show nothing

    found = next(filter(differs, chain(_cut_slips(tried), _wrong_bytes(tried), _many(tried))), None)
    if found is None:
        cut = tried.damaged().flatmap(
            lambda pieces: strategies.stream_schedules(pieces[0], whole=True, seconds=None, resets=False)
        )
        found = smallest(tried, cut, differs, examples, FEW)
    if found is not None:
        found = minimal(found, differs, packets=False, damaged=True)
        run, whole = played(tried, found), model(found)
        fault = "the output for a faulty client depends on how the input is cut"
        answers = answers_of(run, whole)
        fail(tried, fault, "for_any_chunking_of_faults", differing(run, whole), answers=answers)


def _cut_slips(tried: Tried) -> Iterator[Schedule]:
    """Damaged conversations byte by byte."""
    letter = _LETTER.search(played(tried, tried.pieces).output)
    slips = list(strategies.slips(tried.pieces[0], (*_TOKENS, letter[0] if letter else "é".encode())))
    for data in thinned(slips, tried.afforded(len(slips))):
        yield [*one_by_one(data), END]


def _wrong_bytes(tried: Tried) -> Iterator[Schedule]:
    """The conversation with one wrong byte, anywhere or in a head, cut where its messages begin, if it has several."""
    data = tried.pieces[0]
    *others, last = pairwise([0, *inner_firsts_of(tried), len(data)])
    if not others:
        return
    spread = [(place, 1 if number % 2 else 0xFF) for number, place in enumerate(thinned(list(range(len(data))), WRONG))]
    heads = [(place, 1) for start, end in others[:HEADS] for place in range(start, min(end, start + HEAD))]
    for place, bits in dict.fromkeys([*spread, *heads]):
        wrongly = data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]
        yield [*(wrongly[start:end] for start, end in [*others, last]), END]


def _many(tried: Tried) -> Iterator[Schedule]:
    """The conversation with one message many times, cut where its messages begin."""
    messages = [message for message in messages_of(tried) if message]
    for place, message in thinned(list(enumerate(messages)), MESSAGES):
        times = min(TIMES, FLOOD // len(message) + 1)
        yield [*messages[:place], *[message] * times, *messages[place:], END]
