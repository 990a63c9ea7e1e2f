"""Pairs of the eighth set: deadlines that begin anew, what comes twice, the largest and the smallest."""

from __future__ import annotations

from handlers import DatagramHandler, Delay, Exactly, FirstOf, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair


def opc(kind: bytes, content: bytes) -> bytes:
    """A message of OPC UA over TCP."""
    return kind + b"F" + (8 + len(content)).to_bytes(4, "little") + content


class OpcUa(StreamHandler):
    """The connection protocol of OPC UA: HEL is acknowledged, then messages are answered until CLO."""

    timeout = 60.0

    async def content(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            content += await Some(limit=size - len(content), timeout=10)
        return bytes(content)

    async def handle(self) -> None:
        greeted = False
        while True:
            self.one_by_one += 1
            header = await Exactly(8)
            size = int.from_bytes(header[4:], "little")
            if header[3:4] != b"F" or not 8 <= size <= 8192:
                self.send(opc(b"ERR", b"\0\0\x7e\x80\xff\xff\xff\xff"))
                return
            content = await self.content(size - 8)
            if header[:3] == b"HEL" and len(content) >= 24 and not greeted:
                greeted = True
                self.send(opc(b"ACK", b"\0\0\0\0" + b"\0\x20\0\0" * 2 + b"\0\0\0\0" * 2))
            elif header[:3] == b"MSG" and greeted and len(content) >= 16:
                self.send(opc(b"MSG", content[:16] + len(content).to_bytes(4, "little")))
            elif header[:3] == b"CLO" and greeted:
                return
            else:
                self.send(opc(b"ERR", b"\0\0\x7e\x80\xff\xff\xff\xff"))
                return


class OpcUaRight(OpcUa):
    request_timeout = 30.0

    async def content(self, size: int) -> bytes:
        return await Exactly(size)


class Ntrip(StreamHandler):
    """A caster of NTRIP 1.0: a mount point is asked for as in HTTP, then each position brings a correction."""

    timeout = 60.0

    async def handle(self) -> None:
        request = await Until(b"\r\n", limit=256, timeout=15)
        agent = b""
        for _ in range(32):
            line = await Until(b"\r\n", limit=256, timeout=15)
            if line == b"\r\n":
                break
            if line.lower().startswith(b"user-agent: "):
                agent = line[12:-2]
        else:
            return
        if not agent.startswith(b"NTRIP"):
            self.send(b"ERROR - Bad Request\r\n")
            return
        if request == b"GET / HTTP/1.0\r\n":
            self.send(b"SOURCETABLE 200 OK\r\nContent-Length: 28\r\n\r\nSTR;NORTH;\r\nENDSOURCETABLE\r\n")
            return
        if request != b"GET /NORTH HTTP/1.0\r\n":
            self.send(b"ERROR - Mount Point Taken or Invalid\r\n")
            return
        self.send(b"ICY 200 OK\r\n\r\n")
        self.opened()
        count = 0
        while True:
            self.one_by_one += 1
            line = await Until(b"\r\n", limit=128)
            if line.startswith(b"$GPGGA,"):
                count = (count + 1) % 0x1000
                self.send(b"\xd3\x00\x02" + (0x3ED0 | count % 16).to_bytes(2, "big") + count.to_bytes(3, "big"))


class NtripRight(Ntrip):
    request_timeout = 40.0


class Nmdc(StreamHandler):
    """A hub of NeoModus Direct Connect: commands that end with a bar. A user must have a name soon."""

    patience = 20.0

    def setup(self) -> None:
        self.held = b""

    async def command(self, patience: float) -> bytes | None:
        """The next command; ``None`` if it does not come in time."""
        while b"|" not in self.held[:1024]:
            if len(self.held) >= 1024:
                return None
            part, data = await FirstOf(Some(limit=1024), Delay(patience))
            if isinstance(part, Delay):
                return None
            self.held += data
        command, _, self.held = self.held.partition(b"|")
        return command

    async def handle(self) -> None:
        self.send(b"$Lock EXTENDEDPROTOCOLhub Pk=hub1|")
        if not (await self.command(self.patience) or b"").startswith(b"$Key "):
            return
        verb, _, name = (await self.command(self.patience) or b"").partition(b" ")
        if verb != b"$ValidateNick" or not name.isalnum() or len(name) > 24:
            self.send(b"$ValidateDenide|")
            return
        self.send(b"$Hello " + name + b"|")
        self.opened()
        while (command := await self.command(120.0)) is not None:
            if command == b"$GetNickList":
                self.send(b"$NickList " + name + b"$$|")
            elif command.startswith(b"<" + name + b"> "):
                self.send(command + b"|")
            elif command == b"$Quit " + name:
                return
            elif command:
                self.send(b"$Error unknown command|")


class NmdcRight(Nmdc):
    async def command(self, patience: float) -> bytes | None:
        part, data = await FirstOf(Until(b"|", limit=1024), Delay(patience))
        return None if isinstance(part, Delay) else data[:-1]


def fsp(command: int, sequence: int, data: bytes = b"", place: int = 0, *, is_answer: bool = False) -> bytes:
    """A packet of FSP with its checksum, in which a client counts the length too, and a server does not."""
    head = bytes([command, 0, 0x12, 0x34]) + sequence.to_bytes(2, "big") + len(data).to_bytes(2, "big")
    packet = head + place.to_bytes(4, "big") + data
    total = sum(packet) + (0 if is_answer else len(packet))
    return packet[:1] + bytes([(total + (total >> 8)) & 0xFF]) + packet[2:]


class Fsp(DatagramHandler):
    """The file service protocol, which waits for each answer: 10 has the version, 43 uploads, 44 installs."""

    timeout = 60.0

    def setup(self) -> None:
        self.upload = bytearray()

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) < 12:
                continue
            sequence, size = int.from_bytes(packet[4:6], "big"), int.from_bytes(packet[6:8], "big")
            place, data = int.from_bytes(packet[8:12], "big"), packet[12 : 12 + size]
            if packet != fsp(packet[0], sequence, data, place):
                continue
            self.reply(packet, sequence, data)

    def reply(self, packet: bytes, sequence: int, data: bytes) -> None:
        self.send(fsp(packet[0], sequence, self.answer(packet[0], data), is_answer=True))

    def answer(self, command: int, data: bytes) -> bytes:
        if command == 0x10:
            return b"small fspd 1"
        if command == 0x43 and len(self.upload) + len(data) <= 65_536:
            self.upload += data
            return b""
        if command == 0x44:
            size, self.upload = len(self.upload), bytearray()
            return b"%b: %d bytes" % (data[:32], size)
        return b"error"


