"""Files, and the end of the stream as a cause, behind TLS."""

from contextlib import contextmanager

import pytest

from handlers import Delay, StreamHandler, Until, WhileConnected
from reactor.tls import TLSMixIn
from tests.support.bench import PATTERN
from tests.support.certificates import NAME, client_context, server_context
from tests.support.serving import STREAMS, connect, reset, rest, serving

pytestmark = pytest.mark.usefixtures("nothing_left")


@contextmanager
def secured(handler, **members):
    """A client over TLS of a server in select mode."""
    members["context"] = server_context()
    with serving(handler, "select", STREAMS["tcp"], TLSMixIn, **members) as server:
        plain = connect(server)
        with client_context().wrap_socket(plain, server_hostname=NAME) as client:
            yield client


def test_a_file_is_sent_encrypted_and_in_order(tmp_path):
    (tmp_path / "file").write_bytes(PATTERN)

    class Sending(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            self.send(b"head ")
            self.send_file(open(tmp_path / "file", "rb"))  # noqa: SIM115
            self.send(b" tail")

    with secured(Sending) as client:
        client.sendall(b"go\n")
        assert rest(client) == b"head " + PATTERN + b" tail"


@pytest.mark.parametrize("leave", [lambda client: client.unwrap(), lambda client: client.close(), reset])
def test_a_client_that_goes_away_is_noticed(leave, journal):
    class Waiting(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            await WhileConnected(Delay(60))

        def finish(self):
            self.server.journal.write(type(self.reason).__name__)

    with secured(Waiting, journal=journal) as client:
        client.sendall(b"go\nmore\n")
        leave(client)
        [reason] = journal.wait_for(1)
        assert reason in ("EndOfStream", "Reset", "Truncated")
