"""`handle_request()`: one request, its timeout, and its end."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from select import select
from socket import SHUT_WR

import pytest

from handlers import StreamRequestHandler
from handlers.services import Echo
from reactor import Reactor, SelectTCPServer, TCPServer
from reactor.testing import World
from tests import ROOT
from tests.support.packets import Pair
from tests.support.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    Conversation,
    Reverse,
    bounded,
    clients_of,
    connect,
    made,
    peer,
    rest,
    running,
    server_class,
    wait_until,
)
from tests.support.worlds import ADDRESS

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
TCP, UDP = STREAMS["tcp"], PACKETS["udp"]


# Datagrams


@pytest.mark.parametrize("mode", ["select", "plain"])
@pytest.mark.parametrize("interleaved", [False, True])
def test_handle_request_handles_one_exchange(mode, interleaved):
    def handle_timeout(server):
        raise AssertionError("no request was served")

    kind = server_class(mode, UDP, timeout=PATIENCE / 2, handle_timeout=handle_timeout)
    with made(kind, UDP, Pair) as server, peer(server) as one, peer(server) as other:
        in_turn = [(one, b"1"), (one, b"2"), (other, b"a"), (other, b"b")]
        for client, packet in [in_turn[place] for place in ((0, 2, 3, 1) if interleaved else range(4))]:
            client.send(packet)
        bounded(server.handle_request)
        assert one.recv(8) == b"12"
        bounded(server.handle_request)
        assert other.recv(8) == b"ab"


# Streams


@every_mode
@pytest.mark.parametrize(("own", "of_the_socket"), [(0.02, None), (None, 0.02), (0.02, 3_600), (3_600, 0.02)])
def test_handle_request_calls_handle_timeout(mode, own, of_the_socket, journal):
    def handle_timeout(self):
        journal.write("timeout")

    with made(server_class(mode, TCP, timeout=own, handle_timeout=handle_timeout), TCP, Echo) as server:
        server.socket.settimeout(of_the_socket)
        bounded(server.handle_request)
        assert journal.lines() == ["timeout"]
        assert server.socket.gettimeout() == of_the_socket


@every_mode
@pytest.mark.parametrize("handler", [Reverse, Conversation])
def test_handle_request_handles_one_request(mode, handler):
    with made(server_class(mode, TCP), TCP, handler) as server, clients_of(server, 3) as clients:
        for client in clients:
            client.sendall(b"5:hello,")
            client.shutdown(SHUT_WR)
        for number, client in enumerate(clients):
            bounded(server.handle_request)
            assert rest(client) == b"5:olleh,"
            assert select(clients[number + 1 :], [], [], 0)[0] == []  # the other clients have no answer


def test_handle_request_returns_when_the_request_is_refused():
    """It does not wait for a request that was open before, either."""
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


def test_handle_request_ends_when_the_reactor_is_stopped():
    with made(TCPServer, TCP, Echo) as server:
        timeouts = []
        server.handle_timeout = lambda: timeouts.append(1)
        server.reactor.stop()
        bounded(server.handle_request)
        assert timeouts == []


def test_handle_request_accepts_nothing_at_max_requests():
    with made(server_class("select", TCP, max_requests=0, timeout=0.05), TCP, Echo) as server:
        timeouts = []
        server.handle_timeout = lambda: timeouts.append(1)
        with connect(server):
            bounded(server.handle_request)
        assert timeouts == [1]
        assert len(server.reactor.table) == 0


# In a simulated world


def test_handle_request_waits_although_the_socket_does_not_block():
    """The socket is non-blocking for the loop, which is no timeout of the user's."""
    with World() as world:
        server = world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(b"x").shutdown().expect_end()
        server.handle_request()
        assert client.received == b"x"


def test_handle_request_times_out_by_the_clock_of_its_reactor():
    class Impatient(SelectTCPServer):
        timeout = 2

        def handle_timeout(self):
            gave_up.append(world.clock.now)

    gave_up = []
    with World() as world:
        server = world.serve(Impatient, ADDRESS, Echo)
        server.stop_serving()
        server.handle_request()
    assert gave_up == [pytest.approx(2, abs=0.1)]


# Its end, from another thread and within a blocking handler


@every_mode
@pytest.mark.parametrize("shared", [False, True])
def test_closing_ends_a_handle_request_that_waits_in_another_thread(mode, shared):
    with Reactor() as loop, made(server_class(mode, TCP), TCP, Echo, loop if shared else None) as server:
        waits = threading.Thread(target=server.handle_request, daemon=True)
        waits.start()
        wait_until(lambda: server.reactor.running)
        bounded(server.server_close)
        waits.join(PATIENCE)
        assert not waits.is_alive()
        assert server.fileno() == -1


