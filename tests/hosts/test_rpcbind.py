"""Portmappers in a network namespace, because their port is 111: ours, and rpcbind(8). ``rpcinfo`` asks them."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.record import RPCStreamHandler
from handlers.sunrpc.rpcbind import PORT, TCP, UDP, Portmapper
from reactor import SelectTCPServer, SelectUDPServer
from reactor.rpcbind import registered
from reactor.servers.rpcbind import PATH
from tests import ROOT
from tests.support import rpcgen
from tests.support.namespaces import in_namespace
from tests.support.portmapper import CALCULATORS, RPCBINDS, SCRIPT, running
from tests.support.programs import needed, program, refuse
from tests.support.rpc import OTHER, PROGRAM
from tests.support.serving import PATIENCE, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces")

# In the namespace


class Ports(Portmapper):
    """The ports of this host."""


class PortsStream(RPCStreamHandler):
    versions = (Ports,)


class PortsDatagram(RPCDatagramHandler):
    versions = (Ports,)


@contextmanager
def process(*command):
    """A process that ends with this."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def portmapper(kind):
    """The portmapper of this host: ours, or rpcbind(8); both perhaps without the Unix socket."""
    is_ours = kind.startswith("ours")
    with running(*RPCBINDS) if is_ours else process("rpcbind", "-f", "-w", "-i"):
        wait_until(lambda: answers(socket.AF_UNIX, PATH) and answers(socket.AF_INET, ("127.0.0.1", PORT)))
        if "without" in kind:
            Path(PATH).unlink()
        yield


def answers(family, address):
    with socket.socket(family) as sock:
        sock.settimeout(PATIENCE)
        return sock.connect_ex(address) == 0


def say(*commands):
    """What the commands say, each a list of words."""
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        yield done.returncode, done.stdout + done.stderr


def serve(*commands):
    """Serve the portmapper and the calculator on one loop; print what the commands say."""
    for number, version in ((PROGRAM, 1), (PROGRAM, 3), (OTHER, 2)):
        Ports.mappings[number, version, TCP] = 2000
        Ports.mappings[number, version, UDP] = 2001
    address = "127.0.0.1", PORT
    ports = (SelectTCPServer, address, PortsStream), (SelectUDPServer, address, PortsDatagram)
    with running(*ports, *CALCULATORS):
        print(json.dumps(list(say(*commands))))


def register(kind, *commands):
    """Register the calculator with the portmapper; print what the commands say then, and what they say at the end."""
    with portmapper(kind), running(*CALCULATORS) as servers:
        with registered(*servers):
            meanwhile = list(say(*commands))
        print(json.dumps([meanwhile, list(say(*commands))]))


def command(number, has_rpcbind, handler, *ask):
    """Run ``python3 -m reactor serve HANDLER --rpcbind``, ask, and end it with a signal; print what has been said."""
    serving = [sys.executable, "-m", "reactor", "serve", handler, "--bind", "tcp://127.0.0.1:2000", "--rpcbind"]
    with portmapper("rpcbind") if has_rpcbind else nullcontext(), process(*serving) as started:
        line, said = started.stdout.readline(), []
        if line.startswith("listening"):
            said += say(ask)
            started.send_signal(number)
        status, rest = started.wait(PATIENCE), started.stdout.read()
        print(json.dumps([status, line + rest, *said, *say(ask)]))


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


@pytest.mark.slow
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


NUMBERS = [f"{PROGRAM} 3", f"{PROGRAM} 7", str(PROGRAM), f"{OTHER} 2", "99 1", "100000 2", "100000 3", "100000 4"]
COMMANDS = [
    "-p 127.0.0.1", "127.0.0.1", "-s 127.0.0.1", f"-l 127.0.0.1 {PROGRAM} 3", f"-l 127.0.0.1 {PROGRAM} 7",
    *(f"-T {netid} 127.0.0.1 {number}" for netid in ("tcp", "udp") for number in NUMBERS),
    f"-a 127.0.0.1.7.208 -T tcp {PROGRAM} 3", f"-t 127.0.0.1 {PROGRAM} 1", f"-u 127.0.0.1 {PROGRAM} 1",
]  # fmt: skip


