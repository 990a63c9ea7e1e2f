"""What a docstring or a comment says is in a file of this project is not said of a file that has gone."""

import re

import pytest

from tests import ROOT

FROM = [ROOT / room for room in (".", "reactor", "reactor/testing", "handlers", "examples", "tests")]
NAMED = re.compile(r"(?<![\w./-])(?:\w+/)+\w+\.py\b")


def test_a_file_is_found_by_its_name():
    assert NAMED.findall("the selector (`loop/selecting.py`), not /usr/lib/this.py") == ["loop/selecting.py"]


@pytest.mark.parametrize("room", ["reactor", "handlers", "examples"])
def test_each_file_that_is_named_exists(room):
    gone = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in NAMED.findall(path.read_text())
        if not any((base / name).exists() for base in [*FROM, path.parent])
    ]
    assert gone == []