class FspRight(Fsp):
    seen, answered, sequence = b"", b"", 0

    def reply(self, packet: bytes, sequence: int, data: bytes) -> None:
        if packet != self.seen:
            if self.seen and not 0 < (sequence - self.sequence) & 0xFFFF < 0x8000:
                return
            self.seen, self.sequence = packet, sequence
            self.answered = fsp(packet[0], sequence, self.answer(packet[0], data), is_answer=True)
        self.send(self.answered)


class MqttSn(DatagramHandler):
    """A gateway of MQTT-SN: a subscriber gets what is kept for it at QoS 1, the next when the last is confirmed."""

    timeout = 60.0
    readings = (b"20.5", b"20.6", b"20.4", b"20.9")

    def setup(self) -> None:
        self.sent = 0
        self.connected = False

    def is_due(self, number: int) -> bool:
        """Whether the confirmation of this number is one that the next reading waits for."""
        return self.sent > 0

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if not packet or packet[0] != len(packet) or len(packet) < 2:
                continue
            kind, content = packet[1], packet[2:]
            if kind == 0x04 and len(content) > 4 and content[1] == 1:
                self.connected = True
                self.send(b"\x03\x05\x00")
            elif not self.connected:
                if kind != 0x18:
                    self.send(b"\x02\x18")
            elif kind == 0x12 and len(content) > 3:
                self.send(b"\x08\x13\x20\x00\x01" + content[1:3] + b"\x00")
                if not self.sent:
                    self.publish()
            elif kind == 0x0D and len(content) == 5 and self.is_due(int.from_bytes(content[2:4], "big")):
                self.publish()
            elif kind == 0x16:
                self.send(b"\x02\x17")
            elif kind == 0x18:
                self.send(b"\x02\x18")
                return

    def publish(self) -> None:
        if self.sent < len(self.readings):
            reading, self.sent = self.readings[self.sent], self.sent + 1
            self.send(bytes([7 + len(reading), 0x0C, 0x20, 0, 1]) + self.sent.to_bytes(2, "big") + reading)


