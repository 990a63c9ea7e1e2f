"""Pairs of handlers, as in `shipped`, for other protocols: they were written before the source of `check` was read.

When they were first tried, `check` found 9 of the 27 faults, and accused one right handler. With what was mended since
it finds those of `UNSEEN`, and accuses none.
"""

import gzip
import re
import struct
import zlib
from typing import ClassVar

from handlers import (
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    Until,
)
from tests.support.pairs.shipped import Pair

# Where a message ends, and what belongs to the next one


class ReadsTheRefused(StreamHandler):
    """Memcached: refuses an item that is too large, and then takes its bytes for commands."""

    skips = False

    async def handle(self):
        items: dict[bytes, bytes] = {}
        while True:
            line = await Until(b"\r\n", limit=64)
            if found := re.fullmatch(rb"set ([a-z]{1,8}) 0 0 ([0-9]{1,4})\r\n", line):
                await self.store(items, found[1], int(found[2]))
            elif found := re.fullmatch(rb"get ([a-z]{1,8})\r\n", line):
                self.send(b"VALUE %b\r\n" % items.get(found[1], b"-"))
            else:
                self.send(b"ERROR\r\n")

    async def store(self, items, key, size):
        if size > 32 or len(items) >= 8:
            if self.skips:
                await Exactly(size + 2)
            self.send(b"SERVER_ERROR object too large for cache\r\n")
            return
        data = await Exactly(size + 2)
        if data[-2:] == b"\r\n":
            items[key] = data[:-2]
        self.send(b"STORED\r\n" if data[-2:] == b"\r\n" else b"CLIENT_ERROR bad data chunk\r\n")


class SkipsTheRefused(ReadsTheRefused):
    skips = True


class IgnoresTheNull(StreamHandler):
    """PostgreSQL: drops the last byte of a query, whatever it is; it should be a null."""

    def is_query(self, text):
        return True

    async def handle(self):
        while True:
            kind, size = struct.unpack("!cI", await Exactly(5))
            if kind == b"X" and size == 4:
                return
            if kind != b"Q" or not 5 <= size <= 1_000:
                self.send(b"E08P01\0")
                return
            text = await Exactly(size - 4)
            if not self.is_query(text):
                self.send(b"E08P01\0")
                return
            self.send(b"C%b\0" % text[:-1].strip(b"\0").upper())


class LooksAtTheNull(IgnoresTheNull):
    def is_query(self, text):
        return text.find(b"\0") == len(text) - 1


class PostsTheHalf(StreamHandler):
    """NNTP: an article whose connection is lost before the line with the dot is posted as far as it came."""

    posts_part = True

    def __init__(self):
        self.posted = 0

    async def handle(self):
        while True:
            line = await Until(b"\r\n", limit=64)
            if line == b"QUIT\r\n":
                self.send(b"205 bye\r\n")
                return
            if line != b"POST\r\n":
                self.send(b"500 what?\r\n")
                continue
            self.send(b"340 go on\r\n")
            await self.article()

    async def article(self):
        size = 0
        try:
            while (line := await Until(b"\r\n", limit=998)) != b".\r\n":
                size += len(line) - line.startswith(b"..")
                if size > 10_000:
                    self.send(b"441 too long\r\n")
                    raise LimitPassed(None)
        except EndOfStream:
            if not self.posts_part:
                raise
        self.posted += 1
        self.send(b"240 article %d received, %d bytes\r\n" % (self.posted, size))


class PostsTheWhole(PostsTheHalf):
    posts_part = False


class DropsTheSecond(StreamHandler):
    """Syslog with octet counting (RFC 6587): what has come behind a message is thrown away with the message."""

    keeps = False

    async def handle(self):
        held = b""
        while True:
            if not self.keeps or not held:
                held += await Some(limit=512)
            found = re.match(rb"([1-9][0-9]{0,2}) ", held)
            if found is None and (len(held) > 3 or not re.fullmatch(rb"[1-9][0-9]{0,2}", held)):
                self.send(b"bad\n")
                return
            end = found.end() + int(found[1]) if found else 0
            if found is None or len(held) < end:
                held += await Some(limit=512)
                continue
            self.send(b"<%b>\n" % held[found.end() : end])
            held = held[end:] if self.keeps else b""


