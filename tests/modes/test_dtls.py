"""DTLS in front of datagram handlers, in all four modes, with a client of pyOpenSSL."""

import gc
import os
import select
import socket
import threading
import time
import weakref
from contextlib import ExitStack, closing, contextmanager

import pytest
from OpenSSL import SSL

from handlers import DatagramHandler, Delay, Flushed, Packet, PacketFilter
from handlers.services import Echo, EchoDatagram
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from reactor.dtls import DTLSMixIn
from reactor.rows.filters.dtls import DTLS, Door, drain
from reactor.servers.associations import Association
from reactor.table.request import Stage
from tests.support.certificates import KEYS
from tests.support.dtls import Client, client, client_connection, dtls_context
from tests.support.loops import until
from tests.support.packets import Bare, Pair
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

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
every_mode = pytest.mark.parametrize("mode", MODES)
UDP = PACKETS["udp"]


def secure(handler, mode="select", ask_client=False, place=UDP, **members):
    return serving(handler, mode, place, DTLSMixIn, context=dtls_context(ask_client), **members)


def associations(server):
    """The rows that are no request in an association."""
    return [row for row in server.reactor.table if row.is_arrival]


def reasons(server):
    return [(entry["handler"], entry["reason"]) for entry in server.reactor.table.closed]


# Handlers


@every_mode
def test_requests_that_end_with_each_packet_share_an_association(mode):
    with secure(EchoDatagram, mode) as server, client(server) as one:
        shaken = len(one.gone)
        assert [one.ask(b"%d" % number) for number in range(20)] == [b"%d" % number for number in range(20)]
        assert len(one.gone) == shaken + 20
        assert len(associations(server)) == 1


@every_mode
def test_a_request_takes_the_packets_that_it_waits_for(mode):
    with secure(Pair, mode) as server, client(server) as one:
        for _ in range(3):
            one.send(b"1")
            assert one.ask(b"2") == b"12"


