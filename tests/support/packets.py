"""Datagram handlers that several test modules serve."""

from handlers import BaseRequestHandler, DatagramHandler, DatagramRequestHandler, Delay, Packet


class Pair(DatagramHandler):
    """Answers two packets with one; as states."""

    def handle(self):
        return Packet(), self.first

    def first(self, packet):
        self.held = packet
        return Packet(), self.second

    def second(self, packet):
        self.send(self.held + packet)


class PairConversation(DatagramHandler):
    """The same as a coroutine."""

    async def handle(self):
        self.send(await Packet() + await Packet())


class Upload(DatagramHandler):
    """Takes a number and so many packets, each of which it acknowledges; as a coroutine."""

    async def handle(self):
        number, received = int(await Packet()), b""
        self.send(b"go on")
        for _ in range(number):
            received += await Packet()
            self.send(b"%d" % len(received))
        self.send(received[:8])


class Slow(DatagramHandler):
    async def handle(self):
        packet = await Packet()
        await Delay(0.005)
        self.send(packet)


class Shout(DatagramRequestHandler):
    """A blocking handler with rfile and wfile."""

    def handle(self):
        self.wfile.write(self.rfile.read().upper())


class Bare(BaseRequestHandler):
    """A blocking handler with the packet and the socket."""

    request = Packet()

    def handle(self):
        packet, sock = self.request
        sock.sendto(packet.upper(), self.client_address)


class SlowEcho(DatagramHandler):
    """Answers after ``seconds``, so that many exchanges are open at once."""

    seconds = 0.1

    async def handle(self):
        packet = await Packet()
        await Delay(self.seconds)
        self.send(packet)
