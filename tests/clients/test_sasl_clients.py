"""SASL clients that this project did not write, in every mode: gsasl over STARTTLS, and swaks."""

import re
import subprocess
from contextlib import contextmanager

import pytest

from examples.login import Service
from examples.smtp import Receiver
from handlers.auth import Attempts
from handlers.auth.sasl import External, Plain
from handlers.auth.scram import Scram, ScramPlus
from tests.support.authentication import DUMMY, PASSWORD, USERS
from tests.support.certificates import server_context
from tests.support.programs import program
from tests.support.serving import MODES, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
PATIENCE = 30
TLS12 = "--priority=NORMAL:-VERS-TLS1.3"
every_mode = pytest.mark.parametrize("mode", MODES)


class Login(Service):
    """The example, with the users of the tests."""

    store = USERS
    dummy = DUMMY
    attempts = Attempts()
    mechanisms = (ScramPlus(4096), Scram(4096), Plain(), External())


class Mail(Receiver):
    """The example, with the users of the tests."""

    store = USERS
    dummy = DUMMY
    attempts = Attempts()


def gsasl(server, mechanism, *options, name="ada", password=PASSWORD):
    """Log in, by IMAP; whether that succeeded, and what the server has said."""
    host, port = server.server_address
    command = [
        program("gsasl"), "--imap", f"--connect={host}:{port}", "--x509-ca-file=", f"--mechanism={mechanism}",
        f"--authentication-id={name}", f"--password={password}", *options,
    ]  # fmt: skip
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode == 0 and "Client authentication finished (server trusted)" in done.stderr, done.stdout


@contextmanager
def login(mode):
    with serving(Login, mode, context=server_context()) as server:
        yield server


@every_mode
@pytest.mark.parametrize(
    "options",
    [
        ("PLAIN",),
        ("SCRAM-SHA-256", "--no-cb"),
        ("SCRAM-SHA-256", "--no-cb", "--no-starttls"),
        ("SCRAM-SHA-256-PLUS", TLS12),
    ],
    ids=" ".join,
)
def test_gsasl_logs_in(mode, options):
    with login(mode) as server:
        succeeded, said = gsasl(server, *options)
        assert succeeded, said
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
        assert (row["principal"], row["reason"]) == ("ada", "")


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize(
    ("options", "who"),
    [
        (("PLAIN",), {"password": "wrong"}),
        (("PLAIN",), {"name": "nobody"}),
        (("PLAIN", "--no-starttls"), {}),
        (("SCRAM-SHA-256", "--no-cb"), {"password": "wrong"}),
        (("SCRAM-SHA-256", "--no-cb"), {"name": "nobody"}),
        (("SCRAM-SHA-256-PLUS", TLS12), {"password": "wrong"}),
        (("SCRAM-SHA-256-PLUS",), {}),  # TLS 1.3: there is no binding
        (("EXTERNAL",), {}),
    ],
)
def test_gsasl_is_refused(mode, options, who):
    Login.attempts = Attempts()
    with login(mode) as server:
        succeeded, said = gsasl(server, *options, **who)
        assert not succeeded
        assert said.endswith("NO [AUTHENTICATIONFAILED]\n")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_gsasl_is_offered_what_can_be_had(version):
    offers = {
        "1.2": ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN"],
        "1.3": ["SCRAM-SHA-256", "SCRAM-SHA-256 PLAIN"],
    }
    with login("select") as server:
        _, said = gsasl(server, "PLAIN", *([TLS12] if version == "1.2" else []))
    found = [" ".join(re.findall(r"AUTH=(\S+)", line)) for line in said.splitlines() if "CAPABILITY IMAP" in line]
    assert found == offers[version]


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize(("mechanism", "password"), [("PLAIN", PASSWORD), ("PLAIN", "wrong"), ("", "")])
def test_swaks_sends_mail_as_a_user(mode, mechanism, password, journal):
    def deliver(server, sender, recipients, size, user):
        server.journal.write(sender, *recipients, size > 0, user)

    members = {"context": server_context(), "deliver": deliver, "journal": journal}
    auth = ["--auth", mechanism, "--auth-user", "ada", "--auth-password", password] if mechanism else []
    with serving(Mail, mode, **members) as server:
        host, port = server.server_address
        command = [program("swaks"), "--server", f"{host}:{port}", "--tls", "--from", "a@x", "--to", "b@y", *auth]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if password == "wrong":
            assert done.returncode == 28, done.stdout  # EXIT CODES of swaks(1): an error in authentication
            assert "535 5.7.8" in done.stdout
            assert journal.lines() == []
        else:
            assert done.returncode == 0, done.stdout
            assert journal.lines() == [f"FROM:<a@x> TO:<b@y> True {'ada' if mechanism else None}"]
