"""Which descriptors of its parent a child keeps, and which it closes."""

import os
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

from handlers import BaseRequestHandler, Connected, DatagramHandler, Exactly, Forked, Packet, Some, StreamHandler, Until
from handlers.services import Echo, EchoDatagram
from reactor import ForkingMixIn, Reactor, SelectUDPServer
from tests.support.bench import bench
from tests.support.outside import Worker, ask_worker, deaf, here_until, is_there, line, workshop
from tests.support.resources import descriptors
from tests.support.serving import PACKETS, STREAMS, connect, made, peer, rest, running, server_class, wait_until

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
TCP = STREAMS["tcp"]


def holdings():
    """The open files of this process, as ``/proc/self/fd`` names them: a socket is ``socket:[inode]``."""
    links = [f"/proc/self/fd/{descriptor}" for descriptor in os.listdir("/proc/self/fd")]
    return {
        os.readlink(link) for link in links if os.path.lexists(link)
    }  # the descriptor of the listing itself is closed


def name(sock):
    return os.readlink(f"/proc/self/fd/{sock.fileno()}")


def test_a_child_holds_no_socket_no_selector_and_no_sibling(gate, ending):
    before = holdings()
    with workshop(lambda word: Forked(gate.wait) if word == "wait" else Forked(holdings)) as here:
        sibling, client, _ = (here.connect() for _ in range(3))
        sibling.sendall(b"wait\n")
        here_until(here, gate.waiting)
        new = eval(ask_worker(here, client)) - before - {name(sock) for sock in here.clients}
        assert {what.partition(":")[0] for what in new} == {"pipe"}
        gate.open()
        assert line(here, sibling) == "None"


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_a_child_of_another_mode_holds_neither_the_listener_nor_any_client(mode, gate, ending):
    class Holding(Worker):
        async def handle(self):
            self.send(b"hello\n")
            await super().handle()

    kind = server_class(mode, TCP, job=staticmethod(lambda word: Forked(holdings)))
    with made(kind, TCP, Holding) as server, running(server), ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(3 if mode == "thread" else 1)]
        for client in clients:
            assert client.recv(6) == b"hello\n"
        clients[0].sendall(b"word\n")
        held = eval(clients[0].recv(1000))
        rows = [row for row in server.reactor.table if row.peer != clients[0].getsockname()]
        servers = {name(row.socket) for row in rows} | {name(server.socket)}
        assert not held & servers
        for client in clients:
            client.shutdown(socket.SHUT_WR)


class Busy(StreamHandler):
    """Waits as its line says, or answers with the holdings of a child."""

    async def handle(self):
        word = await Until(b"\n")
        if word == b"fork\n":
            await Forked(self.server.gate.wait)
        elif word == b"connect\n":
            await Connected(self.server.deaf, Echo())
        elif word == b"tell\n":
            self.send(await told(self.server))
            await Some()  # a child that has ended shares nothing
        else:
            self.send(word)
            await Some()


class BusyWithPackets(DatagramHandler):
    async def handle(self):
        while True:
            self.send(await told(self.server) if await Packet() == b"tell\n" else b"rest")


async def told(server):
    """The holdings of a child of the server."""
    return repr(holdings() if isinstance(server, ForkingMixIn) else await Forked(holdings)).encode()


@contextmanager
def busy_house(gate):
    """Servers of all modes on one loop, with open requests of each kind; and the holdings from before."""
    with deaf() as address, ExitStack() as stack:
        before = holdings()
        reactor = stack.enter_context(Reactor())
        places = {(mode, "tcp"): TCP for mode in ("select", "fork", "thread")}
        places |= {(mode, "udp"): PACKETS["udp"] for mode in ("select", "fork")}
        servers = {}
        for key, place in places.items():
            kind = server_class(key[0], place, gate=gate, deaf=address)
            servers[key] = stack.enter_context(made(kind, place, Busy if place is TCP else BusyWithPackets, reactor))
        stack.enter_context(running(servers["select", "tcp"]))
        for key, server in servers.items():
            for word in (b"fork", b"connect", b"rest") if key == ("select", "tcp") else (b"rest",):
                client = stack.enter_context(peer(server) if "udp" in key else connect(server))
                client.send(word + b"\n")
                if word == b"rest":
                    assert client.recv(9)
        wait_until(gate.waiting)
        wait_until(lambda: any(row.wait.startswith("Connected") for row in reactor.table))
        yield servers, before
        gate.open()


