"""A host whose portmapper is ours, in a network namespace, because its port is 111; and ``rpcinfo``, which asks it."""

import json
import subprocess
import sys
from contextlib import ExitStack
from threading import Thread

import pytest

from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.record import RPCStreamHandler
from handlers.sunrpc.rpcbind import PORT, TCP, UDP, Portmapper
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from tests.support.namespaces import in_namespace
from tests.support.programs import program
from tests.support.rpc import OTHER, PROGRAM, Datagram, Stream

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces")

SCRIPT = """\
set -e
ip link set lo up
exec unshare --mount sh -c 'mount -t tmpfs tmpfs /run; exec "$@"' sh "$@"
"""
"""A script in a namespace: hides the sockets of the host's rpcbind, if it has one, and runs its arguments."""


# In the namespace


class Ports(Portmapper):
    """The ports of this host."""


class PortsStream(RPCStreamHandler):
    versions = (Ports,)


class PortsDatagram(RPCDatagramHandler):
    versions = (Ports,)


def serve(*commands):
    """Serve the portmapper and the calculator on one loop; print what the commands say, each a list of words."""
    with ExitStack() as stack:
        loop = Reactor()
        stack.callback(loop.close)
        for kind, port, handler in (
            (SelectTCPServer, PORT, PortsStream), (SelectUDPServer, PORT, PortsDatagram),
            (SelectTCPServer, 2000, Stream), (SelectUDPServer, 2001, Datagram),
        ):  # fmt: skip
            stack.enter_context(kind(("127.0.0.1", port), handler, reactor=loop))
        for number, version in ((PROGRAM, 1), (PROGRAM, 3), (OTHER, 2)):
            Ports.mappings[number, version, TCP] = 2000
            Ports.mappings[number, version, UDP] = 2001
        thread = Thread(target=loop.run)
        thread.start()
        said = []
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            said.append((done.returncode, done.stdout + done.stderr))
        loop.stop()
        thread.join()
    print(json.dumps(said))


# Outside


def ask(*commands):
    """What the commands of ``rpcinfo`` say on such a host: the status and the text of each."""
    rpcinfo = program("rpcinfo")
    words = [[rpcinfo, *command.split()] for command in commands]
    return json.loads(in_namespace(SCRIPT, "test_rpcbind", f"serve(*{words!r})"))


LISTED = f"""\
   program vers proto   port  service
    100000    2   tcp    111  portmapper
    100000    2   udp    111  portmapper
 {PROGRAM}    1   tcp   2000
 {PROGRAM}    1   udp   2001
 {PROGRAM}    3   tcp   2000
 {PROGRAM}    3   udp   2001
 {OTHER}    2   tcp   2000
 {OTHER}    2   udp   2001
"""


def test_rpcinfo():
    ready, missing = f"program {PROGRAM} version {{}} ready and waiting\n".format, "rpcinfo: RPC: Program "
    mismatch = "rpcinfo: RPC: Program/version mismatch; low version = {}, high version = {}\n".format
    versions = f"{ready(1)}program {PROGRAM} version 2 is not available\n{ready(3)}{mismatch(1, 3)}"
    expected = {"-p 127.0.0.1": (0, LISTED)}
    for ask_tcp, ask_udp in (("-T tcp", "-T udp"), ("-t", "-u"), ("-n 2000 -t", "-n 2001 -u")):
        for how in (ask_tcp, ask_udp):
            expected[f"{how} 127.0.0.1 {PROGRAM} 3"] = 0, ready(3)
            expected[f"{how} 127.0.0.1 {PROGRAM}"] = 1, versions  # it asks for version 0, and is told which there are
            expected[f"{how} 127.0.0.1 {OTHER} 7"] = 1, f"program {OTHER} version 7 is not available\n{mismatch(2, 2)}"
    for netid in ("tcp", "udp"):
        expected[f"-T {netid} 127.0.0.1 99 1"] = 1, f"{missing}not registered\n"
    said = dict(zip(expected, map(tuple, ask(*expected)), strict=True))
    assert said == expected
