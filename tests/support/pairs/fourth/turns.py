"""Pairs of handlers, broken and right: depth, swallowed causes, what comes in one read."""

from __future__ import annotations

import struct
from typing import Any

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, TimedOut, Until, UntilAny
from tests.support.pairs.pair import Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

# 4: depth


class Malformed(Exception):
    """The message can't be read."""


HEAD = Until(b"\r\n", limit=64)


class Resp(StreamHandler):
    """RESP, the protocol of Redis. Broken: an array in an array takes a call, however deep."""

    deepest = 1 << 20

    async def handle(self) -> None:
        while True:
            line = await HEAD
            self.room = 16_384
            try:
                value = await self.value(line, 0)
            except Malformed:
                self.send(b"-ERR Protocol error\r\n")
                return
            if value == [b"PING"]:
                self.send(b"+PONG\r\n")
            elif isinstance(value, list) and len(value) == 2 and value[0] == b"ECHO" and isinstance(value[1], bytes):
                self.send(b"$%d\r\n%b\r\n" % (len(value[1]), value[1]))
            else:
                self.send(b"-ERR unknown command\r\n")

    async def value(self, line: bytes, depth: int) -> Any:
        """The value whose first line is ``line``."""
        kind, digits = line[:1], line[1:-2]
        if not digits.isdigit() or len(digits) > 5 or depth > self.deepest:
            raise Malformed
        size = int(digits)
        self.room -= len(line) + (size if kind == b"$" else 0)
        if self.room < 0:
            raise Malformed
        if kind == b"$":
            data = await Exactly(size + 2)
            if data[-2:] != b"\r\n":
                raise Malformed
            return data[:-2]
        if kind == b":":
            return size
        if kind != b"*":
            raise Malformed
        return [await self.value(await Until(b"\r\n", limit=64), depth + 1) for _ in range(size)]


class RespRight(Resp):
    deepest = 8


class MongoDB(StreamHandler):
    """OP_MSG of MongoDB. Broken: a document in a document takes a call, however deep."""

    deepest = 1 << 20
    timeout = 60

    async def handle(self) -> None:
        while True:
            size, request, _, opcode = struct.unpack("<4i", await Exactly(16))
            if opcode != 2013 or not 26 <= size <= 48_000:
                return
            body = await Exactly(size - 16)
            try:
                if body[4] != 0:
                    raise Malformed
                asked, end = self.document(body, 5, 0)
            except (Malformed, IndexError, struct.error):
                return
            is_known = end == len(body) and next(iter(asked), None) in (b"ping", b"hello")
            answer = b"\x11\x00\x00\x00\x01ok\x00" + struct.pack("<d", is_known) + b"\x00"
            self.send(struct.pack("<4iiB", 21 + len(answer), 0, request, 2013, 0, 0) + answer)

    def document(self, data: bytes, start: int, depth: int) -> tuple[dict[bytes, Any], int]:
        """The document that begins at ``start``, and its end."""
        end = start + struct.unpack_from("<i", data, start)[0]
        if not start + 5 <= end <= len(data) or depth > self.deepest:
            raise Malformed
        found, place = {}, start + 4
        while kind := data[place]:
            name, nul, _ = data[place + 1 : end].partition(b"\x00")
            place += 2 + len(name)
            if not nul or place >= end:
                raise Malformed
            value: Any
            if kind in (3, 4):
                value, place = self.document(data, place, depth + 1)
            elif kind == 2:
                size = struct.unpack_from("<i", data, place)[0]
                value, place = data[place + 4 : place + 3 + size], place + 4 + max(size, 1)
            elif kind in (1, 16, 18):
                width = 4 if kind == 16 else 8
                value, place = data[place : place + width], place + width
            else:
                raise Malformed
            found[name] = value
        if place + 1 != end:
            raise Malformed
        return found, end


class MongoDBRight(MongoDB):
    deepest = 32


