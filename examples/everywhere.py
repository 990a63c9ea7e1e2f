"""A service for every host that has Python: it sends each line of a stream, and each packet, back in upper case.

python3 examples/everywhere.py [PORT]        then, elsewhere: nc 127.0.0.1 7010, or nc -u

It uses no thread, fork or signal, only a selector and sockets. `wasi/` runs this file on WASI, `pyodide/` on
Emscripten, where the host calls the loop's steps.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import DatagramHandler, Packet, StreamHandler, Until
from reactor import Reactor, SelectTCPServer, SelectUDPServer

if TYPE_CHECKING:
    from handlers import Step

LINE, PACKET = Until(b"\n", limit=512), Packet()


class Upper(StreamHandler):
    timeout = 3.0  # seconds for a line to come, and for the client to read the last output

    def handle(self) -> Step:
        return LINE, self.answer

    def answer(self, line: bytes) -> Step:
        self.send(line.upper())
        return LINE, self.answer


class UpperDatagram(DatagramHandler):
    async def handle(self) -> None:
        self.send((await PACKET).upper())


def serve(loop: Reactor, host: str, port: int) -> tuple[str, int]:
    """Serve streams, and packets if the host has datagram sockets, on ``loop``. Returns the address."""
    server = SelectTCPServer((host, port), Upper, reactor=loop)
    address: tuple[str, int] = server.server_address
    if hasattr(loop.network, "SOCK_DGRAM"):
        SelectUDPServer(address, UpperDatagram, reactor=loop)
    return address


def main(port: str = "7010") -> None:
    with Reactor() as loop:
        print("listening on {}:{}".format(*serve(loop, "127.0.0.1", int(port))), file=sys.stderr, flush=True)
        loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
