"""`log`: a message of the logger ``reactor``.

The import of ``logging`` takes longer than that of all else that a server needs. So it is left to the program. One that
has not imported it has configured nothing, and ``logging`` would print messages of the level WARNING and above on
standard error, and no others (``logging.lastResort``). `log` does so itself then, line by line; so what has several
threads or processes, whose lines could mix, imports ``logging``.
"""

from __future__ import annotations

import sys

from ..handlers.saying import safe_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
"""The levels of ``logging``."""


def is_logged(level: int) -> bool:
    """Whether a message of the level is logged, or printed."""
    if "logging" not in sys.modules:
        return level >= WARNING
    import logging

    return logging.getLogger("reactor").isEnabledFor(level)


def log(level: int, text: str, *arguments: object, raised: bool = False, extra: dict[str, Any] | None = None) -> None:
    """Log ``text % arguments``; ``raised``: with the exception that is being handled, and its traceback."""
    if "logging" in sys.modules:
        import logging  # this waits where another thread is importing it

        logging.getLogger("reactor").log(level, text, *arguments, exc_info=raised, extra=extra, stacklevel=2)
    elif level >= WARNING and sys.stderr is not None:
        try:
            sys.stderr.write(f"{_formatted(text, arguments)}\n")
            if raised:
                sys.__excepthook__(*sys.exc_info())
        except Exception:
            pass  # standard error is closed: nobody can be told


def _formatted(text: str, arguments: tuple[object, ...]) -> str:
    try:
        return text % arguments
    except Exception:  # an argument of the user's can't be said
        return f"{text} {safe_repr(arguments)}"
