"""`examples/nameserver.py`: what it answers itself, what it forwards, and what it must not believe."""

import socket
from contextlib import contextmanager

import dns.message
import dns.query
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import nameserver
from examples.nameserver import Query, Stream
from handlers import DatagramMachine, StreamMachine, World
from tests.support.examples import running
from tests.support.nameserver import naming, upstream
from tests.support.strategies import cuts

TIMEOUT = 20


def ask(address, name, kind="A", transport=dns.query.udp, **options):
    query = dns.message.make_query(name, kind, **options)
    answer = transport(query, address[0], TIMEOUT, address[1])
    assert answer.id == query.id
    return answer.rcode(), [record.to_text() for found in answer.answer for record in found]


@pytest.mark.parametrize("transport", [dns.query.udp, dns.query.tcp])
def test_names_of_the_zone(transport):
    with naming() as address:
        assert ask(address, "here.example", "A", transport) == (0, ["127.0.0.1"])
        assert ask(address, "HERE.example", "AAAA", transport) == (0, ["::1"])
        assert ask(address, "six.example", "A", transport) == (0, [])
        assert ask(address, "here.example", "ANY", transport) == (0, ["127.0.0.1", "::1"])


@pytest.mark.parametrize("transport", [dns.query.udp, dns.query.tcp])
def test_other_names_are_forwarded(transport):
    with upstream() as far, naming(far) as address:
        assert ask(address, "other.example", "A", transport) == (0, ["192.0.2.77"])


def test_many_queries_at_once_of_one_port():
    with upstream() as far, naming(far) as address, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT)
        client.connect(address)
        queries = [dns.message.make_query(f"n{number}.example", "A", id=number) for number in range(100)]
        for query in queries:
            client.send(query.to_wire())
        got = [dns.message.from_wire(client.recv(65_535)) for _ in queries]
        assert sorted(answer.id for answer in got) == list(range(100))
        assert all(queries[answer.id].is_response(answer) for answer in got)


def test_packets_that_are_no_answer_are_not_believed():
    with upstream() as far, naming(far) as address:
        assert ask(address, "forged.example") == (0, ["192.0.2.77"])


@contextmanager
def silent():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.mark.parametrize("transport", [dns.query.udp, dns.query.tcp])
def test_an_upstream_that_is_not_there_is_a_failure(transport):
    with silent() as sock:
        address = sock.getsockname()
    with naming(address) as here:
        assert ask(here, "other.example", "A", transport) == (dns.rcode.SERVFAIL, [])


def test_an_upstream_that_does_not_answer_is_asked_twice_and_then_a_failure(monkeypatch):
    monkeypatch.setattr(nameserver.DatagramUpstream, "timeout", 0.05)
    with silent() as sock, naming(sock.getsockname()) as address:
        assert ask(address, "other.example") == (dns.rcode.SERVFAIL, [])
        sock.setblocking(False)
        first, second = sock.recv(999), sock.recv(999)
        assert first == second
        with pytest.raises(BlockingIOError):
            sock.recv(999)


def replies(packet):
    machine = DatagramMachine(Query(), World())
    machine.feed(packet)
    return list(iter(machine.read, None))


GOOD = dns.message.make_query("here.example", "A", id=7).to_wire()


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (b"", None),
        (GOOD[:11], None),
        (GOOD[:2] + b"\x81" + GOOD[3:], None),
        (GOOD[:12], 1),
        (GOOD[:-3], 1),
        (GOOD[:5] + b"\x02" + GOOD[6:], 1),
        (GOOD[:12] + b"\xc0\x0c" + GOOD[-4:], 1),
        (GOOD[:12] + b"\x3f" + b"a" * 63 * 5, 1),
        (GOOD[:2] + b"\x28" + GOOD[3:], 4),
    ],
)
def test_what_is_no_query_is_refused_or_dropped(packet, code):
    got = replies(packet)
    assert [answer[3] & 15 for answer in got] == ([] if code is None else [code])
    assert all(answer[:2] == packet[:2] for answer in got)


@given(st.binary(max_size=60).map(lambda tail: GOOD[:2] + b"\x01" + tail))
@settings(max_examples=100)
def test_any_packet_has_one_reply_at_most(packet):
    machine = DatagramMachine(Query(), World())
    machine.feed(packet)
    assert machine.finished or machine.wait.outside
    assert len(list(iter(machine.read, None))) <= 1


@given(cuts(b"".join(len(GOOD).to_bytes(2, "big") + GOOD for _ in range(3))))
@settings(max_examples=20)
def test_queries_of_a_stream_are_found_wherever_it_is_cut(pieces):
    world = World()
    machine = StreamMachine(Stream(), world)
    for piece in pieces:
        machine.feed(piece)
    assert [packet for _, packet, _ in world.calls] == [GOOD] * 3


def test_it_runs_as_a_program():
    with running("nameserver") as example:
        host, _, port = example.addresses[0].rpartition(":")
        assert ask((host, int(port)), "here.example") == (0, ["127.0.0.1"])
