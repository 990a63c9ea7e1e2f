"""Pairs whose fault is with duplicates (kind 8), or a forgotten return or await, or a call that blocks (12)."""

import time
from struct import Struct
from types import SimpleNamespace

from handlers import DatagramHandler, Delay, Exactly, Flushed, Packet, StreamHandler, TimedOut
from tests.support.pairs.pair import Pair


def knx(service, body):
    return b"\x06\x10" + service.to_bytes(2, "big") + (6 + len(body)).to_bytes(2, "big") + body


class Knx(DatagramHandler):
    """A tunnel of KNXnet/IP: after the connection four telegrams, each when the one before it is acknowledged."""

    timeout = 10
    telegrams = (b"\x29\x00on", b"\x29\x00off", b"\x29\x00up", b"\x29\x00dn")

    def handle(self):
        return Packet(), self.connect

    def connect(self, packet):
        if packet != knx(0x205, b"\x08\x01" + bytes(6) + b"\x04\x04\x02\x00"):
            return Packet(), self.connect
        self.send(knx(0x206, b"\x01\x00"))
        self.number = -1
        return self.next()

    def next(self):
        self.number += 1
        if self.number == len(self.telegrams):
            return None
        self.send(knx(0x420, bytes([4, 1, self.number, 0]) + self.telegrams[self.number]))
        return Packet(), self.acknowledged

    def acknowledged(self, packet):
        is_one = len(packet) == 10 and packet[:8] == b"\x06\x10\x04\x21\x00\x0a\x04\x01" and packet[9] == 0
        if is_one and self.belongs(packet[8]):
            return self.next()
        return Packet(), self.acknowledged

    def belongs(self, number):
        return number <= self.number


class KnxRight(Knx):
    def belongs(self, number):
        return number == self.number


def capwap(kind, number, body=b""):
    return kind.to_bytes(4, "big") + bytes([number]) + (3 + len(body)).to_bytes(2, "big") + b"\0" + body


class Capwap(DatagramHandler):
    """CAPWAP: an access point joins; in silence the controller asks for an echo, and gives it up after the third."""

    timeout = 30

    async def handle(self):
        packet = await Packet()
        if len(packet) < 8 or packet[:4] != b"\0\0\0\x03":
            return
        self.send(capwap(4, packet[4], b"\0\x21\0\x04\0\0\0\0"))
        self.missed = number = 0
        while self.missed < 3:
            try:
                packet = await Packet()
            except TimedOut:
                self.missed += 1
                number = (number + 1) & 0xFF
                self.send(capwap(13, number))
                continue
            self.heard()
            if len(packet) >= 8 and packet[:4] == b"\0\0\0\x0d":
                self.send(capwap(14, packet[4]))

    def heard(self):
        """The access point is alive."""


class CapwapRight(Capwap):
    def heard(self):
        self.missed = 0


M3UA = Struct(">BxBBI")


def m3ua(family, kind, body=b""):
    return M3UA.pack(1, family, kind, 8 + len(body)) + body


class M3ua(StreamHandler):
    """M3UA (RFC 4666), the states of an application server process; the gateway has room for 32."""

    timeout = 300
    up = False

    def handle(self):
        return Exactly(8), self.header

    def header(self, data):
        version, family, self.kind, length = M3UA.unpack(data)
        if version != 1 or family != 3 or length < 8:
            self.send(m3ua(0, 0, b"\0\x0c\0\x08\0\0\0\x01"))
            return None
        return Exactly(length - 8, limit=512), self.message

    def message(self, body):
        if self.kind == 1:
            if not self.up and self.server.active == 32:
                self.send(m3ua(0, 0, b"\0\x0c\0\x08\0\0\0\x0d"))
                return None
            self.rise()
            self.send(m3ua(3, 4))
        elif self.kind == 2:
            self.fall()
            self.send(m3ua(3, 5))
        elif self.kind == 3:
            self.send(m3ua(3, 6, body))
        return self.handle()

    def rise(self):
        self.server.active += 1
        self.up = True

    def fall(self):
        if self.up:
            self.server.active -= 1
            self.up = False

    def finish(self):
        self.fall()


class M3uaRight(M3ua):
    def rise(self):
        if not self.up:
            super().rise()


