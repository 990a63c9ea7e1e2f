"""What seldom happens, each brought about: calls that give an errno where nobody expects one, and odd uses.

What many rows must survive, in every mode, is elsewhere. Here is what takes one call, one hook or one host
to be as it hardly ever is; without these tests nothing would come to those lines.
"""

import errno
import io
import os
import select
import signal
import socket
import threading
from contextlib import ExitStack, closing
from selectors import EVENT_READ, EVENT_WRITE
from types import SimpleNamespace

import pytest

import reactor.urgent as urgent_module
from handlers import (
    Connected,
    DatagramHandler,
    Delay,
    Failed,
    Flushed,
    Forked,
    Packet,
    Reset,
    Some,
    StreamHandler,
    StreamRequestHandler,
    Threaded,
    TimedOut,
)
from handlers.services import Echo, EchoDatagram
from handlers.telnet import TelnetEcho
from reactor import BaseServer, Reactor, SelectTCPServer, SelectUDPServer, TCPServer
from reactor.request import NO_FORK
from reactor.selecting import DefaultSelector
from reactor.watchdog import Watchdog
from tests.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    Reverse,
    Shout,
    ask,
    bounded,
    clients_of,
    connect,
    made,
    peer,
    reset,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)
from tests.test_reactor import Clock, until
from tests.test_stream import bench


def failing(number):
    """A call that gives the errno."""

    def call(*arguments, **keywords):
        raise OSError(number, os.strerror(number))

    return call


# Errnos


def test_a_reply_that_is_flushed_when_the_peer_has_gone_hurts_nobody():
    class Late(StreamRequestHandler):
        wbufsize = 512

        def handle(self):
            self.wfile.write(b"too late")

    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        handler = Late(ours, None, None)
    assert handler.wfile.closed
    assert handler.rfile.closed


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
def test_a_loop_that_gets_no_wake_up_for_want_of_something_says_so(name):
    network = SimpleNamespace(socketpair=failing(getattr(errno, name)))
    with Reactor(network=network) as reactor, pytest.raises(OSError, match=rf"\[Errno {getattr(errno, name)}\]"):
        reactor.run()


class Eager(DefaultSelector):
    """Tells of everything that it has as ready, again and again."""

    def select(self, timeout=None):
        return [(key, key.events) for key in self.get_map().values()] or super().select(timeout)


class Work(StreamHandler):
    """Has a child do what each byte asks for."""

    async def handle(self):
        while True:
            self.send(await Forked(len, await Some()) * b"x")


@pytest.mark.parametrize("handler", [Echo, TelnetEcho, Work])
def test_readiness_is_a_hint_for_whatever_is_registered(handler):
    kind = server_class("select", STREAMS["tcp"])
    with (
        closing(Reactor(Eager())) as reactor,
        made(kind, STREAMS["tcp"], handler, reactor) as server,
        connect(server) as client,
    ):
        reactor.make_wakeup()
        until(reactor, lambda: len(reactor.table))
        client.sendall(b"ab\n")
        until(reactor, lambda: select.select([client], [], [], 0)[0])
        assert client.recv(9)


def test_a_host_without_the_options_of_tcp_serves_without_them():
    class Bare(socket.socket):
        def setsockopt(self, level, *option):
            if level == socket.IPPROTO_TCP or option[0] == socket.SO_KEEPALIVE:
                failing(errno.ENOPROTOOPT)()
            super().setsockopt(level, *option)

    network = SimpleNamespace(socket=Bare, socketpair=socket.socketpair)
    with closing(Reactor(network=network)) as reactor, serving(Echo, "select", reactor=reactor) as server:
        assert ask(server, b"hello") == b"hello"


def test_a_connection_that_breaks_while_its_handler_takes_urgent_data_ends_with_reset():
    with bench(TelnetEcho) as here:
        client = here.connect()
        client.sendall(b"half a line")
        here.rest()
        here.clients.remove(client)
        reset(client)
        here.rest()
        assert here.table.closed[-1]["reason"].startswith("Reset: connection lost: [Errno")


