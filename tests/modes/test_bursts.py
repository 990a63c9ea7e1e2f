"""Many packets at once, of one peer and of several: each is answered once, in order, at the same cost."""

import errno
import os
import select
import signal
import socket
import sys
import threading
from collections import Counter
from contextlib import ExitStack, closing, contextmanager

import pytest

from handlers import DatagramHandler, DatagramMachine, Delay, Packet, Reset, World
from handlers.services import CharGenDatagram, DaytimeDatagram, EchoDatagram, TimeDatagram
from reactor import Reactor, SelectUDPServer
from reactor.servers import exchanges
from tests.support.grids import grid
from tests.support.loops import until
from tests.support.packets import Bare, Pair, PairConversation, Shout
from tests.support.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    bounded,
    made,
    peer,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)

UDP, UNIX = PACKETS["udp"], PACKETS["unix"]


class Conversation(DatagramHandler):
    async def handle(self):
        self.send(await Packet())


HANDLERS = [EchoDatagram, Conversation, Pair, PairConversation, Shout, Bare]


def many(mode):
    """A number of packets at once: less where each takes a child, which is dear in a large process."""
    return 40 if mode == "fork" else 200


def send_all(client, packets):
    """Send the packets in a thread: the peer of a Unix socket takes only a few at a time."""

    def send():
        for packet in packets:
            client.send(packet)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def waiting(server):
    """Whether the server has left a packet in its socket."""
    return bool(select.select([server], [], [], 0)[0])


@grid(mode=MODES, place=["udp", "udp6", "unix"], handler=HANDLERS)
def test_every_packet_of_a_burst_is_answered_once(mode, place, handler):
    packets = [b"%03d" % number for number in range(many(mode))]
    expected = packets
    if handler in (Pair, PairConversation):
        expected = [one + two for one, two in zip(packets[::2], packets[1::2], strict=True)]
    with serving(handler, mode, PACKETS[place]) as server, peer(server) as client:
        thread = send_all(client, packets)
        answers = [client.recv(100) for _ in expected]
        if mode in ("thread", "fork") and handler in (Shout, Bare):
            answers.sort()  # each is a request of its own, and they run beside each other
        assert answers == expected
        thread.join()
        wait_until(lambda: not server.reactor.table)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(100)
        assert server.reactor.stats()["refused"] == {}


@pytest.mark.slow
@every_mode
def test_bursts_of_two_peers_and_two_keys_each_stay_in_order(mode):
    class Keyed(Conversation):
        @staticmethod
        def key(packet):
            return packet[:1]

    numbers = range(many(mode) // 4)
    with serving(Keyed, mode, UDP) as server, ExitStack() as stack:
        clients = [stack.enter_context(peer(server)) for _ in range(2)]
        for number in numbers:
            for client in clients:
                for key in b"ab":
                    client.send(b"%c%d" % (key, number))
        for client in clients:
            answers = [client.recv(9) for _ in range(2 * len(numbers))]
            for key in b"a", b"b":
                assert [answer for answer in answers if answer[:1] == key] == [key + b"%d" % n for n in numbers]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "bound"), [("thread", "max_threads"), ("fork", "max_children")])
