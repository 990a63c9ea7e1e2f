"""The properties of what the source of a handler class says: it shows what no run does.

A statement may be in a branch that no conversation of a test reaches.
"""

from __future__ import annotations

from typing import Any

from ..reading.blocking import blocking
from ..reading.dropped import dropped
from ..running.report import fail, held_in_time
from ..running.subject import Subject


@held_in_time
def drops_no_step(kind: Any) -> None:
    """Each wait, and each step, that a handler makes is returned or awaited, and so is each coroutine.

    A statement that makes one and drops it has no effect: a ``return`` or an ``await`` is forgotten. The request goes
    on, or ends, without the wait. A state that returns a step on one way through it, and goes past its last statement
    on another, ends the request there, which ``return None`` says better. A ``map()``, a ``filter()`` or a generator
    expression that is a statement does nothing, for nothing takes its items. The property reads the source of the
    handler class.

    >>> from handlers.services import Echo
    >>> drops_no_step(Echo)
    """
    subject = Subject(kind)
    for fault in dropped(subject.kind):
        fail(subject, str(fault), "drops_no_step", f"drops_no_step({subject.text})")


@held_in_time
def calls_nothing_that_blocks(kind: Any) -> None:
    """No state calls a function that waits for something outside, such as ``time.sleep``.

    Until it returns, the loop and with it every other request stands still. The property reads the source of the
    states of a handler class, and of its methods that they call. What `Forked` or `Threaded` calls may wait. A blocking
    handler of ``socketserver``'s kind may, too. A handler for fork and thread mode only says
    ``check(..., meant=["calls_nothing_that_blocks"])``.

    >>> from handlers.services import Echo
    >>> calls_nothing_that_blocks(Echo)
    """
    subject = Subject(kind)
    for fault in blocking(subject.kind):
        fail(subject, str(fault), "calls_nothing_that_blocks", f"calls_nothing_that_blocks({subject.text})")