@pytest.mark.parametrize("name", ["EINVAL", "EIO", "ENOTTY"])
def test_a_mark_that_can_not_be_asked_for_any_more_is_none(name, monkeypatch):
    with bench(TelnetEcho) as here:
        client = here.connect()
        monkeypatch.setattr(urgent_module, "ioctl", failing(getattr(errno, name)))
        client.sendall(b"one\n")
        assert here.take(client, 5) == b"one\r\n"


def test_a_row_whose_events_can_not_be_changed_ends_and_leaves_the_selector():
    class Fixed(DefaultSelector):
        def modify(self, fileobj, events, data=None):
            if events & EVENT_WRITE:
                failing(errno.ENOMEM)()
            return super().modify(fileobj, events, data)

    class Flood(StreamHandler):
        def handle(self):
            return Some(), self.more

        def more(self, data):
            self.send(bytes(1 << 22))
            return self.handle()

    with bench(Flood, sndbuf=4096, selector=Fixed) as here:
        flooded, other = here.connect(rcvbuf=4096), here.connect()
        registered = len(here.selector.get_map())
        flooded.sendall(b"x")
        here.until(lambda: here.table.closed)
        assert "can't watch it" in here.table.closed[0]["reason"]
        assert len(here.selector.get_map()) == registered - 1
        assert len(here.table) == 1
        assert other.fileno() >= 0


def test_urgent_data_that_is_announced_and_not_there_yet_comes_later():
    class Lost(socket.socket):
        lost = 1

        def recv(self, size, flags=0):
            if size == 1 and self.lost:
                self.lost -= 1
                failing(errno.EAGAIN)()
            return super().recv(size, flags)

    class Marked(StreamHandler):
        async def handle(self):
            while True:
                self.send(await Some())

        def urgent(self, data):
            self.send(b"[" + self.take_held() + b"|" + data + b"]")

    with bench(Marked, wrap=Lost) as here:
        client = here.connect()
        client.sendall(b"before")
        client.send(b"!", socket.MSG_OOB)
        client.sendall(b"after")
        assert here.take(client, 14) == b"before[|!]after"[:14]


def test_the_path_of_a_host_without_unix_sockets_can_not_be_connected_to(monkeypatch):
    class Asking(StreamHandler):
        async def handle(self):
            await Some()
            try:
                await Connected("/a/path", Echo())
            except Failed as failed:
                self.send(str(failed.error).encode())

    with bench(Asking) as here, monkeypatch.context() as lacking:
        client = here.connect()
        lacking.delattr(socket, "AF_UNIX")
        client.sendall(b"go")
        assert here.last_words(client) == b"'/a/path': this host has no Unix sockets"


# Children


class Ended(list):
    """Is called with the exit status of a child, and keeps it."""

    def __call__(self, status, words):
        self.append(status)


def child(reactor, work):
    """Fork a child that does ``work`` and exits with 7. Its pid, and the list of what is told of its end."""
    ended = Ended()
    pid = reactor.children.fork(ended)
    if pid == 0:
        try:
            work()
        finally:
            os._exit(7)
    return pid, ended


@pytest.mark.parametrize("name", ["ENOSYS", "EPERM", "EMFILE", "ENODEV"])
def test_where_a_child_has_no_pidfd_its_end_is_heard_all_the_same(name, monkeypatch):
    monkeypatch.setattr(os, "pidfd_open", failing(getattr(errno, name)), raising=False)
    with Reactor() as reactor:
        _, ended = child(reactor, lambda: None)
        until(reactor, lambda: ended)
    assert [os.waitstatus_to_exitcode(status) for status in ended] == [7]


