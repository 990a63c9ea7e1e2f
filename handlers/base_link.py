"""`BaseLink`: what the links of streams (`link`) and of packets (`packet_link`) have in common.

A link runs a filter. It is a channel (see `handlers.channel`) for its driver, which is the row or the link in front of
it, and it is the driver of its inner channel, which is a machine or another link. This module has the stages of a
filter's life, and keeps what the filter or the handler raises until the filter's code has returned.
"""

from __future__ import annotations

from operator import attrgetter

from .causes import Cause, LimitPassed, TimedOut
from .waits import Opening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .wait import Wait

# The stages of a link's life, in this order; a link may skip any stage but `NEW`.
NEW = "new"
OPENING = "opening"
SERVING = "serving"
LEAVING = "leaving"  # the filter has called leave(); the link still holds input or wire bytes
GONE = "gone"  # out of the chain; a link that is still referred to passes every call on to its inner channel
FAILED = "failed"  # the filter can't go on; the wire bytes that it has put are still sent


def of(neighbour: str, name: str) -> Any:
    """A property that reads and sets ``name`` of the link's ``neighbour``, which is ``"driver"`` or ``"inner"``."""
    return property(
        attrgetter(f"{neighbour}.{name}"), lambda link, value: setattr(getattr(link, neighbour), name, value)
    )