@pytest.mark.parametrize("handler", [Conversation, Pair])
def test_bursts_of_many_peers_are_answered_one_at_a_time(mode, bound, handler):
    with serving(handler, mode, UDP, **{bound: 1}) as server, ExitStack() as stack:
        clients = [stack.enter_context(peer(server)) for _ in range(many(mode) // 10)]
        for number in range(10):
            for client in clients:
                client.send(b"%d" % number)
        for client in clients:
            answers = b"".join(client.recv(9) for _ in range(10 if handler is Conversation else 5))
            assert answers == b"0123456789"
        wait_until(lambda: not server.reactor.table)


def test_all_packets_of_50_peers_are_answered_by_one_thread():
    with serving(Conversation, "thread", UDP, max_threads=1) as server, ExitStack() as stack:
        clients = [stack.enter_context(peer(server)) for _ in range(50)]
        for number in range(20):
            for client in clients:
                client.send(b"%d" % number)
            wait_until(lambda: not waiting(server))
        for client in clients:
            assert [int(client.recv(9)) for _ in range(20)] == list(range(20))
        wait_until(lambda: not server.reactor.table)
        assert server.reactor.stats()["refused"] == {}


# The cost of an answer


@contextmanager
def counted():
    """Count the calls of Python functions in this thread."""
    calls = Counter()

    def note(frame, event, argument):
        if event == "call":
            calls[frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("handler", [EchoDatagram, Conversation, Pair])
def test_the_cost_of_an_answer_does_not_grow_with_those_outstanding(handler):
    costs = []
    for outstanding in 20, 200:
        answers = outstanding // (2 if handler is Pair else 1)
        with (
            closing(Reactor()) as reactor,
            made(SelectUDPServer, UDP, handler, reactor) as server,
            peer(server) as client,
        ):
            for number in range(outstanding):
                client.send(b"%d" % number)
            with counted() as calls:
                until(reactor, lambda answers=answers: reactor.table.ends == {"": answers})
            costs.append(sum(calls.values()) / answers)
    assert costs[1] < 1.2 * costs[0]


def test_the_cost_of_an_answer_does_not_grow_with_the_rows_that_wait():
    class Slow(Conversation):
        async def handle(self):
            packet = await Packet()
            if packet == b"wait":
                await Delay(PATIENCE)
            self.send(packet)

    costs = []
    for waiting_rows in 5, 100:
        with (
            closing(Reactor()) as reactor,
            made(SelectUDPServer, UDP, Slow, reactor) as server,
            ExitStack() as stack,
        ):
            clients = [stack.enter_context(peer(server)) for _ in range(waiting_rows)]
            for client in clients:
                client.send(b"wait")
            until(reactor, lambda clients=clients: len(reactor.table) == len(clients))
            last = stack.enter_context(peer(server))
            for _ in range(50):
                last.send(b"x")
            with counted() as calls:
                until(reactor, lambda: reactor.table.ends == {"": 50})
            costs.append(sum(calls.values()))
    assert costs[1] < 1.2 * costs[0]


# Bounds


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=pytest.mark.slow if mode == "fork" else ()) for mode in MODES]
)
def test_a_burst_over_the_bound_is_counted_and_the_rest_is_answered(mode):
    class Held(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            if packet == b"begin":
                self.send(b"begun")
                await Delay(1)
            self.send(packet)

    with serving(Held, mode, UDP) as server, peer(server) as client:
        client.send(b"begin")
        assert client.recv(9) == b"begun"
        for part in range(10):
            for number in range(30):
                client.send(b"%d" % (30 * part + number))
            wait_until(lambda: not waiting(server))
        assert client.recv(9) == b"begin"
        answers = [int(client.recv(9)) for _ in range(256)]
        assert answers == list(range(256))
        wait_until(lambda: server.reactor.stats()["refused"] == {"backlog": 300 - 256})


def test_empty_packets_are_bounded_in_the_queue_of_an_exchange():
    class Stalled(DatagramHandler):
        async def handle(self):
            await Packet()
            await Delay(PATIENCE)

    with closing(Reactor()) as reactor, made(SelectUDPServer, UDP, Stalled, reactor) as server, peer(server) as client:
        for _ in range(4):
            for _ in range(100):
                client.send(b"")
            until(reactor, lambda: not waiting(server))
        assert reactor.stats()["refused"] == {"backlog": 400 - 257}


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])  # the plain mode finishes its request first
def test_a_server_closes_with_packets_pending(mode):
    class Stalled(DatagramHandler):
        async def handle(self):
            await Packet()
            self.send(b"begun")
            await Delay(PATIENCE * 2)

    with made(server_class(mode, UDP, max_threads=1, max_children=1), UDP, Stalled) as server, ExitStack() as stack:
        clients = [stack.enter_context(peer(server)) for _ in range(3)]
        with running(server):
            clients[0].send(b"x")
            assert clients[0].recv(9) == b"begun"
            for client in clients:
                for _ in range(20):
                    client.send(b"x")
            wait_until(lambda: not waiting(server))
            bounded(server.server_close)
            if server._srv.has_reactor:
                assert not list(server.reactor.table)


# Children


