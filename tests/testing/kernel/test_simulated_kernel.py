"""The simulated kernel against the real one: the same calls in the same order have the same results.

Hypothesis makes scripts of non-blocking calls on stream and datagram sockets. Both kernels execute them call by call
and must agree on every result, every error, and the readiness of every socket afterwards. They may differ in how long
the real kernel takes (the test waits, within a bound), whether a stream comes in one piece or in two, how many bytes a
buffer holds, and the addresses.
"""

import errno
import selectors
import socket
import struct
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reactor.testing.kernel.clock import Clock
from reactor.testing.kernel.faults import Plan
from reactor.testing.kernel.network import Network
from reactor.testing.kernel.wire import Wire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the simulated kernel is Linux")

PATIENCE = 5.0
"""Seconds that the real kernel may take to reach the state of the simulated one."""

FAMILIES = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}
HOSTS = {"tcp": "127.0.0.1", "tcp6": "::1"}

SELECTORS = selectors.EpollSelector, selectors.PollSelector, selectors.SelectSelector
"""The selectors of the real kernel; all must agree."""


def simulated(capacity=65_536):
    """A network without faults, with room for ``capacity`` bytes each way."""
    return Network(Wire(Clock(), Plan(), capacity=capacity), Plan())


def outcome(call, *arguments):
    """The result of a call, or the name of its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno], type(error).__name__


def readiness(kernel, sockets):
    """The readiness of each open socket for reading and writing, from the selectors of the kernel."""
    kinds = [kernel.selector] if isinstance(kernel, Network) else SELECTORS
    said, *others = [asked(kind(), sockets) for kind in kinds]
    return said if all(other == said for other in others) else [said, *others]


def asked(selector, sockets):
    watched = {name: sock for name, sock in sockets.items() if sock.fileno() >= 0}
    for name, sock in watched.items():
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, name)
    ready = {key.data: events for key, events in selector.select(0)}
    selector.close()
    return {name: ready.get(name, 0) for name in watched}


class Script:
    """The sockets of one kernel, and the words of a script as calls on them."""

    def __init__(self, kernel, family, place):
        self.kernel = kernel
        self.family = FAMILIES[family]
        self.sockets = {}
        self.said = 0
        self.unfit = set()
        """Sockets that can't be connected any more: the simulated kernel connects each only once."""
        self.over = set()
        """Sockets that the real kernel has made new again, which the simulated one does not."""
        self.failed = set()
        """Sockets that have told why they were not connected: some versions of Linux let them listen, 6.18 does not."""
        taken, listener = self.make("taken"), self.make("listener")
        for sock, name in (taken, "taken"), (listener, "listener"):
            sock.bind((HOSTS[family], 0) if family in HOSTS else str(place / name))
        listener.listen(1)
        self.taken, self.address = taken.getsockname(), listener.getsockname()

    def make(self, name):
        sock = self.sockets[name] = self.kernel.socket(self.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        return sock

    def play(self, word, name, size):
        """Make the call; returns its outcome, or ``None`` if the call is not possible yet."""
        if name not in self.sockets and word == "accept":
            return self.accept(self.sockets["listener"], size, name)
        if name not in self.sockets and word in ("make", "connect") and name != "server":
            self.make(name)
        sock = self.sockets.get(name)
        return None if sock is None or word == "make" or sock in self.over else getattr(self, word)(sock, size)

    def accept(self, sock, size, name=None):
        accepted = outcome(sock.accept)
        if isinstance(accepted[0], str):
            return accepted
        self.sockets[name or f"another {len(self.sockets)}"] = accepted[0]
        accepted[0].setblocking(False)
        return "accepted"

    def connect(self, sock, size):
        if sock in self.unfit:
            return None
        given = outcome(sock.connect, self.taken if size == 4 else self.address)
        if given and given[0] in ("ECONNABORTED", "ECONNRESET", "EPIPE"):
            self.over.add(sock)
        if given and given[0] == "ECONNREFUSED":
            self.failed.add(sock)
        return given

    def listen(self, sock, size):
        return None if sock in self.failed else outcome(sock.listen, 1)

    def send(self, sock, size):
        self.said += size
        return outcome(sock.send, bytes((self.said - place) % 251 for place in range(size)))

    def recv(self, sock, size):
        return outcome(sock.recv, size)

    def shutdown(self, sock, size):
        given = outcome(sock.shutdown, socket.SHUT_WR)
        if self.peer(sock, size) != "known":  # or the attempt to connect was given up
            self.unfit.add(sock)
        return given

    def close(self, sock, size):
        return outcome(sock.close)

    def reset(self, sock, size):
        linger = outcome(sock.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return linger, outcome(sock.close)

    def error(self, sock, size):
        given = outcome(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
        if given == errno.ECONNREFUSED:
            self.failed.add(sock)
        return given

    def peer(self, sock, size):
        found = outcome(sock.getpeername)
        return found if isinstance(found, tuple) and isinstance(found[0], str) and found[0].isupper() else "known"

    def end(self):
        for sock in self.sockets.values():
            sock.close()


def until_equal(wanted, look):
    """Wait until ``look()`` returns the wanted value; returns its last value."""
    deadline = time.monotonic() + PATIENCE
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.001)
    return seen


calls = ["accept", "send", "recv", "shutdown", "close", "reset", "error", "peer"]
words = st.sampled_from([*calls, *calls, "make", "connect", "listen"])
ends = st.sampled_from(["client", "server", "client", "server", "listener"])
conversations = st.lists(st.tuples(words, ends, st.integers(0, 4)), max_size=24)
starts = st.sampled_from([[], [("connect", "client", 0)], [("connect", "client", 0), ("accept", "server", 0)]])
intruders = st.lists(
    st.tuples(st.sampled_from(["connect", "send", "recv", "close"]), st.sampled_from(["second", "third"]), st.just(1)),
    max_size=4,
)
listener = st.lists(st.tuples(st.just("close"), st.just("listener"), st.just(0)), max_size=1)
scripts = st.builds(
    lambda start, *parts: start + [word for part in parts for word in part],
    starts, conversations, intruders, conversations, listener, conversations,
)  # fmt: skip


given_up = [("connect", name, 0) for name in ("second", "third", "client")] + [("shutdown", "client", 0)]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=150)
@given(script=scripts)
@example([*given_up, ("error", "client", 0), ("recv", "client", 1), ("send", "client", 1)])
@example([*given_up, ("recv", "client", 1), ("shutdown", "client", 0), ("peer", "client", 0)])
@example([*given_up, ("send", "client", 1), ("send", "client", 1), ("accept", "server", 0), ("accept", "another", 0)])
@example([("close", "listener", 0), *[("connect", "client", 0)] * 2, ("listen", "client", 0), ("connect", "client", 0)])
def test_streams_behave_as_in_the_real_kernel(family, script):
    with TemporaryDirectory() as directory:
        ours = Script(simulated(), family, Path(directory))
        real = Script(socket, family, Path(directory))
        try:
            for word, name, size in script:
                told = f"{word} {name} {size}"
                expected = ours.play(word, name, size)
                assert (told, settled(real, word, name, size, expected)) == (told, expected)
                wanted = readiness(ours.kernel, ours.sockets)
                assert (told, until_equal(wanted, lambda: readiness(socket, real.sockets))) == (told, wanted)
        finally:
            real.end()
            ours.end()
        assert ours.kernel.open == {}
        assert ours.kernel.offences == []


def settled(real, word, name, size, expected):
    """The outcome of the real kernel, after waiting for the rest of a piece that came in two."""
    given = real.play(word, name, size)
    deadline = time.monotonic() + PATIENCE
    while isinstance(given, bytes) and isinstance(expected, bytes) and 0 < len(given) < len(expected):
        more = real.play(word, name, len(expected) - len(given))
        given += more if isinstance(more, bytes) else b""
        assert time.monotonic() < deadline
    return given


@pytest.fixture(params=["simulated", "real"])
def kernel(request):
    """Each of the two kernels, for tests with a known outcome."""
    return simulated() if request.param == "simulated" else socket


@pytest.mark.parametrize("family", FAMILIES)
def test_a_full_stream_takes_no_more_until_it_is_read(kernel, family, tmp_path):
    script = Script(kernel, family, tmp_path)
    script.play("connect", "client", 0)
    until_equal("accepted", lambda: script.play("accept", "server", 0))
    client, server = script.sockets["client"], script.sockets["server"]
    sent = bytearray()
    while isinstance(count := outcome(client.send, bytes(range(250)) * 20), int):
        sent += (bytes(range(250)) * 20)[:count]
    assert count == ("EAGAIN", "BlockingIOError")
    assert readiness(kernel, script.sockets)["client"] == 0
    client.shutdown(socket.SHUT_WR)
    heard = bytearray()
    deadline = time.monotonic() + PATIENCE
    while (data := outcome(server.recv, 1 << 20)) != b"":
        heard += data if isinstance(data, bytes) else b""
        assert time.monotonic() < deadline
    assert heard == sent
    script.end()


def test_connecting_without_a_listener_is_refused(kernel):
    with kernel.socket() as taken, kernel.socket() as client:
        taken.bind(("127.0.0.1", 0))
        client.setblocking(False)
        assert outcome(client.connect, taken.getsockname()) == ("EINPROGRESS", "BlockingIOError")
        wanted = {"client": selectors.EVENT_READ | selectors.EVENT_WRITE}
        assert until_equal(wanted, lambda: readiness(kernel, {"client": client})) == wanted
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        assert outcome(client.getpeername)[0] == "ENOTCONN"


@pytest.mark.parametrize("family", FAMILIES)
def test_connecting_to_a_full_backlog_waits(kernel, family, tmp_path):
    script = Script(kernel, family, tmp_path)
    for name in ("first", "second", "third"):
        last = script.play("connect", name, 0)
    assert last == (("EAGAIN" if family == "unix" else "EINPROGRESS"), "BlockingIOError")
    wanted = {"taken": 3, "listener": 1, "first": 2, "second": 2, "third": 3 if family == "unix" else 0}
    assert until_equal(wanted, lambda: readiness(kernel, script.sockets)) == wanted
    script.end()


class Post:
    """The datagram sockets of one kernel, and the words of a script as calls on them."""

    def __init__(self, kernel, family, directory):
        self.kernel = kernel
        self.family = FAMILIES[family]
        self.directory = directory
        self.sockets = {}
        self.addresses = {}
        for name in ("nameless", "b", "c"):
            sock = self.sockets[name] = kernel.socket(self.family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            self.addresses[name] = (HOSTS[family], 0) if family in HOSTS else str(directory / name)
            if name != "nameless":
                sock.bind(self.addresses[name])
                self.addresses[name] = sock.getsockname()

    def play(self, word, name, other, size):
        sock = self.sockets[name]
        if word == "sendto":
            given = outcome(sock.sendto, bytes(range(size)), socket.MSG_DONTWAIT, self.addresses[other])
            if sock.fileno() >= 0 and self.family != socket.AF_UNIX:
                self.addresses[name] = (self.addresses[name][0], *sock.getsockname()[1:])
            return given
        if word == "recvfrom":
            given = outcome(sock.recvfrom, size, socket.MSG_DONTWAIT)
            return self.known(*given) if isinstance(given[0], bytes) else given
        return outcome(sock.close)

    def known(self, packet, sender):
        """Replace the addresses of senders by their names."""
        return packet, sender and next(name for name, address in self.addresses.items() if address == sender)

    def end(self):
        for sock in self.sockets.values():
            sock.close()


names = st.sampled_from(["nameless", "b", "c"])
posts = st.lists(
    st.one_of(
        st.tuples(st.just("sendto"), names, st.sampled_from(["b", "c"]), st.integers(0, 5)),
        st.tuples(st.just("recvfrom"), names, st.just(""), st.integers(0, 5)),
        st.tuples(st.just("close"), names, st.just(""), st.just(0)),
    ),
    max_size=16,
)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=80)
@given(script=posts)
def test_datagrams_behave_as_in_the_real_kernel(family, script):
    with TemporaryDirectory() as directory:
        ours, real = (Post(kernel, family, Path(directory)) for kernel in (simulated(), socket))
        try:
            for words in script:
                expected = ours.play(*words)
                assert (words, until_equal(expected, lambda w=words: real.play(*w))) == (words, expected)
                wanted = readiness(ours.kernel, ours.sockets)
                assert (words, until_equal(wanted, lambda: readiness(socket, real.sockets))) == (words, wanted)
        finally:
            real.end()
            ours.end()


def datagrams(kernel, family, address=None):
    """A non-blocking datagram socket, bound to the address if there is one."""
    sock = kernel.socket(FAMILIES[family], socket.SOCK_DGRAM)
    sock.setblocking(False)
    if address is not None:
        sock.bind(address)
    return sock


@pytest.mark.parametrize(("family", "largest"), [("tcp", 65_507), ("tcp6", 65_527)])
def test_impossible_datagrams_are_refused(kernel, family, largest):
    with datagrams(kernel, family) as sender, datagrams(kernel, family, (HOSTS[family], 0)) as receiver:
        there = receiver.getsockname()
        assert sender.sendto(bytes(largest), there) == largest
        assert until_equal(bytes(largest), lambda: outcome(receiver.recvfrom, 70_000)[0]) == bytes(largest)
        assert outcome(sender.sendto, bytes(largest + 1), there) == ("EMSGSIZE", "OSError")
        assert outcome(sender.sendto, b"x", (HOSTS[family], 0)) == ("EINVAL", "OSError")


def test_a_full_socket_of_datagrams_takes_no_more_until_it_is_read(kernel, tmp_path):
    there = str(tmp_path / "socket")
    with datagrams(kernel, "unix") as sender, datagrams(kernel, "unix", there) as receiver:
        sockets, count = {"sender": sender, "receiver": receiver}, 0
        while isinstance(given := outcome(sender.sendto, bytes(1000), there), int):
            count += 1
        assert count > 5
        assert given == ("EAGAIN", "BlockingIOError")
        assert readiness(kernel, sockets) == {"sender": 2, "receiver": 3}
        assert [outcome(receiver.recvfrom, 2000) for _ in range(count + 1)] == [
            *[(bytes(1000), None)] * count,
            ("EAGAIN", "BlockingIOError"),
        ]
        assert outcome(sender.sendto, b"x", there) == 1


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(("family", "every"), [("tcp", "0.0.0.0"), ("tcp6", "::")])
@pytest.mark.parametrize("order", [1, -1])
def test_a_port_bound_on_the_wildcard_is_taken_on_every_address(kernel, kind, family, every, order):
    first, second = [HOSTS[family], every][::order]
    with kernel.socket(FAMILIES[family], kind) as has, kernel.socket(FAMILIES[family], kind) as wants:
        has.bind((first, 0))
        taken = has.getsockname()[1]
        assert outcome(wants.bind, (second, taken)) == ("EADDRINUSE", "OSError")
        wants.bind((second, 0))
        assert wants.getsockname()[1] not in (0, taken)


def test_names_of_unix_sockets(kernel, tmp_path):
    path, hidden = str(tmp_path / "socket"), b"\0" + bytes(tmp_path)
    kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM]
    streams, packets = ([kernel.socket(socket.AF_UNIX, kind) for _ in range(3)] for kind in kinds)
    for sock in (*streams, *packets):
        sock.setblocking(False)
    assert outcome(streams[0].listen) == ("EINVAL", "OSError")
    streams[0].bind(path.encode())
    streams[0].listen()
    assert streams[0].getsockname() == path
    assert outcome(packets[0].bind, path) == ("EADDRINUSE", "OSError")
    assert outcome(packets[0].sendto, b"x", path) == ("EPROTOTYPE", "OSError")
    streams[0].close()
    assert outcome(packets[0].sendto, b"x", path) == ("ECONNREFUSED", "ConnectionRefusedError")
    assert outcome(streams[1].connect, path) == ("ECONNREFUSED", "ConnectionRefusedError")
    assert outcome(packets[0].bind, path) == ("EADDRINUSE", "OSError")
    packets[0].bind(str(tmp_path / "packets"))
    assert outcome(streams[1].connect, str(tmp_path / "packets")) == ("EPROTOTYPE", "OSError")
    packets[1].bind(hidden.decode())
    assert packets[1].getsockname() == hidden
    assert outcome(streams[1].connect, hidden) == ("ECONNREFUSED", "ConnectionRefusedError")
    streams[1].bind(hidden)  # the same abstract name may be bound for each type of socket
    packets[2].bind("")
    own = packets[2].getsockname()
    assert (own[:1], len(own)) == (b"\0", 6)
    assert packets[2].sendto(b"x", hidden) == 1
    assert packets[1].recvfrom(1) == (b"x", own)
    assert outcome(packets[2].sendto, b"x", "") == ("EINVAL", "OSError")
    packets[1].close()
    assert outcome(packets[2].sendto, b"x", hidden) == ("ECONNREFUSED", "ConnectionRefusedError")
    for sock in (*streams, *packets):
        sock.close()


