"""A network that loses every fifth packet: a network namespace in which ``nft`` drops them.

TCP retransmits, and no byte may be missing. A client of datagrams asks again; then the answer must come, and the
request must have been done once.
"""

import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from handlers import DatagramHandler, Packet
from handlers.services import Echo
from tests.support.namespaces import LONG, in_namespace
from tests.support.programs import program
from tests.support.serving import MODES, PACKETS, connect, peer, receive, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces"),
]

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
"""A script in a namespace: makes the loopback interface lose 20 % of the packets, and runs its arguments."""


def lossy(call):
    """Run ``call`` of this module in such a namespace; returns the number of packets that were lost."""
    program("nft")
    return int(in_namespace(LOSSY, "test_loss", call).rpartition("counter packets ")[2].split()[0])


# In the namespace


def streams(mode, clients=8, lines=6):
    """So many clients at a time send lines to Echo and receive them."""

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
    """Books the entry of each packet once, and confirms it as often as it is asked."""

    async def handle(self):
        entry = (await Packet()).decode()
        try:
            (self.server.books / entry).touch(exist_ok=False)
        except FileExistsError:
            pass  # a repeated packet
        else:
            with open(self.server.ledger, "a") as ledger:
                ledger.write(f"{entry}\n")
        self.send(f"booked {entry}".encode())


def packets(mode, clients=4, entries=12):
    """So many clients at a time book entries; each asks again after 50 ms without an answer, then after 100 ms, …"""

    def book(number):
        asked = 0
        with peer(server) as client:
            for entry in range(entries):
                said, answer, patience = b"%d-%d" % (number, entry), b"", 0.05
                while answer != b"booked " + said:  # otherwise a second answer to the entry before
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
def test_a_stream_is_whole_when_every_fifth_packet_is_lost(mode):
    assert lossy(f"streams({mode!r})")


@pytest.mark.parametrize("mode", MODES)
def test_a_repeated_datagram_is_answered_and_its_request_is_done_once(mode):
    assert lossy(f"packets({mode!r})")
