"""What runs a filter: a link of the chain between a row and a machine.

It is a channel (see `handlers.channel`) for its driver, which is the row or the link in front of it, and it is the
driver of its inner channel, which is a machine or another link. It keeps three promises for every filter:

- It takes no more input than the inner channel wants, and than the filter's ``limit`` allows to hold.
- Output counts as sent only when the driver has taken the wire bytes that have become of it. So it takes a window of
  the inner channel's output at a time, and leaves it there until then: `Flushed`, the water marks and ``max_output``
  are right without knowing of filters.
- The code of the filter runs only in calls of the driver, never in the state of another request.
"""

from __future__ import annotations

from operator import attrgetter

from .channel import ENDED, ENDING, OPEN
from .waits import Cause, EndOfStream, LimitPassed, Opening, TimedOut
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .channel import StreamChannel
    from .filter import Filter
    from .handler import StreamDriver
    from .waits import Filtered, Wait

WINDOW = 65_536
"""Bytes of the inner channel's output that are under way at a time (64 KiB), unless a filter says less."""

# The stages of a link's life, in this order; all but `_NEW` may be left out.
_NEW = "new"
_OPENING = "opening"
_SERVING = "serving"
_LEAVING = "leaving"  # the filter has left; the link goes when what it holds has been taken, on both sides
_GONE = "gone"  # out of the chain: whoever still has a reference to it finds the inner channel through it
_FAILED = "failed"  # the filter can't go on; its wire bytes still leave


def _of(neighbour: str, name: str) -> Any:
    """An attribute, or a method, that a link has from its driver or from its inner channel."""
    return property(
        attrgetter(f"{neighbour}.{name}"), lambda link, value: setattr(getattr(link, neighbour), name, value)
    )


