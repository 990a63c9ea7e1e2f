"""curl, wrk and ``http.client`` at the server of files that the command starts, over TCP and TLS; and slow clients."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import ROOT
from tests.support.certificates import KEYS, NAME
from tests.support.programs import program

PATIENCE = 30
BIG = bytes(range(256)) * 20_000
PAGE = b"<p>page"


class Site(NamedTuple):
    """Where the directory is served."""

    address: tuple[str, int]
    plain: str
    secure: str
    folder: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "page.html").write_bytes(PAGE)
    (folder / "big.bin").write_bytes(BIG)
    command = [
        sys.executable, "-m", "reactor", "serve", "reactor.handlers.http:Files", "--tls", KEYS / f"{NAME}.pem",
        "--bind", "tcp://127.0.0.1:0", "--bind", "tls://127.0.0.1:0",
    ]  # fmt: skip
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
        )
        stack.callback(process.kill)
        assert process.stderr is not None
        ports = [re.sub(r".*:(\d+) .*\n", r"\1", process.stderr.readline()) for _ in range(2)]
        plain = ("127.0.0.1", int(ports[0]))
        yield Site(plain, f"http://127.0.0.1:{ports[0]}", f"https://{NAME}:{ports[1]}", folder)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, "")


def curl(*arguments: str | Path) -> bytes:
    command = [program("curl"), "-sS", "--max-time", str(PATIENCE), "--path-as-is", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, timeout=2 * PATIENCE)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout


def test_curl_gets_files_over_one_connection(site: Site) -> None:
    names = [f"{site.plain}/{name}" for name in ("page.html", "big.bin", "none", "page.html")]
    said = curl("-w", "[%{http_code} %{num_connects}]", *names)
    assert said == PAGE + b"[200 1]" + BIG + b"[200 0]404\n[404 0]" + PAGE + b"[200 0]"


def test_curl_resumes_and_asks_for_what_has_changed(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "big.bin"
    part.write_bytes(BIG[:1_000_000])
    curl("-C", "-", "-o", part, f"{site.plain}/big.bin")
    assert part.read_bytes() == BIG
    assert curl("-r", "5-1000004", f"{site.plain}/big.bin") == BIG[5:1_000_005]
    assert curl("-r", "-3", f"{site.plain}/page.html") == PAGE[-3:]
    assert curl("-w", "%{http_code}", "-o", "/dev/null", "-r", "100-", f"{site.plain}/page.html") == b"416"
    tag = tmp_path / "tag"
    assert curl("--etag-save", tag, f"{site.plain}/page.html") == PAGE
    assert curl("--etag-compare", tag, "-w", "%{http_code}", f"{site.plain}/page.html") == b"304"
    assert curl("-z", site.folder / "page.html", "-w", "%{http_code}", f"{site.plain}/page.html") == b"304"


def test_curl_with_head_http_1_0_and_a_body_that_nobody_wants(site: Site) -> None:
    head = curl("-I", f"{site.plain}/big.bin")
    assert b"\r\nContent-Length: %d\r\n" % len(BIG) in head
    assert curl("--http1.0", f"{site.plain}/page.html") == PAGE
    assert curl("--http0.9", "--compressed", f"{site.plain}/page.html") == PAGE
    for expect in ("Expect: 100-continue", "Expect:"):
        said = curl("-H", expect, "--data-binary", f"@{site.folder / 'big.bin'}", "-w", "%{http_code}", site.plain)
        assert said == b"405\n405"
    assert curl("-w", "%{http_code}", f"{site.plain}/../../etc/passwd") == b"404\n404"


def test_curl_over_tls(site: Site) -> None:
    port = site.secure.rpartition(":")[2]
    resolve = f"{NAME}:{port}:127.0.0.1"
    for name, content in (("page.html", PAGE), ("big.bin", BIG)):
        assert curl("--cacert", KEYS / "ca.pem", "--resolve", resolve, f"{site.secure}/{name}") == content


@pytest.mark.slow
def test_wrk_gets_no_error(site: Site) -> None:
    result = subprocess.run(
        [program("wrk"), "-t1", "-c50", "-d1", f"{site.plain}/page.html"],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert int(re.search(r"(\d+) requests in", result.stdout)[1]) > 50  # type: ignore[index]
    assert "Socket errors" not in result.stdout
    assert "Non-2xx" not in result.stdout


def test_http_client_keeps_its_connection(site: Site) -> None:
    with closing(HTTPConnection(*site.address, timeout=PATIENCE)) as client:
        client.connect()
        sock = client.sock
        for method, path, content in [("GET", "/page.html", PAGE), ("HEAD", "/big.bin", b""), ("GET", "/big.bin", BIG)]:
            client.request(method, path)
            response = client.getresponse()
            assert (response.status, response.read()) == (200, content)
        client.request("POST", "/page.html", b"x" * 1000)
        assert client.getresponse().read() == b"405\n"
        client.request("GET", "/")
        assert b'<a href="./page.html">' in client.getresponse().read()
        assert client.sock is sock


def test_200_slow_clients_keep_nobody_from_the_files(site: Site) -> None:
    half = b"GET /page.html HTTP/1.1\r\nHost: a\r\nX-Slow: "
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(socket.create_connection(site.address, PATIENCE))) for _ in range(200)]
        for client in clients:
            client.sendall(half)
        for client in clients[:20]:  # these read nothing of a large answer
            client.sendall(b"a\r\n\r\nGET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        assert curl(f"{site.plain}/big.bin") == BIG
        for client in clients[20:]:
            client.sendall(b"b\r\nConnection: close\r\n\r\n")
        for client in clients[20:]:
            answer = b"".join(iter(lambda: client.recv(65_536), b""))  # noqa: B023 - used before the next client
            assert answer.endswith(PAGE)


def test_the_answer_to_a_refused_request_arrives_though_its_body_is_not_read(site: Site) -> None:
    with socket.create_connection(site.address, PATIENCE) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n405\n")
