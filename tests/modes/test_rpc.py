"""RPC in all four modes: replies in any order, duplicates, exceptions, bounds; and many clients at once."""

import os

import pytest

from handlers import Delay
from handlers.sunrpc.record import RPCStreamHandler, mark
from tests.support.resources import resources
from tests.support.rpc import Calculator, Datagram, Stream, auth_sys, call, records, words, x
from tests.support.serving import (
    MODES,
    PACKETS,
    STREAMS,
    Journal,
    ask,
    connect,
    journal_error,
    peer,
    receive,
    reset,
    rest,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
every_stream = pytest.mark.parametrize("place", ["tcp", "tcp6", "unix"])
every_packet = pytest.mark.parametrize("place", ["udp", "udp6", "unix"])
TCP, UDP = STREAMS["tcp"], PACKETS["udp"]

CALLS = {
    call(1, 3, words(300)): words(1, 1, 0, 0, 0, 0, 300),  # it takes as many milliseconds
    call(2, 2, words(2) + b"ab\0\0" + words(2)): words(2, 1, 0, 0, 0, 0, 4) + b"abab" + words(2),
    call(3, 1, words(2, 3)): words(3, 1, 0, 0, 0, 0, 5),
    call(4, 7, credential=auth_sys(501)): words(4, 1, 0, 0, 0, 0, 501),
    call(5, 1, version=2): words(5, 1, 0, 0, 0, 2, 1, 3),
    call(6, 1): words(6, 1, 0, 0, 0, 4),
}


@every_mode
@every_stream
def test_the_replies_of_a_stream(mode, place):
    with serving(Stream, mode, STREAMS[place]) as server:
        replies = records(ask(server, b"".join(map(mark, CALLS))))
    assert sorted(replies) == sorted(CALLS.values())
    assert replies[0] != CALLS[next(iter(CALLS))]  # the call that takes longest keeps not every other from its reply


@every_mode
@every_packet
def test_the_replies_to_datagrams(mode, place):
    with serving(Datagram, mode, PACKETS[place]) as server, peer(server) as client:
        for request in CALLS:
            client.send(request)
        assert sorted(client.recv(1000) for _ in CALLS) == sorted(CALLS.values())


@every_mode
def test_an_exception_is_logged_and_the_connection_stays_usable(mode):
    with Journal() as journal:
        members = {"handle_error": journal_error, "journal": journal}
        with serving(Stream, mode, TCP, **members) as server, connect(server) as client:
            for xid in (1, 2):
                client.sendall(mark(call(xid, 4, words(0))))
                assert receive(client, 28) == mark(words(xid, 1, 0, 0, 0, 5))
            client.sendall(mark(call(3, 1, words(4, 5))))
            assert receive(client, 32) == mark(words(3, 1, 0, 0, 0, 0, 9))
        with serving(Datagram, mode, UDP, **members) as server, peer(server) as client:
            client.send(call(4, 4, words(0)))
            assert client.recv(100) == words(4, 1, 0, 0, 0, 5)
        assert journal.wait_for(3) == ["handle_error ArithmeticError on purpose"] * 3


@every_mode
def test_a_length_of_4_gib_ends_its_connection_and_no_other(mode):
    with serving(Stream, mode, TCP) as server, connect(server) as good, connect(server) as bad:
        if mode != "plain":  # which serves one connection at a time
            good.sendall(mark(call(1, 1, words(1, 1)))[:9])
        bad.sendall(b"\xff\xff\xff\xff" + bytes(1000))
        if mode != "plain":
            assert end_of(bad)
            good.sendall(mark(call(1, 1, words(1, 1)))[9:])
            assert receive(good, 32) == mark(words(1, 1, 0, 0, 0, 0, 2))


def end_of(client):
    """Whether the stream ends, with no byte before."""
    try:
        return rest(client) == b""
    except ConnectionResetError:
        return True


@every_mode
def test_one_byte_at_a_time(mode):
    data = b"".join(map(mark, list(CALLS)[1:4]))
    with serving(Stream, mode, TCP) as server:
        replies = records(ask(server, *(bytes([byte]) for byte in data)))
    assert sorted(replies) == sorted(list(CALLS.values())[1:4])


@pytest.mark.parametrize("mode", ["select", "thread", "plain"])
def test_a_datagram_that_comes_again_is_the_same_call(mode):
    with serving(Datagram, mode, UDP) as server, peer(server) as client:
        for _ in range(3):
            client.send(call(1, 9))
        replies = {client.recv(100)}
        client.send(call(1, 9))  # when this one comes, the first has been made
        replies.add(client.recv(100))
        client.send(call(2, 9))
        while (reply := client.recv(100))[:4] == words(1):
            replies.add(reply)
    assert len(replies) == 1


class Once(x.CALCULATOR_1):
    """Each call says which process has made it, and notes it."""

    async def LATER(self, milliseconds):  # noqa: N802
        self.server.journal.write("called")
        await Delay(milliseconds / 1000)
        return os.getpid()

    def COUNT(self):  # noqa: N802
        self.server.journal.write("called")
        return os.getpid()


Onces = type("Onces", (Datagram,), {"versions": (Once,)})


@every_mode
def test_a_call_that_comes_again_is_made_once_in_every_mode(mode):
    handler = type("Onces", (Onces,), {})  # with replies of its own
    with Journal() as journal, serving(handler, mode, UDP, journal=journal) as server, peer(server) as client:
        first = call(1, 9)
        client.send(first)
        reply = client.recv(100)
        wait_until(lambda: not server.reactor.table)
        for _ in range(3):
            client.send(first)
            assert client.recv(100) == reply
        slow = call(2, 3, words(100))
        for _ in range(4):
            client.send(slow)
        reply = client.recv(100)
        wait_until(lambda: not server.reactor.table)
        client.send(slow)
        assert client.recv(100) == reply
        assert journal.lines() == ["called"] * 2
        dropped = server.reactor.stats()["refused"].get("duplicate", 0)
        # A parent keeps one, for it does not know what the child has sent; in plain mode some wait in the kernel.
        assert dropped in {"fork": [2], "plain": range(4)}.get(mode, [3])


@every_mode
def test_two_hundred_calls_of_one_connection(mode):
    calls = [call(xid, 3, words(xid % 5)) for xid in range(200)]
    with serving(Stream, mode, TCP) as server:
        replies = records(ask(server, b"".join(map(mark, calls))))
    assert sorted(replies) == [words(xid, 1, 0, 0, 0, 0, xid % 5) for xid in range(200)]


@every_mode
def test_nothing_stays_behind(mode):
    before = resources()
    with serving(Stream, mode, TCP) as server, serving(Datagram, mode, UDP) as other:
        for _ in range(3):
            ask(server, *map(mark, CALLS))
        with connect(server) as client:
            client.sendall(mark(call(1, 3, words(60_000))))  # left open
            client.sendall(mark(call(2, 1, words(4, 5))))
            receive(client, 32)
            reset(client)
        with peer(other) as client:
            for request in CALLS:
                client.send(request)
            for _ in CALLS:
                client.recv(100)
        wait_until(lambda: not (server.reactor.table or other.reactor.table))
    wait_until(lambda: resources() == before, f"the end of all but {before}")


class Waiting(Calculator):
    async def FILL(self, number):  # noqa: N802 - the name that the file has
        await Delay(0.001)
        return bytes(number)


class WaitingStream(RPCStreamHandler):
    versions = (Waiting,)


MOST = (16 << 20) - 65_536  # of a reply: `max_output` less `high_water`
every_way = pytest.mark.parametrize("handler", [Stream, WaitingStream])  # in the row of the connection, and in its own


@every_mode
@every_way
@pytest.mark.parametrize("size", [17 << 20, MOST])
def test_a_reply_that_is_too_long_is_an_error_that_is_logged_and_the_connection_goes_on(mode, handler, size, caplog):
    with serving(handler, mode, TCP) as server, connect(server) as client:
        client.sendall(mark(call(1, 8, words(size))))
        assert receive(client, 28) == mark(words(1, 1, 0, 0, 0, 5))
        client.sendall(mark(call(2, 1, words(4, 5))))
        assert receive(client, 32) == mark(words(2, 1, 0, 0, 0, 0, 9))
    if mode != "fork":  # where the child logs it
        assert "raise max_output of the handler class" in caplog.text


@pytest.mark.slow
@every_mode
@every_way
def test_a_reply_that_fits_comes_whole_however_many_are_asked_for(mode, handler):
    bound = 6 << 20  # two of them are more than the kernel takes of a connection
    size = bound - 65_536 - 2_048
    kind = type("Kind", (handler,), {"max_output": bound})
    with serving(kind, mode, TCP) as server, connect(server) as client:
        client.sendall(mark(call(1, 8, words(size))) * 3)
        for _ in range(3):
            assert records(receive(client, size + 32)) == [words(1, 1, 0, 0, 0, 0, size) + bytes(size)]
