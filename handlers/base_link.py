"""What the links of streams and of packets have in common: the stages of a filter, and what its code raises.

A link runs a filter. It is a channel (see `handlers.channel`) for its driver, which is the row or the link in front of
it, and it is the driver of its inner channel, which is a machine or another link.
"""

from __future__ import annotations

from operator import attrgetter

from .waits import Cause, LimitPassed, Opening, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .waits import Wait

# The stages of a link's life, in this order; all but `NEW` may be left out.
NEW = "new"
OPENING = "opening"
SERVING = "serving"
LEAVING = "leaving"  # the filter has left; the link goes when what it holds has been taken, on both sides
GONE = "gone"  # out of the chain: whoever still has a reference to it finds the inner channel through it
FAILED = "failed"  # the filter can't go on; what it has put still leaves


def of(neighbour: str, name: str) -> Any:
    """An attribute, or a method, that a link has from its driver or from its inner channel."""
    return property(
        attrgetter(f"{neighbour}.{name}"), lambda link, value: setattr(getattr(link, neighbour), name, value)
    )


class BaseLink:
    """What runs a filter, whatever passes through it."""

    __slots__ = (
        "_due", "_error", "_filter", "_fresh", "_held", "_opening", "_stage", "_step_due", "_wire", "driver", "inner",
    )  # fmt: skip
    passes = ""  # what passes through it, in words
    remedy = ""  # what to take instead in front of a handler of the other kind
    refuses: type  # handlers of the other kind
    _no_input: Callable[[], Any]  # makes what holds the input
    _no_output: Callable[[], Any]  # makes what holds the output
    _weigh: staticmethod[[Any], int]  # the bytes of input held

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
        self._opening: Opening  # what the filter waits for, in `OPENING`
        self._held = self._no_input()  # input for the inner channel
        self._wire = self._no_output()  # output for the driver
        self._step_due = False  # whether the filter has a costly step to do
        self._due = False  # whether there is something to do in `advance`
        self._fresh = False
        self._error: BaseException | None = None  # what is raised when the code of the filter has returned

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
        self._give()  # what was right before comes first
        self._fail(cause)

    # What the driver asks: see `handlers.channel`

    handler, reason, excess = of("inner", "handler"), of("inner", "reason"), of("inner", "excess")
    begun, finished = of("inner", "begun"), of("inner", "finished")
    close, call_ended = of("inner", "close"), of("inner", "call_ended")

    @property
    def opening(self) -> bool:
        """Whether the filter opens, or one behind it does."""
        return self._is_opening() or bool(self.inner.opening)

    @property
    def wait(self) -> Wait | None:
        """What the request waits for; `Opening` while the filter opens."""
        wait: Wait | None = self._opening if self._is_opening() else self.inner.wait
        return wait

    @property
    def state_name(self) -> str:
        """The name of the handler's state; of the filter while that opens."""
        return self._name() if self._is_opening() else str(self.inner.state_name)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of this filter and of those behind it."""
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
        """Whether the driver must `advance` it."""
        return self._stage is NEW or self._due or (self._is_open() and bool(self.inner.blocked))

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
        """Tell the handler that its wait won't be satisfied. A filter that opens fails."""
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
        """The driver has let go of the request: go out of the chain, and let go of the filter."""
        self.driver = driver
        del self._filter
        return self.inner.forget(driver)

    def drop_output(self) -> None:
        self._drop_wire()
        self.inner.drop_output()

    # What the inner channel asks: see `handlers.handler.Driver`

    # What the driver answers, it answers for all that are behind it. Facts that a filter finds out are set there too.
    peer, principal, secured = of("driver", "peer"), of("driver", "principal"), of("driver", "secured")
    peer_certificate, alpn = of("driver", "peer_certificate"), of("driver", "alpn")
    proxy_header, left = of("driver", "proxy_header"), of("driver", "left")
    server, turns = of("driver", "server"), of("driver", "turns")
    now, call, rest = of("driver", "now"), of("driver", "call"), of("driver", "rest")
    queue_step = of("driver", "queue_step")

    def touched(self) -> None:
        """The inner channel has something to do: it is done in `advance`, for this may be another request's state."""
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
        """Bytes of input that are held in this link."""
        return self._weigh(self._held) + self._pending()

    def _pending(self) -> int:
        return int(self._filter.pending) if self._stage in (OPENING, SERVING) and not self.finished else 0

    def _is_opening(self) -> bool:
        return self._stage is OPENING and not self.finished

    def _is_open(self) -> bool:
        return self._stage in (SERVING, LEAVING, GONE)

    def _can_give(self) -> bool:
        return self._is_open() and bool(self.inner.wants_input)

    def _can_deliver(self) -> bool:
        """Whether the inner channel would take what the filter delivers, or the filter opens.

        A filter that waits for its turn to do a step takes no more input until then: what has come may be all that it
        needs to open, and an end behind that is none of the opening.
        """
        return not self._step_due if self._stage is OPENING else not self._held and self._can_give()

    def _step(self) -> None:
        """It is the turn of this row for a costly step."""
        self._do_step()
        self.driver.touched()  # a link in front of this one does not know of it, and has to take the output
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
        except Cause as cause:
            self.fail(cause)
        except BaseException as error:
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
        self.inner.drop_output()
        self._keep(error)
        self.driver.touched()

    def _let(self, call: Callable[..., object], *arguments: object) -> None:
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
        self._stage = FAILED
        self._held = self._no_input()

    def _drop_wire(self) -> None:
        self._wire = self._no_output()

    def _settle(self) -> None:
        """After each call of the driver: move input and output on, and raise what has been raised."""
        if self.finished:
            self._held = self._no_input()
            if self._stage in (NEW, OPENING):  # nothing of its output may leave before the filter is open
                self._stop()
                self.inner.drop_output()
        self._give()
        self._check_limit()
        self._move_on()
        if self._stage is LEAVING and not self._wire and (self.finished or not self._owes_input()):
            labels = self._labels()
            if labels:  # else the driver would have to remember nothing
                self.driver.left += labels
            self._stage = GONE
            self.inner.driver = self.driver
            self.driver.replace(self, self.inner)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _owes_input(self) -> bool:
        """Whether there is more to give to the inner channel."""
        return bool(self._held)

    def _give(self) -> None:
        """Give the inner channel the input that is held for it, if it wants some."""
        raise NotImplementedError

    def _move_on(self) -> None:
        """Let the filter have the next output of the inner channel."""
        raise NotImplementedError
