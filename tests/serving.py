"""What the tests of servers share: a server that runs in a thread, its clients, a journal, specimens.

A server is made for a mode and a place. Nothing waits for ever, and nothing sleeps and hopes: every
wait has a condition and one bound, which a test that passes never comes near.
"""

import os
import socket
import struct
import sys
import tempfile
import threading
import time
import weakref
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import reactor as package
from handlers import Exactly, StreamHandler, StreamRequestHandler, Until
from reactor import Reactor

PATIENCE = 10.0
"""Seconds after which anything that was waited for counts as not having happened."""

MODES = {"select": "Select", "plain": "", "fork": "Forking", "thread": "Threading"}
"""The modes and what the names of their server classes begin with."""


class Place(NamedTuple):
    """A kind of socket: what its server classes' names end with, its family, and where to bind."""

    ending: str
    family: int
    host: str


STREAMS = {
    "tcp": Place("TCPServer", socket.AF_INET, "127.0.0.1"),
    "tcp6": Place("TCPServer", socket.AF_INET6, "::1"),
    "mapped": Place("TCPServer", socket.AF_INET6, "::ffff:127.0.0.1"),  # IPv4 clients of an IPv6 socket
    "unix": Place("UnixStreamServer", socket.AF_UNIX, "{directory}/socket"),
}
PACKETS = {
    "udp": Place("UDPServer", socket.AF_INET, "127.0.0.1"),
    "udp6": Place("UDPServer", socket.AF_INET6, "::1"),
    "mapped": Place("UDPServer", socket.AF_INET6, "::ffff:127.0.0.1"),
    "unix": Place("UnixDatagramServer", socket.AF_UNIX, "{directory}/socket"),
}
if sys.platform == "linux":
    STREAMS["abstract"] = Place("UnixStreamServer", socket.AF_UNIX, "\0{directory}")
    PACKETS["abstract"] = Place("UnixDatagramServer", socket.AF_UNIX, "\0{directory}")


# Waiting


def wait_until(condition, what="what was waited for"):
    """The first true result of ``condition()``; fails if there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about in {PATIENCE} seconds"
        time.sleep(0.002)
    return result


def bounded(call, *arguments):
    """``call(*arguments)`` in a thread of its own: its result, or what it raises; fails if it does not return."""
    results, errors = [], []

    def work():
        try:
            results.append(call(*arguments))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), f"{call} did not return in {PATIENCE} seconds"
    for error in errors:
        raise error
    return results[0]


# Servers


def server_class(mode, place, *mixins, **members):
    """The package's class for the mode and the place, extended by mix-ins and members."""
    base = getattr(package, MODES[mode] + place.ending)
    return type(base.__name__, (*mixins, base), {"address_family": place.family, **members})


@contextmanager
def made(kind, place, handler, reactor=None):
    """A server of the class ``kind`` that nobody runs yet, closed at the end."""
    with tempfile.TemporaryDirectory() as directory:
        address = place.host.format(directory=directory)
        server = kind(address if place.family == socket.AF_UNIX else (address, 0), handler, reactor=reactor)
        try:
            yield server
        finally:
            bounded(server.server_close)