class KeepsTheSecond(DropsTheSecond):
    async def handle(self):
        while True:
            digits = (await Until(b" ", limit=4))[:-1]
            if not re.fullmatch(rb"[1-9][0-9]{0,2}", digits):
                self.send(b"bad\n")
                return
            self.send(b"<%b>\n" % await Exactly(int(digits)))


class UnescapesEachRead(StreamHandler):
    """SLIP (RFC 1055): an escape at the end of a read is not seen as one."""

    async def handle(self):
        frame = bytearray()
        while True:
            data = await Some(limit=64)
            for part in re.findall(rb"[^\xc0]+|\xc0", data):
                if part == b"\xc0":
                    self.answer(frame)
                    frame.clear()
                else:
                    frame += self.unescaped(part)
            if len(frame) > 256:
                self.send(b"too long")
                return

    def unescaped(self, data):
        return data.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")

    def answer(self, frame):
        if frame:
            self.send(b"%d:%b\n" % (len(frame), bytes(frame).hex().encode()))


class UnescapesFrames(UnescapesEachRead):
    async def handle(self):
        while True:
            frame = (await Until(b"\xc0", limit=256))[:-1]
            if re.search(rb"\xdb(?![\xdc\xdd])", frame):
                self.send(b"bad\n")
                return
            self.answer(re.sub(rb"\xdb(.)", lambda found: b"\xc0" if found[1] == b"\xdc" else b"\xdb", frame))


# Lengths and numbers


class LengthWithoutEnd(StreamHandler):
    """MQTT: takes any number of bytes of the remaining length, of which there are four at most."""

    most = 1 << 30

    async def handle(self):
        while True:
            kind = (await Exactly(1))[0] >> 4
            size = shift = 0
            while True:
                byte = (await Exactly(1))[0]
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
                if shift >= 7 * self.most:
                    return
            if size > 1_000:
                return
            body = await Exactly(size)
            self.send(bytes((kind << 4, 1)) + bytes([len(body) % 251]))


class LengthOfFour(LengthWithoutEnd):
    most = 4


class FramesOfAnySize(StreamHandler):
    """AMQP: takes a frame of any size that 32 bits can tell, whatever ``frame-max`` was agreed on."""

    frame_max = 1 << 32

    async def handle(self):
        if await Exactly(8) != b"AMQP\0\0\x09\x01":
            self.send(b"AMQP\0\0\x09\x01")
            return
        while True:
            kind, channel, size = struct.unpack("!BHI", await Exactly(7))
            if kind not in (1, 2, 3, 8) or size > self.frame_max:
                self.send(b"\1\0\0\0\0\0\2\xf5\x01\xce")
                return
            data = await Exactly(size + 1, limit=(1 << 32) + 1)
            if data[-1] != 0xCE:
                self.send(b"\1\0\0\0\0\0\2\xf5\x02\xce")
                return
            self.send(struct.pack("!BHI", 8, channel, 4) + size.to_bytes(4, "big") + b"\xce")


class FramesOfSomeSize(FramesOfAnySize):
    frame_max = 4_096


class BelievesTheLengths(StreamHandler):
    """FastCGI: the lengths of a name and its value are not compared with the bytes that the record has."""

    believes = True

    async def handle(self):
        while True:
            version, kind, number, size, padding = struct.unpack("!BBHHBx", await Exactly(8))
            if version != 1 or kind != 4:
                return
            data = (await Exactly(size + padding))[:size]
            pairs = self.pairs(data)
            if pairs is None:
                self.send(b"bad\n")
                return
            self.send(b"%d: %b\n" % (number, b"&".join(b"%b=%b" % pair for pair in pairs)))

    def pairs(self, data):
        pairs, at = [], 0
        while at < len(data):
            if len(data) - at < 2 or data[at] > 127 or data[at + 1] > 127:
                return None
            name, value = data[at], data[at + 1]
            middle, at = at + 2 + name, at + 2 + name + value
            if at > len(data) and not self.believes:
                return None
            pairs.append((data[middle - name : middle], data[middle:at]))
        return pairs


class ComparesTheLengths(BelievesTheLengths):
    believes = False


