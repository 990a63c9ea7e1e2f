"""The calls of a handler (`Handler.call`) in a run without a network: `make_calls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...handlers import Cancelled, DatagramMachine, Failed
from .watching import timed, working

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...handlers import DatagramHandler, Machine

ROUNDS = 200
"""Times that a call may wait, after which it counts as one that takes too long, and is cancelled."""


def make_calls(machine: Any) -> None:
    """Make the calls that the handler of ``machine`` has begun, in their order: each goes on until it ends.

    No time passes, so a `Delay` of a call is over at once, and a wait for more than the packet of the call times out.
    The function of `Forked` and `Threaded` is called; other work outside the loop fails. If the output of ``machine``
    is above the high-water mark, the calls that are left wait until it is read.

    >>> from handlers import DatagramHandler, Packet, StreamHandler, StreamMachine, Until
    >>> class Upper(DatagramHandler):
    ...     async def handle(self):
    ...         self.send((await Packet()).upper())
    >>> class Lines(StreamHandler):
    ...     async def handle(self):
    ...         while True:
    ...             self.call(Upper(), await Until(b"\\n", limit=80), self.send)
    >>> machine = StreamMachine(Lines())
    >>> _ = machine.feed(b"one\\ntwo\\n")
    >>> make_calls(machine)
    >>> machine.read()
    b'ONE\\nTWO\\n'
    """
    while may_call(machine, machine.driver):
        make_call(machine, machine.driver)


def may_call(machine: Any, driver: Any) -> bool:
    """Whether there is a call to be made, and room for its answer."""
    return bool(driver.calls) and not machine.finished and machine.held_out <= machine.handler.high_water


def make_call(machine: Any, driver: Any) -> bool:
    """Make the first call that ``driver`` has, and let the machine go on. Returns whether the call has waited."""
    handler, packet, answer = driver.calls.pop(0)
    try:
        waited = _make(handler, packet, answer, _Inside(driver))
    finally:
        machine.call_ended()
    if machine.blocked:
        machine.advance()
    return waited


class _Inside:
    """The driver of a call: what it has not itself, the driver of the request has."""

    def __init__(self, outer: Any) -> None:
        self._outer = outer
        self.calls: list[tuple[DatagramHandler, bytes, Callable[[bytes], object]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outer, name)

    def call(self, handler: DatagramHandler, packet: bytes, answer: Callable[[bytes], object]) -> None:
        """A call that the handler of this call makes."""
        self.calls.append((handler, packet, answer))


def _make(handler: DatagramHandler, packet: bytes, answer: Callable[[bytes], object], driver: Any) -> bool:
    made: Any = timed(DatagramMachine)(handler, driver)
    made.feed(packet)
    waited = False
    for _ in range(ROUNDS):
        _answer(made, answer)
        make_calls(made)
        if made.finished:
            break
        if made.blocked:
            made.advance()
        else:
            waited = True
            _go_on(made)
    else:
        made.abandon(Cancelled("the call takes too long"))
    _answer(made, answer)
    return waited


def _answer(made: Any, answer: Callable[[bytes], object]) -> None:
    while made.outbox:
        answer(made.read())


def _go_on(made: Machine) -> None:
    """Let the wait of a call be over."""
    whole: Any = made.wait
    if not whole.outside:
        made.expire()
        return
    wait = next(part for part in whole.parts if part.outside)
    try:
        if not hasattr(wait, "function"):
            raise OSError("there is no network")
        with working(wait):
            result = wait.function(*wait.arguments)
    except Exception as error:
        made.interrupt(Failed(wait, error))
    else:
        made.resume(whole.answer(wait, result))
