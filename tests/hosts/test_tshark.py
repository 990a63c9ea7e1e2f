"""``tshark`` reads what our servers and clients of RPC send: it finds no malformed packet, and names the procedures.

The packets are captured in a network namespace, whose loopback interface has no other traffic.
"""

import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from examples.instrument import Instrument
from examples.vxi11 import vxi11
from examples.vxi11.channels import Handler
from handlers.sunrpc.auth import AuthSys
from handlers.sunrpc.client import DatagramClient, StreamClient
from handlers.sunrpc.message import RPCError
from handlers.sunrpc.record import mark
from handlers.sunrpc.registering import Registrar
from handlers.sunrpc.registry import Registration
from handlers.sunrpc.rpcbind import PORT, RPCB, RPCB4, TCP, Mapping, Portmapper2
from tests.support import rpc
from tests.support.namespaces import in_namespace
from tests.support.portmapper import CALCULATORS, RPCBINDS, SCRIPT, running
from tests.support.programs import program
from tests.support.rpc import PROGRAM, call, words
from tests.support.serving import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces"),
]

ALL, OUTGOING, ETHERNET = 3, 4, 1
"""ETH_P_ALL and PACKET_OUTGOING (packet(7)), LINKTYPE_ETHERNET (pcap-linktype(7))."""


# In the namespace


