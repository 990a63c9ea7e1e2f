"""`examples/files.py` with ``http.client`` and curl."""

import subprocess
from contextlib import closing
from http.client import HTTPConnection

from tests.support.examples import PATIENCE, read_all, running
from tests.support.programs import program
from tests.support.serving import wait_until


def client_of(example):
    host, _, port = example.addresses[0].rpartition(":")
    return closing(HTTPConnection(host, int(port), timeout=PATIENCE))


def ask(client, method, path, content=None):
    client.request(method, path, content)
    response = client.getresponse()
    return response.status, response.read()


def test_files_are_stored_and_read(tmp_path):
    content = bytes(range(256)) * 5_000
    with running("files", str(tmp_path)) as example, client_of(example) as client:
        assert ask(client, "PUT", "/a.bin", content) == (201, b"")
        assert ask(client, "GET", "/a.bin") == (200, content)
        assert ask(client, "PUT", "/a.bin", iter([b"in ", b"pieces"])) == (204, b"")
        assert ask(client, "GET", "/a.bin") == (200, b"in pieces")
        for name in ("/../a", "/.a", "/%2e%2e/a", "/a/b", "/"):
            assert ask(client, "PUT", name, b"x") == (403, b"not a name for a file\n")
        assert b"a.bin" in ask(client, "GET", "/")[1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_curl_stores_a_large_file(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 40_000)
    (tmp_path / "store").mkdir()
    with running("files", str(tmp_path / "store")) as example:
        url = f"http://{example.addresses[0]}/"
        subprocess.run([program("curl"), "-sSf", "-T", source, url], check=True, timeout=PATIENCE)
        out = subprocess.run(
            [program("curl"), "-sSf", url + "source"], check=True, timeout=PATIENCE, capture_output=True
        )
    assert out.stdout == source.read_bytes()


def test_what_is_broken_off_is_not_stored(tmp_path):
    with running("files", str(tmp_path)) as example:
        with example.connect() as client:
            client.sendall(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
            wait_until(lambda: list(tmp_path.iterdir()))
        wait_until(lambda: not list(tmp_path.iterdir()))
        assert b" 400 " in example.ask(
            b"PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\nx\r\n"
        )
        with example.connect() as client:
            client.sendall(b"PUT /c HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"12")
            client.shutdown(1)
            assert read_all(client).startswith(b"HTTP/1.1 201 ")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
