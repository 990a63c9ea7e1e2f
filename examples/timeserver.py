"""Time services on one loop: servers of different address families, socket types and modes.

python3 examples/timeserver.py [PORT]        then: nc 127.0.0.1 7013
"""

import signal
import sys
from contextlib import ExitStack, closing
from tempfile import TemporaryDirectory
from typing import Any

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Handler
from handlers.services import Daytime, Time, TimeDatagram
from reactor import ForkingUnixStreamServer, Reactor, SelectTCPServer, TCPServer, ThreadingUDPServer


def main(port: str = "7013") -> None:
    with ExitStack() as stack:
        loop = stack.enter_context(closing(Reactor()))
        signal.signal(signal.SIGINT, lambda *_: loop.stop())
        folder = stack.enter_context(TemporaryDirectory())
        services: list[tuple[type[TCPServer], Any, type[Handler]]] = [
            (SelectTCPServer, ("127.0.0.1", int(port)), Daytime),
            (ThreadingUDPServer, ("127.0.0.1", int(port)), TimeDatagram),
            (ForkingUnixStreamServer, f"{folder}/time", Time),
        ]
        for kind, address, handler in services:
            server = stack.enter_context(kind(address, handler, reactor=loop))
            where = server.server_address
            print("listening on", where if isinstance(where, str) else "{}:{}".format(*where), file=sys.stderr)
        loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
