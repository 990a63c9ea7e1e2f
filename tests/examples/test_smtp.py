"""The receiver of mail: with `smtplib`, and what a client must not do."""

import smtplib
import socket

import pytest

from tests.support.authentication import PASSWORD
from tests.support.certificates import NAME, client_context
from tests.support.mail import receiving
from tests.support.serving import wait_until

PATIENCE = 30


def client_of(server):
    host, port = server.server_address
    client = smtplib.SMTP(timeout=PATIENCE)
    client._host = NAME  # the name that the certificate must have
    client.connect(host, port)
    return client


def test_smtplib_sends_mail_over_tls():
    with receiving() as (server, delivered), client_of(server) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert client.starttls(context=client_context())[0] == 220
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("a@x", ["b@y", "c@y"], "Subject: test\r\n\r\n.a line with a dot\r\n")
    [(sender, recipients, size, user)] = delivered
    assert user is None
    assert sender.upper() == "FROM:<A@X>"  # smtplib writes these words in lower case since 3.13
    assert [recipient.upper() for recipient in recipients] == ["TO:<B@Y>", "TO:<C@Y>"]
    assert size == len(b"Subject: test\r\n\r\n.a line with a dot\r\n")


def test_smtplib_logs_in_over_tls_only():
    with receiving() as (server, delivered), client_of(server) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        with pytest.raises(smtplib.SMTPNotSupportedError):
            client.login("ada", PASSWORD)
        assert client.docmd("AUTH", "PLAIN =")[0] == 535
        client.starttls(context=client_context())
        client.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError, match="not authenticated"):
            client.login("ada", "wrong")
        assert client.login("ada", PASSWORD)[0] == 235
        assert client.docmd("AUTH", "PLAIN =")[0] == 503
        client.sendmail("a@x", ["b@y"], "text")
    assert [mail[3] for mail in delivered] == ["ada"]


@pytest.mark.parametrize("words", ["AUTH", "AUTH PLAIN *", "AUTH NONSENSE", "AUTH PLAIN nonsense", "AUTH  x"])
def test_a_login_that_makes_no_sense_is_refused(words):
    with receiving() as (server, _), client_of(server) as client:
        client.starttls(context=client_context())
        client.ehlo()
        assert client.docmd(words)[0] == 535
        assert client.noop()[0] == 250


def test_a_client_that_leaves_between_commands_has_finished():
    with receiving() as (server, _):
        client = client_of(server)
        client.ehlo()
        client.close()
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == ""


def test_mail_without_tls_is_refused():
    with receiving() as (server, delivered), client_of(server) as client:
        with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
            client.sendmail("a@x", ["b@y"], "text")
        assert delivered == []


def test_what_comes_behind_starttls_in_plain_text_ends_the_session():
    """CVE-2011-0411: it would be taken for input that was protected."""
    with receiving() as (server, delivered), socket.create_connection(server.server_address) as client:
        client.settimeout(PATIENCE)
        client.sendall(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@x>\r\n")
        said = b""
        while piece := client.recv(1000):
            said += piece
        assert said.endswith(b"220 go ahead\r\n")
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
        assert row["reason"].startswith("TooEarly: ")
        assert delivered == []
