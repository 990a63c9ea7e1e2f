"""TLS in front of handlers of every kind, in all four modes, with the clients of ``ssl``."""

import gc
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import pytest

from handlers import Connected, EndOfStream, Failed, StreamHandler, StreamRequestHandler, ToEnd, Until
from handlers.filter import Filter
from reactor import SelectTCPServer, SelectUDPServer
from reactor.table import steps
from reactor.testing.peers.tls import TLSPeer
from reactor.tls import TLS, TLSMixIn
from tests.support.certificates import NAME, client_context, server_context
from tests.support.serving import MODES, PATIENCE, STREAMS, connect, reset, serving, wait_until
from tests.support.tls import attempt, exchange

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
every_mode = pytest.mark.parametrize("mode", MODES)
TCP = STREAMS["tcp"]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
every_version = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
LINES = b"one\n", b"two\n"


class Lines(StreamHandler):
    """Echoes lines, the first with what protects the connection."""

    async def handle(self):
        self.send(f"{self.secured} {self.principal} ".encode() + await Until(b"\n"))
        while True:
            self.send(await Until(b"\n", limit=1 << 20))


class BlockingLines(StreamRequestHandler):
    """The same as a blocking handler."""

    def handle(self):
        front = f"{self.request.secured} {self.request.principal} ".encode()
        for line in self.rfile:
            self.wfile.write(front + line)
            front = b""


@contextmanager
def secure(handler, mode, **members):
    members.setdefault("context", server_context())
    with serving(handler, mode, TCP, TLSMixIn, **members) as server:
        yield server


@contextmanager
def secured(server, context=None):
    """A client whose handshake is done."""
    context = client_context() if context is None else context
    with connect(server) as plain:
        plain.settimeout(PATIENCE)
        with context.wrap_socket(plain, server_hostname=NAME, suppress_ragged_eofs=False) as client:
            yield client
            try:
                client.shutdown(socket.SHUT_RDWR)  # of TCP: a child that was forked meanwhile has a copy of the socket
            except OSError:
                pass  # the server has gone first


def receive(client, size):
    data = b""
    while len(data) < size and (piece := client.recv(size - len(data))):
        data += piece
    return data


IN_MODES = [(Lines, mode) for mode in MODES] + [(BlockingLines, mode) for mode in MODES if mode != "select"]


@every_version
@pytest.mark.parametrize(("handler", "mode"), IN_MODES)
def test_a_handler_behind_tls_sees_plain_text_and_what_protects_it(handler, mode, version):
    with secure(handler, mode) as server, secured(server, client_context(version)) as client:
        client.sendall(LINES[0])
        told = f"tls{version.name[-3:].replace('_', '.')} None ".encode() + LINES[0]
        assert receive(client, len(told)) == told
        client.sendall(LINES[1])
        assert receive(client, 4) == LINES[1]


@every_version
@every_mode
def test_half_close_is_heard_and_the_answer_after_it_ends_in_order(mode, version):
    class Whole(StreamHandler):
        async def handle(self):
            self.send((await ToEnd(limit=1 << 20))[::-1])

    data = bytes(range(256)) * 2_000
    with secure(Whole, mode) as server, connect(server) as plain:
        plain.settimeout(PATIENCE)
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(version).wrap_bio(coming, going, server_hostname=NAME)
        exchange(plain, coming, going, client.do_handshake)
        client.write(data)
        assert attempt(client.unwrap) is None  # the server's close_notify comes behind its answer
        writer = threading.Thread(target=plain.sendall, args=(going.read(),))
        writer.start()
        answer = b""
        while piece := exchange(plain, coming, going, lambda: read(client)):
            answer += piece
        writer.join()
        assert answer == data[::-1]


def read(client):
    try:
        return client.read(65_536)
    except ssl.SSLZeroReturnError:
        return b""


@every_mode
def test_the_certificate_of_a_client_names_the_principal(mode):
    with (
        secure(Lines, mode, context=server_context(ask_client=True)) as server,
        secured(server, client_context(named=True)) as client,
    ):
        client.sendall(LINES[0])
        assert client.recv(80) == b"tls1.3 CN=alice,O=Example one\n"


