"""``import reactor as socketserver``: CPython's own tests pass on it, and every name is there.

The tests ship with CPython. Its servers of HTTP, XML-RPC and logging are built on the module too, so their tests run
here as well.
"""

import http.server
import inspect
import os
import re
import socketserver
import subprocess
import sys
from wsgiref.simple_server import WSGIServer
from xmlrpc.server import SimpleXMLRPCServer

import pytest

import reactor
from tests import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are

RUN = """
import sys, unittest
import reactor
for name in reactor.__all__:  # test_all asks by this name which objects the module itself defines
    getattr(reactor, name).__module__ = "socketserver"
sys.modules["socketserver"] = reactor
unittest.main("test." + sys.argv.pop(1))
"""


# CPython's tests


@pytest.mark.slow
@pytest.mark.parametrize(("name", "at_least", "selection"), [
    ("test_socketserver", 20, ""),
    ("test_httpservers", 50, ""),
    ("test_wsgiref", 20, ""),
    ("test_docxmlrpc", 5, ""),
    ("test_xmlrpc", 20, "SimpleServer KeepaliveServer GzipServer FailingServer HeadersServer CGI"),
    ("test_logging", 10, "SocketHandlerTest.test_output DatagramHandler SysLogHandler HTTPHandler"),
])  # fmt: skip
def test_cpythons_own_tests_pass(name, at_least, selection, tmp_path):
    pytest.importorskip(f"test.{name}", reason="this Python comes without its tests")
    selected = [word for part in selection.split() for word in ("-k", part)]
    done = subprocess.run(
        [sys.executable, "-c", RUN, name, *selected], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert int(re.findall(r"Ran (\d+) tests", report)[-1]) > at_least


# The standard library's module, name by name


def attributes(kind):
    """The public attributes of a class of the standard library's module: hooks, methods, class variables."""
    return {name for base in kind.__mro__[:-1] for name in vars(base) if not name.startswith("_")}


STANDARD = [(name, getattr(socketserver, name)) for name in socketserver.__all__]
PUBLIC = [(name, attribute) for name, kind in STANDARD for attribute in sorted(attributes(kind))]


def test_every_public_name_of_socketserver_is_here():
    assert len(PUBLIC) > 200
    assert set(socketserver.__all__) <= set(reactor.__all__)
    assert all(hasattr(reactor, name) for name in reactor.__all__)


@pytest.mark.parametrize("name", socketserver.__all__)
def test_each_class_has_the_same_ancestors(name):
    theirs = [base.__name__ for base in getattr(socketserver, name).__mro__]
    ours = [base.__name__ for base in getattr(reactor, name).__mro__]
    assert [base for base in ours if base in theirs] == theirs


@pytest.mark.parametrize(("name", "attribute"), PUBLIC)
def test_every_public_attribute_is_here(name, attribute):
    theirs, ours = (getattr(getattr(module, name), attribute) for module in (socketserver, reactor))
    if inspect.isfunction(theirs):
        given, taken = (list(inspect.signature(call).parameters.values()) for call in (theirs, ours))
        shape = [(parameter.name, parameter.kind, parameter.default) for parameter in given]
        assert [(parameter.name, parameter.kind, parameter.default) for parameter in taken[: len(given)]] == shape
        assert all(parameter.default is not parameter.empty for parameter in taken[len(given) :])
    elif attribute == "max_packet_size":  # socketserver truncates packets
        assert ours > theirs
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", socketserver.__all__)
def test_each_class_takes_the_same_arguments(name):
    given, taken = (inspect.signature(getattr(module, name)).parameters for module in (socketserver, reactor))
    assert [*taken][: len(given)] == [*given]
    assert all(taken[extra].kind is inspect.Parameter.KEYWORD_ONLY for extra in [*taken][len(given) :])


@pytest.mark.parametrize("mixin", ["ThreadingMixIn", "ForkingMixIn", "SelectMixIn"])
@pytest.mark.parametrize("base", [http.server.HTTPServer, WSGIServer, SimpleXMLRPCServer])
def test_a_mixin_in_front_of_a_server_of_socketserver_is_refused_with_the_remedy(mixin, base):
    ours = getattr(reactor, mixin)
    remedy = f"derive from reactor.{mixin.removesuffix('MixIn')}TCPServer"
    for bases in ((ours, base), (base, ours), (type("Mine", (ours,), {}), base)):
        with pytest.raises(TypeError, match=f"and {base.__name__} is a server of socketserver: {remedy}"):
            type("Server", bases, {})
