"""A blocking handler over the bytes held, and over a real socket."""

import socket

import pytest

from handlers import DatagramMachine, StreamMachine, StreamRequestHandler, Until, World
from handlers.blocking.buffered import buffered
from tests.support.strategies import converse

PEER = ("192.0.2.7", 4711)


class Server:
    """What a blocking handler uses of its server."""

    server_address = ("192.0.2.1", 79)


def machine_for(blocking, packets=False):
    """The machine that runs the blocking class over bytes held in memory."""
    kind = DatagramMachine if packets else StreamMachine
    return kind(buffered(blocking, packets)(), World(PEER, Server()))


def ask_held(blocking, data):
    """The output of the class for ``data``, over the bytes held."""
    return converse(machine_for(blocking), [data])


def ask_socket(blocking, data):
    """The output of the class for ``data``, over a real socket that has all of it before the class runs."""
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(10)
        near.sendall(data)
        near.shutdown(socket.SHUT_WR)
        blocking(far, PEER, Server())
        if far.fileno() >= 0:  # unread input would reset the connection
            far.settimeout(10)
            assert len(b"".join(iter(lambda: far.recv(65_536), b""))) <= len(data)
            far.close()
        return b"".join(iter(lambda: near.recv(65_536), b""))


both = pytest.mark.parametrize("ask", [ask_held, ask_socket])
REQUEST = Until(b"\r\n", limit=12)


def answer(line):
    return b"no plan for " + line.upper()


class Finger(StreamRequestHandler):
    """One question, one answer: blocking."""

    request = REQUEST

    def handle(self):
        self.wfile.write(answer(self.rfile.read()))
