"""Tornado's ``IOStream``."""

from __future__ import annotations

import asyncio
import socket

from tests.benchmarks.messages import PAGE, check

from .registry import serves


def tornado(service: str):
    """A decorator: the coroutine serves streams of this service."""

    def noted(handle):
        def serve(listener: socket.socket) -> None:
            import tornado.iostream
            import tornado.tcpserver

            class Server(tornado.tcpserver.TCPServer):
                async def handle_stream(self, stream, address):
                    try:
                        await handle(stream)
                    except tornado.iostream.StreamClosedError:
                        pass
                    stream.close()

            async def main():
                listener.setblocking(False)
                Server().add_socket(listener)
                await asyncio.Event().wait()

            asyncio.run(main())

        serves(service, "Tornado IOStream", "tornado")(serve)
        return handle

    return noted


@tornado("lines")
async def lines(stream):
    while True:
        await stream.write(await stream.read_until(b"\n"))


@tornado("frames")
async def frames(stream):
    while True:
        header = await stream.read_bytes(4)
        await stream.write(header + await stream.read_bytes(int.from_bytes(header, "big")))


@tornado("heads")
async def heads(stream):
    while True:
        head = await stream.read_until(b"\r\n\r\n")
        check(head)
        await stream.write(PAGE)


@tornado("bytes")
async def pieces(stream):
    while True:
        await stream.write(await stream.read_bytes(65_536, partial=True))


@tornado("close")
async def close(stream):
    await stream.write(await stream.read_until(b"\n"))
