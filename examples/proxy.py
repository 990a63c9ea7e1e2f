"""A TCP proxy: two rows, each of which sends what the other receives.

The client's row opens a connection to the target. Each row reads on only when the output of the other has drained, so a
slow reader on one side slows the other side down, and the proxy holds at most one piece in each direction. A half-close
is passed on, and the other direction goes on. Any other end of one side resets the other: a FIN would say that it has
got all.

python3 examples/proxy.py [PORT [HOST PORT]]        by default from port 7010 to 127.0.0.1 port 7007
"""

from __future__ import annotations

import signal
import sys
from math import inf
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Connected, Delay, Relayed, StreamHandler
from reactor import SelectTCPServer

if TYPE_CHECKING:
    from handlers import Step


class Side(StreamHandler):
    """One of the two connections: what it receives, the other sends."""

    timeout = 300.0  # seconds; when both sides have been silent for so long, both end
    other: Side | None = None
    heard_all = False

    async def feed(self, other: Side) -> None:
        self.other = other
        await Relayed(other)
        other.send_eof()
        self.heard_all = True
        if not other.heard_all:
            await Delay(inf)  # the other side goes on; when it ends, it closes this one

    def finish(self) -> None:
        if self.other is None:
            return
        if self.heard_all:
            self.other.close()
        else:
            self.other.abort()


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
        return Connected(self.address, Target(self), timeout=10), self.feed  # if it fails, this request ends


def main(port: str = "7010", target_host: str = "127.0.0.1", target_port: str = "7007") -> None:
    class Proxy(Client):
        address = (target_host, int(target_port))

    with SelectTCPServer(("127.0.0.1", int(port)), Proxy) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
