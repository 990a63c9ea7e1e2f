"""A handler without a reactor: in a unit test, and under asyncio.

A handler is pure, and so is the machine that runs it. The code that feeds the machine and sends its output is its
driver. Below is a driver for asyncio. It lacks only the waits that need more than bytes and time: ``Forked``,
``Threaded``, ``Connected``.

python3 examples/embed.py [PORT]        or, with the reactor: python3 -m reactor serve examples.embed:Upper
"""

import asyncio
import sys
import time
from contextlib import suppress

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Reset, StreamHandler, StreamMachine, Until, World


class Upper(StreamHandler):
    """Lines, in upper case."""

    timeout = 30.0

    async def handle(self) -> None:
        while True:
            line = await Until(b"\n", limit=512)
            self.send(line.upper())


def test_upper() -> None:
    machine = StreamMachine(Upper())
    for byte in b"one\ntw":
        machine.feed(bytes([byte]))
    assert machine.read() == b"ONE\n"
    assert machine.held_in == 2


class Driver(asyncio.Protocol):
    """Runs one handler over one transport of asyncio."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.machine = StreamMachine(Upper(), World(transport.get_extra_info("peername"), now=time.time))
        self.machine.advance()
        self.held_back = False
        self.timer: asyncio.Handle = asyncio.get_running_loop().call_soon(self.settle)

    def data_received(self, data: bytes) -> None:
        self.machine.feed(data)
        self.settle()

    def eof_received(self) -> bool:
        self.machine.end()
        self.settle()
        return True  # keep the transport open: the handler may send more

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(error, OSError):
            self.machine.abandon(Reset(error))
        self.timer.cancel()

    def pause_writing(self) -> None:
        self.held_back = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.held_back = False
        self.transport.resume_reading()
        self.settle()

    def expire(self) -> None:
        """The wait has timed out; after the end of the request: the client has not read the rest in time."""
        if self.machine.finished:
            self.transport.abort()  # close() would wait for the client for ever
        else:
            self.machine.expire()
            self.settle()

    def settle(self) -> None:
        """Send the machine's output, and set the timer for its wait; close the transport when it has finished."""
        machine = self.machine
        while not self.held_back and (output := machine.read()):
            self.transport.write(output)
        if machine.fresh:  # a wait has begun
            machine.fresh = False
            self.timer.cancel()
            self.timer = asyncio.get_running_loop().call_later(machine.patience, self.expire)
        if machine.finished and not machine.held_out:
            self.transport.close()


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Driver, "127.0.0.1", port)
    print("listening on {}:{}".format(*server.sockets[0].getsockname()), file=sys.stderr)
    await asyncio.Event().wait()


def main(port: str = "7014") -> None:
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
