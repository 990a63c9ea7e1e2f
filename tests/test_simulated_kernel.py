"""The simulated kernel against the real one: the same calls, in the same order, have the same results.

Hypothesis writes the scripts, of what a process can do to a stream or a datagram socket without
blocking. Both kernels do them, call by call, and must agree on every result, every error and on what
a selector says of every socket afterwards. Only these differences are no failures: how long the real
kernel takes (it is waited for, within a bound), whether a stream comes in one piece or in two, how
many bytes a buffer holds, and addresses, which are whatever was free.
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
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor.testing.faults import Plan
from reactor.testing.network import Clock, Network, Selector, Wire
from tests import strategies  # noqa: F401  # no example has a deadline

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the simulated kernel is Linux")

PATIENCE = 5.0
"""Seconds that the real kernel may take to do what the simulated one has done."""

FAMILIES = {"tcp": socket.AF_INET, "unix": socket.AF_UNIX}


def simulated(capacity=65_536):
    """A network without faults; its wire has room for ``capacity`` bytes each way."""
    return Network(Wire(Clock(), Plan(), capacity=capacity), Plan())


def outcome(call, *arguments):
    """What a call gives, or the name of its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno], type(error).__name__


def readiness(kernel, sockets):
    """What the kernel's selector says of each open socket, watched for both reading and writing."""
    selector = Selector(kernel) if isinstance(kernel, Network) else selectors.EpollSelector()
    with selector:
        watched = {name: sock for name, sock in sockets.items() if sock.fileno() >= 0}
        for name, sock in watched.items():
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, name)
        ready = {key.data: events for key, events in selector.select(0)}
    if isinstance(kernel, Network):
        kernel.selectors.remove(selector)
    return {name: ready.get(name, 0) for name in watched}


class Script:
    """One kernel's sockets, and the words of a script as calls on them."""

    def __init__(self, kernel, family, place):
        self.kernel = kernel
        self.family = FAMILIES[family]
        self.sockets = {}
        self.said = 0
        listener = self.make("listener")
        listener.bind(str(place) if family == "unix" else ("127.0.0.1", 0))
        listener.listen(1)
        self.address = listener.getsockname()

    def make(self, name):
        sock = self.sockets[name] = self.kernel.socket(self.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        return sock

    def play(self, word, name, size):
        """Do it and say what came of it; ``None`` where it makes no sense yet."""
        sock = self.sockets.get(name)
        if word == "connect":
            return outcome(self.make(name).connect, self.address) if sock is None and name != "server" else None
        if word == "accept":
            return self.accept(name)
        return None if sock is None else getattr(self, word)(sock, size)

    def accept(self, name):
        if name in self.sockets or name != "server":
            return None
        accepted = outcome(self.sockets["listener"].accept)
        if isinstance(accepted[0], str):
            return accepted
        self.sockets[name] = accepted[0]
        accepted[0].setblocking(False)
        return "accepted"

    def send(self, sock, size):
        self.said += size
        return outcome(sock.send, bytes((self.said - place) % 251 for place in range(size)))

    def recv(self, sock, size):
        return outcome(sock.recv, size)

    def shutdown(self, sock, size):
        return outcome(sock.shutdown, socket.SHUT_WR)

    def close(self, sock, size):
        return outcome(sock.close)

    def reset(self, sock, size):
        linger = outcome(sock.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return linger, outcome(sock.close)

    def error(self, sock, size):
        return outcome(sock.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)

    def peer(self, sock, size):
        found = outcome(sock.getpeername)
        return found if isinstance(found, tuple) and isinstance(found[0], str) and found[0].isupper() else "known"

    def end(self):
        for sock in self.sockets.values():
            sock.close()


def until_equal(wanted, look):
    """What ``look()`` says when it says what is wanted, or else at the end of all patience."""
    deadline = time.monotonic() + PATIENCE
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.001)
    return seen


words = st.sampled_from(["accept", "send", "recv", "shutdown", "close", "reset", "error", "peer"])
ends = st.sampled_from(["client", "server"])
conversations = st.lists(st.tuples(words, ends, st.integers(1, 4)), max_size=24)
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


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=150)
@given(script=scripts)
def test_streams_are_those_of_the_real_kernel(family, script):
    with TemporaryDirectory() as directory:
        ours = Script(simulated(), family, Path(directory, "socket"))
        real = Script(socket, family, Path(directory, "socket"))
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
    """What the real kernel gives; the rest of a piece that has come in two is waited for."""
    given = real.play(word, name, size)
    deadline = time.monotonic() + PATIENCE
    while isinstance(given, bytes) and isinstance(expected, bytes) and 0 < len(given) < len(expected):
        more = real.play(word, name, len(expected) - len(given))
        given += more if isinstance(more, bytes) else b""
        assert time.monotonic() < deadline
    return given


