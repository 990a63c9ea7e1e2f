"""Prefork mode through its classes: a number of worker processes behind one server."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager

import pytest

import reactor
from handlers import DatagramHandler, Forked, Packet, StreamHandler, Threaded, Until
from handlers.services import Echo
from reactor import PreforkMixIn, PreforkTCPServer, Reactor, UDPServer
from reactor.servers.serving import Serving
from tests import ROOT
from tests.support.serving import PATIENCE, STREAMS, bounded, connect, made, wait_until
from tests.support.workers import ask

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


class Who(StreamHandler):
    """Answers each line with its process; "secret" with an attribute of the server."""

    async def handle(self):
        while True:
            word = await Until(b"\n")
            said = getattr(self.server, "said", "") if word == b"secret\n" else ""
            if word == b"stop\n":
                self.server.reactor.stop()
            self.send(b"%d %s\n" % (os.getpid(), said.encode()))


class EndsIdle(Who):
    ends_when_idle = True


class WhoAsks(DatagramHandler):
    async def handle(self):
        first = await Packet()
        self.send(b"more")
        self.send(b"%s %s %d" % (first, await Packet(), os.getpid()))


@contextmanager
def prefork(handler, place=STREAMS["tcp"], base=PreforkTCPServer, workers=2, **members):
    """A server in prefork mode whose workers serve; it is ended at the end."""
    kind = type(base.__name__, (base,), {"address_family": place.family, "workers": workers, "grace": 0.5, **members})
    with made(kind, place, handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.serving_workers == workers, "the start of the workers")
            yield server
        finally:
            bounded(server.shutdown)
            thread.join(PATIENCE)
            assert not thread.is_alive()


def clients_of_both(server, stack):
    """Connected clients; each of two workers has answered some of them."""
    clients, answers = [], set()

    def eight_more():  # one worker takes all eight if the other gets no processor meanwhile
        clients.extend(stack.enter_context(connect(server)) for _ in range(8))
        for client in clients[-8:]:
            client.sendall(b"who\n")
            answers.add(client.recv(99))
        return len(answers) == 2

    wait_until(eight_more)
    return clients


@pytest.mark.parametrize("place", ["tcp", "tcp6", "unix"])
def test_all_workers_serve_every_kind_of_listener(place):
    base = getattr(reactor, f"Prefork{STREAMS[place].ending}")
    with prefork(Who, STREAMS[place], base) as server, ExitStack() as stack:
        clients_of_both(server, stack)


def test_an_exchange_of_packets_stays_with_one_worker():
    class Server(PreforkMixIn, UDPServer):
        pass

    with prefork(WhoAsks, base=Server) as server:
        pids = set()
        for _ in range(30):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.connect(server.server_address)
                client.send(b"a")
                assert client.recv(99) == b"more"
                client.send(b"b")
                *packets, pid = client.recv(99).split()
                assert packets == [b"a", b"b"]
                pids.add(pid)
        assert len(pids) == 2


def test_the_joined_table_has_the_rows_and_the_counts_of_all_workers():
    with prefork(Who) as server, ExitStack() as stack:
        clients = clients_of_both(server, stack)
        joined = server.snapshot(PATIENCE)
        assert joined.silent == []
        assert {row["peer"] for row in joined.rows} == {":".join(map(str, c.getsockname())) for c in clients}
        assert {row["worker"] for row in joined.rows} == {1, 2}
        assert len({row["pid"] for row in joined.rows}) == 2
        assert joined.stats["open"] == len(clients)
        for client in clients:
            client.close()
        wait_until(lambda: server.snapshot(PATIENCE).stats["open"] == 0)
        assert server.snapshot(PATIENCE).oldest == 0.0
        server.restart()
        pids = {row["pid"] for row in joined.rows}
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
        stats = server.snapshot(PATIENCE).stats
        assert sum(stats["ended"].values()) == len(clients)  # those of workers that have ended count
        assert stats["total_in"] == 4 * len(clients)


def test_a_worker_that_is_stopped_is_named_as_silent():
    with prefork(Who) as server:
        pid, _ = ask(server.server_address)
        os.kill(pid, signal.SIGSTOP)
        try:
            joined = server.snapshot(0.2)
            assert [silent for _, silent in joined.silent] == [pid]
            assert str(joined).endswith(f"(pid {pid}) does not answer")
        finally:
            os.kill(pid, signal.SIGCONT)


def test_shutdown_leaves_the_listener_and_the_next_serve_forever_serves_what_waits():
    with made(PreforkTCPServer, STREAMS["tcp"], Echo) as server:
        for _ in range(2):
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            with connect(server) as client:
                client.sendall(b"hello")
                assert client.recv(9) == b"hello"
            bounded(server.shutdown)
            thread.join(PATIENCE)
            assert server.serving_workers == 0


def test_shutdown_returns_when_the_workers_have_ended():
    with prefork(Who) as server, connect(server) as half:
        half.sendall(b"wh")
        wait_until(lambda: server.snapshot(PATIENCE).stats["open"] == 1)
        bounded(server.shutdown)
        assert server.serving_workers == 0


@pytest.mark.parametrize("call", ["shutdown", "drain"])
def test_a_request_that_has_begun_has_time_to_finish(call):
    with prefork(EndsIdle, workers=1, grace=PATIENCE) as server, connect(server) as idle, connect(server) as half:
        idle.sendall(b"who\n")
        assert idle.recv(99)
        half.sendall(b"wh")
        wait_until(lambda: server.snapshot(PATIENCE).stats["open"] == 2)
        ending = threading.Thread(target=getattr(server, call), args=[PATIENCE] * (call == "drain"))
        ending.start()
        assert idle.recv(99) == b""  # a connection between messages ends at once
        half.sendall(b"o\n")
        assert half.recv(99)
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_a_drain_serves_what_the_kernel_has_completed():
    with prefork(Who, workers=1) as server, ExitStack() as stack:
        pid, _ = ask(server.server_address)
        os.kill(pid, signal.SIGSTOP)
        clients = [stack.enter_context(connect(server)) for _ in range(100)]
        for client in clients:
            client.sendall(b"who\n")
            client.shutdown(socket.SHUT_WR)
        supervisor = server._srv.mode.supervisor
        draining = threading.Thread(target=server.drain, args=[PATIENCE])
        draining.start()
        wait_until(lambda: all(process.is_told for process in supervisor))
        os.kill(pid, signal.SIGCONT)
        assert [client.recv(99) for client in clients] == [b"%d \n" % pid] * 100
        draining.join(PATIENCE)
        assert not draining.is_alive()


def test_drain_serves_the_accept_queue_and_returns_the_rows_that_were_cancelled():
    with prefork(Who) as server, connect(server) as done, connect(server) as half:
        half.sendall(b"wh")
        done.sendall(b"who\n")
        assert done.recv(99)
        done.close()
        wait_until(lambda: server.snapshot(PATIENCE).stats["open"] == 1)
        (record,) = bounded(server.drain, 0.2)
        assert record["reason"].startswith("Cancelled")
        with socket.socket() as late, pytest.raises(ConnectionRefusedError):
            late.connect(server.server_address)


def test_a_drain_returns_all_rows_that_were_cancelled_however_long_their_records_are():
    class Known(Who):
        async def handle(self):
            self.principal = "x" * 10_000
            await super().handle()

    with prefork(Known, workers=1) as server, ExitStack() as stack:
        for _ in range(50):  # more than the kernel takes at once
            client = stack.enter_context(connect(server))
            client.sendall(b"who\n")
            assert client.recv(99)
        records = bounded(server.drain, 0.05)
        assert [len(record["principal"]) for record in records] == [10_000] * 50


def test_a_drain_is_one_although_the_supervisor_looks_before_it_is_told(monkeypatch):
    ask_to_end = Serving.ask_to_end

    def ask_and_wait(serving):
        ask_to_end(serving)
        supervisor = serving._service.mode.supervisor
        if supervisor is not None:
            looked = threading.Event()
            supervisor.loop.call_soon(supervisor.loop.call_soon, looked.set)
            assert looked.wait(PATIENCE)

    monkeypatch.setattr(Serving, "ask_to_end", ask_and_wait)
    with prefork(EndsIdle, workers=1, grace=0.0) as server, connect(server) as idle, connect(server) as half:
        idle.sendall(b"who\n")
        assert idle.recv(99)
        half.sendall(b"wh")
        wait_until(lambda: server.snapshot(PATIENCE).stats["open"] == 2)
        draining = threading.Thread(target=server.drain, args=[PATIENCE])
        draining.start()
        assert idle.recv(99) == b""
        half.sendall(b"o\n")
        assert half.recv(99)
        draining.join(PATIENCE)
        assert not draining.is_alive()


def test_a_worker_that_ends_by_itself_is_replaced(caplog):
    with prefork(Who, workers=1) as server:
        before, _ = ask(server.server_address)
        ask(server.server_address, b"stop")
        wait_until(lambda: ask(server.server_address)[0] != before)
    assert caplog.messages == [f"worker 1 (pid {before}) has ended with status 0; it is replaced in 0 s"]


def test_a_worker_that_gets_sigterm_is_replaced_whatever_its_number():
    with prefork(EndsIdle) as server, ExitStack() as stack:
        clients_of_both(server, stack)
        pids = {row["worker"]: row["pid"] for row in server.snapshot(PATIENCE).rows}
        for number in 2, 1:
            os.kill(pids[number], signal.SIGTERM)
            wait_until(lambda: not os.path.exists(f"/proc/{pids[number]}"))  # noqa: B023
            assert server.serving_workers == 2


def test_a_worker_that_drains_already_keeps_its_time_when_the_server_is_shut_down():
    with prefork(EndsIdle, workers=1, grace=PATIENCE) as server, connect(server) as half:
        half.sendall(b"wh")
        wait_until(lambda: server.snapshot(PATIENCE).stats["open"] == 1)
        [row] = server.snapshot(PATIENCE).rows
        server.restart()
        wait_until(lambda: ask(server.server_address)[0] != row["pid"])
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        wait_until(lambda: server.serving_workers == 0)  # the new worker has ended
        joined = server.snapshot(PATIENCE)  # the old one hears this question after it has been told to end again
        assert [each["pid"] for each in joined.rows] == [row["pid"]]
        half.sendall(b"o\n")
        assert half.recv(99) == b"%d \n" % row["pid"]
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_what_a_worker_calls_on_its_copy_of_the_server():
    calls = []

    class Server(PreforkTCPServer):
        def verify_request(self, request, client_address):
            self.said = f"{len(calls)}"
            calls.append(client_address)
            return True

    with prefork(Who, base=Server) as server:
        assert ask(server.server_address, b"secret")[1] == "0"
        assert calls == []  # the hook was called in the worker


def test_periodic_calls_are_made_in_every_worker(tmp_path):
    def note():
        (tmp_path / str(os.getpid())).touch()

    with prefork(
        Who, server_activate=lambda self: (PreforkTCPServer.server_activate(self), self.call_every(0.01, note))
    ):
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        assert not (tmp_path / str(os.getpid())).exists()


def test_service_actions_is_called_in_every_worker(tmp_path):
    with prefork(Who, service_actions=lambda self: (tmp_path / str(os.getpid())).touch()):
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        assert not (tmp_path / str(os.getpid())).exists()


def test_a_loop_of_its_own_is_refused():
    with Reactor() as loop, pytest.raises(TypeError, match="each worker has a loop of its own"):
        PreforkTCPServer(("127.0.0.1", 0), Echo, reactor=loop)


@pytest.mark.parametrize("call", ["snapshot", "restart"])
def test_there_are_no_workers_before_serve_forever(call):
    with PreforkTCPServer(("127.0.0.1", 0), Echo) as server, pytest.raises(RuntimeError, match="serve_forever"):
        getattr(server, call)()


def test_a_host_that_can_not_fork_is_told_at_once(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(RuntimeError, match=r"PreforkTCPServer: this host can't fork; take the Select"):
        PreforkTCPServer(("127.0.0.1", 0), Echo)


def test_the_number_of_workers_is_at_least_one():
    class Server(PreforkTCPServer):
        workers = 0

    with Server(("127.0.0.1", 0), Echo) as server, pytest.raises(ValueError, match="workers: 1 or more, not 0"):
        server.serve_forever()


def test_keyboard_interrupt_ends_the_workers():
    script = (
        "import os, signal, threading, time, handlers.services\nfrom reactor import PreforkTCPServer\n"
        "server = PreforkTCPServer(('127.0.0.1', 0), handlers.services.Echo)\n"
        "def interrupt():\n"
        "    while server.serving_workers < 2: time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=interrupt).start()\n"
        "try:\n    server.serve_forever()\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
        "try:\n    os.waitpid(-1, 0)\nexcept ChildProcessError:\n    print('no child')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.stdout, done.returncode) == ("interrupted\nno child\n", 0), done.stderr


def test_drain_is_refused_in_the_thread_that_watches_the_workers():
    refusals = []

    with prefork(Who) as server:

        def refused():
            try:
                server.drain(1)
            except RuntimeError as error:
                refusals.append(str(error))

        server._srv.mode.supervisor.loop.call_soon(refused)
        wait_until(lambda: refusals)
        assert refusals == ["drain() waits for serve_forever(), which runs in this thread: call it from another one"]
        assert ask(server.server_address)


def test_a_table_of_many_rows_is_told_whole():
    with prefork(Who) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(400)]
        for client in clients:
            client.sendall(b"who\n")
            assert client.recv(99)
        joined = server.snapshot(PATIENCE)
        assert len(joined.rows) == joined.stats["open"] == 400
        assert len(str(joined)) > 1 << 15
        for client in clients:
            client.close()


class Works(StreamHandler):
    """The processes of its work in a child and in a thread, and its own."""

    async def handle(self):
        await Until(b"\n")
        child, thread = await Forked(os.getpid), await Threaded(os.getpid)
        self.send(b"%d %d %d" % (child, thread, os.getpid()))


def test_a_worker_has_children_and_threads_of_its_own():
    with prefork(Works) as server:
        for _ in range(4):
            with connect(server) as client:
                client.sendall(b"go\n")
                child, thread, own = map(int, client.recv(99).split())
                assert thread == own != os.getpid()
                assert child not in (own, os.getpid())
