"""The README is executed: its Python examples as doctests, its commands as commands."""

import doctest
import re
import subprocess
import sys

from tests import ROOT

README = ROOT / "README.md"


def test_the_examples_of_the_readme_give_what_it_says():
    result = doctest.testfile(str(README), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 20
    assert result.failed == 0


def test_every_file_that_the_readme_names_exists():
    named = re.findall(r"\]\(([\w./]+)\)", README.read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_handlers_that_the_readme_names_for_the_command_exist():
    named = set(re.findall(r"python3 -m reactor serve (\w[\w.]*:\w+)", README.read_text()))
    assert named
    for name in named:
        module, kind = name.split(":")
        script = f"import {module}; assert isinstance({module}.{kind}, type)"
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
