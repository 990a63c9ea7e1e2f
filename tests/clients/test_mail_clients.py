"""Clients that turn to TLS in the middle of SMTP: openssl and swaks."""

from tests.support.certificates import KEYS, NAME
from tests.support.mail import receiving
from tests.support.programs import needed, program
from tests.support.programs import run as run_program
from tests.support.serving import wait_until

PATIENCE = 30
MAIL = b"EHLO x\nMAIL FROM:<a@x>\nRCPT TO:<b@y>\nDATA\nhello\n.\nQUIT\n"


def run(*command, send=b""):
    return run_program(command, send, PATIENCE)


def assert_delivered(server, delivered):
    [(sender, recipients, *_)] = delivered
    assert (sender, recipients) == ("FROM:<a@x>", ["TO:<b@y>"])
    wait_until(lambda: server.reactor.table.closed)
    [row] = server.reactor.table.closed
    assert (row["reason"], row["in_front"]) == ("", "tls1.3")


def test_openssl_sends_mail_over_starttls():
    with receiving() as (server, delivered):
        host, port = server.server_address
        done = run(
            program("openssl"), "s_client", "-connect", f"{host}:{port}", "-starttls", "smtp", "-servername", NAME,
            "-CAfile", KEYS / "ca.pem", "-verify_hostname", NAME, "-verify_return_error", "-verify_quiet", "-quiet",
            "-crlf", send=MAIL,
        )  # fmt: skip
        assert done.stdout.splitlines()[-5:] == [
            b"250 OK", b"250 OK", b"354 end with a line that is a dot", b"250 OK", b"221 bye",
        ], done.stderr  # fmt: skip
        assert_delivered(server, delivered)


def test_swaks_sends_mail_over_starttls():
    needed(run(program("perl"), "-MNet::SSLeay", "-e1").returncode == 0, "libnet-ssleay-perl")
    with receiving() as (server, delivered):
        done = run(
            program("swaks"), "--server", "{}:{}".format(*server.server_address), "--tls", "--tls-verify",
            "--tls-ca-path", KEYS / "ca.pem", "--tls-sni", NAME, "--helo", "x", "--from", "a@x", "--to", "b@y",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert b"=== TLS started" in done.stdout
        assert_delivered(server, delivered)


def test_swaks_without_tls_is_told_to_take_it():
    with receiving() as (server, delivered):
        done = run(
            program("swaks"), "--server", "{}:{}".format(*server.server_address), "--helo", "x", "--from", "a@x",
            "--to", "b@y",
        )  # fmt: skip
        assert b"<** 530 Must issue a STARTTLS command first" in done.stdout
        assert (done.returncode != 0, delivered) == (True, [])
