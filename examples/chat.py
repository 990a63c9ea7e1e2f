"""A chat room: rows that talk to each other.

A handler may write to another row whenever it runs. In select mode all handlers run in the one
thread of the loop, so what they share needs no lock.

python3 examples/chat.py [PORT]        then, in two other places: nc 127.0.0.1 7008, or telnet
"""

import signal
import sys

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import StreamHandler, Until
from reactor import SelectTCPServer


class Chat(StreamHandler):
    """One person in the room."""

    room: "dict[bytes, Chat]" = {}  # the people in it, by name
    timeout = 3600.0  # a person who has sent nothing for an hour is removed,
    max_output = 1 << 20  # and so is a person who has a mebibyte still to read
    name = b""

    async def handle(self) -> None:
        while not self.name:
            self.send(b"Your name? ")
            self.join((await Until(b"\n", limit=40)).strip())
        while True:
            self.tell(self.name + b": " + await Until(b"\n", limit=1000))

    def join(self, name: bytes) -> None:
        if name and name not in self.room:
            self.name = name
            self.room[name] = self
            self.tell(b"* %b has come\n" % name)

    def tell(self, text: bytes) -> None:
        """Send ``text`` to all other people in the room."""
        for person in self.room.values():
            if person is not self:
                person.send(text)

    def finish(self) -> None:
        """The request has ended, for whatever reason: end of stream, timeout, reset, or the server has closed."""
        if self.name:
            del self.room[self.name]
            self.tell(b"* %b has gone\n" % self.name)


def main(port: str = "7008") -> None:
    with SelectTCPServer(("127.0.0.1", int(port)), Chat) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
