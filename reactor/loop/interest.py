"""`Interest`: the only code that registers, modifies and unregisters with the selector.

A source calls `Interest.want` with the events that it wants. `want` compares these with the events that are registered,
and changes the difference. The number that was registered is remembered, because a descriptor may be closed behind the
loop's back: its object then has no number any more, and the kernel may give the number to a new connection.
"""

from __future__ import annotations

import select
from selectors import SelectSelector

from .selecting import events_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from selectors import BaseSelector
    from typing import Protocol

    class Source(Protocol):
        """An object with a descriptor in the selector: a row, a shared socket, a watch, the wake-up."""

        mask: int
        """The events that are registered now; only `Interest` writes it."""

        @property
        def descriptor(self) -> int:
            """The number of the descriptor, also after it was closed."""

        def is_stale(self) -> bool:
            """Whether the descriptor was closed without the source's knowledge, so that its number may be another's."""

        def ready(self, events: int, now: float) -> None: ...
        def failed(self, error: BaseException) -> None:
            """`ready` has raised ``error``. Called in the ``except`` clause."""


class Interest:
    """The events for which each source is registered with one selector."""

    def __init__(self, selector: BaseSelector) -> None:
        self._selector = selector
        self._is_select = isinstance(selector, SelectSelector)
        self.events = events_of(selector)
        """The events that the selector can report."""
        self.is_copy = False
        """Whether this is a forked child's copy: an epoll set is shared with the parent, so nothing may change it."""

    def want(self, source: Source, mask: int) -> None:
        """Register ``source`` for the events in ``mask``; 0 removes it from the selector.

        Raises ``OSError`` or ``ValueError`` where the selector takes no more descriptors, or no number so high, and
        ``KeyError`` where another source has registered the descriptor; ``source`` is then registered as before, or not
        at all (``source.mask`` says which).
        """
        held = source.mask
        if mask == held:
            return
        if self.is_copy:
            source.mask = 0
        elif not mask:
            source.mask = 0
            self._unregister(source.descriptor)
        elif not held:
            self._register(source, mask)
        else:
            self._modify(source, mask)

    def _register(self, source: Source, mask: int) -> None:
        number = source.descriptor
        if self._is_select:  # refuses a number beyond FD_SETSIZE only when it is called, and then for all
            select.select([number], [], [], 0)
        try:
            self._selector.register(number, mask, source)
        except KeyError:
            old = self._selector.get_map()[number].data
            if not old.is_stale():
                raise
            old.mask = 0  # the number now belongs to the new source
            self._unregister(number)
            self._selector.register(number, mask, source)
        source.mask = mask

    def _modify(self, source: Source, mask: int) -> None:
        number = source.descriptor
        try:
            self._selector.modify(number, mask, source)
        except OSError:
            if number not in self._selector.get_map():  # those of ``selectors`` forget what they can't modify
                source.mask = 0
            raise
        source.mask = mask

    def _unregister(self, number: int) -> None:
        try:
            self._selector.unregister(number)
        except (KeyError, ValueError, OSError):
            pass  # the descriptor was closed first, and the selector has forgotten it
