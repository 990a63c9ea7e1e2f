"""Deadlines: that of a whole handshake, of a packet and of an IDLE."""

import math
import re

from handlers import Exactly, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

NAMES = {b"here.example": bytes([192, 0, 2, 7]), b"there.example": bytes([198, 51, 100, 9])}
USERS = {b"ada": b"sesame"}
HOST = re.compile(rb"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,8}")


class Resolver(StreamHandler):
    """Finds addresses by SOCKS5 (RFC 1928) with a password (RFC 1929) and the command RESOLVE of Tor."""

    timeout = 10

    async def handle(self):
        version, count = await self.take(2)
        if version != 5 or not count:
            raise Malformed("no greeting of SOCKS5")
        if 2 not in await self.take(count):
            self.send(b"\x05\xff")
            return
        self.send(b"\x05\x02")
        if not await self.logged_in():
            self.send(b"\x01\x01")
            return
        self.send(b"\x01\x00")
        version, command, reserved, kind = await self.take(4)
        if version != 5 or reserved:
            raise Malformed("no request of SOCKS5")
        if kind != 3:
            self.answer(8)
            return
        [size] = await self.take(1)
        name = (await self.take(size + 2))[:-2].lower()
        if command != 0xF0:
            self.answer(7)
        elif HOST.fullmatch(name) is None:
            self.answer(1)
        elif name not in NAMES:
            self.answer(4)
        else:
            self.answer(0, NAMES[name])

    async def logged_in(self):
        version, size = await self.take(2)
        if version != 1:
            raise Malformed("no login of RFC 1929")
        user = await self.take(size)
        [size] = await self.take(1)
        password = await self.take(size)
        return user in USERS and USERS[user] == password

    async def take(self, size):
        taken = b""
        while len(taken) < size:
            taken += await Some(size - len(taken))
        return taken

    def answer(self, code, address=bytes(4)):
        self.send(bytes([5, code, 0, 1]) + address + bytes(2))


class ResolverRight(Resolver):
    """The same."""

    request_timeout = 20


MOST = 16_384
TOPIC = re.compile(rb"[!\"$-*,-~]{1,128}")


class Broker(StreamHandler):
    """Takes what sensors publish by MQTT 3.1.1."""

    timeout = 90
    request_timeout = 60

    async def handle(self):
        self.client = None
        while True:
            self.one_by_one += 1
            [head] = await Exactly(1)
            body = await self.body(await self.size())
            if not self.packet(head >> 4, head & 15, body):
                return

    async def size(self):
        size = 0
        for shift in 0, 7, 14, 21:
            [byte] = await Exactly(1)
            size |= (byte & 127) << shift
            if byte < 128:
                if (shift and not byte) or size > MOST:
                    raise Malformed("no length of a packet")
                return size
        raise Malformed("a length of more than four bytes")

    async def body(self, size):
        body = bytearray()
        while len(body) < size:
            body += await Some(min(size - len(body), 4096))
            self.one_by_one += 1
        return bytes(body)

    def packet(self, kind, flags, body):
        if (kind == 1) != (self.client is None) or (flags and kind != 3):
            raise Malformed("not the packet that is due")
        if kind == 1:
            return self.connect(body)
        if kind == 3:
            return self.publish(flags, body)
        if kind not in (12, 14) or body:
            raise Malformed("no packet of a sensor")
        if kind == 12:
            self.send(b"\xd0\x00")
        return kind == 12

    def connect(self, body):
        if body[:6] != b"\x00\x04MQTT":
            raise Malformed("no CONNECT")
        if body[6:7] != b"\x04":
            self.send(b"\x20\x02\x00\x01")
            return False
        name = body[12:]
        if body[7:8] != b"\x02" or len(body) < 12 or len(name) != int.from_bytes(body[10:12], "big"):
            raise Malformed("no CONNECT")
        if re.fullmatch(rb"[0-9A-Za-z]{1,23}", name) is None:
            self.send(b"\x20\x02\x00\x02")
            return False
        self.client = name
        self.send(b"\x20\x02\x00\x00")
        return True

    def publish(self, flags, body):
        quality = flags >> 1 & 3
        end = 2 + int.from_bytes(body[:2], "big")
        number = body[end : end + 2] if quality else b"\x00\x01"
        if quality > 1 or (flags & 8 and not quality) or len(number) < 2 or number == b"\x00\x00":
            raise Malformed("no PUBLISH")
        if TOPIC.fullmatch(body[2:end]) is None or len(body) < end:
            raise Malformed("no topic")
        if quality:
            self.send(b"\x40\x02" + number)
        return True