def test_a_child_that_closes_all_that_it_has_is_reaped_when_it_ends_and_not_before(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    reader, writer = os.pipe()

    def work():
        os.dup2(reader, 0)
        os.closerange(1, 1024)
        os.read(0, 1)

    with Reactor() as reactor:
        pid, ended = child(reactor, work)
        os.close(reader)
        until(reactor, lambda: reactor.timers.next() < float("inf"))  # it is looked at now and then
        assert reactor.children.pids() == [pid]
        os.write(writer, b"x")
        until(reactor, lambda: ended)
    os.close(writer)


def test_a_child_whose_end_can_not_be_watched_is_looked_at_now_and_then():
    class Full(DefaultSelector):
        def register(self, fileobj, events, data=None):
            failing(errno.ENOSPC)()

    with Reactor(Full()) as reactor:
        _, ended = child(reactor, lambda: None)
        until(reactor, lambda: ended)


def test_a_child_that_was_killed_by_a_signal_without_a_name_says_which():
    class Killed(StreamHandler):
        async def handle(self):
            try:
                await Forked(lambda: os.kill(os.getpid(), signal.SIGRTMIN + 1))
            except Failed as failed:
                self.send(str(failed.error).encode())

    with serving(Killed, "select") as server:
        assert ask(server) == b"the child was killed by signal %d" % (signal.SIGRTMIN + 1)


def test_a_child_that_was_reaped_before_it_was_listened_to_is_told_of_once():
    with Reactor() as reactor:
        pid, ended = child(reactor, lambda: None)
        assert reactor.children.reap(pid, blocking=True)
        reactor.run()
        assert len(ended) == 1


def test_a_child_is_killed_once_and_waited_for_when_the_loop_closes():
    reader, writer = os.pipe()
    with Reactor() as reactor:
        pid, ended = child(reactor, lambda: os.read(reader, 1))
        for _ in range(2):
            reactor.children.kill(pid)
        assert ended == []
    assert [os.waitstatus_to_exitcode(status) for status in ended] == [-signal.SIGKILL]
    os.close(reader)
    os.close(writer)


def test_a_child_that_nobody_has_killed_goes_on_when_the_loop_closes():
    reader, writer = os.pipe()
    with Reactor() as reactor:
        pid, ended = child(reactor, lambda: os.read(reader, 1))
        reactor.step(0)
    os.write(writer, b"x")
    assert bounded(os.waitpid, pid, 0)[0] == pid
    assert ended == []
    os.close(reader)
    os.close(writer)


def test_a_result_that_its_pipe_still_holds_when_its_child_has_ended_is_not_lost():
    class Late(StreamHandler):
        async def handle(self):
            self.send(await Forked(bytes.upper, b"late"))

    def last_first(events):
        return sorted(events, key=lambda event: -event[0].fd)[:1]

    with bench(Late) as here:
        here.reactor.policy = last_first
        client = connect(here.server)
        here.clients.append(client)
        here.until(lambda: here.reactor.children.pids())
        watched = len(here.selector.get_map())
        here.until(lambda: len(here.selector.get_map()) > watched or not here.reactor.children.pids())
        bounded(lambda: os.waitid(os.P_PID, here.reactor.children.pids()[0], os.WEXITED | os.WNOWAIT))
        assert here.last_words(client) == b"LATE"


def test_a_host_that_can_not_fork_says_so_to_a_handler_that_asks_for_it(monkeypatch):
    told = []

    def fork(request, client, server):
        try:
            server.fork_request(request)
        except RuntimeError as error:
            told.append(str(error))

    with serving(fork, "plain") as server:
        monkeypatch.delattr(os, "fork")
        assert ask(server) == b""
    assert told == [NO_FORK]


def test_a_forking_server_may_do_a_request_itself():
    with serving(Echo, "fork", process_request=TCPServer.process_request) as server:
        assert ask(server, b"hello") == b"hello"
        assert not server.active_children


def test_a_forking_server_that_waits_in_vain_reaps_what_has_ended():
    with made(server_class("fork", STREAMS["tcp"], timeout=0.01), STREAMS["tcp"], Echo) as server:
        with connect(server) as client:
            server.handle_request()
            assert len(server.active_children) == 1
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b""
        for _ in range(1_000):
            server.handle_request()
            if not server.active_children:
                return
    pytest.fail("the child was not reaped")


# Servers


class Pipe(BaseServer):
    """A server of what is neither a stream nor a datagram socket: lines of a pipe."""

    timeout = PATIENCE

    def __init__(self, descriptor, handler):
        super().__init__("a pipe", handler)
        self.descriptor = descriptor

    def fileno(self):
        return self.descriptor

    def get_request(self):
        return os.read(self.descriptor, 99), "somebody"


def test_whatever_has_a_descriptor_can_be_served():
    reader, writer = os.pipe()
    taken = []
    with Pipe(reader, lambda request, client, server: taken.append((request, client))) as server:
        os.write(writer, b"a line")
        bounded(server.handle_request)
    os.close(reader)
    os.close(writer)
    assert taken == [(b"a line", "somebody")]


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_a_server_that_serves_in_this_thread_can_not_be_told_to_do_so_again(mode):
    errors = []

    def serve(request, client, server):
        try:
            server.serve_forever()
        except RuntimeError as error:
            errors.append(str(error))

    with serving(serve, mode) as server, connect(server) as client:
        assert rest(client) == b""
    assert errors == ["serve_forever() is running already, and has called what calls it again"]


@pytest.mark.parametrize("mode", ["select", "plain"])
@pytest.mark.parametrize("again", [lambda server: server.reactor.run(), lambda server: server.handle_request()])
def test_a_state_can_not_run_the_loop_that_runs_it(mode, again):
    class Again(Echo):
        def handle(self):
            try:
                again(self.server)
            except RuntimeError as error:
                self.send(str(error).encode())

    with serving(Again, mode) as server:
        for _ in range(2):
            assert ask(server) == b"the loop runs already: a state returns what it waits for, and the loop goes on"


WHILE_IT_RUNS = " while the loop runs: stop() it, or shutdown() its server, and wait for its end"
NOT_CLOSED = f"server_close(){WHILE_IT_RUNS}; close(){WHILE_IT_RUNS}"


def closed(server):
    """What is said when it is closed, and when its reactor is."""
    with pytest.raises(RuntimeError) as one:
        server.server_close()
    with pytest.raises(RuntimeError) as other:
        server.reactor.close()
    return f"{one.value}; {other.value}"


class Closes(StreamHandler):
    def handle(self):
        self.send(closed(self.server).encode())


def close_it(request, client, server):
    request.sendall(closed(server).encode())


@pytest.mark.parametrize(("mode", "handler"), [
    ("select", Closes), *((mode, handler) for mode in ("plain", "fork", "thread") for handler in (Closes, close_it))
])  # fmt: skip
def test_a_handler_can_not_close_what_it_runs_in(mode, handler):
    with serving(handler, mode) as server:
        for _ in range(2):
            assert ask(server).decode() == NOT_CLOSED


def test_a_thread_can_not_close_the_server_that_waits_for_it_though_others_share_the_loop():
    with Reactor() as loop, serving(Closes, "thread", reactor=loop) as server:
        assert ask(server).decode() == NOT_CLOSED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared", [False, True])
def test_who_closes_a_server_that_serves_in_another_thread_ends_that_first(mode, shared):
    with ExitStack() as stack:
        loop = stack.enter_context(Reactor()) if shared else None
        server = stack.enter_context(serving(Reverse, mode, reactor=loop))
        assert ask(server, b"5:hello,") == b"5:olleh,"
        clients = [] if mode == "plain" else [stack.enter_context(connect(server))]  # plain mode waits for its client
        wait_until(lambda: len(server.reactor.table) == len(clients))
        bounded(server.server_close)
        assert [rest(client) for client in clients] == [b""] * len(clients)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.server_address)


