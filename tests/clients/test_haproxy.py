"""HAProxy in front of a server: it names its clients, tells of their TLS, and looks whether the server answers."""

import json
import logging
import socket
from contextlib import contextmanager
from functools import partial

import pytest

from handlers import StreamHandler, Until
from reactor.rows.filters.proxy import Proxy
from reactor.tls import TLSMixIn
from tests.support.certificates import KEYS, NAME, client_context, server_context
from tests.support.programs import program, start
from tests.support.serving import MODES, PATIENCE, STREAMS, rest, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
every_mode = pytest.mark.parametrize("mode", MODES)
TCP = STREAMS["tcp"]
HERE = partial(Proxy, trusted=["127.0.0.0/8"])


class Who(StreamHandler):
    """Answers a line with the peer, and what the proxy has said of it."""

    async def handle(self):
        await Until(b"\n")
        self.send(json.dumps([self.peer, self.proxy_header.as_dict()]).encode())


class ProxiedTLS(TLSMixIn):
    """The PROXY header comes before the handshake."""

    def connection_filters(self):
        return (HERE, *super().connection_filters())


@contextmanager
def in_front_of(server, tmp_path, options, *, bind="", more=""):
    """Run HAProxy in front of ``server``. Yields its address.

    ``options`` are those of its line ``server``, ``bind`` those of its listener.
    """
    host, port = server.server_address
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(f"""
global
    maxconn 50
defaults
    mode tcp
    timeout connect 30s
    timeout client 30s
    timeout server 30s
listen front
    bind fd@{listener.fileno()} {bind}
    {more}
    server one {host}:{port} {options}
""")
        command = [program("haproxy"), "-db", "-f", configuration]
        process = start(command, pass_fds=[listener.fileno()])
    with process:  # which alone has the listener: clients are refused if it ends
        try:
            yield address
            assert process.poll() is None
        finally:
            process.terminate()


def ask(address):
    """What the handler knows, and the address of the client."""
    with socket.create_connection(address, PATIENCE) as client:
        client.sendall(b"?\n")
        return json.loads(rest(client)), list(client.getsockname())


def ended(server):
    """The only request that was no health check, when it has ended."""
    requests = []

    def has_ended():
        requests[:] = [row for row in list(server.reactor.table.closed) if row["proxied"] != {"local": True}]
        return requests

    wait_until(has_ended)
    [row] = requests
    return row


@every_mode
def test_version_1_names_the_client(mode, tmp_path):
    with (
        serving(Who, mode, TCP, filters=[HERE]) as server,
        in_front_of(server, tmp_path, "send-proxy") as address,
    ):
        (peer, header), client = ask(address)
        assert (peer, header) == (client, {})


@every_mode
def test_version_2_names_the_client_with_a_checksum_and_an_identifier(mode, tmp_path):
    with (
        serving(Who, mode, TCP, filters=[HERE]) as server,
        in_front_of(
            server, tmp_path, "send-proxy-v2 proxy-v2-options crc32c,unique-id", more="unique-id-format of-%cp"
        ) as address,
    ):
        (peer, header), client = ask(address)
        assert (peer, header) == (client, {"unique_id": f"of-{client[1]}"})
        row = ended(server)
        assert (row["in_front"], row["proxied"]) == ("proxy", header)


@every_mode
def test_the_tls_of_the_client_ends_at_the_proxy_which_tells_of_it(mode, tmp_path):
    certificates = f"ssl crt {KEYS / f'{NAME}.pem'} ca-file {KEYS / 'ca.pem'} verify required alpn h2"
    context = client_context(named=True)
    context.set_alpn_protocols(["h2"])
    with (
        serving(Who, mode, TCP, filters=[HERE]) as server,
        in_front_of(
            server, tmp_path, "send-proxy-v2 proxy-v2-options authority,ssl,cert-cn,ssl-cipher", bind=certificates
        ) as address,
        socket.create_connection(address, PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as client,
    ):
        client.sendall(b"?\n")
        peer, header = json.loads(rest(client))
        assert peer == list(client.getsockname())
        told = {"common_name": "alice", "version": "TLSv1.3", "cipher": client.cipher()[0], "is_verified": True}
        assert header == {"authority": NAME, "alpn": "h2", "tls": told}
        assert ended(server)["proxied"] == header


@every_mode
def test_the_tls_of_the_client_passes_through_behind_the_header(mode, tmp_path):
    with (
        serving(Who, mode, TCP, ProxiedTLS, context=server_context()) as server,
        in_front_of(server, tmp_path, "send-proxy-v2") as address,
        socket.create_connection(address, PATIENCE) as plain,
        client_context().wrap_socket(plain, server_hostname=NAME) as client,
    ):
        client.sendall(b"?\n")
        peer, _ = json.loads(rest(client))
        assert peer == list(client.getsockname())
        assert ended(server)["in_front"] == "proxy tls1.3"


CHECKS = {
    "version 1": "send-proxy check inter 60",
    "version 2": "send-proxy-v2 check inter 60",
    "without a header": "send-proxy-v2 check no-check-send-proxy inter 60",
}


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize("options", CHECKS.values(), ids=CHECKS)
def test_its_health_checks_are_counted_apart_and_are_not_logged(mode, options, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, logger="reactor")
    with (
        serving(Who, mode, TCP, filters=[HERE]) as server,
        in_front_of(server, tmp_path, options) as address,
    ):
        wait_until(lambda: server.reactor.stats()["ended"].get("HealthCheck", 0) >= 3)
        (peer, _), client = ask(address)
        assert peer == client
        wait_until(lambda: server.reactor.stats()["ended"].get("", 0) == 1)
        assert set(server.reactor.table.ends) == {"", "HealthCheck"}
    assert [record.message for record in caplog.records] == []
