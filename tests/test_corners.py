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
from contextlib import closing
from selectors import EVENT_READ, EVENT_WRITE
from types import SimpleNamespace

import pytest

import reactor.urgent as urgent_module
from handlers import Failed, Forked, Reset, Some, StreamHandler, StreamRequestHandler, Threaded
from handlers.services import Echo
from handlers.telnet import TelnetEcho
from reactor import BaseServer, Reactor, SelectTCPServer, TCPServer
from reactor.selecting import DefaultSelector
from reactor.watchdog import Watchdog
from tests.serving import PATIENCE, STREAMS, ask, bounded, connect, made, reset, rest, running, server_class, serving
from tests.test_reactor import until
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


# Children


class Ended(list):
    """Is called with the exit status of a child, and keeps it."""

    __call__ = list.append


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


def test_a_server_that_serves_in_this_thread_can_not_be_told_to_do_so_again():
    errors = []

    def serve(request, client, server):
        try:
            server.serve_forever()
        except RuntimeError as error:
            errors.append(str(error))

    with serving(serve, "plain") as server, connect(server) as client:
        assert rest(client) == b""
    assert errors == ["serve_forever() is already running in this thread"]


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


# The rest


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
