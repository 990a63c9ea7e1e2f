"""The rooms of ``reactor.testing``: what imports what, and that a room never takes the place of a public name.

The imports are read from the source, so those inside functions and those for a type checker count too.
"""

import importlib
import itertools
import re
import subprocess
import sys
from functools import cache

import pytest

from tests import ROOT
from tests.support.imports import circle, imports, modules

PACKAGE = "reactor.testing"

MAY_IMPORT = {
    "peers": set(), "running": {"peers"}, "inputs": {"running"}, "costs": {"running", "inputs"},
    "reading": {"running"}, "check": {"running", "inputs", "costs", "reading", "peers"}, "kernel": {"peers"},
    "probe": {"running"}, "pytest": {"running", "kernel"},
}  # fmt: skip
"""The rooms, and the other rooms that each may import from."""


@cache
def graph():
    """What each module of the package imports of the package."""
    paths = modules("reactor/testing")
    return {
        name: imports(path.read_text(), name, path.name == "__init__.py", paths.keys()) for name, path in paths.items()
    }


def room(module):
    """The room that a module is in; empty for the package itself and for the module ``plugin``."""
    parts = module.removeprefix(PACKAGE).split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else ""


# The rooms


def test_there_are_these_rooms_and_the_name_of_the_plugin():
    folder = ROOT / "reactor" / "testing"
    assert {path.parent.name for path in folder.glob("*/__init__.py")} == MAY_IMPORT.keys()
    assert {path.name for path in folder.glob("*.py")} == {"__init__.py", "__main__.py", "plugin.py"}


@pytest.mark.slow
def test_a_room_imports_only_from_the_rooms_below_it():
    crossing = {
        (room(name), room(other)) for name, others in graph().items() for other in others if room(name) != room(other)
    }
    allowed = {(name, below) for name, others in MAY_IMPORT.items() for below in others}
    assert {pair for pair in crossing if pair[0]} == allowed


def test_no_circle_of_imports():
    edges = graph()
    assert len(edges) > 30
    assert sum(map(len, edges.values())) > 60
    assert circle(edges) is None
    assert circle(MAY_IMPORT) is None


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_the_map_of_a_room_lists_its_modules_in_the_order_of_their_imports(name):
    package = f"{PACKAGE}.{name}"
    listed = re.findall(r"^``(\w+)``  ", importlib.import_module(package).__doc__, re.MULTILINE)
    edges = {module.removeprefix(f"{package}."): others for module, others in graph().items() if room(module) == name}
    assert sorted(listed) == sorted(edges.keys() - {package})
    for place, module in enumerate(listed):
        below = {f"{package}.{other}" for other in listed[:place]}
        assert {other for other in edges[module] if room(other) == name} <= below, module


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from .other import name", {"p.room.other"}),
        ("from . import other", {"p.room.other"}),
        ("from ..far.thing import name", {"p.far.thing"}),
        ("from ..far import thing, name", {"p.far.thing"}),
        ("from .. import name", {"p"}),
        ("from ...elsewhere import name", set()),
        ("import p.far.thing", {"p.far.thing"}),
        ("def late():\n    from .other import name", {"p.room.other"}),
        ("if TYPE_CHECKING:\n    from .other import name", {"p.room.other"}),
        ("import pytest, json\nother = 'import p'", set()),
    ],
)
def test_the_reader_of_imports_finds_each_kind(source, found):
    known = {"p", "p.room", "p.room.other", "p.far", "p.far.thing"}
    assert imports(source, "p.room.module", False, known) == found


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


# Names

IMPORTS = (
    "from reactor.testing import check",
    "import reactor.testing.check",
    "from reactor.testing.check.told import answers",
)


CHECKED = """
import reactor.testing, sys, types
from reactor.testing import check as again
from reactor.testing.check import checking
assert type(sys.modules['reactor.testing.check']) is types.ModuleType
assert reactor.testing.check is again is checking.check
assert isinstance(again, types.FunctionType)
"""
IN_A_CHILD = """
import os, sys, hypothesis
for order in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        try:
            exec(order, {})
        except BaseException as error:
            os.write(2, f"{order}{error!r}".encode())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.slow
def test_check_is_the_function_whatever_is_imported_first():
    orders = ["\n".join(order) + CHECKED for order in itertools.permutations(IMPORTS)]
    subprocess.run([sys.executable, "-c", IN_A_CHILD, *orders], cwd=ROOT, check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import pytest", "import reactor.testing.pytest.plugin", "import reactor.testing"])
def test_the_room_named_pytest_does_not_hide_the_library(first):
    script = f"{first}\nimport reactor.testing.pytest.plugin, pytest\npytest.fixture"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
