"""The command serves a directory, and WSGI applications."""

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.command import LOCAL, MODES, PATIENCE, Start

SITE = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from %b" % environ["PATH_INFO"].encode()]

number = 12
"""


def get(url: str, path: str) -> tuple[int, bytes]:
    host, _, port = url.partition("://")[2].partition(":")
    client = HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, response.read()
    finally:
        client.close()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_it_serves_a_wsgi_application_in_every_mode(start: Start, tmp_path: Path, mode: str) -> None:
    (tmp_path / "site_of_mine.py").write_text(SITE)
    command = start("serve", "wsgi:site_of_mine:application", "--mode", mode, "--bind", LOCAL, cwd=tmp_path)
    (url,) = command.urls(1, mode)
    assert get(url, "/a") == (200, b"hello from /a")
    assert command.stop() == 0
    assert command.rest() == ""


@pytest.mark.parametrize("name", ["handlers.http:Files", "reactor.handlers.http:Files"])
def test_it_serves_the_files_of_the_current_directory(start: Start, tmp_path: Path, name: str) -> None:
    (tmp_path / "page.html").write_text("<p>page")
    command = start("serve", name, "--bind", LOCAL, cwd=tmp_path)
    (url,) = command.urls(1, "select")
    assert get(url, "/page.html") == (200, b"<p>page")
    assert get(url, "/none")[0] == 404
    assert command.stop() == 0
    assert command.rest() == ""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [
    ("wsgi:site_of_mine:none", "has no none"), ("wsgi:site_of_mine:number", "can't be called"),
    ("wsgi:no_such_site:application", "no module named"), ("wsgi:a-b:c", "wsgi:MODULE:APP"), ("wsgi:a:", "wsgi:MODULE"),
])  # fmt: skip
def test_a_wrong_application_is_refused_in_one_line(start: Start, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "site_of_mine.py").write_text(SITE)
    command = start("serve", name, "--bind", LOCAL, cwd=tmp_path)
    assert command.status() == 2
    text = command.rest()
    assert said in text
    assert text.count("\n") == 1