class PortsOfAnySize(StreamHandler):
    """FTP: a number of ``PORT`` that is over 255 is no byte."""

    pattern: ClassVar[re.Pattern[bytes]] = re.compile(rb"PORT ([0-9]{1,3}(?:,[0-9]{1,3}){5})\r\n")

    async def handle(self):
        while True:
            line = await Until(b"\r\n", limit=64)
            found = self.pattern.fullmatch(line)
            if found is None or not self.is_address(found[1]):
                self.send(b"501 syntax error in parameters\r\n")
                continue
            numbers = bytes(map(int, found[1].split(b",")))
            self.send(b"200 %d\r\n" % int.from_bytes(numbers[4:], "big"))

    def is_address(self, numbers):
        return True


class PortsOfBytes(PortsOfAnySize):
    def is_address(self, numbers):
        return all(int(number) < 256 for number in numbers.split(b","))


class PortsAsPythonHasThem(StreamHandler):
    """Ident (RFC 1413): reads the ports with ``int()``, which takes signs, underscores and blanks."""

    def port(self, text):
        try:
            return int(text)
        except ValueError:
            return 0

    async def handle(self):
        while True:
            ours, comma, theirs = (await Until(b"\r\n", limit=40))[:-2].partition(b",")
            ports = self.port(ours), self.port(theirs)
            if comma and all(0 < port < 65_536 for port in ports):
                self.send(b"%d,%d:USERID:UNIX:ann\r\n" % ports)
            else:
                self.send(b"0,0:ERROR:INVALID-PORT\r\n")


class PortsInDigits(PortsAsPythonHasThem):
    def port(self, text):
        return int(text) if re.fullmatch(rb"[0-9]{1,5}", text) else 0


class OneRegisterTooMany(StreamHandler):
    """Modbus: as many registers may be read as have no length of one byte any more."""

    most = 128

    async def handle(self):
        while True:
            number, protocol, size, unit = struct.unpack("!HHHB", await Exactly(7))
            if protocol != 0 or size != 6:
                return
            function, start, count = struct.unpack("!BHH", await Exactly(5))
            if function != 3:
                body = bytes((function | 128, 1))
            elif not 1 <= count <= self.most or start + count > 65_536:
                body = bytes((function | 128, 3))
            else:
                body = bytes((3, 2 * count)) + b"".join((start + at).to_bytes(2, "big") for at in range(count))
            self.send(struct.pack("!HHHB", number, 0, 1 + len(body), unit) + body)


class RegistersAsSpecified(OneRegisterTooMany):
    most = 125


class StandsStill(DatagramHandler):
    """STUN-like: an attribute whose length counts its head; with a length of 0 the search stands still."""

    least = 0

    async def handle(self):
        while True:
            packet = await Packet()
            if len(packet) < 4 or packet[:2] != b"\0\1" or int.from_bytes(packet[2:4], "big") != len(packet) - 4:
                continue
            if (kinds := self.kinds(packet)) is not None:
                self.send(b"\1\1" + bytes(kinds))

    def kinds(self, packet):
        kinds, at = [], 4
        while at + 2 <= len(packet):
            size = packet[at + 1]
            if size < self.least or at + size > len(packet):
                return None
            if len(kinds) < 32:
                kinds.append(packet[at])
            at += size
        return kinds


class GoesOn(StandsStill):
    least = 2


# What is held: in pieces, in depth, for how long


class HeadersWithoutEnd(StreamHandler):
    """STOMP: keeps as many headers as the client sends."""

    most = 1 << 60

    async def handle(self):
        while True:
            command = await Until(b"\n", limit=32)
            headers: dict[bytes, bytes] = {}
            while (line := await Until(b"\n", limit=256)) != b"\n":
                name, colon, value = line[:-1].partition(b":")
                headers.setdefault(name, value)
                if not colon or len(headers) > self.most:
                    self.send(b"ERROR\n\n\0")
                    return
            body = await Until(b"\0", limit=1_000)
            self.send(b"RECEIPT\nreceipt-id:%b\n\n%b %b" % (headers.get(b"receipt", b"-"), command[:-1], body))


class FewHeaders(HeadersWithoutEnd):
    most = 20


class FragmentsWithoutEnd(StreamHandler):
    """WebSocket: each frame has a bound, the message that they make has none."""

    most = 1 << 60

    async def handle(self):
        message = bytearray()
        while True:
            first, second = await Exactly(2)
            if first & 0x70 or not second & 128 or second & 127 > 125:
                return
            mask = await Exactly(4)
            data = await Exactly(second & 127)
            if len(message) + len(data) > self.most:
                self.send(b"\x88\x02\x03\xf1")
                return
            message += bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
            if first & 128:
                self.send(b"\x81\x02" + len(message).to_bytes(2, "big"))
                message = bytearray()


