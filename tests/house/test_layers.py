"""The rooms of ``reactor`` are layers: a room imports only from rooms below it, and no modules import in a circle.

Imports inside functions count. Imports below ``if TYPE_CHECKING`` do not run, so they may go up; they are listed apart.
"""

from functools import cache

import pytest

from tests.support.imports import circle, modules, split_imports

LAYERS = ("handlers", "loop", "table", "rows", "servers", "modes", "monitor", "command", "testing")
"""The rooms, from the bottom up."""

TOP = {"reactor", "reactor.aliasing", "reactor.__main__"} | {
    f"reactor.{name}"
    for name in ("selecting", "access", "activation", "mac", "names", "tls", "dtls", "watchdog", "rpcbind")
}
"""The package's head and the thin public names, which may import anything."""


def layer(module):
    """The place of the module's room in `LAYERS`; above all of them for the top."""
    if module in TOP:
        return len(LAYERS)
    parts = module.split(".")
    return LAYERS.index("handlers" if parts[0] == "handlers" else parts[1])


@cache
def graphs():
    """What each module imports at run time, and what it imports for a type checker only."""
    paths = modules("handlers", "reactor")
    both = {
        name: split_imports(path.read_text(), name, path.name == "__init__.py", paths.keys())
        for name, path in paths.items()
    }
    return {name: pair[0] for name, pair in both.items()}, {name: pair[1] for name, pair in both.items()}


USERS = {"command", "testing"}
"""The rooms that use the public names of the package's head, as a user's program does. The head imports neither."""


def upward(edges):
    """The imports, as pairs, of a module in a higher room, without those of the head by the rooms in `USERS`."""
    return {
        (name, other) for name, others in edges.items() for other in others
        if layer(name) < layer(other) and not (other == "reactor" and LAYERS[layer(name)] in USERS)
    }  # fmt: skip


def test_the_head_imports_no_room_that_uses_it():
    edges, for_checkers = graphs()
    assert (
        not {LAYERS[layer(other)] for other in edges["reactor"] | for_checkers["reactor"] if other not in TOP} & USERS
    )


def test_every_module_is_in_a_room_or_at_the_top():
    assert {layer(name) for name in modules("handlers", "reactor")} == set(range(len(LAYERS) + 1))


def test_rooms_import_downward_only():
    edges, _ = graphs()
    assert sum(map(len, edges.values())) > 200
    assert upward(edges) == set()


def test_no_circle_of_modules_at_run_time():
    edges, _ = graphs()
    assert circle(edges) is None


def test_imports_for_a_checker_are_read_apart():
    edges, for_checkers = graphs()
    assert for_checkers["reactor"] >= {"reactor.servers.base", "reactor.modes.select"}
    assert not edges["reactor.table.table"] & for_checkers["reactor.table.table"]


@pytest.mark.parametrize(
    ("source", "pairs"),
    [
        ("from ..servers.base import BaseServer", {"reactor.servers.base"}),
        ("def late():\n    from ..servers import base", {"reactor.servers.base"}),
        ("from .. import selecting", {"reactor.selecting"}),
        ("from .. import TCPServer", {"reactor"}),
        ("import reactor.modes.select", {"reactor.modes.select"}),
        ("from ..handlers import waits\nfrom ..loop import timers\nfrom . import stream", set()),
        ("if TYPE_CHECKING:\n    from ..servers.base import BaseServer", set()),
    ],
)
def test_an_upward_import_is_found(source, pairs):
    at_run_time, _ = split_imports(source, "reactor.rows.made_up", False, modules("handlers", "reactor").keys())
    assert upward({"reactor.rows.made_up": at_run_time}) == {("reactor.rows.made_up", other) for other in pairs}


def test_the_alias_of_handlers_counts_as_handlers():
    known = modules("handlers", "reactor").keys()
    source = "from ..handlers import waits\nfrom reactor.handlers.link import x\nfrom ..handlers import Until"
    assert split_imports(source, "reactor.rows.x", False, known)[0] == {"handlers", "handlers.waits", "handlers.link"}


def test_a_circle_through_a_function_is_found():
    known = {"reactor.rows.a", "reactor.rows.b"}
    sources = {"reactor.rows.a": "from . import b", "reactor.rows.b": "def late():\n    from .a import name"}
    assert circle({name: split_imports(source, name, False, known)[0] for name, source in sources.items()})
    sources["reactor.rows.b"] = "if TYPE_CHECKING:\n    from .a import name"
    assert not circle({name: split_imports(source, name, False, known)[0] for name, source in sources.items()})