class MulticastDNS(DatagramHandler):
    """Multicast DNS (RFC 6762). Broken: a name that points to itself is followed."""

    async def handle(self) -> None:
        packet = await Packet()
        if len(packet) < 12 or packet[2] & 0xF8 or packet[6:12] != bytes(6):
            return
        place = 12
        try:
            for _ in range(int.from_bytes(packet[4:6], "big")):
                name, place = self.name(packet, place)
                kind, _ = struct.unpack_from("!HH", packet, place)
                place += 4
                if name == [b"printer", b"local"] and kind in (1, 255):
                    self.send(packet[:2] + b"\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x07printer\x05local\x00"
                              b"\x00\x01\x80\x01\x00\x00\x00\x78\x00\x04\xc0\x00\x02\x07")  # fmt: skip
                    return
        except (Malformed, IndexError, struct.error):
            return

    def name(self, packet: bytes, place: int) -> tuple[list[bytes], int]:
        """The labels of the name at ``place``, and where it ends."""
        size = packet[place]
        if size >= 0xC0:
            return self.name(packet, (size & 0x3F) << 8 | packet[place + 1])[0], place + 2
        if not size:
            return [], place + 1
        rest, end = self.name(packet, place + 1 + size)
        return [packet[place + 1 : place + 1 + size].lower(), *rest], end


class MulticastDNSRight(MulticastDNS):
    def name(self, packet: bytes, place: int) -> tuple[list[bytes], int]:
        labels: list[bytes] = []
        end, first = 0, place
        while size := packet[place]:
            if size >= 0xC0:
                end, place = end or place + 2, (size & 0x3F) << 8 | packet[place + 1]
                if place >= first:  # a pointer is to a name before
                    raise Malformed
                first = place
                continue
            if size > 63 or len(labels) == 127:
                raise Malformed
            labels.append(packet[place + 1 : place + 1 + size].lower())
            place += 1 + size
        return labels, end or place + 1


# 5: swallowed causes


class Lmtp(StreamHandler):
    """LMTP (RFC 2033). Broken: the end of the stream in the midst of a message is taken for the end of the message."""

    async def handle(self) -> None:
        recipients = 0
        self.send(b"220 lmtp.example LMTP\r\n")
        while True:
            verb = (await Until(b"\r\n", limit=512))[:-2].partition(b" ")[0].upper()
            if verb == b"QUIT":
                self.send(b"221 bye\r\n")
                return
            if verb in (b"LHLO", b"MAIL", b"RSET", b"NOOP"):
                recipients = recipients if verb == b"NOOP" else 0
                self.send(b"250 OK\r\n")
            elif verb == b"RCPT" and recipients < 20:
                recipients += 1
                self.send(b"250 OK\r\n")
            elif verb == b"DATA" and recipients:
                self.send(b"354 go on\r\n")
                size = await self.text()
                self.send(b"250 %d bytes delivered\r\n" % size * recipients)
                recipients = 0
            else:
                self.send(b"503 not now\r\n")

    async def text(self) -> int:
        """Read a message; its size."""
        size = 0
        while True:
            try:
                line = await Until(b"\r\n", limit=1000)
            except Exception:
                return size
            if line == b".\r\n":
                return size
            size += len(line) - line.startswith(b".")


class LmtpRight(Lmtp):
    async def text(self) -> int:
        size = 0
        while (line := await Until(b"\r\n", limit=1000)) != b".\r\n":
            size += len(line) - line.startswith(b".")
        return size


def adb(command: bytes, first: int, second: int, data: bytes = b"") -> bytes:
    """A message of the Android debug bridge."""
    magic = int.from_bytes(command, "little") ^ 0xFFFF_FFFF
    return struct.pack("<4s5I", command, first, second, len(data), sum(data), magic) + data


