"""Conversations that rules make: `Conversation` and `rule`, and what is drawn from them.

A protocol has an order: a client logs in, chooses a mailbox, then begins a message. The rules of a `Conversation` know
it, so what they make leads deep into a handler, and its messages are damaged there.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ..running.spreading import thinned
from ..running.subject import pieces_of
from .strategies import smallest
from .tried import Message, Tried

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias, TypeVar

    from hypothesis.strategies import DrawFn

    _Rule = TypeVar("_Rule", bound=Callable[..., Any])
    Answer: TypeAlias = "bytes | re.Pattern[bytes] | None"

LONGEST = 12
"""The most messages of a conversation that rules make."""

WALKS = 60
"""Conversations that are drawn, of which those are chosen that come deepest."""

MOST = 15
"""The most messages that are tried deep, of all that are drawn."""

_MORE = st.integers(0, 29)
_VERB = re.compile(rb"[A-Za-z]*")


class Conversation:
    r"""A client that knows the order of its protocol: a subclass has rules that make the next message.

    Each conversation begins with a new object, whose attributes are the state of the client. `rule` marks a method that
    returns a message: bytes. It may return a tuple instead, of the message and its answer: bytes, or a compiled regular
    expression that matches all of it. `check` takes the class, checks the answers, and tries each rule with few and
    with many messages before it. These arrive whole, and its own message cut and damaged.

    >>> import re
    >>> from hypothesis import strategies as st
    >>> from handlers import StreamHandler, Until
    >>> from reactor.testing import check
    >>> class Lock(StreamHandler):
    ...     async def handle(self):
    ...         is_open = False
    ...         while (line := await Until(b"\n", limit=20)) != b"quit\n":
    ...             is_open = is_open or line == b"open\n"
    ...             self.send(b"%d bytes\n" % len(line) if is_open else b"locked\n")
    >>> class Visitor(Conversation):
    ...     def __init__(self):
    ...         self.is_in = False
    ...
    ...     @rule(when=lambda self: not self.is_in)
    ...     def enter(self):
    ...         self.is_in = True
    ...         return b"open\n", b"5 bytes\n"
    ...
    ...     @rule(word=st.sampled_from([b"a", b"bcd"]), when=lambda self: self.is_in)
    ...     def say(self, word):
    ...         return word + b"\n", re.compile(rb"\d bytes\n")
    >>> check(Lock, Visitor, modes=[], examples=5)
    """


class Rule(NamedTuple):
    """What `rule` knows of a method."""

    when: Callable[[Any], object] | None
    arguments: dict[str, SearchStrategy[Any]]


def rule(*, when: Callable[[Any], object] | None = None, **arguments: SearchStrategy[Any]) -> Callable[[_Rule], _Rule]:
    """Mark a method of a `Conversation` as one that makes a message.

    ``when``, called with the conversation, says whether the rule may come next; by default it always may. The other
    arguments are strategies of Hypothesis that draw the arguments of the method. Raises `TypeError` for anything else.
    """
    for name, strategy in arguments.items():
        if not isinstance(strategy, SearchStrategy):
            raise TypeError(f"rule: {name} is a strategy of Hypothesis that draws this argument, not {strategy!r}")
    if when is not None and not callable(when):
        raise TypeError(f"rule: when is a function of the conversation, not {when!r}")

    def mark(method: _Rule) -> _Rule:
        method.__dict__["_rule"] = Rule(when, arguments)
        return method

    return mark


class Said(NamedTuple):
    """A message, the rule or the verb that it comes from, and what must answer it (``None``: anything)."""

    rule: str
    message: bytes
    answer: Answer


def is_grammar(given: Any) -> bool:
    """Whether it makes conversations: a class of rules, or a strategy of lists of messages."""
    return isinstance(given, SearchStrategy) or (isinstance(given, type) and issubclass(given, Conversation))


def walks(grammar: Any) -> SearchStrategy[list[Said]]:
    """Conversations of a grammar. Shrinks to few messages. Raises `TypeError` for a class without rules."""
    if isinstance(grammar, SearchStrategy):
        return grammar.map(_said)
    rules = {name: found for name in dir(grammar) if (found := getattr(getattr(grammar, name), "_rule", None))}
    if not rules:
        raise TypeError(f"{grammar.__name__} has no rule: mark a method that returns a message with @rule()")
    return _walks(grammar, rules)


@st.composite
def _walks(draw: DrawFn, kind: Any, rules: dict[str, Rule]) -> list[Said]:
    talk, said = kind(), list[Said]()
    while len(said) < LONGEST and draw(_MORE):
        ready = [name for name, one in rules.items() if one.when is None or one.when(talk)]
        if not ready:
            break
        name = draw(st.sampled_from(ready))
        given = {key: draw(strategy) for key, strategy in rules[name].arguments.items()}
        said.append(Said(name, *_answered(getattr(talk, name)(**given), f"{kind.__name__}.{name}")))
    return said


def _answered(made: Any, name: str) -> tuple[bytes, Answer]:
    """The message that a rule has returned, and its answer."""
    message, answer = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    is_answer = answer is None or isinstance(answer, (bytes, re.Pattern))
    if not (isinstance(message, bytes) and is_answer) or isinstance(getattr(answer, "pattern", b""), str):
        raise TypeError(
            f"{name} returns a message (bytes), or a tuple of it and its answer (bytes, or a compiled regular "
            f"expression of bytes), not {made!r}"
        )
    return message, answer


def _said(drawn: Any) -> list[Said]:
    """What a strategy of the user has drawn. The verb of a message stands for its rule."""
    messages = pieces_of(drawn, "a conversation that the strategy draws")
    return [Said(verb_of(message), message, None) for message in messages]


def verb_of(message: bytes) -> str:
    """The letters that a message begins with: in many protocols they say what it is."""
    match = _VERB.match(message)
    return match[0].decode() if match else ""


class Drawn(NamedTuple):
    """What is tried of a grammar."""

    longest: list[bytes]
    deep: list[Message]


def drawn(tried: Tried, grammar: Any) -> Drawn:
    """The longest conversation that the grammar makes, and each rule after few, after many and after like messages.

    The beginning of a conversation is one too, so it is looked for among all beginnings.
    """
    told: list[list[Said]] = []

    def keep(said: list[Said]) -> bool:
        told.append(said)
        return False

    smallest(tried, walks(grammar), keep, WALKS)
    found: dict[str, list[list[Said]]] = {}
    for walk in sorted(told, key=len):
        for length in range(1, len(walk) + 1):
            found.setdefault(walk[length - 1].rule, []).append(walk[:length])
    ends = [choose(walks) for walks in found.values() for choose in (_first, _deepest, _most_alike)]
    messages = [[said.message for said in walk] for walk in ends]
    chosen = sorted((Message(said[:-1], said[-1]) for said in messages if len(said) > 1), key=lambda one: len(one[0]))
    deep = [one for number, one in enumerate(chosen) if one not in chosen[:number]]
    longest = _deepest(told or [[]])
    return Drawn([said.message for said in longest], thinned(deep, MOST))


def _first(walks: list[list[Said]]) -> list[Said]:
    return min(walks, key=len)


def _deepest(walks: list[list[Said]]) -> list[Said]:
    """The one with the most rules."""
    return max(walks, key=lambda walk: (len({said.rule for said in walk}), len(walk)))


def _most_alike(walks: list[list[Said]]) -> list[Said]:
    """The one that ends with the most messages of one rule."""

    def alike(walk: list[Said]) -> int:
        return sum(1 for _ in takewhile(lambda said: said.rule == walk[-1].rule, reversed(walk)))

    return max(walks, key=lambda walk: (alike(walk), -len(walk)))
