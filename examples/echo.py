"""The smallest server: it sends all input back.

python3 examples/echo.py [PORT]        then, elsewhere: nc 127.0.0.1 7007
"""

import signal
import sys

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Some, StreamHandler
from reactor import SelectTCPServer


class Echo(StreamHandler):
    async def handle(self) -> None:
        while True:
            self.send(await Some())


def main(port: str = "7007") -> None:
    with SelectTCPServer(("127.0.0.1", int(port)), Echo) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