class Adb(StreamHandler):
    """The Android debug bridge. Broken: a wait that fails is begun again."""

    timeout = 30

    async def handle(self) -> None:
        while True:
            try:
                more = await self.message(await Exactly(24))
            except Exception:
                continue  # the next message may be better
            if not more:
                return

    async def message(self, header: bytes) -> bool:
        """Answer one message. Whether another may follow."""
        command, first, second, size, total, magic = struct.unpack("<4s5I", header)
        if magic != int.from_bytes(command, "little") ^ 0xFFFF_FFFF or size > 4096:
            return False
        data = await Exactly(size)
        if sum(data) != total:
            return False
        if command == b"CNXN":
            self.send(adb(b"CNXN", 0x0100_0000, 4096, b"device::\x00"))
        elif command == b"OPEN":
            self.send(adb(b"OKAY", 7, first))
        elif command == b"WRTE":
            self.send(adb(b"OKAY", second, first))
        elif command == b"CLSE":
            self.send(adb(b"CLSE", second, first))
        return command in (b"CNXN", b"OPEN", b"WRTE", b"CLSE", b"OKAY")


class AdbRight(Adb):
    async def handle(self) -> None:
        while await self.message(await Exactly(24)):
            pass


OUT_OF_BAND = b"\xff\xff\xff\xff"
CHALLENGE = OUT_OF_BAND + b"challengeResponse 1644975716"


class Quake(DatagramHandler):
    """The connection of a client of Quake 3. Broken: for any cause the challenge is sent again, without an end."""

    async def handle(self) -> None:
        if await Packet() != OUT_OF_BAND + b"getchallenge\n":
            return
        self.send(CHALLENGE)
        await self.connect()

    async def connect(self) -> None:
        while True:
            try:
                packet = await Packet(timeout=3)
            except Exception:
                self.send(CHALLENGE)
                continue
            if self.is_connected(packet):
                return

    def is_connected(self, packet: bytes) -> bool:
        """Whether the packet is the client's, which connects."""
        is_connected = packet.startswith(OUT_OF_BAND + b"connect ")
        if is_connected:
            self.send(OUT_OF_BAND + b"connectResponse")
        return is_connected


class QuakeRight(Quake):
    async def connect(self) -> None:
        for _ in range(4):
            try:
                packet = await Packet(timeout=3)
            except TimedOut:
                self.send(CHALLENGE)
                continue
            if self.is_connected(packet):
                return


# 6: what comes in one read


class Nut(StreamHandler):
    """Network UPS tools. Broken: the limit of a line is held against all that the client has sent."""

    def handle(self) -> Step:
        return Until(b"\n", limit=256), self.command

    def command(self, line: bytes) -> Step:
        if self.is_flooded():
            self.send(b"ERR TOO-LONG\n")
            return None
        words = line.split()
        if words == [b"LOGOUT"]:
            self.send(b"OK Goodbye\n")
            return None
        if words == [b"VER"]:
            self.send(b"Network UPS Tools upsd 2.8.0\n")
        elif words == [b"GET", b"VAR", b"ups", b"battery.charge"]:
            self.send(b'VAR ups battery.charge "100"\n')
        elif words[:2] == [b"GET", b"VAR"]:
            self.send(b"ERR VAR-NOT-SUPPORTED\n")
        else:
            self.send(b"ERR UNKNOWN-COMMAND\n")
        return self.handle()

    def is_flooded(self) -> bool:
        return self.held_in > 256


class NutRight(Nut):
    def is_flooded(self) -> bool:
        return False


class Mpd(StreamHandler):
    """The music player daemon. Broken: answers are sent together, but an error at once."""

    def setup(self) -> None:
        self.answers: list[bytes] = []

    def handle(self) -> Step:
        return Until(b"\n", limit=1024), self.command

    def command(self, line: bytes) -> Step:
        verb = line.partition(b" ")[0].strip()
        if verb == b"close":
            self.flush()
            return None
        if verb == b"ping":
            self.answer(b"OK\n")
        elif verb == b"status":
            self.answer(b"volume: 50\nstate: stop\nOK\n")
        else:
            self.send(b"ACK [5@0] {} unknown command\n")
        if not self.held_in:
            self.flush()
        return self.handle()

    def answer(self, text: bytes) -> None:
        self.answers.append(text)
        if len(self.answers) == 16:
            self.flush()

    def flush(self) -> None:
        self.send(b"".join(self.answers))
        self.answers.clear()


