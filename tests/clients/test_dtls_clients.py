"""A DTLS client that this project did not write: openssl, in every mode, also over a network that loses packets."""

import select
import socket
import subprocess
import threading
from contextlib import contextmanager

import pytest

from handlers import DatagramHandler, Packet
from reactor.dtls import DTLSMixIn
from tests.support.certificates import KEYS, NAME
from tests.support.dtls import SERVER, dtls_context
from tests.support.programs import program, start
from tests.support.serving import MODES, PACKETS, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
PATIENCE = 30
every_mode = pytest.mark.parametrize("mode", MODES)


class Who(DatagramHandler):
    """Echoes one packet behind the name of the peer."""

    async def handle(self):
        packet = await Packet()
        self.send(f"{self.secured} {self.principal}: ".encode() + packet)


def secure(mode, ask_client=False, **members):
    return serving(Who, mode, PACKETS["udp"], DTLSMixIn, context=dtls_context(ask_client), **members)


def talk(address, *options, lines=(b"one\n", b"two\n")):
    """Send lines with ``openssl s_client``, one after the answer to the other; what it prints, and its exit status."""
    host, port = address
    command = [
        program("openssl"), "s_client", "-connect", f"{host}:{port}", "-dtls", "-brief", "-servername", NAME,
        "-verify_quiet", "-verify_return_error", "-verify_hostname", NAME, "-CAfile", SERVER, *options,
    ]  # fmt: skip
    with start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as client:
        timer = threading.Timer(PATIENCE, client.kill)
        timer.start()
        said = b""
        for line in lines:
            client.stdin.write(line)
            said += client.stdout.readline()
        client.stdin.write(b"Q\n")  # not the end of the input: a child of the server has a copy of the pipe
        said += client.stdout.read()
        timer.cancel()
        return said, client.wait()


def is_over(server):
    """Whether all associations have ended in order."""
    return not server.reactor.table and {entry["reason"] for entry in server.reactor.table.closed} == {""}


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize("options", [[], ["-mtu", "300"]], ids=["", "mtu"])
def test_openssl_is_answered_and_ends_in_order(mode, options):
    with secure(mode, mtu=300 if options else 1_232) as server:
        assert talk(server.server_address, *options) == (b"dtls1.2 None: one\ndtls1.2 None: two\n", 0)
        wait_until(lambda: is_over(server))


@every_mode
def test_openssl_names_its_principal(mode):
    with secure(mode, ask_client=True) as server:
        told = talk(server.server_address, "-cert", KEYS / "alice.pem", lines=[b"one\n"])
        assert told == (b"dtls1.2 CN=alice,O=Example: one\n", 0)


def test_openssl_without_a_certificate_is_refused_with_a_cause():
    with secure("select", ask_client=True) as server:
        assert talk(server.server_address, lines=[])[1] != 0
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "DTLSFailed: DTLS failed: peer did not return a certificate"


@contextmanager
def relay(address, verdict):
    """A network in front of ``address``: ``verdict(number, to_server)`` says what becomes of each packet.

    It is ``"pass"``, ``"lose"``, ``"twice"``, or ``"late"``: behind the next packet of that direction.
    """
    near, far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    near.bind(("127.0.0.1", 0))
    far.connect(address)
    stop, wake = socket.socketpair()
    peers, late, counts = [], {near: [], far: []}, {near: 0, far: 0}

    def carry():
        while True:
            ready, _, _ = select.select([near, far, stop], [], [])
            if stop in ready:
                return
            for sock in ready:
                packet, peer = sock.recvfrom(65_536)
                if sock is near:
                    peers[:] = [peer]
                what = verdict(counts[sock], sock is near)
                counts[sock] += 1
                if what == "late":
                    late[sock].append(packet)
                    continue
                for data in {"pass": [packet], "twice": [packet, packet], "lose": []}[what] + late[sock]:
                    if sock is near:
                        far.send(data)
                    else:
                        near.sendto(data, peers[0])
                late[sock].clear()

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield near.getsockname()
    finally:
        wake.send(b"x")
        thread.join(PATIENCE)
        for sock in (near, far, stop, wake):
            sock.close()


def lose_third(number, to_server):
    return "lose" if number == 2 else "pass"


def lose_first_of_server(number, to_server):
    return "lose" if number < 2 and not to_server else "pass"


def swap(number, to_server):
    return "late" if number == 2 and not to_server else "twice"  # the first part of the certificate


@pytest.mark.slow
@pytest.mark.parametrize("verdict", [lose_third, lose_first_of_server, swap])
def test_openssl_shakes_hands_over_a_bad_network(verdict):
    with secure("select", mtu=300) as server, relay(server.server_address, verdict) as address:
        said, status = talk(address, "-mtu", "300", "-nbio")  # else it waits behind a duplicate for the next packet
        assert said.startswith(b"dtls1.2 None: one\ndtls1.2 None: two\n")
        assert status == 0
