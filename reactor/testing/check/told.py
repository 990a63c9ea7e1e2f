"""The properties of the answers that the caller of `check` has told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..inputs.stateful import WALKS, walks
from ..inputs.strategies import smallest
from ..inputs.tried import Tried
from ..running.evidence import asserted, fault_of
from ..running.report import Answers, fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.snippets import brief, literal

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from ...handlers import World
    from ..inputs.stateful import Said


@held_in_time
def answers(kind: Any, conversation: bytes | Iterable[bytes], expected: Any, *, world: World | None = None) -> None:
    """The output for the whole conversation is ``expected``, at once or after the stream has ended."""
    tried = Tried(kind, conversation, world)
    run = played(tried, tried.pieces)
    if run.output != expected and not tried.packets:
        run = played(tried, [*tried.pieces, END])
    if run.error is not None or run.output != expected:
        answers = None if run.error is not None else Answers(run.output, expected)
        fault = fault_of(run, "the output is not the expected one")
        fail(tried, fault, "answers", asserted(run, expected), answers=answers)


@held_in_time
def answers_as_told(kind: Any, grammar: Any, *, world: World | None = None, examples: int | None = None) -> None:
    """Each message that a rule of the conversation makes is answered as the rule says.

    The property draws conversations, at least 60: a few would not come deep.
    """
    tried = Tried(kind, b"", world)
    found = smallest(tried, walks(grammar), lambda said: _wrong(tried, said) is not None, max(WALKS, examples or 0))
    if found is not None and (wrong := _wrong(tried, found)) is not None:
        fail(tried, wrong.fault, "answers_as_told", wrong.code, answers=wrong.answers, remedy=wrong.remedy)


class _Wrong(NamedTuple):
    fault: str
    code: str
    answers: Answers | None = None
    remedy: str = ""


def _wrong(tried: Tried, told: Iterable[Said]) -> _Wrong | None:
    """The first message that is answered in another way than its rule says."""
    run = Run(tried)
    try:
        for name, message, answer in told:
            run.drain()
            before = len(run.output)
            run.step(message)
            run.finish()
            got = run.output[before:]
            text = b"".join(got) if tried.packets else got
            if run.error is not None:
                return _Wrong(f"it raises {type(run.error).__name__} for the message of the rule {name}", run.code())
            if answer is not None and not _matches(answer, text):
                right = answer if isinstance(answer, bytes) else answer.pattern
                fault = f"it answers {text!r} to the message {message!r} of the rule {name}, not {right!r}"
                code = f"{run.code()}\n{_assertion(tried, run, before, answer)}"
                return _Wrong(fault, code, _answers(text, answer), f"the rule {name} returns only its message")
    finally:
        run.close()
    return None


def _matches(answer: bytes | re.Pattern[bytes], text: bytes) -> bool:
    return text == answer if isinstance(answer, bytes) else answer.fullmatch(text) is not None


def _answers(text: bytes, answer: bytes | re.Pattern[bytes]) -> Answers:
    """Both answers; what a regular expression matches in words."""
    return (
        Answers(text, answer) if isinstance(answer, bytes) else Answers(brief(text), f"a match of {answer.pattern!r}")
    )


def _assertion(tried: Tried, run: Run, before: int, answer: bytes | re.Pattern[bytes]) -> str:
    rest = f"({run.output_code()})[{before}:]"
    text = f'b"".join({rest})' if tried.packets else rest
    if isinstance(answer, bytes):
        return f"assert {text} == {literal(answer)}"
    return f"import re\nassert re.compile({answer.pattern!r}, {answer.flags}).fullmatch({text})"