@every_mode
@every_version
def test_a_client_without_the_certificate_that_is_asked_for_is_refused(mode, version):
    with secure(Lines, mode, context=server_context(ask_client=True)) as server:
        with pytest.raises(ssl.SSLError), secured(server, client_context(version)) as client:
            client.recv(80)
        wait_until(lambda: len(server.reactor.table.closed) == 1)
        assert server.reactor.table.closed[0]["reason"].startswith("TLSFailed: ")


@every_mode
def test_a_stream_that_ends_without_close_notify_is_truncated(mode):
    with secure(Lines, mode) as server:
        with secured(server) as client:
            client.sendall(LINES[0] + b"half")
            client.recv(80)
            client.shutdown(socket.SHUT_WR)  # of TCP
            while client.recv(80):
                pass
        wait_until(lambda: len(server.reactor.table.closed) == 1)
        assert server.reactor.table.closed[0]["reason"].startswith("Truncated: ")


class Raises(StreamHandler):
    """Sends a part of its answer, and raises."""

    async def handle(self):
        self.send(await Until(b"\n"))
        raise Halfway


class BlockingRaises(StreamRequestHandler):
    """The same as a blocking handler, which select mode begins when the line is here."""

    request = Until(b"\n")

    def handle(self):
        self.wfile.write(self.rfile.readline())
        raise Halfway


class UnframedRaises(BlockingRaises):
    """The same with the connection for itself: it reads the line as it comes."""

    request = None


class Halfway(Exception):
    """What the handlers raise."""


RAISING = [(handler, mode) for handler in (Raises, BlockingRaises) for mode in MODES]
RAISING += [(UnframedRaises, mode) for mode in MODES if mode != "select"]


@every_version
@pytest.mark.parametrize(("handler", "mode"), RAISING)
def test_an_answer_that_an_exception_has_cut_does_not_pass_for_a_whole_one(handler, mode, version):
    with secure(handler, mode) as server, secured(server, client_context(version)) as client:
        client.sendall(LINES[0])
        assert receive(client, 4) == LINES[0]
        with pytest.raises(ssl.SSLError, match=r"(?i)eof"):  # SSLEOFError from 3.11.4 on
            client.recv(80)


def says_goodbye(plain, peer):
    plain.sendall(peer.send(LINES[0]) + peer.end())


def ends(plain, peer):
    plain.shutdown(socket.SHUT_WR)


def garbles(plain, peer):
    record = peer.send(LINES[0])
    plain.sendall(record[:-1] + bytes([record[-1] ^ 1]))


def sends_plain_text(plain, peer):
    plain.sendall(LINES[0] + LINES[1])


