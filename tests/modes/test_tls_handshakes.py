"""Handshakes of TLS 1.2 and 1.3 that are cut after any byte, or come byte by byte, at both ends and in every mode."""

import socket
import ssl
from collections import Counter
from functools import cache, partial

import pytest

from handlers import Connected, Failed, StreamHandler, Until
from reactor.testing.peers.tls import NAME, TLSPeer, client_context, server_context
from reactor.tls import TLS, TLSMixIn
from tests.support.programs import no_fork
from tests.support.serving import MODES, PATIENCE, STREAMS, connect, reset, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
TCP = STREAMS["tcp"]
every_mode = pytest.mark.parametrize("mode", MODES)
every_version = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
ends_or_is_reset = pytest.mark.parametrize("ending", ["Truncated", "Reset"])
strides = pytest.mark.parametrize("stride", [37, pytest.param(len(MODES), marks=pytest.mark.slow)])
"""Every so many bytes, and in each mode from another byte on.

The places are few in the tests that one runs all day. In the others the modes have every byte between them.
"""


class Lines(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Until(b"\n", limit=80))


class Asking(StreamHandler):
    """Asks a server over TLS for a line, and tells what it says, or why it can't be asked."""

    upstream: tuple

    # Made once, and not anew in each child.
    tls = staticmethod(partial(TLS, context=client_context(), server_side=False, server_hostname=NAME))

    async def handle(self):
        try:
            target = await Connected(self.upstream, Target(self), filters=[self.tls], timeout=PATIENCE)
        except Failed as failed:
            self.send(f"{type(failed.error).__name__}\n".encode())
            return
        target.send(b"hello\n")
        await Until(b"\n")


class Target(StreamHandler):
    def __init__(self, asking):
        self.asking = asking

    async def handle(self):
        self.asking.send(await Until(b"\n", limit=80))


client_of, server_of = cache(client_context), cache(server_context)  # to make one takes longer than a handshake


def client(version):
    with no_fork:
        return TLSPeer(client_of(version), NAME)


def server(version):
    with no_fork:
        return TLSPeer(server_of(version), server_side=True)


def speak(plain, peer, size, stop=1 << 30):
    """Do the handshake, ``size`` bytes at a time; stop when ``stop`` bytes have been sent. Returns how many were.

    The server in another thread forks no child while OpenSSL works here: the child would have its locks, held for ever.
    """
    sent = 0
    while True:
        with no_fork:
            wire = peer.send(b"")[: stop - sent]
        for start in range(0, len(wire), size):
            plain.sendall(wire[start : start + size])
        sent += len(wire)
        if sent == stop or peer.is_open:
            return sent
        data = plain.recv(size)
        assert data, "the other end breaks off"
        with no_fork:
            peer.received(data)


def break_off(plain, ending):
    """End the connection, and wait for the other end to do so; or reset it."""
    if ending == "Reset":
        reset(plain)
        return
    plain.shutdown(socket.SHUT_WR)
    while plain.recv(65_536):
        pass


def places(mode, make, other, stride):
    """Places of a handshake, in bytes that the one end has sent, after which it is not done for the other."""
    here, there, size = make(), other(), 0
    while not (here.is_open and there.is_open):
        wire = here.send(b"")
        size += len(wire)
        there.received(wire)
        here.received(there.send(b""))
    return range(1 + list(MODES).index(mode), size, stride)


@pytest.mark.slow
@strides
@ends_or_is_reset
@every_version
@every_mode
def test_a_handshake_that_a_client_cuts_has_a_cause_and_frees_the_row(mode, version, ending, stride):
    cuts = places(mode, partial(client, version), partial(server, version), stride)
    with serving(Lines, mode, TCP, TLSMixIn, context=server_context(version)) as served:
        table = served.reactor.table
        for count, place in enumerate(cuts, 1):
            with connect(served) as plain:
                plain.settimeout(PATIENCE)
                assert speak(plain, client(version), 65_536, place) == place
                break_off(plain, ending)
            wait_until(lambda count=count: table.ends == Counter({ending: count}))
        assert not table


@pytest.mark.slow
@strides
@ends_or_is_reset
@every_version
@every_mode
def test_a_handshake_that_a_server_cuts_has_a_cause_and_frees_the_row(mode, version, ending, stride):
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(PATIENCE)
        kind = type("Asking", (Asking,), {"upstream": upstream.getsockname()})
        with serving(kind, mode, TCP) as served:
            for place in places(mode, partial(server, version), partial(client, version), stride):
                with connect(served) as plain:
                    plain.settimeout(PATIENCE)
                    accepted, _ = upstream.accept()
                    with accepted:
                        accepted.settimeout(PATIENCE)
                        assert speak(accepted, server(version), 65_536, place) == place
                        break_off(accepted, ending)
                    assert plain.recv(80) == f"{ending}\n".encode()
                    plain.shutdown(socket.SHUT_RDWR)
            wait_until(lambda: not served.reactor.table)


@every_version
@every_mode
def test_a_handshake_of_which_each_byte_comes_alone_succeeds_at_the_end_of_the_server(mode, version):
    with (
        serving(Lines, mode, TCP, TLSMixIn, context=server_context(version)) as served,
        connect(served) as plain,
    ):
        plain.settimeout(PATIENCE)
        peer = client(version)
        speak(plain, peer, 1)
        for byte in peer.send(b"one\n"):
            plain.sendall(bytes([byte]))
        answer = b""
        while len(answer) < 4:
            answer += peer.received(plain.recv(1))
        assert answer == b"one\n"
        plain.shutdown(socket.SHUT_RDWR)


@every_version
@every_mode
def test_a_handshake_of_which_each_byte_comes_alone_succeeds_at_the_end_of_the_client(mode, version):
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(PATIENCE)
        kind = type("Asking", (Asking,), {"upstream": upstream.getsockname()})
        with serving(kind, mode, TCP) as served, connect(served) as plain:
            plain.settimeout(PATIENCE)
            accepted, _ = upstream.accept()
            with accepted:
                accepted.settimeout(PATIENCE)
                peer = server(version)
                speak(accepted, peer, 1)
                asked = b""
                while len(asked) < 6:
                    asked += peer.received(accepted.recv(1))
                assert asked == b"hello\n"
                for byte in peer.send(b"good day\n"):
                    accepted.sendall(bytes([byte]))
                assert plain.recv(80) == b"good day\n"
            plain.shutdown(socket.SHUT_RDWR)
