"""Ancillary data of datagrams: from which address an answer leaves, and what an ICMP error quotes."""

import errno
import socket
import sys
import threading
from contextlib import ExitStack, closing, contextmanager

import pytest

from handlers import BaseRequestHandler
from handlers.services import EchoDatagram
from reactor import ThreadingUDPServer, UDPServer
from reactor.rows.ancillary import CalledSocket, called, is_local, reports, tell_calls, tell_errors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="all of 127.0.0.0/8, and IP_RECVERR, are Linux's")

PATIENCE = 10

FAMILIES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
every_family = pytest.mark.parametrize(("family", "host"), FAMILIES.items(), ids=["IPv4", "IPv6"])


@contextmanager
def datagram_socket(host, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.bind((host, 0))
        yield sock


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever)
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


# From which address an answer leaves


@pytest.mark.parametrize("server_class", [UDPServer, ThreadingUDPServer])
def test_a_packet_to_a_third_party_leaves_from_the_address_that_the_kernel_chooses(server_class):
    class Relay(BaseRequestHandler):
        """Answers the peer, and tells the peer that has said ``join`` what another says."""

        members = []

        def handle(self):
            data, sock = self.request
            if data == b"join":
                self.members.append(self.client_address)
            else:
                sock.sendto(data, self.members[0])
            sock.sendto(b"heard " + data, self.client_address)

    with (
        running(server_class(("0.0.0.0", 0), Relay)) as server,
        datagram_socket("127.0.0.1") as member,
        datagram_socket("127.0.0.1") as other,
    ):
        port = server.server_address[1]
        member.connect(("127.0.0.1", port))  # so it takes packets from there only
        member.send(b"join")
        assert member.recv(99) == b"heard join"
        other.connect(("127.0.0.2", port))
        other.send(b"hello")
        assert other.recv(99) == b"heard hello"
        assert member.recv(99) == b"hello"


@contextmanager
def called_socket(family, every, host):
    """A socket as a peer sees it that has sent a packet to it, and that peer."""
    with ExitStack() as stack:
        sock = stack.enter_context(datagram_socket("::" if family == socket.AF_INET6 else "0.0.0.0", family))
        assert tell_calls(sock)
        peer = stack.enter_context(datagram_socket(host, every))
        peer.sendto(b"hello", (host.replace("127.0.0.1", "127.0.0.2"), sock.getsockname()[1]))
        _, ancillary, _, address = sock.recvmsg(99, 512)
        answering = called(sock, ancillary, address)
        assert isinstance(answering, CalledSocket)
        yield answering, peer, address


PLACES = [(socket.AF_INET, socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, socket.AF_INET6, "::1"),
          (socket.AF_INET6, socket.AF_INET, "127.0.0.1")]  # fmt: skip
every_place = pytest.mark.parametrize(("family", "other", "host"), PLACES, ids=["IPv4", "IPv6", "IPv4 at IPv6"])


@every_place
@pytest.mark.parametrize("flags", [(), (socket.MSG_DONTWAIT,)])
def test_an_answer_leaves_from_the_address_that_was_called(family, other, host, flags):
    with called_socket(family, other, host) as (sock, peer, address):
        for written in address, address[:2]:
            assert sock.sendto(b"answer", *flags, written) == 6
            assert peer.recvfrom(99)[1][0] == host.replace("127.0.0.1", "127.0.0.2")


@every_place
@pytest.mark.parametrize("flags", [(), (socket.MSG_DONTWAIT,)])
def test_another_port_or_host_is_another_receiver(family, other, host, flags):
    with called_socket(family, other, host) as (sock, _, address):
        hosts = [host] if other == socket.AF_INET6 else [host, "127.0.0.3"]
        for third in hosts:
            with datagram_socket(third, other) as receiver:
                prefix = "::ffff:" if family != other else ""
                sock.sendto(b"to you", *flags, (prefix + third, receiver.getsockname()[1], *address[2:]))
                assert receiver.recvfrom(99)[1][0] == host


def test_an_answer_to_a_packet_that_comes_at_once_leaves_from_the_address_that_was_called():
    with datagram_socket("127.0.0.1") as peer:

        class Called(socket.socket):
            def bind(self, address):
                super().bind(address)
                peer.sendto(b"early", ("127.0.0.2", self.getsockname()[1]))

        server = UDPServer(("0.0.0.0", 0), EchoDatagram, False)
        server.socket.close()
        server.socket = Called(socket.AF_INET, socket.SOCK_DGRAM)
        server.server_bind()
        with running(server):
            assert peer.recvfrom(99) == (b"early", ("127.0.0.2", server.server_address[1]))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("127.0.0.1", 7), True), (("127.9.9.9", 7), True), (("::1", 7, 0, 0), True),
        (("192.0.2.1", 7), False), (("2001:db8::1", 7, 0, 0), False),
    ],
)  # fmt: skip
def test_an_address_of_this_host_is_known(address, expected):
    assert is_local(address) is expected


@pytest.mark.parametrize("arguments", [(), (b"x",), (b"x", None), (b"x", "127.0.0.1"), (b"x", 0, ("127.0.0.1",))])
def test_a_wrong_call_fails_as_that_of_a_socket_does(arguments):
    with called_socket(*PLACES[0]) as (sock, _, _), pytest.raises(TypeError):
        sock.sendto(*arguments)


# What an ICMP error quotes


def vacant(sock, host):
    """An address of the family of ``sock`` where nobody listens."""
    with closing(socket.socket(sock.family, socket.SOCK_DGRAM)) as other:
        other.bind((host, 0))
        return other.getsockname()


def keep_errors(sock):
    """As a server does: with a timeout, Python would wait for a report until it is over."""
    sock.setblocking(False)
    assert tell_errors(sock)


def all_reports(sock):
    return [(error.errno, peer, quoted) for error, _, peer, quoted in reports(sock, 10)]


@every_family
@pytest.mark.parametrize("packet", [b"", b"a packet", bytes(range(256)) * 10])
def test_a_report_quotes_the_packet(family, host, packet):
    with datagram_socket(host, family) as sock:
        keep_errors(sock)
        address = vacant(sock, host)
        sock.sendto(packet, address)
        [(number, peer, quoted)] = all_reports(sock)
        assert (number, peer[:2]) == (errno.ECONNREFUSED, address[:2])
        assert packet.startswith(quoted)
        assert len(quoted) >= min(len(packet), 500)
        assert all_reports(sock) == []


@every_family
def test_each_report_quotes_its_own_packet_and_no_more_than_the_limit_are_read(family, host):
    with datagram_socket(host, family) as sock:
        keep_errors(sock)
        expected = []
        for packet in b"one", b"two", b"three":
            address = vacant(sock, host)
            try:
                sock.sendto(packet, address)
            except ConnectionRefusedError:  # the report about the packet before
                sock.sendto(packet, address)
            expected.append((errno.ECONNREFUSED, address[:2], packet))
        found = [*reports(sock, 2), *reports(sock, 2)]
        assert [(error.errno, peer[:2], quoted) for error, _, peer, quoted in found] == expected


def test_a_report_says_by_which_address_the_packet_was_sent():
    with called_socket(*PLACES[0]) as (sock, _, _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            address = receiver.getsockname()
        keep_errors(sock)
        CalledSocket(sock, sock.local, address).sendto(b"x", address)
        [(_, by, peer, quoted)] = reports(sock, 10)
        assert (by.local, peer, quoted) == (socket.inet_aton("127.0.0.2"), address, b"x")
