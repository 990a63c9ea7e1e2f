"""Partitions and crashes in the simulated kernel and in the real one: the same calls have the same results.

The real hosts are addresses in a network namespace, in which ``nft`` drops the packets between them. A host that
crashes is a socket that is reset while no packet gets through: its kernel has forgotten it, and its peer does not know.
The real kernel is told to give up after some seconds; the simulated one takes as long as Linux does by default.
"""

import errno
import json
import socket
import struct
import subprocess
import sys
import time

import pytest

from reactor.testing.kernel.clock import Clock
from reactor.testing.kernel.faults import Plan
from reactor.testing.kernel.network import Network
from reactor.testing.kernel.wire import Wire
from tests.support.namespaces import in_namespace
from tests.support.programs import program
from tests.support.serving import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces"),
]

HERE, THERE, NOBODY = "10.77.0.1", "10.77.0.2", "10.78.0.9"

SCRIPT = f"""\
set -e
ip link set lo up
ip address add {HERE}/24 dev lo
ip address add {THERE}/24 dev lo
ip link add lan type veth peer name end
ip link set lan up
ip link set end up
ip address add 10.78.0.1/24 dev lan
echo 1 > /proc/sys/net/ipv4/tcp_syn_retries
echo 3 > /proc/sys/net/ipv4/tcp_retries2
echo 200 > /proc/sys/net/ipv4/neigh/lan/retrans_time_ms
nft add table ip between
nft add chain ip between input '{{ type filter hook input priority 0; }}'
"$@"
"""
"""A script in a namespace: two hosts on the loopback interface, and a network on which there is nobody."""

PAUSE = 0.3
"""Seconds in which a packet would have come."""