def test_a_socket_has_an_address_before_it_has_a_port(kernel):
    for family, nowhere in ("tcp", ("0.0.0.0", 0)), ("tcp6", ("::", 0, 0, 0)), ("unix", ""):
        with datagrams(kernel, family) as sock:
            assert sock.getsockname() == nowhere


def test_no_length_is_negative(kernel):
    with kernel.socket() as stream, datagrams(kernel, "tcp") as packets:
        for call in stream.recv, packets.recvfrom:
            with pytest.raises(ValueError, match="negative buffersize"):
                call(-1)


def test_the_lowest_free_descriptor_is_given():
    network = simulated()
    sockets = [network.socket() for _ in range(5)]
    numbers = [sock.fileno() for sock in sockets]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    for place in (3, 1):
        sockets[place].close()
    assert [network.socket().fileno() for _ in range(3)] == [numbers[1], numbers[3], numbers[4] + 1]


def test_a_detached_descriptor_stays_open():
    network = simulated()
    sock = network.socket()
    number = sock.detach()
    assert (sock.fileno(), list(network.open)) == (-1, [number])
    network.close(number)
    assert network.open == {}
    assert outcome(network.close, number) == ("EBADF", "OSError")


def test_addresses_are_found_without_a_resolver():
    network = simulated()
    network.wire.names["service"] = "10.0.0.9"
    assert network.getaddrinfo(b"service", 80, type=socket.SOCK_STREAM)[0][4] == ("10.0.0.9", 80)
    assert network.getaddrinfo("::1", 80)[0][::4] == (socket.AF_INET6, ("::1", 80, 0, 0))
    with pytest.raises(socket.gaierror):
        network.getaddrinfo("example.org", 80)


def test_a_call_that_would_block_is_a_violation():
    network = simulated()
    with network.socket() as listener:
        listener.bind(("10.0.0.1", 7))
        listener.listen()
        assert outcome(listener.accept)[0] == "EAGAIN"
    [offence] = network.offences
    assert "accept() blocks" in offence
