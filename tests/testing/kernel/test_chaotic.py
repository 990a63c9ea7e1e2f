"""Chaotic sockets: real sockets with injected faults, which lose nothing."""

import errno
import socket
import threading
from contextlib import suppress

import pytest

from handlers import Connected, Flushed, Relayed, Some, StreamHandler, StreamRequestHandler, Until
from handlers.services import EchoDatagram
from reactor import Reactor, SelectTCPServer
from reactor.testing import chaotic
from reactor.testing.kernel.chaos import FEW, ChaoticSocket
from reactor.testing.kernel.faults import AGAIN, EXHAUSTED, RATES, SHORT_READ, SHORT_WRITE
from reactor.testing.running.loopback import modes_here
from tests.support import serving
from tests.support.packets import PairConversation
from tests.support.worlds import Hasty

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
TEXT = b"".join(b"line %d of what is said\n" % number for number in range(200))


class Lines(StreamHandler):
    """Sends each line back in capitals, with low water marks."""

    high_water, low_water = 500, 100

    async def handle(self):
        while True:
            self.send((await Until(b"\n", limit=80)).upper())


class BlockingLines(StreamRequestHandler):
    """The same as a blocking handler."""

    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Relay(StreamHandler):
    """Sends its input to the server at ``target``, and the answers of that back."""

    target = None

    async def handle(self):
        other = await Connected(self.target, Other(self))
        while True:
            await Flushed(other)
            other.send(await Some())

    def interrupted(self, cause):
        return None


class Other(StreamHandler):
    """The connection that the relay opens."""

    def __init__(self, relay):
        self.relay = relay

    async def handle(self):
        while True:
            self.relay.send(await Some())


class WholeRelay(Relay):
    """The same, with all that comes on each side relayed to the other."""

    async def handle(self):
        await Relayed(await Connected(self.target, WholeOther(self)))


class WholeOther(Other):
    """The connection that it opens."""

    async def handle(self):
        await Relayed(self.relay)


@pytest.fixture
def network():
    return chaotic(seed=4711)


def injected(network):
    """The kinds of the injected faults."""
    return {fault.kind for fault in network.plan.injected}


@pytest.fixture
def loop(network):
    reactor = Reactor(network=network)
    yield reactor
    reactor.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_running_server_loses_nothing(seed):
    network = chaotic(seed)
    loop = Reactor(network=network)
    with serving.serving(Lines, "select", reactor=loop) as server:
        for _ in range(20):
            assert serving.ask(server, TEXT[:1000], TEXT[1000:]) == TEXT.upper()
    loop.close()
    assert injected(network) >= {SHORT_READ, SHORT_WRITE, AGAIN}


@pytest.mark.parametrize("mode", ["plain" if mode == "sync" else mode for mode in modes_here()])
@pytest.mark.parametrize("kind", [Lines, BlockingLines])
def test_every_other_mode_loses_nothing(kind, mode, network, loop):
    if (kind, mode) == (BlockingLines, "select"):
        kind = type("Declared", (BlockingLines,), {"request": Until(b"last\n", limit=1 << 20)})
    with serving.serving(kind, mode, reactor=loop) as server:
        text = TEXT + b"last\n"
        assert serving.ask(server, text) == text.upper()


def test_a_handler_that_takes_one_read_for_a_line_fails(loop):
    """Without faults this bug is not found."""
    with serving.serving(Hasty, "select") as calm, serving.connect(calm) as client:
        client.sendall(b"a line\n")
        assert serving.receive(client, 9) == b"<a line\n>"
    with serving.serving(Hasty, "select", reactor=loop) as server:
        answers = [serving.ask(server, b"a line\n") for _ in range(20)]
    assert any(answer != b"<a line\n>" for answer in answers)
    assert all(answer.replace(b"><", b"") == b"<a line\n>" for answer in answers)


@pytest.mark.parametrize("relay", [Relay, WholeRelay])
def test_a_handler_that_is_a_client_loses_nothing(relay, network, loop):
    with serving.serving(Lines, "select") as target:
        kind = type("Relaying", (relay,), {"target": target.server_address})
        with serving.serving(kind, "select", reactor=loop) as server, serving.connect(server) as client:
            client.sendall(TEXT)
            assert serving.receive(client, len(TEXT)) == TEXT.upper()
    assert injected(network) >= {SHORT_READ, SHORT_WRITE, AGAIN}


@pytest.mark.parametrize("kind", [EchoDatagram, type("Twice", (EchoDatagram,), {"high_water": 10})])
def test_datagrams_arrive_whole(kind, network, loop):
    packets = [bytes([65 + number]) * 50 * (1 + number) for number in range(20)]
    with serving.serving(kind, "select", serving.PACKETS["udp"], reactor=loop) as server:
        assert serving.exchange(server, *packets) == packets
    assert injected(network) == {AGAIN}


def test_an_exchange_of_datagrams_is_whole(loop):
    place = serving.PACKETS["udp"]
    with serving.serving(PairConversation, "select", place, reactor=loop) as server, serving.peer(server) as client:
        for _ in range(20):
            client.send(b"one")
            client.send(b"two")
            assert client.recv(100) == b"onetwo"