class FragmentsOfAMessage(FragmentsWithoutEnd):
    most = 4_096


class RemembersReset(StreamHandler):
    """HTTP/2: a stream that has been reset stays in the table."""

    forgets = False

    async def handle(self):
        if await Exactly(24) != b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
            return
        streams: dict[int, bytearray] = {}
        while True:
            head = await Exactly(9)
            size, kind, number = int.from_bytes(head[:3], "big"), head[3], int.from_bytes(head[5:], "big") & 0x7FFFFFFF
            if size > 256 or not number:
                self.send(b"\0\0\0\7\0\0\0\0\0")
                return
            data = await Exactly(size)
            if kind == 1 and self.opened(streams) < 16:
                streams[number] = bytearray(data)
            elif kind == 3 and number in streams:
                self.send(b"%d gone\n" % len(streams[number]))
                streams[number] = bytearray()
                if self.forgets:
                    del streams[number]
            elif kind == 1:
                self.send(b"refused\n")
            else:
                self.send(b"ignored\n")

    def opened(self, streams):
        return sum(1 for data in streams.values() if data)


class ForgetsReset(RemembersReset):
    forgets = True

    def opened(self, streams):
        return len(streams)


class GroupsInGroups(StreamHandler):
    """Diameter: a function calls itself for each attribute that is in another one."""

    deepest = 1 << 60

    async def handle(self):
        while True:
            version, *size = await Exactly(4)
            length = int.from_bytes(size, "big")
            if version != 1 or not 4 <= length <= 60_000:
                return
            data = await Exactly(length - 4)
            count = self.count(data, 0)
            self.send(b"%d\n" % count if count >= 0 else b"5004\n")

    def count(self, data, depth):
        """The attributes in ``data`` (a kind, a length of 3 bytes that counts the head), -1 if it is malformed."""
        total = at = 0
        while at < len(data):
            size = int.from_bytes(data[at + 1 : at + 4], "big")
            if len(data) - at < 4 or not 4 <= size <= len(data) - at or depth >= self.deepest:
                return -1
            inside = self.count(data[at + 4 : at + size], depth + 1) if data[at] == 2 else 0
            if inside < 0:
                return -1
            total, at = total + 1 + inside, at + size
        return total


class FewGroups(GroupsInGroups):
    deepest = 8


class BannersForever(StreamHandler):
    """SSH: any number of lines may come before the version, each with a new timeout."""

    timeout = 20.0
    most = 1 << 60

    async def handle(self):
        self.send(b"SSH-2.0-x\r\n")
        lines = 0
        while not (line := await Until(b"\r\n", limit=255)).startswith(b"SSH-2.0-"):
            lines += 1
            if lines > self.most:
                return
        while True:
            size = int.from_bytes(await Exactly(4), "big")
            if not 1 <= size <= 1_000:
                return
            data = await Exactly(size)
            self.send(b"\0\0\0\2" + bytes((data[0], len(line))))


class FewBanners(BannersForever):
    request_timeout = 600.0
    most = 20


class SplitsTheWhole(StreamHandler):
    """Multipart: splits all that has come at each read, until the last boundary is there."""

    async def handle(self):
        body = bytearray()
        while b"\r\n--frontier--" not in (data := await Some(limit=4_096)) and b"--frontier--" not in body + data:
            body += data
            if len(body) > 1 << 20:
                self.send(b"413\n")
                return
        body += data
        self.send(b"%d parts\n" % body.partition(b"--frontier--")[0].count(b"--frontier\r\n"))


class SplitsAtTheEnd(StreamHandler):
    async def handle(self):
        body = await Until(b"--frontier--", limit=1 << 20)
        self.send(b"%d parts\n" % body.count(b"--frontier\r\n"))


class GunzipsAll(StreamHandler):
    """gRPC: inflates a message that is compressed, whatever comes of it."""

    def inflated(self, data):
        return gzip.decompress(data)

    async def handle(self):
        while True:
            packed, size = struct.unpack("!BI", await Exactly(5))
            if packed > 1 or size > 60_000:
                return
            data = await Exactly(size)
            try:
                data = self.inflated(data) if packed else data
            except (zlib.error, OSError, EOFError):
                self.send(b"grpc-status: 13\n")
                return
            self.send(struct.pack("!BI", 0, len(data)))


