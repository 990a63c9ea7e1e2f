"""What users of `socketserver` override: hooks, attributes, and their own pools of threads."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from socket import SHUT_WR

import pytest

from handlers import StreamHandler, StreamRequestHandler, Until
from handlers.services import Echo
from reactor import BaseServer
from tests.support.loops import in_thread
from tests.support.serving import (
    MODES,
    PATIENCE,
    STREAMS,
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

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
TCP = STREAMS["tcp"]


@contextmanager
def pool_of(workers):
    """A mix-in that serves requests in a pool of threads."""

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


class Unhashable(socket.socket):
    """A socket that is equal to none."""

    def __eq__(self, other):
        return False

    __hash__ = None


class Bare(StreamRequestHandler):
    """A blocking handler without a framing."""

    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


@pytest.mark.parametrize(
    ("handler", "mode"), [(kind, mode) for kind in (Shout, Bare) for mode in MODES if kind is Shout or mode != "select"]
)
def test_a_request_object_that_is_not_hashable_is_served_and_leaves_the_table(handler, mode):
    def get_request(self):
        connection, peer = self.socket.accept()
        return Unhashable(fileno=connection.detach()), peer

    with serving(handler, mode, get_request=get_request, max_threads=1, max_requests=1) as server:
        for _ in range(3):
            assert ask(server, b"hello\n") == b"HELLO\n"
        wait_until(lambda: not server.reactor.table)


def test_a_request_that_the_program_serves_in_a_thread_is_cancelled_when_the_server_closes():
    """The loop of the server has never run, so nothing else can wake that of the request."""
    ours, theirs = socket.socketpair()
    with ours, theirs, made(server_class("plain", TCP), TCP, Reverse) as server:
        serves = in_thread(server.finish_request, theirs, ("somewhere", 1))
        ours.sendall(b"1:a,")
        assert ours.recv(9) == b"1:a,"
        time.sleep(0.05)  # until the loop of the request sleeps
        bounded(server.server_close)
        serves.join(PATIENCE)
        assert not serves.is_alive()


def test_what_a_handler_raises_in_a_pool_of_the_users_is_the_reason_of_its_request():
    class Fails(Bare):
        def handle(self):
            raise ArithmeticError("of the handler")

    with pool_of(1) as pool, serving(Fails, "plain", TCP, pool, handle_error=lambda *_: None) as server:
        assert ask(server) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "ArithmeticError: of the handler"


def test_a_queued_request_begins_although_a_hook_ends_requests_before_their_thread_does():
    def process_request_thread(self, request, client_address):
        BaseServer.process_request(self, request, client_address)
        time.sleep(0.05)  # meanwhile the loop looks whether a queued request may begin: no thread is free

    hooks = {"process_request_thread": process_request_thread, "max_threads": 1}
    with serving(Bare, "thread", **hooks) as server, clients_of(server, 3) as clients:
        for client in clients:
            client.sendall(b"hello\n")
        assert [rest(client) for client in clients] == [b"HELLO\n"] * 3


@pytest.mark.parametrize("mode", ["plain", "thread"])
@pytest.mark.parametrize(
    ("handler", "question", "answer"), [(Reverse, b"5:hello,", b"5:olleh,"), (Shout, b"hello\n", b"HELLO\n")]
)
def test_a_users_pool_of_threads_serves_requests(mode, handler, question, answer):
    with (
        pool_of(3) as pool,
        serving(handler, mode, TCP, pool, request_queue_size=12) as server,
        clients_of(server, 12) as clients,
    ):
        for client in clients:
            client.sendall(question)
            client.shutdown(SHUT_WR)
        assert [rest(client) for client in clients] == [answer] * 12
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("handler", [Reverse, Shout])
def test_a_request_that_waits_in_a_users_pool_is_in_the_table(handler):
    with pool_of(1) as pool, serving(handler, "plain", TCP, pool) as server, clients_of(server, 2) as clients:
        wait_until(lambda: len(server.reactor.table) == 2)  # one with the worker of the pool, one that waits for it
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
def test_get_request_may_return_another_client_address(mode):
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
def test_a_users_attributes_do_not_collide_with_ours(mode, handler, question, answer):
    """The servers of CPython's test_logging have these two."""

    class Own:
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            self._thread = self._handler = None

    with serving(handler, mode, TCP, Own) as server:
        assert ask(server, question) == answer


