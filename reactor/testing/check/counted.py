"""What requests count on the server: a number that each puts back when it ends, such as that of the clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ..inputs.borders import messages_of
from ..running.report import fail
from ..running.run import Run

if TYPE_CHECKING:
    from ..inputs.tried import Tried

MANY = 24
"""The most messages with which a request ends."""

FEW = 6
"""The most messages that come twice."""


def refuse_miscounts(tried: Tried) -> None:
    """Fail if a number of the server is another one after a request in which a message has come twice.

    That is a number that changes in the conversation, and is as before after each beginning of it, whole messages long.
    """
    if tried.world.server is None:
        return
    messages = messages_of(tried)
    tried.restore()
    before, own, kept = _numbers(tried), set[str](), set[str]()
    for count in range(1, min(len(messages), MANY) + 1):
        run, during = _ended(tried, messages[:count])
        if run.error is not None:
            return
        own |= {name for name, number in before.items() if during.get(name) != number}
        kept |= _changed(tried, before)
    for place, message in list(enumerate(messages))[:FEW] if own - kept else ():
        run, _ = _ended(tried, [*messages[:place], message, *messages[place:]])
        changed = sorted((own - kept) & _changed(tried, before))
        if run.error is None and changed:
            _fail(tried, run, changed[0], before)


def _numbers(tried: Tried) -> dict[str, int]:
    """The numbers among the attributes of the server."""
    attributes = getattr(tried.world.server, "__dict__", {})
    return {name: value for name, value in attributes.items() if type(value) is int}


def _changed(tried: Tried, before: dict[str, int]) -> set[str]:
    """The names of those that are not as ``before``."""
    now = _numbers(tried)
    return {name for name, number in before.items() if now.get(name) != number}


def _ended(tried: Tried, messages: list[bytes]) -> tuple[Run, dict[str, int]]:
    """The run of a request that the server ends after these messages, and its numbers just before that."""
    run = Run(tried)
    for message in messages:
        if not (run.over or run.finished):
            run.step(message)
            run.drain()
    during = _numbers(tried)
    if not (run.over or run.finished):
        run.cancel()
    return run, during


def _fail(tried: Tried, run: Run, name: str, before: dict[str, int]) -> NoReturn:
    fault = (
        f"server.{name} is as before after the conversation, and {_numbers(tried)[name] - before[name]:+} after one in "
        "which a message has come twice: count each request once"
    )
    code = f"before = server.{name}\n{run.code()}\nassert server.{name} == before"
    fail(tried, fault, "bounds_when_repeated", code)
