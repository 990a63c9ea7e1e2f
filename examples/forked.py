"""Process part of a request in the loop, and finish it in a forked child.

The handler reads and checks the question. The long computation runs in a child, so that no other client waits for it;
its result is the result of the wait ``Forked``. A blocking handler in the plain server can fork with `fork_request()`
and leave the rest of the request to the child.

python3 examples/forked.py [PORT [states|conversation|blocking]]        then: echo 1001 | nc -N 127.0.0.1 7011
"""

from __future__ import annotations

import re
import signal
import sys
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Forked, StreamHandler, StreamRequestHandler, Until
from reactor import SelectTCPServer, TCPServer

if TYPE_CHECKING:
    from handlers import Step

LIMIT = 80  # bytes in a question
NUMBER = re.compile(rb"[0-9]{1,15}\r?\n")
WRONG = b"a number of at most 15 digits, please\n"


def factors(number: int) -> bytes:
    """The prime factors of ``number``, as a line of text. This may take long."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        if number % divisor:
            divisor += 1
        else:
            number //= divisor
            found.append(divisor)
    return b" ".join(b"%d" % factor for factor in (*found, number)) + b"\n"


class States(StreamHandler):
    def handle(self) -> Step:
        return Until(b"\n", LIMIT), self.check

    def check(self, question: bytes) -> Step:
        if NUMBER.fullmatch(question):
            return Forked(factors, int(question), timeout=60), self.answer
        return self.answer(WRONG)

    def answer(self, text: bytes) -> Step:
        self.send(text)
        return None


class Conversation(StreamHandler):
    async def handle(self) -> None:
        question = await Until(b"\n", LIMIT)
        if NUMBER.fullmatch(question):
            self.send(await Forked(factors, int(question), timeout=60))
        else:
            self.send(WRONG)


class Blocking(StreamRequestHandler):
    timeout = 10.0  # until the fork, all other clients wait for this one

    def handle(self) -> None:
        question = self.rfile.readline(LIMIT)
        if not NUMBER.fullmatch(question):
            self.wfile.write(WRONG)
        elif self.server.fork_request(self.request) == 0:  # this is the child; in the parent, handle() returns
            self.wfile.write(factors(int(question)))


SPELLINGS = {
    "states": (SelectTCPServer, States),
    "conversation": (SelectTCPServer, Conversation),
    "blocking": (TCPServer, Blocking),
}


def main(port: str = "7011", spelling: str = "states") -> None:
    kind, handler = SPELLINGS[spelling]
    with kind(("127.0.0.1", int(port)), handler) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
