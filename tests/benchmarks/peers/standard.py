"""The standard library: a loop over ``selectors``, `socketserver`, protocols of asyncio (also on uvloop), asyncore."""

from __future__ import annotations

import asyncio
import selectors
import socket
import socketserver
import warnings
from functools import partial

from tests.benchmarks.messages import PAGE, check

from .registry import Serve, serves


@serves("lines", "bare selectors loop")
@serves("bytes", "bare selectors loop")
def bare_selectors(listener: socket.socket) -> None:
    """The least that a loop over ``selectors`` has to do in Python."""
    selector = selectors.DefaultSelector()
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            if sock is listener:
                sock, _ = listener.accept()
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
            elif data := sock.recv(65_536):
                sock.setblocking(True)
                sock.sendall(data)
                sock.setblocking(False)
            else:
                selector.unregister(sock)
                sock.close()


# socketserver


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


class OneLine(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())


class Pieces(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65_536):
            self.request.sendall(data)


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(data, self.client_address)


def serve(server: type, handler: type, listener: socket.socket) -> None:
    """Serve with a class of `socketserver`, or of its successor."""
    derived = type(server.__name__, (server,), {"daemon_threads": True, "block_on_close": False})
    made = derived(listener.getsockname(), handler, bind_and_activate=False)
    made.socket.close()
    made.socket = listener
    made.serve_forever()


serves("lines", "socketserver, threads")(partial(serve, socketserver.ThreadingTCPServer, Lines))
serves("bytes", "socketserver, threads")(partial(serve, socketserver.ThreadingTCPServer, Pieces))
serves("datagrams", "socketserver")(partial(serve, socketserver.UDPServer, Datagram))
serves("classes", "socketserver, threads")(partial(serve, socketserver.ThreadingTCPServer, OneLine))
serves("classes", "socketserver, single")(partial(serve, socketserver.TCPServer, OneLine))


# Protocols of asyncio


def on_uvloop(serve: Serve, *arguments: object) -> None:
    import uvloop

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    serve(*arguments)


def on_both(service: str, kind: str):
    """A decorator: the function serves on the loops of asyncio and of uvloop."""

    def noted(serve):
        serves(service, f"asyncio {kind}")(serve)
        serves(service, f"uvloop {kind}", "uvloop")(partial(on_uvloop, serve))
        return serve

    return noted


def protocol(service: str, kind: str = "Protocol"):
    """A decorator: the `asyncio.Protocol` gives the service, on both loops."""

    def noted(made):
        async def main(listener):
            server = await asyncio.get_running_loop().create_server(made, sock=listener)
            await server.serve_forever()

        on_both(service, kind)(lambda listener: asyncio.run(main(listener)))
        return made

    return noted


@protocol("lines")
@protocol("bytes")
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


@protocol("lines", "BufferedProtocol")
@protocol("bytes", "BufferedProtocol")
class Buffered(asyncio.BufferedProtocol):
    """asyncio's way of reading without an allocation for each read."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = memoryview(bytearray(65_536))

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, size):
        self.transport.write(bytes(self.buffer[:size]))


class Holding(asyncio.Protocol):
    """A protocol that keeps its buffer by hand; a derived one cuts whole messages from it."""

    def connection_made(self, transport):
        self.transport = transport
        self.held = b""

    def data_received(self, data):
        self.held += data
        self.cut()


@protocol("frames")
class Frames(Holding):
    def cut(self):
        held, start, answers = self.held, 0, []
        while len(held) - start >= 4:
            end = start + 4 + int.from_bytes(held[start : start + 4], "big")
            if end > len(held):
                break
            answers.append(held[start:end])
            start = end
        self.held = held[start:]
        if answers:
            self.transport.write(b"".join(answers))


@protocol("heads")
class Heads(Holding):
    def cut(self):
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head, self.held = self.held[: end + 4], self.held[end + 4 :]
            check(head)
            self.transport.write(PAGE)


@protocol("close")
class Close(Holding):
    def cut(self):
        if b"\n" in self.held:
            self.transport.write(self.held)
            self.transport.close()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


@on_both("datagrams", "DatagramProtocol")
def datagrams(listener: socket.socket) -> None:
    async def main():
        await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, sock=listener)
        await asyncio.Event().wait()

    asyncio.run(main())


class Side(asyncio.Protocol):
    """One of the two connections of a relay: what it receives, the other sends."""

    other: Side | None = None

    def __init__(self, port: int | None = None):
        self.port = port

    def connection_made(self, transport):
        self.transport = transport
        self.early = []  # what comes before the other side is there; uvloop resumes what is paused here
        if self.port is not None:
            self.opening = asyncio.ensure_future(self.open())

    async def open(self):
        make = partial(asyncio.get_running_loop().create_connection, host="127.0.0.1", port=self.port)
        _, self.other = await make(Side)
        self.other.other = self
        self.other.transport.writelines(self.early)

    def data_received(self, data):
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def pause_writing(self):
        self.other.transport.pause_reading()

    def resume_writing(self):
        self.other.transport.resume_reading()

    def connection_lost(self, error):
        if self.other is not None:
            self.other.transport.close()


@on_both("relay", "Protocol")
def relay(listener: socket.socket, port: int) -> None:
    async def main():
        server = await asyncio.get_running_loop().create_server(partial(Side, port), sock=listener)
        await server.serve_forever()

    asyncio.run(main())


# asyncore: the package pyasyncore


def dispatching(listener: socket.socket, methods: dict[str, object]) -> None:
    """Serve connections with a dispatcher that has these methods."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import asyncore

    made = type("Made", (asyncore.dispatcher_with_send,), methods)

    class Listener(asyncore.dispatcher):
        accepting = True

        def handle_accepted(self, sock, address):
            made(sock)

    Listener(listener)
    asyncore.loop(use_poll=True)


@serves("lines", "pyasyncore", "asyncore")
@serves("bytes", "pyasyncore", "asyncore")
def asyncore_echo(listener: socket.socket) -> None:
    def handle_read(self):
        self.send(self.recv(65_536))

    dispatching(listener, {"handle_read": handle_read})


@serves("close", "pyasyncore", "asyncore")
def asyncore_close(listener: socket.socket) -> None:
    def handle_read(self):
        self.socket.send(self.recv(65_536))
        self.close()

    dispatching(listener, {"handle_read": handle_read})