class GunzipsLittle(GunzipsAll):
    def inflated(self, data):
        tool = zlib.decompressobj(31)
        data = tool.decompress(data, 60_000)
        if not tool.eof:
            raise EOFError
        return data


class ChallengesBacktrack(StreamHandler):
    """RTSP: searches a challenge with the pattern that was in ``urllib.request`` (CVE-2020-8492)."""

    pattern = re.compile(rb"(?:.*,)*[ \t]*([^ \t,]+)[ \t]+realm=([\"']?)([^\"']*)\2", re.IGNORECASE)

    async def handle(self):
        while True:
            line = await Until(b"\r\n", limit=8_000)
            if not line.startswith(b"WWW-Authenticate: "):
                self.send(b"RTSP/1.0 400 Bad Request\r\n")
                continue
            found = self.pattern.match(line[18:-2])
            self.send(b"RTSP/1.0 401 %b %b\r\n" % (found[1], found[3]) if found else b"RTSP/1.0 400 Bad Request\r\n")


class ChallengesAtOnce(ChallengesBacktrack):
    pattern = re.compile(rb"[ \t]*([^ \t,]+)[ \t]+realm=([\"']?)([^\"']*)\2", re.IGNORECASE)


# State: whose it is, and how long it stays


class NamesStay(StreamHandler):
    """IRC: a name is free again after ``QUIT`` only, not when the connection is lost."""

    names: ClassVar[set[bytes]] = set()

    def __init__(self):
        self.name = b""

    async def handle(self):
        while True:
            line = (await Until(b"\r\n", limit=512))[:-2]
            if line == b"QUIT":
                self.leave()
                return
            if not (found := re.fullmatch(rb"NICK ([a-z]{1,9})", line)):
                self.send(b"421 Unknown command\r\n")
            elif found[1] in self.names:
                self.send(b"433 Nickname is already in use\r\n")
            else:
                self.leave()
                self.name = found[1]
                self.names.add(self.name)
                self.send(b"001 Welcome %b\r\n" % self.name)

    def leave(self):
        self.names.discard(self.name)


class NamesLeave(NamesStay):
    names: ClassVar[set[bytes]] = set()

    def finish(self):
        self.leave()


class NumbersMixedUp(DatagramHandler):
    """DNS-like: the number of the query is kept in the class while its answer is made."""

    number = b""

    def keep(self, number):
        type(self).number = number

    async def handle(self):
        while True:
            packet = await Packet()
            if len(packet) < 3:
                continue
            self.keep(packet[:2])
            await Delay(0.05)
            self.send(self.number + b"\x81\x80" + packet[2:][::-1])


class NumbersOfTheirOwn(NumbersMixedUp):
    def keep(self, number):
        self.number = number


class ActsTwice(DatagramHandler):
    """CoAP: a confirmable message that comes again is acted on again (RFC 7252, section 4.5)."""

    remembers = False

    async def handle(self):
        total, last, answer = 0, b"", b""
        while True:
            packet = await Packet()
            if len(packet) < 5 or packet[0] != 0x40 or packet[1] != 2:
                continue
            if packet[2:4] != last or not self.remembers:
                total += packet[4]
                last, answer = packet[2:4], b"\x60\x44" + packet[2:4] + b"%d" % total
            self.send(answer)


class ActsOnce(ActsTwice):
    remembers = True


class AnswersAnswers(DatagramHandler):
    """NTP: answers a packet that is an answer, so that two servers answer each other for ever (CVE-2009-3563)."""

    def is_request(self, mode):
        return True

    async def handle(self):
        while True:
            packet = await Packet()
            if len(packet) == 48 and packet[0] >> 3 & 7 in (3, 4) and self.is_request(packet[0] & 7):
                self.send(bytes((packet[0] & 0xF8 | 4, 2)) + packet[2:24] + packet[40:48] + bytes(16))


class AnswersRequests(AnswersAnswers):
    def is_request(self, mode):
        return mode == 3


