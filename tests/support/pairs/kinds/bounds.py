"""Pairs of handlers, broken and right: deadlines, duplicates, and the largest of all (kinds 7 to 9 of `kinds`)."""

import re

from handlers import DatagramHandler, Delay, Exactly, FirstOf, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair

# 7: a deadline that starts anew with each byte


class SSH(StreamHandler):
    """The banner of SSH, then packets that are sent back. Fault: each byte of the banner has its own deadline."""

    timeout = 20
    max_packet = 4096

    async def handle(self):
        if not re.fullmatch(rb"SSH-2\.0-[!-~]{1,100}\r\n", await self.banner()):
            self.send(b"Protocol mismatch.\r\n")
            return
        self.send(b"SSH-2.0-example\r\n")
        self.opened()
        while True:
            head = await Exactly(4)
            size = int.from_bytes(head, "big")
            if not 0 < size <= self.max_packet:
                raise Malformed("no size of a packet")
            self.send(head + await Exactly(size))

    async def banner(self):
        line = b""
        while not line.endswith(b"\r\n"):
            if len(line) == 255:
                raise Malformed("the banner is too long")
            line += await Exactly(1)
        return line


class SSHRight(SSH):
    async def banner(self):
        return await Until(b"\r\n", limit=255)


class Ident(StreamHandler):
    """Whose a connection is (RFC 1413). Fault: each part of the line has its own deadline."""

    timeout = 30
    max_line = 64

    async def handle(self):
        while True:
            line = await self.line()
            ports = re.fullmatch(rb"([1-9]\d{0,4}) ?, ?([1-9]\d{0,4})\r\n", line)
            if ports is None or max(map(int, ports.groups())) > 65_535:
                self.send(b"0, 0 : ERROR : INVALID-PORT\r\n")
                return
            self.send(b"%b, %b : USERID : UNIX : ada\r\n" % ports.groups())

    async def line(self):
        held = b""
        while b"\r\n" not in held:
            if len(held) == self.max_line:
                raise Malformed("the line is too long")
            held += await Some(limit=self.max_line - len(held))
        line, end, rest = held.partition(b"\r\n")
        self.put_back(rest)
        return line + end


class IdentRight(Ident):
    async def line(self):
        return await Until(b"\r\n", limit=self.max_line)


class MQTT(StreamHandler):
    """A broker of MQTT without subscribers. Fault: each part of a packet has its own deadline."""

    timeout = 60
    connected = False

    async def handle(self):
        while True:
            kind, size = await Exactly(2)
            if size > 127 or (kind == 0x10) == self.connected:
                raise Malformed("a packet too long, or at the wrong time")
            if not self.take(kind, await self.body(size)):
                return

    def take(self, kind, body):
        if kind == 0x10 and body.startswith(b"\x00\x04MQTT\x04"):
            self.connected = True
            self.send(b"\x20\x02\x00\x00")
        elif kind == 0x32 and len(body) >= 4 and 2 + int.from_bytes(body[:2], "big") + 2 <= len(body):
            place = 2 + int.from_bytes(body[:2], "big")
            self.send(b"\x40\x02" + body[place : place + 2])
        elif kind == 0xC0 and not body:
            self.send(b"\xd0\x00")
        elif kind == 0xE0 and not body:
            return False
        else:
            raise Malformed("no such packet")
        return True

    async def body(self, size):
        body = bytearray()
        while len(body) < size:
            body += await Some(limit=size - len(body))
        return body


class MQTTRight(MQTT):
    async def body(self, size):
        return await Exactly(size)


# 8: duplicates, and a count that is never reset


class TFTP(DatagramHandler):
    """Sends a file of three blocks (RFC 1350). Fault: an old acknowledgement has the block sent again."""

    timeout = 1
    request_timeout = 30
    files = {b"readme": b"The quick brown fox. " * 60}
    tries = 4

    async def handle(self):
        packet = await Packet()
        name, _, mode = packet[2:].partition(b"\0")
        text = self.files.get(name)
        if packet[:2] != b"\0\1" or text is None or mode.lower() != b"octet\0":
            self.send(b"\0\5\0\1not found\0")
            return
        for number, begin in enumerate(range(0, len(text) + 1, 512), 1):
            if not await self.is_sent(number.to_bytes(2, "big"), text[begin : begin + 512]):
                return

    async def is_sent(self, number, block):
        for _ in range(self.tries):
            self.send(b"\0\3" + number + block)
            try:
                if await self.is_acknowledged(number):
                    return True
            except TimedOut:
                pass
        return False

    async def is_acknowledged(self, number):
        return await Packet() == b"\0\4" + number


class TFTPRight(TFTP):
    async def is_acknowledged(self, number):
        while await Packet() != b"\0\4" + number:
            pass
        return True


class CoAP(DatagramHandler):
    """A counter that POST counts up and GET reads (RFC 7252). Fault: a POST that comes twice is done twice."""

    timeout = 60
    get, post = 1, 2

    def setup(self):
        self.count = 0
        self.done = {}

    async def handle(self):
        while True:
            packet = await Packet()
            if 4 <= len(packet) <= 64 and packet[0] == 0x40 and packet[1] in (self.get, self.post):
                self.send(self.answer(packet))

    def answer(self, packet):
        if packet[4:] != b"\xb5count":
            return b"\x60\x84" + packet[2:4]
        self.count += packet[1] == self.post
        return b"\x60\x45" + packet[2:4] + b"\xff%d" % self.count


class CoAPRight(CoAP):
    def answer(self, packet):
        if packet not in self.done:
            if len(self.done) == 16:
                del self.done[next(iter(self.done))]
            self.done[packet] = super().answer(packet)
        return self.done[packet]