@every_mode
def test_packets_that_come_while_a_request_is_busy_begin_the_next_ones(mode):
    class Busy(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            await Delay(0.01)
            self.send(packet)

    with secure(Busy, mode) as server, client(server) as one:
        for number in range(5):
            one.send(b"%d" % number)
        assert [one.recv() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


@every_mode
def test_the_key_is_of_plain_packets(mode):
    class Keyed(Pair):
        @staticmethod
        def key(packet):
            return packet[:1]

    with secure(Keyed, mode) as server, client(server) as one:
        for packet in b"a1", b"b1", b"b2":
            one.send(packet)
        assert one.recv() == b"b1b2"
        assert one.ask(b"a2") == b"a1a2"


@every_mode
def test_filters_behind_see_plain_packets(mode):
    class Upper(PacketFilter):
        def received(self, packet):
            self.deliver(packet.upper())

    with secure(EchoDatagram, mode, filters=[Upper]) as server, client(server) as one:
        assert one.ask(b"hello") == b"HELLO"


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_a_request_waits_for_a_peer_that_reads_slowly(mode):
    class Much(DatagramHandler):
        max_output = 100_000

        async def handle(self):
            await Packet()
            for number in range(500):
                self.send(b"%d" % number + bytes(10_000))
                await Flushed()

    with secure(Much, mode, place=PACKETS["unix"]) as server, peer(server) as sock:
        one = Client(server, sock).shake_hands()
        one.send(b"go on")
        if mode != "fork":
            wait_until(lambda: [row for row in server.reactor.table if row.held_out > 60_000])
            assert max(row.held_out for row in server.reactor.table) < 100_000
        assert [int(one.recv().rstrip(b"\0")) for _ in range(500)] == list(range(500))
        one.bye()


class Who(DatagramHandler):
    async def handle(self):
        await Packet()
        self.send(f"{self.secured} {self.principal} {self.peer[1]}".encode())


@every_mode
def test_a_handler_knows_the_version_and_the_subject_of_the_certificate(mode):
    with secure(Who, mode, ask_client=True) as server, client(server, cert=KEYS / "alice.pem") as one:
        assert one.ask(b"who") == b"dtls1.2 CN=alice,O=Example %d" % one.sock.getsockname()[1]
        one.bye()
        wait_until(lambda: server.reactor.table.closed and not server.reactor.table)
        ended = [entry for entry in server.reactor.table.closed if entry["total_in"] > 100]  # the association's
        assert [(entry["secured"], entry["principal"]) for entry in ended] == [("dtls1.2", "CN=alice,O=Example")]
        assert {entry["in_front"] for entry in ended} == {"dtls1.2"}


@every_mode
def test_a_certificate_that_is_not_asked_for_names_nobody(mode):
    with secure(Who, mode) as server, client(server) as one:
        assert one.ask(b"who").startswith(b"dtls1.2 None ")


@every_mode
def test_an_exception_ends_its_request_and_not_the_association(mode):
    class Faulty(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            if packet == b"fail":
                raise ArithmeticError(packet)
            self.send(packet)

    errors = []
    told = {"handle_error": lambda server, request, address: errors.append(address)}
    with secure(Faulty, mode, **told) as server, client(server) as one:
        assert one.ask(b"first") == b"first"
        one.send(b"fail")
        assert one.ask(b"second") == b"second"
        assert errors == ([] if mode == "fork" else [one.sock.getsockname()])


@every_mode
@pytest.mark.parametrize("pause", [0, 0.05])
def test_a_constructor_that_raises_ends_its_request_and_not_the_association(mode, pause):
    """With a pause the packet waits until the loop releases the request before."""

    class Faulty(DatagramHandler):
        made = 0

        def __init__(self):
            Faulty.made += 1
            if Faulty.made == 2:
                raise ArithmeticError("the second request")

        async def handle(self):
            packet = await Packet()
            if pause:
                await Delay(pause)
            self.send(packet)

    errors = []
    told = {"handle_error": lambda server, request, address: errors.append(address)}
    with secure(Faulty, mode, **told) as server, client(server) as one:
        for packet in b"first", b"lost", b"third":
            one.send(packet)
        assert [one.recv(), one.recv()] == [b"first", b"third"]
        assert errors == ([] if mode == "fork" else [one.sock.getsockname()])


def test_a_request_is_a_row_beside_its_association():
    with secure(Pair) as server, client(server) as one:
        one.send(b"1")
        wait_until(lambda: len(server.reactor.table) == 2)
        rows = [row.as_dict() for row in server.reactor.table]
        assert [(row["handler"], row["secured"], row["stage"]) for row in rows] == [
            ("Association", "dtls1.2", "serving"),
            ("Pair", "dtls1.2", "serving"),
        ]
        assert rows[1]["wait"] == "Packet()"
        assert [row["in_front"] for row in rows] == ["dtls1.2", "dtls1.2"]


def test_packets_over_the_bound_of_open_requests_are_dropped_and_counted():
    class Each(Pair):
        key = staticmethod(bytes)

    with secure(Each) as server, client(server) as one:
        for number in range(70):
            one.send(b"%d" % number)
        wait_until(lambda: server.reactor.stats()["refused"] == {"backlog": 6})
        assert one.ask(b"7") == b"77"


# The handshake


@contextmanager
def knocking(server):
    """A client that has not begun, and the first datagram of its handshake."""
    one = Client(server)
    with pytest.raises(SSL.WantReadError):
        one.connection.do_handshake()
    try:
        yield one, drain(one.connection)
    finally:
        one.bye()
        one.close()


@contextmanager
def stalled(server):
    """A client that has sent its cookie and does not go on by itself."""
    with knocking(server) as (one, first):
        one.sock.send(first)
        assert one.take()
        with pytest.raises(SSL.WantReadError):
            one.connection.do_handshake()
        one.flush()
        yield one


@every_mode
def test_nothing_is_kept_of_a_peer_that_has_not_returned_its_cookie(mode):
    with secure(EchoDatagram, mode) as server, ExitStack() as stack:
        for _ in range(50):
            one, first = stack.enter_context(knocking(server))
            for packet in (first, first[:60], first[:-1], b"\x16\xfe\xff" + bytes(10) + b"\1", os.urandom(100), b""):
                one.sock.send(packet)
            assert one.take()
            assert len(one.came[0]) <= len(first)
            while one.take(0):
                pass
            assert sum(map(len, one.came)) <= len(first)
        assert not server.reactor.table
        assert not server._srv.exchanges.opened


def test_no_answer_to_an_unverified_peer_is_longer_than_its_packet():
    door, context = Door(lambda: 1.0), dtls_context()
    connection = client_connection()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    first = drain(connection)
    for end in range(14, len(first)):
        assert door.look(context, first[:end], "peer") == (0, b"")
    issued, answer = door.look(context, first, "peer")
    assert (issued, answer[:1]) == (0, b"\x16")
    assert len(answer) < len(first) // 2


@every_mode
def test_a_cookie_is_of_its_peer(mode):
    with secure(EchoDatagram, mode) as server, knocking(server) as (one, first), knocking(server) as (other, _):
        one.sock.send(first)
        assert one.take()
        with pytest.raises(SSL.WantReadError):
            one.connection.do_handshake()
        with_cookie = drain(one.connection)
        other.sock.send(with_cookie)
        assert other.take()
        assert len(other.came[0]) < 100  # another cookie
        assert not server.reactor.table
        one.sock.send(with_cookie)
        one.shake_hands()
        assert one.ask(b"hello") == b"hello"


def test_a_handshake_is_a_stage_with_a_deadline():
    with secure(EchoDatagram, handshake_timeout=0.2) as server, stalled(server):
        [row] = wait_until(lambda: [row for row in server.reactor.table if row.stage is Stage.OPENING])
        assert row.state == "DTLS"
        assert row.wait.startswith("Opening('the DTLS handshake', timeout=0.")
        wait_until(lambda: not server.reactor.table)
        [(_, reason)] = reasons(server)
        assert reason.startswith("TimedOut: timed out in Opening('the DTLS handshake'")


@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_a_stalled_handshake_ends_in_every_mode(mode):
    with secure(EchoDatagram, mode, handshake_timeout=0.05) as server, stalled(server):
        wait_until(lambda: server.reactor.table.closed)
        server.handshake_timeout = PATIENCE
        with client(server) as one:
            assert one.ask(b"hello") == b"hello"


@every_mode
def test_a_flight_that_is_lost_is_sent_again(mode):
    with secure(EchoDatagram, mode, handshake_timeout=1.2) as server, stalled(server) as one:
        assert one.take()
        first = one.came[-1]
        one.connection = client_connection()  # what has come is lost
        assert one.take()
        again = one.came[-1]
        assert (again[:1], len(again)) == (first[:1], len(first))
        assert again[5:11] > first[5:11]  # the number of the record


@every_mode
def test_the_datagrams_of_a_handshake_respect_the_mtu(mode):
    with secure(EchoDatagram, mode, mtu=300) as server, client(server, mtu=300) as one:
        assert max(map(len, one.came)) <= 300
        assert len(one.came) > 3
        assert one.ask(b"x" * 10_000) == b"x" * 10_000  # a packet is one record, in one datagram


@every_mode
def test_a_client_without_a_certificate_is_refused_with_a_cause(mode):
    with secure(EchoDatagram, mode, ask_client=True) as server:
        with pytest.raises(SSL.Error, match=r"handshake failure|certificate required"), client(server):
            pass
        wait_until(lambda: server.reactor.table.closed)
        [(_, reason)] = reasons(server)
        assert reason == "DTLSFailed: DTLS failed: peer did not return a certificate"


def test_garbage_does_not_end_a_handshake():
    with secure(EchoDatagram) as server, stalled(server) as one:
        wait_until(lambda: server.reactor.table)
        for _ in range(200):
            one.sock.send(os.urandom(1_000))
        for packet in one.gone:
            one.sock.send(packet)
        one.shake_hands()
        assert one.ask(b"hello") == b"hello"


@every_mode
def test_a_session_is_resumed(mode):
    with secure(Who, mode, ask_client=True) as server:
        with client(server, cert=KEYS / "alice.pem") as one:
            assert one.ask(b"who").startswith(b"dtls1.2 CN=alice")
            size = sum(map(len, one.came))
        with client(server, resumes=one.connection) as other:
            assert other.ask(b"who").startswith(b"dtls1.2 CN=alice")
            assert sum(map(len, other.came)) < size - 400  # no certificate


@every_mode
def test_a_packet_in_the_datagram_that_ends_the_handshake_is_answered(mode):
    with secure(EchoDatagram, mode) as server, ExitStack() as stack:
        with client(server) as first:
            pass
        other = Client(server, resumes=first.connection)  # the client's flight is the last one then
        stack.callback(other.close)
        other.attempt_unsent(other.connection.do_handshake)
        sent = len(other.gone)
        other.send(b"hello")
        assert len(other.gone) == sent + 1
        assert other.recv() == b"hello"
        other.bye()


@every_mode
def test_many_handshakes_at_once(mode):
    with secure(EchoDatagram, mode, max_children=10, max_threads=10) as server, ExitStack() as stack:
        clients = [stack.enter_context(stalled(server)) for _ in range(1 if mode == "plain" else 10)]
        for one in clients:
            one.shake_hands()
        for one in clients:
            one.send(b"hello")
        assert {one.recv() for one in clients} == {b"hello"}


# The end of an association


@every_mode
def test_a_close_notify_of_the_client_ends_the_association(mode):
    with secure(EchoDatagram, mode) as server, client(server) as one:
        assert one.ask(b"hello") == b"hello"
        one.bye()
        assert one.recv() is None  # the server's close_notify
        wait_until(lambda: not server.reactor.table)
        assert {reason for _, reason in reasons(server)} == {""}
        wait_until(lambda: not server._srv.exchanges.opened)


def test_a_record_behind_the_end_of_an_association_begins_no_other():
    """Not even in the step in which the loop is told that the thread has ended the association."""
    kind = server_class("thread", UDP, DTLSMixIn, context=dtls_context())
    with Reactor() as loop, made(kind, UDP, EchoDatagram, loop) as server, closing(Client(server)) as one:

        def answers(client, packet):
            threading.Thread(target=lambda: told.append(client.shake_hands().ask(packet)), daemon=True).start()
            until(loop, lambda: packet in told)

        told = []
        answers(one, b"hello")
        one.connection.send(b"late")
        late = drain(one.connection)
        [row] = loop.table
        one.bye()
        loop.step(PATIENCE)
        wait_until(lambda: row.stage is Stage.ENDED)
        one.sock.send(late)
        until(loop, lambda: not select.select([server], [], [], 0)[0])
        assert loop.stats()["refused"] == {"no association": 1}
        assert len(loop.table) == 0
        while one.take(0):
            pass  # the close_notify of the server
        answers(Client(server, one.sock), b"again")


def test_a_close_notify_in_a_request_is_told_to_its_handler():
    causes = []

    class Told(Pair):
        def interrupted(self, cause):
            causes.append(type(cause).__name__)

    with secure(Told) as server, client(server) as one:
        one.send(b"1")
        one.bye()
        assert one.recv() is None
        wait_until(lambda: not server.reactor.table)
    assert causes == ["EndOfStream"]


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_a_server_that_closes_lets_handlers_speak_and_says_close_notify(mode):
    class Polite(DatagramHandler):
        async def handle(self):
            while True:
                self.send(await Packet())

        def interrupted(self, cause):
            self.send(type(cause).__name__.encode())

    with made(server_class(mode, UDP, DTLSMixIn, context=dtls_context()), UDP, Polite) as server:
        one = Client(server)
        with running(server):
            one.shake_hands()
            assert one.ask(b"hello") == b"hello"
        bounded(server.server_close)
        assert (one.recv(), one.recv()) == (b"Cancelled", None)
        one.close()


@every_mode
def test_a_silent_peer_leaves_nothing(mode):
    with secure(EchoDatagram, mode, association_timeout=0.1) as server, client(server) as one:
        assert one.ask(b"hello") == b"hello"
        assert one.recv() is None
        wait_until(lambda: not server.reactor.table)
        wait_until(lambda: not server._srv.exchanges.opened)
        assert ("TimedOut: timed out in Packet(timeout=0.1)") in [reason for _, reason in reasons(server)]


def test_an_open_request_keeps_a_silent_association():
    class Late(DatagramHandler):
        async def handle(self):
            await Packet()
            await Delay(300)
            self.send(b"late")

    class Clock:
        ahead = 0
        time = staticmethod(time.time)

        def monotonic(self):
            return time.monotonic() + self.ahead

        def move(self, seconds):
            self.ahead += seconds
            reactor.wake()

    clock = Clock()
    with (
        Reactor(clock=clock) as reactor,
        secure(Late, reactor=reactor, association_timeout=50) as server,
        client(server) as one,
    ):
        one.send(b"hello")
        wait_until(lambda: "Delay(300)" in [row.wait for row in reactor.table])
        clock.move(301)
        assert one.recv() == b"late"
        wait_until(lambda: clock.move(51) or not reactor.table)
        assert one.recv() is None


@every_mode
def test_a_peer_that_has_lost_its_keys_begins_a_new_association(mode):
    """RFC 6347, section 4.2.8: the same address, and a ClientHello."""
    with secure(Pair, mode) as server, client(server) as old:
        old.send(b"1")
        assert old.ask(b"2") == b"12"
        old.send(b"1")  # a request is open
        new = Client(server, old.sock).shake_hands()
        new.send(b"3")
        assert new.ask(b"4") == b"34"
        assert len(associations(server)) == 1
        assert "Cancelled: the peer has begun its next request" in [reason for _, reason in reasons(server)]
        for packet in list(old.gone):  # a replay of what has begun and made up the old association
            new.sock.send(packet)
        new.send(b"5")
        assert new.ask(b"6") == b"56"
        assert len(associations(server)) == 1
        new.bye()


@every_mode
def test_what_is_forged_replayed_or_garbled_ends_nothing(mode):
    with secure(EchoDatagram, mode) as server, client(server) as one:
        assert one.ask(b"hello") == b"hello"
        record = one.gone[-1]
        with knocking(server) as (_, first):
            pass
        forged = [
            *one.gone,
            record[:-1] + bytes([record[-1] ^ 1]),
            b"\x15\xfe\xfd" + bytes(9) + b"\2\2\x28",  # an alert of epoch 0
            b"\x15\xfe\xfd\0\1" + bytes(5) + b"\x09\0\2\2\x28",
            b"\x17\xfe\xfd\0\2" + bytes(6) + b"\0\x05hello",
            first,
            first[:50],
            os.urandom(1_000),
            b"",
            b"\x16\xfe\xfd\0\0" + bytes(6) + b"\x40\0\1" + bytes(16_383),
        ]
        for packet in forged:
            one.sock.send(packet)
        assert one.ask(b"again") == b"again"
        assert len(associations(server)) == 1


@every_mode
@pytest.mark.parametrize(("size", "reason"), [
    (16_385, "Reset: connection lost: [Errno 90] a packet of 16385 bytes; DTLS takes 16384 at most"),
    (0, "ValueError: DTLS can't carry an empty packet: send at least one byte"),
])  # fmt: skip
def test_a_packet_that_no_record_can_carry_ends_the_association_with_a_cause(mode, size, reason):
    class Odd(DatagramHandler):
        async def handle(self):
            await Packet()
            self.send(bytes(size))

    with secure(Odd, mode, handle_error=lambda *_: None) as server, client(server) as one:
        one.send(b"hello")
        wait_until(lambda: not server.reactor.table)
        assert reason in [told for _, told in reasons(server)]


def test_a_client_that_renegotiates_is_refused_and_served():
    with secure(EchoDatagram) as server, client(server) as one:
        assert one.connection.renegotiate()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            one.attempt(one.connection.recv, 1)
        assert len(associations(server)) == 1


def test_what_has_ended_is_freed_without_the_garbage_collector():
    class Weak(Pair):
        def setup(self):
            alive.add(self)

    def count():
        return sum(isinstance(thing, (Association, DTLS)) for thing in gc.get_objects())

    alive = weakref.WeakSet()
    gc.collect()
    gc.disable()
    try:
        before = count()
        with secure(Weak) as server, client(server) as one:
            one.send(b"1")
            assert one.ask(b"2") == b"12"
            one.send(b"3")
            one.bye()
            assert one.recv() is None
            wait_until(lambda: not server.reactor.table)
            wait_until(lambda: not server._srv.exchanges.opened)
            wait_until(lambda: not alive)
            wait_until(lambda: count() == before)
    finally:
        gc.enable()


def test_a_handshake_that_has_failed_is_freed_without_the_garbage_collector():
    def count():
        return sum(isinstance(thing, (Association, DTLS)) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = count()
        with secure(EchoDatagram, ask_client=True) as server:
            with pytest.raises(SSL.Error), client(server):
                pass
            wait_until(lambda: not server.reactor.table)
            wait_until(lambda: not server._srv.exchanges.opened)
            wait_until(lambda: count() == before)
    finally:
        gc.enable()


# Limits


def test_an_association_counts_as_one_request_of_its_host():
    with secure(EchoDatagram, max_per_peer=2) as server, client(server) as one, client(server) as other:
        assert (one.ask(b"1"), other.ask(b"2")) == (b"1", b"2")
        with stalled(server):
            wait_until(lambda: server.reactor.stats()["refused"] == {"max_per_peer": 1})
        one.bye()
        wait_until(lambda: len(associations(server)) == 1)
        with client(server) as third:
            assert third.ask(b"3") == b"3"


def test_at_the_bound_a_handshake_waits_for_an_association_to_end():
    with secure(EchoDatagram, max_requests=1) as server, client(server) as one, stalled(server) as other:
        assert one.ask(b"1") == b"1"
        assert not other.take(0.05)
        one.bye()
        other.shake_hands()
        assert other.ask(b"2") == b"2"


def test_the_association_that_has_been_idle_longest_makes_room():
    with secure(EchoDatagram, max_requests=1, at_limit="evict") as server, client(server) as one:
        assert one.ask(b"1") == b"1"
        with client(server) as other:
            assert other.ask(b"2") == b"2"
        assert not [row for row in associations(server) if row.peer == one.sock.getsockname()]


def test_verify_request_is_asked_for_each_association():
    asked = []

    class Asked:
        def verify_request(self, request, client_address):
            asked.append(client_address)
            return True

    kind = server_class("select", UDP, Asked, DTLSMixIn, context=dtls_context())
    with made(kind, UDP, EchoDatagram) as server, running(server), client(server) as one:
        assert [one.ask(b"1"), one.ask(b"2")] == [b"1", b"2"]
        assert asked == [one.sock.getsockname()]


def test_packets_of_unknown_peers_are_dropped_and_counted():
    with secure(EchoDatagram) as server, peer(server) as stranger:
        stranger.send(b"no hello")
        wait_until(lambda: server.reactor.stats()["refused"] == {"no association": 1})
        assert not server.reactor.table


def test_an_icmp_error_ends_the_association():
    class Late(DatagramHandler):
        async def handle(self):
            await Packet()
            await Delay(0.05)
            self.send(b"late")

    with secure(Late) as server, stalled(server) as one:
        one.shake_hands()
        one.send(b"hello")
        one.sock.close()
        one.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.sock.connect(server.server_address)
        wait_until(lambda: not server.reactor.table)
        assert "Reset: connection lost: [Errno 111] Connection refused" in [told for _, told in reasons(server)]


# Servers


@pytest.mark.parametrize("place", ["udp6", "unix"])
def test_other_addresses(place):
    with secure(EchoDatagram, place=PACKETS[place]) as server, peer(server) as sock:
        one = Client(server, sock).shake_hands()
        assert one.ask(b"hello") == b"hello"


def test_a_new_context_is_for_new_handshakes():
    with secure(EchoDatagram) as server, client(server) as one:
        server.context = dtls_context(ask_client=True)
        assert one.ask(b"old") == b"old"
        with client(server, cert=KEYS / "alice.pem") as other:
            assert other.ask(b"new") == b"new"
        with pytest.raises(SSL.Error), client(server):
            pass


@pytest.mark.slow
def test_a_context_that_can_not_serve_is_an_error_of_new_handshakes_only():
    errors = []
    told = {"handle_error": lambda server, request, address: errors.append(address)}
    with secure(EchoDatagram, **told) as server, client(server) as one, knocking(server) as (other, first):
        server.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        other.sock.send(first)
        wait_until(lambda: errors == [other.sock.getsockname()])
        assert one.ask(b"hello") == b"hello"
        server.context = dtls_context()
        assert other.shake_hands().ask(b"hello") == b"hello"


def test_two_servers_share_a_context():
    context = dtls_context()
    with (
        serving(EchoDatagram, "select", UDP, DTLSMixIn, context=context) as one,
        serving(EchoDatagram, "thread", UDP, DTLSMixIn, context=context) as other,
        client(one) as first,
        client(other) as second,
    ):
        assert (first.ask(b"1"), second.ask(b"2")) == (b"1", b"2")


@contextmanager
def refusal(kind, text):
    with pytest.raises(kind, match=text):
        yield


def make(base, handler=EchoDatagram, **options):
    kind = type("Made", (DTLSMixIn, base), {})
    kind(("127.0.0.1", 0), handler, **options).server_close()


def test_what_can_not_be_served_is_refused_when_the_server_is_made():
    with refusal(TypeError, "no certificate: give it context="):
        make(SelectUDPServer)
    with refusal(TypeError, r"stream sockets, and DTLS is for datagrams: take reactor\.tls\.TLSMixIn"):
        make(SelectTCPServer, Echo, context=dtls_context())
    with refusal(TypeError, "which a blocking handler of datagrams goes round"):
        make(SelectUDPServer, Bare, context=dtls_context())
    context = dtls_context()
    SSL.Connection(context)
    with refusal(ValueError, "has made a connection already: give a new one"):
        make(SelectUDPServer, context=context)
    with refusal(ValueError, "no certificate with a key that DTLS can use"):
        make(SelectUDPServer, context=SSL.Context(SSL.DTLS_SERVER_METHOD))
    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.use_certificate_chain_file(KEYS / "service.test.pem")
    context.use_privatekey_file(KEYS / "service.test.pem")
    with refusal(ValueError, "no certificate with a key that DTLS can use"):
        make(SelectUDPServer, context=context)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    with refusal(ValueError, "is for TLS: make it with DTLS_SERVER_METHOD"):
        make(SelectUDPServer, context=context)
