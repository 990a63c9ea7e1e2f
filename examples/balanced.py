"""A web service on several hosts behind HAProxy, which names its clients with the PROXY protocol, version 2.

python3 examples/balanced.py [PORT [HOST [BALANCER [NOTICE]]]]
        by default port 7089 of 127.0.0.1, for a balancer at 127.0.0.1, and a notice of 1 second

Then, elsewhere: haproxy -f examples/balanced.cfg (its head has the rest), and curl http://127.0.0.1:7090/
SIGTERM begins a restart that loses no request: for NOTICE seconds /ready answers 404 and all else is served as before,
so that HAProxy takes the host out; then the listener is closed, and the requests that are open finish.
"""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers.http import HTTPHandler
from reactor import SelectTCPServer
from reactor.rows.filters.proxy import Proxy

if TYPE_CHECKING:
    from types import FrameType

    from handlers.http import Request, Response

GRACE = 10.0
"""Seconds that open requests have to finish."""


class Page(HTTPHandler):
    """Says which host answers, and which client has asked."""

    server: Server

    async def respond(self, request: Request, response: Response) -> None:
        if request.target == "/ready":  # the health check
            response.reply(404 if self.server.is_leaving else 200, b"")
        else:
            client = self.peer[0] if isinstance(self.peer, tuple) else "nobody"
            response.reply(200, f"{self.server.here} answers {client}\n".encode())


class Server(SelectTCPServer):
    """The service of one host, whose address is ``here``."""

    here: str
    allow_reuse_address = True
    request_queue_size = 1024
    is_leaving = False

    def leave(self, notice: float) -> None:
        """Have the health check fail, and stop serving after ``notice`` seconds."""
        if not self.is_leaving:
            self.is_leaving = True
            self.reactor.call_later(notice, self.shutdown)

    def end(self) -> None:
        """Close the connections that HAProxy keeps for later, and let requests finish."""
        self.reactor.cancel(row for row in self.reactor.table if row.is_between_messages())
        for row in self.drain(GRACE):
            print("cut:", row, file=sys.stderr)


def main(port: str = "7089", host: str = "127.0.0.1", balancer: str = "127.0.0.1", notice: str = "1") -> None:
    class Balanced(Server):
        here = host
        filters = (partial(Proxy, trusted=[balancer]),)

    with Balanced((host, int(port)), Page) as server:

        def at_sigterm(number: int, frame: FrameType | None) -> None:
            server.reactor.call_soon(server.leave, float(notice))

        signal.signal(signal.SIGTERM, at_sigterm)
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
        server.serve_forever()
        if server.is_leaving:
            server.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
