"""The servers that the figures compare, of this project and of its peers; each echoes lines over TCP, or is a Redis.

``python3 -m tests.support.peers NAME`` serves one of them in a process of its own, which prints its port,
answers questions about itself on standard input, and ends when standard input does. A peer that can not be imported
is left out, so only the standard library is needed.
"""

from __future__ import annotations

import gc
import os
import selectors
import socket
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from importlib.util import find_spec

from tests.support import redis_peers as redis

Serve = Callable[[socket.socket], object]


# This project, in three spellings


def ours_states(listener: socket.socket) -> None:
    from handlers import StreamHandler, Until

    class Lines(StreamHandler):
        def handle(self):
            return Until(b"\n"), self.line

        def line(self, data):
            self.send(data)
            return self.handle()

    ours(listener, Lines)


def ours_states_one_wait(listener: socket.socket) -> None:
    from handlers import StreamHandler, Until

    class Lines(StreamHandler):
        __slots__ = ()  # the class needs no state of its own
        until = Until(b"\n")  # a wait is a value, so one is enough

        def handle(self):
            return self.until, self.line

        def line(self, data):
            self.send(data)
            return self.until, self.line

    ours(listener, Lines)


def ours_coroutine(listener: socket.socket) -> None:
    from handlers import StreamHandler, Until

    class Lines(StreamHandler):
        async def handle(self):
            while True:
                self.send(await Until(b"\n"))

    ours(listener, Lines)


def ours_some(listener: socket.socket) -> None:
    from handlers.services import Echo

    ours(listener, Echo)


def ours(listener: socket.socket, handler: type) -> None:
    from reactor import SelectTCPServer

    server = SelectTCPServer(listener.getsockname(), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


# The standard library


def bare_selectors(listener: socket.socket) -> None:
    """The least that a loop over ``selectors`` has to do."""
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
                sock.send(data)
            else:
                selector.unregister(sock)
                sock.close()


def thread_per_connection(listener: socket.socket) -> None:
    import socketserver

    class Lines(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(line)

    server = socketserver.ThreadingTCPServer(listener.getsockname(), Lines, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.daemon_threads = True
    server.serve_forever()


def asyncore_dispatcher(listener: socket.socket) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import asyncore

    class Echo(asyncore.dispatcher_with_send):
        def handle_read(self):
            self.send(self.recv(65_536))

    class Listener(asyncore.dispatcher):
        accepting = True

        def handle_accepted(self, sock, address):
            Echo(sock)

    Listener(listener)
    asyncore.loop(use_poll=True)


def asyncio_protocol(listener: socket.socket) -> None:
    import asyncio

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

    async def main():
        server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
        await server.serve_forever()

    asyncio.run(main())


def with_malloc_tuned(serve: Serve) -> Serve:
    """asyncio reads into 256 KiB, which glibc maps and unmaps for each read; ``mallopt(3)`` prevents that."""

    def served(listener: socket.socket) -> None:
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
            mallopt(-3, 1 << 22)  # M_MMAP_THRESHOLD
        serve(listener)

    return served


def asyncio_buffered(listener: socket.socket) -> None:
    """asyncio's way of reading without an allocation for each read."""
    import asyncio

    class Echo(asyncio.BufferedProtocol):
        def connection_made(self, transport):
            self.transport = transport
            self.buffer = memoryview(bytearray(65_536))

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, size):
            self.transport.write(bytes(self.buffer[:size]))

    async def main():
        server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
        await server.serve_forever()

    asyncio.run(main())


def asyncio_streams(listener: socket.socket) -> None:
    import asyncio

    async def lines(reader, writer):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    async def main():
        await (await asyncio.start_server(lines, sock=listener)).serve_forever()

    asyncio.run(main())


# Others, where they are installed


def on_uvloop(serve: Serve) -> Serve:
    def served(listener: socket.socket) -> None:
        import asyncio

        import uvloop

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        serve(listener)

    return served


def trio_streams(listener: socket.socket) -> None:
    import trio

    async def echo(stream):
        async for data in stream:
            await stream.send_all(data)

    async def main():
        await trio.serve_listeners(echo, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])

    trio.run(main)


def gevent_sockets(listener: socket.socket) -> None:
    import gevent.server
    import gevent.socket

    def echo(sock, address):
        while data := sock.recv(65_536):
            sock.sendall(data)

    gevent.server.StreamServer(gevent.socket.socket(fileno=listener.detach()), echo).serve_forever()


def tornado_iostream(listener: socket.socket) -> None:
    import asyncio

    import tornado.iostream
    import tornado.tcpserver

    class Lines(tornado.tcpserver.TCPServer):
        async def handle_stream(self, stream, address):
            try:
                while True:
                    await stream.write(await stream.read_until(b"\n"))
            except tornado.iostream.StreamClosedError:
                pass

    async def main():
        listener.setblocking(False)
        Lines().add_socket(listener)
        await asyncio.Event().wait()

    asyncio.run(main())


def twisted_protocol(listener: socket.socket) -> None:
    from twisted.internet import protocol, reactor

    class Echo(protocol.Protocol):
        def dataReceived(self, data):  # noqa: N802
            self.transport.write(data)

    listener.setblocking(False)
    reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, protocol.Factory.forProtocol(Echo))
    reactor.run()