@pytest.mark.parametrize("end", ["server_close", "shutdown"])
def test_the_end_of_a_handle_request_does_not_wait_for_a_silent_client(end):
    with made(server_class("select", TCP), TCP, Echo) as server, connect(server):
        waits = threading.Thread(target=server.handle_request, daemon=True)
        waits.start()
        wait_until(lambda: len(server.reactor.table) == 1)
        bounded(getattr(server, end))
        waits.join(PATIENCE)
        assert not waits.is_alive()


def test_a_shutdown_before_handle_request_is_for_serve_forever():
    with made(server_class("plain", TCP), TCP, Echo) as server:
        server.shutdown()
        with connect(server) as client:
            client.sendall(b"here")
            client.shutdown(SHUT_WR)
            bounded(server.handle_request)
            assert rest(client) == b"here"
        bounded(server.serve_forever)


class Calls(StreamRequestHandler):
    """Waits for another client, as for a callback."""

    def handle(self):
        if self.rfile.readline() == b"outer\n":
            self.wfile.write(b"go\n")
            self.server.handle_request()
            self.wfile.write(b"done\n")
        else:
            self.wfile.write(b"inner\n")


@pytest.mark.parametrize("serve", ["serve_forever", "handle_request"])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_blocking_handler_may_call_handle_request(serve, depth):
    with ExitStack() as stack:
        server = stack.enter_context(made(server_class("plain", TCP), TCP, Calls))
        thread = threading.Thread(target=getattr(server, serve), daemon=True)
        thread.start()
        outer = []
        for _ in range(depth):
            outer.append(stack.enter_context(connect(server)))
            outer[-1].sendall(b"outer\n")
            assert outer[-1].recv(9) == b"go\n"
        with connect(server) as client:
            client.sendall(b"inner\n")
            assert rest(client) == b"inner\n"
        assert [rest(client) for client in reversed(outer)] == [b"done\n"] * depth
        bounded(server.shutdown)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_handle_request_in_a_blocking_handler_has_its_timeout_and_its_end():
    told = []
    kind = server_class("plain", TCP, timeout=0.01, handle_timeout=lambda server: told.append("timeout"))
    with made(kind, TCP, Calls) as server, running(server), connect(server) as client:
        client.sendall(b"outer\n")
        assert rest(client) == b"go\ndone\n"
        assert told == ["timeout"]
        server.timeout = None
        with connect(server) as other:
            other.sendall(b"outer\n")
            assert other.recv(9) == b"go\n"
            bounded(server.shutdown)
            assert rest(other) == b"done\n"


def test_a_silent_client_does_not_hold_up_a_handle_request_with_a_timeout():
    with made(server_class("select", TCP, timeout=0.05), TCP, Echo) as server, clients_of(server, 2) as (silent, good):
        good.sendall(b"here")
        good.shutdown(SHUT_WR)
        good.setblocking(False)
        for _ in range(2):
            bounded(server.handle_request)
        good.settimeout(PATIENCE)
        assert rest(good) == b"here"
        assert len(server.reactor.table) == 1
        silent.shutdown(SHUT_WR)
        bounded(server.handle_request)
        assert rest(silent) == b""


def test_threads_that_ask_for_the_loop_at_once_get_the_same_one():
    """The thread that serves would run one loop, and `shutdown()` of another thread would wake the other."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            with made(server_class("select", TCP), TCP, Echo) as server, ThreadPoolExecutor(8) as threads:
                ready = threading.Barrier(8)

                def ask(_, server=server, ready=ready):
                    ready.wait(PATIENCE)
                    return server.reactor

                assert len(set(map(id, threads.map(ask, range(8))))) == 1
    finally:
        sys.setswitchinterval(interval)


SIGNALLED = """
import signal
from handlers.services import Echo
from reactor import SelectTCPServer
from tests.support.lines import at_each_line

for interruption in at_each_line(lambda code: code.co_name in ("reactor", "__init__")):
    seen = []
    with SelectTCPServer(("127.0.0.1", 0), Echo) as server:
        signal.signal(signal.SIGTERM, lambda *_: seen.append(server.reactor))
        with interruption.by(lambda: signal.raise_signal(signal.SIGTERM)):
            here = server.reactor
        assert seen in ([], [here]) and server.reactor is here
print(interruption.lines)
"""


def test_a_signal_handler_may_ask_for_the_loop_while_it_is_made():
    """Whatever line the signal comes at; a lock that is not reentrant would keep the process for ever."""
    command = [sys.executable, "-c", SIGNALLED]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 20