class MqttSnRight(MqttSn):
    def is_due(self, number: int) -> bool:
        return 0 < self.sent == number


class Iec104(StreamHandler):
    """An outstation of IEC 60870-5-104: it tests a silent link, and gives it up after three tests in vain."""

    timeout = 30.0
    request_timeout = 60.0
    tests = 0

    async def handle(self) -> None:
        received, started = 0, False
        while self.tests < 3:
            self.one_by_one += 1
            try:
                head = await Exactly(2, timeout=20)
            except TimedOut:
                self.tests += 1
                self.send(b"\x68\x04\x43\0\0\0")
                continue
            if head[0] != 0x68 or not 4 <= head[1] <= 253:
                return
            frame = await Exactly(head[1], timeout=15)
            self.alive()
            if frame == b"\x07\0\0\0":
                started = True
                self.send(b"\x68\x04\x0b\0\0\0")
            elif frame == b"\x13\0\0\0":
                started = False
                self.send(b"\x68\x04\x23\0\0\0")
            elif frame == b"\x43\0\0\0":
                self.send(b"\x68\x04\x83\0\0\0")
            elif not frame[0] & 1 and started:
                if int.from_bytes(frame[:2], "little") >> 1 != received:
                    return
                received = (received + 1) % 0x8000
                self.send(b"\x68\x04\x01\0" + (received << 1).to_bytes(2, "little"))
            elif frame[0] & 3 != 1 and frame != b"\x83\0\0\0":
                return

    def alive(self) -> None:
        """A frame has come."""


class Iec104Right(Iec104):
    def alive(self) -> None:
        self.tests = 0


def ldp(kind: int, number: int, content: bytes = b"") -> bytes:
    """A protocol data unit of LDP with one message."""
    message = kind.to_bytes(2, "big") + (4 + len(content)).to_bytes(2, "big") + number.to_bytes(4, "big") + content
    return b"\0\x01" + (6 + len(message)).to_bytes(2, "big") + b"\xc0\0\x02\x01\0\0" + message


class Ldp(StreamHandler):
    """The session of LDP (RFC 5036): initialization, keep-alives, addresses; each unit has one message."""

    timeout = 60.0
    request_timeout = 30.0
    smallest = 5

    async def handle(self) -> None:
        sent = 0
        while True:
            self.one_by_one += 1
            header = await Exactly(10)
            size, sent = int.from_bytes(header[2:4], "big"), (sent + 1) % 0xFFFF
            if header[:2] != b"\0\x01" or not self.smallest <= size <= 4096:
                self.send(ldp(0x0001, sent, b"\x03\0\0\x0a\x80\0\0\x03\0\0\0\0\0\0"))
                return
            message = await Exactly(size - 6)
            if len(message) < 8 or int.from_bytes(message[2:4], "big") != len(message) - 4:
                self.send(ldp(0x0001, sent, b"\x03\0\0\x0a\x80\0\0\x05\0\0\0\0\0\0"))
                return
            if message[:2] == b"\x02\x00":
                self.send(ldp(0x0200, sent, b"\x05\0\0\x0e\0\x01\0\x1e\0\0\x10\0\xc0\0\x02\x02\0\0"))
                self.send(ldp(0x0201, sent + 1))
            elif message[:2] == b"\x02\x01":
                self.send(ldp(0x0201, sent))
            elif message[:2] not in (b"\x03\x00", b"\x00\x01"):
                self.send(ldp(0x0001, sent, b"\x03\0\0\x0a\0\0\0\x06" + message[4:8] + message[:2]))


class LdpRight(Ldp):
    smallest = 6


def registration(number: int, lifetime: int, *extensions: bytes) -> bytes:
    """A registration request of Mobile IP."""
    head = b"\x01\x00" + lifetime.to_bytes(2, "big") + b"\xc0\0\x02\x05" + b"\xc0\0\x02\x01" + b"\xc6\x33\x64\x07"
    return head + number.to_bytes(8, "big") + b"".join(extensions)