SERVERS: dict[str, tuple[Serve, str]] = {
    "ours: states": (ours_states, "reactor"),
    "ours: states, one wait": (ours_states_one_wait, "reactor"),
    "ours: coroutine": (ours_coroutine, "reactor"),
    "ours: Echo": (ours_some, "reactor"),
    "bare selectors loop": (bare_selectors, "selectors"),
    "asyncio Protocol": (asyncio_protocol, "asyncio"),
    "asyncio Protocol, malloc tuned": (with_malloc_tuned(asyncio_protocol), "asyncio"),
    "asyncio BufferedProtocol": (asyncio_buffered, "asyncio"),
    "asyncio streams": (asyncio_streams, "asyncio"),
    "asyncio streams, malloc tuned": (with_malloc_tuned(asyncio_streams), "asyncio"),
    "uvloop Protocol": (on_uvloop(asyncio_protocol), "uvloop"),
    "uvloop BufferedProtocol": (on_uvloop(asyncio_buffered), "uvloop"),
    "uvloop streams": (on_uvloop(asyncio_streams), "uvloop"),
    "socketserver, threads": (thread_per_connection, "socketserver"),
    "asyncore": (asyncore_dispatcher, "asyncore"),
    "trio": (trio_streams, "trio"),
    "gevent": (gevent_sockets, "gevent"),
    "tornado": (tornado_iostream, "tornado"),
    "twisted": (twisted_protocol, "twisted"),
}
"""For each server a function that serves a listening socket, and the module that it needs."""

REDIS: dict[str, tuple[Serve, str]] = {
    "ours: Redis, states": (redis.ours_states, "reactor"),
    "ours: Redis, coroutine": (redis.ours_coroutine, "reactor"),
    "Redis, asyncio BufferedProtocol": (redis.asyncio_protocol, "asyncio"),
    "Redis, asyncio streams": (redis.asyncio_streams, "asyncio"),
    "Redis, asyncio streams, malloc tuned": (with_malloc_tuned(redis.asyncio_streams), "asyncio"),
    "Redis, uvloop BufferedProtocol": (on_uvloop(redis.asyncio_protocol), "uvloop"),
    "Redis, uvloop streams": (on_uvloop(redis.asyncio_streams), "uvloop"),
}
"""The same for the service of `redis_peers`."""


def available(servers: dict[str, tuple[Serve, str]]) -> list[str]:
    """The names of the servers that can run here."""
    return [name for name, (_, module) in servers.items() if find_spec(module) is not None]


def answer_questions() -> None:
    """Answer each question on standard input on standard output; end the process at the end of the input."""
    for question in sys.stdin:
        if question == "cpu\n":
            print(time.process_time(), flush=True)
        elif question == "memory\n":
            gc.collect()
            print(tracemalloc.get_traced_memory()[0], flush=True)
    os._exit(0)


def main(name: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=answer_questions, daemon=True).start()
    {**SERVERS, **REDIS}[name][0](listener)


if __name__ == "__main__":
    main(sys.argv[1])