class MpdRight(Mpd):
    def answer(self, text: bytes) -> None:
        self.send(text)


def astm(number: int, text: bytes) -> bytes:
    """A frame of ASTM E1381."""
    body = b"%d%b\x03" % (number, text)
    return b"\x02%b%02X\r\n" % (body, sum(body) % 256)


class Astm(StreamHandler):
    """ASTM E1381, between a laboratory's machines. Broken: what has come behind a broken frame is thrown away."""

    timeout = 30

    async def handle(self) -> None:
        while True:
            frame = await UntilAny(b"\x05", b"\x04", b"\r\n", limit=256)
            if frame == b"\x04":
                continue
            if frame == b"\x05" or (len(frame) > 7 and frame == astm(frame[1] - 48, frame[2:-5])):
                self.send(b"\x06")
            else:
                self.resume()
                self.send(b"\x15")

    def resume(self) -> None:
        self.take_held()


class AstmRight(Astm):
    def resume(self) -> None:
        pass


def op_msg(number: int, name: bytes) -> bytes:
    """A command of MongoDB with one inner document."""
    inner = b"\x0b\x00\x00\x00\x10v\x00\x01\x00\x00\x00\x00"
    inner = struct.pack("<i", len(inner)) + inner[4:]
    body = b"\x10" + name + b"\x00\x01\x00\x00\x00\x03client\x00" + inner + b"\x02$db\x00\x06\x00\x00\x00admin\x00\x00"
    return struct.pack("<4iiBi", 25 + len(body), number, 0, 2013, 0, 0, 4 + len(body)) + body


def mdns(number: int, *questions: bytes) -> bytes:
    return struct.pack("!6H", number, 0, len(questions), 0, 0, 0) + b"".join(questions)


PRINTER = b"\x07printer\x05local\x00"

PAIRS = [
    Pair("resp", 4, Resp, RespRight,
         [b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n", b"*2\r\n:1\r\n*1\r\n:2\r\n"]),
    Pair("mongodb", 4, MongoDB, MongoDBRight, [op_msg(1, b"hello"), op_msg(2, b"ping"), op_msg(3, b"other")]),
    Pair("mdns", 4, MulticastDNS, MulticastDNSRight,
         [mdns(1, PRINTER + b"\x00\x01\x00\x01"), mdns(2, b"\x05other\x05local\x00\x00\x01\x00\x01"),
          mdns(3, PRINTER + b"\x00\x0c\x00\x01", b"\xc0\x0c\x00\xff\x00\x01")]),
    Pair("lmtp", 5, Lmtp, LmtpRight,
         [b"LHLO a.example\r\n", b"MAIL FROM:<a@a.example>\r\n", b"RCPT TO:<b@b.example>\r\n", b"DATA\r\n",
          b"Subject: x\r\n\r\n..dots\r\n.\r\n", b"QUIT\r\n"]),
    Pair("adb", 5, Adb, AdbRight,
         [adb(b"CNXN", 0x0100_0000, 4096, b"host::\x00"), adb(b"OPEN", 3, 0, b"shell:ls\x00"),
          adb(b"WRTE", 3, 7, b"hello"), adb(b"CLSE", 3, 7)]),
    Pair("quake", 5, Quake, QuakeRight,
         [OUT_OF_BAND + b"getchallenge\n", OUT_OF_BAND + b'connect "\\name\\ada"',
          OUT_OF_BAND + b"getchallenge\n", OUT_OF_BAND + b'connect "\\name\\eve"']),
    Pair("nut", 6, Nut, NutRight,
         [b"VER\n", b"GET VAR ups battery.charge\n", b"GET VAR ups input.voltage\n", b"LOGOUT\n"]),
    Pair("mpd", 6, Mpd, MpdRight, [b"ping\n", b"status\n", b"frobnicate\n", b"ping\n", b"close\n"]),
    Pair("astm", 6, Astm, AstmRight,
         [b"\x05", astm(1, b"H|\\^&|||host\r"), astm(2, b"P|1\r"), astm(3, b"L|1|N\r"), b"\x04"]),
]  # fmt: skip
