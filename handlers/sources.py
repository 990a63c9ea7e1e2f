"""What the waits for other requests have in common (`events`): `Sourced`, and the `Source` that they wait for."""

from __future__ import annotations

from .saying import safe_repr
from .wait import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from .machine import Machine

NOTHING: Any = object()
"""There is nothing to take yet; not ``None``, which may be what is taken."""


class Unlocked:
    """The lock of a process with one thread."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...


class Guard:
    """A lock around what several threads may change. A reactor sets it, for a module of handlers knows no threads."""

    lock: AbstractContextManager[Any] = Unlocked()


class Source:
    """What `Event` and `Queue` have in common: the requests that wait, in order, and what is given to them."""

    def __init__(self) -> None:
        self._waiting: dict[Machine, None] = {}
        self._given: dict[Machine, Any] = {}  # what a machine gets when it goes on

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return len(self._waiting)

    def take(self, machine: Machine) -> Any:
        """What ``machine`` gets now. `NOTHING`: it is told when there is something."""
        with Guard.lock:
            if machine in self._given:
                return self._given.pop(machine)
            found = self._next()
            if found is NOTHING:
                self._waiting[machine] = None
            return found

    def leave(self, machine: Machine) -> None:
        """``machine`` does not wait any more; what was given to it goes to the next that waits."""
        with Guard.lock:
            self._waiting.pop(machine, None)
            told = self._take_back(self._given.pop(machine)) if machine in self._given else None
        if told is not None:
            told.notice()

    def _next(self) -> Any:
        """What a request that begins to wait gets at once, or `NOTHING`."""
        raise NotImplementedError

    def _take_back(self, value: Any) -> Machine | None:
        """Keep what a request has not taken, or give it to the one that is returned. Called under the lock."""
        raise NotImplementedError

    def _give(self, value: Any) -> Machine | None:
        """Give ``value`` to the first that waits, and return that one, which must be told without the lock."""
        for machine in self._waiting:
            del self._waiting[machine]
            self._given[machine] = value
            return machine
        return None


class Sourced(Wait):
    """A wait for what another request, or any other part of the program, does."""

    __slots__ = ("source",)
    source: Source

    def leave(self, machine: Machine) -> None:
        self.source.leave(machine)

    def _said(self) -> tuple[object, ...]:
        return (self.source,)

    def __repr__(self) -> str:
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"{type(self).__name__}({safe_repr(self.source)}{timeout})"
