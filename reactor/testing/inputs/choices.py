"""What a property draws: a strategy of Hypothesis, and the same drawn quickly.

Hypothesis takes several times as long to draw a schedule as a handler takes to run it: it keeps what it needs to find
a smaller one. A right handler needs none, so a property draws quickly first (`Choice.some`), and has Hypothesis search
for the smallest example only if one of these breaks it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from hypothesis.strategies import DrawFn, SearchStrategy

_T = TypeVar("_T")
_R = TypeVar("_R")

Below: TypeAlias = Callable[[int], int]
"""Draws a number that is at least 0 and below the given one. One that always draws 0 draws the simplest example."""


class Choice(Generic[_T]):
    """What may be drawn: with Hypothesis from what ``strategy()`` returns, quickly by ``quick``."""

    def __init__(self, strategy: Callable[[], SearchStrategy[_T]], quick: Callable[[Below], _T]) -> None:
        self._strategy = strategy
        self.quick = quick

    @cached_property
    def strategy(self) -> SearchStrategy[_T]:
        """Draws it with Hypothesis."""
        return self._strategy()

    def map(self, function: Callable[[_T], _R]) -> Choice[_R]:
        """What the function makes of it."""
        return Choice(lambda: self.strategy.map(function), lambda below: function(self.quick(below)))

    def flatmap(self, function: Callable[[_T], Choice[_R]]) -> Choice[_R]:
        """What may be drawn from the choice that the function makes of it."""

        def strategy() -> SearchStrategy[_R]:
            return self.strategy.flatmap(lambda value: function(value).strategy)

        return Choice(strategy, lambda below: function(self.quick(below)).quick(below))

    def some(self, count: int, random: Random) -> Iterator[_T]:
        """The simplest example, then others, each once: so many, or fewer if there are not many.

        >>> from random import Random
        >>> next(number(7, 9).some(2, Random(1))), sorted(number(7, 9).some(50, Random(1)))
        (7, [7, 8, 9])
        """
        seen: set[str] = set()
        for attempt in range(2 * count):
            value = self.quick(random.randrange if attempt else _least)
            text = repr(value)
            if text not in seen:
                seen.add(text)
                yield value
            if len(seen) == count:
                return


def _least(_: int) -> int:
    return 0


class Draw(Protocol):
    """Draws from a choice."""

    def __call__(self, choice: Choice[_R]) -> _R:
        """What is drawn."""


def made(function: Callable[[Draw], _T]) -> Choice[_T]:
    """What a function makes of several choices: it is called with a function that draws from each."""

    def quick(below: Below) -> _T:
        return function(lambda choice: choice.quick(below))

    return Choice(lambda: _made(function), quick)


@st.composite
def _made(draw: DrawFn, function: Callable[[Draw], Any]) -> Any:
    return function(lambda choice: draw(choice.strategy))


def number(first: int, last: int) -> Choice[int]:
    """A number from ``first`` to ``last``."""
    return Choice(lambda: st.integers(first, last), lambda below: first + below(last - first + 1))


def one_of(values: Sequence[_T]) -> Choice[_T]:
    """One of the values."""
    return Choice(lambda: st.sampled_from(values), lambda below: values[below(len(values))])


def either(*choices: Choice[Any]) -> Choice[Any]:
    """What one of the choices draws."""

    def strategy() -> SearchStrategy[Any]:
        return st.one_of([choice.strategy for choice in choices])

    return Choice(strategy, lambda below: choices[below(len(choices))].quick(below))


def each(*choices: Choice[Any]) -> Choice[Any]:
    """A tuple of what each of the choices draws."""

    def strategy() -> SearchStrategy[Any]:
        return st.tuples(*(choice.strategy for choice in choices))

    return Choice(strategy, lambda below: tuple(choice.quick(below) for choice in choices))


def several(choice: Choice[_T], most: int, least: int = 0) -> Choice[list[_T]]:
    """A list of what the choice draws, from ``least`` to ``most`` times."""

    def strategy() -> SearchStrategy[list[_T]]:
        return st.lists(choice.strategy, min_size=least, max_size=most)

    return Choice(strategy, lambda below: [choice.quick(below) for _ in range(least + below(most - least + 1))])


def binary(most: int) -> Choice[bytes]:
    """Bytes, at most so many."""
    return Choice(lambda: st.binary(max_size=most), lambda below: bytes(below(256) for _ in range(below(most + 1))))
