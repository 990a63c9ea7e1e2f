"""Selectors with a third event: `EVENT_URGENT`, which those of the module ``selectors`` do not have.

Each is what the standard library's of that name is, and may be given to whoever takes one. A
descriptor is told of as urgent while it has out-of-band data that nobody has read past.
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Mapping
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

EVENT_URGENT = 4
"""Out-of-band data has come: ``EPOLLPRI``, ``POLLPRI``, the third list of ``select()``."""

_EVENTS = EVENT_READ, EVENT_WRITE, EVENT_URGENT  # in the order of the lists of select()
_ALL = sum(_EVENTS)


class UrgentSelector(BaseSelector):
    """What the selectors of this module have in common: who is registered, and for what."""

    def __init__(self) -> None:
        self._keys: dict[int, SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """As ``selectors.BaseSelector.register``; ``events`` may have `EVENT_URGENT`."""
        key = SelectorKey(fileobj, _number(fileobj), _checked(events), data)
        if key.fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {key.fd}) is registered already")
        self._watch(key.fd, 0, events)
        self._keys[key.fd] = key
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """As ``selectors.BaseSelector.modify``."""
        old = self.get_key(fileobj)
        if _checked(events) != old.events:
            self._watch(old.fd, old.events, events)
        key = self._keys[old.fd] = SelectorKey(old.fileobj, old.fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """As ``selectors.BaseSelector.unregister``."""
        key = self.get_key(fileobj)
        del self._keys[key.fd]
        try:
            self._watch(key.fd, key.events, 0)
        except OSError:
            pass  # it was closed first, and so the kernel has forgotten it
        return key

    def get_key(self, fileobj: Any) -> SelectorKey:
        """The key of what is registered. Raises `KeyError` if it is not."""
        try:
            return self._keys[_number(fileobj)]
        except ValueError:  # it was closed first
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """What is registered."""
        return _Map(self, self._keys)

    def close(self) -> None:
        """Forget what is registered, and give back what the kernel holds for it."""
        self._keys.clear()

    def _watch(self, number: int, before: int, events: int) -> None:
        """Have the kernel watch the descriptor for ``events``, and no more for those ``before``; 0 is none."""
        raise NotImplementedError


class _Map(Mapping):  # type: ignore[type-arg]
    """What is registered, by file object or descriptor."""

    def __init__(self, selector: UrgentSelector, keys: dict[int, SelectorKey]) -> None:
        self._selector = selector
        self._keys = keys

    def __getitem__(self, fileobj: Any) -> SelectorKey:
        return self._selector.get_key(fileobj)

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _number(fileobj: Any) -> int:
    number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{fileobj!r} has no descriptor: {number!r}")
    return number


def _checked(events: int) -> int:
    if not events or events & ~_ALL:
        raise ValueError(f"events are EVENT_READ, EVENT_WRITE and EVENT_URGENT, at least one of them, not {events!r}")
    return events


def _numbers(reading: int, writing: int, urgent: int) -> list[int]:
    """The kernel's number for each set of events, in the order of these."""
    return [
        (reading if events & EVENT_READ else 0)
        | (writing if events & EVENT_WRITE else 0)
        | (urgent if events & EVENT_URGENT else 0)
        for events in range(_ALL + 1)
    ]


class SelectSelector(UrgentSelector):
    """Over ``select()``: urgent is who is in its third list."""

    def __init__(self) -> None:
        super().__init__()
        self._sets: tuple[set[int], set[int], set[int]] = set(), set(), set()

    def _watch(self, number: int, before: int, events: int) -> None:
        if not before:  # a number beyond its size it refuses only when it is called, and then all
            select.select([number], [], [], 0)
        for event, numbers in zip(_EVENTS, self._sets, strict=True):
            (numbers.add if events & event else numbers.discard)(number)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """As ``selectors.BaseSelector.select``."""
        found: dict[int, int] = {}
        ready = select.select(*self._sets, timeout and max(timeout, 0))
        for event, numbers in zip(_EVENTS, ready, strict=True):
            for number in numbers:
                found[number] = found.get(number, 0) | event
        return [(self._keys[number], events) for number, events in found.items()]

    def close(self) -> None:
        super().close()
        for numbers in self._sets:
            numbers.clear()


if hasattr(select, "poll") and hasattr(select, "POLLPRI"):

    class PollSelector(UrgentSelector):
        """Over ``poll()``: urgent is ``POLLPRI``."""

        _bits = _numbers(select.POLLIN, select.POLLOUT, select.POLLPRI)
        _events = {bits: events for events, bits in enumerate(_bits)}

        def __init__(self) -> None:
            super().__init__()
            self._poll = select.poll()

        def _watch(self, number: int, before: int, events: int) -> None:
            if events:
                self._poll.register(number, self._bits[events])
            else:
                self._poll.unregister(number)

        def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
            """As ``selectors.BaseSelector.select``."""
            keys, events = self._keys, self._events
            # An error or a hang-up is whatever was asked for.
            return [
                (key := keys[number], events.get(bits, key.events))
                for number, bits in self._poll.poll(timeout and max(timeout * 1000, 0))
            ]


if hasattr(select, "epoll"):

    class EpollSelector(UrgentSelector):
        """Over ``epoll(7)``: urgent is ``EPOLLPRI``."""

        _bits = _numbers(select.EPOLLIN, select.EPOLLOUT, select.EPOLLPRI)
        _events = {bits: events for events, bits in enumerate(_bits)}

        def __init__(self) -> None:
            super().__init__()
            self._epoll = select.epoll()

        def fileno(self) -> int:
            """The descriptor of the epoll set, readable when something is ready."""
            return self._epoll.fileno()

        def _watch(self, number: int, before: int, events: int) -> None:
            if not before:
                self._epoll.register(number, self._bits[events])
            elif events:
                self._epoll.modify(number, self._bits[events])
            else:
                self._epoll.unregister(number)

        def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
            """As ``selectors.BaseSelector.select``."""
            keys, events = self._keys, self._events
            # Of a descriptor that was closed before it was unregistered the kernel may still tell, if there is a copy.
            return [
                (key, events.get(bits, key.events))
                for number, bits in self._epoll.poll(timeout and max(timeout, 0), len(keys) or 1)
                if (key := keys.get(number)) is not None
            ]

        def close(self) -> None:
            super().close()
            self._epoll.close()


DefaultSelector: type[BaseSelector] = globals().get(selectors.DefaultSelector.__name__, selectors.DefaultSelector)
"""The one that is best on this host: where that is of a kind that has no third event, the standard library's."""
