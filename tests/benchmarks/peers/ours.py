"""This project, in three spellings: states, states that make their wait once, and a coroutine."""

from __future__ import annotations

import socket
from functools import partial

from examples.proxy import Client
from handlers import DatagramHandler, Exactly, Packet, Some, StreamHandler, Until
from handlers.services import Echo
from reactor import SelectTCPServer, SelectUDPServer, TCPServer, ThreadingTCPServer
from tests.benchmarks.cases import OURS
from tests.benchmarks.messages import PAGE, check

from .registry import serves
from .standard import OneLine, serve

STATES, ONE_WAIT, COROUTINE = OURS
BULK = 1 << 18
"""Bytes that a handler of bytes takes at once: as many as the other loops read."""


def ours(service: str, name: str, server: type = SelectTCPServer):
    """A decorator: handlers of this class give the service."""

    def noted(handler):
        serves(service, name)(partial(serve, server, handler))
        return handler

    return noted


@ours("lines", STATES)
class LinesStates(StreamHandler):
    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.send(data)
        return self.handle()


@ours("lines", ONE_WAIT)
class LinesOneWait(StreamHandler):
    __slots__ = ()  # the class needs no state of its own
    until = Until(b"\n")

    def handle(self):
        return self.until, self.line

    def line(self, data):
        self.send(data)
        return self.until, self.line


@ours("lines", COROUTINE)
class LinesCoroutine(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Until(b"\n"))


ours("lines", "ours: Echo")(Echo)


class LinesHashed(LinesStates):
    """Each line is work for the handler, all of it in Python: the hash of FNV-1a, sixteen times."""

    def line(self, data):
        hashed = 2_166_136_261
        for byte in data * 16:
            hashed = (hashed ^ byte) * 16_777_619 & 0xFFFF_FFFF
        return super().line(data)


@ours("frames", STATES)
class FramesStates(StreamHandler):
    def handle(self):
        return Exactly(4), self.length

    def length(self, data):
        self.header = data
        return Exactly(int.from_bytes(data, "big")), self.payload

    def payload(self, data):
        self.send(self.header + data)
        return self.handle()


@ours("frames", ONE_WAIT)
class FramesOneWait(FramesStates):
    header_wait = Exactly(4)

    def handle(self):
        return self.header_wait, self.length


@ours("frames", COROUTINE)
class FramesCoroutine(StreamHandler):
    async def handle(self):
        while True:
            header = await Exactly(4)
            self.send(header + await Exactly(int.from_bytes(header, "big")))


@ours("heads", STATES)
class HeadsStates(StreamHandler):
    def handle(self):
        return Until(b"\r\n\r\n"), self.head

    def head(self, data):
        check(data)
        self.send(PAGE)
        return self.handle()


@ours("heads", ONE_WAIT)
class HeadsOneWait(HeadsStates):
    until = Until(b"\r\n\r\n")

    def handle(self):
        return self.until, self.head


@ours("heads", COROUTINE)
class HeadsCoroutine(StreamHandler):
    async def handle(self):
        while True:
            data = await Until(b"\r\n\r\n")
            check(data)
            self.send(PAGE)


@ours("bytes", STATES)
class BytesStates(StreamHandler):
    def handle(self):
        return Some(BULK), self.piece

    def piece(self, data):
        self.send(data)
        return self.handle()


@ours("bytes", ONE_WAIT)
class BytesOneWait(StreamHandler):
    some = Some(BULK)

    def handle(self):
        return self.some, self.piece

    def piece(self, data):
        self.send(data)
        return self.some, self.piece


@ours("bytes", COROUTINE)
class BytesCoroutine(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Some(BULK))


@ours("close", STATES)
class CloseStates(StreamHandler):
    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.send(data)


@ours("close", ONE_WAIT)
class CloseOneWait(CloseStates):
    until = Until(b"\n")

    def handle(self):
        return self.until, self.line


@ours("close", COROUTINE)
class CloseCoroutine(StreamHandler):
    async def handle(self):
        self.send(await Until(b"\n"))


@ours("datagrams", STATES, SelectUDPServer)
class DatagramsStates(DatagramHandler):
    def handle(self):
        return Packet(), self.packet

    def packet(self, data):
        self.send(data)


@ours("datagrams", ONE_WAIT, SelectUDPServer)
class DatagramsOneWait(DatagramsStates):
    wait = Packet()

    def handle(self):
        return self.wait, self.packet


@ours("datagrams", COROUTINE, SelectUDPServer)
class DatagramsCoroutine(DatagramHandler):
    async def handle(self):
        self.send(await Packet())


@serves("relay", COROUTINE)
def relay(listener: socket.socket, port: int) -> None:
    """The proxy of the examples."""
    serve(SelectTCPServer, type("Proxy", (Client,), {"address": ("127.0.0.1", port)}), listener)


ours("classes", "ours, threads", ThreadingTCPServer)(OneLine)
ours("classes", "ours, single", TCPServer)(OneLine)
