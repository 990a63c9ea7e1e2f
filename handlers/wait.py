"""`Wait`: the base class of waits, and `StreamWait`, that of the waits for bytes."""

from __future__ import annotations

from .saying import safe_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from .machine import Machine

LIMIT = 65_536
"""The default ``limit`` of a wait for input, in bytes (64 KiB)."""


class Wait:
    """What a request waits for: the base class of all waits.

    ``timeout`` is in seconds, from the beginning of the wait; ``None`` takes the ``timeout`` of the handler,
    ``math.inf`` waits without one.

    Two waits are equal if they have the same class and equal arguments.

    >>> from handlers import Exactly, Until
    >>> Until(b";", limit=9) == Until(b";", limit=9)
    True
    >>> Exactly(12, timeout=2.5)
    Exactly(12, timeout=2.5)
    """

    __slots__ = ("timeout",)

    reads = False
    """Whether input satisfies the wait, so that the row reads."""
    writes = False
    """Whether it is satisfied when the client has taken output that is made meanwhile."""

    relays = False
    """Whether the input goes to another request: see `Relayed`. Each byte that passes begins the time of it anew."""

    answers = False
    """Whether a blocking handler answers a whole request meanwhile: see `handlers.blocking.framing.Answered`."""

    outside = False
    """Whether the driver has to do work for the wait: fork, start a thread, connect."""

    def __init__(self, timeout: float | None = None) -> None:
        if timeout is not None and not is_seconds(timeout):
            raise ValueError(f"{type(self).__name__}: timeout is seconds >= 0 or None, not {timeout!r}")
        self.timeout = timeout

    is_progress = False
    """Whether its result, even an empty one, shows that the handler does not go round without taking anything."""

    def __await__(self) -> Generator[Wait, Any, Any]:
        return (yield self)

    @property
    def parts(self) -> tuple[Wait, ...]:
        """The waits of which one is to be satisfied: the wait itself, but for a `FirstOf`."""
        return (self,)

    def answer(self, part: Wait, result: object) -> object:
        """The result of the wait, if the result of ``part`` is ``result``."""
        return result

    def leave(self, machine: Machine) -> None:
        """``machine`` does not wait any more."""

    def _said(self) -> tuple[object, ...]:
        return ()

    def __repr__(self) -> str:
        said = [safe_repr(value) for value in self._said()]
        if self.timeout is not None:
            said.append(f"timeout={self.timeout!r}")
        return f"{type(self).__name__}({', '.join(said)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._said() == other._said() and self.timeout == other.timeout

    def __hash__(self) -> int:
        return hash((type(self), self._said(), self.timeout))


def is_seconds(value: object) -> bool:
    """Whether ``value`` is a number of seconds."""
    return isinstance(value, (int, float)) and value >= 0


class StreamWait(Wait):
    """A wait for bytes of a stream; its result is ``bytes``."""

    __slots__ = ("limit",)
    reads = True

    hungry: bool = False
    """Whether the wait takes at least one byte: no search is needed where there is none."""

    def __init_subclass__(cls) -> None:
        if "find" in vars(cls) and "hungry" not in vars(cls):
            cls.hungry = False  # what is true of the search of its base class need not be true of its own

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Wait, bytes, bytes]: ...

    def __init__(self, limit: int = LIMIT, timeout: float | None = None) -> None:
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"{type(self).__name__}: limit is a number of bytes >= 1, not {limit!r}")
        Wait.__init__(self, timeout)
        self.limit = limit

    def _said(self) -> tuple[object, ...]:
        return (self.limit,)

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        """The index in ``held`` at which the piece that begins at ``start`` ends, or -1 if more input is needed.

        ``scanned`` is the index at which the last search ended: no byte before it is searched again. ``ended`` is true
        when no more input will come. Raises `LimitPassed` if no further input can satisfy the wait within its limit.
        """
        raise NotImplementedError
