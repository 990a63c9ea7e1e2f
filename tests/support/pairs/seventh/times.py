"""Pairs of the seventh set: deadlines that start anew, duplicates, one too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import DatagramHandler, Exactly, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers.handler import Step


def zabbix(text: bytes) -> bytes:
    """A message of Zabbix."""
    return b"ZBXD\x01" + len(text).to_bytes(4, "little") + b"\x00\x00\x00\x00" + text


class Zabbix(StreamHandler):
    """An agent of Zabbix: the server sends a key, the agent answers with its value."""

    items = {b"agent.ping": b"1", b"agent.version": b"6.0.1", b"system.uptime": b"86400"}

    async def header(self) -> bytes:
        header = await Some(limit=13, timeout=5)
        while len(header) < 13:
            header += await Some(limit=13 - len(header), timeout=5)
        return header

    async def handle(self) -> None:
        while True:
            header = await self.header()
            size = int.from_bytes(header[5:9], "little")
            if header[:5] != b"ZBXD\x01" or size > 2048 or any(header[9:]):
                return
            key = await Exactly(size, timeout=5)
            self.send(zabbix(self.items.get(key.rstrip(b"\n"), b"ZBX_NOTSUPPORTED\x00Unsupported item key.")))


class ZabbixRight(Zabbix):
    async def header(self) -> bytes:
        return await Exactly(13, timeout=5)


class Rlogin(StreamHandler):
    """rlogin (RFC 1282): a null byte and three strings begin the session; then each line is echoed."""

    timeout = 120.0

    async def string(self) -> bytes:
        text = b""
        while (byte := await Exactly(1, timeout=5)) != b"\0":
            text += byte
            if len(text) > 63:
                raise ValueError("a name is too long")
        return text

    async def handle(self) -> None:
        if await Exactly(1, timeout=5) != b"\0":
            return
        try:
            for _ in range(3):
                await self.string()
        except ValueError:
            return
        self.send(b"\0Welcome\r\n")
        self.opened()
        while True:
            line = await Until(b"\r", limit=256)
            if line == b"exit\r":
                return
            self.send(line + b"\n")


class RloginRight(Rlogin):
    async def string(self) -> bytes:
        return (await Until(b"\0", limit=64, timeout=5))[:-1]


class Rsync(StreamHandler):
    """The daemon of rsync: it greets, and lists its modules until one is chosen."""

    def setup(self) -> None:
        self.line = b""
        self.greeted = False
        self.send(b"@RSYNCD: 31.0\n")

    def handle(self) -> Step:
        return Some(limit=256, timeout=10), self.came

    def came(self, data: bytes) -> Step:
        self.line += data
        while b"\n" in self.line:
            line, _, self.line = self.line.partition(b"\n")
            if len(line) > 255 or not self.took(line):
                return None
        if len(self.line) > 255:
            return None
        return Some(limit=256, timeout=10), self.came

    def took(self, line: bytes) -> bool:
        """Whether the session goes on."""
        if not self.greeted:
            self.greeted = True
            return line.startswith(b"@RSYNCD: ")
        if line in (b"", b"#list"):
            self.send(b"files          \tAll files\nmusic          \tAll music\n")
            return True
        known = line in (b"files", b"music")
        self.send(b"@RSYNCD: OK\n" if known else b"@ERROR: Unknown module\n")
        return False


class RsyncRight(Rsync):
    def handle(self) -> Step:
        return Until(b"\n", limit=256, timeout=10), self.line_came

    def line_came(self, line: bytes) -> Step:
        return self.handle() if self.took(line[:-1]) else None


class Enet(DatagramHandler):
    """Reliable commands of ENet: each adds to a score; the acknowledgement says the score."""

    timeout = 30.0

    def setup(self) -> None:
        self.expected, self.score = 1, 0

    def handle(self) -> Step:
        return Packet(), self.command

    def command(self, packet: bytes) -> Step:
        number = int.from_bytes(packet[2:4], "big")
        if len(packet) != 6 or packet[:1] != b"\x86" or not self.is_due(number):
            return self.handle()
        self.add(number, int.from_bytes(packet[4:], "big"))
        self.send(b"\x01" + packet[1:4] + self.score.to_bytes(4, "big"))
        return self.handle()

    def is_due(self, number: int) -> bool:
        """Whether the command is the next one, or one that has been sent again."""
        return (self.expected - number) & 0xFFFF < 0x8000

    def add(self, number: int, points: int) -> None:
        self.score = (self.score + points) & 0xFFFF_FFFF
        self.expected = (number + 1) & 0xFFFF


class EnetRight(Enet):
    def add(self, number: int, points: int) -> None:
        if number == self.expected:
            super().add(number, points)


class Blocks(DatagramHandler):
    """A boot server (MTFTP's kind): "BOOT" asks for the image; each acknowledgement brings the next block."""

    image = bytes(range(256)) * 3

    def setup(self) -> None:
        self.block = 0

    async def handle(self) -> None:
        packet, tries = await Packet(timeout=10), 0
        if packet != b"BOOT":
            return
        self.put()
        while self.block * 256 <= len(self.image):
            try:
                packet = await Packet(timeout=2)
            except TimedOut:
                tries += 1
                if tries == 4:
                    return
                self.put()
                continue
            if len(packet) == 4 and packet[:2] == b"\x00\x04" and self.is_new(int.from_bytes(packet[2:], "big")):
                tries = 0
                if self.block * 256 <= len(self.image):
                    self.put()

    def put(self) -> None:
        start = self.block * 256
        self.send(b"\x00\x03" + self.block.to_bytes(2, "big") + self.image[start : start + 256])

    def is_new(self, number: int) -> bool:
        if number > self.block:
            return False
        self.block = number + 1
        return True


class BlocksRight(Blocks):
    def is_new(self, number: int) -> bool:
        if number != self.block:
            return False
        self.block = number + 1
        return True


class DeadPeers(DatagramHandler):
    """Dead peer detection (RFC 3706): a peer that is silent is asked, three times, whether it is there."""

    def setup(self) -> None:
        self.asked = 0

    def heard(self) -> None:
        """The peer has sent a packet."""

    async def handle(self) -> None:
        number = 0
        while True:
            try:
                packet = await Packet(timeout=20)
            except TimedOut:
                if self.asked == 3:
                    return
                self.asked += 1
                number += 1
                self.send(b"\x8d\x28" + number.to_bytes(4, "big"))
                continue
            if len(packet) != 6:
                continue
            if packet[:2] == b"\x8d\x28":
                self.heard()
                self.send(b"\x8d\x29" + packet[2:])
            elif packet[:2] == b"\x8d\x29":
                self.heard()


class DeadPeersRight(DeadPeers):
    def heard(self) -> None:
        self.asked = 0


def flap(channel: int, number: int, content: bytes) -> bytes:
    """A frame of FLAP."""
    sizes = number.to_bytes(2, "big") + len(content).to_bytes(2, "big")
    return b"\x2a" + bytes([channel]) + sizes + content


class Flap(StreamHandler):
    """FLAP, the frames of OSCAR: data comes back behind its status, a keep-alive is taken, a sign-off ends it."""

    timeout = 60.0
    largest = 65_535

    def setup(self) -> None:
        self.number = 0

    async def handle(self) -> None:
        while True:
            header = await Exactly(6)
            size = int.from_bytes(header[4:], "big")
            if header[:1] != b"\x2a" or size > self.largest:
                return
            content = await Exactly(size)
            if header[1] == 2:
                self.number = (self.number + 1) & 0xFFFF
                self.send(flap(2, self.number, b"\x00\x00" + content))
            elif header[1] != 5:
                return


class FlapRight(Flap):
    largest = 65_533


class Sane(StreamHandler):
    """A scanner behind SANE's daemon: code 4 asks for an option by its number, code 5 sets it."""

    timeout = 60.0

    def setup(self) -> None:
        self.options = [5, 300, 0, 210, 297]

    async def handle(self) -> None:
        while True:
            code = int.from_bytes(await Exactly(4), "big")
            if code == 4:
                option = int.from_bytes(await Exactly(4), "big")
                if self.is_outside(option):
                    self.answer(4, 0)
                else:
                    self.answer(0, self.options[option])
            elif code == 5:
                words = await Exactly(8)
                option = int.from_bytes(words[:4], "big")
                if not option or self.is_outside(option):
                    self.answer(4, 0)
                else:
                    self.options[option] = int.from_bytes(words[4:], "big")
                    self.answer(0, self.options[option])
            else:
                return

    def is_outside(self, option: int) -> bool:
        return option > len(self.options)

    def answer(self, status: int, value: int) -> None:
        self.send(status.to_bytes(4, "big") + value.to_bytes(4, "big"))


class SaneRight(Sane):
    def is_outside(self, option: int) -> bool:
        return option >= len(self.options)


class BootRelay(DatagramHandler):
    """A relay agent of BOOTP (RFC 1542): it counts the hop and puts in its own address."""

    most_hops = 255

    def handle(self) -> Step:
        return Packet(), self.relay

    def relay(self, packet: bytes) -> Step:
        if len(packet) >= 28 and packet[0] == 1 and packet[1:3] == b"\x01\x06" and packet[3] <= self.most_hops:
            address = packet[24:28] if any(packet[24:28]) else bytes([10, 0, 0, 1])
            self.send(packet[:3] + bytes([packet[3] + 1]) + packet[4:24] + address + packet[28:])
        return self.handle()


class BootRelayRight(BootRelay):
    most_hops = 16


def enet(number: int, points: int) -> bytes:
    """A reliable command of ENet."""
    return b"\x86\x00" + number.to_bytes(2, "big") + points.to_bytes(2, "big")


def bootp(hops: int, transaction: int, address: bytes = bytes(4)) -> bytes:
    """A request of BOOTP."""
    return b"\x01\x01\x06" + bytes([hops]) + transaction.to_bytes(4, "big") + bytes(16) + address + b"\x02" * 16


def dpd(kind: int, number: int) -> bytes:
    """A notification of dead peer detection."""
    return b"\x8d" + bytes([kind]) + number.to_bytes(4, "big")


def sane(*words: int) -> bytes:
    """Words of SANE."""
    return b"".join(word.to_bytes(4, "big") for word in words)


PAIRS = [
    Pair(
        "zabbix", 7, Zabbix, ZabbixRight,
        [zabbix(b"agent.ping"), zabbix(b"agent.version\n"), zabbix(b"vfs.none"), zabbix(b"system.uptime")],
    ),
    Pair("rlogin", 7, Rlogin, RloginRight, [b"\0ada\0root\0vt100/9600\0", b"ls\r", b"pwd\r", b"exit\r"]),
    Pair("rsync", 7, Rsync, RsyncRight, [b"@RSYNCD: 31.0\n", b"#list\n", b"\n", b"files\n"]),
    Pair("enet", 8, Enet, EnetRight, [enet(1, 5), enet(2, 7), enet(3, 1), enet(4, 100)]),
    Pair(
        "blocks", 8, Blocks, BlocksRight,
        [b"BOOT", b"\x00\x04\x00\x00", b"\x00\x04\x00\x01", b"\x00\x04\x00\x02", b"\x00\x04\x00\x03"],
    ),
    Pair(
        "dead peers", 8, DeadPeers, DeadPeersRight,
        [dpd(0x28, 1), dpd(0x28, 2), dpd(0x29, 1), dpd(0x28, 3)],
    ),
    Pair("flap", 9, Flap, FlapRight, [flap(2, 1, b"hello"), flap(5, 2, b""), flap(2, 3, b"\x00\x01\x00\x02")]),
    Pair("sane", 9, Sane, SaneRight, [sane(4, 0), sane(4, 1), sane(5, 1, 600), sane(4, 1), sane(4, 3)]),
    Pair(
        "bootp", 9, BootRelay, BootRelayRight,
        [bootp(0, 1), bootp(1, 2, bytes([10, 1, 0, 1])), bootp(0, 3)],
    ),
]  # fmt: skip