def test_the_loop_of_a_server_that_serves_is_not_closed():
    with serving(Shout, "select") as server:
        assert ask(server, b"serving?\n") == b"SERVING?\n"
        with pytest.raises(RuntimeError, match="while the loop runs"):
            server.reactor.close()
        assert ask(server, b"still?\n") == b"STILL?\n"


def test_handle_request_ends_when_the_reactor_is_stopped():
    with made(TCPServer, STREAMS["tcp"], Echo) as server:
        timeouts = []
        server.handle_timeout = lambda: timeouts.append(1)
        server.reactor.stop()
        bounded(server.handle_request)
        assert timeouts == []


def test_handle_request_takes_nothing_where_there_is_no_room():
    with made(server_class("select", STREAMS["tcp"], max_requests=0, timeout=0.05), STREAMS["tcp"], Echo) as server:
        timeouts = []
        server.handle_timeout = lambda: timeouts.append(1)
        with connect(server):
            bounded(server.handle_request)
        assert timeouts == [1]
        assert len(server.reactor.table) == 0


def test_where_nobody_of_its_own_can_be_evicted_a_server_refuses():
    evicting = server_class("select", STREAMS["tcp"], max_requests=1, at_limit="evict")
    with (
        closing(Reactor()) as reactor,
        made(SelectTCPServer, STREAMS["tcp"], Echo, reactor) as full,
        made(evicting, STREAMS["tcp"], Echo, reactor) as other,
        connect(full),
    ):
        until(reactor, lambda: len(reactor.table))
        with connect(other) as client:
            until(reactor, lambda: reactor.table.refused)
            assert reactor.table.refused == {"max_requests": 1}
            assert [row.server for row in reactor.table] == [full]
            assert rest(client) == b""


