"""The parts in which the tests run have each module once, and what fails in a part is told."""

import os
import signal
import subprocess
import sys

import pytest

from tests import ROOT
from tests.parts import DEAR, SAME_EVERYWHERE, SIZE, Part, Runs, failed, fails_again, name_in, parts, parts_of_others
from tests.support.resources import children_of
from tests.support.serving import PATIENCE, wait_until

PART = Part(sys.executable, [], [])


def test_each_module_is_in_one_part():
    paths = sorted(path for part in parts() for path in part)
    modules = [str(module.relative_to(ROOT)) for module in (ROOT / "tests").rglob("test_*.py")]
    assert paths == sorted(["handlers", "reactor", *modules])
    assert max(map(len, parts())) <= SIZE


def test_another_python_runs_each_module_once_but_those_that_find_the_same():
    found = parts_of_others(["one", "two"])
    paths = {path for part in parts() for path in part}
    for python in "one", "two":
        given = [path for part in found if part.python == python for path in part.paths]
        assert len(given) == len(set(given))
        assert set(given) == {path for path in paths if not path.startswith(SAME_EVERYWHERE)}
    assert all(part.arguments == ["-m", "not slow"] for part in found)


def test_what_is_named_in_the_parts_is_there():
    assert [name for name in DEAR if not (ROOT / name).exists() and not (ROOT / "tests" / f"{name}.py").exists()] == []
    assert [path for path in SAME_EVERYWHERE if not (ROOT / path).exists()] == []


def test_the_failures_of_a_part_are_the_lines_at_its_end():
    said = "..F\n=== FAILURES ===\nE assert 0\n=== short test summary info ===\nFAILED a.py::b - assert 0\n1 failed"
    assert failed(said) == ["FAILED a.py::b - assert 0"]
    assert failed(f"{said}\nFAILED a.py::c\nERROR a.py::b - left a socket") == [
        "ERROR a.py::b - left a socket",
        "FAILED a.py::c",
    ]


def test_a_run_that_is_ended_ends_its_processes():
    command = [sys.executable, "-m", "tests.parts", "--at-once", "2", "-k", "no test has this name"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        wait_until(lambda: len(children_of(run.pid)) == 2)
        children = children_of(run.pid)
        os.kill(run.pid, signal.SIGTERM)
        assert run.wait(PATIENCE) == 128 + signal.SIGTERM
    wait_until(lambda: not any(os.path.exists(f"/proc/{child}") for child in children))


HANGS = """
import subprocess, sys

def test_hangs():
    subprocess.run([sys.executable, "-c", "import signal; signal.pause()"], check=True)

def test_runs():
    pass
"""


def test_a_part_that_waits_for_its_child_goes_on_without_it(tmp_path):
    path = tmp_path / "test_hanging.py"
    path.write_text(HANGS)
    status, said = Runs(longest=2.0).run(PART._replace(paths=[str(path)]))
    assert status == 1
    assert [name_in(failure).endswith("::test_hangs") for failure in failed(said)] == [True]
    assert "1 failed, 1 passed" in said


@pytest.mark.slow
@pytest.mark.parametrize("body", ["pass", "assert False"])
def test_a_failed_test_runs_again_alone_and_is_named_if_it_passes(body, tmp_path, capsys):
    module = tmp_path / "test_unsteady.py"
    module.write_text(f"def test_other():\n    assert False\n\n\ndef test_unsteady():\n    {body}\n")
    failure = f"FAILED {module}::test_unsteady - OSError: of the first run - really"
    assert fails_again(Runs(), PART, failure) == (body != "pass")
    said = capsys.readouterr().out
    assert (f"unsteady: {failure}" in said) == (body == "pass")


@pytest.mark.slow
def test_a_part_that_ended_without_a_word_fails_again():
    assert fails_again(Runs(), PART, "exit status -11: ")
