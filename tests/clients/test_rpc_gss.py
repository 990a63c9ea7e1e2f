"""RPCSEC_GSS with Kerberos 5, a KDC on loopback: libtirpc's client and our server, our client and libtirpc's server."""

from contextlib import contextmanager

import pytest

from tests import ROOT
from tests.support import rpcgen
from tests.support.kerberos import Realm
from tests.support.rpc import FILE

pytestmark = pytest.mark.slow  # only one of the environments has gssapi
SERVICES = 1, 2, 3  # none, integrity, privacy
PRINCIPAL = len("alice@TEST")


@pytest.fixture(scope="module")
def realm(tmp_path_factory):
    with Realm(tmp_path_factory.mktemp("realm")) as realm:
        yield realm


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """The paths of the C client and of the C server."""
    support = ROOT / "tests" / "support"
    return {
        name: rpcgen.build_peer(
            FILE, support / f"rpc_{name}.c", stubs, tmp_path_factory.mktemp(name), "-DGSS", "-lgssapi_krb5"
        )
        for name, stubs in (("client", "-l"), ("server", "-m"))
    }


@contextmanager
def running(process):
    """The port of a server, which is ended."""
    with process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("mode", "transport"),
    [("select", "tcp"), ("plain", "tcp"), ("fork", "tcp"), ("thread", "tcp"), ("select", "udp"), ("thread", "udp")],
)
def test_a_client_of_libtirpc(realm, peers, mode, transport):
    with running(realm.server(mode, transport)) as port:
        said = [realm.run(peers["client"], transport, port, str(service)).splitlines() for service in SERVICES]
    assert said == [
        [
            "NOTHING",
            "ADD -3",
            "REPEAT ababab 3",
            "LATER 20",
            f"FILL {1_000_000 if transport == 'tcp' else 7000}",
            f"UID {100 * service + PRINCIPAL}",
            "UID 501",  # with AUTH_SYS
            "FAIL failed 12",  # RPC_SYSTEMERROR (rpc/clnt_stat.h)
            "UNDEFINED failed 10",  # RPC_PROCUNAVAIL
            "ADD 1099511627777",
            "version 2 failed 9 1 3",  # RPC_PROGVERSMISMATCH
            "program failed 8",  # RPC_PROGUNAVAIL
        ]
        for service in SERVICES
    ]


@pytest.mark.parametrize(
    ("server", "transport"),
    [
        ("libtirpc", "tcp"),
        ("libtirpc", "udp"),
        ("select", "tcp"),
        ("select", "udp"),
        ("fork", "tcp"),
        ("thread", "tcp"),
    ],
)
def test_our_client(realm, peers, server, transport):
    size = 7000 if server == "libtirpc" or transport == "udp" else 1_000_000  # libtirpc does not protect more
    process = realm.start(peers["server"], transport) if server == "libtirpc" else realm.server(server, transport)
    with running(process) as port:
        said = realm.call(transport, port, str(size)).splitlines()
    unknown = [said.pop(at) for at in (14, 9, 4)]
    assert all("Server other/localhost@TEST not found in Kerberos database" in line for line in unknown)
    assert said == [
        line
        for service in SERVICES
        for line in (
            "None -3 ababab 20",
            f"{size} {100 * service + PRINCIPAL} RPCError: SYSTEM_ERR RPCError: PROC_UNAVAIL",
            f"{sum(range(51))}",
            "AuthError: RPCSEC_GSS_CREDPROBLEM",
        )
    ]