def test_who_is_evicted_and_fails_in_finish_makes_room_all_the_same(caplog):
    class Clinging(Echo):
        def finish(self):
            raise LookupError("not yet")

    evicting = {"max_requests": 1, "at_limit": "evict"}
    with serving(Clinging, "select", **evicting) as server, connect(server) as first, connect(server) as second:
        assert rest(first) == b""
        second.sendall(b"here")
        assert second.recv(4) == b"here"
    assert "LookupError" in caplog.text


def test_a_handler_that_can_not_even_be_made_ends_nothing_else(caplog):
    class Unmade(Echo):
        made = 0

        def __init__(self):
            Unmade.made += 1
            if Unmade.made == 1:
                raise LookupError("not today")

    with serving(Unmade, "select") as server:
        assert ask(server) == b""
        assert ask(server, b"hello") == b"hello"
    assert "LookupError" in caplog.text


class Mishap(Shout):
    """Answers, and fails."""

    def handle(self):
        super().handle()
        raise LookupError("of a pool's own")


@pytest.mark.parametrize("handler", [Echo, Shout, Mishap])
def test_a_pool_may_wrap_what_it_is_given(handler):
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


def test_a_stop_while_a_request_is_looked_at_ends_it_before_it_is_served():
    def verify_request(self, request, client_address):
        self.reactor.stop()
        return True

    with made(server_class("plain", STREAMS["tcp"], verify_request=verify_request), STREAMS["tcp"], Echo) as server:
        with connect(server) as client:
            bounded(server.serve_forever)
            assert rest(client) == b""
        assert server.reactor.table.ends == {"Cancelled": 1}


def test_an_interrupt_while_a_request_is_looked_at_comes_before_it_is_served():
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
def test_what_get_request_raises_leaves_through_the_loop(mode):
    def get_request(self):
        raise LookupError("no such thing")

    kind = server_class(mode, STREAMS["tcp"], get_request=get_request)
    with (
        made(kind, STREAMS["tcp"], Echo) as server,
        connect(server),
        pytest.raises(LookupError, match="no such thing"),
    ):
        bounded(server.serve_forever)


def test_room_that_a_thread_makes_while_arrivals_are_paused_is_not_overlooked():
    begun, let_go = threading.Semaphore(0), threading.Event()

    class Slowly(DefaultSelector):
        """Lets the thread end when the listener is taken out, and waits for that."""

        def unregister(self, fileobj):
            key = super().unregister(fileobj)
            if key.data is port and not let_go.is_set():
                let_go.set()
                wait_until(lambda: not len(server.reactor.table))
            return key

    def hold(request, client, server):
        begun.release()
        let_go.wait(PATIENCE)

    kind = server_class("thread", STREAMS["tcp"], max_requests=1)
    with closing(Reactor(Slowly())) as reactor, made(kind, STREAMS["tcp"], hold, reactor) as server:
        port = reactor.port(server)
        with connect(server) as first, connect(server) as second, running(server):
            assert begun.acquire(timeout=PATIENCE)
            assert begun.acquire(timeout=PATIENCE)
            assert (rest(first), rest(second)) == (b"", b"")


def test_daemon_threads_are_not_waited_for():
    begun, let_go = threading.Event(), threading.Event()

    def hold(request, client, server):
        begun.set()
        let_go.wait(PATIENCE)

    kind = server_class("thread", STREAMS["tcp"], daemon_threads=True)
    with made(kind, STREAMS["tcp"], hold) as server, running(server), connect(server) as client:
        assert begun.wait(PATIENCE)
        bounded(server.shutdown)
        bounded(server.server_close)
        let_go.set()
        assert rest(client) == b""


