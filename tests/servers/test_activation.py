"""`InheritedMixIn`: a server takes a socket that is bound. `inherited_sockets`: those that a manager has passed."""

import os
import re
import socket
import struct
import sys

import pytest

from handlers.services import Echo, EchoDatagram
from reactor import Reactor, SelectUDPServer, TCPServer, UnixStreamServer
from reactor.activation import ActivationError, InheritedMixIn, inherited_sockets
from reactor.servers import activation
from tests.support.serving import MODES, PACKETS, PATIENCE, STREAMS, Place, ask, exchange, running, server_class

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
PLACES = [(place, socket.SOCK_STREAM) for place in STREAMS.values()]
PLACES += [(place, socket.SOCK_DGRAM) for place in PACKETS.values()]


class Inherited(InheritedMixIn, TCPServer):
    pass


class InheritedDatagrams(InheritedMixIn, SelectUDPServer):
    pass


class InheritedUnix(InheritedMixIn, UnixStreamServer):
    pass


def bound(place, kind, directory, backlog=None):
    """A socket that is bound, and listens with ``backlog`` if that is given."""
    sock = socket.socket(place.family, kind)
    if place.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    address = place.host.format(directory=directory)
    sock.bind(address if place.family == socket.AF_UNIX else (address, 0))
    if backlog is not None:
        sock.listen(backlog)
    return sock


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("place", "kind"), PLACES, ids=lambda value: getattr(value, "host", None) or value.name)
def test_every_server_takes_a_bound_socket(place, kind, mode, blocks, tmp_path):
    packets = kind == socket.SOCK_DGRAM
    sock = bound(place, kind, tmp_path, None if packets or blocks else 5)
    sock.setblocking(blocks)
    address = sock.getsockname()
    base = server_class(mode, place)
    server = type("Taking", (InheritedMixIn, base), {})(sock, EchoDatagram if packets else Echo)
    with server, running(server):
        assert server.server_address == address
        assert (exchange(server, b"x") == [b"x"]) if packets else (ask(server, b"x") == b"x")
    assert sock.fileno() == -1
    if isinstance(address, str) and not address.startswith("\0"):
        assert os.path.exists(address)


def test_it_is_bound_and_activated_by_hand_and_in_a_shared_loop(tmp_path):
    with Reactor() as loop:
        server = InheritedDatagrams(bound(PACKETS["udp"], socket.SOCK_DGRAM, tmp_path), EchoDatagram, reactor=loop)
        assert server.socket.family == socket.AF_INET
        server.server_close()
    server = Inherited(bound(STREAMS["tcp"], socket.SOCK_STREAM, tmp_path), Echo, False)
    server.server_bind()
    server.server_activate()
    with server, running(server):
        assert ask(server, b"x") == b"x"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1"])
def test_packets_that_came_before_the_server_are_answered(host, tmp_path):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = bound(Place("UDPServer", family, host), socket.SOCK_DGRAM, tmp_path)
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(("::1" if ":" in host else "127.0.0.1", sock.getsockname()[1]))
        client.send(b"before")
        with InheritedDatagrams(sock, EchoDatagram) as server, running(server):
            assert client.recv(100) == b"before"
            client.send(b"after")
            assert client.recv(100) == b"after"


@pytest.mark.skipif(sys.platform != "linux", reason="reads TCP_INFO")
@pytest.mark.parametrize(("backlog", "length"), [(77, 77), (None, TCPServer.request_queue_size)])
def test_a_listener_keeps_the_length_of_its_accept_queue(backlog, length, tmp_path):
    with Inherited(bound(STREAMS["tcp"], socket.SOCK_STREAM, tmp_path, backlog), Echo) as server:
        info = server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        assert struct.unpack_from("I", info, 28) == (length,)  # tcpi_sacked, of a listener


def test_a_socket_of_another_kind_is_refused(tmp_path):
    tcp, unix, udp = STREAMS["tcp"], STREAMS["unix"], PACKETS["udp"]
    for server, place, kind, right in [
        (Inherited, udp, socket.SOCK_DGRAM, "UDPServer"),
        (Inherited, unix, socket.SOCK_STREAM, "UnixStreamServer"),
        (InheritedDatagrams, tcp, socket.SOCK_STREAM, "TCPServer"),
        (InheritedUnix, PACKETS["unix"], socket.SOCK_DGRAM, "UnixDatagramServer"),
        (InheritedUnix, tcp, socket.SOCK_STREAM, "TCPServer"),
    ]:
        sock = bound(place, kind, tmp_path)
        with sock, pytest.raises(TypeError, match=rf"{sock.type.name}.*{server.__name__}.*take {right}"):
            server(sock, Echo)
        if place.family == socket.AF_UNIX:
            os.unlink(tmp_path / "socket")
    with pytest.raises(TypeError, match=r"a socket that is bound.*127\.0\.0\.1"):
        Inherited(("127.0.0.1", 0), Echo)
    first, second = socket.socketpair()
    with first, second, pytest.raises(TypeError, match=r"connected.*Accept=yes"):
        InheritedUnix(first, Echo)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({}, "LISTEN_FDS is not set"),
        ({"LISTEN_FDS": "", "LISTEN_PID": "{}"}, "LISTEN_FDS is ''"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": " {}"}, "LISTEN_PID is ' "),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "{}", "LISTEN_FDNAMES": "a:"}, "LISTEN_FDNAMES has 2 names"),
    ],
)
def test_the_variables_are_removed_even_if_they_are_wrong(environment, text):
    given = {name: value.format(os.getpid()) for name, value in environment.items()}
    given |= {"LISTEN_PIDFDID": "1", "OTHER": "stays"}
    with pytest.raises(ActivationError, match=re.escape(text)):
        inherited_sockets(given)
    assert given == {"OTHER": "stays"}


@pytest.fixture
def first(monkeypatch):
    """The number of the first descriptor that is passed: 3 is taken in this process."""
    monkeypatch.setattr(activation, "FIRST", 200)
    return 200


def test_a_program_that_is_executed_does_not_get_what_was_passed(first):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.dup2(listener.fileno(), first)
    [(_, sock)] = inherited_sockets({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})
    with sock:
        assert (sock.fileno(), sock.get_inheritable()) == (first, False)


def test_what_was_passed_is_closed_if_one_socket_is_of_no_use(first):
    with socket.create_server(("127.0.0.1", 0)) as good, socket.socket() as without_address:
        os.dup2(good.fileno(), first)
        os.dup2(without_address.fileno(), first + 1)
    passed = {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())}
    with pytest.raises(ActivationError, match=f"descriptor {first + 1} is a socket without an address"):
        inherited_sockets(passed)
    for number in (first, first + 1):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
