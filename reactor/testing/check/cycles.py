"""The same messages, again and again on one connection: a count that is never set back refuses them some time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..inputs.borders import firsts_of
from ..running.counting import held
from ..running.report import fail
from ..running.run import Run
from ..running.snippets import literal

if TYPE_CHECKING:
    from ..inputs.tried import Tried

CYCLES = 300
"""How often a client says the same on one connection."""

ALIKE = 3
"""The first answers that must be alike; in others a number grows each time."""

STARTS = 8
"""The first messages with which the cycle may begin: those before it may be a greeting, or a login."""

ENOUGH = 2
"""The starts with which all goes on for long that are tried."""

COSTLY = 300_000
"""Lines of Python after which a client has said it often enough."""


def refuse_lasting_counts(tried: Tried) -> None:
    """Fail if messages of a stream that were answered alike are refused from some time on, and the connection goes on.

    What is counted for a connection ends it, when it is too much. What is kept for it, such as a stack, takes memory. A
    count of one message, or one mail, that is not set back for the next refuses all that comes then.
    """
    data, firsts, long = tried.pieces[0], firsts_of(tried), 0
    for begin in firsts[:-1][:STARTS]:
        cycle = data[begin : firsts[-1]]
        run = Run(tried)
        run.step(data[:begin])
        run.drain()
        answers = _answers(run, cycle)
        run.close()
        times = next((number for number, answer in enumerate(answers) if number and answer != answers[1]), 0)
        goes_on = ALIKE < times < len(answers) - 1
        if goes_on and answers[1] and run.error is None and answers[1] not in answers[times:]:
            _fail(tried, run, data[:begin], cycle, times)
        long += len(answers) > 1 + ALIKE
        if long == ENOUGH:
            break


def _answers(run: Run, cycle: bytes) -> list[bytes]:
    """The answers to the messages ``cycle``, each time, until the request ends; few if they differ, or more is kept."""
    answers, sizes = list[bytes](), list[int]()
    while len(answers) < CYCLES and not (run.over or run.finished) and run.cost < COSTLY:
        told = len(run.output)
        run.step(cycle)
        run.drain()
        answers.append(run.output[told:])
        if len(answers) <= 1 + ALIKE:
            sizes.append(held(run.machine))
            if len(set(answers[1:])) > 1 or len(set(sizes[1:])) > 1:
                break
    return answers


def _fail(tried: Tried, run: Run, start: bytes, cycle: bytes, times: int) -> None:
    fault = (
        f"{literal(cycle)} is answered alike {times} times, and otherwise ever after, on a connection that goes on: "
        "what is counted for one message, or one transaction, is not set back for the next"
    )
    code = [
        f"machine = {tried.construct(run.asked)}",
        f"machine.feed({literal(start)})",
        "answers = []",
        f"for _ in range({times + 1}):",
        "    machine.read()",
        f"    machine.feed({literal(cycle)})",
        "    answers.append(machine.read())",
        "assert answers[-1] == answers[1]",
    ]
    fail(tried, fault, "forgives_timeouts", "\n".join(code))