class PadsWithTheLast(DatagramHandler):
    """DHCP-like: the answer is made in a buffer that still has what was in it (CVE-2003-0001)."""

    buffer: ClassVar[bytearray] = bytearray(32)

    def fresh(self):
        return self.buffer

    async def handle(self):
        while True:
            packet = await Packet()
            if not 2 <= len(packet) <= 32 or packet[0] != 1:
                continue
            answer = self.fresh()
            answer[: len(packet)] = packet
            answer[0] = 2
            self.send(answer)


class PadsWithZeros(PadsWithTheLast):
    def fresh(self):
        return bytearray(32)


# Errors


class GoesOnWhatever(StreamHandler):
    """RTSP: an ``except Exception`` around the wait for a frame takes the end of the connection for a bad frame."""

    caught: ClassVar[tuple[type[Exception], ...]] = (Exception,)

    async def handle(self):
        while True:
            mark, channel, size = struct.unpack("!cBH", await Exactly(4))
            if mark != b"$":
                return
            try:
                data = await Exactly(size, limit=256)
                self.send(b"$%c%b" % (channel, data[:2].decode("ascii").encode().ljust(2, b"-")))
            except self.caught:
                self.send(b"$%c??" % channel)


class GoesOnIfMalformed(GoesOnWhatever):
    caught: ClassVar[tuple[type[Exception], ...]] = (UnicodeDecodeError,)


class SilentErrors(StreamHandler):
    """Memcached: ``incr`` with what is no number has no answer; the client waits, and takes the next one for it."""

    def refuse(self):
        pass

    async def handle(self):
        total = 0
        while True:
            line = await Until(b"\r\n", limit=64)
            if not line.startswith(b"incr "):
                self.send(b"ERROR\r\n")
            elif re.fullmatch(rb"incr [0-9]{1,9}\r\n", line):
                total = (total + int(line[5:-2])) % (1 << 32)
                self.send(b"%d\r\n" % total)
            else:
                self.refuse()


class ToldErrors(SilentErrors):
    def refuse(self):
        self.send(b"CLIENT_ERROR invalid numeric delta argument\r\n")


def _frame(kind: int, number: int, data: bytes) -> bytes:
    """A frame of HTTP/2 without flags."""
    return len(data).to_bytes(3, "big") + bytes((kind, 0)) + number.to_bytes(4, "big") + data


def _masked(first: int, data: bytes) -> bytes:
    """A frame of WebSocket with a mask of zeros."""
    return bytes((first, 128 | len(data))) + bytes(4) + data