HELD = {
    ("select", "tcp"): [],
    ("select", "udp"): [],
    ("thread", "tcp"): [],
    ("fork", "tcp"): ["pipe", "pipe", "pipe"],  # to report its end, and to notice a drain, and the end of the server
    ("fork", "udp"): ["pipe", "pipe", "pipe", "socket", "socket"],  # and the server's socket, and that for its packets
}


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "place"), HELD)
def test_a_child_shares_with_its_parent_only_the_descriptors_that_it_needs(mode, place, gate, ending):
    with busy_house(gate) as (servers, before):
        server = servers[mode, place]
        with connect(server) if place == "tcp" else peer(server) as client:
            client.send(b"tell\n")
            held = eval(client.recv(65_536)) - before

            def shared():  # the parent closes its copy of the connection at its own time
                return sorted(what.partition(":")[0] for what in held & holdings())

            wait_until(lambda: shared() == HELD[mode, place], f"a child that shares {HELD[mode, place]}")


def test_a_client_that_is_closed_sees_the_end_while_a_child_runs(gate, ending):
    """The server closes the socket without shutdown(), so a copy in a child would keep the connection open."""
    with workshop(lambda word: Forked(gate.wait)) as here:
        here.server.shutdown_request = here.server.close_request
        busy, other = here.connect(), here.connect()
        busy.sendall(b"go\n")
        ((pid, _),) = here_until(here, gate.waiting)
        other.shutdown(socket.SHUT_WR)
        assert here.last_words(other) == b""
        assert is_there(pid)
        late = here.connect()
        assert len(here.table) == 2
        gate.open()
        assert line(here, busy) == "None"
        assert here.interest(here.row) != 0
        late.close()


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_a_child_of_a_handler_holds_neither_the_listener_nor_any_other_client(mode, ending):
    class Telling(BaseRequestHandler):
        def handle(self):
            self.request.sendall(b"hello")
            if self.request.recv(100) == b"fork" and not self.server.fork_request(self.request):
                self.request.sendall(repr(holdings()).encode())

    accepted = []

    def verify_request(self, request, client_address):
        accepted.append(request)
        return True

    kind = server_class(mode, TCP, verify_request=verify_request)
    with made(kind, TCP, Telling) as server, running(server), ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(3 if mode == "thread" else 1)]
        for client in clients:
            assert client.recv(5) == b"hello"
        others = {name(sock) for sock in accepted[:-1]} | {name(server.socket)}
        own = name(accepted[-1])
        clients[-1].sendall(b"fork")
        held = eval(rest(clients[-1]))
        assert own in held
        assert not held & others
        for client in clients[:-1]:
            client.sendall(b"end")
        wait_until(lambda: not len(server.reactor.table))
        accepted.clear()


def called(number):
    """The name that ``/proc/self/fd`` has for an open socket or pipe."""
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:  # the descriptor of the listing itself
        return ""


def named():
    """The names of all sockets and pipes that this process has open."""
    return {called(number) for number in descriptors() if called(number).startswith(("socket:", "pipe:"))}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc/self/fd")
def test_a_child_of_forked_holds_only_its_pipes():
    class Busy(StreamHandler):
        async def handle(self):
            if await Exactly(1) == b"s":
                await Forked(time.sleep, 1000)
            others = before | {called(client.fileno()) for client in clients}
            self.send(b"%d" % len(await Forked(lambda: named() - others)))

    before = named()
    with bench(Busy) as here, made(SelectUDPServer, PACKETS["udp"], EchoDatagram, here.reactor) as packets:
        packets.start_serving()
        clients = [here.connect() for _ in range(3)]
        clients[0].sendall(b"s")
        here.rest()
        clients[2].sendall(b"n")
        assert here.take(clients[2], 1) == b"2"  # for its result, and for its last words
