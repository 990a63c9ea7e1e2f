"""A TCP proxy: two rows that feed each other.

The client's row opens a connection of its own, and each of the two goes on hearing only when the
other has sent what it was told: a slow reader on one side slows the other down, and the proxy
never holds more than one piece each way. The end of one direction is passed on, and the other
direction goes on; whatever else ends one side ends both.

python3 examples/proxy.py [PORT [HOST PORT]]        proxies 7010 to 127.0.0.1 7007, as it is
"""

from __future__ import annotations

import signal
import sys
from math import inf
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Connected, Delay, EndOfStream, Flushed, Some, StreamHandler, TimedOut
from reactor import SelectTCPServer

if TYPE_CHECKING:
    from handlers import Step


class Side(StreamHandler):
    """One of two connections: what it hears, the other says."""

    timeout = 300.0  # seconds; when both sides have been silent for so long, both end
    other: Side | None = None
    silent = False
    heard_all = False

    async def feed(self, other: Side) -> None:
        self.other = other
        while not self.heard_all:
            await Flushed(other)  # hear no faster than the other can say it
            try:
                other.send(await Some())
                self.silent = False
            except TimedOut:
                if other.silent:
                    raise
                self.silent = True
            except EndOfStream:
                other.send_eof()
                self.silent = self.heard_all = True
        if not other.heard_all:
            await Delay(inf)  # the other goes on, and ends both

    def finish(self) -> None:
        if self.other is not None:
            self.other.close()


class Target(Side):
    """The connection that the proxy has opened."""

    def __init__(self, client: Side) -> None:
        self.client = client

    def handle(self) -> Step:
        return self.feed(self.client)


class Client(Side):
    """The connection that the proxy has accepted."""

    address = ("127.0.0.1", 7007)

    def handle(self) -> Step:
        return Connected(self.address, Target(self), timeout=10), self.feed  # refused, it ends with this cause


def main(port: str = "7010", target_host: str = "127.0.0.1", target_port: str = "7007") -> None:
    class Proxy(Client):
        address = (target_host, int(target_port))

    with SelectTCPServer(("127.0.0.1", int(port)), Proxy) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
