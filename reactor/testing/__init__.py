"""Tools to test protocol code, and the loop that runs it. No server needs any of them.

There are nine rooms. An arrow says which rooms a room may import; it may also import what these import::

    check  ->  costs, reading        costs  ->  inputs        inputs, reading, probe  ->  running
    pytest  ->  running, kernel      running, kernel  ->  peers

- ``peers``: the other end of a filter. A `Peer` speaks the protocol of a filter of your own; `tls` and `proxy` are the
  filters of this package with their peers.
- ``running``: a handler class runs without a network. `play` runs one schedule of what may happen to a request; `work`,
  `copied`, `held` and `line_limit` count what a handler costs and keeps.
- ``inputs``: what a client sends. The strategies (`chunkings`, `schedules`, `deliveries`, ...) draw schedules for
  property tests of your own; a `Conversation` has rules.
- ``costs``: the properties of work, such as `works_linearly`.
- ``check``: the other properties, and `check`, which tries everything that a network and a client may do.
- ``kernel``: the simulated kernel. A `World` runs unchanged servers in virtual time: hundreds of schedules a
  second, each with faults, each reproducible from its seed. An `Invariant` must hold after every step of the loop.
  `World.host` adds hosts, which crash, restart and are cut off from each other; `explore` finds the fewest faults that
  break a scenario. `chaotic` injects faults into real sockets.
- ``reading``: a handler class as its source has it. `written` and `observed` list its states and steps, `lint`
  returns warnings.
- ``probe``: any server in any language, from outside: ``python3 -m reactor.testing probe``.
- ``pytest``: the plugin (``reactor.testing.plugin``, the public name) with its fixtures, and `leaks_nothing`.

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

Import the names of ``__all__`` from this package; it imports each name on first use. `check`, the properties that
it tries and the strategies need Hypothesis (the extra ``testing``). The rest needs only the standard library.
The argument ``world`` of `check` is a `handlers.World`, which answers the questions of one handler. A `World` of
this package also has a network, clients and faults.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reactor.testing.check.bombs import bears_any_bomb
    from reactor.testing.check.process import leaves_the_process_as_it_was
    from reactor.testing.costs.matching import matches_in_time
    from reactor.testing.running.courses import slowdown
    from reactor.testing.running.memory import memory
    from reactor.testing.running.remaining import changed
    from reactor.testing.running.timing import seconds

    from .check.apart import leaves_nothing_behind
    from .check.bounds import stays_in_bounds
    from .check.causes import ends_if_it_drips, takes_causes_for_ends
    from .check.checking import check
    from .check.cuts import same_for_any_chunking, same_for_any_chunking_of_faults
    from .check.ends import ends_at_any_byte, survives_any_input
    from .check.headers import splits_no_answer, takes_names_in_any_case
    from .check.keys import has_a_key_for_any_packet
    from .check.lapses import answers_duplicates_once, forgives_timeouts
    from .check.lengths import takes_true_lengths_only
    from .check.limits import same_at_its_limits
    from .check.looping import answers_no_answer
    from .check.modes import same_in_every_mode
    from .check.nested import bears_any_nesting
    from .check.numbers import bears_any_number
    from .check.overlapping import bears_two_at_once
    from .check.refused import skips_what_it_refuses
    from .check.relatives import takes_exact_ends_only, takes_one_length_only, takes_plain_numbers_only
    from .check.repeated import stays_in_bounds_when_repeated
    from .check.statements import calls_nothing_that_blocks, drops_no_step
    from .check.through import ends_at_any_byte_of_the_wire, same_through_filters
    from .check.told import answers, answers_as_told
    from .costs.linear import works_linearly
    from .inputs.stateful import Conversation, rule
    from .inputs.strategies import chunkings, deliveries, mutations, packet_schedules, schedules
    from .kernel.chaos import chaotic
    from .kernel.events import Crash, Cut, Slow
    from .kernel.exploring import explore
    from .kernel.faults import Fault, fewest, plans
    from .kernel.invariants import INVARIANTS, Invariant, Violation
    from .kernel.world import World
    from .peers.header import proxy
    from .peers.peer import Peer, Through
    from .peers.tls import tls
    from .pytest.leaks import Leak, leaks_nothing
    from .reading.diagram import Diagram, observed, written
    from .reading.linter import lint
    from .running.calls import make_calls
    from .running.copying import copied
    from .running.counting import held, largest_number, line_limit
    from .running.drip import drip, trickle
    from .running.filtered import play_through
    from .running.loopback import ask
    from .running.recorded import Recording
    from .running.remaining import remains
    from .running.report import CheckFailed
    from .running.run import play
    from .running.schedule import END, RESET, Take
    from .running.working import work

_MODULES = {
    "check.apart": ("leaves_nothing_behind",),
    "check.bombs": ("bears_any_bomb",),
    "check.bounds": ("stays_in_bounds",),
    "check.causes": ("ends_if_it_drips", "takes_causes_for_ends"),
    "check.checking": ("check",),
    "check.cuts": ("same_for_any_chunking", "same_for_any_chunking_of_faults"),
    "check.ends": ("ends_at_any_byte", "survives_any_input"),
    "check.headers": ("splits_no_answer", "takes_names_in_any_case"),
    "check.keys": ("has_a_key_for_any_packet",),
    "check.lapses": ("answers_duplicates_once", "forgives_timeouts"),
    "check.lengths": ("takes_true_lengths_only",),
    "check.limits": ("same_at_its_limits",),
    "check.looping": ("answers_no_answer",),
    "check.modes": ("same_in_every_mode",),
    "check.nested": ("bears_any_nesting",),
    "check.numbers": ("bears_any_number",),
    "check.overlapping": ("bears_two_at_once",),
    "check.process": ("leaves_the_process_as_it_was",),
    "check.refused": ("skips_what_it_refuses",),
    "check.relatives": ("takes_exact_ends_only", "takes_one_length_only", "takes_plain_numbers_only"),
    "check.repeated": ("stays_in_bounds_when_repeated",),
    "check.statements": ("calls_nothing_that_blocks", "drops_no_step"),
    "check.through": ("ends_at_any_byte_of_the_wire", "same_through_filters"),
    "check.told": ("answers", "answers_as_told"),
    "costs.linear": ("works_linearly",),
    "costs.matching": ("matches_in_time",),
    "inputs.stateful": ("Conversation", "rule"),
    "inputs.strategies": ("chunkings", "deliveries", "mutations", "packet_schedules", "schedules"),
    "kernel.chaos": ("chaotic",),
    "kernel.events": ("Crash", "Cut", "Slow"),
    "kernel.exploring": ("explore",),
    "kernel.faults": ("Fault", "fewest", "plans"),
    "kernel.invariants": ("INVARIANTS", "Invariant", "Violation"),
    "kernel.world": ("World",),
    "peers.header": ("proxy",),
    "peers.peer": ("Peer", "Through"),
    "peers.tls": ("tls",),
    "pytest.leaks": ("Leak", "leaks_nothing"),
    "reading.diagram": ("Diagram", "observed", "written"),
    "reading.linter": ("lint",),
    "running.calls": ("make_calls",),
    "running.copying": ("copied",),
    "running.counting": ("held", "largest_number", "line_limit"),
    "running.courses": ("slowdown",),
    "running.drip": ("drip", "trickle"),
    "running.filtered": ("play_through",),
    "running.loopback": ("ask",),
    "running.memory": ("memory",),
    "running.recorded": ("Recording",),
    "running.remaining": ("changed", "remains"),
    "running.report": ("CheckFailed",),
    "running.run": ("play",),
    "running.schedule": ("END", "RESET", "Take"),
    "running.timing": ("seconds",),
    "running.working": ("work",),
}  # fmt: skip
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "END",
    "INVARIANTS",
    "RESET",
    "CheckFailed",
    "Conversation",
    "Crash",
    "Cut",
    "Diagram",
    "Fault",
    "Invariant",
    "Leak",
    "Peer",
    "Recording",
    "Slow",
    "Take",
    "Through",
    "Violation",
    "World",
    "answers",
    "answers_as_told",
    "answers_duplicates_once",
    "answers_no_answer",
    "ask",
    "bears_any_bomb",
    "bears_any_nesting",
    "bears_any_number",
    "bears_two_at_once",
    "calls_nothing_that_blocks",
    "changed",
    "chaotic",
    "check",
    "chunkings",
    "copied",
    "deliveries",
    "drip",
    "drops_no_step",
    "ends_at_any_byte",
    "ends_at_any_byte_of_the_wire",
    "ends_if_it_drips",
    "explore",
    "fewest",
    "forgives_timeouts",
    "has_a_key_for_any_packet",
    "held",
    "largest_number",
    "leaks_nothing",
    "leaves_nothing_behind",
    "leaves_the_process_as_it_was",
    "line_limit",
    "lint",
    "make_calls",
    "matches_in_time",
    "memory",
    "mutations",
    "observed",
    "packet_schedules",
    "plans",
    "play",
    "play_through",
    "proxy",
    "remains",
    "rule",
    "same_at_its_limits",
    "same_for_any_chunking",
    "same_for_any_chunking_of_faults",
    "same_in_every_mode",
    "same_through_filters",
    "schedules",
    "seconds",
    "skips_what_it_refuses",
    "slowdown",
    "splits_no_answer",
    "stays_in_bounds",
    "stays_in_bounds_when_repeated",
    "survives_any_input",
    "takes_causes_for_ends",
    "takes_exact_ends_only",
    "takes_names_in_any_case",
    "takes_one_length_only",
    "takes_plain_numbers_only",
    "takes_true_lengths_only",
    "tls",
    "trickle",
    "work",
    "works_linearly",
    "written",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """The class of this package: it keeps the function `check` although a room has the same name.

    When a submodule is imported for the first time, the import system sets it as an attribute of its package
    (Python reference, 5.4.2), so the room ``check`` would replace the function. This class ignores that assignment.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
