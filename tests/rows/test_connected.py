"""`Connected` with a `DatagramHandler`: a socket of its own, connected to one peer, in every mode."""

import errno
import os
import socket
from types import SimpleNamespace

import pytest

from handlers import (
    Cancelled,
    Connected,
    DatagramHandler,
    Delay,
    Event,
    Failed,
    Happened,
    Packet,
    PacketFilter,
    Reset,
    StreamHandler,
    TimedOut,
    Until,
)
from handlers.services import EchoDatagram
from reactor import Reactor, SelectTCPServer
from tests.support.bench import bench
from tests.support.loops import Clock, until
from tests.support.outside import here_until
from tests.support.serving import MODES, PACKETS, PATIENCE, connect, exchange, rest, serving

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


class Query(DatagramHandler):
    """Sends the questions one after the other; ``answers`` is set to the list of the answers, or to the cause."""

    timeout = PATIENCE

    def __init__(self, *questions):
        self.questions = questions
        self.answers = Event()

    async def handle(self):
        answers = []
        for question in self.questions:
            self.send(question)
            answers.append(await Packet())
        self.answers.set(answers)

    def finish(self):
        if self.reason is not None:
            self.answers.set(self.reason)


class Forwarder(DatagramHandler):
    """Answers a packet with what the server's ``upstream`` answers, or with the name of the cause."""

    async def handle(self):
        query = Query(await Packet())
        try:
            await Connected(self.server.upstream, query, timeout=PATIENCE)
        except Failed as failed:
            self.send(type(failed.error).__name__.encode())
            return
        answers = await Happened(query.answers)
        self.send(answers[0] if isinstance(answers, list) else repr(answers).encode())


class Lines(StreamHandler):
    async def handle(self):
        query = Query(await Until(b"\n"), b"more\n")
        await Connected(self.server.upstream, query)
        self.send(b"".join(await Happened(query.answers)))


@pytest.fixture
def upstream():
    """The address of a server that echoes datagrams."""
    with serving(EchoDatagram, "select", PACKETS["udp"]) as server:
        yield server.server_address


