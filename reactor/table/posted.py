"""`Posted`: stands in front of a machine so that other threads may write to its request.

Calls from another thread are queued, and the loop that drives the machine makes them. The queued bytes count as output:
in the reactor's budget, and for ``max_output``, beyond which they are dropped and the request ends.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import deque

from ..handlers.causes import output_passed
from ..loop.descriptors import close_passed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..handlers import LimitPassed, Machine
    from ..handlers.wait import Wait
    from .request import Request


class Posted:
    """What a handler has in place of its machine while other threads may write to it."""

    def __init__(self, machine: Machine, row: Request) -> None:
        self._machine: Any = machine
        self._row = row
        self._lock = allocate_lock()
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._closed = False
        self.held = 0
        """Bytes that are queued."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if get_ident() == self._row.reactor.thread:
            self._machine.write(data)
        else:
            unchanging = bytes(data)  # a copy: the caller may change a bytearray before it is sent
            self._post(len(unchanging) or 1, self._machine.write, unchanging)  # an empty packet counts as one byte

    def write_descriptors(self, data: bytes | bytearray | memoryview, descriptors: tuple[int, ...]) -> None:
        if get_ident() == self._row.reactor.thread:
            self._machine.write_descriptors(data, descriptors)
        else:
            unchanging = bytes(data)
            self._post(len(unchanging), self._machine.write_descriptors, unchanging, descriptors)

    def write_file(self, *arguments: Any) -> None:
        self._require_its_thread("send_file()")
        self._machine.write_file(*arguments)

    def write_eof(self) -> None:
        self._in_its_thread(self._machine.write_eof)

    def abort(self) -> None:
        self._in_its_thread(self._machine.abort)

    def close(self) -> None:
        self._in_its_thread(self._machine.close)

    def call(self, *arguments: Any) -> None:
        self._require_its_thread("call()")
        self._machine.call(*arguments)

    def take_held(self) -> bytes:
        self._require_its_thread("take_held()")
        held: bytes = self._machine.take_held()
        return held

    def put_back(self, data: bytes) -> None:
        self._require_its_thread("put_back()")
        self._machine.put_back(data)

    def follow(self, machine: Machine, wait: Wait) -> None:
        with self._lock:  # for two threads may both make the first entry
            self._machine.follow(machine, wait)

    def cut(self, cause: LimitPassed) -> int:
        """Drop the queued calls and all later ones, and end the request for ``cause``. Returns the bytes dropped."""
        with self._lock:
            dropped, self.held = self.held, 0
            calls: Any = ()
            if not self._closed:
                self._closed = True
                calls, self._calls = self._calls, deque([(self._machine.pass_limit, (cause,))])
        self._drop(calls)
        self._row.reactor.call_soon(self._deliver)
        return dropped

    def end(self) -> None:
        """The row has ended: drop the queued calls and all later ones."""
        with self._lock:
            self._closed = True
            self.held = 0
            calls, self._calls = self._calls, deque()
        self._drop(calls)

    def _in_its_thread(self, call: Callable[[], object]) -> None:
        if get_ident() == self._row.reactor.thread:
            call()
        else:
            self._post(0, call)

    def _require_its_thread(self, what: str) -> None:
        if get_ident() != self._row.reactor.thread:
            raise RuntimeError(f"{what} belongs in a state of the request: let the thread return what the state needs")

    def _post(self, size: int, call: Callable[..., object], *arguments: object) -> None:
        machine, row = self._machine, self._row
        with self._lock:
            is_closed, is_first = self._closed, not self._calls
            is_over = self.held + size > machine.handler.max_output
            if not (is_closed or is_over):
                self.held += size
                self._calls.append((call, arguments))
        if is_closed or is_over:
            self._drop([(call, arguments)])
        if is_closed:
            return
        if is_over:
            size = -self.cut(output_passed(machine.handler))
        elif is_first:
            row.reactor.call_soon(self._deliver)
        if size:
            row.reactor.budget.post(row, size)

    def _deliver(self) -> None:
        """Make the queued calls; runs in the thread of the loop."""
        with self._lock:
            calls, self._calls = self._calls, deque()
            self.held = 0
        for call, arguments in calls:
            self._row.reactor.guard(self._row, call, *arguments)
        if calls:
            self._row.reactor.settle_soon(self._row)  # which weighs it

    def _drop(self, calls: Iterable[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
        """Close the descriptors of calls that will not be made."""
        passes = getattr(self._machine, "write_descriptors", None)  # only a stream has them
        for call, arguments in calls:
            if call == passes:
                close_passed(arguments[1])
