"""A handler class with the conversation to try it with, and the schedules that a property draws for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..running.run import Run, played
from ..running.schedule import END, RESET
from ..running.spreading import one_by_one, places, spread_over, thinned
from ..running.subject import Subject
from . import strategies
from .choices import either, number, one_of, several
from .pieces import beginning, extent, fillers, replaced
from .strategies import smallest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule
    from .choices import Choice

SMALL = 32
"""Bytes up to which every beginning of a conversation is cut at every place."""

AFFORDED = 262_144
"""Bytes that the schedules of one kind may bring one by one."""


def is_open_for_ever(run: Run, schedule: Schedule) -> bool:
    """Whether the handler raised, or did not end although its client ended, was reset or was silent.

    A wait without a timeout, for a client that is only silent, is left to `stays_in_bounds`.
    """
    if run.error is not None or run.finished:
        return run.error is not None
    return END in schedule or RESET in schedule or run.patience < float("inf")


class Tried(Subject):
    """A handler class, and the conversation to try it with."""

    def __init__(self, kind: Any, conversation: bytes | Iterable[bytes] | Message, world: World | None) -> None:
        super().__init__(kind, world)
        if isinstance(conversation, Message):
            self.before, conversation = conversation
        self._given = world is not None
        self.pieces = self.conversation(conversation)
        self.length = extent(self.pieces, self.packets)
        self.lengths = number(0, self.length)
        self.fillers = fillers(self.pieces, self.packets)

    def first(self, length: int) -> list[bytes]:
        """The first ``length`` bytes, or packets, of the conversation."""
        return beginning(self.pieces, length, self.packets)

    def rest(self, length: int) -> list[bytes]:
        """The conversation without its first ``length`` bytes, or packets."""
        return self.pieces[length:] if self.packets else [self.pieces[0][length:]]

    def whole(self, pieces: list[bytes]) -> Schedule:
        """The schedule in which these pieces come; behind them the stream ends."""
        return [*pieces] if self.packets else [*pieces, END]

    def afforded(self, most: int) -> int:
        """How many of ``most`` schedules to try that bring the conversation byte by byte: few of a long one."""
        return most if self.packets else max(1, min(most, AFFORDED // (self.length + 1)))

    def word_ends(self, most: int) -> list[int]:
        """Places in the conversation, at most ``most``, at which a word, or a packet, ends and another begins."""
        found = list(range(1, self.length)) if self.packets else strategies.word_ends(self.pieces[0])[1:-1]
        return thinned(found, most)

    def call(self, function: str, *arguments: str) -> str:
        """The source text of a call of ``function``, with the world if one was given."""
        world = self.in_world(played(self, self.pieces).asked - {"peer"}) if self._given else ""
        return f"{function}({', '.join([*arguments, *([f'world={world}'] if world else [])])})"

    def simple_cuts(self) -> Iterator[Schedule]:
        """Beginnings of the conversation in two pieces, then byte by byte, short ones first. A long one only whole."""
        if self.packets:
            return
        data = self.pieces[0]
        lengths = range(1, self.length + 1) if self.length <= SMALL else [self.length]
        for length in lengths:
            for cut in places(length)[1:-1]:
                yield [data[:cut], data[cut:length]]
        for length in lengths:
            yield [*one_by_one(data[:length])]

    def faithful(self) -> Choice[Schedule]:
        """Schedules without loss, damage or the passing of time."""
        if self.packets:
            return strategies.datagram_schedules(self.pieces, lossy=False, seconds=None)
        return strategies.stream_schedules(self.pieces[0], seconds=None, resets=False)

    def harm(
        self, breaks: Callable[[Schedule], bool], examples: int | None, most: int | None = None
    ) -> Schedule | None:
        """A schedule of a faulty or hostile client that breaks a property; ``None`` if none is found.

        After the simple ones, at most ``most`` are drawn.
        """
        found = next(filter(breaks, self.slips()), None)
        return smallest(self, self._hostile(), breaks, examples, most) if found is None else found

    def slips(self) -> Iterator[Schedule]:
        """The conversation with one simple fault, in each schedule another."""
        if not self.packets:
            for data in strategies.slips(self.pieces[0]):
                yield [data, END]
            return
        for place, packet in enumerate(self.pieces):
            for data in strategies.slips(packet):
                yield [*self.pieces[:place], data, *self.pieces[place + 1 :]]

    def largest(self, most: int) -> Iterator[Schedule]:
        """The conversation with one byte that is 255, at so many places at most: a part of a length, perhaps."""
        spots = [(place, at) for place, piece in enumerate(self.pieces) for at in range(len(piece))]
        for place, at in spread_over(spots, most):
            yield [*replaced(self.pieces, place, at, at + 1, b"\xff")]

    def _hostile(self) -> Choice[Schedule]:
        """Schedules of a faulty or hostile client, over a network on which anything may happen."""
        if self.packets:
            return self.damaged().flatmap(lambda packets: strategies.datagram_schedules(packets, whole=True))
        return self.damaged().flatmap(lambda pieces: strategies.stream_schedules(pieces[0], whole=True))

    def damaged(self) -> Choice[list[bytes]]:
        """The conversation as a faulty client sends it."""
        if not self.packets:
            return strategies.mutated(self.pieces[0]).map(lambda data: [data])
        whole = one_of(self.pieces or [b""])
        packet = either(whole, whole.flatmap(strategies.mutated))
        return several(packet, len(self.pieces) + 2)


class Message(NamedTuple):
    """A message deep in a conversation: the messages before it arrive whole, each alone."""

    before: list[bytes]
    last: bytes