class MobileIp(DatagramHandler):
    """A home agent of Mobile IP (RFC 5944): requests with extensions, of which the last is that of authentication."""

    timeout = 60.0
    least = 1

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) < 24 or packet[0] != 1:
                continue
            code, place = 131, 24
            while len(packet) - place >= self.least:
                kind, size = packet[place], packet[place + 1]
                if kind == 32:
                    code = 0 if packet[place + 2 : place + 2 + size] == b"\0\0\x01\0" + b"k" * 16 else 131
                elif kind < 128 and kind != 131:
                    code = 134
                    break
                place += 2 + size
            if place != len(packet):
                code = 134
            lifetime = min(int.from_bytes(packet[2:4], "big"), 600).to_bytes(2, "big")
            self.send(b"\x03" + bytes([code]) + lifetime + packet[4:12] + packet[16:24])


class MobileIpRight(MobileIp):
    least = 2


KEY = b"\x20\x14\0\0\x01\0" + b"k" * 16

PAIRS = [
    Pair(
        "opc-ua", 7, OpcUa, OpcUaRight,
        [
            opc(b"HEL", b"\0\0\0\0" + b"\0\x20\0\0" * 2 + b"\0\0\0\0" * 2 + b"\x0c\0\0\0opc.tcp://me"),
            opc(b"MSG", b"\x01\0\0\0\x01\0\0\0\x02\0\0\0\x02\0\0\0read"),
            opc(b"MSG", b"\x01\0\0\0\x01\0\0\0\x03\0\0\0\x03\0\0\0write"),
            opc(b"CLO", b"\x01\0\0\0\x01\0\0\0\x04\0\0\0\x04\0\0\0"),
        ],
    ),
    Pair(
        "ntrip", 7, Ntrip, NtripRight,
        [
            b"GET /NORTH HTTP/1.0\r\nUser-Agent: NTRIP rover\r\nAccept: */*\r\n\r\n",
            b"$GPGGA,120000,5200.0,N,01300.0,E,1,08,1.0,34,M,,M,,*5B\r\n",
            b"$GPGGA,120001,5200.0,N,01300.0,E,1,08,1.0,34,M,,M,,*5A\r\n",
        ],
    ),
    Pair(
        "nmdc", 7, Nmdc, NmdcRight,
        [b"$Key abc|", b"$ValidateNick ada|", b"$GetNickList|", b"<ada> hello|", b"$Quit ada|"],
    ),
    Pair(
        "fsp", 8, Fsp, FspRight,
        [fsp(0x10, 1), fsp(0x43, 2, b"hello "), fsp(0x43, 3, b"world", 6), fsp(0x44, 4, b"greeting")],
    ),
    Pair(
        "mqtt-sn", 8, MqttSn, MqttSnRight,
        [
            b"\x0b\x04\x04\x01\x00\x1eprobe",
            b"\x09\x12\x20\x00\x01temp",
            b"\x07\x0d\x00\x01\x00\x01\x00",
            b"\x07\x0d\x00\x01\x00\x02\x00",
            b"\x02\x16",
            b"\x02\x18",
        ],
    ),
    Pair(
        "iec-104", 8, Iec104, Iec104Right,
        [
            b"\x68\x04\x07\0\0\0",
            b"\x68\x0e\0\0\0\0\x64\x01\x06\0\x01\0\0\0\0\x14",
            b"\x68\x0e\x02\0\0\0\x64\x01\x06\0\x01\0\0\0\0\x14",
            b"\x68\x04\x43\0\0\0",
            b"\x68\x04\x13\0\0\0",
        ],
    ),
    Pair(
        "ldp", 9, Ldp, LdpRight,
        [
            ldp(0x0200, 1, b"\x05\0\0\x0e\0\x01\0\x1e\0\0\x10\0\xc0\0\x02\x01\0\0"),
            ldp(0x0201, 2),
            ldp(0x0300, 3, b"\x01\x01\0\x02\0\x01"),
            ldp(0x0201, 4),
        ],
    ),
    Pair(
        "mobile-ip", 9, MobileIp, MobileIpRight,
        [registration(1, 300, KEY), registration(2, 9000, b"\x84\x03ada", KEY), registration(3, 0)],
    ),
]  # fmt: skip
