"""The property of the modes: a real server gives in each of them what the handler gives without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..inputs.tried import Tried
from ..running.loopback import ask_for_fault, foretell, modes_of
from ..running.report import Answers, fail, held_in_time
from ..running.run import played
from ..running.snippets import literal, unlike_at
from ..running.spreading import places

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World


@held_in_time
def same_in_every_mode(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, modes: Iterable[str] | None = None
) -> None:
    """A real server on loopback gives in every mode the output that the handler gives without a network.

    ``modes`` are some of ``"sync"``, ``"select"``, ``"fork"`` and ``"thread"``; by default all that the host has. The
    clock stands still at the time that ``world`` says.
    """
    tried = Tried(kind, conversation, world)
    for mode in modes_of(modes):
        differing = _differs(tried, mode, tried.length)
        if differing is not None:
            if not tried.blocking and differing.output is not None:
                # Not for a blocking handler: half a request need not give the same output in each mode.
                shorter = (_differs(tried, mode, place) for place in places(tried.length)[:64])
                differing = next((found for found in shorter if found is not None), differing)
            fault = f"in {mode} mode {differing.fault}"
            fail(tried, fault, f"in_{mode}_mode", differing.assertion, answers=differing.answers, remedy="modes=[...]")


class _Differing(NamedTuple):
    """A wrong output of a real server."""

    output: Any
    """``None`` if the server did not answer in time."""
    fault: str
    assertion: str
    answers: Answers | None


def _differs(tried: Tried, mode: str, length: int) -> _Differing | None:
    """What is wrong with the output for the first ``length`` bytes in ``mode``; ``None`` if it is right."""
    first = tried.first(length)
    model = played(tried, first) if tried.packets else foretell(tried, b"".join(first))
    if "plain" in model.asked:
        return None  # the handler puts a filter in front of itself, whose protocol the client does not speak
    sent = first if tried.packets else b"".join(first)
    answer, raised = ask_for_fault(mode, tried, sent, model.output)
    if answer == model.output or (model.calls_waited and answer is not None and sorted(answer) == sorted(model.output)):
        return None  # calls that wait may be answered in any order
    asked = tried.call("ask", repr(mode), tried.text, literal(sent))
    fault = f"it raises {raised}" if raised else f"the output is different: {unlike_at(answer, model.output)}"
    answers = None if raised or answer is None else Answers(answer, model.output)
    return _Differing(answer, fault, f"assert {asked} == {literal(model.output)}", answers)
