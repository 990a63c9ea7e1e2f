"""The rooms of `tests/`: each says what belongs in it, and no module imports a test module."""

import ast

import pytest

from tests import ROOT
from tests.support.sources import imported, sources

TESTS = ROOT / "tests"


def imported_tests(source, package):
    """The test modules, and the modules of fixtures, that the source imports."""
    return {
        name for name in imported(source, package)
        if name.startswith("tests.") and any(part == "conftest" or part.startswith("test_") for part in name.split("."))
    }  # fmt: skip


@pytest.mark.slow
def test_no_module_imports_a_test_module():
    files = sources("tests")
    assert len(files) > 100
    found = {path.relative_to(ROOT): imported_tests(path.read_text(), package) for path, package in files}
    assert {str(path): names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "package", "found"),
    [
        ("from tests.rows.test_output import Lines", "tests.table", {"test_output", "test_output.Lines"}),
        ("import tests.rows.test_output", "tests.table", {"test_output"}),
        ("def test():\n    from ..rows import test_output", "tests.table", {"test_output"}),
        ("from .conftest import place", "tests.rows", {"conftest", "conftest.place"}),
        ("from tests.support.bench import bench\nfrom test_output import Lines", "tests.rows", set()),
    ],
)
def test_imported_tests_are_found_and_no_others(source, package, found):
    assert imported_tests(source, package) == {f"tests.rows.{name}" for name in found}


def test_every_test_module_is_in_a_room():
    rooms = {path.parent.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    assert rooms >= {"handlers", "loop", "table", "rows", "servers", "modes", "monitor", "command", "testing/kernel"}
    assert not rooms & {".", "support"}


def test_every_room_says_in_one_line_what_belongs_in_it():
    rooms = {path.parent for path in TESTS.rglob("*.py")} - {TESTS}
    says = {room: ast.get_docstring(ast.parse((room / "__init__.py").read_text())) for room in rooms}
    assert len(says) > 15
    assert [room for room, line in says.items() if not line or "\n" in line] == []