def need_rpcbind():
    program("rpcbind")
    if os.geteuid() != 0:
        refuse("rpcbind(8) becomes another user, which root alone may")


def ask_registered(kind):
    """What ``rpcinfo`` says, by command, while the calculator is registered with the portmapper, and afterwards."""
    words = [[program("rpcinfo"), *command.split()] for command in COMMANDS]
    outputs = json.loads(in_namespace(SCRIPT, "test_rpcbind", f"register({kind!r}, *{words!r})"))
    return [{command: plain(*said) for command, said in zip(COMMANDS, each, strict=True)} for each in outputs]


def plain(status, text):
    """Without the rpcbind itself, which has more transports than ours, and without the owner."""
    lines = [line for line in text.splitlines() if line.split()[:1] != ["100000"]]
    return status, [line.removesuffix("superuser").removesuffix("unknown").rstrip() for line in lines]


@pytest.fixture(scope="module")
def expected():
    """What ``rpcinfo`` says of the calculator, which is registered with rpcbind(8) over its Unix socket."""
    need_rpcbind()
    return ask_registered("rpcbind")


@pytest.mark.slow
def test_register_with_rpcbind(expected):
    meanwhile, at_the_end = expected
    assert meanwhile["-p 127.0.0.1"] == (0, [line for line in LISTED.splitlines() if "100000" not in line][:1] + [
        f" {number}    {version}   {netid}   {port}" for netid, port in (("tcp", 2000), ("udp", 2001))
        for number, version in ((PROGRAM, 1), (PROGRAM, 3), (OTHER, 2))
    ])  # fmt: skip
    assert meanwhile[f"-T udp 127.0.0.1 {PROGRAM} 3"] == (0, [f"program {PROGRAM} version 3 ready and waiting"])
    assert len(at_the_end["-p 127.0.0.1"][1]) == len(at_the_end["127.0.0.1"][1]) == 1  # the head


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rpcbind without its socket", "ours", "ours without its socket"])
def test_other_portmappers_say_the_same(kind, expected):
    assert ask_registered(kind) == expected


@pytest.mark.slow
def test_libtirpc(tmp_path):
    need_rpcbind()
    needed(rpcgen.HEADERS.is_dir(), "libtirpc-dev")
    source, client = ROOT / "tests" / "support" / "rpcb_client.c", str(tmp_path / "client")
    rpcgen.run(tmp_path, program("gcc"), "-w", f"-I{rpcgen.HEADERS}", "-o", client, str(source), "-ltirpc")
    words = [client, str(PROGRAM), "1"]
    calls = [f"register({kind!r}, {words!r})" for kind in ("rpcbind", "ours")]
    expected, ours = (json.loads(in_namespace(SCRIPT, "test_rpcbind", call)) for call in calls)
    assert ours == expected
    [[status, text]], _ = expected
    assert status == 0
    assert "failed" not in text
    assert text.split("\n")[:3] == ["NULL tcp: 0", "NULL udp: 0", "NULL tcp: 9"]
    assert text.count("none") == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_registers_until_a_signal(number):
    need_rpcbind()
    arguments = f"{int(number)}, True, 'tests.support.rpc:Stream', {program('rpcinfo')!r}, '-p', '127.0.0.1'"
    status, text, meanwhile, at_the_end = json.loads(in_namespace(SCRIPT, "test_rpcbind", f"command({arguments})"))
    assert (status, text) == (0, "listening on tcp://127.0.0.1:2000 (select)\n")
    assert (f" {PROGRAM}    3   tcp   2000" in meanwhile[1], str(PROGRAM) in at_the_end[1]) == (True, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "has_rpcbind", "text"),
    [("tests.support.rpc:Stream", False, "no rpcbind answers"), ("handlers.services:Echo", True, "no server of RPC")],
)
def test_the_command_says_why_it_cannot_register(handler, has_rpcbind, text):
    need_rpcbind()
    status, said, _ = json.loads(
        in_namespace(SCRIPT, "test_rpcbind", f"command(2, {has_rpcbind}, {handler!r}, 'true')")
    )
    assert status == 2
    assert said.startswith("python3 -m reactor serve: --rpcbind: ")
    assert text in said
    assert said.count("\n") == 1
