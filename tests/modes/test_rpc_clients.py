"""The blocking clients and our servers, in all four modes; and servers that answer wrongly, late or not."""

import socket
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import LimitPassed
from handlers.sunrpc import xdr
from handlers.sunrpc.auth import AuthError, AuthStatus, AuthSys
from handlers.sunrpc.client import IN_FLIGHT, DatagramClient, StreamClient
from handlers.sunrpc.message import RPCError, read_reply
from handlers.sunrpc.record import mark
from tests.support.rpc import Datagram, Stream, words, x
from tests.support.serving import MODES, PACKETS, PATIENCE, STREAMS, connect, peer, serving

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_calls(mode, transport):
    handler, place, join, kind = {
        "tcp": (Stream, STREAMS["tcp"], connect, StreamClient),
        "udp": (Datagram, PACKETS["udp"], peer, DatagramClient),
    }[transport]
    with serving(handler, mode, place, handle_error=lambda *_: None) as server:
        with kind(x.CALCULATOR_1, join(server), AuthSys(1, "host", 501, 20, [])) as client:
            remote = client.remote
            assert remote.NOTHING() is None
            assert remote.ADD(2, -5) == -3
            assert remote.REPEAT(x.text("ab", 3)) == x.text("ababab", 3)
            assert remote.UID() == 501
            assert remote.FILL(60_000) == bytes(60_000)
            for number, error, said in (
                (0, RPCError, "SYSTEM_ERR"), (1, RPCError, "SYSTEM_ERR"), (2, AuthError, "REJECTEDCRED"),
            ):  # fmt: skip
                with pytest.raises(error, match=said):
                    remote.FAIL(number)
            xids = [client.begin("LATER", 20 - number) for number in range(20)]
            assert [client.result(xid) for xid in xids] == list(range(20, 0, -1))
            with pytest.raises(xdr.Error):
                remote.ADD("two", 2)
            with pytest.raises(TypeError, match="ADD takes 2 arguments, not 1"):
                client.call("ADD", 2)
            with pytest.raises(AttributeError, match="CALCULATOR_1 has no procedure MULTIPLY"):
                remote.MULTIPLY  # noqa: B018
        with kind(x.CALCULATOR_3, join(server)) as client:
            assert client.remote.ADD(1 << 40, 1) == (1 << 40) + 1


@contextmanager
def played(kind, answers, **options):
    """A client of a server that gets one call for each of the answers, and sends what that makes of the xid."""
    is_stream = kind is StreamClient
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM)

    def serve():
        for answer in answers:
            request = theirs.recv(1000)
            for piece in answer(request[4:8] if is_stream else request[:4]):
                theirs.send(piece)
        if is_stream:
            theirs.shutdown(socket.SHUT_WR)

    ours.settimeout(PATIENCE)
    theirs.settimeout(PATIENCE)
    thread = Thread(target=serve)
    with ours, theirs:
        thread.start()
        yield kind(x.CALCULATOR_1, ours, **options)
        thread.join()


def five(xid):
    return xid + words(1, 0, 0, 0, 0, 5)


def test_a_stream_that_ends_or_passes_a_bound_closes_the_client():
    for answer, error in (
        (lambda _: [], ConnectionResetError), (lambda _: [b"\x80\0"], ConnectionResetError),
        (lambda _: [b"\xff\xff\xff\xff"], LimitPassed),
    ):  # fmt: skip
        with played(StreamClient, [answer]) as client, pytest.raises(error):
            client.remote.ADD(2, 3)
        assert client.socket.fileno() == -1


def test_replies_to_other_calls_are_dropped():
    def answer(xid):
        return [mark(b""), mark(b"abc"), mark(five(b"othr")), mark(xid + words(0)), mark(five(xid)) * 2]

    with played(StreamClient, [answer, answer]) as client:
        assert [client.remote.ADD(2, 3) for _ in range(2)] == [5, 5]
    with played(DatagramClient, [lambda xid: [piece[4:] for piece in answer(xid)[:4]] + [five(xid)] * 2] * 2) as client:
        assert [client.remote.ADD(2, 3) for _ in range(2)] == [5, 5]


def test_a_datagram_is_sent_again():
    with played(DatagramClient, [lambda _: [], lambda _: [], lambda xid: [five(xid)]], waits=(0.01,) * 100) as client:
        assert client.remote.ADD(2, 3) == 5


def test_no_reply_to_any_datagram_is_an_error():
    deaf = played(DatagramClient, [lambda _: []] * 2, waits=(0.01, 0.02))
    with deaf as client, pytest.raises(TimeoutError, match="no reply to 2 datagrams"):
        client.remote.ADD(2, 3)
    assert client.socket.fileno() == -1


def test_calls_that_are_lost_together_are_sent_again_together():
    came = []

    def answer(xid):
        came.append(xid)
        return [five(xid) for xid in came[20:]] if len(came) == 40 else []

    with played(DatagramClient, [answer] * 40, waits=(0.05, PATIENCE)) as client:
        xids = [client.begin("ADD", 2, 3) for _ in range(20)]
        assert [client.result(xid) for xid in xids] == [5] * 20


def test_a_call_beyond_those_in_flight_waits_for_the_oldest():
    deaf = played(DatagramClient, [lambda _: []] * 2 * IN_FLIGHT, waits=(0.01, 0.01))
    with deaf as client:
        for _ in range(IN_FLIGHT):
            client.begin("ADD", 2, 3)
        with pytest.raises(TimeoutError):
            client.begin("ADD", 2, 3)
    with serving(Datagram, "select", PACKETS["udp"]) as server, DatagramClient(x.CALCULATOR_1, peer(server)) as client:
        xids = [client.begin("ADD", number, 1) for number in range(10 * IN_FLIGHT)]
        assert [client.result(xid) for xid in reversed(xids)] == list(range(10 * IN_FLIGHT, 0, -1))


def test_replies():
    assert read_reply(five(b"abcd")) == words(5)
    for numbers, status in (
        ((0, 0, 0, 2, 3, 4), "PROG_MISMATCH: versions 3 to 4"),
        ((1, 0, 2, 2), "RPC_MISMATCH: ver"),
    ):
        with pytest.raises(RPCError, match=status):
            read_reply(words(1, 1, *numbers))
    with pytest.raises(AuthError) as error:
        read_reply(words(1, 1, 1, 1, 7))
    assert error.value.status is AuthStatus.FAILED


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_reply_is_read_or_refused(data, cut):
    for reply in (data, words(1, 1) + data, five(b"abcd")[:cut] + data, words(1, 1, 1, 0, 2, 2)[:cut] + data):
        with suppress(RPCError, AuthError, xdr.Error):
            read_reply(reply)
