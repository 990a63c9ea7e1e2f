"""A directory over HTTP: files are read with GET and stored with PUT, neither of which is held in memory.

python3 examples/files.py [PORT [DIRECTORY]]      then, elsewhere: curl -O http://127.0.0.1:7088/name
                                                  or curl -T name http://127.0.0.1:7088/

The directory is the current one by default. To read only, no program is needed:
python3 -m reactor serve reactor.handlers.http:Files --bind tcp://127.0.0.1:8080
"""

from __future__ import annotations

import re
import signal
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers.http import Files
from reactor import SelectTCPServer

if TYPE_CHECKING:
    from handlers.http import Request, Response

NAME = re.compile(r"/([A-Za-z0-9_-][A-Za-z0-9._-]{0,99})")
"""What a file that is stored may be called: what needs no decoding, is on every system, and is not hidden."""

MOST = 1 << 30
"""Bytes of a file that is stored."""


class Store(Files):
    """Files that can be stored too."""

    timeout = 30.0
    min_rate = 100.0  # bytes per second: who sends more slowly holds a file open
    numbers = count()

    async def respond(self, request: Request, response: Response) -> None:
        if request.method == "PUT":
            await self.store(request, response)
        else:
            await super().respond(request, response)

    async def store(self, request: Request, response: Response) -> None:
        """Write the content to a hidden file, which gets its name when it is whole."""
        name = NAME.fullmatch(request.target)
        place = None if name is None else Path(self.directory) / name[1]
        if place is None or place.is_dir():
            response.reply(403, b"not a name for a file\n")
            return
        part = Path(self.directory) / f".{place.name}.{next(self.numbers)}.part"
        try:
            with part.open("wb") as file:
                size = 0
                while piece := await request.read():
                    size += len(piece)
                    if size > MOST:
                        response.reply(413, b"too long\n")
                        return
                    file.write(piece)
            is_new = not place.exists()
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
        response.reply(201 if is_new else 204)


class Server(SelectTCPServer):
    allow_reuse_address = True


def main(port: str = "7088", directory: str = ".") -> None:
    with Server(("127.0.0.1", int(port)), partial(Store, directory)) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