@pytest.fixture(params=["simulated", "real"])
def kernel(request):
    """Each of the two in its turn, where what must come of it can be said."""
    return simulated() if request.param == "simulated" else socket


@pytest.mark.parametrize("family", FAMILIES)
def test_a_full_stream_takes_no_more_until_it_is_read(kernel, family, tmp_path):
    script = Script(kernel, family, tmp_path / "socket")
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


def test_who_finds_nobody_is_refused(kernel):
    with kernel.socket() as taken, kernel.socket() as client:
        taken.bind(("127.0.0.1", 0))
        client.setblocking(False)
        assert outcome(client.connect, taken.getsockname()) == ("EINPROGRESS", "BlockingIOError")
        wanted = {"client": selectors.EVENT_READ | selectors.EVENT_WRITE}
        assert until_equal(wanted, lambda: readiness(kernel, {"client": client})) == wanted
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        assert outcome(client.getpeername)[0] == "ENOTCONN"


@pytest.mark.parametrize("family", FAMILIES)
def test_who_finds_the_backlog_full_waits(kernel, family, tmp_path):
    script = Script(kernel, family, tmp_path / "socket")
    for name in ("first", "second", "third"):
        last = script.play("connect", name, 0)
    assert last == (("EAGAIN" if family == "unix" else "EINPROGRESS"), "BlockingIOError")
    wanted = {"listener": 1, "first": 2, "second": 2, "third": 3 if family == "unix" else 0}
    assert until_equal(wanted, lambda: readiness(kernel, script.sockets)) == wanted
    script.end()


class Post:
    """One kernel's datagram sockets, and the words of a script as calls on them."""

    def __init__(self, kernel, family, directory):
        self.kernel = kernel
        self.family = FAMILIES[family]
        self.directory = directory
        self.sockets = {}
        self.addresses = {}
        for name in ("nameless", "b", "c"):
            sock = self.sockets[name] = kernel.socket(self.family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            self.addresses[name] = str(directory / name) if family == "unix" else ("127.0.0.1", 0)
            if name != "nameless":
                sock.bind(self.addresses[name])
                self.addresses[name] = sock.getsockname()

    def play(self, word, name, other, size):
        sock = self.sockets[name]
        if word == "sendto":
            given = outcome(sock.sendto, bytes(range(size)), socket.MSG_DONTWAIT, self.addresses[other])
            if sock.fileno() >= 0 and self.family == socket.AF_INET:
                self.addresses[name] = ("127.0.0.1", sock.getsockname()[1])
            return given
        if word == "recvfrom":
            given = outcome(sock.recvfrom, size, socket.MSG_DONTWAIT)
            return self.known(*given) if isinstance(given[0], bytes) else given
        return outcome(sock.close)

    def known(self, packet, sender):
        """Senders by their names: the addresses are whatever was free."""
        return packet, sender and next(name for name, address in self.addresses.items() if address == sender)

    def end(self):
        for sock in self.sockets.values():
            sock.close()


names = st.sampled_from(["nameless", "b", "c"])
posts = st.lists(
    st.one_of(
        st.tuples(st.just("sendto"), names, st.sampled_from(["b", "c"]), st.integers(0, 5)),
        st.tuples(st.just("recvfrom"), names, st.just(""), st.integers(1, 5)),
        st.tuples(st.just("close"), names, st.just(""), st.just(0)),
    ),
    max_size=16,
)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=80)
@given(script=posts)
def test_datagrams_are_those_of_the_real_kernel(family, script):
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


def test_descriptors_are_given_lowest_first():
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


def test_a_call_that_would_block_is_an_offence():
    network = simulated()
    with network.socket() as listener:
        listener.bind(("10.0.0.1", 7))
        listener.listen()
        assert outcome(listener.accept)[0] == "EAGAIN"
    [offence] = network.offences
    assert "accept() blocks" in offence