class Link:
    """A `StreamChannel`, and a `StreamDriver` for its inner channel. Made by `Filter`."""

    __slots__ = (
        "_again", "_due", "_end_due", "_ended", "_error", "_filter", "_fresh", "_held", "_opening", "_output",
        "_put_in", "_stage", "_step_due", "_wire", "driver", "inner",
    )  # fmt: skip

    def __init__(self, author: Filter, inner: StreamChannel) -> None:
        self.inner = inner
        self.driver: StreamDriver = inner.driver
        inner.driver = self
        self._filter = author
        self._stage = _NEW
        self._opening: Opening  # what the filter waits for, in `_OPENING`
        self._put_in: Filtered | None = None  # the wait that has put it in, until it is open
        self._held = bytearray()  # input for the inner channel; of a new link, for the filter
        self._step_due = False  # whether the filter has a costly step to do
        self._again = False  # whether the filter has more to deliver
        self._ended = False  # whether the wire has ended
        self._end_due = False  # whether the inner channel is to be told that there is no more input
        self._wire = Wire()  # output for the driver
        self._output = inner.output
        self._due = False  # whether there is something to do in `advance`
        self._fresh = False
        self._error: BaseException | None = None  # what is raised when the code of the filter has returned

    # What the filter says: see the verbs of `Filter`

    def open_until(self, what: str, timeout: float) -> None:
        self._require_closed("open_until")
        self._stage = _OPENING
        self._opening = Opening(what, timeout)
        self._fresh = True

    def open(self) -> None:
        self._require_closed("open")
        self._stage = _SERVING
        put_in, self._put_in = self._put_in, None
        if put_in is None:
            self._let(self.inner.advance)
        else:
            self._let(self.inner.resume, None)

    def deliver(self, data: bytes | bytearray | memoryview) -> None:
        if not self.finished and not self._end_due and not self.inner.ended:
            self._held += data
            if len(self._held) > self._filter.limit:
                self._give()
                self._check_limit()

    def deliver_end(self) -> None:
        self._end_due = True

    def again(self) -> None:
        self._again = True

    def ask_step(self) -> None:
        if not self._step_due:
            self._step_due = True
            if not self.driver.queue_step(self._step):
                self._do_step()

    def put(self, data: bytes | bytearray | memoryview) -> None:
        if self._output is not ENDED:
            self._wire.put(data)

    def fail(self, cause: Cause) -> None:
        self._give()  # what was right before comes first
        self._fail(cause)

    def leave(self, rest: bytes) -> None:
        if self._stage in (_NEW, _OPENING):
            self.open()
        if self._is_open():
            self._stage = _LEAVING
            self._held += rest

    # What the driver asks: see `handlers.channel`

    handler, reason, excess = _of("inner", "handler"), _of("inner", "reason"), _of("inner", "excess")
    begun, finished = _of("inner", "begun"), _of("inner", "finished")
    close, call_ended = _of("inner", "close"), _of("inner", "call_ended")

    @property
    def opening(self) -> bool:
        """Whether the filter opens, or one behind it does."""
        return self._is_opening() or self.inner.opening

    @property
    def wait(self) -> Wait | None:
        """What the request waits for; `Opening` while the filter opens."""
        return self._opening if self._is_opening() else self.inner.wait

    @property
    def state_name(self) -> str:
        """The name of the handler's state; of the filter while that opens."""
        return self._name() if self._is_opening() else self.inner.state_name

    @property
    def patience(self) -> float:
        return self._opening.timeout if self._is_opening() else self.inner.patience

    @property
    def fresh(self) -> bool:
        return self._fresh or self.inner.fresh

    @fresh.setter
    def fresh(self, fresh: bool) -> None:
        self._fresh = self.inner.fresh = fresh

    @property
    def blocked(self) -> bool:
        """Whether the driver must `advance` it."""
        return self._stage is _NEW or self._due or (self._is_open() and self.inner.blocked)

    @property
    def ended(self) -> bool:
        return self.inner.ended if self._stage is _GONE else self._ended

    @property
    def wants_input(self) -> bool:
        """Whether the filter needs wire bytes to open, or the inner channel wants input and none is held for it."""
        if self._stage is _GONE:
            return self.inner.wants_input
        if self._ended or self._again or self.finished or len(self._wire) > self.handler.high_water:
            return False
        return self._can_deliver()

    @property
    def inbox(self) -> Any:
        return self.held_in

    @property
    def held_in(self) -> int:
        return len(self._held) + self._pending() + self.inner.held_in

    @property
    def outbox(self) -> Any:
        return self.inner.outbox if self._stage is _GONE else self._wire.bytes

    @property
    def held_out(self) -> int:
        """Bytes of output held here and behind; those under way count once, as wire bytes."""
        return len(self._wire) + self.inner.held_out - self._wire.window

    @property
    def complete(self) -> bool:
        """Whether the wire bytes are all that is left to send: the last words of the filter are among them."""
        if self._stage is _GONE:
            return self.inner.complete
        return self._output is not OPEN and self._stage is not _LEAVING

    @property
    def output(self) -> str:
        return self.inner.output if self._stage is _GONE else self._output

    def advance(self) -> None:
        """Go on as far as input and output allow; the first call starts the filter."""
        self._due = False
        self._begin()
        if self._is_open() and self.inner.blocked:
            self._let(self.inner.advance)
        if self._again and self._can_deliver():
            self._again = False
            self._ask(self._filter.received, b"")
        self._settle()

    def feed(self, data: bytes) -> None:
        self._begin()
        self._receive(data)
        self._settle()

    def end(self) -> None:
        self._begin()
        self._receive_end()
        self._settle()

    def urgent(self, data: bytes, before: bytes = b"") -> None:
        """Take ``before``, then urgent ``data``: see `Filter.transparent`."""
        self._begin()
        self._receive(before)
        place = len(self._held)
        self._receive(data)
        is_transparent = self._filter.transparent and not self._pending()
        urgent = bytes(self._held[place:])
        if urgent and self._is_open() and (is_transparent or self._stage is not _SERVING):
            held, self._held = bytes(self._held[:place]), bytearray()
            self._let(self.inner.urgent, urgent, held)
        self._settle()

    def sent(self, count: int) -> None:
        """The driver has taken the first ``count`` wire bytes."""
        if self._stage is _GONE:
            self.inner.sent(count)
        else:
            self.inner.sent(self._wire.take(count))
            self._due = True

    def read(self, limit: int | None = None) -> bytes:
        """Hand out the wire bytes (at most ``limit``), as if the kernel had taken them; go on."""
        if self._stage is _GONE:
            return self.inner.read(limit)
        while self._due:
            self.advance()
        data = bytes(self._wire.bytes[:limit]) if self._wire.bytes else b""
        self.sent(len(data))
        while self._due:
            self.advance()
        return data

    def end_output(self) -> None:
        self._output = ENDED
        self.inner.end_output()

    def resume(self, result: object) -> None:
        if self._is_open():
            self._let(self.inner.resume, result)
        self._settle()

    def interrupt(self, cause: Cause) -> None:
        """Tell the handler that its wait won't be satisfied. A filter that opens fails."""
        if self._is_open():
            self._let(self.inner.interrupt, cause)
        else:
            self.fail(cause)
        self._settle()

    def expire(self) -> None:
        if self._is_opening():
            self.fail(TimedOut(self._opening))
        else:
            self._let(self.inner.expire)
        self._settle()

    def abandon(self, cause: Cause) -> None:
        self._let(self.inner.abandon if self.begun else self.inner.discard, cause)
        self._settle()

    def discard(self, cause: BaseException) -> None:
        self._let(self.inner.discard, cause)
        self._settle()

    def lose(self, cause: Cause) -> None:
        self._wire = Wire()
        self._fail(cause)
        self._settle()

    def forget(self, driver: StreamDriver) -> StreamChannel:
        """The driver has let go of the request: go out of the chain, and let go of the filter."""
        self.driver = driver
        del self._filter
        return self.inner.forget(driver)

    def drop_output(self) -> None:
        self._wire = Wire()
        self.inner.drop_output()

    # What the inner channel asks: see `handlers.handler.StreamDriver`

    # What the driver answers, it answers for all that are behind it. Facts that a filter finds out are set there too.
    peer, principal, secured = _of("driver", "peer"), _of("driver", "principal"), _of("driver", "secured")
    server, turns, socket = _of("driver", "server"), _of("driver", "turns"), _of("driver", "socket")
    credentials, descriptors = _of("driver", "credentials"), _of("driver", "descriptors")
    pass_on = _of("driver", "pass_on")
    now, call, rest = _of("driver", "now"), _of("driver", "call"), _of("driver", "rest")
    queue_step = _of("driver", "queue_step")

    def touched(self) -> None:
        """The inner channel has something to do: it is done in `advance`, for this may be another request's state."""
        self._due = True
        self.driver.touched()

    def replace(self, channel: StreamChannel, by: StreamChannel) -> None:
        if channel is self.inner:
            self.inner = by

    @property
    def ahead(self) -> int:
        """Bytes of input that are held, in this link and in those in front of it, for the inner channel."""
        held = len(self._held) + self._pending()
        return held + self.driver.ahead if isinstance(self.driver, Link) else held

    def is_put_in_by(self, wait: Filtered) -> bool:
        """Whether it opens for a request that waits for that with ``wait``."""
        return self._put_in is wait

    def put_in(self, wait: Filtered, held: bytes, ended: bool) -> None:
        """Begin with ``held`` as the first wire bytes, and with their end if it has come; resume ``wait`` when open."""
        self._put_in = wait
        self._held += held
        self._ended = ended

    # How it works

    def _name(self) -> str:
        return self._filter.name or type(self._filter).__name__

    def _pending(self) -> int:
        return self._filter.pending if self._stage in (_OPENING, _SERVING) and not self.finished else 0

    def _is_opening(self) -> bool:
        return self._stage is _OPENING and not self.finished

    def _is_open(self) -> bool:
        return self._stage in (_SERVING, _LEAVING, _GONE)

    def _can_give(self) -> bool:
        return self._is_open() and self.inner.wants_input

    def _can_deliver(self) -> bool:
        """Whether the inner channel would take what the filter delivers, or the filter opens."""
        return self._stage is _OPENING or (not self._held and self._can_give())

    def _step(self) -> None:
        """It is the turn of this row for a costly step."""
        self._do_step()
        self._settle()

    def _do_step(self) -> None:
        self._step_due = False
        if self._stage in (_OPENING, _SERVING) and not self.finished:
            self._ask(self._filter.step)

    def _require_closed(self, verb: str) -> None:
        if self._stage not in (_NEW, _OPENING):
            raise RuntimeError(f"{self._name()}.{verb}() comes too late: the filter is {self._stage}")

    def _begin(self) -> None:
        """Start the filter, if that has not been done; it may have been put in with input from before."""
        if self._stage is not _NEW or self.finished:
            return
        early, self._held = bytes(self._held), bytearray()
        ended, self._ended = self._ended, False
        self._ask(self._filter.begin)
        if self._stage is _NEW:
            self._break(RuntimeError(f"{self._name()}.begin() has called none of open(), open_until() and leave()"))
        self._receive(early)
        if ended:
            self._receive_end()

    def _receive(self, data: bytes) -> None:
        if not data or self.finished:
            return
        if self._stage is _GONE:
            self._let(self.inner.feed, data)
        elif self._stage is _LEAVING:
            self._held += data
        else:
            self._ask(self._filter.received, data)

    def _receive_end(self) -> None:
        if self._stage is _GONE:
            self._let(self.inner.end)
        elif not self._ended:
            self._ended = True
            if self._stage is not _LEAVING and not self.finished:
                self._ask(self._filter.input_ended)
            if self._is_opening():
                self.fail(EndOfStream())

    def _check_limit(self) -> None:
        limit = self._filter.limit
        held = len(self._held) + self._pending()
        if held > limit and not self.finished:
            what = f"{self._name()} holds {held} bytes that the request does not take, and its limit is {limit}"
            self.fail(LimitPassed(None, what=what))

    def _ask(self, method: Callable[..., None], *arguments: object) -> None:
        """Call a method of the filter."""
        try:
            method(*arguments)
        except Cause as cause:
            self.fail(cause)
        except BaseException as error:
            self._break(error)

    def _fail(self, cause: Cause) -> None:
        if self._stage is not _GONE:
            self._stop()
        if not self.begun:
            self._let(self.inner.discard, cause)
        self._let(self.inner.lose, cause)

    def _break(self, error: BaseException) -> None:
        """The code of the filter has raised ``error``: the request ends, as if its handler had."""
        self._give()
        self._stop()
        self._let(self.inner.discard, error)
        self.inner.drop_output()
        self._keep(error)
        self.driver.touched()

    def _let(self, call: Callable[..., None], *arguments: object) -> None:
        """Let the inner channel go on. What it raises does not pass through the code of the filter."""
        try:
            call(*arguments)
        except BaseException as error:
            self._keep(error)

    def _keep(self, error: BaseException) -> None:
        if self._error is not None and error.__context__ is None:
            error.__context__ = self._error
        self._error = error

    def _stop(self) -> None:
        self._stage = _FAILED
        self._held.clear()
        self._wire.forget_window()
        if self._output is OPEN:
            self._output = ENDING

    def _settle(self) -> None:
        """After each call of the driver: move input and output on, and raise what has been raised."""
        if self.finished:
            self._held.clear()
            if self._stage in (_NEW, _OPENING):  # nothing of its output may leave before the filter is open
                self._stop()
                self.inner.drop_output()
        self._give()
        self._check_limit()
        if self._again and self._can_deliver():
            self.touched()  # others have their turn before it goes on
        if self._stage is _SERVING:
            self._flow()
        if self._stage is _LEAVING and not self._wire and (self.finished or not (self._held or self._end_due)):
            self._stage = _GONE
            self.inner.driver = self.driver
            self.driver.replace(self, self.inner)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _give(self) -> None:
        """Give the inner channel the input that is held for it, if it wants some, and then the end of the input."""
        if self._stage is _LEAVING and self._ended and not self.inner.ended:
            self._end_due = True
        if self._held and self._can_give():
            held, self._held = bytes(self._held), bytearray()
            self._let(self.inner.feed, held)
        if self._end_due and not self._held and self._can_give():
            self._end_due = False
            self._let(self.inner.end)

    def _flow(self) -> None:
        """Put the next window of output on the wire, and the last words behind the last one."""
        inner = self.inner
        if inner.outbox and not self._wire.window:
            with memoryview(inner.outbox) as view:
                data = bytes(view[: self._filter.window])
            self._ask(self._filter.flow, data)
            if self._stage is _FAILED:
                return
            self._wire.close_window(len(data))
            if not self._wire:  # nothing has come of it; others have their turn before the next window
                self.sent(0)
                self.driver.touched()
        # A machine that has finished has no more output; a link has none when it says so, after its last words.
        is_last = inner.output is not OPEN or (inner.finished and not isinstance(inner, Link))
        if (
            is_last
            and self._output is OPEN
            and self._wire.window == len(inner.outbox or b"")
            and self._stage is _SERVING
        ):
            self._output = ENDING
            self._ask(self._filter.farewell)
