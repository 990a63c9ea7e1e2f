"""A link whose neighbour does not answer ARP: the kernel's own EAGAIN, and its ICMP errors.

While the hardware address of the neighbour is unknown, packets to it wait and count in the send buffer of the socket
(``arp(7)``). So a socket with a small buffer becomes full, as on a slow link; and when ARP has failed, the kernel
reports that the host is unreachable.
"""

import errno
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from handlers import DatagramHandler, Delay, Packet, Reset
from tests.support.namespaces import in_namespace
from tests.support.serving import MODES, PATIENCE, Journal, Place, serving, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces"),
]

LINK = """\
set -e
ip link set lo up
ip link add out address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02
ip link set far arp off up
ip link set out up
ip address add 10.9.0.1/24 dev out
echo 2 > /proc/sys/net/ipv4/neigh/out/mcast_solicit
"$@"
"""
"""A script in a namespace: makes the interface ``out``, whose far end is silent, and runs its arguments."""

OWN, FAR = "10.9.0.1", ("10.9.0.2", 4711)
PLACE = Place("UDPServer", socket.AF_INET, OWN)


class Told(DatagramHandler):
    """Answers with so many packets, or without end for 0; writes the errno of a reset to the journal."""

    async def handle(self):
        number = int(await Packet())
        while not number:
            self.send(b"")
            await Delay(0.02)
        for packet in range(number):
            self.send(b"%d" % packet * 1000)

    def interrupted(self, cause):
        if isinstance(cause, Reset):
            self.server.journal.write(errno.errorcode[cause.error.errno])


# In the namespace


def asked_for(milliseconds):
    """Twice the time in seconds that the kernel waits for the neighbour."""
    Path("/proc/sys/net/ipv4/neigh/out/retrans_time_ms").write_text(str(milliseconds))


def tap():
    """The far end of the link: packets written to it arrive at the near end."""
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    end.bind(("far", 0))
    end.settimeout(PATIENCE)
    return end


def say(end, server, data):
    """Send a datagram from the neighbour (RFC 791, RFC 768; without the optional checksum of UDP)."""
    udp = struct.pack("!4H", FAR[1], server.server_address[1], 8 + len(data), 0) + data
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
                         socket.inet_aton(FAR[0]), socket.inet_aton(OWN))  # fmt: skip
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    end.send(bytes.fromhex("020000000001 020000000002 0800") + header + udp)


def hear(end):
    """The data of the next datagram to the neighbour."""
    while True:
        frame = end.recv(65_536)
        if frame[23] == socket.IPPROTO_UDP and frame[30:34] == socket.inet_aton(FAR[0]):
            return frame[42:]


def is_full(sock):
    """Whether the socket can not be written now."""
    return not select.select([], [sock], [], 0)[1]


def caller(server):
    client = socket.socket(type=socket.SOCK_DGRAM)
    client.settimeout(PATIENCE)
    client.connect(server.server_address)
    return client


def reported(mode):
    """The row of an unreachable peer ends, and no other."""
    asked_for(50)
    with Journal() as journal, serving(Told, mode, PLACE, journal=journal) as server, tap() as end:
        for number in 1, 2:
            say(end, server, b"0")
            assert journal.wait_for(number) == ["EHOSTUNREACH"] * number
            with caller(server) as client:
                client.send(b"1")
                assert client.recv(2000) == b"0" * 1000
        wait_until(lambda: len(server.reactor.table.closed) == 4)
        reasons = [row["reason"] for row in server.reactor.table.closed]
        assert reasons.count(f"Reset: connection lost: [Errno {errno.EHOSTUNREACH}] No route to host") == 2
        assert reasons.count("") == 2


def full(mode):
    """Packets that a full socket does not take are sent later, in order."""
    asked_for(60_000)
    with Journal() as journal, serving(Told, mode, PLACE, journal=journal) as server, tap() as end:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        say(end, server, b"9")
        wait_until(lambda: is_full(server.socket))
        found = ["ip", "neighbour", "replace", FAR[0], "lladdr", "02:00:00:00:00:02", "dev", "out"]
        subprocess.run(found, check=True)
        assert [hear(end) for _ in range(9)] == [b"%d" % number * 1000 for number in range(9)]
        wait_until(lambda: not server.reactor.table)
        assert [row["reason"] for row in server.reactor.table.closed] == [""]
        assert journal.lines() == []


# The tests


@pytest.mark.parametrize("mode", MODES)
def test_a_neighbour_that_does_not_answer_is_reported_and_other_exchanges_go_on(mode):
    in_namespace(LINK, "test_link", f"reported({mode!r})")


@pytest.mark.parametrize("mode", MODES)
def test_packets_that_a_full_socket_does_not_take_are_sent_later(mode):
    in_namespace(LINK, "test_link", f"full({mode!r})")
