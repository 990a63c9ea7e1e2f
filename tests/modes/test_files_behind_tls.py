"""Files that blocking handlers send behind TLS, where the kernel can't copy them: whole, and closed at every end."""

import io
import os
import random
import socket
import ssl
import time
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from handlers import StreamRequestHandler, Until
from handlers.http import http_request
from reactor.tls import TLSMixIn
from tests.support.certificates import NAME, client_context, server_context
from tests.support.serving import MODES, STREAMS, connect, reset, serving, wait_until
from tests.support.tls import exchange

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning"),
]
LARGE = 20_000_000
SIZES = [1, 65_537, pytest.param(LARGE, marks=pytest.mark.slow)]
STEP = 4_000_000  # bytes after which a slow client takes a rest
CONTENT = random.Random(14).randbytes(LARGE)


class Sends(StreamRequestHandler):
    """Answers each line with the file of the server."""

    def handle(self):
        self.rfile.readline()
        with open(self.server.path, "rb") as file:
            assert self.connection.sendfile(file) == os.path.getsize(self.server.path)
        self.wfile.write(b" tail")


class Framed(Sends):
    request = Until(b"\n")


class Page(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Write nothing to the standard error."""


class FramedPage(Page):
    request = http_request


WAYS = [
    *(("unframed", mode, "") for mode in MODES if mode != "select"), *(("framed", mode, "") for mode in MODES),
    ("framed", "select", "thread"), ("framed", "select", "fork"),
]  # fmt: skip
every_way = pytest.mark.parametrize(("framing", "mode", "work"), WAYS)


def kind_of(kinds, framing, work):
    """The handler class of the two that has a framing, or not."""
    kind = kinds[framing == "framed"]
    return type(kind.__name__, (kind,), {"work": work}) if work else kind


def secure(handler, mode, **members):
    return serving(handler, mode, STREAMS["tcp"], TLSMixIn, context=server_context(), **members)


def secured(plain):
    """The client with TLS; a stream that is cut is an error."""
    return client_context().wrap_socket(plain, server_hostname=NAME, suppress_ragged_eofs=False)


def slowly(client):
    """All that comes up to the end of the stream, taken with pauses."""
    received = bytearray()
    rests_at = 0
    while True:
        if len(received) >= rests_at:
            time.sleep(0.1)
            rests_at += STEP
        piece = client.recv(65_536)
        if not piece:
            return bytes(received)
        received += piece


def made(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:size])
    return path


@every_way
@pytest.mark.parametrize("size", SIZES)
def test_a_slow_client_gets_the_whole_file_of_sendfile(framing, mode, work, size, tmp_path):
    path = made(tmp_path, size)
    with secure(kind_of((Sends, Framed), framing, work), mode, path=path) as server, connect(server) as plain:
        with secured(plain) as client:
            client.sendall(b"go\n")
            assert slowly(client) == CONTENT[:size] + b" tail"
        wait_until(lambda: not server.reactor.table)
        [row] = server.reactor.table.closed
        assert row["reason"] == ""


@every_way
@pytest.mark.parametrize("size", SIZES)
def test_files_of_the_handler_of_http_server_come_whole_on_one_connection(framing, mode, work, size, tmp_path):
    made(tmp_path, size)
    page = partial(kind_of((Page, FramedPage), framing, work), directory=tmp_path)
    with secure(page, mode) as server, connect(server) as plain, secured(plain) as client:
        connection = HTTPConnection(NAME)
        connection.sock = client
        for _ in range(2):
            connection.request("GET", "/file")
            with connection.getresponse() as answer:
                assert (answer.status, slowly_read(answer)) == (200, CONTENT[:size])
            assert connection.sock is client
        client.shutdown(socket.SHUT_RDWR)


def slowly_read(answer):
    received = b""
    while piece := answer.read(STEP):
        received += piece
        time.sleep(0.1)
    return received


class SendsMemory(StreamRequestHandler):
    """Answers each line with a file that has no descriptor."""

    def handle(self):
        self.rfile.readline()
        assert self.connection.sendfile(io.BufferedReader(io.BytesIO(CONTENT[:100_000]))) == 100_000
        self.wfile.write(b" tail")


class FramedMemory(SendsMemory):
    request = Until(b"\n")


@every_way
def test_a_file_without_a_descriptor_is_read(framing, mode, work):
    kind = kind_of((SendsMemory, FramedMemory), framing, work)
    with secure(kind, mode) as server, connect(server) as plain, secured(plain) as client:
        client.sendall(b"go\n")
        assert slowly(client) == CONTENT[:100_000] + b" tail"


def test_the_loop_holds_the_file_and_not_its_bytes(tmp_path):
    handler = type("Bounded", (Framed,), {"max_output": 100_000})
    with serving(handler, "select", path=made(tmp_path, 300_000)) as server, connect(server) as client:
        client.sendall(b"go\n")
        client.shutdown(socket.SHUT_WR)
        assert slowly(client) == CONTENT[:300_000] + b" tail"


class Inverted(io.FileIO):
    """A file that is read otherwise than its descriptor."""

    def read(self, size=-1):
        return bytes(byte ^ 255 for byte in super().read(size))


class SendsInverted(StreamRequestHandler):
    request = Until(b"\n")

    def handle(self):
        with Inverted(self.server.path) as file:
            assert self.connection.sendfile(file) == SIZES[1]


def test_a_file_of_a_derived_class_is_read(tmp_path):
    path = made(tmp_path, SIZES[1])
    with serving(SendsInverted, "select", path=path) as server, connect(server) as client:
        client.sendall(b"go\n")
        assert slowly(client) == bytes(byte ^ 255 for byte in CONTENT[: SIZES[1]])


def open_in(pids, path):
    """How many descriptors the processes have of the file."""
    count = 0
    for pid in pids:
        with suppress(FileNotFoundError):
            for number in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    count += os.path.samefile(number, path)
    return count


def family():
    """This process and its children."""
    tasks = Path("/proc/self/task").iterdir()
    return [os.getpid(), *(child for task in tasks for child in children_of(task))]


def children_of(task):
    with suppress(FileNotFoundError):
        return (task / "children").read_text().split()
    return []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc on this system")
@every_way
@pytest.mark.parametrize("kinds", [(Sends, Framed), (Page, FramedPage)])
def test_the_file_is_closed_when_the_client_resets_in_the_middle_of_it(framing, mode, work, kinds, tmp_path):
    path = made(tmp_path, LARGE)
    kind = kind_of(kinds, framing, work)
    handler = partial(kind, directory=tmp_path) if issubclass(kind, Page) else kind
    with secure(handler, mode, path=path, handle_error=lambda *_: None) as server:
        client = connect(server)
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(coming, going, server_hostname=NAME)
        exchange(client, coming, going, tls.do_handshake)
        request = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n" if issubclass(kind, Page) else b"go\n"
        exchange(client, coming, going, lambda: tls.write(request))
        while len(exchange(client, coming, going, lambda: tls.read(65_536))) < 1_000:
            pass
        assert open_in(family(), path) > 0
        reset(client)
        wait_until(lambda: not server.reactor.table)
        wait_until(lambda: not open_in(family(), path), "the end of the file")
        [row] = server.reactor.table.closed
        assert row["reason"].startswith(("Reset:", "ConnectionResetError:", "BrokenPipeError:"))
