"""Prove protocol code, and the loop that runs it: nothing here is needed to serve.

Four ways, each further from the code and nearer to the world. None needs the one before.

- `check` tries a handler class on everything that a network and a client may do, with no network at all.
- The strategies (`chunkings`, `schedules`, `deliveries`, …) draw what may happen to a conversation, and `play`
  makes it happen, for property tests of your own.
- A `World` runs the servers that serve in earnest over a simulated kernel and virtual time: hundreds of
  schedules a second, each with its faults, each the same again from its seed. What must be true after
  every step is an `Invariant`.
- `chaotic` cuts the reads and writes of real sockets short, to shake a server that runs.

And what a handler class looks like: `written` and `observed` list its states and steps, `lint` warns. The fixtures
for pytest are in `reactor.testing.plugin`.

>>> from handlers import StreamHandler, Until
>>> from reactor import SelectTCPServer
>>> from reactor.testing import World, check
>>> class Upper(StreamHandler):
...     async def handle(self):
...         while True:
...             self.send((await Until(b"\\n", limit=80)).upper())
>>> check(Upper, b"one\\ntwo\\n", b"ONE\\nTWO\\n")
>>> with World(4711) as world:
...     server = world.serve(SelectTCPServer, ("10.0.0.1", 7), Upper)
...     client = world.connect(("10.0.0.1", 7)).send(b"one\\n").expect(b"ONE\\n").shutdown()
...     world.run()

`check`, its properties and the strategies need Hypothesis (the extra ``testing``); the rest needs the
standard library alone. Each name is imported when it is first asked for. (The ``world`` that `check` takes is
a `handlers.World`, which only answers what one handler asks; a `World` here has a network, clients and faults.)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chaos import chaotic
    from .checks import (
        answers,
        check,
        ends_at_any_byte,
        leaves_nothing_behind,
        same_for_any_chunking,
        same_in_every_mode,
        stays_in_bounds,
        survives_any_input,
        works_linearly,
    )
    from .diagram import Diagram, observed, written
    from .evidence import CheckFailed
    from .faults import Fault, fewest, plans
    from .invariants import INVARIANTS, Invariant, Violation
    from .leaks import Leak, leaks_nothing
    from .linter import lint
    from .loopback import ask
    from .schedule import END, RESET, Take, play
    from .strategies import chunkings, deliveries, mutations, packet_schedules, schedules
    from .world import World

_ROOMS = {
    "chaos": ("chaotic",),
    "checks": (
        "answers", "check", "ends_at_any_byte", "leaves_nothing_behind", "same_for_any_chunking",
        "same_in_every_mode", "stays_in_bounds", "survives_any_input", "works_linearly",
    ),
    "diagram": ("Diagram", "observed", "written"),
    "evidence": ("CheckFailed",),
    "faults": ("Fault", "fewest", "plans"),
    "invariants": ("INVARIANTS", "Invariant", "Violation"),
    "leaks": ("Leak", "leaks_nothing"),
    "linter": ("lint",),
    "loopback": ("ask",),
    "schedule": ("END", "RESET", "Take", "play"),
    "strategies": ("chunkings", "deliveries", "mutations", "packet_schedules", "schedules"),
    "world": ("World",),
}  # fmt: skip
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "END",
    "INVARIANTS",
    "RESET",
    "CheckFailed",
    "Diagram",
    "Fault",
    "Invariant",
    "Leak",
    "Take",
    "Violation",
    "World",
    "answers",
    "ask",
    "chaotic",
    "check",
    "chunkings",
    "deliveries",
    "ends_at_any_byte",
    "fewest",
    "leaks_nothing",
    "leaves_nothing_behind",
    "lint",
    "mutations",
    "observed",
    "packet_schedules",
    "plans",
    "play",
    "same_for_any_chunking",
    "same_in_every_mode",
    "schedules",
    "stays_in_bounds",
    "survives_any_input",
    "works_linearly",
    "written",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
