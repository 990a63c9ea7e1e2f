"""An RPC client that this project did not write: ``rpcgen`` makes it. `tests.hosts.test_rpcbind` has ``rpcinfo``."""

import subprocess

import pytest

from tests import ROOT
from tests.support import rpcgen
from tests.support.rpc import FILE, Datagram, Stream
from tests.support.serving import MODES, PACKETS, STREAMS, serving

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
every_transport = pytest.mark.parametrize("transport", ["tcp", "udp"])


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The path of the C client."""
    source = ROOT / "tests" / "support" / "rpc_client.c"
    return rpcgen.build_peer(FILE, source, "-l", tmp_path_factory.mktemp("client"))


def served(mode, transport):
    if transport == "tcp":
        return serving(Stream, mode, STREAMS["tcp"])
    return serving(Datagram, mode, PACKETS["udp"])


def run(*command):
    """Run the command; returns its status and all that it says."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@every_mode
@every_transport
def test_a_client_made_by_rpcgen(client, mode, transport):
    with served(mode, transport) as server:
        status, said = run(client, transport, str(server.server_address[1]))
    assert said.splitlines() == [
        "NOTHING",
        "ADD -3",
        "REPEAT ababab 3",
        "LATER 20",
        f"FILL {1_000_000 if transport == 'tcp' else 7000}",
        "UID failed 7 5",  # RPC_AUTHERROR, AUTH_TOOWEAK (rpc/clnt_stat.h)
        "UID 501",
        "FAIL failed 12",  # RPC_SYSTEMERROR
        "UNDEFINED failed 10",  # RPC_PROCUNAVAIL
        "ADD 1099511627777",
        "version 2 failed 9 1 3",  # RPC_PROGVERSMISMATCH
        "program failed 8",  # RPC_PROGUNAVAIL
    ]
    assert status == 0
