"""Addresses and handlers of simulated worlds."""

from handlers import Some, StreamHandler, Until
from handlers.services import Echo
from reactor import SelectTCPServer
from reactor.testing import World

ADDRESS = ("10.0.0.1", 7)
UNIX = "/run/service"


class Upper(StreamHandler):
    """Sends each line back in capitals."""

    async def handle(self):
        while True:
            self.send((await Until(b"\n")).upper())


class Hasty(StreamHandler):
    """Has a common bug: takes the bytes of one read for a line."""

    async def handle(self):
        while True:
            self.send(b"<" + await Some() + b">")


def echoed(plan, text=b"hello", **options):
    """A world in which a client has sent ``text`` to Echo and received it; and the client."""
    with World(plan, **options) as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(text).expect(text).shutdown().expect_end()
        world.run()
        assert client.done
        return world, client
