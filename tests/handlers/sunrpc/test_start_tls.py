"""RPC-with-TLS (RFC 9289): the probe as bytes, the server in each mode, and the client."""

import socket
import ssl
import threading

import pytest

from handlers import TooEarly
from handlers.sunrpc.auth import AuthError, AuthStatus
from handlers.sunrpc.client import StreamClient
from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.message import RPCError
from handlers.sunrpc.record import mark
from handlers.sunrpc.tls import StartTLS, WrongProtocol
from reactor.tls import TLS
from tests.support.certificates import NAME, client_context, server_context
from tests.support.rpc import OTHER, Calculator, Calculator3, Datagram, Stream, auth, call, records, words, x
from tests.support.serving import MODES, PACKETS, connect, receive, rest, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
every_mode = pytest.mark.parametrize("mode", MODES)
TLS_FLAVOUR = auth(7, b"")
PROBE = call(77, 0, credential=TLS_FLAVOUR)
STARTTLS = words(77, 1, 0) + auth(0, b"STARTTLS") + words(0)
WEAK = words(1, 1, 1, 1, 5)


class Secure(StartTLS):
    versions = (Calculator, Calculator3)

    def make_tls(self, inner):
        return TLS(inner, context=self.server.context, timeout=5)


class Strict(Secure):
    demand_tls = True


def context(*protocols, ask_client=False):
    made = server_context(ask_client)
    made.set_alpn_protocols(list(protocols or ["sunrpc"]))
    return made


def served(kind, mode="select", **options):
    return serving(kind, mode, context=context(**options))


def ask(client, request):
    """Send the call and return its reply."""
    client.sendall(mark(request))
    head = receive(client, 4)
    return receive(client, int.from_bytes(head, "big") & 0x7FFF_FFFF)


def secured(client, *protocols, **options):
    """The connection of the client, after the handshake."""
    made = client_context(**options)
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made.wrap_socket(client, server_hostname=NAME)


def reasons(server):
    """Why the connections have ended."""
    return [entry["reason"] for entry in wait_until(lambda: list(server.reactor.table.closed))]


@every_mode
def test_a_connection_turns_to_tls(mode):
    with served(Strict, mode) as server, connect(server) as client:
        assert ask(client, call(1, 1, words(2, 3))) == WEAK
        assert ask(client, PROBE) == STARTTLS
        with secured(client, "sunrpc") as protected:
            assert protected.selected_alpn_protocol() == "sunrpc"
            assert ask(protected, call(1, 1, words(2, 3))) == words(1, 1, 0, 0, 0, 0, 5)
            assert ask(protected, call(2, 3, words(5))) == words(2, 1, 0, 0, 0, 0, 5)
            protected.unwrap().close()
        assert set(reasons(server)) == {""}


def test_our_client_refuses_an_older_version():
    old = context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(Secure, "select", context=old) as server, StreamClient(x.CALCULATOR_1, connect(server)) as client:
        with pytest.raises(ConnectionAbortedError, match=r"TLSv1\.2 and 'sunrpc'"):
            client.start_tls(client_context(), NAME)
        assert client.socket.fileno() == -1


@every_mode
def test_our_client_turns_to_tls(mode):
    with served(Strict, mode) as server, StreamClient(x.CALCULATOR_1, connect(server)) as client:
        with pytest.raises(AuthError, match="TOOWEAK"):
            client.remote.ADD(2, 3)
        client.start_tls(client_context(), NAME)
        assert client.socket.version() == "TLSv1.3"
        assert client.remote.ADD(2, 3) == 5
        assert client.remote.FILL(100_000) == bytes(100_000)


def test_the_principal_is_the_subject_of_the_certificate():
    class Who(Calculator):
        def ADD(self, first, second):  # noqa: N802
            return ("CN=alice" in self.principal) + 2 * (self.secured == "tls1.3")

    kind = type("Whose", (Secure,), {"versions": (Who,)})
    with served(kind, ask_client=True) as server, StreamClient(x.CALCULATOR_1, connect(server)) as client:
        client.start_tls(client_context(named=True), NAME)
        assert client.remote.ADD(2, 3) == 3


