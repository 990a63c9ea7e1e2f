"""The property of answers that come as packets: two servers do not answer each other for ever."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from ..inputs.tried import Tried
from ..running.report import fail, held_in_time
from ..running.run import played

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World

FEW = 6
"""The most packets whose answers are sent back."""

ROUNDS = 300
"""Answers in a row to answers, after which there is no end of them: more than a byte that counts them has values."""

_STRAY = b"\xff", b"?"


@held_in_time
def answers_no_answer(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A datagram handler does not answer its own answers without end.

    Whoever forges the address of one server in a packet to another one makes both send for ever, if each takes the
    answer of the other one for a question (CERT CA-1996-01, CVE-2009-3563). A protocol tells answers from questions: by
    a bit, a kind, or the port. The property sends the answer to each packet of the conversation back, and the answer to
    that, 300 times. A handler that answers any packet of that length, or with what has come, such as an echo, is not
    tried: it has nothing to tell them by. One that does not answer the answers to other packets has.

    >>> from handlers.services import EchoDatagram
    >>> answers_no_answer(EchoDatagram, [b"one", b"two"])
    """
    tried = Tried(kind, conversation, world)
    if not tried.packets:
        return
    for size in 1, *map(len, tried.pieces[:1]):
        if all(_answer(tried, stray * size) is not None for stray in _STRAY):
            return
    answer_to = cache(partial(_answer, tried))
    packets = list(dict.fromkeys(tried.pieces))[:FEW]
    answers = [answer for packet in packets if (answer := answer_to(packet)) is not None]
    tells_answers = any(answer_to(answer) is None for answer in answers)
    for packet in packets:
        sent = packet
        for number in range(ROUNDS):
            answer = answer_to(sent)
            is_repeated = answer is not None and number < 2 and (sent in answer or answer in sent)
            if answer is None or (is_repeated and not (number and tells_answers)):
                break
            sent = answer
        else:
            run = played(tried, [sent])
            fault = "it answers its own answer, and the answer to that, and so on: two such servers send for ever"
            fail(tried, fault, "answers_no_answer", f"{run.code()}\nassert {run.output_code()} == []")


def _answer(tried: Tried, packet: bytes) -> bytes | None:
    """The first packet that the handler sends for one that comes alone."""
    output: list[bytes] = played(tried, [packet]).output
    return output[0] if output else None