class BrokerRight(Broker):
    """The same."""

    async def body(self, size):
        body = bytearray()
        while len(body) < size:
            body += await Some(min(size - len(body), 4096))
        return bytes(body)


LINE = Until(b"\r\n", limit=512)
COMMAND = re.compile(rb"([0-9A-Za-z]{1,16}) ([A-Za-z]{1,16})((?: [0-9A-Za-z.@_-]{1,64}){0,2})\r\n")


class Mailbox(StreamHandler):
    """IMAP (RFC 3501) with IDLE (RFC 2177), for one mailbox in which nothing happens."""

    timeout = 60
    command_time = request_timeout = 120
    idle_time = math.inf  # the client begins a new IDLE at least every 29 minutes

    async def handle(self):
        self.user, self.failures = None, 0
        self.send(b"* OK IMAP4rev1 ready\r\n")
        while True:
            self.one_by_one += 1
            line = await LINE
            command = COMMAND.fullmatch(line)
            if command is None:
                self.send(b"* BYE not a command\r\n")
                return
            tag, verb, arguments = command[1], command[2].upper(), command[3].split()
            if not await self.command(tag, verb, arguments):
                return

    async def command(self, tag, verb, arguments):
        if verb == b"LOGIN" and len(arguments) == 2 and self.user is None:
            return self.login(tag, *arguments)
        if arguments or verb not in (b"CAPABILITY", b"NOOP", b"LOGOUT", b"IDLE"):
            self.send(b"* BYE not here\r\n")
            return False
        if verb == b"IDLE":
            return await self.idle(tag)
        if verb == b"CAPABILITY":
            self.send(b"* CAPABILITY IMAP4rev1 IDLE\r\n")
        elif verb == b"LOGOUT":
            self.send(b"* BYE see you\r\n")
        self.send(tag + b" OK done\r\n")
        return verb != b"LOGOUT"

    def login(self, tag, user, password):
        if USERS.get(user) == password:
            self.user = user
            self.send(tag + b" OK logged in\r\n")
            return True
        self.failures += 1
        self.send(tag + b" NO not you\r\n")
        return self.failures < 3

    async def idle(self, tag):
        if self.user is None:
            self.send(tag + b" BAD log in first\r\n")
            return True
        self.send(b"+ idling\r\n")
        self.request_timeout = self.idle_time
        line = await Until(b"\r\n", limit=16, timeout=self.idle_time)
        self.request_timeout = self.command_time
        if line.upper() != b"DONE\r\n":
            self.send(b"* BYE not DONE\r\n")
            return False
        self.send(tag + b" OK idled\r\n")
        return True


class MailboxRight(Mailbox):
    """The same."""

    idle_time = 30 * 60  # the client begins a new IDLE at least every 29 minutes


SOCKS = [
    b"\x05\x02\x00\x02",
    b"\x01\x03ada\x06sesame",
    b"\x05\xf0\x00\x03\x0chere.example\x00\x00",
]
MQTT = [
    b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04ada1",
    b"\x32\x0c\x00\x06temp/1\x00\x0721",
    b"\x30\x0a\x00\x06temp/120",
    b"\xc0\x00",
    b"\xe0\x00",
]
IMAP = [
    b"a1 CAPABILITY\r\n",
    b"a2 LOGIN ada sesame\r\n",
    b"a3 IDLE\r\n",
    b"DONE\r\n",
    b"a4 NOOP\r\n",
    b"a5 LOGOUT\r\n",
]

PAIRS = [
    # Fault: `take` begins a wait at each piece, and no request_timeout bounds the handshake.
    Pair("socks-resolver", 7, Resolver, ResolverRight, SOCKS, {}),
    # Fault: `body` counts a new message at each piece, so that request_timeout begins anew.
    Pair("mqtt-sensors", 7, Broker, BrokerRight, MQTT, {}),
    # Fault: an IDLE may last for ever: no deadline ends a client that is gone.
    Pair("imap-idle", 7, Mailbox, MailboxRight, IMAP, {}),
]
