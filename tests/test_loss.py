"""A network that loses every fifth packet: a namespace of the test's own, in which ``nft`` drops them.

TCP mends that itself, and no byte may be missing when it has. A datagram is mended by who asks again;
then the answer must be there, and what was asked must have been done once.
"""

import os
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from handlers import DatagramHandler, Packet
from handlers.services import Echo
from tests.serving import MODES, PACKETS, connect, peer, receive, serving
from tests.test_clients import client as program

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces"),
]

LONG = 100
"""Seconds that a packet may take: nine times in a row it may be lost."""

LOSSY = """\
set -e
ip link set lo up
nft -f - <<END
table ip lossy {
    chain input {
        type filter hook input priority 0
        iif lo tcp flags syn accept comment "before accept() it is the kernel's affair, and a second each"
        iif lo numgen random mod 100 < 20 counter drop
    }
}
END
"$@"
nft list chain ip lossy input
"""
"""What runs in a namespace: its arguments, when the loopback interface loses 20 % of the packets."""


def lossy(call):
    """Run ``call`` of this module in such a namespace; returns the number of packets that were lost."""
    program("nft")
    return int(in_namespace(LOSSY, "test_loss", call).rpartition("counter packets ")[2].split()[0])


def in_namespace(script, module, call):
    """Run ``script`` in a network namespace of its own, its arguments the command that does ``call`` of the module.

    Returns what it has printed.
    """
    program("ip")
    alone = [program("unshare"), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command = [*alone, "sh", "-c", script, "sh", sys.executable, "-c", f"from tests import {module}; {module}.{call}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * LONG)
    if run.returncode and "unshare failed" in run.stderr:
        refuse = pytest.fail if os.environ.get("REACTOR_REAL_CLIENTS") == "1" else pytest.skip
        refuse(f"no network namespace can be had here ({run.stderr.strip()}): be root, or allow user namespaces")
    assert run.returncode == 0, run.stderr
    return run.stdout


# In the namespace


def streams(mode, clients=8, lines=6):
    """So many clients at a time say lines to Echo, and hear them again."""

    def converse(number):
        with connect(server) as client:
            client.settimeout(LONG)
            for line in range(lines):
                said = b"line %d of client %d\n" % (line, number) * 200
                client.sendall(said)
                assert receive(client, len(said)) == said
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""

    with serving(Echo, mode) as server, ThreadPoolExecutor(clients) as pool:
        list(pool.map(converse, range(clients)))


class Till(DatagramHandler):
    """Books what each packet says, once, and says that it is booked, as often as it is asked."""

    async def handle(self):
        entry = (await Packet()).decode()
        try:
            (self.server.books / entry).touch(exist_ok=False)
        except FileExistsError:
            pass  # it was asked again
        else:
            with open(self.server.ledger, "a") as ledger:
                ledger.write(f"{entry}\n")
        self.send(f"booked {entry}".encode())


def packets(mode, clients=4, entries=12):
    """So many clients at a time book entries, asking again after 50 ms without an answer, then after 100 ms, …"""

    def book(number):
        asked = 0
        with peer(server) as client:
            for entry in range(entries):
                said, answer, patience = b"%d-%d" % (number, entry), b"", 0.05
                while answer != b"booked " + said:  # else it is a second one to what was asked before
                    assert patience < LONG
                    client.settimeout(patience)
                    client.send(said)
                    asked += 1
                    try:
                        answer = client.recv(100)
                    except TimeoutError:
                        patience *= 2
        return asked

    with tempfile.TemporaryDirectory() as directory:
        books, ledger = Path(directory), Path(directory, "ledger")
        with (
            serving(Till, mode, PACKETS["udp"], books=books, ledger=ledger) as server,
            ThreadPoolExecutor(clients) as pool,
        ):
            asked = sum(pool.map(book, range(clients)))
        booked = ledger.read_text().splitlines()
    assert sorted(booked) == sorted(f"{number}-{entry}" for number in range(clients) for entry in range(entries))
    assert asked > clients * entries


# The tests


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_loses_nothing_where_every_fifth_packet_is_lost(mode):
    assert lossy(f"streams({mode!r})")


@pytest.mark.parametrize("mode", MODES)
def test_who_asks_again_is_answered_and_what_he_asked_is_done_once(mode):
    assert lossy(f"packets({mode!r})")
