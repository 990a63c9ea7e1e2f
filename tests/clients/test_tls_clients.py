"""TLS clients that this project did not write: openssl, curl, gnutls-cli and sslscan."""

import http.server
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from xml.etree import ElementTree

import pytest

from handlers import StreamHandler, Until
from handlers.services import Echo
from reactor.rows.filters.proxy import Proxy
from reactor.tls import TLSMixIn
from tests import ROOT
from tests.support.certificates import KEYS, NAME, server_context
from tests.support.programs import program, run, start
from tests.support.serving import MODES, STREAMS, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
PATIENCE = 30
every_mode = pytest.mark.parametrize("mode", MODES)


class Bye(StreamHandler):
    """Echoes lines until one says bye."""

    async def handle(self):
        while (line := await Until(b"\n")) != b"bye\n":
            self.send(line)


class Pages(http.server.BaseHTTPRequestHandler):
    """A blocking handler of the standard library."""

    def do_GET(self):
        body = f"you asked for {self.path} of {self.request.principal}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Be silent."""


def secure(handler, mode, **members):
    return serving(handler, mode, STREAMS["tcp"], TLSMixIn, context=server_context(**members))


def s_client(server, *options, send=b"hello\nbye\n"):
    host, port = server.server_address
    command = [
        program("openssl"), "s_client", "-connect", f"{host}:{port}", "-servername", NAME, "-quiet", "-verify_quiet",
        "-verify_return_error", "-verify_hostname", NAME, "-CAfile", KEYS / "ca.pem", *options,
    ]  # fmt: skip
    return run(command, send, PATIENCE)


@every_mode
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_is_echoed_and_ends_in_order(mode, version):
    with secure(Bye, mode) as server:
        done = s_client(server, version)
        assert (done.stdout, done.returncode) == (b"hello\n", 0), done.stderr


@contextmanager
def dialogue(*command):
    """Run a client to talk with: yields its process, whose output includes its standard error."""
    with start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as client:
        timer = threading.Timer(PATIENCE, client.kill)
        timer.start()
        try:
            yield client
        finally:
            client.kill()
            timer.cancel()


def s_client_talks(server, *options):
    """Without ``-quiet``: some letters at the beginning of the input are commands (``openssl-s_client(1)``)."""
    host, port = server.server_address
    return dialogue(
        program("openssl"), "s_client", "-connect", f"{host}:{port}", "-servername", NAME, "-CAfile", KEYS / "ca.pem",
        *options,
    )  # fmt: skip


def tells(client, line):
    """Whether the client tells this line next, or after others."""
    return any(told == line for told in iter(client.stdout.readline, b""))


@every_mode
@pytest.mark.parametrize("command", [b"K\n", b"k\n"], ids=["of both sides", "of its own"])
def test_openssl_changes_its_keys(mode, command):
    with secure(Bye, mode) as server, s_client_talks(server, "-tls1_3") as client:
        for said, told in [(b"one\n", b"one\n"), (command, b"KEYUPDATE\n"), (b"two\n", b"two\n")]:
            client.stdin.write(said)
            assert tells(client, told)
        client.stdin.write(b"bye\n")
        client.stdin.close()
        client.stdout.read()


def test_openssl_may_not_negotiate_anew():
    """An R asks for it; TLS 1.2 only. What comes before is answered, and other clients go on."""
    with secure(Bye, "select") as server:
        with s_client_talks(server, "-tls1_2") as client:
            client.stdin.write(b"one\n")
            assert tells(client, b"one\n")
            client.stdin.write(b"R\n")
            assert tells(client, b"RENEGOTIATING\n")
            assert b"no renegotiation" in client.stdout.read()
        assert s_client(server).stdout == b"hello\n"
        wait_until(lambda: len(server.reactor.table.closed) == 2)


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize(("version", "resumed"), [("-tls1_2", 5), ("-tls1_3", 0)])
def test_openssl_connects_again_and_again(mode, version, resumed):
    """With TLS 1.3 it does not wait for a ticket, so it can't resume (see the next test)."""
    with secure(Bye, mode) as server:
        with s_client_talks(server, version, "-reconnect") as client:
            client.stdin.write(b"bye\n")
            told = client.stdout.read()
        assert (told.count(b"\nNew, "), told.count(b"\nReused, ")) == (6 - resumed, resumed)
        wait_until(lambda: len(server.reactor.table.closed) == 6)


