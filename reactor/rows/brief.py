"""`Brief`: the first turn of a datagram request, which may turn out to need neither a machine nor a row.

Most requests of datagrams take one packet, answer it and end. Their handlers run here, and can't tell. At anything else
(a second wait, an exception, a call inside the request, too much output) the row of the request is made, and its
machine goes on from there (`PacketRow.go_on_from`).
"""

from __future__ import annotations

from types import CoroutineType

from ..handlers import Packet
from ..handlers.handler import Handler
from ..handlers.sources import NOTHING
from ..handlers.states import expect_nothing, place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ..handlers import DatagramHandler
    from ..handlers.handler import Answer
    from ..handlers.machine import Machine
    from ..handlers.wait import Wait
    from .packets import PacketRow

    class Taker(Protocol):
        """What has taken the packet from its socket."""

        @property
        def server(self) -> Any:
            """The server of the request, for its handler."""

        def enter(self, brief: Brief) -> PacketRow:
            """Put the row of a request that has begun without one into the table."""


# The method of the handler that runs, or ran last:
SETUP, STATE, FINISH = range(3)


class Brief:
    """What the handler of a request has for its machine, and for its driver, until the request ends or has a row."""

    # Slots, because CPython 3.11 finds them faster than attributes of the class that an instance may override.
    __slots__ = (
        "_row", "_taker", "error", "handler", "opening", "packet", "packets", "peer", "place", "principal", "size",
        "state", "step", "taken",
    )  # fmt: skip

    step: Any
    """The step that `state` has returned; set when the first turn is over."""
    error: BaseException | None
    """The exception that the handler has raised instead."""

    # A request that has no filter and has not ended has none of these:
    secured: Any = None
    peer_certificate = alpn = proxy_header = reason = outbox = None
    left = ()

    def __init__(self, handler: DatagramHandler, packet: bytes, peer: Any, taker: Taker) -> None:
        self.handler: Any = handler
        """``None`` when the request has ended without a row."""
        self.packet = packet
        self.peer = peer
        self.principal: Any = None
        self.packets: list[bytes] | None = []
        """What the handler has sent, in order; ``None`` when the request has ended or has a row."""
        self.size = 0
        """Bytes that the handler has sent."""
        self.place = SETUP
        self.state: Any = None
        """What the handler was last asked for a step: its ``handle()``, a state, or its coroutine."""
        self.taken = False
        """Whether the handler was given the packet."""
        self.opening: object = None
        """Where the coroutine waited for the packet; ``None`` where nobody asks."""
        self._row: PacketRow | None = None
        self._taker = taker
        handler._machine = self  # type: ignore[assignment]

    def run(self) -> list[bytes] | None:
        """Give the handler its packet. Returns what it has sent if the request has ended; if not, it needs a row."""
        handler = self.handler
        kind = handler.__class__
        step: Any = None
        error = None
        try:
            if kind.setup is not Handler.setup:
                expect_nothing(handler.setup, kind)
            self.place = STATE
            state = self.state = handler.handle
            step = state()
            if step.__class__ is tuple and len(step) == 2 and step[0].__class__ is Packet and callable(step[1]):
                state = self.state = step[1]
                self.taken = True
                step = state(self.packet)
            elif step.__class__ is CoroutineType:
                step = self._run_coroutine(step.send)
            if step is None and kind.finish is not Handler.finish and not self._needs_row:
                self.place = FINISH
                expect_nothing(handler.finish, kind)
        except BaseException as failure:
            error = failure
        if step is None and error is None and self._row is None and self.size <= handler.max_output:
            packets, self.packets = self.packets, None
            return packets
        self.step, self.error = step, error
        return None

    def _run_coroutine(self, send: Callable[[Any], Any]) -> Any:
        """The step that the coroutine takes when it has the packet, or returns at its end."""
        self.state, handler = send, self.handler
        try:
            step = send(None)
            if step.__class__ is Packet:
                if handler.request_timeout is not None or handler.min_rate:  # they ask for it
                    self.opening = place_of(send)
                self.taken = True
                step = send(self.packet)
            return step
        except StopIteration as stop:
            self.state = _returned
            return stop.value

    @property
    def _needs_row(self) -> bool:
        """Whether the request has a row already, or has sent more than it may, which its machine deals with."""
        return self._row is not None or self.size > self.handler.max_output

    def keep(self, packets: list[bytes]) -> None:
        """The request has ended, but ``packets`` are still to be sent: by its row."""
        self.packets, self.step, self.error = packets, None, None

    def make_row(self) -> PacketRow:
        """The row of the request in the table, made if there is none."""
        if self._row is None:
            row = self._row = self._taker.enter(self)
            machine: Any = row.channel
            machine.begin_over(self.begun(), self.state)
            packets, self.packets = self.packets or [], None
            for packet in packets:
                self.handler.send(packet)
        return self._row

    def begun(self) -> object:
        """The place in the handler's code where its messages begin; ``None`` before and after its states."""
        return (self.opening or place_of(self.state) or NOTHING) if self.place == STATE else None

    # What the handler asks of its machine and of its driver

    @property
    def server(self) -> Any:
        return self._taker.server

    def now(self) -> float:
        now: float = self.server.reactor.clock.time()
        return now

    @property
    def thread(self) -> int:
        """The thread in which the request runs."""
        thread: int = self.server.reactor.thread
        return thread

    @property
    def driver(self) -> Any:
        return self

    def write(self, data: bytes | bytearray | memoryview) -> None:
        packet = data if data.__class__ is bytes else b"".join((data,))
        packets = self.packets
        if packets is None:
            if self._row is not None:  # a signal handler has just looked at the table
                self.handler.send(packet)
        elif not (packets and self.size > self.handler.max_output):
            packets.append(packet)
            self.size += len(packet) or 1  # as in `handlers.datagrams.Packets`

    def call(self, handler: DatagramHandler, packet: bytes, answer: Answer) -> None:
        if self.packets is not None:
            self.make_row().channel.handler.call(handler, packet, answer)

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