def test_a_port_of_several_servers_is_bound_where_that_is_asked_for():
    kind = server_class("select", STREAMS["tcp"], allow_reuse_port=True)
    with made(kind, STREAMS["tcp"], Echo) as first, kind(first.server_address, Echo) as second:
        assert first.server_address == second.server_address


# Datagrams


class Blocked(DatagramHandler):
    """Says when it has the first packet, blocks until the gate is opened, and counts what comes to an end."""

    gate: int

    async def handle(self):
        if await Packet() != b"begin":
            self.send(b"late")
            return
        self.send(b"begun")
        await Flushed()
        os.read(self.gate, 1)
        count = 0
        while await Packet() != b"end":
            count += 1
        self.send(b"%d" % count)


LARGE = bytes(8_000)
"""A packet of which a socket's buffer holds about two dozen."""


@pytest.fixture
def gate():
    """What `Blocked` waits for; a call opens it."""
    reader, writer = os.pipe()
    Blocked.gate = reader
    yield lambda: os.write(writer, b"x")
    os.write(writer, b"x" * 9)  # whoever still waits when a test has failed
    os.close(reader)
    os.close(writer)


def wait_until_taken(server):
    """Wait until the server has taken what has come."""
    wait_until(lambda: not select.select([server], [], [], 0)[0])


class Stalled(DatagramHandler):
    """Takes no packet but the first."""

    async def handle(self):
        await Packet()
        await Delay(PATIENCE)


def test_of_the_packets_that_nobody_takes_64_are_held():
    with (
        closing(Reactor()) as reactor,
        made(SelectUDPServer, PACKETS["udp"], Stalled, reactor) as server,
        peer(server) as client,
    ):
        client.send(b"x")
        until(reactor, lambda: len(reactor.table))
        for _ in range(70):
            client.send(b"x")
        (row,) = reactor.table
        until(reactor, lambda: row.held_in == 64 and not select.select([server], [], [], 0)[0])
        assert row.held_in == 64


def test_of_the_packets_that_come_while_another_exchange_is_open_64_wait(gate):
    with serving(Blocked, "plain", PACKETS["udp"]) as server, peer(server) as first, peer(server) as second:
        first.send(b"begin")
        assert first.recv(9) == b"begun"
        for _ in range(70):
            second.send(b"x")
        gate()
        wait_until_taken(server)
        first.send(b"end")
        assert first.recv(9) == b"0"
        wait_until(lambda: server.reactor.table.ends == {"": 65})
        assert [second.recv(9) for _ in range(64)] == [b"late"] * 64


def test_the_packets_of_a_child_that_takes_none_wait_for_it_in_their_order(gate):
    with serving(Blocked, "fork", PACKETS["udp"]) as server, peer(server) as client:
        client.send(b"begin")
        assert client.recv(9) == b"begun"
        for _ in range(50):
            client.send(LARGE)
            wait_until_taken(server)
        client.send(b"end")
        gate()
        assert client.recv(9) == b"50"


def test_what_a_child_can_not_give_back_is_lost_as_in_any_full_socket(gate):
    class Overtaken(Blocked):
        async def handle(self):
            if await Packet() != b"begin":
                self.send(b"late")
                return
            self.send(b"begun")
            while sum(row.held_in for row in self.server.reactor.table) < 40 * len(LARGE):
                await Delay(0.001)

    with serving(Overtaken, "fork", PACKETS["udp"]) as server, peer(server) as client:
        client.send(b"begin")
        assert client.recv(9) == b"begun"
        for _ in range(40):
            client.send(LARGE)
            wait_until_taken(server)
        assert client.recv(9) == b"late"


