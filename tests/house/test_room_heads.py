"""The docstring of each room names each module of the room, in backquotes."""

import ast
import re

import pytest

from tests import ROOT

HEADS = (ROOT / "handlers" / "__init__.py", *sorted((ROOT / "reactor").glob("*/__init__.py")))
ROOMS = [path.parent.relative_to(ROOT).as_posix() for path in HEADS]


def unnamed(head, modules):
    """The modules that the head's docstring does not name; ``selecting.Selector`` names ``selecting``."""
    named = set(re.findall(r"`+(?:reactor\.testing\.)?(\w+)", ast.get_docstring(ast.parse(head)) or ""))
    return set(modules) - named


def modules(folder):
    """The modules and rooms in the folder."""
    return {path.stem for path in folder.glob("[!_]*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}


@pytest.mark.parametrize("room", ROOMS)
def test_the_head_of_a_room_names_each_of_its_modules(room):
    assert modules(ROOT / room)
    assert unnamed((ROOT / room / "__init__.py").read_text(), modules(ROOT / room)) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_the_head_of_the_package_names_each_room(room):
    head = ast.get_docstring(ast.parse((ROOT / "reactor" / "__init__.py").read_text()))
    assert f"{room.removeprefix('reactor/')}/" in head


def test_a_module_that_is_not_named_is_found():
    assert unnamed('"""`loop` runs; `timers.Timer` is due; signals are not named so."""', {"loop", "timers"}) == set()
    assert unnamed('"""`loop` runs; signals."""', {"loop", "signals"}) == {"signals"}
