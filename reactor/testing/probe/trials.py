"""What is tried with a server: the steps of a connection, and what must come of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..running.spreading import spread
from .exchange import Answered, Ended, HalfClose, Pause, Quiet, ResetIt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..running.recorded import Turn
    from .exchange import Exchange, Step

HIDDEN = b"\x00masked\x00"
PAUSE = 0.02
"""Seconds between the two parts of an input that is cut: time for the server to read the first."""

SLOW = 8
"""The parts of a conversation that is sent slowly."""


class Limits(NamedTuple):
    """Bounds of a probe: seconds without input after which an answer is over, and those that one may take."""

    quiet: float = 0.2
    patience: float = 5.0
    places: int = 1000
    """Places of one property that are tried, at most; of a longer conversation they are evenly spread."""


class Fault(NamedTuple):
    """What is wrong: in words, and the two answers if they differ."""

    text: str
    got: bytes = b""
    expected: bytes = b""


class Trial(NamedTuple):
    """Steps of a connection, the place in the conversation that they are about, and what is wrong with the outcome."""

    place: str
    steps: list[Step]
    fault: Callable[[Exchange], Fault | None]


class Property(NamedTuple):
    """What must hold, in one sentence, and its trials."""

    name: str
    sentence: str
    trials: list[Trial]


class Model:
    """The conversation as it goes when nothing is cut: the turns of the client, and the answers to each.

    ``masks`` are regular expressions of what may differ from run to run; an answer is compared without them.
    """

    def __init__(self, sent: Sequence[bytes], masks: Sequence[bytes]) -> None:
        self.sent = list(sent)
        self._masks = [re.compile(mask) for mask in masks]
        self.answers: list[bytes] = []
        """What has come, masked, when each turn was answered; all of it from the beginning."""
        self.ended = False
        """Whether the server ends the connection at the end of the conversation."""

    def masked(self, data: bytes) -> bytes:
        """The data, with one fixed text in the place of each match of a mask."""
        for mask in self._masks:
            data = mask.sub(HIDDEN, data)
        return data

    def learning(self, turns: Sequence[Turn], limits: Limits) -> list[Step]:
        """The steps of a run that learns the answers: each turn is over when the server is quiet."""
        steps: list[Step] = []
        is_recorded = any(turn.answer for turn in turns)
        for turn in turns:
            awaited = [Answered(bool)] if turn.answer or not is_recorded else []
            steps += [turn.sent, *awaited, Quiet(4 * limits.quiet)]
        return steps

    def learn(self, run: Exchange) -> None:
        """Take the answers of such a run."""
        ends = [place for place, step in enumerate(run.steps, 1) if isinstance(step, Quiet)]
        self.answers = [self.masked(run.received[: run.reached[end]]) for end in ends]
        self.ended = run.ended

    @property
    def whole(self) -> bytes:
        """All that the server answers, masked."""
        return self.answers[-1]

    @property
    def length(self) -> int:
        """The bytes that the client sends."""
        return sum(map(len, self.sent))

    def answered(self, turn: int) -> Answered:
        """The step that waits until a turn is answered."""
        expected = self.answers[turn]
        return Answered(lambda data: len(data) >= len(expected) // 2 and self.masked(data).startswith(expected))

    def before(self, offset: int) -> tuple[list[Step], bytes, bytes, int]:
        """The steps of the turns before a byte; then the part of its turn that is before it, the rest, and the turn."""
        steps: list[Step] = []
        for number, data in enumerate(self.sent):
            if offset <= len(data):
                return steps, data[:offset], data[offset:], number
            steps += [data, self.answered(number)]
            offset -= len(data)
        raise IndexError(offset)

    def after(self, turn: int, limits: Limits) -> list[Step]:
        """The steps from the wait for the answer to this turn on."""
        steps: list[Step] = [self.answered(turn)]
        for number in range(turn + 1, len(self.sent)):
            steps += [self.sent[number], self.answered(number)]
        return [*steps, Ended() if self.ended else Quiet(limits.quiet)]

    def unlike(self, run: Exchange) -> Fault | None:
        """What differs from the whole conversation; ``None`` if nothing does."""
        got = self.masked(run.received)
        if got != self.whole:
            why = run.error or ("the server has ended the connection" if run.ended and not self.ended else "")
            return Fault(f"the answer differs{f' ({why})' if why else ''}", got, self.whole)
        if run.error:
            return Fault(f"the answer is whole, and the connection is lost: {run.error}")
        if run.ended != self.ended:
            return Fault(f"the server {'ends' if run.ended else 'does not end'} the connection")
        return None


def properties(model: Model, limits: Limits, is_encrypted: bool) -> Iterator[Property]:
    """The properties that are tried, in this order."""
    seen: dict[int, bytes] = {}
    yield cut_once(model, limits, seen)
    yield byte_by_byte(model, limits)
    yield slow(model, limits)
    if len(model.sent) > 1:
        yield coalesced(model, limits)
    if not is_encrypted:
        yield half_closed(model, limits, seen)
    yield reset(model, limits)


def cut_once(model: Model, limits: Limits, seen: dict[int, bytes]) -> Property:
    """One cut at each byte. ``seen`` becomes what the server had answered to each beginning."""

    def trial(offset: int) -> Trial:
        steps, head, rest, turn = model.before(offset)
        steps += [head, Pause(PAUSE)]

        def fault(run: Exchange) -> Fault | None:
            if len(run.reached) > len(steps):
                seen[offset] = run.received[: run.reached[len(steps)]]
            return model.unlike(run)

        return Trial(f"cut before byte {offset}", [*steps, rest, *model.after(turn, limits)], fault)

    places = spread(1, model.length - 1, limits.places)
    return Property(
        "cut", "An input in two pieces has the answer that it has in one", [trial(place) for place in places]
    )


def byte_by_byte(model: Model, limits: Limits) -> Property:
    """All bytes one by one, or in as many pieces as may be."""
    steps = pieces(model, limits, max(1, -(-model.length // limits.places)), 0.001)
    trials = [Trial("the whole conversation", steps, model.unlike)]
    return Property("bytes", "An input that comes byte by byte has the answer that it has in one piece", trials)


def slow(model: Model, limits: Limits) -> Property:
    """A few pieces, with long pauses."""
    steps = pieces(model, limits, max(1, -(-model.length // SLOW)), limits.quiet)
    trials = [Trial("the whole conversation", steps, model.unlike)]
    return Property("slow", "An input that comes slowly has the answer that it has at once", trials)


def pieces(model: Model, limits: Limits, size: int, pause: float) -> list[Step]:
    """The steps that send each turn in pieces of this size, with pauses."""
    steps: list[Step] = []
    for number, data in enumerate(model.sent):
        for start in range(0, len(data), size):
            steps += [data[start : start + size], Pause(pause)]
        steps.append(model.answered(number))
    return [*steps[:-1], *model.after(len(model.sent) - 1, limits)]


def coalesced(model: Model, limits: Limits) -> Property:
    """All turns in one piece."""
    steps = [b"".join(model.sent), *model.after(len(model.sent) - 1, limits)]
    trials = [Trial("all turns", steps, model.unlike)]
    return Property("coalesced", "A client that waits for no answer gets the same answers", trials)


def half_closed(model: Model, limits: Limits, seen: dict[int, bytes]) -> Property:
    """The client ends its stream after each byte."""

    def trial(offset: int) -> Trial:
        steps, head, _, _ = model.before(offset)

        def fault(run: Exchange) -> Fault | None:
            got = model.masked(run.received)
            expected = model.whole if offset == model.length else model.masked(seen.get(offset, b""))
            if not got.startswith(expected):
                return Fault("an answer is lost that the server gives without the end of the stream", got, expected)
            return None if run.ended or run.error else Fault("the server does not end the connection")

        return Trial(f"end after byte {offset}", [*steps, head, HalfClose(), Ended()], fault)

    places = spread(1, model.length, limits.places)
    sentence = "A client that ends its stream gets the answers to what it has sent, and the end of the connection"
    return Property("half-close", sentence, [trial(place) for place in places])


def reset(model: Model, limits: Limits) -> Property:
    """The client resets after each byte; afterwards the server must serve as before."""
    trials = []
    for offset in spread(0, model.length, limits.places):
        steps, head, _, _ = model.before(offset)
        trials.append(Trial(f"reset after byte {offset}", [*steps, head, ResetIt()], refused))
    steps, head, _, turn = model.before(len(model.sent[0]))
    good = [*steps, head, *model.after(turn, limits)]
    trials.append(Trial("a good client after the resets", good, model.unlike))
    return Property("reset", "Clients that reset change nothing for a good client", trials)


def refused(run: Exchange) -> Fault | None:
    """Whether the connection could not be made."""
    return Fault(f"the server can't be reached any more: {run.error}") if run.error.startswith("connect") else None
