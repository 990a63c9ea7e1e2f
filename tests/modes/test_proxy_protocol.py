"""The PROXY header: the handler, the table and what limits clients see the client, in every mode and behind TLS too."""

import gc
import http.server
import json
import logging
import os
import socket
import ssl
import subprocess
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import EndOfStream, Reset, StreamHandler, StreamRequestHandler, Until
from handlers.auth.attempts import peer_of
from handlers.auth.sasl import SASL
from handlers.auth.unix import UnixPeer
from handlers.filter import chain
from handlers.link import Link
from handlers.machines import StreamMachine
from handlers.world import World
from reactor.access import AccessMixIn
from reactor.rows.filters.proxy import MAX_HEADER, MAX_LINE, SIGNATURE, Malformed, Proxy, crc32c, parse
from reactor.rows.stream import StreamRow
from reactor.testing import END, RESET, play_through, proxy
from reactor.tls import TLS, TLSMixIn
from tests.support.certificates import NAME, client_context, server_context
from tests.support.programs import program
from tests.support.serving import MODES, STREAMS, connect, reset, rest, serving, wait_until
from tests.support.tls import attempt, exchange

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
every_mode = pytest.mark.parametrize("mode", MODES)
TCP = STREAMS["tcp"]
HERE = partial(Proxy, trusted=["127.0.0.0/8", "unix"])
PATIENCE = 10


class Who(StreamHandler):
    """Answers a line with the peer."""

    async def handle(self):
        line = await Until(b"\n")
        self.send(f"{self.peer} ".encode() + line)


class Login(SASL):
    """Lets in whom EXTERNAL names."""

    async def handle(self):
        await self.authenticate("EXTERNAL", None, b"")
        return super().handle()


def binary(source, values=b"", *, command=1, checked=True):
    """A header of version 2 from ``source`` to 198.51.100.1:443, with a checksum."""
    if command == 0 or source is None:
        family, block = 0, b""
    elif ":" in source[0]:
        family = 0x21
        block = socket.inet_pton(socket.AF_INET6, source[0]) + bytes(16)
        block += source[1].to_bytes(2, "big") + (443).to_bytes(2, "big")
    else:
        family = 0x11
        block = socket.inet_aton(source[0]) + socket.inet_aton("198.51.100.1")
        block += source[1].to_bytes(2, "big") + (443).to_bytes(2, "big")
    if not checked:
        body = block + values
        return SIGNATURE + bytes([0x20 | command, family]) + len(body).to_bytes(2, "big") + body
    body = block + values + b"\x03\0\4"
    head = SIGNATURE + bytes([0x20 | command, family]) + (len(body) + 4).to_bytes(2, "big") + body
    return head + crc32c(head + bytes(4)).to_bytes(4, "big")


CASES = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", ("192.0.2.1", 56324)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 2\r\n", ("2001:db8::1", 65535, 0, 0)),
    (binary(("192.0.2.1", 56324)), ("192.0.2.1", 56324)),
    (binary(("2001:db8::1", 7), b"\x05\0\3abc"), ("2001:db8::1", 7, 0, 0)),
    (b"PROXY UNKNOWN what ever\r\n", None),
    (binary(None), None),
    (binary(None, command=0), None),
]


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize(("header", "peer"), CASES)
def test_the_header_names_the_peer_however_it_is_cut(mode, header, peer):
    with serving(Who, mode, TCP, filters=[HERE]) as server:
        for pieces in ([header + b"one\n"], [header, b"one\n"], [bytes([byte]) for byte in header + b"one\n"]):
            with connect(server) as client:
                expected = f"{client.getsockname() if peer is None else peer} one\n".encode()
                for piece in pieces:
                    client.sendall(piece)
                assert rest(client) == expected


class Credentials(StreamHandler):
    """Answers a line with the user at the other end of the Unix socket, and the name that is counted for attempts."""

    async def handle(self):
        await Until(b"\n")
        self.send(f"{self.credentials and self.credentials[1]} {peer_of(self)}\n".encode())