def test_a_server_short_of_descriptors_accepts_later():
    network = chaotic(3, {EXHAUSTED: 1.0})
    loop = Reactor(network=network)
    with serving.serving(Lines, "select", reactor=loop) as server:
        assert serving.ask(server, b"a\n") == b"A\n"
    loop.close()
    assert injected(network) == {EXHAUSTED}


# One socket


@pytest.fixture
def ends(network):
    ours, theirs = socket.socketpair()
    with network.wrap(ours) as ours, theirs:
        yield ours, theirs


def test_wrapping_a_socket_detaches_it_and_keeps_its_descriptor_and_timeout(network):
    ours, theirs = socket.socketpair()
    ours.settimeout(3.5)
    number = ours.fileno()
    with network.wrap(ours) as wrapped, theirs:
        assert isinstance(wrapped, (ChaoticSocket, socket.socket))
        assert (ours.fileno(), wrapped.fileno(), wrapped.gettimeout()) == (-1, number, 3.5)
        assert (wrapped.family, wrapped.type) == (theirs.family, theirs.type)


def test_a_blocking_socket_has_only_short_reads_and_writes(ends):
    ours, theirs = ends
    theirs.sendall(b"x" * 10_000)
    sizes = []
    while sum(sizes) < 9_000:
        sizes.append(len(ours.recv(1000)))
    assert {size for size in sizes if size < 1000} <= set(range(1, FEW + 1))
    assert 0 < sizes.count(1000) < len(sizes)
    assert ours.send(memoryview(b"abcdef")) in range(1, 7)
    ours.sendall(TEXT)
    assert theirs.recv(1 << 20).endswith(TEXT)


def test_a_non_blocking_socket_has_eagain_too(ends, network):
    ours, theirs = ends
    ours.setblocking(False)
    theirs.sendall(b"x" * 1000)
    heard = 0
    while AGAIN not in injected(network):
        with suppress(BlockingIOError):
            heard += len(ours.recv(4))
    rest = iter(lambda: ours.recv(100), b"")
    with pytest.raises(BlockingIOError, match="temporarily unavailable") as refused:
        heard += sum(map(len, rest))
    assert refused.value.errno == errno.EAGAIN
    assert 0 < heard <= 1000


def test_files_of_a_chaotic_socket_read_and_write_all(ends):
    ours, theirs = ends
    theirs.sendall(TEXT)
    theirs.shutdown(socket.SHUT_WR)
    with ours.makefile("rb") as reader, ours.makefile("wb") as writer:
        assert reader.read() == TEXT
        writer.write(TEXT[:500])
        writer.flush()
    assert theirs.recv(1 << 20) == TEXT[:500]


def test_msg_waitall_is_kept(ends):
    ours, theirs = ends
    theirs.sendall(b"x" * 500)
    assert len(ours.recv(500, socket.MSG_WAITALL)) == 500


def test_a_seed_determines_the_faults():
    def played(seed):
        ours, theirs = socket.socketpair()
        with chaotic(seed).wrap(ours) as ours, theirs:
            theirs.sendall(b"x" * 500)
            return [len(ours.recv(10)) for _ in range(50)]

    assert played(1) == played(1)
    assert len({tuple(played(seed)) for seed in range(10)}) == 10


def test_accepted_sockets_are_chaotic_and_socket_pairs_are_not(network):
    with network.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert isinstance(accepted, ChaoticSocket)
                assert accepted.plan is network.plan
                assert accepted.gettimeout() is None
    ends = network.socketpair()
    assert not any(isinstance(end, ChaoticSocket) for end in ends)
    for end in ends:
        end.close()


def test_a_loop_with_a_chaotic_network_is_woken_by_every_thread(loop):
    called = []
    server = SelectTCPServer(("127.0.0.1", 0), Lines, reactor=loop)
    for number in range(50):
        thread = threading.Thread(target=loop.call_soon, args=(called.append, number))
        thread.start()
        loop.run_while(lambda number=number: len(called) <= number)
        thread.join()
    assert called == list(range(50))
    server.server_close()


def test_the_rates_are_kinds_of_the_simulation_and_without_rates_nothing_is_injected():
    from reactor.testing.kernel.chaos import CHAOS

    assert set(CHAOS) <= set(RATES)
    assert all(0 < rate <= 1 for rate in CHAOS.values())
    calm = chaotic(1, {})
    ours, theirs = socket.socketpair()
    with calm.wrap(ours) as ours, theirs:
        ours.setblocking(False)
        theirs.sendall(b"x" * 100)
        assert ours.recv(100) == b"x" * 100
    assert calm.plan.injected == []


def test_an_unknown_kind_of_fault_is_named_with_those_that_exist():
    for kind in "short_read", "lost":
        with pytest.raises(ValueError, match=f"no fault '{kind}' here; there are 'short read', 'short write', 'again'"):
            chaotic(1, {kind: 0.5})


@pytest.mark.parametrize("rate", [-0.1, 1.5, "often"])
def test_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(ValueError, match="the rate of 'again' is a number from 0 to 1"):
        chaotic(1, {AGAIN: rate})