@contextmanager
def captured(path):
    """Write the packets of the loopback interface to the file (pcap-savefile(5)), each once."""
    over = Event()

    def capture():
        with open(path, "wb") as file:
            file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, ETHERNET))
            while True:
                try:
                    packet, (*_, kind, _, _) = sock.recvfrom(1 << 18)
                except BlockingIOError:
                    if over.is_set():
                        return
                    over.wait(0.001)
                    continue
                if kind == OUTGOING:
                    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
                    file.write(struct.pack("=IIII", seconds, nanoseconds // 1000, len(packet), len(packet)) + packet)

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.bind(("lo", 0))
        sock.setblocking(False)
        thread = Thread(target=capture)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def session(path, rpcinfo):
    """Calls of our clients, of ``rpcinfo``, and in odd pieces; their packets go to the file."""
    with captured(path), running(*RPCBINDS, *CALCULATORS, (instrument, ("127.0.0.1", 2002), Handler)):
        register()
        for arguments in RPCINFO:
            subprocess.run([rpcinfo, *arguments.split()], capture_output=True, timeout=30)
        credential = AuthSys(1, "client", 501, 100, [4, 24])
        with StreamClient(rpc.x.CALCULATOR_1, connected(2000), credential) as client:
            calculate(client)
            in_pieces(client.socket)
        with DatagramClient(rpc.x.CALCULATOR_1, connected_by_udp(2001), credential) as client:
            calculate(client)
        with DatagramClient(Portmapper2, connected_by_udp(PORT)) as client:
            assert client.remote.PMAPPROC_GETPORT(Mapping(PROGRAM, 1, TCP, 0)) == 2000
        with DatagramClient(RPCB4, connected_by_udp(PORT)) as client:
            asked = RPCB(PROGRAM, 1, "tcp", "127.0.0.1.0.111", "")
            assert client.remote.RPCBPROC_GETVERSADDR(asked) == "127.0.0.1.7.208"
            assert client.remote.RPCBPROC_GETTIME() > 0
        measure()


RPCINFO = (
    "-p 127.0.0.1", "127.0.0.1", "-s 127.0.0.1", f"-l 127.0.0.1 {PROGRAM} 1", "-m 127.0.0.1",
    f"-T tcp 127.0.0.1 {PROGRAM}", f"-T udp 127.0.0.1 {PROGRAM} 1", "-T tcp 127.0.0.1 99 1",
)  # fmt: skip


def instrument(address, _, reactor):
    return Instrument(address, reactor)


def connected(port):
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def connected_by_udp(port):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    return sock


def register():
    """Register with our rpcbind in each of its versions, and unregister in all but the last."""
    for version in (2, 3, 4):
        with connected(PORT) as sock:
            registrar = Registrar(sock)
            del registrar._clients[: 4 - version]
            for netid, address in (("tcp", "0.0.0.0.7.208"), ("udp", "0.0.0.0.7.209")):
                made = Registration(PROGRAM, 1, netid, address)
                registrar.register(made)
                if version < 4:
                    registrar.unregister(made)


def calculate(client):
    """Calls of which some fail, and some are answered in another order."""
    assert client.remote.ADD(2, 3) == 5
    later = [client.begin("LATER", milliseconds) for milliseconds in (30, 1, 10)]
    assert [client.result(xid) for xid in later] == [30, 1, 10]
    assert len(client.remote.FILL(50_000)) == 50_000
    assert client.remote.UID() == 501
    with pytest.raises(RPCError, match="PROC_UNAVAIL"):
        client.remote.UNDEFINED(0)
    with pytest.raises(RPCError, match="SYSTEM_ERR"):
        client.remote.FAIL(1)


def in_pieces(sock):
    """Several records in one segment; and one record in fragments, each in several segments.

    tshark loses the record if its first fragment has not all of the header, or if a mark is in two segments.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(b"".join(mark(call(100 + number, 1, words(number, 1))) for number in range(10)))
    record = call(200, 2, words(40) + bytes(40) + words(2))
    fragments = [record[:41], record[41:42], record[42:60], record[60:]]
    for number, fragment in enumerate(fragments):
        is_last = number == len(fragments) - 1
        data = struct.pack(">I", is_last << 31 | len(fragment)) + fragment
        for piece in (data[:4], data[4:9], data[9:]):
            sock.sendall(piece)
            time.sleep(0.002)
    received = b""
    while len(received) < 10 * 32 + 28 + 4 + 80 + 4:
        received += sock.recv(65_536)


def measure():
    """A session with the instrument."""
    with StreamClient(vxi11.DEVICE_CORE_VERSION, connected(2002)) as client:
        remote = client.remote
        lid = remote.create_link(vxi11.Create_LinkParms(7, True, 0, "inst0")).lid
        waiting = client.begin("device_read", vxi11.Device_ReadParms(lid, 9000, 60_000, 0, 128, 10))
        assert remote.device_write(vxi11.Device_WriteParms(lid, 0, 0, 8, b"*IDN?")).size == 5
        assert client.result(waiting).reason == 6
        assert remote.device_readstb(vxi11.Device_GenericParms(lid, 0, 0, 0)).stb == 0
        assert remote.device_unlock(lid).error == 0
        assert remote.device_docmd(vxi11.Device_DocmdParms(lid, 0, 0, 0, 1, True, 1, b"1")).error == 8
        with StreamClient(vxi11.DEVICE_ASYNC_VERSION, connected(2002)) as abort:
            assert abort.remote.device_abort(lid).error == 0
        assert remote.destroy_link(lid).error == 0


# Outside


KNOWN = "-o", "rpc.dissect_unknown_programs:TRUE", "-d", "tcp.port==2000,rpc", "-d", "udp.port==2001,rpc"
"""Arguments for tshark: it knows neither the program of the calculator nor its ports."""
CALCULATED = {"1 proc-1": 1, "1 proc-3": 3, "1 proc-4": 1, "1 proc-5": 1, "1 proc-7": 1, "1 proc-8": 1}
"""What `calculate` calls: version, procedure, and how often."""
BY_TCP = {"1 proc-1": 11, "1 proc-2": 1}
"""What the calculator is also called over TCP, by `in_pieces`, together with `calculate`."""
VXI = ("CREATE_LINK", "DEVICE_READ", "DEVICE_WRITE", "DEVICE_READSTB", "DEVICE_UNLOCK", "DEVICE_DOCMD", "DESTROY_LINK")


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """``read(arguments)`` returns the lines that tshark writes of the session."""
    home = tmp_path_factory.mktemp("tshark")
    tshark, path = program("tshark"), str(home / "session.pcap")
    in_namespace(SCRIPT, "test_tshark", f"session({path!r}, {program('rpcinfo')!r})")

    def lines(*arguments):
        command = [tshark, "-n", "-r", path, *KNOWN, *arguments]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": str(home)})
        assert run.returncode == 0, run.stderr
        return run.stdout.splitlines()

    return lines


@pytest.fixture(scope="module")
def found(read):
    """How often each procedure was called, and answered, by transport and program."""
    fields = [word for name in ("ip.proto", "_ws.col.Protocol", "_ws.col.Info") for word in ("-e", name)]
    calls, replies = defaultdict(Counter), defaultdict(Counter)
    for line in read("-Y", "rpc", "-T", "fields", *fields):
        protocol, name, info = line.split("\t")
        where = {"6": "tcp", "17": "udp"}[protocol], "calculator" if name in ("RPC", UNKNOWN) else name
        for which, kind in re.findall(r"V(\d \S+) (Call|Reply)", info):
            (calls if kind == "Call" else replies)[where][which] += 1
    return calls, replies


UNKNOWN = f"Unknown RPC program {PROGRAM}"


def test_no_packet_is_malformed(read):
    assert read("-Y", "_ws.malformed || _ws.expert.severity == error || rpc.continuation_data") == []
    assert len(read("-Y", "rpc")) > 100


def test_the_procedures_of_the_portmapper_have_their_names(found):
    calls, _ = found
    assert set(calls["tcp", "Portmap"]) >= {
        *(f"{version} {name}" for version in (2, 3) for name in ("SET", "UNSET", "DUMP")),
        "4 SET", "4 GETADDR", "4 GETADDRLIST", "4 GETSTAT",
    }  # fmt: skip
    assert set(calls["udp", "Portmap"]) >= {"2 GETPORT", "4 GETADDR", "4 GETVERSADDR", "4 GETTIME"}


def test_every_call_of_the_calculator_is_found(found):
    calls, _ = found
    made = {which: number for which, number in calls["tcp", "calculator"].items() if "proc-0" not in which}
    assert made == {**CALCULATED, **BY_TCP}
    assert set(calls["udp", "calculator"]) - {"1 proc-0"} == set(CALCULATED)


def test_the_procedures_of_the_instrument_have_their_names(found):
    calls, _ = found
    assert dict(calls["tcp", "VXI-11 Core"]) == {f"1 {name}": 1 for name in VXI}
    assert dict(calls["tcp", "VXI-11 Async"]) == {"1 DEVICE_ABORT": 1}


def test_every_call_has_its_reply(found):
    calls, replies = found
    for where in calls.keys() | replies.keys():
        if where[0] == "tcp":  # a datagram may have been sent again
            assert replies[where] == calls[where]
        else:
            assert set(replies[where]) == set(calls[where])