class A2s(DatagramHandler):
    """Steam's A2S: a query without the right challenge gets the challenge, so that nobody asks for somebody else."""

    timeout = 5
    challenge = b"\x4b\xa1\xd5\x22"
    query = b"\xff\xff\xff\xffTSource Engine Query\0"

    def handle(self):
        return Packet(), self.packet

    def packet(self, packet):
        if not packet.startswith(self.query):
            return self.handle()
        if packet[len(self.query) :] != self.challenge:
            self.send(b"\xff\xff\xff\xffA" + self.challenge)
        self.send(b"\xff\xff\xff\xffI\x11crossfire\0cs\0")
        return self.handle()


class A2sRight(A2s):
    def packet(self, packet):
        if packet.startswith(self.query) and packet[len(self.query) :] != self.challenge:
            self.send(b"\xff\xff\xff\xffA" + self.challenge)
        elif packet.startswith(self.query):
            self.send(b"\xff\xff\xff\xffI\x11crossfire\0cs\0")
        return self.handle()


def minecraft(kind, body=b""):
    return bytes([1 + len(body), kind]) + body


class Minecraft(StreamHandler):
    """Minecraft's list of servers: a handshake, the status, a ping."""

    timeout = 30

    async def handle(self):
        await self.frame()  # the handshake
        while True:
            kind, body = await self.frame()
            if kind == 0:
                self.send(minecraft(0, b'\x1d{"version":{"protocol":765}}'))
            elif kind == 1 and len(body) == 8:
                self.send(minecraft(1, body))
            else:
                await self.refuse()
                return

    async def frame(self):
        size = (await Exactly(1))[0]
        if size > 127:
            size += ((await Exactly(1))[0] - 1) * 128
        packet = await Exactly(size, limit=512)
        return packet[:1] and packet[0], packet[1:]

    async def refuse(self):
        self.disconnect("unknown packet")

    async def disconnect(self, why):
        self.send(minecraft(0x1B, b'\x11{"text":"refused"}'))
        await Flushed()


class MinecraftRight(Minecraft):
    async def refuse(self):
        await self.disconnect("unknown packet")


RCON = Struct("<III")


def rcon(number, kind, text=b""):
    return RCON.pack(10 + len(text), number & 0xFFFF_FFFF, kind) + text + b"\0\0"


class Rcon(StreamHandler):
    """The remote console of Source servers; a wrong password is answered late, so that nobody tries many."""

    timeout = 60
    trusted = False

    async def handle(self):
        while True:
            size, number, kind = RCON.unpack(await Exactly(12))
            if size < 10:
                return
            text = await Exactly(size - 8, limit=1024)
            if kind == 3 and text == b"sesame\0\0":
                self.trusted = True
                self.send(rcon(number, 2))
            elif kind == 3:
                await self.wait(3)
                self.send(rcon(-1, 2))
                return
            elif kind == 2 and self.trusted:
                self.send(rcon(number, 0, b"%d" % (len(text) - 2)))
            else:
                return

    async def wait(self, seconds):
        time.sleep(seconds)


class RconRight(Rcon):
    async def wait(self, seconds):
        await Delay(seconds)


PAIRS = [
    Pair(
        "knx", 8, Knx, KnxRight,
        [knx(0x205, b"\x08\x01" + bytes(6) + b"\x04\x04\x02\x00"),
         *(knx(0x421, bytes([4, 1, number, 0])) for number in range(4))],
    ),
    Pair("capwap", 8, Capwap, CapwapRight, [capwap(3, 1, b"ap-1"), capwap(13, 2), capwap(13, 3), capwap(14, 1)]),
    Pair(
        "m3ua", 8, M3ua, M3uaRight,
        [m3ua(3, 1), m3ua(3, 3, b"\0\x09\0\x08beat"), m3ua(3, 2), m3ua(3, 1), m3ua(3, 2)],
        {"server": SimpleNamespace(active=0)},
    ),
    Pair(
        "a2s", 12, A2s, A2sRight,
        [A2s.query, A2s.query + A2s.challenge, A2s.query + A2s.challenge],
    ),
    Pair(
        "minecraft", 12, Minecraft, MinecraftRight,
        [minecraft(0, b"\xfd\x05\x09localhost\x63\xdd\x01"), minecraft(0), minecraft(1, b"12345678")],
    ),
    Pair("rcon", 12, Rcon, RconRight, [rcon(1, 3, b"sesame"), rcon(2, 2, b"status"), rcon(3, 2, b"users")]),
]  # fmt: skip
