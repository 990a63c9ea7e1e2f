"""The machine: feeds input to a handler and hands out its output; the only place that satisfies waits.

It knows no socket, no clock and no loop. A row of the reactor drives it. Any other code can drive it too: a unit test,
or a program under asyncio or trio, feeds it bytes and sends the bytes that it reads from it.
"""

from __future__ import annotations

from types import CoroutineType

from .causes import Cancelled, Cause, LimitPassed, TimedOut, output_passed
from .first import FirstOf
from .handler import DatagramHandler
from .saying import safe_repr
from .sources import NOTHING, Sourced
from .states import expect_nothing, going_round, is_of_coroutine, name_of, nonsense, place_of, shared
from .wait import Wait
from .waits import Delay, Filtered, Flushed, Outside, Relayed
from .world import NO_MACHINE, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Self

    from .handler import Answer, Driver, Handler

_FAREWELL = 300.0  # seconds that a peer has at most to take the output of a request that has ended
_BARREN = 1_000  # steps in a row without input, after which a handler counts as stuck


class Machine:
    """What the machines for streams and for datagrams have in common.

    Every call that runs the handler raises what the handler raises; the machine has then ended, with that exception as
    its `reason`.
    """

    __slots__ = (
        "blocked", "calls", "drained", "driver", "excess", "first_place", "first_wait", "followers", "fresh",
        "handler", "inbox", "outbox", "reason", "running", "state", "wait",
    )  # fmt: skip
    accepts: tuple[type[Wait], ...]  # the classes of waits that a state may return
    _weigh: staticmethod[[Any], int]  # the bytes in an outbox
    ended = False  # whether the input has ended; a stream's can
    opening = False  # this and the next two have other values in a filter only: see `handlers.channel`
    labels: tuple[str, ...] = ()
    complete = True

    handler: Handler
    inbox: Any
    outbox: Any

    def __init__(self, handler: Handler, driver: Driver | None = None) -> None:
        self.handler = handler
        self.driver: Driver = World() if driver is None else driver
        self.state: Callable[..., Any] | None = self._open
        self.wait: Wait | None = _BEFORE
        """What the request waits for now; ``None`` when it has ended."""
        self.first_place: object = None  # the place in the handler's code where messages begin
        self.first_wait: Wait | None = None  # the wait at that place; None: it is the wait that begins next
        self.reason: BaseException | None = None
        """Why the request has ended: ``None`` if it has finished, else a `Cause` or what the handler raised."""
        self.fresh = False
        """Whether a wait has begun since the driver last looked."""
        self.blocked = False
        """Whether the driver must call `advance`: when output has drained, or when other rows have had their turn."""
        self.running: float = False
        """Whether a state runs; in the hot path of a stream, bytes of output up to which `write` looks no further. If
        none runs, a stream may be `machines.STEADY`."""
        self.calls = 0
        """The calls that are open: requests inside this one."""
        self.outbox = None
        self.excess: LimitPassed | None = None
        """Why the request is about to end, if its output has passed ``max_output``: what is written is dropped."""
        self.followers: dict[Machine, Wait] | None = None  # machines that wait until the output here has drained
        self.drained: Wait | None = None  # the wait for another machine's output that this one has satisfied
        handler._machine = self

    @property
    def begun(self) -> bool:
        """Whether the handler's ``setup()`` has succeeded."""
        return self.first_place is not None

    @property
    def finished(self) -> bool:
        """Whether the request has ended; output may still wait to be read."""
        return self.state is None

    @property
    def held_in(self) -> int:
        """Bytes of input held for the request."""
        raise NotImplementedError

    @property
    def held_out(self) -> int:
        """Bytes of output not yet handed out."""
        return self._weigh(self.outbox) if self.outbox else 0

    @property
    def wants_input(self) -> bool:
        """Whether the request can go on when more input comes."""
        wait = self.wait
        return wait is not None and wait.reads and not self.blocked and not self.ended

    @property
    def patience(self) -> float:
        """Seconds that the wait which just began may take; ``inf`` for no bound.

        For a request that has ended: the seconds that its peer has to take the rest of the output, 300 at most.
        """
        wait = self.wait
        if isinstance(wait, Delay):
            return wait.seconds
        timeout = None if wait is None else wait.timeout
        if timeout is None:
            timeout = self.handler.timeout
        patience = float("inf") if timeout is None else timeout
        return patience if wait is not None else min(patience, _FAREWELL)

    @property
    def state_name(self) -> str:
        """The state's name; for a coroutine its name and the line that it has reached."""
        if self.state is None:
            return "finished"
        return "handle" if self.state == self._open else name_of(self.state)

    # What drives it

    def advance(self) -> None:
        """Go on as far as input and output allow; the first call starts the request."""
        self._run()

    def resume(self, result: object) -> None:
        """Satisfy a wait for something outside (`Forked`, `Connected`, …) with its result."""
        self._run(self._answer, result)

    def interrupt(self, cause: Cause) -> None:
        """Tell the request why its wait won't be satisfied; the request may go on."""
        self._run(self._deliver, cause)

    def expire(self) -> None:
        """The time of the wait is over: a `Delay` is satisfied, any other wait fails with `TimedOut`."""
        wait = self.wait
        if isinstance(wait, Delay):
            self.resume(None)
        elif isinstance(wait, FirstOf) and wait.due is not None:
            self.resume(wait.answer(wait.due, None))
        elif wait is not None:
            self.interrupt(TimedOut(wait))

    def abandon(self, cause: Cause) -> None:
        """Tell the request why it must end, and end it whatever step it returns."""
        self._run(self._give_up, cause)

    def discard(self, cause: BaseException) -> None:
        """End the request without telling the handler's states. Does nothing if the request has ended or is ending.

        ``cause`` becomes the reason. ``finish()`` is called, if ``setup()`` had succeeded; what it sends can be sent.
        """
        if self.wait is None:
            return
        if self.running:
            raise RuntimeError("a state ends its own request by returning None, not by close()")
        self.running = True
        try:
            self._end(cause)
        finally:
            self.running = False

    def lose(self, cause: Cause) -> None:
        """The connection is lost: `abandon` the request, and drop the output.

        For a request that has ended already, ``cause`` becomes the reason if there is none.
        """
        try:
            if self.state is None:
                self.reason = cause if self.reason is None else self.reason
            else:
                self.abandon(cause)
        finally:
            self.drop_output()

    def close(self) -> None:
        """End the request from outside its own states. Does nothing if the request has ended or is ending."""
        if self.wait is None:
            return
        try:
            self.discard(Cancelled("closed from another request"))
        finally:
            self.driver.touched()

    def forget(self, driver: Driver) -> Self:
        """Break the reference cycles of machine, handler and driver, which must not use the machine afterwards.

        From now on `handler` is the handler's class, and ``driver`` answers what the handler still asks. Does nothing
        while a state runs. Returns the machine.
        """
        if self.running or isinstance(self.handler, type):
            return self
        self.running = False
        self.handler._machine = self
        self.handler = type(self.handler)  # type: ignore[assignment]
        self.driver = driver
        self.state = self.wait = self.inbox = self.first_wait = None
        if self.first_place is not None:
            self.first_place = NOTHING
        if self.outbox or self.followers:
            self.drop_output()
        return self

    def call(self, handler: DatagramHandler, packet: bytes, answer: Answer) -> None:
        """Have the driver start a request inside this one; the handler's ``call()``."""
        if isinstance(handler, type) or not isinstance(handler, DatagramHandler):
            raise TypeError(f"call: handler is an instance of a DatagramHandler, not {safe_repr(handler)}")
        if handler._machine is not NO_MACHINE:  # type: ignore[comparison-overlap]
            raise ValueError(f"call: this {type(handler).__name__} has a request already; make a new one")
        if self.state is None:
            return
        self._count_calls(1)
        try:
            self.driver.call(handler, packet, answer)
        except BaseException:
            self._count_calls(-1)
            raise

    def call_ended(self) -> None:
        """A call has ended. If the request is blocked, the driver is told to call `advance`."""
        if self.state is not None:
            self._count_calls(-1)
            if self.blocked and not self.running:
                self.driver.touched()

    def _count_calls(self, change: int) -> None:
        self.calls += change
        if self.calls >= self.handler.max_calls:
            self.blocked = True  # `_unblock` finds out why

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue output; the handler's ``send()``. Output beyond ``max_output`` is dropped, and the request ends.

        This raises nothing then, because another request's state may be the caller. The request ends with the cause
        `excess` when its own state has returned, or when the driver, which is told, calls `advance`.
        """
        raise NotImplementedError

    def _overflows(self) -> bool:
        """Whether the output has passed ``max_output``. If so, calls `pass_limit`."""
        if self.held_out <= self.handler.max_output:
            return False
        self.pass_limit(output_passed(self.handler))
        return True

    def pass_limit(self, cause: LimitPassed) -> None:
        """Drop all output from now on, and end the request for ``cause`` as soon as none of its states runs."""
        if self.excess is None and self.state is not None:
            self.excess = cause
            if self.wait is None and self.reason is None:  # finish() has written too much
                self.reason = cause
            self.blocked = True
            self.driver.touched()

    # How it works

    def _run(self, call: Callable[[Any], None] | None = None, argument: object = None) -> None:
        if self.running or self.state is None:
            return
        self.running = True
        try:
            if self.first_wait is None:
                if self.first_place is None:
                    self._step(self._open, None)
                self.first_place, self.first_wait = place_of(self.state), shared(self.wait)
            if call is not None and self.state is not None:
                call(argument)
            self._loop(self.driver.turns, self.handler.low_water if self.blocked else self.handler.high_water)
        except BaseException as error:
            self._broke(error)
            raise
        finally:
            self.running = False
            self._trim()

    def _broke(self, error: BaseException) -> None:
        """The handler has raised ``error``."""
        try:
            self._end(error)
        finally:
            self.driver.touched()

    def _rest(self) -> None:
        """The turn is over: other rows go first, even if more input is held."""
        self.blocked = True
        self.driver.rest()

    def _trim(self) -> None:
        """Drop the input that waits have taken. A `DatagramMachine` has nothing to drop."""

    def _open(self, _: None) -> object:
        expect_nothing(self.handler.setup, type(self.handler))
        self.first_place = NOTHING  # from here on finish() must be called
        self.state = self.handler.handle
        return self.handler.handle()

    def _loop(self, turns: int, mark: float) -> None:
        """Satisfy waits, one after another, for ``turns`` pieces at most (-1: no bound), up to ``mark`` of output."""
        barren, weigh = 0.0, self._weigh
        while (wait := self.wait) is not None:
            if self.outbox and weigh(self.outbox) > mark and not wait.relays:  # a relay makes no output here
                self.blocked = True
                return
            if self.blocked:
                mark = self.handler.high_water
                if not self._unblock(wait):
                    return
            try:
                result = self.take(wait)
            except Cause as cause:
                result = getattr(cause, "partial", None)
                self._deliver(cause)
            else:
                if result is NOTHING:
                    return
                self._step(self.state, result)
            if result or wait.is_progress:
                barren = 0
                turns -= 1
                if turns:
                    continue
                self._rest()
                return
            barren += 1 if result is not None else 0.01  # a handler may wait for the `Flushed` of many other rows
            if barren > _BARREN and self.wait is not None:
                raise RuntimeError(going_round(type(self.handler), self.state_name, self.wait))

    def _unblock(self, wait: Wait) -> bool:
        """Do what the machine was blocked for. Returns whether ``wait`` may be satisfied now."""
        if self.excess is not None:
            self._give_up(self.excess)
            return False
        if self.first_wait is None:
            self.first_place, self.first_wait = place_of(self.state), shared(wait)
        self.blocked = self.calls >= self.handler.max_calls
        return not (self.blocked and wait.reads)

    def take(self, wait: Wait) -> object:
        """The wait's result, or `NOTHING` if it is not satisfied yet. Raises the cause if it never will be."""
        if isinstance(wait, Sourced):
            return wait.source.take(self)
        if isinstance(wait, (FirstOf, Relayed)):
            return wait.take(self)
        if isinstance(wait, Flushed):
            target = self if wait.of is None else wait.of._machine
            if self.drained is wait:  # first: another request may have written to the target since it drained
                self.drained = None
                return None
            if target is not self:  # before the outbox is looked at: another thread may empty it
                target.follow(self, wait)
            if not target.outbox:
                target.unfollow(self)
                return None
            self.blocked = True
        elif isinstance(wait, Filtered):
            return self._put_in(wait)
        return NOTHING

    def _put_in(self, wait: Filtered) -> object:
        """Put in the filter that the request waits for, if all output from before has left. Returns as `take`."""
        raise NotImplementedError

    def notice(self) -> None:
        """There is something for this machine to take: have the driver call `advance`. From any thread."""
        self.blocked = True
        self.driver.touched()

    def follow(self, machine: Machine, wait: Wait) -> None:
        """Have ``wait`` of ``machine`` satisfied, and its driver told, when the output here has drained."""
        if self.followers is None:
            self.followers = {}
        self.followers[machine] = wait

    def unfollow(self, machine: Machine) -> None:
        """``machine`` does not wait for the output here any more."""
        if self.followers is not None:
            self.followers.pop(machine, None)

    def drop_output(self) -> None:
        """Drop the output: it can't be sent any more."""
        self.outbox = None
        self._drained()

    cut_output = drop_output  # packets are whole; of a stream, the peer may have a part

    def _drained(self) -> None:
        """Have the followers look at the output here again; if none is left, their waits are satisfied."""
        for machine in list(self.followers or ()):  # a copy: another thread may add one, which stays for the next call
            if not self.outbox:
                machine.drained = self.followers.pop(machine, None)  # type: ignore[union-attr]
            machine.driver.touched()

    def leave_wait(self) -> None:
        """The wait has ended, and this machine has not taken a result."""
        if self.wait is not None:
            self.wait.leave(self)

    def _step(self, call: Any, argument: object, reason: Cause | None = None) -> None:
        """Run a state and take the step that it returns; if that is ``None``, the request ends for ``reason``."""
        try:
            step = call(argument)
        except (StopIteration, Cause) as error:
            if reason is not None and isinstance(error, Cause):
                raise
            raised = error
        else:
            self._took(call, step, reason)
            return
        try:
            self._raised(call, raised, reason)
        finally:
            del raised  # its traceback refers to this frame

    def _raised(self, call: Any, raised: StopIteration | Cause, reason: Cause | None = None) -> None:
        """Take note that ``call`` has raised a cause, or is a coroutine that has returned."""
        if not isinstance(raised, StopIteration):
            self._step(self.handler.interrupted, raised, raised)
        elif is_of_coroutine(call):
            self._took(None, raised.value, reason)
        else:
            raise RuntimeError(f"{self._where(call)} raised StopIteration") from raised

    def _took(self, call: Any, step: Any, reason: Cause | None = None) -> None:
        """Take the step of ``call``: the wait from now on, and the state that gets its result."""
        if is_of_coroutine(call):
            if step.__class__ is self.wait.__class__ or isinstance(step, self.accepts):  # the first test is cheaper
                self.wait, self.fresh = step, True
                return
        elif step.__class__ is tuple and len(step) == 2 and callable(step[1]):
            wait, state = step
            if wait.__class__ is self.wait.__class__ or isinstance(wait, self.accepts):
                self.wait, self.state, self.fresh = wait, state, True
                return
        elif step is None:
            self._end(reason)
            return
        elif type(step) is CoroutineType:
            self.state = step.send
            self._step(self.state, None, reason)
            return
        raise TypeError(nonsense(step, call, self._where(call), type(self), self.accepts))

    def _answer(self, result: object) -> None:
        self.leave_wait()
        self._step(self.state, result)

    def _deliver(self, cause: Cause) -> None:
        self.leave_wait()
        coroutine = self._coroutine()
        if coroutine is None:
            self._step(self.handler.interrupted, cause, cause)
        else:
            self._step(coroutine.throw, cause)

    def _give_up(self, cause: Cause) -> None:
        self._deliver(cause)
        self._end(cause)

    def _end(self, reason: BaseException | None) -> None:
        """End the request: record the reason and call ``finish()``. Does nothing for a request that has ended."""
        if self.state is None:
            return
        Machine.leave_wait(self)  # not a stream's own: no search goes on, for the input is dropped
        coroutine, started = self._coroutine(), self.first_place is not None
        self.reason, self.wait = self.excess if reason is None else reason, None
        try:
            try:
                if coroutine is not None:
                    coroutine.close()
            finally:
                if started:
                    expect_nothing(self.handler.finish, type(self.handler))
        except BaseException as error:
            self.reason = error
            raise
        finally:
            self.state, self.inbox, self.fresh = None, None, True
            if self.followers:
                self._drained()

    def _coroutine(self) -> CoroutineType[Any, Any, Any] | None:
        return self.state.__self__ if is_of_coroutine(self.state) else None  # type: ignore[union-attr]

    def _where(self, call: object) -> str:
        name = getattr(call, "__name__", "")
        return f"{type(self.handler).__name__}.{name if name in ('interrupted', 'urgent') else self.state_name}"


_BEFORE = Flushed()  # what a request that has not started waits for
ANYWHERE: tuple[type[Wait], ...] = (Flushed, Delay, Outside, Sourced, FirstOf)