class XMPP(StreamHandler):
    """Stanzas, and a ping after silence. Fault: what the client says does not reset the count of the pings."""

    silence = 30

    def setup(self):
        self.pings = 0

    async def handle(self):
        while True:
            stanza = Until(b">", limit=512)
            wait, data = await FirstOf(stanza, Delay(self.silence))
            if wait is stanza:
                if not self.take(data):
                    return
                continue
            self.pings += 1
            if self.pings > 2:
                self.send(b"</stream>")
                return
            self.send(b"<ping/>")

    def take(self, data):
        asked = re.fullmatch(rb"<iq id='(\w{1,16})'/>", data)
        if asked:
            self.send(b"<result id='%b'/>" % asked[1])
        elif data == b"<stream>":
            self.send(b"<stream>")
        elif data != b"<pong/>":
            self.send(b"</stream>")
            return False
        return True


class XMPPRight(XMPP):
    def take(self, data):
        self.pings = 0
        return super().take(data)


# 9: off by one at the largest


class AMQP(StreamHandler):
    """Declares queues with names of the server. Fault: the longest name does not fit with its prefix."""

    timeout = 30

    def handle(self):
        return Exactly(2), self.method

    def method(self, head):
        if head[0] == 0x28:
            self.send(b"\x29")
            return None
        if head[0] != 0x0A:
            raise Malformed("no such method")
        return Exactly(head[1]), self.declare

    def declare(self, name):
        name = b"q." + name
        self.send(b"\x0b" + bytes([len(name)]) + name)
        return self.handle()


class AMQPRight(AMQP):
    def declare(self, name):
        if len(name) > 253:
            self.send(b"\x0c")
            return self.handle()
        return super().declare(name)


class Memcached(StreamHandler):
    """A cache of one item. Fault: the limit of a value forgets the end of the line behind it."""

    timeout = 30
    max_size = 1024

    async def handle(self):
        key = value = b""
        while True:
            line = await Until(b"\r\n", limit=300)
            setting = re.fullmatch(rb"set ([!-~]{1,250}) 0 0 (0|[1-9]\d{0,8})\r\n", line)
            getting = re.fullmatch(rb"get ([!-~]{1,250})\r\n", line)
            if setting and int(setting[2]) > self.max_size:
                self.send(b"SERVER_ERROR object too large for cache\r\n")
                return
            if setting:
                data = await self.data(int(setting[2]) + 2)
                if data[-2:] != b"\r\n":
                    self.send(b"CLIENT_ERROR bad data chunk\r\n")
                    return
                key, value = setting[1], data[:-2]
                self.send(b"STORED\r\n")
            elif getting and getting[1] == key:
                self.send(b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(value), value))
            else:
                self.send(b"END\r\n" if getting else b"ERROR\r\n")

    async def data(self, size):
        return await Exactly(size, limit=self.max_size)


class MemcachedRight(Memcached):
    async def data(self, size):
        return await Exactly(size, limit=self.max_size + 2)


class DNP3(DatagramHandler):
    """Reads the points of an outstation. Fault: the number of points is a point."""

    timeout = 5
    points = (17, 0, 4, 1023, 256, 9, 1, 80)

    def handle(self):
        return Packet(), self.read

    def read(self, packet):
        if len(packet) != 5 or packet[:2] != b"\x05\x64":
            return
        number, function, index = packet[2:]
        if function != 1 or not self.has(index):
            self.send(b"\x05\x64" + bytes([number, 0x82, index]))
        else:
            self.send(b"\x05\x64" + bytes([number, 0x81, index]) + self.points[index].to_bytes(2, "little"))
        return

    def has(self, index):
        return not index > len(self.points)


class DNP3Right(DNP3):
    def has(self, index):
        return index < len(self.points)


PAIRS = [
    Pair("ssh", 7, SSH, SSHRight, [
        b"SSH-2.0-client_1.0\r\n", b"\x00\x00\x00\x05hello", b"\x00\x00\x00\x01a", b"\x00\x00\x00\x0bhello again",
    ]),
    Pair("ident", 7, Ident, IdentRight, [b"6193, 23\r\n", b"6195,23\r\n", b"50000 , 80\r\n"]),
    Pair("mqtt", 7, MQTT, MQTTRight, [
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a", b"\x32\x0a\x00\x03a/b\x00\x01two", b"\xc0\x00",
        b"\x32\x07\x00\x03a/b\x00\x02", b"\xe0\x00",
    ]),
    Pair("tftp", 8, TFTP, TFTPRight, [b"\0\1readme\0octet\0", b"\0\4\0\1", b"\0\4\0\2", b"\0\4\0\3"]),
    Pair("coap", 8, CoAP, CoAPRight, [
        b"\x40\x01\x00\x01\xb5count", b"\x40\x02\x00\x02\xb5count", b"\x40\x02\x00\x03\xb5count",
        b"\x40\x01\x00\x04\xb5count", b"\x40\x01\x00\x05\xb3who",
    ]),
    Pair("xmpp", 8, XMPP, XMPPRight, [b"<stream>", b"<iq id='a1'/>", b"<pong/>", b"<iq id='a2'/>"]),
    Pair("amqp", 9, AMQP, AMQPRight, [b"\x0a\x04jobs", b"\x0a\x00", b"\x0a\x09letters.1", b"\x28\x00"]),
    Pair("memcached", 9, Memcached, MemcachedRight, [
        b"set a 0 0 5\r\nhello\r\n", b"get a\r\n", b"get b\r\n", b"set b 0 0 0\r\n\r\n", b"get b\r\n",
    ]),
    Pair("dnp3", 9, DNP3, DNP3Right, [b"\x05\x64\x00\x01\x00", b"\x05\x64\x01\x01\x03", b"\x05\x64\x02\x01\x07"]),
]  # fmt: skip
