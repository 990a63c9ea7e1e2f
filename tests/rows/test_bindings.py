"""Channel bindings: both ends of a TLS connection have the same, and another connection has another."""

import hashlib
import re
import ssl
import subprocess
from functools import partial

import pytest

from handlers import StreamHandler, StreamMachine, Until, World
from handlers.filter import chain
from reactor.rows.filters.bindings import end_point
from reactor.tls import TLS, load_certificate
from tests.support.certificates import KEYS, NAME, client_context
from tests.support.programs import program

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
KINDS = "tls-unique", "tls-server-end-point"


class Silent(StreamHandler):
    async def handle(self):
        await Until(b"\n")


def server_context(name=f"{NAME}.pem", load=load_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(context, KEYS / name)
    return context


def connected(version, context, session=None):
    """The handlers of the two ends of a connection, and the client's filter."""
    client = client_context(version)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    filters, machines = [], []
    for made, options in ((context, {}), (client, {"server_side": False, "server_hostname": NAME, "session": session})):
        machine = StreamMachine(Silent(), World())
        make = partial(TLS, context=made, **options)
        machines.append(chain(machine, [lambda inner, make=make: filters.append(make(inner)) or filters[-1]]))
    for machine in machines:
        machine.advance()
    while any(moved := [machine.read() for machine in machines]):
        machines[1].feed(moved[0])
        machines[0].feed(moved[1])
    return machines[0].handler, machines[1].handler


@VERSIONS
@pytest.mark.parametrize("name", ["p256.pem", f"{NAME}.pem"])
def test_both_ends_have_the_same_bindings(version, name):
    server, client = connected(version, server_context(name))
    found = {kind: server.channel_binding(kind) for kind in KINDS}
    assert found == {kind: client.channel_binding(kind) for kind in KINDS}
    assert (found["tls-unique"] is not None) == (version is ssl.TLSVersion.TLSv1_2)
    assert (found["tls-server-end-point"] is not None) == (name == "p256.pem")  # Ed25519 has none
    assert server.channel_binding("tls-exporter") is None


def test_each_connection_has_a_unique_binding_of_its_own():
    context = server_context()
    found = {connected(ssl.TLSVersion.TLSv1_2, context)[0].channel_binding("tls-unique") for _ in range(3)}
    assert len(found) == 3


def test_a_server_does_not_know_a_certificate_that_was_loaded_otherwise():
    context = server_context("p256.pem", ssl.SSLContext.load_cert_chain)
    server, client = connected(ssl.TLSVersion.TLSv1_3, context)
    assert server.channel_binding("tls-server-end-point") is None
    assert client.channel_binding("tls-server-end-point") is not None


def test_a_connection_without_tls_has_none():
    machine = StreamMachine(Silent(), World())
    machine.advance()
    assert [machine.handler.channel_binding(kind) for kind in KINDS] == [None, None]


@pytest.mark.parametrize(
    ("key", "digest", "expected"),
    [
        ("rsa:1024", "-md5", "sha256"),
        ("rsa:1024", "-sha1", "sha256"),
        ("rsa:1024", "-sha256", "sha256"),
        ("rsa:1024", "-sha384", "sha384"),
        ("rsa:1024", "-sha512", "sha512"),
        ("ec", "-sha1", "sha256"),
        ("ec", "-sha384", "sha384"),
        ("ec", "-sha512", "sha512"),
        ("pss", "-sha256", None),
        ("ed25519", "-sha256", None),
    ],
)
def test_the_hash_is_that_of_the_signature_of_the_certificate(key, digest, expected, tmp_path):
    made = {
        "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "pss": ["-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss"],
    }.get(key, ["-newkey", key])
    path = tmp_path / "certificate.pem"
    command = [
        program("openssl"), "req", "-x509", "-nodes", "-subj", "/CN=x", "-keyout", tmp_path / "key.pem", "-out", path,
        digest, *made,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    der = ssl.PEM_cert_to_DER_cert(path.read_text())
    assert end_point(der) == (None if expected is None else hashlib.new(expected, der).digest())


def test_a_chain_is_bound_to_its_first_certificate(tmp_path):
    own, ca = (KEYS / "p256.pem").read_text(), (KEYS / "ca.pem").read_text()
    path = tmp_path / "chain.pem"
    path.write_text(own + ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_certificate(context, path)
    server, client = connected(ssl.TLSVersion.TLSv1_3, context)
    [first] = re.findall("-----BEGIN CERT.*?END CERTIFICATE-----", own, re.DOTALL)
    expected = end_point(ssl.PEM_cert_to_DER_cert(first))
    assert server.channel_binding("tls-server-end-point") == client.channel_binding("tls-server-end-point") == expected