class Wrapper:
    """Another object around the same socket, for instance to count its bytes."""

    def __init__(self, sock):
        self._sock = sock

    def __getattr__(self, name):
        return getattr(self._sock, name)


@pytest.mark.slow
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


class Pipe(BaseServer):
    """A server that is neither of streams nor of datagrams: it serves lines of a pipe."""

    timeout = PATIENCE

    def __init__(self, descriptor, handler):
        super().__init__("a pipe", handler)
        self.descriptor = descriptor

    def fileno(self):
        return self.descriptor

    def get_request(self):
        return os.read(self.descriptor, 99), "somebody"


def test_any_object_with_a_descriptor_can_be_served():
    reader, writer = os.pipe()
    taken = []
    with Pipe(reader, lambda request, client, server: taken.append((request, client))) as server:
        os.write(writer, b"a line")
        bounded(server.handle_request)
    os.close(reader)
    os.close(writer)
    assert taken == [(b"a line", "somebody")]


class Mishap(Shout):
    """Answers and raises."""

    def handle(self):
        super().handle()
        raise LookupError("of a pool's own")


@pytest.mark.parametrize("handler", [Echo, Shout, Mishap])
def test_a_users_pool_may_wrap_the_request(handler):
    class Wrapped:
        def __init__(self, sock):
            self._sock = sock

        def __getattr__(self, name):
            return getattr(self._sock, name)

    def process_request(self, request, client_address):
        def work():
            try:
                self.finish_request(Wrapped(request), client_address)
            except LookupError:
                self.handle_error(request, client_address)
            self.shutdown_request(request)

        threading.Thread(target=work).start()

    with serving(handler, "plain", process_request=process_request) as server:
        assert ask(server, b"HELLO\n") == b"HELLO\n"
        assert ask(server, b"AGAIN\n") == b"AGAIN\n"
        wait_until(lambda: not len(server.reactor.table))


def test_stop_within_verify_request_cancels_the_request():
    def verify_request(self, request, client_address):
        self.reactor.stop()
        return True

    with made(server_class("plain", STREAMS["tcp"], verify_request=verify_request), STREAMS["tcp"], Echo) as server:
        with connect(server) as client:
            bounded(server.serve_forever)
            assert rest(client) == b""
        assert server.reactor.table.ends == {"Cancelled": 1}


def test_an_interrupt_within_verify_request_comes_before_the_request_is_served():
    served = []

    def verify_request(self, request, client_address):
        signal.raise_signal(signal.SIGINT)
        return True

    def handle(request, client_address, server):
        served.append(request)

    kind = server_class("plain", STREAMS["tcp"], verify_request=verify_request)
    with made(kind, STREAMS["tcp"], handle) as server, connect(server) as client:
        with pytest.raises(KeyboardInterrupt):
            server.handle_request()
        assert rest(client) == b""
    assert served == []


@pytest.mark.parametrize("mode", ["select", "plain"])
def test_an_exception_of_get_request_leaves_serve_forever(mode):
    def get_request(self):
        raise LookupError("no such thing")

    kind = server_class(mode, STREAMS["tcp"], get_request=get_request)
    with (
        made(kind, STREAMS["tcp"], Echo) as server,
        connect(server),
        pytest.raises(LookupError, match="no such thing"),
    ):
        bounded(server.serve_forever)


def test_allow_reuse_port_lets_two_servers_bind_one_port():
    kind = server_class("select", STREAMS["tcp"], allow_reuse_port=True)
    with made(kind, STREAMS["tcp"], Echo) as first, kind(first.server_address, Echo) as second:
        assert first.server_address == second.server_address
