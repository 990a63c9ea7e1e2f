"""What names something in messages that come again: what the server has given out, or what the client has chosen.

A client that begins something and ends it, again and again, names each time what it was given that time, such as the
number of a session, or another port or channel: no message that is repeated as it is does that.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ...handlers import Cancelled
from ..inputs.borders import messages_of
from ..inputs.enclosing import BINARY
from ..running.counting import held
from ..running.driver import RecordingDriver
from ..running.forms import binary, digits, following, letters
from ..running.report import fail
from ..running.run import played
from ..running.snippets import literal
from ..running.spreading import spread_over
from ..running.watching import timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..inputs.tried import Tried
    from ..running.forms import Form

MANY = 16
"""The most messages of the conversation that may give something out."""

LONGEST = 8
"""The most messages that come again together."""

ROUNDS = 16_384
"""The most times that they come."""

LOOK = 256
"""Rounds after which what the request holds is looked at."""

SIGHTS = 48
"""The most places of two messages at which a client may have chosen a name."""

WORDS = 2
"""The most words of two messages of a text that a client may have chosen, the last ones."""

SIZES = 4, 2
"""Bytes of what is given out, if it is binary."""

_WORD = re.compile(rb"[0-9A-Za-z]+")


class Token(NamedTuple):
    """What the answer to a message has that it had not the time before."""

    at: int
    """Where it begins in the answer."""
    size: int
    """Its bytes; 0 for a word, which may become longer."""

    def of(self, answer: bytes) -> bytes:
        """That of this answer; empty if it has none."""
        if self.size:
            return answer[self.at : self.at + self.size]
        word = _WORD.match(answer, self.at)
        return word[0] if word else b""

    def code(self, answer: str) -> str:
        """The expression for it."""
        if self.size:
            return f"{answer}[{self.at}:{self.at + self.size}]"
        return f"re.match(rb'[0-9A-Za-z]+', {answer}[{self.at}:])[0]"


class Cycle(NamedTuple):
    """Messages that come again and again, and name something each time."""

    start: list[bytes]
    messages: list[bytes]
    token: Token | None
    """Where the answer to the first message has it; ``None`` if the client chooses it."""
    value: bytes
    """What it was the first time."""

    @property
    def is_binary(self) -> bool:
        return BINARY.search(b"".join(self.messages)) is not None

    @property
    def form(self) -> Form:
        """What the client chooses: the following numbers, in as many bytes; of a text in digits, or as letters."""
        if not self.is_binary:
            return digits(number=following(int(self.value))) if self.value.isdigit() else letters(len(self.value))
        return binary(len(self.value), following(int.from_bytes(self.value, "big")))


def refuse_growth_of_cycles(tried: Tried, kept: int) -> None:
    """Fail if a request holds ever more of what a client has begun with one message and ended with another."""
    messages = messages_of(tried)
    for place in range(min(len(messages), MANY)):
        for token, value in _tokens(tried, messages[:place], messages[place]):
            for end in range(place + 2, min(len(messages), place + LONGEST) + 1):
                cycle = Cycle(messages[:place], messages[place:end], token, value)
                if any(value in message for message in cycle.messages[1:]) and _goes_on(tried, cycle):
                    _refuse_growth(tried, cycle, kept)
        for end in range(place + 2, min(len(messages), place + LONGEST) + 1):
            for value in _names(messages[place], messages[end - 1]):
                cycle = Cycle(messages[:place], [messages[place], messages[end - 1]], None, value)
                if _goes_on(tried, cycle) and (cycle.is_binary or _has_ended(tried, cycle)):
                    _refuse_growth(tried, cycle, kept)


def _names(first: bytes, last: bytes) -> list[bytes]:
    """What a client may have chosen, and has in both messages, but in one place only of each."""
    if first == last:
        return []
    if not BINARY.search(first + last):
        words = [word[0] for word in _WORD.finditer(first) if word.start()]  # the first one is a command
        return [word for word in words if first.count(word) == last.count(word) == 1 and last.find(word)][-WORDS:]
    if len(first) != len(last):
        return []
    names = dict.fromkeys(first[at : at + 2] for at in range(len(first) - 1) if first[at : at + 2] == last[at : at + 2])
    found = [name for name in names if first.count(name) == last.count(name) == 1 and name[0] > 0]
    return spread_over(found, SIGHTS)


def _tokens(tried: Tried, start: list[bytes], message: bytes) -> Iterator[tuple[Token, bytes]]:
    """Where the answer to the message is another one when it comes for the second time, and what was there before."""
    with _begun(tried, start) as machine:
        one, other = _answer(tried, machine, message), _answer(tried, machine, message)
    if one == other or len(one) != len(other):
        return
    differing = [at for at in range(len(one)) if one[at] != other[at]]
    begin, end = differing[0], differing[-1] + 1
    if BINARY.search(one):
        yield from ((Token(end - size, size), one[end - size : end]) for size in SIZES if 0 <= end - size <= begin)
        return
    word = next((word for word in _WORD.finditer(one) if word.start() <= begin < end <= word.end()), None)
    if word is not None:
        yield Token(word.start(), 0), word[0]


@contextmanager
def _begun(tried: Tried, start: list[bytes]) -> Iterator[Any]:
    """A machine that has got these messages, and whose output the client has taken. Its request ends with the block."""
    kind: Any = tried.machine
    machine: Any = timed(kind)(tried.make(), RecordingDriver(copy(tried.world)))
    try:
        machine.advance()
        for message in [*tried.before, *start]:
            _answer(tried, machine, message)
        yield machine
    finally:
        with suppress(Exception):  # other properties tell of it
            machine.abandon(Cancelled())


def _answer(tried: Tried, machine: Any, message: bytes) -> bytes:
    """What the machine sends for the message; nothing if it has finished."""
    if machine.finished:
        return b""
    machine.feed(message)
    return b"".join(iter(machine.read, None)) if tried.packets else machine.read()


def _round(tried: Tried, machine: Any, cycle: Cycle, number: int) -> list[bytes]:
    """The answers to the messages, with the name of this time in them, each with the first value in its place."""
    chosen = cycle.value if cycle.token else cycle.form.write(number)
    first = _answer(tried, machine, cycle.messages[0].replace(cycle.value, chosen, 1))
    name = cycle.token.of(first) if cycle.token else chosen
    others = [message.replace(cycle.value, name, 1) for message in cycle.messages[1:]]
    answers = [first, *(_answer(tried, machine, message) for message in others)]
    return [answer.replace(name, cycle.value, 1) for answer in answers] if name else answers


def _goes_on(tried: Tried, cycle: Cycle) -> bool:
    """Whether the messages have the same answers each time, but for what was given out."""
    with _begun(tried, cycle.start) as machine:
        first = _round(tried, machine, cycle, 0)
        return all(first) and all(_round(tried, machine, cycle, number) == first for number in range(1, LONGEST + 2))


def _has_ended(tried: Tried, cycle: Cycle) -> bool:
    """Whether the last message has ended something: it has another answer when it comes again, for the same name."""
    with _begun(tried, cycle.start) as machine:
        answers = _round(tried, machine, cycle, 0)
        last = cycle.messages[-1].replace(cycle.value, cycle.form.write(0), 1)
        return _answer(tried, machine, last).replace(cycle.form.write(0), cycle.value, 1) != answers[-1]


def _refuse_growth(tried: Tried, cycle: Cycle, kept: int) -> None:
    """Fail if so many rounds make the request hold more and more."""
    bound = kept + sum(map(len, cycle.messages))
    try:
        with _begun(tried, cycle.start) as machine:
            rounds, size = _grown(tried, machine, cycle, bound)
    except Exception:
        return  # other properties tell of it
    if size > bound:
        _fail(tried, cycle, rounds, size, bound)


def _grown(tried: Tried, machine: Any, cycle: Cycle, bound: int) -> tuple[int, int]:
    """The rounds after which the request holds more than the bound, and what it holds then: 0 if that does not grow."""
    sizes, rounds = [0], 0
    while rounds < ROUNDS and not machine.finished and sizes[-1] <= bound:
        for number in range(rounds, rounds + LOOK):
            _round(tried, machine, cycle, number)
        rounds += LOOK
        sizes.append(held(machine))
        if sizes[-1] <= sizes[(len(sizes) - 1) // 2]:
            return rounds, 0
    return rounds, sizes[-1]


def _fail(tried: Tried, cycle: Cycle, rounds: int, size: int, bound: int) -> NoReturn:
    taken = "b''.join(iter(machine.read, None))" if tried.packets else "machine.read()"
    first, *others = cycle.messages
    code = "\n".join(
        [
            *(["import re"] if cycle.token and not cycle.token.size else []),
            f"machine = {tried.construct(played(tried, tried.pieces).asked)}",
            *(f"machine.feed({literal(message)})" for message in [*tried.before, *cycle.start]),
            taken,
            f"for {'_' if cycle.token else 'number'} in range({rounds}):",
            *(
                [f"    machine.feed({literal(first)})", f"    token = {cycle.token.code(taken)}"]
                if cycle.token
                else [
                    f"    token = {cycle.form.code}",
                    f"    machine.feed({_with_token(cycle, first)})",
                    f"    {taken}",
                ]
            ),
            *(f"    machine.feed({_with_token(cycle, message)})" for message in others),
            f"    {taken}",
            f"assert held(machine) <= {bound}",
        ]
    )
    fault = (
        f"it holds {size} bytes, and more the more often a client begins something and ends it, with "
        f"{literal(cycle.value)} in later messages as it was {'given' if cycle.token else 'chosen'}: drop all of it at "
        "the end"
    )
    fail(tried, fault, "bounds_when_repeated", code, remedy=f"kept={2 * size} (bytes)")


def _with_token(cycle: Cycle, message: bytes) -> str:
    """The expression for a message, with the token of this time in it."""
    return literal(message) + (f".replace({literal(cycle.value)}, token, 1)" if cycle.value in message else "")
