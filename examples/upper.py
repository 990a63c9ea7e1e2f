"""One protocol in three spellings: read a line, answer with the line in upper case, end the connection.

They have the same output and the same limits in every mode. Take the spelling in which your protocol is clearest.

python3 examples/upper.py [PORT [states|conversation|blocking]]        then: nc 127.0.0.1 7009
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import StreamHandler, StreamRequestHandler, Until
from reactor import SelectTCPServer

if TYPE_CHECKING:
    from handlers import Step

LINE = Until(b"\n", limit=512)


class States(StreamHandler):
    """Each state returns a wait, and the state that gets the result of the wait."""

    def handle(self) -> Step:
        return LINE, self.answer

    def answer(self, line: bytes) -> Step:
        self.send(line.upper())
        return None  # finished; `return LINE, self.answer` would take the next line


class Conversation(StreamHandler):
    """One coroutine: each ``await`` is a state."""

    async def handle(self) -> None:
        line = await LINE
        self.send(line.upper())


class Blocking(StreamRequestHandler):
    """A handler of socketserver, with files. In select mode it runs when the wait ``request`` is satisfied."""

    request = LINE

    def handle(self) -> None:
        line = self.rfile.readline()
        self.wfile.write(line.upper())


SPELLINGS = {"states": States, "conversation": Conversation, "blocking": Blocking}


def main(port: str = "7009", spelling: str = "states") -> None:
    with SelectTCPServer(("127.0.0.1", int(port)), SPELLINGS[spelling]) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