class Real:
    """The real kernel, in such a namespace."""

    patience, step = PATIENCE, 0.05
    socket = staticmethod(socket.socket)

    def cut(self, source, target):
        nft("add", "rule", "ip", "between", "input", "ip", "saddr", source, "ip", "daddr", target, "drop")

    def heal(self):
        nft("flush", "chain", "ip", "between", "input")

    def forget(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def wait(self, seconds):
        time.sleep(seconds)


class Simulated:
    """The simulated kernel: one network for each host."""

    patience, step = 2000.0, 1.0

    def __init__(self):
        self.wire = Wire(Clock(), Plan())
        self.wire.links.down.add(NOBODY)
        self.network = Network(self.wire, Plan())
        self.socket = self.network.socket

    def cut(self, source, target):
        self.wire.links.link(source, target).cuts += 1

    def heal(self):
        for ends in (HERE, THERE), (THERE, HERE):
            self.wire.links.link(*ends).cuts = 0

    def forget(self, sock):
        del self.network.open[sock.fileno()]
        sock.vanish()

    def wait(self, seconds):
        self.wire.clock.pass_to(self.wire.clock.now + seconds)


def nft(*words):
    subprocess.run([program("nft"), *words], check=True, timeout=PATIENCE)


class Play:
    """A script of calls on one kernel, and their results."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.results = []
        self.listener = self.make(socket.SOCK_STREAM, THERE)
        self.listener.listen()

    def make(self, kind, host):
        sock = self.kernel.socket(socket.AF_INET, kind)
        sock.setblocking(False)
        sock.bind((host, 0))
        return sock

    def outcome(self, call, *arguments):
        try:
            found = call(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]
        return found.decode() if isinstance(found, bytes) else found

    def note(self, what, call, *arguments):
        """Make the call and note its result."""
        self.results.append([what, self.outcome(call, *arguments)])

    def later(self, what, call, *arguments):
        """The same after a pause, in which a packet would have come."""
        self.kernel.wait(PAUSE)
        self.note(what, call, *arguments)

    def finally_(self, what, call, *arguments):
        """Repeat the call until it would not block, and note its result."""
        left = self.kernel.patience
        while (found := self.outcome(call, *arguments)) in ("EAGAIN", "EALREADY", 0) and left > 0:
            self.kernel.wait(self.kernel.step)
            left -= self.kernel.step
        self.results.append([what, found])

    def cut(self, *, there=True, back=True):
        if there:
            self.kernel.cut(HERE, THERE)
        if back:
            self.kernel.cut(THERE, HERE)

    def connected(self):
        """Both ends of a new connection."""
        client = self.make(socket.SOCK_STREAM, HERE)
        self.outcome(client.connect, self.listener.getsockname())
        self.kernel.wait(PAUSE)
        server, _ = self.listener.accept()
        server.setblocking(False)
        return client, server

    def crash(self, sock):
        """The host of the socket crashes and restarts."""
        self.cut()
        self.kernel.forget(sock)
        self.kernel.wait(PAUSE)
        self.kernel.heal()

    # The parts of the script

    def partition(self):
        client, server = self.connected()
        self.cut()
        self.note("send into a partition", client.send, b"one")
        self.later("nothing has come", server.recv, 10)
        self.kernel.heal()
        self.finally_("it comes when the partition heals", server.recv, 10)
        self.cut(there=False)
        self.note("send with a one-way partition", client.send, b"two")
        self.finally_("it comes", server.recv, 10)
        self.note("send against it", server.send, b"three")
        self.later("it does not come", client.recv, 10)
        self.kernel.heal()
        self.finally_("it comes later", client.recv, 10)
        self.cut(back=False)
        client.shutdown(socket.SHUT_WR)
        self.later("the end has not come", server.recv, 10)
        self.note("send to who has ended", server.send, b"four")
        self.finally_("that comes", client.recv, 10)
        self.kernel.heal()
        self.finally_("the end comes", server.recv, 10)

    def crashes(self):
        client, server = self.connected()
        self.crash(server)
        self.later("the peer of a crash sees nothing", client.recv, 10)
        self.note("it sends", client.send, b"one")
        self.finally_("and is reset", client.recv, 10)
        self.note("it sends again", client.send, b"two")
        client, server = self.connected()
        self.crash(server)
        client.shutdown(socket.SHUT_WR)
        self.finally_("the end is answered with a reset, too", client.recv, 10)

    def patience(self):
        client, server = self.connected()
        self.cut()
        self.note("send into a long partition", client.send, b"one")
        self.finally_("it gives up", client.recv, 10)
        self.kernel.heal()
        self.later("the other end knows nothing", server.recv, 10)
        self.note("it sends", server.send, b"two")
        self.finally_("and is reset", server.recv, 10)

    def connecting(self):
        for there, back in ((True, True), (False, True)):
            client = self.make(socket.SOCK_STREAM, HERE)
            self.cut(there=there, back=back)
            self.note("connect into a partition", client.connect, self.listener.getsockname())
            self.finally_("it gives up", client.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
            self.kernel.heal()
            self.later("and the listener knows nothing", self.listener.accept)
        client = self.kernel.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.setblocking(False)
        self.note("connect to a host that is down", client.connect, (NOBODY, 7))
        self.finally_("it is unreachable", client.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)

    def datagrams(self):
        taken, client, stranger = (self.make(socket.SOCK_DGRAM, host) for host in (THERE, HERE, HERE))
        client.connect(taken.getsockname())
        self.note("send", client.send, b"one")
        self.finally_("it comes", taken.recv, 10)
        self.note("a stranger sends", stranger.sendto, b"two", client.getsockname())
        self.later("only the peer is heard", client.recv, 10)
        self.cut()
        self.note("send into a partition", client.send, b"three")
        self.kernel.heal()
        self.later("it is lost", taken.recv, 10)
        taken.close()
        self.note("send to a port at which nobody receives", client.send, b"four")
        self.finally_("it is refused", client.recv, 10)
        self.note("once", client.recv, 10)
        self.note("send", client.send, b"five")
        self.kernel.wait(PAUSE)
        self.note("the error comes with the next call", client.send, b"six")
        self.cut()
        self.note("send into a partition", client.send, b"seven")
        self.later("nobody tells", client.recv, 10)
        self.kernel.heal()


PARTS = "partition", "crashes", "patience", "connecting", "datagrams"


def play(kernel, part):
    script = Play(kernel)
    getattr(script, part)()
    return script.results


def real(part):
    """In the namespace: print the results of the real kernel."""
    print(json.dumps(play(Real(), part)))


@pytest.mark.parametrize("part", PARTS)
def test_partitions_and_crashes_are_as_in_the_real_kernel(part):
    program("nft")
    expected = json.loads(in_namespace(SCRIPT, "test_partitions", f"real({part!r})").splitlines()[-1])
    assert play(Simulated(), part) == expected
