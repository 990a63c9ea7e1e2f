"""Evidence against a handler: runs that differ, in words and as the assertion that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .counting import EndlessLoop
from .errors import server_lacks, told
from .report import Answers
from .snippets import literal, unlike_at

if TYPE_CHECKING:
    from .run import Run


def alike(one: Run, other: Run) -> bool:
    """Whether both runs have the same output and the same end. Of endless output, the shorter one is compared.

    If a request has ended before its calls, their answers are lost, and the cut says how many: nothing is compared.
    """
    if one.left_calls or other.left_calls:
        return True
    if one.endless or other.endless:
        least = min(len(one.output), len(other.output))
        return bool(one.output[:least] == other.output[:least])
    return bool(one.output == other.output) and _end(one) == _end(other)


def _end(run: Run) -> tuple[object, ...]:
    return run.finished, type(run.reason), type(run.error)


def answers_of(run: Run, model: Run) -> Answers | None:
    """What differs between two runs that should have the same result: the outputs, or how they have ended."""
    if run.error is not None or model.error is not None:
        return None
    if run.output != model.output:
        least = min(len(run.output), len(model.output)) if run.endless or model.endless else None
        return Answers(run.output[:least], model.output[:least])
    return Answers(ended(run), ended(model))


def ended(run: Run) -> str:
    """How a run has ended, in words."""
    if not run.finished:
        return "the request is open"
    return f"the request has ended, for {type(run.reason).__name__}" if run.reason else "the request has ended normally"


def bytes_of(run: Run) -> bytes:
    """The output of a run as bytes; packets in a row."""
    return b"".join(run.output) if run.subject.packets else bytes(run.output)


def fault_of(run: Run, otherwise: str) -> str:
    """The fault of a run in words; ``otherwise`` if no call of the run raised."""
    if isinstance(run.error, EndlessLoop):
        return f"it does not return: {run.error}"
    if run.error is None:
        return otherwise
    remedy = server_lacks(run.error, None) if run.subject.world.server is None else ""
    return f"it raises {told(run.error, run.subject.kind)}{remedy}"


def asserted(run: Run, output: Any = None, finished: bool | None = None) -> str:
    """The code of a run, and the assertion of its correct result. A run that raised needs no assertion."""
    code = run.code()
    if run.error is not None:
        return code
    if output is not None:
        return f"{code}\nassert {run.output_code()} == {literal(output)}  # {unlike_at(run.output, output)}"
    return f"{code}\nassert {'' if finished else 'not '}{run.name}.finished"


def differing(run: Run, model: Run) -> str:
    """The code of two runs that should have the same result, and the assertion that both have it."""
    if run.error is None and model.error is not None:
        return model.code()
    if run.error is not None:
        return run.code()
    actual, expected, _ = _difference(run, model)
    both = f"{model.code()}\n{run.code()}"
    comment = "" if run.endless or run.output == model.output else f"  # {unlike_at(run.output, model.output)}"
    return f"{both}\nassert {actual} == {expected}{comment}"


def unlike(run: Run, model: Run, first: int = 0) -> str:
    """The code of a run from its call ``first`` on, and the assertion that its result is the one that ``model`` has."""
    if run.error is None and model.error is not None:
        return model.code()
    if run.error is not None:
        return run.code(first=first)
    actual, _, expected = _difference(run, model)
    return f"{run.code(first=first)}\nassert {actual} == {expected}"


def _difference(run: Run, model: Run) -> tuple[str, str, str]:
    """An expression whose value differs: for the run, for its model, and the value that it has for the model."""
    if run.endless or model.endless:
        least = min(len(run.output), len(model.output))
        return f"({run.output_code()})[:{least}]", f"({model.output_code()})[:{least}]", literal(model.output[:least])
    if run.output != model.output:
        return run.output_code(), model.output_code(), literal(model.output)
    if run.finished != model.finished:
        return f"{run.name}.finished", f"{model.name}.finished", repr(model.finished)
    kind = "type(None)" if model.reason is None else model.subject.mention(type(model.reason))
    return f"type({run.name}.reason)", f"type({model.name}.reason)", kind