REFUSED = {
    "another procedure": (call(1, 1, words(2, 3), credential=TLS_FLAVOUR), words(1, 1, 1, 1, 1)),
    "a body": (call(1, 0, credential=auth(7, b"abcd")), words(1, 1, 1, 1, 1)),
    "a verifier": (call(1, 0, credential=TLS_FLAVOUR, verifier=auth(0, b"abcd")), words(1, 1, 1, 1, 1)),
    "a verifier of another flavour": (call(1, 0, credential=TLS_FLAVOUR, verifier=auth(7, b"")), words(1, 1, 1, 1, 1)),
    "arguments": (call(1, 0, words(1), credential=TLS_FLAVOUR), words(1, 1, 1, 1, 1)),
    "no verifier": (call(1, 0, credential=TLS_FLAVOUR)[:-8], words(1, 1, 1, 1, 1)),
    "a program that is not served": (call(1, 0, program=OTHER, credential=TLS_FLAVOUR), words(1, 1, 0, 0, 0, 1)),
    "a version that is not served": (call(1, 0, version=2, credential=TLS_FLAVOUR), words(1, 1, 0, 0, 0, 2, 1, 3)),
    "another version of RPC": (call(1, 0, rpc_version=3, credential=TLS_FLAVOUR), words(1, 1, 1, 0, 2, 2)),
}


@pytest.mark.parametrize(("probe", "reply"), REFUSED.values(), ids=REFUSED)
def test_a_probe_that_is_refused(probe, reply):
    with served(Secure) as server, connect(server) as client:
        assert ask(client, probe) == reply
        assert ask(client, call(2, 1, words(2, 3))) == words(2, 1, 0, 0, 0, 0, 5)
        assert ask(client, PROBE) == STARTTLS


def test_a_reply_that_looks_like_a_probe_is_not_answered():
    with served(Strict) as server, connect(server) as client:
        client.sendall(mark(call(1, 0, credential=TLS_FLAVOUR, kind=1)) + mark(call(1, 1, kind=1)) + mark(b"abc"))
        assert ask(client, PROBE) == STARTTLS


def test_a_second_probe_is_refused():
    with served(Secure) as server, connect(server) as client:
        assert ask(client, PROBE) == STARTTLS
        with secured(client, "sunrpc") as protected:
            assert ask(protected, call(5, 0, credential=TLS_FLAVOUR)) == words(5, 1, 1, 1, 1)
            assert ask(protected, call(1, 1, words(2, 3))) == words(1, 1, 0, 0, 0, 0, 5)


def test_a_probe_is_refused_while_calls_are_open():
    with served(Secure) as server, connect(server) as client:
        client.sendall(mark(call(1, 3, words(300))))
        assert ask(client, PROBE) == words(77, 1, 1, 1, 7)
        assert receive(client, 4 + 28)[4:] == words(1, 1, 0, 0, 0, 0, 300)
        assert ask(client, PROBE) == STARTTLS


@every_mode
def test_plain_text_behind_the_probe_ends_the_connection(mode):
    with served(Secure, mode) as server, connect(server) as client:
        client.sendall(mark(PROBE) + mark(call(1, 9)))
        assert records(rest(client)) == [STARTTLS]
        assert reasons(server)[-1].startswith(TooEarly.__name__)


@pytest.mark.parametrize("piece", [mark(call(1, 9)), b"\x80", b"\x16\x03"])
def test_plain_text_after_the_answer_ends_the_connection(piece):
    with served(Secure) as server, connect(server) as client:
        assert ask(client, PROBE) == STARTTLS
        client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        assert b"\0\0\0\1" not in rest(client)  # no reply: at most an alert
        assert reasons(server) != [""]


def test_the_probe_in_pieces():
    with served(Secure) as server, connect(server) as client:
        for byte in mark(PROBE):
            client.sendall(bytes([byte]))
        assert receive(client, 4 + len(STARTTLS))[4:] == STARTTLS
        with secured(client, "sunrpc") as protected:
            assert ask(protected, call(1, 1, words(2, 3))) == words(1, 1, 0, 0, 0, 0, 5)


@pytest.mark.parametrize("protocols", [(), ("h2",)])
def test_another_application_protocol_ends_the_connection(protocols):
    with served(Secure) as server, connect(server) as client:
        assert ask(client, PROBE) == STARTTLS
        with secured(client, *protocols) as protected:
            assert rest(protected) == b""
        assert reasons(server) == [f"WrongProtocol: {WrongProtocol('tls1.3', None)}"]


