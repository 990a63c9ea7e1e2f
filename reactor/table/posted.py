"""A machine in a thread of its own, as handlers in other threads see it: their writes are posted to its loop."""

from __future__ import annotations

from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..handlers import Machine
    from .reactor import Reactor


class Posted:
    """Stands in the place of a handler's machine where rows of several threads may write to each other."""

    def __init__(self, machine: Machine, reactor: Reactor) -> None:
        self._machine: Any = machine
        self._reactor = reactor
        self._thread = get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._in_its_thread(self._machine.write, self._unchanging(data))

    def write_descriptors(self, data: bytes | bytearray | memoryview, descriptors: tuple[int, ...]) -> None:
        self._in_its_thread(self._machine.write_descriptors, self._unchanging(data), descriptors)

    def write_eof(self) -> None:
        self._in_its_thread(self._machine.write_eof)

    def close(self) -> None:
        self._in_its_thread(self._machine.close)

    def _unchanging(self, data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
        """``data`` as it is now: its writer may change it before the other thread sends it."""
        return data if get_ident() == self._thread else bytes(data)

    def _in_its_thread(self, call: Any, *arguments: object) -> None:
        if get_ident() == self._thread:
            call(*arguments)
        else:
            self._reactor.call_soon(call, *arguments)