@pytest.fixture
def silent():
    """A socket that receives and does not answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


@pytest.mark.parametrize("place", ["udp", "udp6", "unix", "abstract"])
@pytest.mark.parametrize("mode", MODES)
def test_a_forwarder_answers_what_the_upstream_answers(mode, place):
    with serving(EchoDatagram, "select", PACKETS[place]) as far:
        upstream = far.server_address
        with serving(Forwarder, mode, PACKETS["udp"], upstream=upstream) as server:
            assert exchange(server, b"one", b"", b"three" * 1_000) == [b"one", b"", b"three" * 1_000]


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_handler_may_ask_by_datagrams(mode, upstream):
    with serving(Lines, mode, upstream=upstream) as server, connect(server) as client:
        client.sendall(b"one\n")
        assert rest(client) == b"one\nmore\n"


@pytest.mark.parametrize("mode", MODES)
def test_a_port_at_which_nobody_receives_is_a_reset(mode, silent):
    address = silent.getsockname()
    silent.close()
    with serving(Forwarder, mode, PACKETS["udp"], upstream=address) as server:
        [answer] = exchange(server, b"one")
    assert answer == b"Reset('connection lost: [Errno 111] Connection refused')"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("address", "error"),
    [(("no.such.host.invalid", 53), b"gaierror"), ("/no/such/path", b"FileNotFoundError"), (("::1", 53, 0, 77), None)],
)
def test_an_address_that_is_none_is_a_failure(mode, address, error):
    with serving(Forwarder, mode, PACKETS["udp"], upstream=address) as server:
        [answer] = exchange(server, b"one")
    assert answer == error if error else answer


def test_an_answer_that_does_not_come_times_out(silent):
    class Hasty(Query):
        timeout = 0.01

    class Asking(StreamHandler):
        async def handle(self):
            query = Hasty(b"one")
            await Connected(self.server.upstream, query)
            self.send(type(await Happened(query.answers)).__name__.encode())

    with serving(Asking, "select", upstream=silent.getsockname()) as server, connect(server) as client:
        assert rest(client) == TimedOut.__name__.encode()


def test_a_packet_of_another_address_is_not_for_it(silent):
    with bench(Lines) as here:
        here.server.upstream = silent.getsockname()
        client = here.connect()
        client.sendall(b"one\n")
        row = here_until(here, lambda: next((row for row in here.table if row.handler == "Query"), None))
        here.until(lambda: row.total_out)
        question, address = silent.recvfrom(100)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"forged", address)
        here.rest()
        assert (question, row.total_in) == (b"one\n", 0)
        silent.sendto(b"true ", address)
        silent.sendto(b"and more", address)
        assert here.last_words(client) == b"true and more"
        assert not len(here.table)


def test_packets_stay_in_the_kernel_while_the_handler_waits_for_none(silent):
    class Resting(Query):
        async def handle(self):
            self.send(b"begin")
            await Happened(self.server.go_on)
            self.answers.set([await Packet(), await Packet()])

    class Asking(StreamHandler):
        async def handle(self):
            query = Resting()
            await Connected(self.server.upstream, query)
            self.send(b"".join(await Happened(query.answers)))

    with bench(Asking) as here:
        here.server.upstream, here.server.go_on = silent.getsockname(), Event()
        client = here.connect()
        row = here_until(here, lambda: next((row for row in here.table if row.handler == "Resting"), None))
        here.until(lambda: row.total_out)
        _, address = silent.recvfrom(100)
        silent.sendto(b"one ", address)
        silent.sendto(b"two", address)
        here.rest()
        assert row.held_in == 0
        here.server.go_on.set()
        assert here.last_words(client) == b"one two"


@pytest.mark.parametrize("end", ["close", "cancel", "server"])
def test_the_socket_is_closed_with_the_row(end, silent):
    class Waiting(Query):
        async def handle(self):
            await Packet()

    class Asking(StreamHandler):
        async def handle(self):
            self.query = await Connected(self.server.upstream, Waiting())
            await Delay(60)

    with bench(Asking) as here:
        here.server.upstream = silent.getsockname()
        here.connect()
        row = here_until(here, lambda: next((row for row in here.table if row.handler == "Waiting"), None))
        if end == "close":
            row.channel.close()
            here.rest()
        elif end == "cancel":
            here.reactor.cancel([row])
        else:
            here.server.server_close()
        assert row.socket.fileno() == -1
        assert isinstance(row.reason, Cancelled)


def test_a_filter_may_stand_in_front(upstream):
    class Shout(PacketFilter):
        def received(self, packet):
            self.deliver(packet.upper())

    class Asking(StreamHandler):
        async def handle(self):
            query = Query(b"question")
            await Connected(self.server.upstream, query, filters=[Shout])
            self.send(b"".join(await Happened(query.answers)))

    with serving(Asking, "select", upstream=upstream) as server, connect(server) as client:
        assert rest(client) == b"QUESTION"


def test_two_hundred_at_once(upstream):
    class Many(StreamHandler):
        async def handle(self):
            queries = [Query(b"%d " % number) for number in range(200)]
            for query in queries:
                await Connected(self.server.upstream, query)
            for query in queries:
                self.send((await Happened(query.answers))[0])

    with serving(Many, "select", upstream=upstream) as server, connect(server) as client:
        assert rest(client) == b"".join(b"%d " % number for number in range(200))


def test_a_packet_that_is_too_long_is_a_reset(silent):
    class Asking(StreamHandler):
        async def handle(self):
            query = Query(bytes(70_000))
            await Connected(self.server.upstream, query)
            answer = await Happened(query.answers)
            assert isinstance(answer, Reset)
            self.send(str(answer).encode())

    with serving(Asking, "select", upstream=silent.getsockname()) as server, connect(server) as client:
        assert rest(client) == b"connection lost: [Errno 90] Message too long"


def test_a_host_without_memory_is_asked_again_after_a_while_and_not_by_a_loop_that_spins(silent):
    attempts = []

    class Short(socket.socket):
        def send(self, data, *flags):
            if self.type == socket.SOCK_DGRAM:
                attempts.append(data)
                if len(attempts) < 3:
                    raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            return super().send(data, *flags)

    clock = Clock()
    network = SimpleNamespace(**{**vars(socket), "socket": Short})
    with (
        Reactor(clock=clock, network=network) as reactor,
        SelectTCPServer(("127.0.0.1", 0), Lines, reactor=reactor) as server,
        connect(server) as client,
    ):
        server.upstream = silent.getsockname()
        client.sendall(b"one\n")
        until(reactor, lambda: attempts)
        for times in 1, 2:
            for _ in range(20):
                reactor.step(0)  # the socket may be written all the while
            assert attempts == [b"one\n"] * times
            clock.seconds += 1
            until(reactor, lambda: len(attempts) > times)  # noqa: B023 - now
        assert silent.recv(9) == b"one\n"
