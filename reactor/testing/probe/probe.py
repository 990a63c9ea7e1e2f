"""Plays the trials of a probe, many connections at a time, and collects what is wrong."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ... import Reactor
from ..running.snippets import difference
from .exchange import Exchange
from .trials import Fault, Limits, Model, Property, Trial, properties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..running.recorded import Turn
    from .exchange import Step, Target

ENOUGH = 10
"""So many findings of a property are enough: its other trials are left out."""


class Unusable(Exception):
    """The server or the conversation can't be probed. The text is one line: what is wrong, and the remedy."""


class Finding(NamedTuple):
    """A trial that has failed: at which place of the conversation, and how."""

    place: str
    fault: Fault


class Outcome(NamedTuple):
    """A property, how many of its trials were made, and what they have found."""

    tried: Property
    made: int
    found: list[Finding]


class Result(NamedTuple):
    """What a probe has found, and the seconds that it took."""

    url: str
    outcomes: list[Outcome]
    seconds: float


def probe(
    target: Target, turns: Sequence[Turn], *, masks: Sequence[bytes] = (), limits: Limits | None = None,
    connections: int = 32, skipped: Sequence[str] = (),
) -> Result:  # fmt: skip
    """Probe a server with a conversation. ``skipped`` are names of properties. Raises `Unusable`."""
    limits = limits or Limits()
    begun = time.monotonic()
    with Reactor() as reactor:
        model = learn(reactor, target, turns, masks, limits)
        tried = [one for one in properties(model, limits, target.context is not None) if one.name not in skipped]
        outcomes = [Pool(reactor, target, one, limits, connections).play() for one in tried]
    return Result(target.url, outcomes, time.monotonic() - begun)


def learn(
    reactor: Reactor, target: Target, turns: Sequence[Turn], masks: Sequence[bytes], limits: Limits
) -> Model:  # fmt: skip
    """The conversation as this server answers it, from two runs. Raises `Unusable`."""
    model, again = (Model([turn.sent for turn in turns], masks) for _ in range(2))
    if not model.length:
        raise Unusable("the client sends nothing in this conversation: record one in which it does")
    for one in model, again:
        run = alone(reactor, target, one.learning(turns, limits), limits)
        if run.error:
            raise Unusable(f"{target.url}: {run.error}; start the server, and give a conversation that it answers")
        if not run.received:
            raise Unusable(
                f"{target.url} gives no answer in {limits.patience:g} s; give a conversation that it answers"
            )
        one.learn(run)
    if model.whole != again.whole:
        _, got, expected = difference(again.whole, model.whole)
        raise Unusable(f"two runs have different answers, {expected} and {got}: give --mask REGEX for what may differ")
    return model


def alone(reactor: Reactor, target: Target, steps: Sequence[Step], limits: Limits) -> Exchange:
    """A connection that has done the steps, with no other beside it."""
    over: list[Exchange] = []
    Exchange(reactor, target, steps, limits.patience, over.append)
    reactor.run_while(lambda: not over)
    return over[0]


class Pool:
    """Plays the trials of one property, with so many connections at a time; the last trial by itself."""

    def __init__(self, reactor: Reactor, target: Target, tried: Property, limits: Limits, connections: int) -> None:
        self._reactor = reactor
        self._target = target
        self._tried = tried
        self._patience = limits.patience
        self._connections = connections
        self._waiting = deque(tried.trials)
        self._open = 0
        self._found: list[Finding] = []
        self._made = 0

    def play(self) -> Outcome:
        """Play the trials until enough is found."""
        self._begin()
        self._reactor.run_while(lambda: bool(self._open))
        return Outcome(self._tried, self._made, self._found)

    def _begin(self) -> None:
        """Open connections up to the bound."""
        while self._waiting and len(self._found) < ENOUGH and self._open < self._connections:
            if len(self._waiting) == 1 and self._open:
                break  # the last trial may look at what the others have left behind
            self._open += 1
            self._start(self._waiting.popleft())

    def _start(self, trial: Trial) -> None:
        def over(run: Exchange) -> None:
            self._open -= 1
            self._made += 1
            fault = trial.fault(run)
            if fault is not None:
                self._found.append(Finding(trial.place, fault))
            self._reactor.call_soon(self._begin)

        Exchange(self._reactor, self._target, trial.steps, self._patience, over)
