"""The PROXY header: the handler, the table and what limits clients see the client, in every mode and behind TLS too."""

import http.server
import socket
import ssl
import subprocess
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import EndOfStream, Reset, StreamHandler, Until
from handlers.filter import chain
from handlers.handler import World
from handlers.machines import StreamMachine
from reactor.access import AccessMixIn
from reactor.rows.filters.proxy import SIGNATURE, Malformed, Proxy, crc32c, parse
from reactor.testing import END, RESET, play_through, proxy
from reactor.tls import TLSMixIn
from tests.support.certificates import NAME, client_context, server_context
from tests.support.programs import program
from tests.support.serving import MODES, STREAMS, connect, rest, serving, wait_until
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
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", ("2001:db8::1", 1, 0, 0)),
    (binary(("192.0.2.1", 56324)), ("192.0.2.1", 56324)),
    (binary(("2001:db8::1", 7), b"\x05\0\3abc"), ("2001:db8::1", 7, 0, 0)),
    (b"PROXY UNKNOWN what ever\r\n", None),
    (binary(None), None),
    (binary(None, command=0), None),
]


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
    class ProxiedTLS(TLSMixIn):
        def connection_filters(self):
            return (HERE, *super().connection_filters())

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
