"""`examples/mutual.py` and `examples/https.py`, with `ssl`, `http.client` and curl."""

import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.certificates import KEYS, NAME, client_context
from tests.support.examples import PATIENCE, Example, running
from tests.support.programs import program

CERTIFICATE = str(KEYS / f"{NAME}.pem")


@contextmanager
def secured(example: Example, *, named: bool = False) -> Iterator[ssl.SSLSocket]:
    with example.connect() as plain, client_context(named=named).wrap_socket(plain, server_hostname=NAME) as client:
        yield client


# mutual


def test_mutual_greets_a_client_by_the_name_in_its_certificate() -> None:
    with (
        running("mutual", CERTIFICATE, str(KEYS / "ca.pem")) as example,
        secured(example, named=True) as client,
        client.makefile("rwb", buffering=0) as file,
    ):
        assert file.readline() == b"hello, CN=alice,O=Example\n"
        file.write(b"one\n")
        assert file.readline() == b"one\n"


def test_mutual_refuses_a_client_without_a_certificate_and_goes_on() -> None:
    with running("mutual", CERTIFICATE, str(KEYS / "ca.pem")) as example:
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"), secured(example) as client:
            client.recv(80)
        with secured(example, named=True) as client:
            assert client.recv(80) == b"hello, CN=alice,O=Example\n"


# https


@contextmanager
def files(folder: Path) -> Iterator[Example]:
    (folder / "page.txt").write_text("some text\n")
    with (folder / "longer").open("wb") as file:
        file.truncate((16 << 20) + 1)
    (folder / "long").write_bytes(bytes(range(256)) * 8_000)
    with running("https", CERTIFICATE, str(folder)) as example:
        yield example


class Connection(http.client.HTTPSConnection):
    """To an example."""

    def __init__(self, example: Example) -> None:
        super().__init__(NAME, timeout=PATIENCE, context=client_context())
        self.example = example

    def connect(self) -> None:
        self.sock = client_context().wrap_socket(self.example.connect(), server_hostname=NAME)


def test_https_serves_files_while_silent_and_slow_clients_are_connected(tmp_path: Path) -> None:
    with (
        files(tmp_path) as example,
        example.connect(),  # a silent client
        secured(example) as slow,
    ):
        slow.sendall(b"GET /page.txt HTT")
        for _ in range(3):
            connection = Connection(example)
            connection.request("GET", "/page.txt")
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"some text\n")
            connection.close()
        slow.sendall(b"P/1.0\r\n\r\n")
        with slow.makefile("rb") as file:
            assert file.read().endswith(b"\r\n\r\nsome text\n")


def test_https_serves_curl(tmp_path: Path) -> None:
    with files(tmp_path) as example:
        port = example.addresses[0].rpartition(":")[2]
        command = [program("curl"), "-sS", "--fail", "--max-time", str(PATIENCE), "--cacert", str(KEYS / "ca.pem")]
        command += ["--connect-to", f"{NAME}:443:127.0.0.1:{port}"]

        def get(path: str) -> tuple[int, bytes]:
            done = subprocess.run([*command, f"https://{NAME}{path}"], stdout=subprocess.PIPE, check=False)
            return done.returncode, done.stdout

        assert get("/long") == (0, bytes(range(256)) * 8_000)
        assert get("/none") == (22, b"")
        assert get("/longer") == (0, bytes((16 << 20) + 1))  # more than `max_output`, which the loop would hold
        status, listing = get("/")
        assert (status, b"page.txt" in listing) == (0, True)


def test_https_ends_with_a_client_in_the_middle_of_its_request(tmp_path: Path) -> None:
    with files(tmp_path) as example, secured(example) as client:
        client.sendall(b"GET / HTTP/1.0\r\n")
        example.end()
        client.settimeout(PATIENCE)
        with suppress(ssl.SSLError):  # Python 3.11.2 tells of an end without close_notify
            assert client.recv(80) == b""


def test_a_client_that_speaks_plain_http_is_refused(tmp_path: Path) -> None:
    with files(tmp_path) as example, example.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(1000):
            answer += piece
        assert b"HTTP" not in answer
