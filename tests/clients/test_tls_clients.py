"""TLS clients that this project did not write: openssl and curl, in every mode."""

import http.server
import subprocess
import threading

import pytest

from handlers import StreamHandler, Until
from handlers.services import Echo
from reactor.tls import TLSMixIn
from tests.support.certificates import KEYS, NAME, server_context
from tests.support.programs import program
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
        body = f"you asked for {self.path}\n".encode()
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
    return subprocess.run(command, input=send, capture_output=True, timeout=PATIENCE, check=False)


@every_mode
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_is_echoed_and_ends_in_order(mode, version):
    with secure(Bye, mode) as server:
        done = s_client(server, version)
        assert (done.stdout, done.returncode) == (b"hello\n", 0), done.stderr


@every_mode
def test_openssl_changes_its_keys(mode):
    """Without ``-quiet``, input that begins with a K asks for new keys of both sides."""
    with secure(Bye, mode) as server:
        host, port = server.server_address
        command = [program("openssl"), "s_client", "-connect", f"{host}:{port}", "-tls1_3"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        ) as client:
            timer = threading.Timer(PATIENCE, client.kill)
            timer.start()
            for said, told in [(b"one\n", b"one\n"), (b"K\n", b"KEYUPDATE\n"), (b"two\n", b"two\n")]:
                client.stdin.write(said)
                assert any(line == told for line in iter(client.stdout.readline, b""))
            client.stdin.write(b"bye\n")
            client.stdin.close()
            client.stdout.read()
            timer.cancel()


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


@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_curl_gets_a_page_of_the_standard_library(mode):
    with secure(Pages, mode) as server:
        port = server.server_address[1]
        command = [
            program("curl"), "-sS", "--max-time", str(PATIENCE), "--cacert", KEYS / "ca.pem",
            "--connect-to", f"{NAME}:443:127.0.0.1:{port}", f"https://{NAME}/page",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        assert (done.stdout, done.stderr) == (b"you asked for /page\n", b"")
