"""`explore`: draws crashes, partitions, slow links and other faults, and prints the fewest that break a scenario.

The scenario runs with few hosts and clients first. Hypothesis draws what happens to them, and makes that smaller. The
world determines the rest, so a schedule breaks the scenario each time, or never.
"""

from __future__ import annotations

import sys
from itertools import permutations, product
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from .events import Crash, Cut, Slow
from .faults import RATES, Seeded, fewest
from .invariants import Violation
from .network import Stalled
from .world import HOST, World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from hypothesis.strategies import SearchStrategy

    from .events import Event
    from .faults import Fault

    Scenario: TypeAlias = Callable[[World, int, int], object]

LASTING = 1.0, 10.0, 100.0, 2000.0
"""Seconds that an event lasts. The last is longer than TCP's patience, and than that of most programs."""

_MOST = 6  # events: a failure that needs more is rarely found


class Schedule(NamedTuple):
    """What happens in one run of a scenario."""

    events: list[Event]
    seed: int | None
    """The seed of the faults; ``None`` for none."""


def explore(
    scenario: Scenario, *, hosts: tuple[int, int] = (1, 3), clients: tuple[int, int] = (1, 2), seconds: float = 10.0,
    faults: Sequence[str] = tuple(RATES), examples: int | None = None,
) -> None:  # fmt: skip
    """Run ``scenario(world, hosts, clients)`` with crashes, partitions, slow links and faults, until it fails.

    The scenario puts so many hosts and clients into the world, runs it, and raises an exception if something is wrong.
    It must make anew whatever it uses, so that one run depends on no other.

    - ``hosts``, ``clients``: the least and the most of each.
    - ``seconds``: the events begin so long after the world at most. They last for 1 to 2,000 seconds.
    - ``faults``: the kinds of `Fault` to inject; none with ``()``.
    - ``examples``: how many schedules are tried in all; by default as many as Hypothesis' profile says.

    Raises `Violation` with a test to be pasted, which runs the smallest schedule that was found to fail. Needs
    Hypothesis (the extra ``testing``).

    >>> from handlers import StreamHandler, Until
    >>> from reactor import SelectTCPServer
    >>> class Upper(StreamHandler):
    ...     async def handle(self):
    ...         self.send((await Until(b"\\n")).upper())
    >>> def upper(world, hosts, clients):
    ...     host = world.host(lambda host: host.serve(SelectTCPServer, (host.address, 7), Upper))
    ...     client = world.connect((host.address, 7)).wait(5).send(b"one\\n").expect(b"ONE\\n")
    ...     world.run()
    ...     assert client.received == b"ONE\\n"
    >>> explore(upper, faults=(), examples=50)
    Traceback (most recent call last):
    reactor.testing.kernel.invariants.Violation: upper fails with 1 fault, 1 client and 1 host: AssertionError
    <BLANKLINE>
    from reactor.testing import Crash, World
    <BLANKLINE>
    def test_upper_fails():
        with World([Crash(host=0, at=0.0, seconds=1.0)]) as world:
            upper(world, 1, 1)
    """
    from hypothesis import Phase, find, settings
    from hypothesis.errors import Flaky, NoSuchExample

    sizes = list(product(range(hosts[0], hosts[1] + 1), range(clients[0], clients[1] + 1)))
    profile = settings()
    chosen = settings(
        profile, max_examples=ceil((examples or profile.max_examples) / len(sizes)), database=None, deadline=None,
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    for size in sorted(sizes, key=sum):
        runs = Runs(scenario, size, {kind: RATES[kind] for kind in faults})
        try:
            found = find(schedules(runs.places, seconds, bool(faults)), runs.fails, settings=chosen)
        except NoSuchExample:
            continue
        except Flaky:
            raise Violation(f"{runs.name} does not do the same each time: make anew what it uses") from None
        raise runs.report(found)


def schedules(places: Sequence[int | str], seconds: float, faults: bool) -> SearchStrategy[Schedule]:
    """A Hypothesis strategy for schedules. It shrinks to few and early events that do not last long."""
    from hypothesis import strategies as st

    tenths = st.integers(0, int(10 * seconds)).map(lambda number: number / 10)
    lasting = st.sampled_from(LASTING)
    pairs = list(permutations(places, 2))
    hosts = [place for place in places if isinstance(place, int)]
    kinds: list[SearchStrategy[Event]] = []
    if hosts:
        ends = st.sampled_from(pairs)
        delays = st.sampled_from((0.1, 1.0, 10.0))
        kinds = [
            st.builds(Crash, st.sampled_from(hosts), tenths, lasting),
            st.builds(lambda both, *rest: Cut(*both, *rest), ends, tenths, lasting, st.booleans()),
            st.builds(lambda both, *rest: Slow(*both, *rest), ends, tenths, lasting, delays),
        ]
    events = st.lists(st.one_of(kinds), max_size=_MOST) if kinds else st.just([])
    return st.builds(Schedule, events, st.none() | st.integers(0, 1 << 16) if faults else st.none())


class Runs:
    """The runs of one scenario with so many hosts and clients. ``rates`` are those of the faults of a seed."""

    def __init__(self, scenario: Scenario, size: tuple[int, int], rates: Mapping[str, float]) -> None:
        self.name = getattr(scenario, "__name__", repr(scenario))
        self._scenario = scenario
        self._size = size
        self._rates = rates
        calm = World(trace=False)
        self._play(calm)
        self.places: list[int | str] = [*range(len(calm.hosts)), HOST]
        """The numbers of the scenario's hosts, as a run without faults shows, and the address of the clients."""

    def fails(self, schedule: Schedule) -> bool:
        """Whether the scenario raises an exception."""
        return self._run(schedule)[0] is not None

    def report(self, schedule: Schedule) -> Violation:
        """The failure of a schedule, made as small as can be, as an exception whose message has a test."""
        plan = fewest(self._run(schedule)[1], lambda plan: self._play(World(plan, trace=False)) is not None)
        error = self._play(World(plan, trace=False))
        name, (hosts, clients) = self.name, self._size
        sizes = f"{_number(len(plan), 'fault')}, {_number(clients, 'client')} and {_number(hosts, 'host')}"
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        module = getattr(self._scenario, "__module__", "")
        is_there = getattr(sys.modules.get(module), name, None) is self._scenario
        lines = [
            f"{name} fails with {sizes}: {said}",
            "",
            f"from reactor.testing import {', '.join(sorted({type(each).__name__ for each in plan} | {'World'}))}",
            *([f"from {module} import {name}"] if is_there else []),
            "",
            f"def test_{name}_fails():",
            f"    with World([{', '.join(map(repr, plan))}]) as world:",
            f"        {name}(world, {hosts}, {clients})",
        ]  # fmt: skip
        violation = Violation("\n".join(lines))
        violation.__cause__ = error
        return violation

    def _run(self, schedule: Schedule) -> tuple[BaseException | None, list[Event | Fault]]:
        """Run the scenario; what it raises, and all that has happened, as a list for `World`."""
        world = World(None if schedule.seed is None else Seeded(schedule.seed, self._rates), trace=False)
        for event in schedule.events:
            event.plan(world)
        return self._play(world), [*schedule.events, *world.plan.injected]

    def _play(self, world: World) -> BaseException | None:
        try:
            with world:
                self._scenario(world, *self._size)
        except (Exception, Stalled) as error:
            return error
        return None


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
