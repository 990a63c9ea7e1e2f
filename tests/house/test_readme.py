"""The README and the tour are executed: their Python examples as doctests, their commands as commands."""

import doctest
import re
import subprocess
import sys

import pytest

from tests import ROOT

README = ROOT / "README.md"
TOUR = ROOT / "examples" / "TOUR.md"


def test_the_examples_of_the_readme_and_of_the_tour_give_what_they_say():
    """The tour goes on with the names that the README has defined."""
    text = README.read_text() + TOUR.read_text()
    examples = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, "README.md and TOUR.md", None, 0)
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples)
    assert result.attempted > 20
    assert result.failed == 0


@pytest.mark.parametrize("file", [README, TOUR], ids=lambda file: file.name)
def test_every_file_that_a_document_names_exists(file):
    named = re.findall(r"\]\(([\w./]+)\)", file.read_text())
    assert named
    assert [name for name in named if not (file.parent / name).exists()] == []


def test_the_handlers_that_the_readme_names_for_the_command_exist():
    named = set(re.findall(r"python3 -m reactor serve (\w[\w.]*:\w+)", README.read_text()))
    assert named
    for name in named:
        module, kind = name.split(":")
        script = f"import {module}; assert isinstance({module}.{kind}, type)"
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
