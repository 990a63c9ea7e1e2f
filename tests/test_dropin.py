"""``import reactor as socketserver``: CPython's own tests of that module run on this one.

They ship with CPython. Its servers of HTTP and XML-RPC are built on the module too, so their tests
run here as well: they are users who know nothing of this project.
"""

import inspect
import re
import socketserver
import subprocess
import sys
from pathlib import Path

import pytest

import reactor

ROOT = Path(__file__).resolve().parent.parent
RUN = """
import sys, unittest
import reactor
for name in reactor.__all__:  # test_all asks by this name which objects the module itself defines
    getattr(reactor, name).__module__ = "socketserver"
sys.modules["socketserver"] = reactor
unittest.main(__import__("test.{0}", fromlist=["test"]), argv=["{0}"])
"""


@pytest.mark.parametrize(("name", "at_least"), [("test_socketserver", 20), ("test_wsgiref", 20), ("test_xmlrpc", 20)])
def test_cpythons_own_tests_pass(name, at_least, tmp_path):
    pytest.importorskip(f"test.{name}", reason="this Python comes without its tests")
    script = RUN.format(name)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert int(re.findall(r"Ran (\d+) tests", report)[-1]) > at_least


def test_every_public_name_is_here():
    assert set(socketserver.__all__) <= set(reactor.__all__)


@pytest.mark.parametrize("name", socketserver.__all__)
def test_every_public_attribute_of_a_class_is_here(name):
    theirs, ours = getattr(socketserver, name), getattr(reactor, name)
    public = {attribute for attribute in dir(theirs) if not attribute.startswith("_")}
    assert public - set(dir(ours)) == set()
    for attribute in public:
        call = getattr(theirs, attribute)
        if inspect.isfunction(call):
            given = list(inspect.signature(call).parameters)
            taken = list(inspect.signature(getattr(ours, attribute)).parameters)
            assert taken[: len(given)] == given, attribute
        elif not callable(call):
            assert getattr(ours, attribute) == call, attribute
