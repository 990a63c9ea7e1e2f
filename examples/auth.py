"""A mix-in in front of a handler: it asks for a password, three times at most; then the handler begins.

This shows how a mix-in is written. Those in `handlers.auth` are for use: see login.py and smtp.py.

A mix-in is a state machine whose last step is the first step of the next class, ``return super().handle()``. That class
may be made of states or be a coroutine. A handler made of states must go on with one of its states and not with
``self.handle()``, which would ask for the password again.

python3 examples/auth.py [PORT [states|conversation]]        the password is: sesame
"""

import signal
import sys
from hmac import compare_digest
from typing import Any

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import StreamHandler, Until
from handlers.services import Echo
from reactor import SelectTCPServer


class Password(StreamHandler):
    """Let a client in that knows the password; end the connection after three wrong ones."""

    password = b"sesame"

    async def handle(self) -> Any:  # in front of handlers in any spelling
        for _ in range(3):
            self.send(b"Password: ")
            line = await Until(b"\n", limit=80, timeout=20)
            if compare_digest(line.strip(), self.password):
                self.opened()  # the client may leave from here on: a handler's messages begin at its first wait
                return super().handle()
        self.send(b"Goodbye.\n")
        return None


class Upper(StreamHandler):
    """Lines, in upper case."""

    async def handle(self) -> None:
        while True:
            line = await Until(b"\n", limit=512)
            self.send(line.upper())


class SecretEcho(Password, Echo):
    """The mix-in in front of a handler made of states."""


class SecretUpper(Password, Upper):
    """The mix-in in front of a coroutine."""


SPELLINGS = {"states": SecretEcho, "conversation": SecretUpper}


def main(port: str = "7012", spelling: str = "states") -> None:
    with SelectTCPServer(("127.0.0.1", int(port)), SPELLINGS[spelling]) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