def test_a_packet_that_a_child_has_asked_for_and_not_read_is_served_next():
    """The child is stopped while the packet is under way, and killed."""

    class Asks(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            if packet != b"begin":
                self.send(packet)
                return
            self.send(b"%d" % os.getpid())
            self.send(await Packet())

    with serving(Asks, "fork", UDP) as server, peer(server) as client:
        client.send(b"begin")
        pid = int(client.recv(9))
        os.kill(pid, signal.SIGSTOP)
        for packet in b"one", b"two", b"three":
            client.send(packet)
        wait_until(lambda: not waiting(server))
        os.kill(pid, signal.SIGKILL)
        assert [client.recv(9) for _ in range(3)] == [b"one", b"two", b"three"]


def test_packets_reach_a_child_in_order_whenever_it_asks():
    class Takes(DatagramHandler):
        async def handle(self):
            taken = []
            while len(taken) < 30:
                taken.append(await Packet())
                if len(taken) % 7 == 0:
                    await Delay(0.01)
            self.send(b"".join(taken))

    with serving(Takes, "fork", UDP) as server, peer(server) as client:
        packets = [b"%02d" % number for number in range(60)]
        for packet in packets:
            client.send(packet)
        assert client.recv(100) == b"".join(packets[:30])
        assert client.recv(100) == b"".join(packets[30:])


# Packets that would go round for ever, and forged reports


@every_mode
@pytest.mark.parametrize("place", ["udp", "udp6"])
@pytest.mark.parametrize("handler", [EchoDatagram, Shout])
def test_a_packet_of_the_servers_own_address_is_dropped(mode, place, handler):
    with serving(handler, mode, PACKETS[place]) as server, peer(server) as client:
        server.socket.sendto(b"X", server.server_address)
        wait_until(lambda: server.reactor.stats()["refused"] == {"own address": 1})
        client.send(b"Y")
        assert client.recv(9) == b"Y"


@every_mode
def test_a_server_at_a_wildcard_drops_packets_of_all_its_own_addresses(mode):
    wild = UDP._replace(host="")
    with serving(EchoDatagram, mode, wild) as server:
        port = server.server_address[1]
        for host in "127.0.0.1", "127.0.0.2":
            server.socket.sendto(b"X", (host, port))
        wait_until(lambda: server.reactor.stats()["refused"] == {"own address": 2})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.2", port))
            client.send(b"Y")
            assert client.recv(9) == b"Y"


@pytest.mark.parametrize("handler", [EchoDatagram, DaytimeDatagram, TimeDatagram, CharGenDatagram])
@pytest.mark.parametrize(("port", "answered"), [(7, 0), (13, 0), (19, 0), (37, 0), (9, 1), (1024, 1)])
def test_small_services_do_not_answer_each_other(handler, port, answered):
    machine = DatagramMachine(handler(), World(peer=("192.0.2.1", port), now=lambda: 0.5))
    machine.feed(b"x")
    assert (len(machine.outbox or ()), machine.finished) == (answered, True)


class Told(DatagramHandler):
    """Answers each packet; tells of the reset."""

    async def handle(self):
        try:
            while True:
                self.send(await Packet())
        except Reset as reset:
            self.server.journal.write("Reset", errno.errorcode[reset.error.errno])


@every_mode
def test_a_report_that_quotes_what_was_sent_ends_the_exchange(mode, journal):
    class Repeats(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            try:
                while True:
                    self.send(packet)
                    await Delay(0.005)
            except Reset as reset:
                self.server.journal.write("Reset", errno.errorcode[reset.error.errno])

    with serving(Repeats, mode, UDP, journal=journal) as server, peer(server) as client:
        client.send(b"x" * 20)
        assert client.recv(99) == b"x" * 20
        client.close()
        assert journal.wait_for(1) == ["Reset ECONNREFUSED"]
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("quoted", [b"", b"n", b"another packet"])
@pytest.mark.parametrize("sent", [None, b"packet"])
def test_a_report_that_does_not_quote_what_was_sent_changes_nothing(quoted, sent):
    with closing(Reactor()) as reactor, made(SelectUDPServer, UDP, Pair, reactor) as server, peer(server) as client:
        client.send(b"one")
        until(reactor, lambda: len(reactor.table))
        [row] = reactor.table
        row.sent = sent
        row.reported(OSError(errno.ECONNREFUSED, "forged"), quoted)
        client.send(b"two")
        until(reactor, lambda: not reactor.table)
        assert client.recv(9) == b"onetwo"


@pytest.mark.skipif(sys.platform != "linux", reason="IP_RECVERR is Linux's")
@pytest.mark.parametrize(("number", "left"), [(errno.EMSGSIZE, 1), (errno.ECONNREFUSED, 0)])
def test_a_packet_that_was_too_big_for_the_path_ends_no_exchange(number, left, monkeypatch):
    """The kernel has noted the smaller MTU, and fragments the next packet."""
    with closing(Reactor()) as reactor, made(SelectUDPServer, UDP, Pair, reactor) as server, peer(server) as client:
        client.send(b"one")
        until(reactor, lambda: len(reactor.table))
        [row] = reactor.table
        row.sent = b"packet"
        report = OSError(number, "reported"), row.request[1], row.peer, b"pack"
        monkeypatch.setattr(exchanges, "reports", lambda sock, limit: [report])
        server._srv.intake._read_reports()
        for _ in range(3):
            reactor.step(0)
        assert len(reactor.table) == left


# Unix peers that do not read


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_unix_peers_that_do_not_read_keep_no_other_from_being_answered(mode):
    with serving(EchoDatagram, mode, UNIX) as server, ExitStack() as stack:
        for _ in range(30):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            silent.bind("")
            for _ in range(13):
                silent.sendto(b"hello", server.server_address)
        with peer(server) as client:
            for _ in range(4):
                client.send(b"x")
                assert client.recv(9) == b"x"


def test_a_row_whose_peer_does_not_read_is_tried_less_and_less_often():
    """There is no event for the queue of a peer."""

    class Burst(DatagramHandler):
        async def handle(self):
            await Packet()
            for number in range(1000):
                self.send(b"%1000d" % number)

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def time(self):
            return self.now

    clock = Clock()
    with (
        closing(Reactor(clock=clock)) as reactor,
        made(server_class("select", UNIX), UNIX, Burst, reactor) as server,
        peer(server) as client,
    ):
        client.send(b"x")
        until(reactor, lambda: any(row.held_out for row in reactor.table))
        [source] = reactor.sources.values()
        delays = []
        for _ in range(20):
            assert source.retry is not None
            delays.append(source.retry.deadline - clock.now)
            clock.now = source.retry.deadline
            reactor.step(0)
        assert delays == sorted(delays)
        assert 0.009 < delays[0] < 0.011
        assert delays[-1] <= 1
        client.recv(2000)  # it reads: it is tried often again
        clock.now = source.retry.deadline
        reactor.step(0)
        assert source.retry.deadline - clock.now < 0.02


def test_so_sndbuf_that_was_set_is_kept():
    def server_bind(server):
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
        super(type(server), server).server_bind()

    with made(server_class("select", UNIX, server_bind=server_bind), UNIX, EchoDatagram, Reactor()) as server:
        assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 20_000


def test_a_report_about_one_exchange_of_a_peer_ends_no_other():
    class Keyed(Told):
        @staticmethod
        def key(packet):
            return packet[:1]

        def interrupted(self, cause):
            raise cause

    with closing(Reactor()) as reactor, made(SelectUDPServer, UDP, Keyed, reactor) as server, ExitStack() as stack:
        clients = [stack.enter_context(peer(server)) for _ in range(2)]
        for client in clients:
            for key in b"a", b"b":
                client.send(key)
                until(reactor, lambda client=client: select.select([client], [], [], 0)[0])
                assert client.recv(9) == key
        assert len(reactor.table) == 4
        one, other, *others = reactor.table
        server.journal = type("Lines", (list,), {"write": lambda self, *words: self.append(words)})()
        for exchange in server._srv.exchanges._of(one.peer):
            exchange.row.reported(OSError(errno.ECONNREFUSED, "closed"), b"a")
        until(reactor, lambda: len(reactor.table) == 3)
        assert list(reactor.table) == [other, *others]
        assert server.journal == [("Reset", "ECONNREFUSED")]
        reactor.cancel(reactor.table)
        assert (server._srv.exchanges.opened, server._srv.exchanges._of_peer) == ({}, {})


def test_a_hook_that_raises_loses_its_own_packet_and_none_that_came_behind():
    class Hook:
        failed = 0

        def process_request(self, request, client_address):
            if not self.failed:
                self.failed = 1
                for number in range(3):
                    self.clients[0].send(b"%d" % number)
                self._srv.exchanges._sort_arrivals()
                raise ArithmeticError
            super().process_request(request, client_address)

        def handle_error(self, request, client_address):
            pass

    with (
        closing(Reactor()) as reactor,
        made(server_class("select", UDP, Hook), UDP, EchoDatagram, reactor) as server,
        peer(server) as client,
    ):
        server.clients = [client]
        client.send(b"lost")
        until(reactor, lambda: reactor.table.ends.get("") == 3)
        assert [client.recv(9) for _ in range(3)] == [b"0", b"1", b"2"]
        assert reactor.stats()["refused"] == {}


@every_mode
@pytest.mark.parametrize("key", [lambda packet: packet[0], lambda packet: [packet[:1]]], ids=["raises", "no hash"])
def test_a_packet_whose_key_can_not_be_had_has_none_and_ends_nothing(mode, key, caplog):
    class Keyed(Pair):
        pass

    Keyed.key = staticmethod(key)
    with serving(Keyed, mode, UDP) as server, peer(server) as client:
        for _ in range(2):
            client.send(b"")
            client.send(b"")
            assert client.recv(9) == b""
    assert any("key() has raised; the packet has no key" in message for message in caplog.messages)
