"""The line service with STARTTLS and SASL, as it is started, and what a client must not do."""

import socket
import ssl
from base64 import b64encode

import pytest

from tests.support.certificates import KEYS, NAME, client_context
from tests.support.examples import running

PATIENCE = 30


def said(client, command):
    """The lines that answer the command, without the tag; the last one is the result."""
    client.sendall(b"a " + command + b"\r\n")
    answer = b""
    while not any(line.startswith(b"a ") for line in answer.splitlines()):
        piece = client.recv(4096)
        assert piece
        answer += piece
    return [line.removeprefix(b"* ").removeprefix(b"a ") for line in answer.splitlines()]


PLAIN = b"AUTHENTICATE PLAIN " + b64encode(b"\0ada\0sesame")


@pytest.fixture
def client():
    with running("login", str(KEYS / f"{NAME}.pem")) as example, example.connect() as plain:
        plain.settimeout(PATIENCE)
        assert plain.recv(100) == b"* OK ready\r\n"
        yield plain


def test_a_client_logs_in_behind_starttls_and_is_served(client):
    assert b"STARTTLS" in said(client, b"CAPABILITY")[0]
    assert said(client, b"WHO") == [b"NO log in first"]
    assert said(client, PLAIN) == [b"NO [AUTHENTICATIONFAILED]"]
    assert said(client, b"STARTTLS") == [b"OK"]
    with client_context(ssl.TLSVersion.TLSv1_2).wrap_socket(client, server_hostname=NAME) as secure:
        assert b"AUTH=PLAIN" in said(secure, b"CAPABILITY")[0]
        assert said(secure, b"STARTTLS") == [b"BAD it is too late for that"]
        assert said(secure, PLAIN) == [b"OK"]
        assert said(secure, b"WHO") == [b"ada by tls1.2", b"OK"]
        assert said(secure, b"upper hello") == [b"HELLO", b"OK"]
        assert said(secure, PLAIN) == [b"NO [AUTHENTICATIONFAILED]"]
        assert said(secure, b"WHO") == [b"ada by tls1.2", b"OK"]
        assert said(secure, b"LOGOUT") == [b"BYE", b"OK"]


def test_what_comes_behind_starttls_in_plain_text_ends_the_session(client):
    client.sendall(b"a STARTTLS\r\nb NOOP\r\n")
    assert client.recv(100) == b"a OK\r\n"
    assert client.recv(100) == b""


@pytest.mark.slow
@pytest.mark.parametrize("line", [b"", b"AUTHENTICATE", b"AUTHENTICATE \xff x", b"AUTHENTICATE PLAIN \xff", b"\0"])
def test_a_line_that_makes_no_sense_is_answered(client, line):
    assert said(client, line)[-1].split()[0] in (b"BAD", b"NO")
    client.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b""