@every_mode
@pytest.mark.parametrize(("header", "told"), [
    *((header, f"None {peer[0] if '.' in peer[0] else '2001:db8::/64'}") for header, peer in CASES if peer),
    (b"PROXY UNKNOWN\r\n", "None "), (binary(None), "None "),
    (binary(None, command=0), f"{os.getuid()} uid={os.getuid()}"),  # the proxy itself
])  # fmt: skip
def test_the_credentials_of_the_proxy_are_not_those_of_the_client(mode, header, told):
    with serving(Credentials, mode, STREAMS["unix"], filters=[HERE]) as server:
        for pieces in [header + b"one\n"], [header, b"one\n"]:
            with connect(server) as client:
                for piece in pieces:
                    client.sendall(piece)
                assert rest(client).decode() == f"{told}\n"


@pytest.mark.parametrize("handler", [UnixPeer, Login])
def test_nobody_gets_in_as_the_user_of_the_proxy(handler):
    class Inside(handler, Who):
        users = (os.getuid(),)

    with serving(Inside, "select", STREAMS["unix"], filters=[HERE]) as server, connect(server) as client:
        client.sendall(CASES[0][0] + b"one\n")
        assert rest(client) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n", b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", b"PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n",
        b"PROXY TCP5 1.2.3.4 4.5.6.7 1 2\r\n", b"PROXY TCP4 1.2.3.4 4.5.6.7 1\r\n", b"PROXY UNKNOWN" + b"x" * 100,
        SIGNATURE + b"\x11\x11\0\0", SIGNATURE + b"\x21\x12\0\x0c" + bytes(12), SIGNATURE + b"\x21\x11\0\4" + bytes(4),
        SIGNATURE + b"\x21\x11\xff\xff", binary(("192.0.2.1", 1))[:-1] + b"x",
        binary(("192.0.2.1", 1), b"\5\0\xff", checked=False),
    ],
)  # fmt: skip
def test_what_is_no_header_ends_the_request(data):
    with pytest.raises(Malformed):
        parse(data)
    with serving(Who, "select", TCP, filters=[HERE]) as server, connect(server) as client:
        client.sendall(data)
        assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"].startswith("Malformed: ")


