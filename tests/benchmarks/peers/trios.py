"""trio."""

from __future__ import annotations

import socket

from .registry import serves


def serve(listener: socket.socket, handle) -> None:
    import trio

    async def guarded(stream):
        try:
            await handle(stream)
        except trio.BrokenResourceError:
            pass

    async def main():
        await trio.serve_listeners(guarded, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])

    trio.run(main)


@serves("lines", "trio", "trio")
@serves("bytes", "trio", "trio")
def echo(listener: socket.socket) -> None:
    async def handle(stream):
        async for data in stream:
            await stream.send_all(data)

    serve(listener, handle)


@serves("close", "trio", "trio")
def close(listener: socket.socket) -> None:
    async def handle(stream):
        await stream.send_all(await stream.receive_some(65_536))
        await stream.aclose()

    serve(listener, handle)


@serves("datagrams", "trio", "trio")
def datagrams(listener: socket.socket) -> None:
    import trio

    async def main():
        sock = trio.socket.from_stdlib_socket(listener)
        while True:
            await sock.sendto(*await sock.recvfrom(65_536))

    trio.run(main)