def test_an_older_version_ends_the_connection():
    with served(Secure) as server, connect(server) as client:
        assert ask(client, PROBE) == STARTTLS
        with secured(client, "sunrpc", version=ssl.TLSVersion.TLSv1_2) as protected:
            assert rest(protected) == b""
        assert reasons(server) == [f"WrongProtocol: {WrongProtocol('tls1.2', 'sunrpc')}"]


def test_clients_without_alpn_can_be_let_in():
    kind = type("Lenient", (Secure,), {"protocols": ("sunrpc", None)})
    with served(kind) as server, connect(server) as client:
        assert ask(client, PROBE) == STARTTLS
        with secured(client) as protected:
            assert ask(protected, call(1, 1, words(2, 3))) == words(1, 1, 0, 0, 0, 0, 5)


def test_a_filter_must_be_defined():
    with pytest.raises(NotImplementedError, match="StartTLS must define make_tls"):
        StartTLS().make_tls(None)


# Servers without TLS, and the client


def test_a_server_without_tls_refuses_the_probe():
    with serving(Stream, "select") as server, StreamClient(x.CALCULATOR_1, connect(server)) as client:
        with pytest.raises(AuthError) as refused:
            client.start_tls(client_context(), NAME)
        assert refused.value.status is AuthStatus.BADCRED
        assert client.remote.ADD(2, 3) == 5


def test_datagrams_are_not_offered_tls():
    assert issubclass(Datagram, RPCDatagramHandler)
    with serving(Datagram, "select", PACKETS["udp"]) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(PROBE, server.server_address)
        assert client.recv(1000) == words(77, 1, 1, 1, 1)


def test_the_client_needs_its_replies_first():
    with served(Secure) as server, StreamClient(x.CALCULATOR_1, connect(server)) as client:
        client.begin("ADD", 1, 2)
        with pytest.raises(ValueError, match="1 calls are open"):
            client.start_tls(client_context(), NAME)


def test_the_client_refuses_an_unserved_program():
    with (
        served(Secure) as server,
        StreamClient(x.OTHER_2, connect(server)) as client,
        pytest.raises(RPCError, match="PROG_UNAVAIL"),
    ):
        client.start_tls(client_context(), NAME)


def test_the_client_checks_the_certificate():
    with served(Secure) as server, StreamClient(x.CALCULATOR_1, connect(server)) as client:
        with pytest.raises(ssl.SSLCertVerificationError):
            client.start_tls(client_context(), "other.test")
        assert client.socket.fileno() == -1


def test_the_client_checks_the_application_protocol():
    with serving(Secure, "select", context=context("h2")) as server:
        client = StreamClient(x.CALCULATOR_1, connect(server))
        with pytest.raises(ConnectionAbortedError, match=r"agreed on TLSv1\.3 and None, not on 'sunrpc'"):
            client.start_tls(client_context(), NAME)
        assert client.socket.fileno() == -1


def answered(reply):
    """What `start_tls` raises if the server sends this to the probe; ``{}`` in it is the xid."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with theirs, StreamClient(x.CALCULATOR_1, ours) as client:

        def answer():
            xid = receive(theirs, 44)[4:8]
            theirs.sendall(reply(xid))

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises(Exception) as raised:  # noqa: PT011 - it is the result
                client.start_tls(client_context(), NAME)
        finally:
            thread.join(10)
        return raised.value, client.socket.fileno() == -1


GOOD = words(1, 0) + auth(0, b"STARTTLS") + words(0)


@pytest.mark.parametrize("tail", [b"\x80", mark(b"abc")[:6], words(3) + b"abc", words(0)])
def test_the_client_refuses_plain_text_behind_the_answer(tail):
    error, closed = answered(lambda xid: mark(xid + GOOD) + tail)
    assert isinstance(error, ConnectionAbortedError)
    assert closed


@pytest.mark.parametrize(
    "verifier", [auth(0, b""), auth(0, b"STARTTL5"), auth(0, b"STARTTLS1234"), auth(7, b"STARTTLS")]
)
def test_the_client_wants_the_right_verifier(verifier):
    error, closed = answered(lambda xid: mark(xid + words(1, 0) + verifier + words(0)))
    assert isinstance(error, AuthError)
    assert error.status is AuthStatus.REJECTEDVERF
    assert not closed