def test_what_a_child_has_not_taken_at_its_end_begins_the_next_exchange(gate):
    class Leaving(Blocked):
        async def handle(self):
            if (packet := await Packet()) != b"begin":
                self.send(packet[:9])
                return
            self.send(b"begun")
            await Flushed()
            os.read(self.gate, 1)

    with serving(Leaving, "fork", PACKETS["udp"]) as server, peer(server) as client:
        client.send(b"begin")
        assert client.recv(9) == b"begun"
        for packet in [b"next", *[LARGE] * 40]:
            client.send(packet)
            wait_until_taken(server)
        gate()
        assert client.recv(9) == b"next"


def test_what_came_too_late_for_an_exchange_waits_until_there_is_room_for_the_next():
    kind = server_class("select", PACKETS["udp"], max_requests=2)
    with (
        closing(Reactor()) as reactor,
        made(kind, PACKETS["udp"], EchoDatagram, reactor) as server,
        made(SelectTCPServer, STREAMS["tcp"], Echo, reactor) as other,
        peer(server) as client,
    ):
        client.send(b"one")
        client.send(b"two")
        reactor.step(PATIENCE)  # it took both, and the second too late for the first
        with clients_of(other, 2):
            until(reactor, lambda: len(reactor.table) == 2)
            reactor.step(0.1)
            assert client.recv(9) == b"one"
            assert [row.server for row in reactor.table] == [other, other]
        until(reactor, lambda: select.select([client], [], [], 0)[0])
        assert client.recv(9) == b"two"


# The rest


def test_a_connection_that_is_there_when_its_time_is_over_is_closed():
    ended = []

    class Far(StreamHandler):
        def handle(self):
            return Some(), self.handle

        def finish(self):
            ended.append("far")

    class Near(StreamHandler):
        async def handle(self):
            await Some()
            try:
                await Connected(upstream.getsockname(), Far(), timeout=5)
            except TimedOut:
                self.send(b"too late")

    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as upstream, bench(Near, clock=clock) as here:
        client = here.connect()
        client.sendall(b"go")
        here.until(lambda: here.row.as_dict()["wait"].startswith("Connected"))
        clock.seconds += 10
        assert here.last_words(client) == b"too late"
        assert ended == ["far"]


def test_a_thread_that_is_given_up_before_it_has_begun_never_begins():
    begun, let_go = [], threading.Event()

    class Patient(StreamHandler):
        async def handle(self):
            await Threaded(self.work)
            self.send(b"done")

        def work(self):
            begun.append(self)
            let_go.wait(PATIENCE)

    class Narrow(Reactor):
        max_threads = 1

    with bench(Patient, reactor_class=Narrow) as here:
        client = here.connect()
        here.until(lambda: begun)
        here.connect()
        here.row.drop(Reset(OSError("gone")))
        here.rest()
        let_go.set()
        assert here.last_words(client) == b"done"
    assert len(begun) == 1


def test_wfile_can_be_wrapped_as_text():
    class Text(StreamRequestHandler):
        def handle(self):
            with io.TextIOWrapper(self.wfile, "utf-8", write_through=True) as text:
                text.write("gr\u00fc\u00df dich")

    with serving(Text, "plain") as server:
        assert ask(server).decode() == "gr\u00fc\u00df dich"


def test_a_watchdog_is_a_selector_and_may_be_closed_twice():
    reader, writer = os.pipe()
    with Reactor(dog := Watchdog()) as reactor:
        seen = []
        watch = reactor.watch(writer, EVENT_WRITE, seen.append)
        watch.modify(EVENT_READ)
        watch.modify(EVENT_WRITE)
        reactor.step()
        assert seen == [EVENT_WRITE]
        assert [key.fd for key in dog.get_map().values()] == [writer]
        watch.cancel()
        dog.close()
    os.close(reader)
    os.close(writer)


def test_a_host_without_timer_signals_has_no_watchdog(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(RuntimeError, match="no timer signals"):
        Watchdog()


def test_a_selector_finds_what_was_closed_first_among_others():
    sockets = [socket.socket() for _ in range(3)]
    with closing(DefaultSelector()) as selector:
        for sock in sockets:
            selector.register(sock, EVENT_READ, sock)
        sockets[-1].close()
        assert selector.get_key(sockets[-1]).data is sockets[-1]
        selector.unregister(sockets[-1])
        assert len(selector.get_map()) == 2
    for sock in sockets:
        sock.close()