class BaseLink:
    """What runs a filter, of streams or of packets."""

    __slots__ = (
        "_due", "_error", "_filter", "_fresh", "_held", "_opening", "_stage", "_step_due", "_wire", "driver", "inner",
    )  # fmt: skip
    passes = ""  # "streams" or "packets", for messages
    remedy = ""  # for messages: what to do when the handler is of the other kind
    refuses: type  # the base class of handlers of the other kind
    _no_input: Callable[[], Any]  # makes an empty `_held`
    _no_output: Callable[[], Any]  # makes an empty `_wire`
    _weigh: staticmethod[[Any], int]  # the bytes in `_held`

    def __init__(self, author: Any, inner: Any) -> None:
        self._filter = author
        if isinstance(inner.handler, self.refuses):
            kind = type(inner.handler).__name__
            raise TypeError(
                f"{self._name()} is a filter of {self.passes}, and can't be in front of {kind}: {self.remedy}"
            )
        self.inner = inner
        self.driver = inner.driver
        inner.driver = self
        self._stage = NEW
        self._opening: Opening  # the wait of the filter in the stage `OPENING`
        self._held = self._no_input()  # input for the inner channel
        self._wire = self._no_output()  # output for the driver
        self._step_due = False  # whether a costly step of the filter is queued
        self._due = False  # whether the driver must call `advance`
        self._fresh = False
        self._error: BaseException | None = None  # what `_settle` raises, after the filter's code has returned

    # What the filter says: see the verbs of `handlers.filter.BaseFilter`

    def open_until(self, what: str, timeout: float) -> None:
        self._require_closed("open_until")
        self._stage = OPENING
        self._opening = Opening(what, timeout)
        self._fresh = True

    def open(self) -> None:
        self._require_closed("open")
        self._stage = SERVING
        self._begin_inner()

    def ask_step(self) -> None:
        if not self._step_due:
            self._step_due = True
            if not self.driver.queue_step(self._step):
                self._do_step()

    def time_out(self) -> None:
        self.fail(TimedOut(self._opening))

    def fail(self, cause: Cause) -> None:
        self._give()  # the request gets what was delivered before the failure
        self._fail(cause)

    # What the driver asks: see `handlers.channel`

    handler, reason, excess = of("inner", "handler"), of("inner", "reason"), of("inner", "excess")
    begun, finished = of("inner", "begun"), of("inner", "finished")
    close, call_ended = of("inner", "close"), of("inner", "call_ended")

    @property
    def opening(self) -> bool:
        """Whether this filter or a filter behind it is opening."""
        return self._is_opening() or bool(self.inner.opening)

    @property
    def wait(self) -> Wait | None:
        """The wait of the request; while the filter is opening, the filter's `Opening`."""
        wait: Wait | None = self._opening if self._is_opening() else self.inner.wait
        return wait

    @property
    def state_name(self) -> str:
        """The name of the handler's state; while the filter is opening, the name of the filter."""
        return self._name() if self._is_opening() else str(self.inner.state_name)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of this filter and of the filters behind it."""
        labels: tuple[str, ...] = self.inner.labels
        return labels if self._stage is GONE else self._labels() + labels

    @property
    def patience(self) -> float:
        patience: float = self._opening.timeout if self._is_opening() else self.inner.patience
        return patience

    @property
    def fresh(self) -> bool:
        return self._fresh or bool(self.inner.fresh)

    @fresh.setter
    def fresh(self, fresh: bool) -> None:
        self._fresh = self.inner.fresh = fresh

    @property
    def blocked(self) -> bool:
        """Whether the driver must call `advance`."""
        if self._due or self._stage is NEW:
            return True
        return (self._stage is SERVING or self._is_open()) and bool(self.inner.blocked)

    @property
    def inbox(self) -> Any:
        return self.held_in

    @property
    def held_in(self) -> int:
        held: int = self._here + self.inner.held_in
        return held

    def resume(self, result: object) -> None:
        if self._is_open():
            self._let(self.inner.resume, result)
        self._settle()

    def interrupt(self, cause: Cause) -> None:
        """Tell the handler that its wait won't be satisfied. A filter that is opening fails."""
        if self._is_open():
            self._let(self.inner.interrupt, cause)
        else:
            self.fail(cause)
        self._settle()

    def expire(self) -> None:
        if self._is_opening():
            self._ask(self._filter.expired)
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
        self._drop_wire()
        self._fail(cause)
        self._settle()

    def forget(self, driver: Any) -> Any:
        """The driver does not use the request any more: leave the chain and drop the filter. See `Machine.forget`."""
        self.driver = driver
        del self._filter
        return self.inner.forget(driver)

    def drop_output(self) -> None:
        self._drop_wire()
        self.inner.drop_output()

    def cut_output(self) -> None:
        self._drop_wire()
        self.inner.cut_output()

    # What the inner channel asks: see `handlers.handler.Driver`

    # All these are the driver's own. A fact that a filter finds out, such as `secured`, is set on the driver.
    peer, principal, secured = of("driver", "peer"), of("driver", "principal"), of("driver", "secured")
    peer_certificate, alpn = of("driver", "peer_certificate"), of("driver", "alpn")
    proxy_header, left = of("driver", "proxy_header"), of("driver", "left")
    server, turns, plain = of("driver", "server"), of("driver", "turns"), of("driver", "plain")
    now, call, rest = of("driver", "now"), of("driver", "call"), of("driver", "rest")
    queue_step = of("driver", "queue_step")

    def touched(self) -> None:
        """The inner channel has something to do. `advance` does it: now, another request's state may be running."""
        self._due = True
        self.driver.touched()

    def replace(self, channel: Any, by: Any) -> None:
        if channel is self.inner:
            self.inner = by

    def channel_binding(self, kind: str) -> bytes | None:
        own = self._filter.channel_binding(kind) if self._stage is SERVING else None
        outer: bytes | None = own or self.driver.channel_binding(kind)
        return outer

    # How it works

    def _name(self) -> str:
        return str(self._filter.name or type(self._filter).__name__)

    def _labels(self) -> tuple[str, ...]:
        label = self._filter.label
        return (str(label),) if label else ()

    @property
    def _here(self) -> int:
        """Bytes of input that this link and its filter hold."""
        return self._weigh(self._held) + self._pending()

    def _pending(self) -> int:
        pending = int(self._filter.pending) if self._stage in (OPENING, SERVING) else 0
        return pending if pending and not self.finished else 0

    def _is_opening(self) -> bool:
        return self._stage is OPENING and not self.finished

    def _is_open(self) -> bool:
        return self._stage in (SERVING, LEAVING, GONE)

    def _can_give(self) -> bool:
        return self._is_open() and bool(self.inner.wants_input)

    def _can_deliver(self) -> bool:
        """Whether wire bytes may be given to the filter: it is opening, or the inner channel takes what it delivers.

        A filter whose step is queued takes no more input until the step is done: the step may open the filter, and an
        end of the input that comes behind it must not count as an end of the opening.
        """
        return not self._step_due if self._stage is OPENING else not self._held and self._can_give()

    def _step(self) -> None:
        """The reactor calls this when it is this row's turn to do a costly step."""
        self._do_step()
        self.driver.touched()  # so that a link in front of this one takes the output
        self._settle()

    def _do_step(self) -> None:
        self._step_due = False
        if self._stage in (OPENING, SERVING) and not self.finished:
            self._ask(self._filter.step)

    def _require_closed(self, verb: str) -> None:
        if self._stage not in (NEW, OPENING):
            raise RuntimeError(f"{self._name()}.{verb}() comes too late: the filter is {self._stage}")

    def _begin_inner(self) -> None:
        """The filter has opened: let the request begin."""
        self._let(self.inner.advance)

    def _begin_filter(self) -> None:
        self._ask(self._filter.begin)
        if self._stage is NEW:
            self._break(RuntimeError(f"{self._name()}.begin() has called none of open(), open_until() and leave()"))

    def _check_limit(self) -> None:
        limit, held = self._filter.limit, self._here
        if held > limit and not self.finished:
            what = f"{self._name()} holds {held} bytes that the request does not take, and its limit is {limit}"
            self.fail(LimitPassed(None, what=what))

    def _ask(self, method: Callable[..., None], *arguments: object) -> None:
        """Call a method of the filter."""
        try:
            method(*arguments)
        except BaseException as error:
            self._raised(error)

    def _raised(self, error: BaseException) -> None:
        """A method of the filter has raised ``error``."""
        if isinstance(error, Cause):
            self.fail(error)
        else:
            self._break(error)

    def _fail(self, cause: Cause) -> None:
        if self._stage is not GONE:
            self._stop()
        if not self.begun:
            self._let(self.inner.discard, cause)
        self._let(self.inner.lose, cause)

    def _break(self, error: BaseException) -> None:
        """The code of the filter has raised ``error``: the request ends, as if its handler had."""
        self._give()
        self._stop()
        self._let(self.inner.discard, error)
        self.inner.drop_output()  # the filter has told the peer of it, in its own words
        self._keep(error)
        self.driver.touched()

    def _let(self, call: Callable[..., object], *arguments: object) -> None:
        """Call a method of the inner channel, and keep what it raises: that must not pass through the filter's code."""
        try:
            call(*arguments)
        except BaseException as error:
            self._keep(error)

    def _keep(self, error: BaseException) -> None:
        if self._error is not None and error.__context__ is None:
            error.__context__ = self._error
        self._error = error

    def _stop(self) -> None:
        self._stage = FAILED
        self._held = self._no_input()

    def _drop_wire(self) -> None:
        self._wire = self._no_output()

    def _settle(self) -> None:
        """The end of each call of the driver: move input and output on, and raise what was kept."""
        if self.finished:
            self._held = self._no_input()
            if self._stage in (NEW, OPENING):  # the request's output must not leave through a filter that is not open
                self._stop()
                self.inner.drop_output()
        self._give()
        self._check_limit()
        self._move_on()
        if self._stage is LEAVING and not self._wire and (self.finished or not self._owes_input()):
            labels = self._labels()
            if labels:  # setting ``left`` costs the row memory
                self.driver.left += labels
            self._stage = GONE
            self.inner.driver = self.driver
            self.driver.replace(self, self.inner)
            del self._filter._link  # else both would wait for the garbage collector, with the row
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _owes_input(self) -> bool:
        """Whether the inner channel has not had all of its input, so that the link can't leave the chain."""
        return bool(self._held)

    def _give(self) -> None:
        """Feed the inner channel the input that is held, if it wants input."""
        raise NotImplementedError

    def _move_on(self) -> None:
        """Give the filter the next output of the inner channel."""
        raise NotImplementedError
