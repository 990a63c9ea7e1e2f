"""What is known of a connection behind TLS, and what a context can be told: by the clients of ``ssl``, in all modes."""

import json
import socket
import ssl
from contextlib import contextmanager
from functools import partial

import pytest

from handlers import Connected, StreamHandler, StreamRequestHandler, Until
from reactor.tls import TLS, TLSMixIn
from tests.support.certificates import KEYS, NAME, client_context, server_context
from tests.support.serving import MODES, PATIENCE, STREAMS, connect, rest, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
every_mode = pytest.mark.parametrize("mode", MODES)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
every_version = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
TCP = STREAMS["tcp"]


def facts(connection):
    """What a handler knows, as a line."""
    told = {name: getattr(connection, name) for name in ("secured", "principal", "alpn", "peer_certificate")}
    return json.dumps(told).encode() + b"\n"


class Facts(StreamHandler):
    """Answers each line with what it knows of the connection."""

    async def handle(self):
        while True:
            await Until(b"\n")
            self.send(facts(self))


class BlockingFacts(StreamRequestHandler):
    """The same as a blocking handler."""

    def handle(self):
        for _ in self.rfile:
            self.wfile.write(facts(self.request))


IN_MODES = [(Facts, mode) for mode in MODES] + [(BlockingFacts, mode) for mode in MODES if mode != "select"]
every_handler = pytest.mark.parametrize(("handler", "mode"), IN_MODES)


@contextmanager
def talking(server, context=None, name=NAME, session=None):
    """A client whose handshake is done; it ends with a close_notify and the end of TCP."""
    context = client_context() if context is None else context
    with connect(server) as plain:
        plain.settimeout(PATIENCE)
        with context.wrap_socket(plain, server_hostname=name, session=session) as client:
            yield client
            client.unwrap().shutdown(socket.SHUT_RDWR)


def asked(client):
    """The facts that the handler tells."""
    client.sendall(b"?\n")
    line = b""
    while not line.endswith(b"\n"):
        line += client.recv(65_536)
    return json.loads(line)


def last_row(server):
    """What is told of the only request, which has ended."""
    wait_until(lambda: server.reactor.table.closed)
    [row] = server.reactor.table.closed
    return row


def plain_data(value):
    """As `json` gives it back: lists for tuples."""
    return json.loads(json.dumps(value))


@every_handler
def test_the_certificate_of_the_peer_is_there_if_it_was_verified(handler, mode):
    context = server_context(ask_client=True)
    with serving(handler, mode, TCP, TLSMixIn, context=context) as server:
        with talking(server, client_context(named=True)) as client:
            told = asked(client)
        row = last_row(server)
    assert told["principal"] == row["principal"] == "CN=alice,O=Example"
    certificate = told["peer_certificate"]
    assert certificate["subject"] == plain_data(((("organizationName", "Example"),), (("commonName", "alice"),)))
    assert certificate["issuer"] == plain_data(((("commonName", "Test CA"),),))
    assert certificate["subjectAltName"] == [["DNS", "alice"]]


@every_handler
def test_a_peer_without_a_certificate_has_none(handler, mode):
    with serving(handler, mode, TCP, TLSMixIn, context=server_context()) as server:
        with talking(server, client_context(named=True)) as client:  # nobody asks for it
            told = asked(client)
        row = last_row(server)
    assert (told["peer_certificate"], told["principal"], told["alpn"]) == (None, None, None)
    assert (row["principal"], row["secured"], row["in_front"]) == (None, "tls1.3", "tls1.3")


@every_handler
@every_version
def test_the_application_protocol_is_agreed_on_and_is_in_the_table(handler, mode, version):
    context = server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    asking = client_context(version)
    asking.set_alpn_protocols(["nothing", "http/1.1", "h2"])
    with serving(handler, mode, TCP, TLSMixIn, context=context) as server:
        with talking(server, asking) as client:
            assert client.selected_alpn_protocol() == "h2"
            told = asked(client)
            if mode != "fork":  # the facts of a child are known to the parent when it has ended
                [row] = server.reactor.table.as_dicts()
                assert row["in_front"] == f"{told['secured']} h2"
                assert f" {told['secured']} h2 " in str(server.reactor.table)
        row = last_row(server)
    assert told["alpn"] == "h2"
    assert row["in_front"] == f"{told['secured']} h2"


