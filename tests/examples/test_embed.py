"""`examples/embed.py`: a handler under asyncio."""

import asyncio
import runpy
import socket
from contextlib import closing

from tests import ROOT
from tests.support.examples import MIB, PATIENCE, read_all, read_until, reset, running, send_until_held_back


def test_embed_runs_under_asyncio() -> None:
    with running("embed") as example, example.connect() as client, example.connect() as other:
        for byte in b"one\n":
            client.sendall(bytes([byte]))
        other.sendall(b"two\nthree\nfo")
        assert read_until(client, b"\n") == b"ONE\n"
        assert read_until(other, b"THREE\n") == b"TWO\nTHREE\n"
        reset(other)
        lines = b"abcdefghijklmno\n" * 10_000
        assert example.ask(lines + b"the rest") == lines.upper()
        assert example.ask(b"x" * 600) == b""
        client.sendall(b"half a li")
        example.end()
        assert read_all(client) == b""


def test_embed_stops_reading_from_a_client_that_does_not_read() -> None:
    with running("embed") as example, example.connect() as client:
        data = (b"x" * 255 + b"\n") * (MIB // 4)
        taken = send_until_held_back(client, data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == data[: taken - taken % 256].upper()


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop of asyncio whose time the test sets."""

    passed = 0.0

    def time(self) -> float:
        return super().time() + self.passed


def test_embed_has_a_timeout_for_each_line() -> None:
    example = runpy.run_path(str(ROOT / "examples" / "embed.py"))
    loop = SimulatedLoop()

    async def talk() -> None:
        async with await loop.create_server(example["Driver"], "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(3):
                writer.write(b"line\n")
                assert await reader.readline() == b"LINE\n"
                loop.passed += 0.75 * example["Upper"].timeout
            loop.passed += 0.5 * example["Upper"].timeout
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    with closing(loop):
        loop.run_until_complete(asyncio.wait_for(talk(), 10 * PATIENCE))


def test_embed_closes_the_connection_of_a_client_that_does_not_read() -> None:
    example = runpy.run_path(str(ROOT / "examples" / "embed.py"))
    loop = SimulatedLoop()
    lost = []

    class Driver(example["Driver"]):  # type: ignore[name-defined,misc]
        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            lost.append((self.machine.finished, self.transport.is_closing()))

    async def talk() -> None:
        async with await loop.create_server(Driver, "127.0.0.1", 0) as server:
            with socket.create_connection(server.sockets[0].getsockname()) as client:
                client.setblocking(False)
                quiet = 0
                while quiet < 100:  # until no more is taken
                    try:
                        client.send((b"x" * 255 + b"\n") * 256)
                        quiet = 0
                    except BlockingIOError:
                        quiet += 1
                    await asyncio.sleep(0.001)
                loop.passed += 1.5 * example["Upper"].timeout  # the time of the wait
                await asyncio.sleep(0.01)
                assert lost == []
                loop.passed += 1.5 * example["Upper"].timeout  # and the client's, to read the rest
                while not lost:
                    await asyncio.sleep(0.001)

    with closing(loop):
        loop.run_until_complete(asyncio.wait_for(talk(), 20 * PATIENCE))
    assert lost == [(True, True)]


def test_embed_runs_in_a_unit_test() -> None:
    runpy.run_path(str(ROOT / "examples" / "embed.py"))["test_upper"]()
