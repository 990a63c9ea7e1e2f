"""`prepare`: imports what serving may need, so that nothing is imported while requests are served."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

preparations: list[Callable[[], object]] = []
"""Functions that `prepare` calls. ``reactor/__init__.py`` adds one that imports rooms above this one."""

PRINTS_BY_MODULE = sys.version_info >= (3, 13)
"""Whether ``sys.__excepthook__`` imports the module ``traceback``."""

_tracebacks: list[str] = []  # one that was made, when that has been prepared


def prepare() -> None:
    """Import what may be needed while serving, as far as the program has imported what needs it.

    Called when a reactor or a server is made, and when a server begins to serve: not with the package, whose import
    stays light.
    """
    for preparation in preparations:
        preparation()
    if "logging" in sys.modules:
        prepare_tracebacks()


def prepare_to_serve() -> None:
    """As `prepare`, and for the traceback of a handler that raises."""
    prepare()
    if PRINTS_BY_MODULE:
        prepare_tracebacks()


def prepare_tracebacks() -> None:
    """Make a traceback: the first one imports more than ``traceback``."""
    if not _tracebacks:
        import traceback

        try:
            raise LookupError("made for its traceback")
        except LookupError:
            _tracebacks.append(traceback.format_exc())