def test_a_filter_that_opens_is_in_the_table_too():
    with serving(Facts, "select", TCP, TLSMixIn, context=server_context()) as server, connect(server):
        wait_until(lambda: [row["stage"] for row in server.reactor.table.as_dicts()] == ["opening"])
        [row] = server.reactor.table.as_dicts()
        assert (row["in_front"], row["secured"]) == ("tls", None)


@every_mode
def test_a_server_of_several_names_has_a_certificate_for_each(mode):
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other.load_cert_chain(KEYS / "alice.pem")

    def choose(connection, name, context):
        if name == "alice":
            connection.context = other
        return None if name in ("alice", NAME) else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context = server_context()
    context.sni_callback = choose
    with serving(Facts, mode, TCP, TLSMixIn, context=context) as server:
        for name in ("alice", NAME):
            with talking(server, name=name) as client:
                assert client.getpeercert()["subjectAltName"] == (("DNS", name),)
                assert asked(client)["secured"] == "tls1.3"
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"), talking(server, name="nobody.test"):
            pass


@every_mode
@every_version
def test_a_session_is_resumed_and_the_certificate_of_the_first_handshake_counts(mode, version):
    """With tickets, which any child can read: the context was made before the fork."""
    context = server_context(ask_client=True)
    asking = client_context(version, named=True)
    with serving(Facts, mode, TCP, TLSMixIn, context=context) as server:
        with talking(server, asking) as client:
            first = asked(client)
            assert not client.session_reused
            session = client.session  # in TLS 1.3 it has come behind the handshake
        with talking(server, asking, session=session) as client:
            assert client.session_reused
            assert asked(client) == first
    assert first["principal"] == "CN=alice,O=Example"


@every_mode
@every_version
def test_the_key_log_has_the_secrets_of_both_ends(mode, version, tmp_path):
    context = server_context()
    context.keylog_filename = tmp_path / "server"
    asking = client_context(version)
    asking.keylog_filename = tmp_path / "client"
    with serving(Facts, mode, TCP, TLSMixIn, context=context) as server, talking(server, asking) as client:
        asked(client)
    logs = [
        {line for line in path.read_text().splitlines() if not line.startswith("#")}
        for path in (tmp_path / "server", tmp_path / "client")
    ]
    assert logs[0] == logs[1]
    assert logs[0]


@every_mode
def test_a_client_of_an_older_version_than_the_context_takes_is_refused(mode):
    context = server_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with serving(Facts, mode, TCP, TLSMixIn, context=context) as server:
        with pytest.raises(ssl.SSLError), talking(server, client_context(ssl.TLSVersion.TLSv1_2)):
            pass
        assert last_row(server)["reason"].startswith("TLSFailed: ")


class Asker(StreamHandler):
    """Asks a server over TLS for each line, and answers with the name in the certificate of that."""

    address = None

    async def handle(self):
        filters = [partial(TLS, context=client_context(), server_side=False, server_hostname=NAME)]
        await Until(b"\n")
        target = await Connected(self.address, Silent(), filters=filters, timeout=PATIENCE)
        self.send(f"{target.principal} {target.peer_certificate['subjectAltName']}\n".encode())
        target.close()


class Silent(StreamHandler):
    async def handle(self):
        await Until(b"\n")


@every_mode
def test_the_certificate_of_the_server_is_there_for_the_handler_of_an_outgoing_connection(mode):
    with serving(Facts, "select", TCP, TLSMixIn, context=server_context()) as target:
        kind = type("Asker", (Asker,), {"address": target.server_address})
        with serving(kind, mode, TCP) as server, connect(server) as client:
            client.sendall(b"?\n")
            assert rest(client) == f"CN={NAME} {(('DNS', NAME),)}\n".encode()


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "fork"])  # there it is in another process
def test_facts_that_tls_has_found_out_stay_with_a_handler_whose_request_has_ended(mode):
    kept = []

    class Keeping(Facts):
        def finish(self):
            kept.append(self)

    with serving(Keeping, mode, TCP, TLSMixIn, context=server_context(ask_client=True)) as server:
        with talking(server, client_context(named=True)) as client:
            told = asked(client)
        last_row(server)
        [handler] = kept
        wait_until(lambda: isinstance(handler._machine.handler, type))
        assert json.loads(facts(handler)) == told
