"""`prepare`: imports what serving may need, so that nothing is imported while requests are served."""

from __future__ import annotations

from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

preparations: list[Callable[[], object]] = []
"""Functions that `prepare` calls. ``reactor/__init__.py`` adds one that imports rooms above this one."""


@cache
def prepare() -> None:
    """Import what may be needed while serving.

    Called whenever a reactor or a server is made; not with the package, whose import stays light.
    """
    "\u00f6".encode("idna")  # imports the codec, for host names that are not ASCII
    import logging  # noqa: F401
    import traceback

    for preparation in preparations:
        preparation()
    try:
        raise LookupError("made for its traceback")
    except LookupError:
        traceback.format_exc()  # for handle_error(): the first traceback imports more
