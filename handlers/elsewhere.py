"""`Forked` and `Threaded`: calls that must not run in the loop. A reactor is ready for them if this is imported."""

from __future__ import annotations

from .waits import Outside, function_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Elsewhere(Outside):
    """A call of a function that must not run in the loop; what it returns is the result of the wait.

    If the function raises, or its child dies, the cause is `Failed`.
    """

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., object], *arguments: object, timeout: float | None = None) -> None:
        if not callable(function):
            raise TypeError(f"{type(self).__name__}: {function!r} can't be called")
        super().__init__(timeout)
        self.function = function
        self.arguments = arguments

    def _said(self) -> tuple[object, ...]:
        return (self.function, *self.arguments)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({function_name(self.function)})"


class Forked(Elsewhere):
    """``function(*arguments)`` in a forked child, which sends the result back pickled.

    The child has a copy of the process as it is now, so the arguments need not be pickled. When the wait times out, or
    the row ends, the child is killed.
    """

    __slots__ = ()


class Threaded(Elsewhere):
    """``function(*arguments)`` in a thread of this process.

    A thread can't be stopped: when the wait times out, the function goes on, and its result is dropped.
    """

    __slots__ = ()
