"""Streams of asyncio, on its own loop and on uvloop."""

from __future__ import annotations

import asyncio

from tests.benchmarks.messages import PAGE, check

from . import standard


def streams(service: str):
    """A decorator: the coroutine serves connections of this service, on both loops."""

    def noted(serve):
        async def guarded(reader, writer):
            try:
                await serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            writer.close()

        async def main(listener):
            await (await asyncio.start_server(guarded, sock=listener)).serve_forever()

        standard.on_both(service, "streams")(lambda listener: asyncio.run(main(listener)))
        return serve

    return noted


@streams("lines")
async def lines(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


@streams("frames")
async def frames(reader, writer):
    while True:
        header = await reader.readexactly(4)
        writer.write(header + await reader.readexactly(int.from_bytes(header, "big")))
        await writer.drain()


@streams("heads")
async def heads(reader, writer):
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        check(head)
        writer.write(PAGE)
        await writer.drain()


@streams("bytes")
async def pieces(reader, writer):
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


@streams("close")
async def close(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