@pytest.mark.slow
@every_version
@pytest.mark.parametrize(
    ("end", "is_open"),
    [(ends, False), (sends_plain_text, False), (reset, False)]
    + [(end, True) for end in (says_goodbye, ends, garbles, sends_plain_text, reset)],
)
def test_what_has_ended_is_freed_without_the_garbage_collector(end, is_open, version):
    """A connection holds tens of KiB in OpenSSL, of which the collector does not know."""

    def count():
        return sum(isinstance(thing, (TLS, Lines)) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = count()
        with secure(Lines, "select") as server:
            for number in range(2):
                with connect(server) as plain:
                    plain.settimeout(PATIENCE)
                    peer = TLSPeer(client_context(version), NAME)
                    plain.sendall(peer.send(b""))
                    while is_open and not peer.is_open:
                        peer.received(plain.recv(65_536))
                        plain.sendall(peer.send(b""))
                    end(plain, *([] if end is reset else [peer]))
                    wait_until(lambda number=number: len(server.reactor.table.closed) == number + 1)
            wait_until(lambda: count() == before)
    finally:
        gc.enable()


@every_mode
def test_what_is_no_tls_is_refused_and_the_server_goes_on(mode):
    with secure(Lines, mode) as server:
        with connect(server) as client:
            client.settimeout(PATIENCE)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while client.recv(80):
                pass
        wait_until(lambda: len(server.reactor.table.closed) == 1)
        assert server.reactor.table.closed[0]["reason"].startswith("TLSFailed: ")
        with secured(server) as client:
            client.sendall(LINES[0])
            assert client.recv(80) == b"tls1.3 None one\n"


def test_a_silent_client_is_seen_in_the_table_and_its_handshake_has_a_deadline():
    with secure(Lines, "select", handshake_timeout=0.3) as server, connect(server) as silent:
        wait_until(lambda: len(server.reactor.table) == 1)
        with secured(server) as client:
            client.sendall(LINES[0])
            assert client.recv(80) == b"tls1.3 None one\n"
        silent.settimeout(PATIENCE)
        assert silent.recv(1) == b""
        wait_until(lambda: any(row["reason"].startswith("TimedOut: ") for row in server.reactor.table.closed))


def hello():
    """The first flight of a client."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(coming, going, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return going.read()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["select", "thread"])
def test_a_handshake_that_ends_after_any_byte_has_a_cause(mode):
    flight = hello()
    cuts = range(0, len(flight), 17)
    with secure(Lines, mode) as server:
        for cut in cuts:
            with connect(server) as client:
                client.sendall(flight[:cut])
        wait_until(lambda: len(server.reactor.table.closed) == len(cuts))
        reasons = {row["reason"].partition(":")[0] for row in server.reactor.table.closed}
        assert reasons <= {"Truncated", "Reset"}


def test_a_handshake_that_comes_byte_by_byte_succeeds():
    with secure(Lines, "select") as server, connect(server) as plain:
        plain.settimeout(PATIENCE)
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(coming, going, server_hostname=NAME)

        class Slow:
            recv = staticmethod(lambda size: plain.recv(1))

            @staticmethod
            def sendall(data):
                for byte in data:
                    plain.sendall(bytes([byte]))

        exchange(Slow, coming, going, client.do_handshake)
        client.write(LINES[0])
        assert exchange(Slow, coming, going, lambda: client.read(80)) == b"tls1.3 None one\n"


def test_an_end_that_comes_before_the_turn_of_the_handshake_is_in_order(monkeypatch):
    """The last flight of the client, its request, its close_notify and the end of TCP come before the server's turn."""
    with secure(Lines, "select") as server, connect(server) as plain:
        plain.settimeout(PATIENCE)
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(VERSIONS[1]).wrap_bio(coming, going, server_hostname=NAME)
        assert attempt(client.do_handshake) is None
        plain.sendall(going.read())
        while attempt(client.do_handshake) is None:
            coming.write(plain.recv(65_536))
        client.write(LINES[0])
        assert attempt(client.unwrap) is None
        [row] = server.reactor.table
        before, rest = row.total_in, going.read()
        monkeypatch.setattr(steps, "STEPS", 0)
        plain.sendall(rest)
        plain.shutdown(socket.SHUT_WR)
        wait_until(lambda: row.total_in == before + len(rest))
        time.sleep(0.05)  # long enough to read the end, if it is read
        monkeypatch.setattr(steps, "STEPS", 8)
        assert exchange(plain, coming, going, lambda: client.read(80)) == b"tls1.3 None one\n"


@every_mode
def test_a_filter_that_stays_in_front_of_tls_does_not_hold_up_the_handshake(mode):
    tls = partial(TLS, context=server_context())
    with serving(Lines, mode, TCP, filters=[Filter, tls]) as server, secured(server) as client:
        client.sendall(LINES[0])
        assert client.recv(80) == b"tls1.3 None one\n"


def test_many_handshakes_at_once_all_succeed_in_turn():
    """None of them is lost, and a client that has been there before is answered all the while."""
    flights = [hello() for _ in range(60)]
    with secure(Lines, "select", request_queue_size=128) as server, secured(server) as old, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in flights]
        for client, flight in zip(clients, flights, strict=True):
            client.sendall(flight)
        old.sendall(LINES[0])
        assert old.recv(80) == b"tls1.3 None one\n"
        for client in clients:
            client.settimeout(PATIENCE)
            assert client.recv(1) == b"\x16"  # a handshake record: the server's hello


@every_mode
def test_a_new_certificate_holds_for_the_next_handshake(mode):
    with secure(Lines, mode) as server:
        with secured(server) as client:
            client.sendall(LINES[0])
            assert client.recv(80)
        server.context = server_context(ask_client=True)
        with secured(server, client_context(named=True)) as client:
            client.sendall(LINES[0])
            assert client.recv(80) == b"tls1.3 CN=alice,O=Example one\n"