@contextmanager
def running(server, poll_interval=0.5):
    """The server, serving in a thread until the end. What leaves ``serve_forever()`` leaves here."""
    ends = []

    def serve():
        try:
            ends.append(server.serve_forever(poll_interval))
        except BaseException as error:
            ends.append(error)

    assert server.reactor  # made here and now, so that a test may look at its table whenever it likes
    thread = threading.Thread(target=serve, name="server", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        bounded(server.shutdown)
        thread.join(PATIENCE)
        if ends != [None]:
            raise ends[0]  # the cause of what the test has seen, if it has seen anything


@contextmanager
def serving(handler, mode, place=STREAMS["tcp"], *mixins, reactor=None, **members):
    """A running server of ``handler`` in ``mode`` at ``place``; ``members`` are those of its class."""
    kind = server_class(mode, place, *mixins, **members)
    with made(kind, place, handler, reactor) as server, running(server):
        yield server


class StoppedClock:
    """A clock whose time of day stands still; seconds pass all the same."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def time():
        return 189_302_400.25  # 1976-01-01 00:00 UTC


@contextmanager
def stopped_clock():
    """A reactor with a `StoppedClock`, closed at the end."""
    reactor = Reactor(clock=StoppedClock)
    try:
        yield reactor
    finally:
        reactor.close()


# Clients


class Client(socket.socket):
    """A client's socket, of which the children of this process keep no copy.

    A real client is in another process. Here, a child's copy would keep the connection open.
    """

    _all = weakref.WeakSet()
    _lock = threading.RLock()  # nobody forks while one is half made or half closed

    def __init__(self, family, kind):
        with self._lock:
            super().__init__(family, kind)
            self._all.add(self)
        self.settimeout(PATIENCE)

    def close(self):
        with self._lock:
            super().close()

    @classmethod
    def forked(cls):
        """In a child: close the copies."""
        for client in list(cls._all):
            client.close()
        cls._lock.release()


os.register_at_fork(before=Client._lock.acquire, after_in_parent=Client._lock.release, after_in_child=Client.forked)


def where(server):
    """The family and the address at which a client finds the server."""
    address = server.server_address
    if isinstance(address, tuple) and address[0].startswith("::ffff:"):
        return socket.AF_INET, (address[0].removeprefix("::ffff:"), address[1])
    return server.address_family, address


def connect(server):
    """A connected client of a stream server."""
    family, address = where(server)
    client = Client(family, socket.SOCK_STREAM)
    client.connect(address)
    if family != socket.AF_UNIX:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@contextmanager
def clients_of(server, number):
    """So many connected clients."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(server)) for _ in range(number)]


def receive(client, size):
    """Exactly ``size`` bytes, or as many as there are before the end."""
    received = bytearray()
    while len(received) < size and (piece := client.recv(min(size - len(received), 65_536))):
        received += piece
    return bytes(received)


def receive_lines(client, number):
    """The next ``number`` lines, or as many as there are before the end."""
    with client.makefile("rb") as reader:
        return [line for _ in range(number) if (line := reader.readline())]


def rest(client):
    """All bytes until the end of the stream."""
    return receive(client, sys.maxsize)


def ask(server, *pieces):
    """Send the pieces one by one, half-close, and return all that comes back."""
    with connect(server) as client:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        return rest(client)


def reset(client):
    """Break the connection: the peer gets an RST and no end of stream. (A Unix socket has no RST: it just ends.)"""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


_names = count(1)


def peer(server, named=True):
    """A client of a datagram server, connected to it. A Unix one has a name unless not ``named``."""
    family, address = where(server)
    client = Client(family, socket.SOCK_DGRAM)
    if family == socket.AF_UNIX and named:
        host = os.fsdecode(address).lstrip("\0").removesuffix("/socket")  # a directory, gone when the server is
        abstract = address[:1] in ("\0", b"\0")
        client.bind(f"\0{host}/{next(_names)}" if abstract else f"{host}/{next(_names)}")
    client.connect(address)
    return client


def exchange(server, *packets):
    """Send the packets one by one, each after the answer to the one before; return the answers."""
    with peer(server) as client:
        answers = []
        for packet in packets:
            client.send(packet)
            answers.append(client.recv(1 << 20))
        return answers


# What the servers' threads and children tell


class Journal:
    """Lines that any thread or child writes and the test reads. It is a pipe, so children's lines come too."""

    def __init__(self):
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._text = ""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self._reader)
        os.close(self._writer)

    def write(self, *words):
        """Add a line; short ones arrive whole, whoever else writes. What nobody reads does not fit any more."""
        with suppress(BlockingIOError):
            os.write(self._writer, (" ".join(map(str, words)) + "\n").encode())

    def lines(self):
        """All lines until now."""
        with suppress(BlockingIOError):
            while piece := os.read(self._reader, 65_536):
                self._text += piece.decode()
        return self._text.splitlines()

    def wait_for(self, number):
        """The lines when there are at least ``number`` of them."""
        wait_until(lambda: len(self.lines()) >= number, f"line {number} of the journal")
        return self.lines()


def journal_error(server, request, client_address):
    """A ``handle_error()`` that writes down what is being handled."""
    error = sys.exc_info()[1]
    server.journal.write("handle_error", type(error).__name__, error)


def resources():
    """What this process has of descriptors, threads and children, zombies included."""
    return len(os.listdir("/proc/self/fd")), threading.active_count(), children_of(os.getpid())


def children_of(pid):
    """The pids, as text, of a process's children, zombies included."""
    return {stat.parent.name for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == pid}


def _parent(stat):
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None  # it has gone in the meantime


# Specimens


class Reverse(StreamHandler):
    """Netstrings, each answered with its reverse; as states."""

    def handle(self):
        return Until(b":", limit=7), self.length

    def length(self, digits):
        return Exactly(int(digits[:-1]) + 1), self.payload

    def payload(self, data):
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
        return Until(b":", limit=7), self.length  # not self.handle(): a mix-in may go first


class Conversation(StreamHandler):
    """The same as one conversation."""

    async def handle(self):
        while True:
            digits = await Until(b":", limit=7)
            data = await Exactly(int(digits[:-1]) + 1)
            self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))


class Shout(StreamRequestHandler):
    """A blocking handler that may run in select mode: a line, in capitals."""

    request = Until(b"\n", limit=512)

    def handle(self):
        self.wfile.write(self.rfile.readline().upper())
