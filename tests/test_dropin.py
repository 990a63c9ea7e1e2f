"""``import reactor as socketserver``: CPython's own tests run on it, and what users override works.

They ship with CPython. Its servers of HTTP, XML-RPC and logging are built on the module too, so
their tests run here as well: they are users who know nothing of this project.
"""

import inspect
import os
import re
import socketserver
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from select import select
from socket import SHUT_WR

import pytest

import reactor
from handlers import StreamHandler, StreamRequestHandler, Until
from handlers.services import Echo
from reactor import Reactor
from tests.serving import (
    MODES,
    STREAMS,
    Conversation,
    Reverse,
    Shout,
    ask,
    bounded,
    clients_of,
    connect,
    made,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # so is every test here
every_mode = pytest.mark.parametrize("mode", MODES)
TCP = STREAMS["tcp"]

ROOT = Path(__file__).resolve().parent.parent
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
    """What a class of the standard library's module defines: hooks, methods, class variables."""
    return {name for base in kind.__mro__[:-1] for name in vars(base) if not name.startswith("_")}


STANDARD = [(name, getattr(socketserver, name)) for name in socketserver.__all__]
PUBLIC = [(name, attribute) for name, kind in STANDARD for attribute in sorted(attributes(kind))]


def test_every_public_name_is_here():
    assert len(PUBLIC) > 200
    assert set(socketserver.__all__) <= set(reactor.__all__)
    assert all(hasattr(reactor, name) for name in reactor.__all__)


@pytest.mark.parametrize("name", socketserver.__all__)
def test_a_class_has_the_same_ancestors(name):
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
    elif attribute == "max_packet_size":  # theirs cuts packets off
        assert ours > theirs
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", socketserver.__all__)
def test_every_class_is_made_from_the_same_arguments(name):
    given, taken = (inspect.signature(getattr(module, name)).parameters for module in (socketserver, reactor))
    assert [*taken][: len(given)] == [*given]
    assert all(taken[extra].kind is inspect.Parameter.KEYWORD_ONLY for extra in [*taken][len(given) :])


# What users override


@contextmanager
def pool_of(workers):
    """A mix-in that has a pool of threads do the requests."""

    class Pool:
        def process_request(self, request, client_address):
            executor.submit(self.process_request_thread, request, client_address)

        def process_request_thread(self, request, client_address):
            try:
                self.finish_request(request, client_address)
            except Exception:
                self.handle_error(request, client_address)
            finally:
                self.shutdown_request(request)

    with ThreadPoolExecutor(workers) as executor:
        yield Pool


@pytest.mark.parametrize("mode", ["plain", "thread"])
@pytest.mark.parametrize(
    ("handler", "question", "answer"), [(Reverse, b"5:hello,", b"5:olleh,"), (Shout, b"hello\n", b"HELLO\n")]
)
def test_a_pool_of_threads(mode, handler, question, answer):
    with pool_of(3) as pool, serving(handler, mode, TCP, pool) as server, clients_of(server, 12) as clients:
        for client in clients:
            client.sendall(question)
            client.shutdown(SHUT_WR)
        assert [rest(client) for client in clients] == [answer] * 12
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("handler", [Reverse, Shout])
def test_a_request_that_a_pool_has_put_off_stays_in_the_table(handler):
    with pool_of(1) as pool, serving(handler, "plain", TCP, pool) as server, clients_of(server, 2) as clients:
        wait_until(lambda: len(server.reactor.table) == 2)  # one with the worker, one that waits for it
        assert [row.serial for row in server.reactor.table] == [1, 2]
        for client in clients:
            client.shutdown(SHUT_WR)
            assert rest(client) == b""
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_finish_request_may_pass_more_to_a_blocking_handler(mode):
    class Told(StreamRequestHandler):
        request = Until(b"\n")

        def __init__(self, *arguments, greeting):
            self.greeting = greeting
            super().__init__(*arguments)

        def handle(self):
            self.wfile.write(self.greeting + self.rfile.readline())

    def finish_request(self, request, client_address):
        self.RequestHandlerClass(request, client_address, self, greeting=b"dear ")

    with serving(Told, mode, finish_request=finish_request) as server:
        assert ask(server, b"ada\n") == b"dear ada\n"


@every_mode
def test_get_request_may_say_who_the_client_is(mode):
    class Who(StreamHandler):
        def handle(self):
            self.send(self.peer.encode())

    class Named:
        def get_request(self):
            request, _ = super().get_request()
            return request, "ada"

    with serving(Who, mode, TCP, Named) as server:
        assert ask(server) == b"ada"


@every_mode
@pytest.mark.parametrize(("own", "of_the_socket"), [(0.02, None), (None, 0.02), (0.02, 3_600), (3_600, 0.02)])
def test_handle_request_gives_up_and_says_so(mode, own, of_the_socket, journal):
    def handle_timeout(self):
        journal.write("timeout")

    with made(server_class(mode, TCP, timeout=own, handle_timeout=handle_timeout), TCP, Echo) as server:
        server.socket.settimeout(of_the_socket)
        bounded(server.handle_request)
        assert journal.lines() == ["timeout"]
        assert server.socket.gettimeout() == of_the_socket


@every_mode
@pytest.mark.parametrize("handler", [Reverse, Conversation])
def test_handle_request_handles_one(mode, handler):
    with made(server_class(mode, TCP), TCP, handler) as server, clients_of(server, 3) as clients:
        for client in clients:
            client.sendall(b"5:hello,")
            client.shutdown(SHUT_WR)
        for number, client in enumerate(clients):
            bounded(server.handle_request)
            assert rest(client) == b"5:olleh,"
            assert select(clients[number + 1 :], [], [], 0)[0] == []  # nobody else has had an answer


def test_handle_request_of_one_that_is_refused_waits_for_nobody():
    """Not even for a request that has been open since before."""
    loop = Reactor()
    kind = server_class("select", TCP, verify_request=lambda server, request, address: not server.reactor.table)
    try:
        with made(kind, TCP, Reverse, loop) as server, connect(server) as stalled:
            while not loop.table:
                loop.step()
            with connect(server) as refused:
                bounded(server.handle_request)
                assert rest(refused) == b""
                assert [row.peer for row in loop.table] == [stalled.getsockname()]
    finally:
        loop.close()


@every_mode
@pytest.mark.parametrize("owner", ["class", "instance"])
def test_service_actions_is_called_again_and_again(mode, owner, journal):
    kind = server_class(mode, TCP)
    if owner == "class":
        kind.service_actions = lambda server: journal.write("at your service")
    with made(kind, TCP, Echo) as server:
        if owner == "instance":
            server.service_actions = lambda: journal.write("at your service")
        with running(server, poll_interval=0.01):
            journal.wait_for(5)


@every_mode
@pytest.mark.parametrize(("handler", "question", "answer"), [
    (Reverse, b"5:hello,", b"5:olleh,"), (Shout, b"hello\n", b"HELLO\n")
])  # fmt: skip
def test_a_users_own_attributes_do_not_get_in_the_way(mode, handler, question, answer):
    """These two are what the servers of CPython's test_logging call their own."""

    class Own:
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            self._thread = self._handler = None

    with serving(handler, mode, TCP, Own) as server:
        assert ask(server, question) == answer


class Wrapper:
    """What a hook may put around a connection, to count its bytes for one: another object, the same socket."""

    def __init__(self, sock):
        self._sock = sock

    def __getattr__(self, name):
        return getattr(self._sock, name)


@every_mode
@pytest.mark.parametrize("hook", ["get_request", "process_request", "finish_request"])
@pytest.mark.parametrize(("handler", "question", "answer"), [
    (Reverse, b"5:hello,", b"5:olleh,"), (Shout, b"hello\n", b"HELLO\n"), (Shout, b"\xff\n", b"\xff\n")
])  # fmt: skip
def test_a_hook_may_wrap_the_connection(mode, hook, handler, question, answer):
    class Wrapping:
        def get_request(self):
            sock, address = super().get_request()
            return (Wrapper(sock) if hook == "get_request" else sock), address

        def process_request(self, request, client_address):
            super().process_request(Wrapper(request) if hook == "process_request" else request, client_address)

        def finish_request(self, request, client_address):
            super().finish_request(Wrapper(request) if hook == "finish_request" else request, client_address)

    with serving(handler, mode, TCP, Wrapping, max_threads=3) as server:
        for _ in range(6):
            assert ask(server, question) == answer
        wait_until(lambda: not server.reactor.table)
        assert len(server.reactor.table.closed) == 6
