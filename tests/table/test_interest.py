"""The selector is a cache of the table: after any events it has the interest that each row wants."""

import socket
from contextlib import ExitStack, closing
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from handlers import DatagramHandler, Delay, Exactly, Flushed, Packet, StreamHandler, Until
from handlers.services import Echo
from reactor import Reactor, SelectTCPServer, SelectUnixDatagramServer
from reactor.loop.interest import Interest
from reactor.loop.selecting import EVENT_HANGUP
from reactor.table.request import Stage
from tests.support.bench import bench
from tests.support.loops import Clock, until
from tests.support.serving import STREAMS, connect, reset

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as many of these tests are


class Script(StreamHandler):
    """Waits, sends, half-closes or raises as the letters of its input say."""

    timeout = 20
    high_water, low_water = 60_000, 20_000

    async def handle(self):
        while True:
            letter = await Exactly(1)
            if letter == b"s":
                self.send(bytes(50_000))
            elif letter == b"f":
                await Flushed()
            elif letter == b"d":
                await Delay(3)
            elif letter == b"u":
                await Until(b"!")
            elif letter == b"o":
                for other in self.server.everybody:
                    other.send(bytes(5_000))
            elif letter == b"e":
                self.send_eof()
            elif letter == b"q":
                return
            elif letter == b"x":
                raise ZeroDivisionError

    def setup(self):
        self.server.everybody.append(self)

    def finish(self):
        self.server.everybody.remove(self)


class Exchange(RuleBasedStateMachine):
    """Clients do anything; the selector must have exactly the interest that wait and output of each row imply."""

    @initialize(unix=st.booleans())
    def begin(self, unix):
        self.stack = ExitStack()
        place = STREAMS["unix" if unix else "tcp"]
        self.here = self.stack.enter_context(bench(Script, place, sndbuf=4096, clock=Clock()))
        self.here.server.everybody = []
        self.clients = []

    def teardown(self):
        if hasattr(self, "stack"):
            self.stack.close()

    def client(self, number):
        return self.clients[number % len(self.clients)]

    some_client = precondition(lambda self: getattr(self, "clients", None))

    @rule()
    def arrive(self):
        self.clients.append(self.here.connect(4096))

    @some_client
    @rule(number=st.integers(0, 9), letters=st.text("sfduoeqx!", min_size=1, max_size=6))
    def write(self, number, letters):
        try:
            self.client(number).setblocking(False)
            self.client(number).send(letters.encode())
        except (BlockingIOError, ConnectionError):
            pass

    @some_client
    @rule(number=st.integers(0, 9), size=st.sampled_from([1, 4000, 100_000]))
    def read(self, number, size):
        try:
            self.client(number).setblocking(False)
            self.client(number).recv(size)
        except (BlockingIOError, ConnectionError):
            pass

    @some_client
    @rule(number=st.integers(0, 9))
    def half_close(self, number):
        try:
            self.client(number).shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @some_client
    @rule(number=st.integers(0, 9), rudely=st.booleans())
    def leave(self, number, rudely):
        client = self.clients.pop(number % len(self.clients))
        if rudely:
            reset(client)
        client.close()

    @rule(seconds=st.sampled_from([0.5, 3, 19, 21]))
    def wait(self, seconds):
        self.here.clock.seconds += seconds

    @rule(steps=st.integers(1, 5))
    def step(self, steps):
        for _ in range(steps):
            self.here.reactor.step(0)

    @invariant()
    def the_selector_holds_what_the_rows_imply(self):
        if not hasattr(self, "here") or self.here.reactor.timeout() == 0:
            return  # a row is not settled yet
        here, implied = self.here, {self.here.server.fileno(): EVENT_READ}
        for row in here.table:
            machine = row.channel
            events = (EVENT_READ if machine.wants_input or row.lingering else 0) | (
                EVENT_WRITE if machine.held_out else 0
            )
            if not events and machine.output != "ended":
                events = row.mask & EVENT_HANGUP  # unless it has come, and input before it is still to be read
            if events:
                implied[row.descriptor] = events
            assert row.mask == events
            assert not row.lingering or row.stage is Stage.LINGERING, "a row that has nothing left to do"
        assert {fd: key.events for fd, key in here.selector.get_map().items()} == implied
        assert all(key.data in here.table for fd, key in here.selector.get_map().items() if fd != here.server.fileno())

    @invariant()
    def every_row_has_its_deadline(self):
        if hasattr(self, "here"):
            for row in self.here.table:
                assert row.deadline <= self.here.clock.seconds + 20
                assert row.armed <= row.deadline


Exchange.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_exchange = Exchange.TestCase


def test_a_datagram_server_that_is_closed_with_output_waiting_leaves_nothing_behind(tmp_path):
    """The next server may have the same descriptor, and the selector must have no entry of the old one."""

    class Burst(DatagramHandler):
        async def handle(self):
            await Packet()
            for _ in range(1000):
                self.send(bytes(1000))
            await Flushed()

    selector = DefaultSelector()
    with closing(Reactor(selector)) as reactor:
        server = SelectUnixDatagramServer(str(tmp_path / "old"), Burst, reactor=reactor)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(tmp_path / "client"))
            client.sendto(b"x", server.server_address)
            until(reactor, lambda: [row for row in reactor.table if row.total_out and row.held_out])
            server.server_close()
            assert len(reactor.table) == 0
            assert dict(selector.get_map()) == {}
            assert not reactor.sources
            assert not reactor.busy
        with SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server, connect(server) as client:
            client.sendall(b"word")
            until(reactor, lambda: sum(row.total_out for row in reactor.table) == 4)


def test_a_copy_of_the_parents_selector_is_not_changed():
    with DefaultSelector() as selector:
        interest = Interest(selector)
        interest.is_copy = True
        source = SimpleNamespace(mask=EVENT_READ, descriptor=7)
        interest.want(source, EVENT_READ | EVENT_WRITE)
        assert source.mask == 0
        assert not selector.get_map()