def test_who_is_not_trusted_sends_no_header():
    filters = [partial(Proxy, trusted=["192.0.2.0/24"])]
    with serving(Who, "select", TCP, filters=filters) as server, connect(server) as client:
        client.sendall(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n")
        assert rest(client) == f"{client.getsockname()} PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".encode()


def value(kind, data):
    """A value behind the addresses."""
    return bytes([kind]) + len(data).to_bytes(2, "big") + data


def of_tls(flags, unverified, *values):
    """The value that tells of the client's TLS (section 2.2.6)."""
    return value(0x20, bytes([flags]) + unverified.to_bytes(4, "big") + b"".join(values))


TOLD = (
    value(0x01, b"h2") + value(0x02, b"www.example") + value(0x05, b"4711:\xff") + value(0xEA, b"of somebody")
    + of_tls(7, 0, value(0x21, b"TLSv1.3"), value(0x23, b"TLS_AES_128_GCM_SHA256"), value(0x22, b"alice"))
)  # fmt: skip


class Told(StreamHandler):
    """Answers a line with what the proxy has said."""

    async def handle(self):
        await Until(b"\n")
        self.send(told(self.proxy_header))


class BlockingTold(StreamRequestHandler):
    """The same as a blocking handler."""

    def handle(self):
        self.rfile.readline()
        self.wfile.write(told(self.request.proxy_header))


def told(header):
    return json.dumps(None if header is None else [*header.as_dict(), header.unique_id.hex(), header.tls[2]]).encode()


@pytest.mark.parametrize(
    ("handler", "mode"), [(Told, mode) for mode in MODES] + [(BlockingTold, mode) for mode in MODES if mode != "select"]
)
def test_what_the_proxy_says_is_there_for_the_handler_and_in_the_table(handler, mode):
    with serving(handler, mode, TCP, filters=[HERE]) as server:
        with connect(server) as client:
            client.sendall(binary(("192.0.2.1", 1), TOLD) + b"\n")
            assert json.loads(rest(client)) == ["unique_id", "authority", "alpn", "tls", "343731313aff", "alice"]
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    assert row["in_front"] == "proxy"
    assert row["proxied"] == {
        "unique_id": "4711:\\xff",
        "authority": "www.example",
        "alpn": "h2",
        "tls": {
            "version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "common_name": "alice", "is_verified": True,
        },
    }  # fmt: skip


@every_mode
def test_without_a_proxy_nothing_is_told(mode):
    filters = [partial(Proxy, trusted=["192.0.2.0/24"])]
    with serving(Told, mode, TCP, filters=filters) as server:
        with connect(server) as client:
            client.sendall(b"\n")
            assert rest(client) == b"null"
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    assert (row["in_front"], row["proxied"]) == ("", None)


@pytest.mark.parametrize(
    ("flags", "unverified", "is_verified"), [(1, 0, False), (3, 1, False), (3, 0, True), (5, 0, True)]
)
def test_a_client_is_verified_if_it_has_given_a_certificate_and_that_was_right(flags, unverified, is_verified):
    header = parse(binary(("192.0.2.1", 1), of_tls(flags, unverified, value(0x21, b"TLSv1.2"))))
    assert header.tls == ("TLSv1.2", "", None, is_verified)


def test_a_client_without_tls_has_none():
    assert parse(binary(("192.0.2.1", 1), of_tls(0, 1))).tls is None


@pytest.mark.parametrize("inner", [b"\1\0\0", b"\1\0\0\0\0\x21", b"\1\0\0\0\0\x21\0\7TLSv1"])
def test_what_is_told_of_tls_must_be_whole(inner):
    with pytest.raises(Malformed):
        parse(binary(("192.0.2.1", 1), value(0x20, inner)))


def test_the_filters_are_in_the_table_in_their_order_though_one_has_left():
    with serving(Who, "select", TCP, ProxiedTLS, context=server_context()) as server, connect(server) as plain:
        wait_until(lambda: len(server.reactor.table) == 1)
        assert server.reactor.table.as_dicts()[0]["in_front"] == "proxy tls"
        plain.settimeout(PATIENCE)
        plain.sendall(binary(("192.0.2.1", 1)))
        with client_context().wrap_socket(plain, server_hostname=NAME) as client:
            wait_until(lambda: server.reactor.table.as_dicts()[0]["in_front"] == "proxy tls1.3")
            client.sendall(b"one\n")
            assert client.recv(80) == b"('192.0.2.1', 1) one\n"
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["in_front"] == "proxy tls1.3"


class Greeting(StreamHandler):
    """Speaks first, as SMTP does."""

    async def handle(self):
        self.send(b"hello\n" * 1_000)
        await Until(b"\n")


class BlockingGreeting(StreamRequestHandler):
    """The same as a blocking handler."""

    def handle(self):
        self.wfile.write(b"hello\n" * 1_000)
        self.rfile.readline()


GREETINGS = [(Greeting, mode) for mode in MODES] + [(BlockingGreeting, mode) for mode in MODES if mode != "select"]


def end(client):
    client.shutdown(socket.SHUT_WR)
    assert rest(client) == b""  # the request has not begun


CHECKS = {
    "connect and close": (b"", end),
    "connect and reset": (b"", reset),
    "UNKNOWN and reset": (b"PROXY UNKNOWN\r\n", reset),
    "its own address and reset": (b"PROXY TCP4 127.0.0.1 127.0.0.1 PORT 1\r\n", reset),
    "LOCAL and close": (binary(None, command=0), lambda client: client.close()),
    "LOCAL and reset": (binary(None, command=0), reset),
}


@pytest.mark.slow
@pytest.mark.parametrize(("handler", "mode"), GREETINGS)
@pytest.mark.parametrize(("sent", "end"), CHECKS.values(), ids=CHECKS)
def test_health_checks_are_counted_apart_and_are_not_logged(handler, mode, sent, end, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(handler, mode, TCP, filters=[HERE]) as server:
        for _ in range(3):
            with connect(server) as client:
                client.sendall(sent.replace(b"PORT", str(client.getsockname()[1]).encode()))
                end(client)
        wait_until(lambda: len(server.reactor.table.closed) == 3)
        assert server.reactor.stats()["ended"] == {"HealthCheck": 3}
        assert {row["reason"] for row in server.reactor.table.closed} == {""}
    assert [record.message for record in caplog.records if record.name == "reactor"] == []


class ProxiedTLS(TLSMixIn):
    """The PROXY header comes before the handshake."""

    def connection_filters(self):
        return (HERE, *super().connection_filters())


def shake_hands_and_end(client):
    """End the connection without a close_notify."""
    client.settimeout(PATIENCE)
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = client_context().wrap_bio(coming, going, server_hostname=NAME)
    exchange(client, coming, going, end.do_handshake)
    client.shutdown(socket.SHUT_WR)
    with suppress(ConnectionResetError):  # a greeting that can't be sent any more is dropped
        rest(client)


@pytest.mark.slow
@pytest.mark.parametrize(("handler", "mode"), GREETINGS)
@pytest.mark.parametrize("end", [lambda client: client.close(), reset, shake_hands_and_end])
def test_health_checks_in_front_of_tls_are_counted_apart_too(handler, mode, end, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(handler, mode, TCP, ProxiedTLS, context=server_context()) as server:
        for _ in range(3):
            with connect(server) as client:
                client.sendall(binary(None, command=0))
                end(client)
        wait_until(lambda: len(server.reactor.table.closed) == 3)
        assert server.reactor.stats()["ended"] == {"HealthCheck": 3}
    assert [record.message for record in caplog.records if record.name == "reactor"] == []


@every_mode
@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", binary(None)])
def test_a_client_that_the_proxy_can_not_name_is_no_health_check(mode, header):
    with serving(Greeting, mode, TCP, filters=[HERE]) as server:
        with connect(server) as client:
            client.sendall(header + b"MAIL")
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b"hello\n" * 1_000
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.stats()["ended"] == {"EndOfStream": 1}


@every_mode
def test_what_goes_wrong_in_a_health_check_has_its_reason(mode):
    class Broken(StreamHandler):
        async def handle(self):
            raise ValueError("a fault")

    with serving(Broken, mode, TCP, filters=[HERE]) as server:
        server.handle_error = lambda *_: None
        with connect(server) as client:
            client.sendall(binary(None, command=0))
            assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.stats()["ended"] == {"ValueError": 1}


@every_mode
@pytest.mark.parametrize("head", [b"P", SIGNATURE])
def test_a_header_that_is_cut_is_no_health_check(mode, head):
    with serving(Greeting, mode, TCP, filters=[HERE]) as server:
        with connect(server) as client:
            client.sendall(head)
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.stats()["ended"] == {"EndOfStream": 1}


@pytest.mark.parametrize("header", [CASES[0][0], binary(("192.0.2.1", 56324), b"\x05\0\3abc")], ids=["1", "2"])
@pytest.mark.parametrize("ending", [END, RESET])
def test_a_connection_that_ends_in_the_header_has_a_cause_and_the_handler_does_not_begin(header, ending):
    for place in range(1, len(header)):
        run = play_through(Who, [b"one\n", END], proxy(header), stop=place, ending=ending)
        assert run.finished
        assert isinstance(run.reason, EndOfStream if ending is END else Reset)
        assert run.output == b""
        assert not run.machine.begun


def test_a_health_check_is_no_error():
    with serving(Who, "select", TCP, filters=[HERE]) as server:
        connect(server).close()
        with connect(server) as client:
            client.sendall(binary(None, command=0))
        wait_until(lambda: len(server.reactor.table.closed) == 2)
        assert [row["reason"] for row in server.reactor.table.closed] == ["", ""]


def test_a_header_that_does_not_come_has_a_deadline():
    filters = [partial(Proxy, trusted=["127.0.0.1"], timeout=0.1)]
    with serving(Who, "select", TCP, filters=filters) as server, connect(server) as client:
        client.sendall(b"PROXY ")
        assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"].startswith("TimedOut: ")


@every_mode
def test_access_is_asked_again_with_the_peer_that_the_header_names(mode):
    members = {"filters": [HERE], "deny": ["192.0.2.0/24"]}
    with serving(Who, mode, TCP, AccessMixIn, **members) as server:
        for host, is_let_in in [("192.0.2.1", False), ("203.0.113.1", True)]:
            with connect(server) as client:
                client.sendall(binary((host, 1)) + b"one\n")
                assert bool(rest(client)) is is_let_in


def test_a_header_and_the_first_bytes_of_tls_in_one_segment_lose_nothing():
    with serving(Who, "select", TCP, ProxiedTLS, context=server_context()) as server, connect(server) as plain:
        plain.settimeout(PATIENCE)

        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(coming, going, server_hostname=NAME)
        assert attempt(client.do_handshake) is None
        plain.sendall(binary(("192.0.2.1", 1)) + going.read())
        exchange(plain, coming, going, client.do_handshake)
        client.write(b"one\n")
        assert exchange(plain, coming, going, lambda: client.read(80)) == b"('192.0.2.1', 1) one\n"


def test_curl_sends_a_header():
    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"{self.client_address[0]}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Be silent."""

    with serving(Pages, "thread", TCP, filters=[HERE]) as server:
        host, port = server.server_address
        command = [program("curl"), "-sS", "--max-time", "30", "--haproxy-protocol", f"http://{host}:{port}/"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert (done.stdout, done.stderr) == (b"127.0.0.1\n", b"")


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_whatever_comes_is_a_header_or_none_or_malformed(data, front):
    try:
        header = parse(front + data)
    except Malformed:
        return
    assert header is None or 0 < header.size <= len(front + data)


@given(st.sampled_from(CASES), st.data())
def test_a_header_that_is_cut_is_never_taken_for_another(case, data):
    header, _ = case
    cut = data.draw(st.integers(0, len(header) - 1))
    assert parse(header[:cut]) is None


@pytest.mark.parametrize(("shortest", "largest"), [(len(binary(None, b"\4\0\0")), MAX_HEADER), (16, MAX_LINE)])
def test_the_largest_header_is_taken_and_no_larger_one(shortest, largest):
    def header(size):
        more = size - shortest
        if largest == MAX_HEADER:
            return binary(None, b"\4" + more.to_bytes(2, "big") + bytes(more))  # PP2_TYPE_NOOP (section 2.2.4)
        return b"PROXY UNKNOWN " + b"x" * more + b"\r\n"

    for size in range(largest - 2, largest + 1):
        assert len(header(size)) == size
        assert parse(header(size)).size == size
    with pytest.raises(Malformed):
        parse(header(largest + 1))


@pytest.mark.slow
@pytest.mark.parametrize("ends", [reset, lambda plain: plain.shutdown(socket.SHUT_WR)], ids=["reset", "end"])
@pytest.mark.parametrize("sent", [b"PROX", b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n"], ids=["header cut", "header"])
def test_a_connection_that_has_ended_is_freed_without_the_garbage_collector(sent, ends):
    """The row too: the filter that has left the chain refers to it no longer, nor does the error of a reset."""

    def count():
        return sum(isinstance(thing, (StreamRow, Link, Proxy)) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = count()
        filters = [HERE, partial(TLS, context=server_context())]
        with serving(Who, "select", TCP, filters=filters) as server:
            with connect(server) as client:
                client.sendall(sent)
                wait_until(lambda: [row for row in server.reactor.table if row.total_in])
                ends(client)
                wait_until(lambda: not server.reactor.table)
            wait_until(lambda: count() == before)
    finally:
        gc.enable()


def test_an_address_is_written_as_accept_writes_it():
    """However a proxy writes it: limits for each peer, and the log, see one peer."""
    header = parse(b"PROXY TCP6 2001:DB8:0:0::1 ::1 07 2\r\n")
    assert header.source == ("2001:db8::1", 7, 0, 0)


def test_a_filter_alone_tells_what_the_proxy_has_said():
    world = World(("127.0.0.1", 1))
    made = []

    def make(inner):
        made.append(HERE(inner))
        return made[0]

    channel = chain(StreamMachine(Who(), world), [make])
    channel.advance()
    channel.feed(binary(("192.0.2.1", 9), b"\x05\0\3abc"))
    assert made[0].header.values[5] == b"abc"
    assert world.peer == ("192.0.2.1", 9)
