"""`DTLS` between a machine and a client of pyOpenSSL, over a simulated network, without a socket or a loop."""

import time
from functools import partial

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from handlers import DatagramHandler, DatagramMachine, Packet, World
from handlers.filter import chain
from reactor.rows.filters.dtls import DTLS, datagrams, drain
from tests.support.dtls import client_connection, dtls_context

MESSAGES = [b"%d" % number for number in range(4)]
TO_SERVER, TO_CLIENT = "to the server", "to the client"
TIME = 60
"""Seconds in which a conversation must be over: several timers of OpenSSL, each twice as long as the last."""


class Keeper(DatagramHandler):
    """Keeps and echoes packets."""

    timeout = None

    def __init__(self):
        self.kept = []

    async def handle(self):
        while True:
            self.kept.append(await Packet())
            self.send(self.kept[-1])


class Network:
    """Carries packets; ``schedule`` says for the first ones what becomes of each, all later ones arrive in order.

    A verdict is how many copies arrive, and how many packets of both directions pass each of them.
    """

    def __init__(self, schedule):
        self.schedule = iter(schedule)
        self.going = []  # (packets that are still to pass it, direction, packet)

    def send(self, direction, packet):
        copies, late = next(self.schedule, (1, 0))
        self.going += [(late, direction, packet)] * copies

    def arrived(self):
        """The next packet that arrives, with its direction; ``None`` if none is under way."""
        if not self.going:
            return None
        first = min(range(len(self.going)), key=lambda index: (self.going[index][0], index))
        _, direction, packet = self.going.pop(first)
        self.going = [(max(0, late - 1), *rest) for late, *rest in self.going]
        return direction, packet


class Conversation:
    """A client that sends `MESSAGES` one after the other, each again until it is echoed, and a server."""

    def __init__(self, schedule, mtu):
        self.mtu = mtu
        self.handler = Keeper()
        self.server = chain(DatagramMachine(self.handler, World("peer")), [partial(DTLS, context=CONTEXT, mtu=mtu)])
        self.client = client_connection(mtu)
        self.network = Network(schedule)
        self.echoed = []
        self.is_open = False
        self.due = 0.0  # when the server's wait is over
        self.server.advance()

    def step(self):
        """Go on until nothing is under way. Returns the seconds until there is something to do; ``None``: it is over."""
        self._let_client()
        self._let_server()
        while (came := self.network.arrived()) is not None:
            direction, packet = came
            if direction is TO_SERVER:
                self.server.feed(packet)
                self._let_server()
            else:
                self.client.bio_write(packet)
                self._let_client()
        if self.echoed == MESSAGES:
            return None
        if self.is_open and not self.server.opening:
            self.client.send(MESSAGES[len(self.echoed)])  # again, or the first time
            self._send()
            return 0.0
        waits = [self.client.DTLSv1_get_timeout(), self.due - time.monotonic() if self.server.opening else None]
        return max(0.0, min(wait for wait in waits if wait is not None))

    def _let_client(self):
        try:
            if not self.is_open:
                self.client.do_handshake()
                self.is_open = True
            while True:
                packet = self.client.recv(65_536)
                if packet not in self.echoed:
                    self.echoed.append(packet)
        except SSL.WantReadError:
            self._send()

    def _send(self):
        for datagram in datagrams(drain(self.client), self.mtu):
            self.network.send(TO_SERVER, datagram)

    def _let_server(self):
        server = self.server
        if server.opening and self.due <= time.monotonic() and self.due:
            server.expire()
        if server.fresh:
            server.fresh = False
            self.due = time.monotonic() + server.patience
        assert server.reason is None
        while server.outbox:
            assert len(server.outbox[0]) <= self.mtu
            self.network.send(TO_CLIENT, server.read())


CONTEXT = dtls_context()
mtus = st.sampled_from([256, 300, 600, 1_232])
arrivals = st.tuples(st.integers(1, 3), st.integers(0, 6))


@st.composite
def schedules(draw):
    """A schedule that loses two packets: each loss doubles the time of OpenSSL's timer, which is a second at first."""
    schedule = draw(st.lists(arrivals, min_size=12, max_size=12))
    for lost in draw(st.lists(st.integers(0, 11), max_size=2)):
        schedule[lost] = (0, 0)
    return schedule


def hold(conversations):
    """Hold conversations side by side, so that their timers run at the same time, and check how they end."""
    end, going = time.monotonic() + TIME, list(conversations)
    while going:
        assert time.monotonic() < end
        waits = [(one, one.step()) for one in going]
        going = [one for one, wait in waits if wait is not None]
        time.sleep(min((wait for _, wait in waits if wait is not None), default=0.0))
    for one in conversations:
        assert one.echoed == MESSAGES
        kept = one.handler.kept
        assert list(dict.fromkeys(kept)) == MESSAGES
        assert (one.server.driver.secured, one.server.held_in, one.server.held_out) == ("dtls1.2", 0, 0)


@settings(deadline=None, max_examples=60)
@given(st.lists(arrivals, max_size=30), mtus)
def test_packets_that_are_doubled_and_reordered_make_the_same_plain_text(schedule, mtu):
    hold([Conversation(schedule, mtu)])


@pytest.mark.slow
@settings(deadline=None, max_examples=4, phases=[Phase.generate])
@given(st.lists(st.tuples(schedules(), mtus), min_size=30, max_size=30))
def test_packets_that_are_lost_doubled_and_reordered_make_the_same_plain_text(conversations):
    hold([Conversation(schedule, mtu) for schedule, mtu in conversations])
