"""A server in select mode that the test itself steps, so nothing happens between two lines of a test.

Sockets that fail, count or dribble are real ones, of a subclass with which the server wraps accepted connections.
"""

import socket
import sys
from contextlib import contextmanager

import reactor as package
from handlers import StreamHandler, Until
from reactor import Reactor
from reactor.loop.selecting import EVENT_HANGUP, DefaultSelector
from tests.support.loops import until
from tests.support.serving import STREAMS, connect, made

SMALL = 65_536  # bytes of a socket buffer; with much smaller ones TCP waits for its own timers

PATTERN = bytes(range(251)) * 20_000
"""Five megabytes in which every place differs from its neighbours."""
TCP = STREAMS["tcp"]


class Bench:
    """A server that the test steps, its errors, its selector and its clients."""

    def __init__(self, server, selector):
        self.server = server
        self.reactor = server.reactor
        self.table = server.reactor.table
        self.clock = server.reactor.clock
        self.selector = selector
        self.clients = []

    @property
    def errors(self):
        """The exceptions for which `handle_error` was called, in order."""
        return self.server.errors

    def connect(self, rcvbuf=None):
        """A connected client, whose row is the last in the table. ``rcvbuf`` is the size of its receive buffer."""
        rows = set(self.table)
        client = connect(self.server)
        if rcvbuf is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.clients.append(client)
        until(self.reactor, lambda: set(self.table) - rows)
        self.rest()
        return client

    @property
    def row(self):
        """The row of the client that came last."""
        return list(self.table)[-1]

    def rest(self):
        """Step until nothing is left to do."""
        for _ in range(10_000):
            if self.reactor.timeout() != 0 and not self.selector.select(0):
                return
            self.reactor.step(0)
        raise AssertionError("the loop does not come to rest")

    def until(self, condition):
        until(self.reactor, condition)

    def take(self, client, size):
        """Exactly ``size`` bytes of what the server sends."""
        taken = bytearray()
        self.until(lambda: drain(client, taken, size) or len(taken) == size)
        assert len(taken) == size, "the server ended the stream"
        return bytes(taken)

    def last_words(self, client):
        """All bytes until the server ends the stream; a reset counts as an end."""
        taken = bytearray()
        self.until(lambda: drain(client, taken, sys.maxsize))
        return bytes(taken)

    def give(self, client, data):
        """Send all of ``data``."""
        client.setblocking(False)
        left = memoryview(data)

        def given():
            nonlocal left
            try:
                while left:
                    left = left[client.send(left) :]
            except BlockingIOError:
                return False
            return True

        self.until(given)

    def flood(self, client):
        """Send until neither the kernel nor the loop takes more; returns the bytes sent."""
        client.setblocking(False)
        sent, before = bytearray(), -1
        while len(sent) > before:
            before = len(sent)
            try:
                while True:
                    start = len(sent) % 251
                    sent += PATTERN[start:][: client.send(PATTERN[start : start + 65_536])]
            except BlockingIOError:
                self.rest()
        return bytes(sent)

    def interest(self, row):
        """What the selector watches the row's socket for, but for a hang-up."""
        key = self.selector.get_map().get(row.socket)
        return 0 if key is None else key.events & ~EVENT_HANGUP


def drain(client, taken, size):
    """Add the input of the client to ``taken``, up to ``size`` bytes in all; returns whether the stream has ended."""
    client.setblocking(False)
    try:
        while len(taken) < size:
            piece = client.recv(min(size - len(taken), 1 << 16))
            if not piece:
                return True
            taken += piece
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return False


@contextmanager
def bench(handler, place=TCP, wrap=None, sndbuf=None, clock=None, reactor_class=Reactor, selector=DefaultSelector):
    """A `Bench` of a handler. ``wrap`` is the class of accepted sockets, ``sndbuf`` the size of their send buffers."""

    def get_request(self):
        sock, peer = kind.get_request(self)
        if sndbuf is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        return (sock if wrap is None else wrap(fileno=sock.detach())), peer

    def handle_error(self, request, client_address):
        self.errors.append(sys.exc_info()[1])

    selector = selector()
    reactor = reactor_class(selector, clock)
    kind = getattr(package, "Select" + place.ending)
    members = {"errors": [], "get_request": get_request, "handle_error": handle_error, "address_family": place.family}
    with made(type(kind.__name__, (kind,), members), place, handler, reactor) as server:
        here = Bench(server, selector)
        try:
            yield here
        finally:
            for client in here.clients:
                client.close()
            reactor.close()


def in_order(events):
    """A policy: rows in the order of their arrival."""
    return sorted(events, key=lambda event: getattr(event[0].data, "serial", 0))


class Counting(socket.socket):
    """A socket that counts the calls of the loop."""

    recvs = sends = shutdowns = 0

    def recv(self, size, flags=0):
        self.recvs += 1
        return super().recv(size, flags)

    def send(self, data, flags=0):
        self.sends += 1
        return super().send(data, flags)

    def shutdown(self, how):
        self.shutdowns += 1
        super().shutdown(how)


class Lines(StreamHandler):
    """Sends each line back."""

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.send(data)
        return self.handle()


class Noting(StreamHandler):
    """Keeps its instances, the causes of each, and how often `finish` was called."""

    made: list

    def __init_subclass__(cls):
        cls.made = []

    def setup(self):
        self.causes = []
        self.finished = 0
        self.made.append(self)

    def interrupted(self, cause):
        self.causes.append(cause)

    def finish(self):
        self.finished += 1


def broken(handler):
    """The only cause of the only instance of ``handler``."""
    (instance,) = handler.made
    (cause,) = instance.causes
    assert instance.finished == 1
    return cause
