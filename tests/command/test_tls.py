"""The command with TLS: certificates, clients that need one, and SIGHUP."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import KEYS, NAME, client_context
from tests.support.command import MODES, PATIENCE, Refused, Start, until

TLS = "tls://127.0.0.1:0"
CERTIFICATE = str(KEYS / f"{NAME}.pem")


def say(url: str, text: bytes, named: bool = False) -> bytes:
    host, _, port = url.rpartition("/")[2].rpartition(":")
    with (
        socket.create_connection((host, int(port)), PATIENCE) as plain,
        client_context(named=named).wrap_socket(plain, server_hostname=NAME) as client,
    ):
        client.sendall(text)
        return client.recv(len(text))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_an_echo_over_tls_in_every_mode(start: Start, mode: str) -> None:
    command = start("serve", "--mode", mode, "--bind", TLS, "--tls", CERTIFICATE, "--grace", "0.3")
    (url,) = command.urls(1, mode)
    assert url.startswith("tls://")
    assert say(url, b"hello") == b"hello"
    assert command.stop() == 0


def test_the_files_of_a_directory_over_https(start: Start, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>page")
    command = start("serve", "handlers.http:Files", "--bind", TLS, "--tls", CERTIFICATE, cwd=tmp_path)
    (url,) = command.urls(1, "select")
    for path, status in ("/page.html", b"200 OK"), ("/none", b"404 Not Found"):
        request = f"HEAD {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
        assert say(url, request.encode()).startswith(b"HTTP/1.1 " + status)
    assert command.stop() == 0


def test_clients_need_a_certificate_of_the_ca(start: Start) -> None:
    command = start("serve", "--bind", TLS, "--tls", CERTIFICATE, "--tls-client-ca", str(KEYS / "ca.pem"))
    (url,) = command.urls(1, "select")
    assert say(url, b"hello", named=True) == b"hello"
    with pytest.raises(ssl.SSLError):
        say(url, b"hello")
    assert command.stop() == 0


def test_sighup_reads_the_certificate_again_and_a_wrong_one_changes_nothing(start: Start, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    shutil.copy(KEYS / "alice.pem", certificate)
    command = start("serve", "--bind", TLS, "--tls", str(certificate))
    (url,) = command.urls(1, "select")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        say(url, b"hello")
    shutil.copy(CERTIFICATE, certificate)
    command.process.send_signal(signal.SIGHUP)
    until(lambda: answers(url))
    certificate.write_text("nothing")
    command.process.send_signal(signal.SIGHUP)
    assert command.process.stderr is not None
    line = command.process.stderr.readline()
    text = line if isinstance(line, str) else line.decode()
    assert re.search(r"--tls \S+: .*; give PEM files .*The certificate from before stays", text)
    assert say(url, b"hello") == b"hello"
    assert command.stop() == 0


def answers(url: str) -> bool:
    try:
        return say(url, b"hello") == b"hello"
    except ssl.SSLError:
        return False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bind", TLS], [TLS, "--tls CERT"]),
        (["--tls", CERTIFICATE, "--bind", "tcp://127.0.0.1:0"], ["--tls", "tls://HOST:PORT"]),
        (["--tls-key", "key.pem", "--bind", "tcp://127.0.0.1:0"], ["--tls-key", "--tls CERT"]),
        (["--tls", "missing.pem", "--bind", TLS], ["missing.pem", "No such file"]),
        (["--tls", __file__, "--bind", TLS], [__file__, "give PEM files"]),
        (["--tls", CERTIFICATE, "--tls-key", str(KEYS / "alice.pem"), "--bind", TLS], ["alice.pem", "mismatch"]),
        (["--tls", CERTIFICATE, "--tls-client-ca", "missing.pem", "--bind", TLS], ["--tls-client-ca missing.pem"]),
    ],
)
def test_what_can_not_be_served_is_refused_with_the_remedy(
    refused: Refused, options: list[str], words: list[str]
) -> None:
    refused("serve", *options, words=words)
