"""`DTLS` between a machine and a client of pyOpenSSL, over a simulated network, without a socket or a loop."""

import subprocess
import sys
import time
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from handlers import DatagramHandler, DatagramMachine, Packet, TimedOut, World
from handlers.filter import chain
from reactor.rows.filters.dtls import DTLS, LIFETIME, Cookie, Door, datagrams, drain, is_hello
from tests import ROOT
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
        """Go on until nothing is under way. Returns the seconds until there is more to do; ``None``: it is over."""
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


# Cookies


def test_a_handshake_is_over_at_its_deadline_and_not_before():
    moments = [100.0]
    dtls = partial(DTLS, context=CONTEXT, timeout=30.0, clock=lambda: moments[-1])
    server = chain(DatagramMachine(Keeper(), World("peer")), [dtls])
    server.advance()
    for moment, is_over in (129.5, False), (130.0, True):
        moments.append(moment)
        server.expire()
        assert isinstance(server.reason, TimedOut) is is_over


def test_a_cookie_is_right_for_a_minute_and_for_one_peer():
    now = 100.0
    cookie = Cookie(("192.0.2.1", 7), lambda: now)
    made = cookie.make()
    assert cookie.is_right(made)
    issued = cookie.issued
    assert issued > 0
    assert not Cookie(("192.0.2.1", 8), lambda: now).is_right(made)
    for wrong in (b"", made[:-1], made + b"x", bytes(24), made[:7] + bytes([made[7] ^ 1]) + made[8:]):
        assert not cookie.is_right(wrong)
    now += LIFETIME - 1
    assert cookie.is_right(made)
    assert cookie.is_right(cookie.make())
    assert cookie.issued > issued
    now += 2
    assert not cookie.is_right(made)


def first_flight(connection):
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return drain(connection)


@pytest.mark.parametrize("junk", [
    b"\x16\xfe\xff" + bytes(10) + b"\1",
    b"\x16\xfe\xff" + bytes(8) + b"\x40\1\1" + bytes(16_384),  # longer than a record may be
    b"\x16\xfe\xff" + bytes(8) + b"\0\x40\1" + bytes(63),
])  # fmt: skip
def test_junk_does_not_spoil_the_door(junk):
    assert is_hello(junk)
    door, client = Door(time.monotonic), client_connection()
    first = first_flight(client)
    assert door.look(CONTEXT, junk, "other") == (0, b"")
    issued, answer = door.look(CONTEXT, first, "peer")
    assert issued == 0
    client.bio_write(answer)
    second = first_flight(client)
    assert door.look(CONTEXT, junk, "other") == (0, b"")
    assert door.look(CONTEXT, second, "other")[0] == 0
    issued, answer = door.look(CONTEXT, second, "peer")
    assert (issued > 0, answer) == (True, b"")
    assert door.look(CONTEXT, junk, "other") == (0, b"")
    assert door.look(CONTEXT, second, "peer") == (
        issued,
        b"",
    )  # it keeps nothing: whether it is a replay, its user knows


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda tail: b"\x16\xfe\xff" + bytes(10) + b"\1" + tail))
def test_no_packet_but_a_hello_is_answered(packet):
    if is_hello(packet):
        assert Door(time.monotonic).look(CONTEXT, packet, "peer") == (0, b"")


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 120))
def test_datagrams_are_whole_records_in_order(bodies, mtu):
    records = [bytes(11) + len(body).to_bytes(2, "big") + body for body in bodies]
    cut = datagrams(b"".join(records), mtu)
    assert b"".join(cut) == b"".join(records)
    for datagram in cut:
        assert len(datagram) <= mtu or datagram in records
    for one, other in pairwise(cut):
        first = 13 + int.from_bytes(other[11:13], "big")
        assert len(one) + first > mtu


def test_without_pyopenssl_the_import_names_the_remedy():
    script = "import sys; sys.modules['OpenSSL'] = None; import reactor.dtls"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "ImportError: reactor.dtls needs pyOpenSSL: pip install 'pyopenssl>=26.4'" in run.stderr
