"""`Brief`: the first turn of a datagram request, which may turn out to need neither a machine nor a row.

Most requests of datagrams take one packet, answer it and end. Their handlers run here, and can't tell. At anything else
(a second wait, an exception, a call inside the request, too much output) the row of the request is made, and its
machine goes on from there (`PacketRow.go_on_from`).
"""

from __future__ import annotations

from types import CoroutineType

from ..handlers import Packet
from ..handlers.handler import Handler
from ..handlers.states import expect_nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..handlers import DatagramHandler
    from ..handlers.handler import Answer
    from ..handlers.machine import Machine
    from ..handlers.waits import Wait
    from .packets import PacketRow


class Brief:
    """What the handler of a request has for its machine, and for its driver, until the request ends or has a row.

    ``enter(brief)`` puts the row of the request into the table and returns it. It is called at most once.
    """

    # Slots, because CPython 3.11 finds them faster than attributes of the class that an instance may override.
    __slots__ = (
        "_enter", "_row", "begun", "error", "finishing", "handler", "now", "packet", "packets", "peer", "principal",
        "server", "size", "state", "step", "taken",
    )  # fmt: skip

    # A request that has no filter and has not ended has none of these:
    secured: Any = None
    peer_certificate = alpn = proxy_header = reason = outbox = None
    left = ()

    def __init__(
        self, handler: DatagramHandler, packet: bytes, peer: Any, server: Any, now: Callable[[], float],
        enter: Callable[[Brief], PacketRow],
    ) -> None:  # fmt: skip
        self.handler = handler
        self.packet = packet
        self.peer = peer
        self.principal: Any = None
        self.server = server
        self.now = now
        self.packets: list[bytes] | None = []
        """What the handler has sent, in order; ``None`` when the request has ended or has a row."""
        self.size = 0
        """Bytes that the handler has sent."""
        self.state: Any = None
        """What the handler was last asked for a step: its ``handle()``, a state, or its coroutine."""
        self.step: Any = None
        """The step that `state` has returned."""
        self.error: BaseException | None = None
        """The exception that the handler has raised instead."""
        self.begun = self.taken = self.finishing = False
        """Whether ``setup()`` has succeeded, the packet was taken, and ``finish()`` was called."""
        self._row: PacketRow | None = None
        self._enter = enter
        handler._machine = self  # type: ignore[assignment]

    def run(self) -> bool:
        """Give the handler its packet. Returns whether the request has ended; if not, it needs a `row`."""
        handler, kind = self.handler, type(self.handler)
        try:
            if kind.setup is not Handler.setup:
                expect_nothing(handler.setup, kind)
            self.begun = True
            state = self.state = handler.handle
            step: Any = state()
            if step.__class__ is tuple and len(step) == 2 and step[0].__class__ is Packet and callable(step[1]):
                state = self.state = step[1]
                self.taken = True
                step = state(self.packet)
            elif step.__class__ is CoroutineType:
                self.state = step.send
                step = self._go_on(None)
                if step.__class__ is Packet and self.state is not _returned:
                    self.taken = True
                    step = self._go_on(self.packet)
            self.step = step
            if step is None and kind.finish is not Handler.finish and not self._needs_row:
                self.finishing = True
                expect_nothing(handler.finish, kind)
        except BaseException as error:
            self.error = error
            return False
        return step is None and self._row is None and self.size <= handler.max_output

    @property
    def _needs_row(self) -> bool:
        """Whether the request has a row already, or has sent more than it may, which its machine deals with."""
        return self._row is not None or self.size > self.handler.max_output

    def _go_on(self, argument: object) -> Any:
        """The step that the coroutine takes, or returns at its end."""
        try:
            return self.state(argument)
        except StopIteration as stop:
            self.state = _returned
            return stop.value

    def end(self) -> list[bytes]:
        """The request has ended, or gets a row. Returns the packets that it has sent."""
        packets, self.packets = self.packets or [], None
        return packets

    def forget(self) -> type[DatagramHandler]:
        """The request has ended without a row: break the reference cycles. Returns the class of the handler."""
        kind = type(self.handler)
        self.handler = kind  # type: ignore[assignment]
        self.state = None
        return kind

    @property
    def row(self) -> PacketRow:
        """The row of the request, made when it is first asked for."""
        if self._row is None:
            row = self._row = self._enter(self)
            machine: Any = row.channel
            machine.begin_over(self.begun and not self.finishing, self.state)
            for packet in self.end():
                self.handler.send(packet)
        return self._row

    # What the handler asks of its machine and of its driver

    @property
    def thread(self) -> int:
        """The thread in which the request runs."""
        thread: int = self.server.reactor.thread
        return thread

    @property
    def driver(self) -> Any:
        return self

    def write(self, data: bytes | bytearray | memoryview) -> None:
        packets, size = self.packets, self.size
        if packets is not None and (not size or size <= self.handler.max_output):
            self.size = size + (len(data) or 1)  # as in `handlers.datagrams.Packets`
            packets.append(bytes(data))

    def call(self, handler: DatagramHandler, packet: bytes, answer: Answer) -> None:
        if self.packets is not None:
            self.row.channel.handler.call(handler, packet, answer)

    def close(self) -> None:
        if self.packets is not None:
            raise RuntimeError("a state ends its own request by returning None, not by close()")

    def channel_binding(self, kind: str) -> bytes | None:
        return None

    def follow(self, machine: Machine, wait: Wait) -> None:
        """The request has ended, so that no wait for its output goes on."""

    def unfollow(self, machine: Machine) -> None:
        """See `follow`."""


def _returned() -> None:
    """Stands for the coroutine that has returned the step."""