MEMCACHED = b"set a 0 0 3\r\nabc\r\nset b 0 0 40\r\n" + 40 * b"x" + b"\r\nget a\r\n"
QUERIES = b"Q\0\0\0\x0dselect 1\0Q\0\0\0\x09show\0X\0\0\0\4"
ARTICLE = b"POST\r\nSubject: x\r\n\r\n..hello\r\n.\r\nQUIT\r\n"
AMQP = b"AMQP\0\0\x09\x01" + b"\1\0\1\0\0\0\5hello\xce" + b"\1\0\1\0\0\0\3abc\xce"
PARAMS = b"\1\4\0\1\0\x0c\0\0\4\6HOSTserver\1\1ab" + b"\1\4\0\1\0\4\4\0\1\1cd\0\0\0\0"
MODBUS = b"\0\1\0\0\0\6\1\3\0\1\0\2" + b"\0\2\0\0\0\6\1\3\0\5\0\1"
STOMP = b"SEND\nreceipt:1\nto:/q\n\nhello\0" + b"SEND\nreceipt:2\n\nabc\0"
FRAGMENTS = _masked(1, b"one") + _masked(0, b"two") + _masked(128, b"three") + _masked(129, b"one")
STREAMS = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(1, 1, b"head") + _frame(3, 1, b"\0\0\0\0") + _frame(1, 3, b"other") + _frame(3, 3, b"\0\0\0\1")
)  # fmt: skip
GROUPS = b"\1\0\0\x12\2\0\0\x0e\2\0\0\x0a\1\0\0\6ab" + b"\1\0\0\x09\1\0\0\5a"
SSH = b"hello\r\nSSH-2.0-OpenSSH_9.6\r\n" + b"\0\0\0\5\x14abcd" + b"\0\0\0\2\x15a"
PARTS = b"--frontier\r\n\r\none\r\n--frontier\r\n\r\ntwo\r\n--frontier--"
PACKED = gzip.compress(b"hello", mtime=0)
GRPC = b"\0\0\0\0\3abc" + b"\1" + len(PACKED).to_bytes(4, "big") + PACKED
CHALLENGE = b'WWW-Authenticate: Digest realm="a b", nonce="x"\r\nWWW-Authenticate: Basic realm=c\r\n'
NTP = [b"\x23" + bytes(39) + b"12345678", b"\x1b" + bytes(39) + b"abcdefgh"]
UNSEEN = [
    Pair(ReadsTheRefused, SkipsTheRefused, MEMCACHED, "skips_what_it_refuses"),
    Pair(IgnoresTheNull, LooksAtTheNull, QUERIES, "takes_exact_ends_only"),
    Pair(PostsTheHalf, PostsTheWhole, ARTICLE, "takes_causes_for_ends"),
    Pair(DropsTheSecond, KeepsTheSecond, b"5 hello3 abc1 x", "same_for_any_chunking"),
    Pair(UnescapesEachRead, UnescapesFrames, b"ab\xdb\xdccd\xc0\xdb\xddxy\xc0", "same_for_any_chunking"),
    Pair(LengthWithoutEnd, LengthOfFour, b"\x30\3abc\x10\x81\1" + 129 * b"x", "stays_in_bounds_when_repeated"),
    Pair(FramesOfAnySize, FramesOfSomeSize, AMQP, "stays_in_bounds"),
    Pair(BelievesTheLengths, ComparesTheLengths, PARAMS, "takes_true_lengths_only"),
    Pair(PortsOfAnySize, PortsOfBytes, b"PORT 127,0,0,1,4,1\r\nPORT 10,0,0,2,200,21\r\n", "survives_any_input"),
    Pair(PortsAsPythonHasThem, PortsInDigits, b"6193,23\r\n1024,8080\r\n", "takes_plain_numbers_only"),
    Pair(OneRegisterTooMany, RegistersAsSpecified, MODBUS, "bears_any_number"),
    Pair(StandsStill, GoesOn, [b"\0\1\0\6\1\4ab\2\2", b"\0\1\0\3\x07\3x"], "bears_any_number"),
    Pair(HeadersWithoutEnd, FewHeaders, STOMP, "stays_in_bounds_when_repeated"),
    Pair(FragmentsWithoutEnd, FragmentsOfAMessage, FRAGMENTS, "stays_in_bounds_when_repeated"),
    Pair(RemembersReset, ForgetsReset, STREAMS, "stays_in_bounds_when_repeated"),
    Pair(GroupsInGroups, FewGroups, GROUPS, "bears_any_nesting"),
    Pair(BannersForever, FewBanners, SSH, "ends_if_it_drips"),
    Pair(SplitsTheWhole, SplitsAtTheEnd, PARTS, "stays_in_bounds"),
    Pair(GunzipsAll, GunzipsLittle, GRPC, "bears_any_bomb"),
    Pair(ChallengesBacktrack, ChallengesAtOnce, CHALLENGE, "matches_in_time"),
    Pair(
        NamesStay,
        NamesLeave,
        b"NICK ann\r\nNICK bob\r\n",
        "stays_in_bounds_when_repeated",
        {"meant": ["leaves_nothing_behind"]},
    ),
    Pair(NumbersMixedUp, NumbersOfTheirOwn, [b"\0\1example", b"\0\2test"], "leaves_nothing_behind"),
    Pair(ActsTwice, ActsOnce, [b"\x40\2\0\1\5", b"\x40\2\0\2\7"], "answers_duplicates_once"),
    Pair(PadsWithTheLast, PadsWithZeros, [b"\1hello world", b"\1ab"], "leaves_nothing_behind"),
    Pair(GoesOnWhatever, GoesOnIfMalformed, b"$\0\0\5hello$\1\0\2ab", "takes_causes_for_ends"),
    Pair(AnswersAnswers, AnswersRequests, NTP, "answers_no_answer"),
]
MISSED = [
    Pair(SilentErrors, ToldErrors, b"incr 5\r\nincr 12\r\n", ""),
]
"""Pairs whose wrong handler no property of `check` finds.

What it does is right in other protocols: a command may say that it wants no answer. Nothing in the conversation tells
which it is.
"""
