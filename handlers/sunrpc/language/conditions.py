"""The conditions of #if and #elif: integers, ``defined``, and the operators of C."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterator

from .errors import LanguageError, Place
from .words import Word

Binary = Callable[[int, int], int]


def _divided(left: int, right: int) -> int:
    """C rounds towards zero."""
    return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)


_LEVELS: list[dict[str, Binary]] = [
    {"||": lambda left, right: bool(left or right)},
    {"&&": lambda left, right: bool(left and right)},
    {"|": operator.or_},
    {"^": operator.xor},
    {"&": operator.and_},
    {"==": operator.eq, "!=": operator.ne},
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": _divided, "%": lambda left, right: left - right * _divided(left, right)},
]
"""The operators, from those that bind least."""

_UNARY: dict[str, Callable[[int], int]] = {"!": operator.not_, "-": operator.neg, "+": operator.pos, "~": operator.inv}


def holds(
    found: list[Word], macros: Container[str], expand: Callable[[Iterator[Word]], Iterator[Word]], place: Place
) -> bool:
    """Whether the condition is true. A name that is no macro is 0."""
    known = [*expand(_defined(iter(found), macros))]
    return bool(evaluated([Word("0", "NUMBER", word.place) if word.isidentifier() else word for word in known], place))


def evaluated(known: list[Word], place: Place) -> int:
    """The value of an expression of numbers and operators."""
    expression = _Expression(known, place)
    value = expression.binary(0)
    if expression.position < len(known):
        raise known[expression.position].error(f"unexpected {known[expression.position]} in an expression")
    return value


def _defined(found: Iterator[Word], macros: Container[str]) -> Iterator[Word]:
    """The words, with 1 or 0 for ``defined NAME``."""
    for word in found:
        if word != "defined":
            yield word
            continue
        name = next(found, None)
        if name == "(":
            name = next(found, None)
            if next(found, None) != ")":
                raise word.error("defined( has no end")
        if name is None:
            raise word.error("a name is missing after defined")
        yield Word(str(int(name in macros)), "NUMBER", word.place)


class _Expression:
    def __init__(self, known: list[Word], place: Place) -> None:
        self._known = known
        self._place = place
        self.position = 0

    def _next(self) -> str:
        return self._known[self.position] if self.position < len(self._known) else ""

    def binary(self, level: int) -> int:
        """The value of operators that bind at least as this level."""
        if level == len(_LEVELS):
            return self._unary()
        value = self.binary(level + 1)
        while self._next() in _LEVELS[level] or self._is_difference(level):
            word = self._next()
            if word in _LEVELS[level]:
                self.position += 1
                right = self.binary(level + 1)
                if word in "/%" and not right:
                    raise LanguageError(self._place, "division by zero in an expression")
                value = int(_LEVELS[level][word](value, right))
            else:
                value += self.binary(level + 1)
        return value

    def _is_difference(self, level: int) -> bool:
        """Whether a negative number follows a value: ``3 -1``."""
        return "-" in _LEVELS[level] and self._next()[:1] == "-"

    def _unary(self) -> int:
        word = self._next()
        if not word:
            raise LanguageError(self._place, "the expression has no end")
        self.position += 1
        if word in _UNARY:
            return int(_UNARY[word](self._unary()))
        if word == "(":
            value = self.binary(0)
            if self._next() != ")":
                raise LanguageError(self._place, "a parenthesis is not closed")
            self.position += 1
            return value
        assert isinstance(word, Word)
        if word.kind == "NUMBER":
            return word.number()
        raise word.error(f"unexpected {word} in an expression")