def test_a_megabyte_goes_through_in_both_directions():
    line = bytes(97 + at % 26 for at in range(1 << 19)) + b"\n"
    with secure(Lines, "select") as server, secured(server) as client:
        client.sendall(LINES[0])
        assert client.recv(80)
        for _ in range(2):
            client.sendall(line)
            assert receive(client, len(line)) == line


def test_a_client_that_resets_in_the_handshake_leaves_nothing():
    with secure(Lines, "select") as server:
        client = connect(server)
        client.sendall(hello()[:50])
        wait_until(lambda: len(server.reactor.table) == 1)
        reset(client)
        wait_until(lambda: not server.reactor.table)


def test_tls_without_a_context_is_refused_and_so_is_tls_of_packets():
    class Secure(TLSMixIn, SelectTCPServer):
        pass

    class SecurePackets(TLSMixIn, SelectUDPServer):
        pass

    with pytest.raises(TypeError, match="has no certificate: give it context="):
        Secure(("127.0.0.1", 0), Lines)
    with pytest.raises(TypeError, match="datagram sockets"):
        SecurePackets(("127.0.0.1", 0), object, context=server_context())


def test_resumption():
    context = client_context(ssl.TLSVersion.TLSv1_2)
    with secure(Lines, "select") as server:
        with secured(server, context) as client:
            session = client.session
        with connect(server) as plain, context.wrap_socket(plain, server_hostname=NAME, session=session) as client:
            assert client.session_reused


class Relay(StreamHandler):
    """Sends each line to a server over TLS, and sends back what that answers."""

    upstream = None

    async def handle(self):
        tls = partial(TLS, context=client_context(), server_side=False, server_hostname=self.name)
        try:
            target = await Connected(self.upstream, Target(self), filters=[tls], timeout=PATIENCE)
        except Failed as failed:
            self.send(f"{type(failed.error).__name__}\n".encode())
            return
        try:
            while True:
                target.send(await Until(b"\n"))
        except EndOfStream:
            target.send_eof()


class Target(StreamHandler):
    def __init__(self, client):
        self.client = client

    async def handle(self):
        while True:
            self.client.send(await Until(b"\n"))


@every_mode
@pytest.mark.parametrize(("name", "answer"), [(NAME, b"tls1.3 None one\n"), ("other.test", b"TLSFailed\n")])
def test_a_connection_that_a_handler_makes_has_tls_too(mode, name, answer):
    with secure(Lines, "select") as upstream:
        kind = type("Relay", (Relay,), {"upstream": upstream.server_address, "name": name})
        with serving(kind, mode, TCP) as server, connect(server) as client:
            client.settimeout(PATIENCE)
            client.sendall(b"one\n")
            assert client.recv(80) == answer
            with suppress(OSError):  # a server that has not read the line resets the connection, after its answer
                client.shutdown(socket.SHUT_RDWR)


class Echo(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Until(b"\n"))


class Kept(StreamRequestHandler):
    request = Until(b"\n")
    close_connection = False

    def handle(self):
        self.wfile.write(self.rfile.readline())


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "fork"])  # in which the child logs it
@pytest.mark.parametrize("handler", [Echo, Kept])
@pytest.mark.parametrize(("sent", "level", "said"), [
    ((), "DEBUG", "between messages"), ((LINES[0],), "DEBUG", "between messages"),
    ((b"half",), "INFO", "and the request may not have all of its input"),
    ((LINES[0], b"half"), "INFO", "and the request may not have all of its input"),
])  # fmt: skip
def test_an_end_without_close_notify_is_logged_at_info_only_where_a_message_is_cut(
    handler, mode, sent, level, said, caplog
):
    caplog.set_level("DEBUG", logger="reactor")
    with secure(handler, mode) as server:
        with secured(server) as client:
            for data in sent:
                client.sendall(data)
                assert receive(client, 4 if data in LINES else 0) in (data, b"")
        wait_until(lambda: server.reactor.table.closed)
    [record] = [record for record in caplog.records if record.name == "reactor"]
    assert (record.levelname, record.getMessage().endswith(f"without a close_notify, {said}")) == (level, True)