@every_mode
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_resumes_a_session_of_an_earlier_run(mode, version, tmp_path):
    with secure(Bye, mode) as server:
        for option, told in [("-sess_out", b"New, "), ("-sess_in", b"Reused, ")]:
            with s_client_talks(server, version, option, tmp_path / "session") as client:
                client.stdin.write(b"one\n")
                assert any(line.startswith(told) for line in iter(client.stdout.readline, b""))
                assert tells(client, b"one\n")
                client.stdin.write(b"bye\n")
                client.stdout.read()


@pytest.mark.parametrize("mode", ["select", "fork"])
def test_early_data_of_openssl_is_refused_and_the_handler_does_not_see_it(mode, tmp_path):
    """It could be sent again by anybody (RFC 8446, section 8). The ticket is of another server, which takes it."""
    session, early = tmp_path / "session", tmp_path / "early"
    early.write_bytes(b"early\n")
    certificate = KEYS / f"{NAME}.pem"
    with dialogue(
        program("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-early_data", "-tls1_3",
        "-naccept", "1",
    ) as other:  # fmt: skip
        accepting = next(line for line in iter(other.stdout.readline, b"") if line.startswith(b"ACCEPT"))
        address = accepting.split()[1].decode()
        with dialogue(
            program("openssl"), "s_client", "-connect", address, "-servername", NAME, "-sess_out", session
        ) as client:
            other.stdin.write(b"a line\n")
            assert tells(client, b"a line\n")  # the tickets have come before it
            client.stdin.close()
            client.stdout.read()
    with (
        secure(Bye, mode) as server,
        s_client_talks(server, "-sess_in", session, "-early_data", early) as client,
    ):
        assert tells(client, b"Early data was rejected\n")
        client.stdin.write(b"late\n")
        echoed = next(line for line in iter(client.stdout.readline, b"") if line in (b"early\n", b"late\n"))
        assert echoed == b"late\n"
        client.stdin.write(b"bye\n")
        client.stdout.read()


@every_mode
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_ends_early_in_order_and_by_force(mode, version):
    with secure(Bye, mode) as server:
        assert s_client_leaves(server, version, lambda client: client.stdin.write(b"Q\n")) == ""
        assert s_client_leaves(server, version, lambda client: client.kill()).startswith("Truncated: ")


def s_client_leaves(server, version, leave):
    """The reason of the request of a client that leaves in the middle of its talk."""
    before = len(server.reactor.table.closed)
    with s_client_talks(server, version) as client:
        client.stdin.write(b"one\n")
        assert tells(client, b"one\n")
        leave(client)
        client.stdout.read()
    wait_until(lambda: len(server.reactor.table.closed) == before + 1)
    return server.reactor.table.closed[-1]["reason"]


@every_mode
def test_openssl_with_an_old_version_is_refused_with_a_cause(mode):
    context = server_context()
    context.minimum_version = 0x0304  # TLS 1.3
    with serving(Echo, mode, STREAMS["tcp"], TLSMixIn, context=context) as server:
        assert s_client(server, "-tls1_2").returncode != 0
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"].startswith("TLSFailed: ")


@every_mode
def test_openssl_names_its_principal(mode):
    class Who(StreamHandler):
        async def handle(self):
            self.send(f"{self.principal}\n".encode())

    with secure(Who, mode, ask_client=True) as server:
        done = s_client(server, "-cert", KEYS / "alice.pem", send=b"")
        assert done.stdout == b"CN=alice,O=Example\n", done.stderr


def curl(server, *options, ca="ca.pem"):
    port = server.server_address[1]
    command = [
        program("curl"), "-sS", "--max-time", str(PATIENCE), "--cacert", KEYS / ca,
        "--connect-to", f"{NAME}:443:127.0.0.1:{port}", f"https://{NAME}/page", *options,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)


blocking_modes = pytest.mark.parametrize("mode", ["plain", "fork", "thread"])


@blocking_modes
def test_curl_gets_a_page_of_the_standard_library(mode):
    with secure(Pages, mode) as server:
        done = curl(server)
        assert (done.stdout, done.stderr) == (b"you asked for /page of None\n", b"")


def test_curl_refuses_a_certificate_of_another_ca():
    with secure(Pages, "thread") as server:
        done = curl(server, ca="p256.pem")
        assert (done.returncode, done.stdout) == (60, b"")
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"].startswith("TLSFailed: ")


@blocking_modes
def test_curl_has_a_certificate_or_is_refused(mode):
    with secure(Pages, mode, ask_client=True) as server:
        assert curl(server, "--cert", KEYS / "alice.pem").stdout == b"you asked for /page of CN=alice,O=Example\n"
        done = curl(server)
        assert (done.returncode != 0, done.stdout) == (True, b"")


@blocking_modes
def test_curl_agrees_on_the_application_protocol(mode):
    context = server_context()
    context.set_alpn_protocols(["http/1.1"])
    with serving(Pages, mode, STREAMS["tcp"], TLSMixIn, context=context) as server:
        assert curl(server).returncode == 0
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["in_front"] == "tls1.3 http/1.1"


@blocking_modes
def test_curl_sends_a_proxy_header_before_the_handshake(mode):
    class ProxiedTLS(TLSMixIn):
        def connection_filters(self):
            return (partial(Proxy, trusted=["127.0.0.0/8"]), *super().connection_filters())

    with serving(Pages, mode, STREAMS["tcp"], ProxiedTLS, context=server_context()) as server:
        assert curl(server, "--haproxy-protocol").stdout == b"you asked for /page of None\n"
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["in_front"] == "proxy tls1.3"


def gnutls_cli(server, *options, send=b"hello\nbye\n"):
    port = server.server_address[1]
    command = [
        program("gnutls-cli"), "--x509cafile", KEYS / "ca.pem", "--sni-hostname", NAME, "--verify-hostname", NAME,
        "--port", str(port), *options, "127.0.0.1",
    ]  # fmt: skip
    return run(command, send, PATIENCE)


@every_mode
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_gnutls_is_echoed_and_agrees_on_the_application_protocol(mode, version):
    context = server_context()
    context.set_alpn_protocols(["lines"])
    with serving(Bye, mode, STREAMS["tcp"], TLSMixIn, context=context) as server:
        done = gnutls_cli(server, "--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{version}", "--alpn", "lines")
        assert (done.returncode, b"\nhello\n" in done.stdout) == (0, True), done
        assert b"- Application protocol: lines\n" in done.stdout
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
        assert (row["in_front"], row["reason"]) == (f"tls{version} lines", "")


@every_mode
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_gnutls_resumes_its_session(mode, version):
    with secure(Bye, mode) as server:
        done = gnutls_cli(server, "--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{version}", "--resume")
        assert b"*** This is a resumed session" in done.stdout, done
        assert (done.returncode, b"\nhello\n" in done.stdout) == (0, True), done


@every_mode
def test_gnutls_names_its_principal(mode):
    with secure(Bye, mode, ask_client=True) as server:
        named = "--x509certfile", KEYS / "alice.pem", "--x509keyfile", KEYS / "alice.pem"
        assert gnutls_cli(server, *named).returncode == 0
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["principal"] == "CN=alice,O=Example"


@pytest.mark.slow
def test_sslscan_finds_no_weak_protocol_and_no_weak_cipher_in_the_defaults_of_the_command():
    address = re.compile(r"listening on tls://(\S+) \(select\)\n")
    command = [sys.executable, "-m", "reactor", "serve", "--bind", "tls://127.0.0.1:0", "--tls", KEYS / "p256.pem"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        try:
            target = address.fullmatch(server.stderr.readline())[1]
            done = subprocess.run(
                [program("sslscan"), "--xml=-", "--no-colour", target],
                capture_output=True,
                timeout=PATIENCE,
                check=True,
            )
        finally:
            server.terminate()
    [told] = ElementTree.fromstring(done.stdout.decode()).iter("ssltest")
    protocols = {
        f"{protocol.get('type')}{protocol.get('version')}" for protocol in told.iter("protocol")
        if protocol.get("enabled") == "1"
    }  # fmt: skip
    assert protocols == {"tls1.2", "tls1.3"}
    ciphers = [(int(cipher.get("bits")), cipher.get("strength")) for cipher in told.iter("cipher")]
    assert ciphers
    assert all(bits >= 128 and strength in ("strong", "acceptable") for bits, strength in ciphers), ciphers
    assert {weakness.get("vulnerable") for weakness in told.iter("heartbleed")} == {"0"}
    assert {renegotiation.get("supported") for renegotiation in told.iter("renegotiation")} == {"0"}
    assert {compression.get("supported") for compression in told.iter("compression")} <= {"0"}
