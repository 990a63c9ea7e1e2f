"""What needs no client: deadlines, imports, and feeding a machine byte by byte.

``python3 -m tests.benchmarks.alone CASE NAME`` measures one of them once, and prints seconds of processor time;
without a name it prints those that can be measured here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from tests import ROOT
from tests.benchmarks.cases import Bound

DEADLINES = 100_000

LISTENER = "import reactor, handlers.services; reactor.SelectTCPServer(('127.0.0.1', 0), handlers.services.Echo)"
IMPORTS = {
    "`import selectors, socket`": "import selectors, socket",
    "`import reactor`": "import reactor",
    "`import reactor`, and a server that listens": LISTENER,
}
"""A server imports all that its handler may need before it serves. CPython 3.13 prints a traceback by a module that is
imported when the server begins to serve, which is not in these figures."""


class Alone(NamedTuple):
    """A case without a load; ``names`` are what is compared, with the module that each needs."""

    name: str
    title: str
    names: dict[str, str]
    bounds: tuple[Bound, ...] = ()


def measure_import(python: str, name: str) -> tuple[float, int]:
    """The seconds of processor time of an import in a fresh interpreter, and the pages of its resident memory."""
    script = (
        f"import os, sys, time; sys.path.insert(0, {str(ROOT)!r}); before = time.process_time(); {IMPORTS[name]}; "
        "print(time.process_time() - before, open('/proc/self/statm').read().split()[1])"
    )
    seconds, pages = subprocess.check_output([python, "-I", "-S", "-c", script], text=True).split()
    return float(seconds), int(pages)


# Deadlines: arm all, arm all again with other deadlines, cancel all. The loop goes round once after each.

Loop = tuple[Callable[[float], Any], Callable[[Any], object], Callable[[], object]]
"""What arms a deadline in so many seconds, what cancels it, and what lets the loop go round once."""


def nothing() -> None:
    """What would be called."""


def of_ours() -> Loop:
    from reactor import Reactor

    reactor = Reactor()
    return lambda seconds: reactor.call_later(seconds, nothing), lambda timer: timer.cancel(), lambda: reactor.step(0)


def of_asyncio(make: Callable[[], Any] | None = None) -> Loop:
    import asyncio

    loop = (make or asyncio.new_event_loop)()

    def turn() -> None:
        loop.call_soon(loop.stop)
        loop.run_forever()

    return lambda seconds: loop.call_later(seconds, nothing), lambda timer: timer.cancel(), turn


def of_uvloop() -> Loop:
    import uvloop

    return of_asyncio(uvloop.new_event_loop)


def of_twisted() -> Loop:
    from twisted.internet import reactor

    loop: Any = reactor
    return lambda seconds: loop.callLater(seconds, nothing), lambda timer: timer.cancel(), lambda: loop.iterate(0)


def of_gevent() -> Loop:
    import gevent

    hub: Any = gevent.get_hub()

    def arm(seconds: float) -> Any:
        timer = hub.loop.timer(seconds)
        timer.start(nothing)
        return timer

    return arm, lambda timer: timer.close(), lambda: gevent.sleep(0)


LOOPS = {"ours": of_ours, "asyncio": of_asyncio, "uvloop": of_uvloop, "twisted": of_twisted, "gevent": of_gevent}


def measure_deadlines(name: str) -> float:
    """Seconds for each deadline that is armed, armed again, and cancelled."""
    loop, _, count = name.partition(", ")
    number = int(count.replace(",", "") or DEADLINES)
    arm, cancel, turn = LOOPS[loop]()
    begun = time.process_time()
    timers = [arm(60 + number % 97) for number in range(number)]
    turn()
    for place, timer in enumerate(timers):
        cancel(timer)
        timers[place] = arm(90 + place % 89)
    turn()
    for timer in timers:
        cancel(timer)
    turn()
    return (time.process_time() - begun) / number


# Feeding

LENGTHS = {
    "32 KiB at once": (32_768, 32_768),
    "1 KiB, one byte at a time": (1_024, 1),
    "32 KiB, one byte at a time": (32_768, 1),
}
"""The length of a line, and of each piece of it."""


def measure_feeding(name: str) -> float:
    """Seconds for each byte of a line that is fed in pieces."""
    from handlers import StreamMachine
    from tests.benchmarks.peers.ours import LinesStates

    length, piece = LENGTHS[name]
    line = b"x" * (length - 1) + b"\n"
    pieces = [line[start : start + piece] for start in range(0, length, piece)]
    machines = [StreamMachine(LinesStates()) for _ in range(32_768 // length)]
    begun = time.process_time()
    for machine in machines:
        for each in pieces:
            machine.feed(each)
    spent = time.process_time() - begun
    assert all(machine.read() == line for machine in machines)
    return spent / 32_768


CASES = (
    Alone(
        "deadlines", f"a deadline of {DEADLINES:,}: arm, arm anew, cancel",
        {"ours": "reactor", "ours, 10,000": "reactor", **{name: name for name in list(LOOPS)[1:]}},
        (Bound("asyncio", 1.0, ("ours",)),),
    ),
    Alone(
        "imports", "an import", dict.fromkeys(IMPORTS, "reactor"),
        (Bound(next(iter(IMPORTS)), 1.5, (list(IMPORTS)[-1],)),),
    ),
    Alone("feeding", "feeding a line, for each byte", dict.fromkeys(LENGTHS, "handlers")),
)  # fmt: skip

MEASURES: dict[str, Callable[[str], float]] = {
    "deadlines": measure_deadlines,
    "imports": lambda name: measure_import(sys.executable, name)[0],
    "feeding": measure_feeding,
}


def measured(python: str, case: Alone, name: str) -> float:
    """One measurement in a process of its own."""
    command = [python, "-m", "tests.benchmarks.alone", case.name, name]
    return float(subprocess.check_output(command, cwd=ROOT, text=True))


def runnable(python: str, case: Alone) -> list[str]:
    """The names of a case whose module this Python has."""
    output = subprocess.check_output([python, "-m", "tests.benchmarks.alone", case.name], cwd=ROOT, text=True)
    return output.splitlines()


def main(name: str, measured: str = "") -> None:
    if measured:
        print(MEASURES[name](measured))
    else:
        (case,) = (case for case in CASES if case.name == name)
        print(*(each for each, module in case.names.items() if find_spec(module)), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
