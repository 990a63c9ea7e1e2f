"""How a broken property is told: the fault, the property, the first difference, what to write if it is meant, a test.

A property calls `fail` with what it has found. `held_in_time`, around each property, makes the report of it, so all
reports have one form.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from functools import wraps
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .snippets import difference
from .tracing import tracing_stays
from .watching import Unfit, time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import ParamSpec

    from .subject import Subject

    _Given = ParamSpec("_Given")


class CheckFailed(AssertionError):
    """A handler breaks a property. The message says which one, and contains a test that fails because of it."""


class Answers(NamedTuple):
    """Two answers that should be equal: outputs, or how two requests have ended, in words."""

    got: Any
    expected: Any


class Found(Exception):
    """What a property has found; it becomes a `CheckFailed` that names the property."""

    def __init__(self, subject: Subject, fault: str, test: str, answers: Answers | None, remedy: str) -> None:
        super().__init__(fault)
        self.subject = subject
        self.fault = fault
        self.test = test
        self.answers = answers
        self.remedy = remedy

    def told(self, holds: Callable[..., None]) -> str:
        """The report, for the property ``holds``. Its first paragraph is for a reader, the rest is the test."""
        lines = [f"{self.subject.name}: {self.fault}", f"  property {holds.__name__}: {sentence_of(holds)}"]
        if self.answers is not None:
            place, got, expected = difference(*self.answers)
            lines += [f"  first difference{place}:", f"    got      {got}", f"    expected {expected}"]
        meant = f"check(..., meant=['{holds.__name__}'])"
        lines.append(f"  if it is meant: {f'{self.remedy}, or ' if self.remedy else ''}{meant}")
        return "\n".join(lines) + (f"\n\n{self.test}" if self.test else "")


def fail(
    subject: Subject, fault: str, title: str = "", body: str = "", *, answers: Answers | None = None, remedy: str = ""
) -> NoReturn:
    """End a property: its handler class breaks it, as the words ``fault`` say.

    The printed test has the statements ``body``, and a name that ends in ``title``. ``answers`` are what should be
    equal. ``remedy`` is what to write if the behaviour is meant, where there is more than ``meant``.
    """
    raise Found(subject, fault, subject.test(title, body) if body else "", answers, remedy)


def sentence_of(holds: Callable[..., None]) -> str:
    """What a property says, in one sentence: the first line of its docstring."""
    return (inspect.getdoc(holds) or "").partition("\n")[0]


def held_in_time(holds: Callable[_Given, None]) -> Callable[_Given, None]:
    """The property ``holds``, which fails with a report, and also if the handler blocks or drops a coroutine."""

    @wraps(holds)
    def holds_in_time(*arguments: _Given.args, **options: _Given.kwargs) -> None:
        try:
            with in_all():
                holds(*arguments, **options)
        except Found as found:
            raise CheckFailed(found.told(holds)) from None

    return holds_in_time


@contextmanager
def in_all(deadline: float = inf) -> Iterator[None]:
    """Within the ``with`` block, all that is tried has the seconds of the ``deadline``, and the handler may not block.

    Inner blocks change nothing.
    """
    try:
        with time_limit(deadline), tracing_stays():
            yield
    except Unfit as error:
        raise CheckFailed(str(error)) from None
