"""Servers that run in a thread, their clients, a journal, and simple handlers.

A server is made for a mode and a place. Every wait has a condition and one bound, `PATIENCE`, which a test that passes
does not come near.
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
from typing import NamedTuple

import reactor as package
from handlers import Exactly, StreamHandler, StreamRequestHandler, Until
from reactor import Reactor

PATIENCE = 10.0
"""Seconds after which a wait fails."""

MODES = {"select": "Select", "plain": "", "fork": "Forking", "thread": "Threading"}
"""The prefix that the names of the server classes have in each mode."""


class Place(NamedTuple):
    """A kind of socket: the suffix of the names of its server classes, its family, and where to bind."""

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
    """Wait until ``condition()`` is true; returns its value. Fails after `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE} seconds"
        time.sleep(0.002)
    return result


def bounded(call, *arguments):
    """Make the call in a thread; returns its result or raises its exception. Fails after `PATIENCE` seconds."""
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
    """The server class for the mode and the place, extended by mix-ins and members."""
    base = getattr(package, MODES[mode] + place.ending)
    return type(base.__name__, (*mixins, base), {"address_family": place.family, **members})


@contextmanager
def made(kind, place, handler, reactor=None):
    """A server of the class ``kind`` that does not run yet; it is closed at the end."""
    with tempfile.TemporaryDirectory() as directory:
        address = place.host.format(directory=directory)
        server = kind(address if place.family == socket.AF_UNIX else (address, 0), handler, reactor=reactor)
        try:
            yield server
        finally:
            bounded(server.server_close)


@contextmanager
def running(server, poll_interval=0.5):
    """Serve in a thread until the end. An exception of ``serve_forever()`` is raised here."""
    ends = []

    def serve():
        try:
            ends.append(server.serve_forever(poll_interval))
        except BaseException as error:
            ends.append(error)

    assert server.reactor  # makes the reactor, so that a test may use its table at once
    thread = threading.Thread(target=serve, name="server", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        bounded(server.shutdown)
        thread.join(PATIENCE)
        if ends != [None]:
            raise ends[0]  # the cause of a failure of the test, if it has failed


@contextmanager
def serving(handler, mode, place=STREAMS["tcp"], *mixins, reactor=None, **members):
    """A running server of ``handler`` in ``mode`` at ``place``; ``members`` are those of its class."""
    kind = server_class(mode, place, *mixins, **members)
    with made(kind, place, handler, reactor) as server, running(server):
        yield server


class StoppedClock:
    """A clock whose time of day stands still, and whose monotonic time passes."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def time():
        return 189_302_400.25  # 1976-01-01 00:00 UTC


@contextmanager
def stopped_clock():
    """A reactor with a `StoppedClock`; it is closed at the end."""
    reactor = Reactor(clock=StoppedClock)
    try:
        yield reactor
    finally:
        reactor.close()


# Clients


class Client(socket.socket):
    """A socket of a client, which children of this process close.

    A real client is in another process. Here, the copy in a child would keep the connection open.
    """

    _all = weakref.WeakSet()
    _lock = threading.RLock()  # held during a fork, so that no socket is half made or half closed in the child

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
    """The family and the address to which a client connects."""
    address = server.server_address
    if isinstance(address, tuple) and address[0].startswith("::ffff:"):
        return socket.AF_INET, (address[0].removeprefix("::ffff:"), address[1])
    return server.address_family, address


def connect(server):
    """A connected client of a stream server."""
    family, address = where(server)
    with ExitStack() as unless_connected:
        client = unless_connected.enter_context(Client(family, socket.SOCK_STREAM))
        client.connect(address)
        if family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unless_connected.pop_all()
    return client


@contextmanager
def clients_of(server, number):
    """``number`` connected clients."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(server)) for _ in range(number)]


def receive(client, size):
    """Receive ``size`` bytes, or fewer if the stream ends."""
    received = bytearray()
    while len(received) < size and (piece := client.recv(min(size - len(received), 65_536))):
        received += piece
    return bytes(received)


def receive_lines(client, number):
    """Receive ``number`` lines, or fewer if the stream ends."""
    with client.makefile("rb") as reader:
        return [line for _ in range(number) if (line := reader.readline())]


def rest(client):
    """Receive all bytes up to the end of the stream."""
    return receive(client, sys.maxsize)


def rest_of_cut(client):
    """Receive all bytes up to the reset with which a server ends output that it has dropped a part of."""
    received = bytearray()
    try:
        while piece := client.recv(65_536):
            received += piece
    except ConnectionResetError:
        return bytes(received)
    raise AssertionError(f"a FIN after {len(received)} bytes")


def ask(server, *pieces):
    """Send the pieces one by one and half-close; returns the whole answer."""
    with connect(server) as client:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        return rest(client)


def reset(client):
    """Close the connection with an RST. (A Unix socket has none: its stream just ends.)"""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


_names = count(1)


def peer(server, named=True):
    """A client that is connected to a datagram server. ``named``: whether a Unix socket is bound."""
    family, address = where(server)
    client = Client(family, socket.SOCK_DGRAM)
    if family == socket.AF_UNIX and named:
        host = (
            os.fsdecode(address).lstrip("\0").removesuffix("/socket")
        )  # the directory of the server, which is removed with it
        abstract = address[:1] in ("\0", b"\0")
        client.bind(f"\0{host}/{next(_names)}" if abstract else f"{host}/{next(_names)}")
    client.connect(address)
    return client


def exchange(server, *packets):
    """Send the packets, each after the answer to the one before; returns the answers."""
    with peer(server) as client:
        answers = []
        for packet in packets:
            client.send(packet)
            answers.append(client.recv(1 << 20))
        return answers


# Reports of threads and children


class Journal:
    """Lines that any thread or child writes and the test reads. It is a pipe, so that children can write too."""

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
        """Add a short line; it is written whole (pipe(7)). A line is dropped when the pipe is full."""
        with suppress(BlockingIOError):
            os.write(self._writer, (" ".join(map(str, words)) + "\n").encode())

    def lines(self):
        """All lines so far."""
        with suppress(BlockingIOError):
            while piece := os.read(self._reader, 65_536):
                self._text += piece.decode()
        return self._text.splitlines()

    def wait_for(self, number):
        """The lines when there are at least ``number`` of them."""
        wait_until(lambda: len(self.lines()) >= number, f"line {number} of the journal")
        return self.lines()


def journal_error(server, request, client_address):
    """A ``handle_error()`` that writes the exception to the journal."""
    error = sys.exc_info()[1]
    server.journal.write("handle_error", type(error).__name__, error)


# Specimens


def netstring(text):
    """The text as a netstring."""
    return b"%d:%b," % (len(text), text)


class Reverse(StreamHandler):
    """Netstrings, each answered with its reverse; as states."""

    def handle(self):
        return Until(b":", limit=7), self.length

    def length(self, digits):
        return Exactly(int(digits[:-1]) + 1), self.payload

    def payload(self, data):
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
        return Until(b":", limit=7), self.length  # not self.handle(), which a mix-in may override


class Conversation(StreamHandler):
    """The same as a coroutine."""

    async def handle(self):
        while True:
            digits = await Until(b":", limit=7)
            data = await Exactly(int(digits[:-1]) + 1)
            self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))


class Shout(StreamRequestHandler):
    """A blocking handler with a framing: answers a line in capitals."""

    request = Until(b"\n", limit=512)

    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


class Unframed(Shout):
    """The same without a framing: where the mode lets it block, it has its connection for itself."""

    request = None


class Polite(StreamHandler):
    """Echoes two lines; sends the name of a cause."""

    async def handle(self):
        self.send(await Until(b"\n"))
        self.send(await Until(b"\n"))

    def interrupted(self, cause):
        self.send(type(cause).__name__.encode())
