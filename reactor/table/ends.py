"""Logs the end of a row that has ended for a cause: one line for each row, at the level of the cause.

An exception of a handler is not logged here, but by the server's ``handle_error()``; one that ``handle_error()`` is not
called for (``SystemExit``) is logged here. Finished requests are not logged.
"""

from __future__ import annotations

from ..handlers import Cancelled, Cause, Failed
from ..handlers.saying import safe_repr
from ..loop.log import DEBUG, ERROR, INFO, WARNING, is_logged, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .request import Request

LEVELS: dict[type[BaseException], int] = {Cancelled: DEBUG, Cause: INFO, SystemExit: WARNING}
"""The levels by class. INFO, which all other causes have, is off by default: so no peer can fill the log."""


def log_end(row: Request, reason: BaseException | None, record: dict[str, Any]) -> None:
    """Log why ``row`` has ended, if ``handle_error()`` has not; its ``record`` is ``row`` in ``extra``."""
    if not isinstance(reason, (Cause, SystemExit)):
        return
    if isinstance(reason, Failed) and reason.error is row.error:
        return  # logged by handle_error()
    level = next(LEVELS[kind] for kind in type(reason).__mro__ if kind in LEVELS)
    if isinstance(reason, Cause) and reason.nothing_lost:
        level = DEBUG
    if is_logged(level):
        principal = record["principal"]
        who = record["peer"] if principal is None else f"{safe_repr(principal)} at {record['peer']}"
        log(
            level, "request %d of %s (%s) ended in stage %s: %s", record["serial"], who, record["handler"],
            record["stage"], record["reason"], extra={"row": record},
        )  # fmt: skip


def log_error(row: Request | None, client_address: object) -> None:
    """Log the current exception with its traceback; the row's record is in ``extra``. Call it in an except clause."""
    extra = {"row": None if row is None else row.record()}
    text = "Exception occurred during processing of request from %s"
    log(ERROR, text, client_address, raised=True, extra=extra)


def forget_frames(error: BaseException | None) -> None:
    """Remove the tracebacks of an error that has been reported, and of its causes and contexts.

    A frame refers to the handler and the handler to the error: such a cycle waits for the garbage collector.
    """
    seen: set[int] = set()
    errors = [error]
    for one in errors:
        if one is None or id(one) in seen or isinstance(one, (KeyboardInterrupt, SystemExit)):  # leave the loop
            continue
        seen.add(id(one))
        inner = BaseException.__getattribute__(one, "__dict__").get("error")  # a user's class may raise when asked
        errors += [one.__cause__, one.__context__, inner if isinstance(inner, BaseException) else None]
        BaseException.__setattr__(one, "__traceback__", None)  # a class may allow no assignment: a frozen dataclass
