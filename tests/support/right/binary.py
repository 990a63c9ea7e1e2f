"""Right handlers of protocols whose frames have lengths, marks or escapes."""

import struct
import zlib

from handlers import Exactly, LimitPassed, StreamHandler, Until

from . import Right


class Netstrings(StreamHandler):
    """Answers each netstring with its bytes reversed."""

    def handle(self):
        return Until(b":", limit=6), self.length

    def length(self, digits):
        digits = digits[:-1]
        is_fair = digits.isascii() and digits.isdigit() and (digits == b"0" or not digits.startswith(b"0"))
        return (Exactly(int(digits) + 1), self.data) if is_fair else None

    def data(self, data):
        if data[-1:] != b",":
            return None
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
        return self.handle()


class Tlv(StreamHandler):
    """A type of one byte and a length of two; answers types 1 and 2."""

    async def handle(self):
        while True:
            kind, size = struct.unpack("!BH", await Exactly(3))
            value = await Exactly(size) if size else b""
            if kind == 1:
                self.send(struct.pack("!BH", 1, size) + value)
            elif kind == 2:
                self.send(struct.pack("!BHI", 2, 4, zlib.crc32(value)))
            else:
                return


class Sized(StreamHandler):
    """A length of four bytes, at most 10,000."""

    async def handle(self):
        while True:
            size = int.from_bytes(await Exactly(4), "big")
            if size > 10_000:
                self.send(b"\xff\xff\xff\xff")
                return
            self.send((await Exactly(size))[::-1] if size else b"-")


class Socks5(StreamHandler):
    """Refuses each connection (RFC 1928), after it has read the request."""

    timeout = 10

    async def handle(self):
        version, count = await Exactly(2)
        if version != 5 or not count:
            return
        methods = await Exactly(count)
        if 0 not in methods:
            self.send(b"\5\xff")
            return
        self.send(b"\5\0")
        version, command, _, kind = await Exactly(4)
        size = {1: 4, 4: 16}.get(kind, 0)
        if kind == 3:
            size = (await Exactly(1))[0]
        if version != 5 or not size:
            self.send(b"\5\x08\0\1\0\0\0\0\0\0")
            return
        await Exactly(size + 2)
        self.send(b"\5%c\0\1\0\0\0\0\0\0" % (2 if command == 1 else 7))


class Socks4(StreamHandler):
    """Refuses each connection of SOCKS 4."""

    def handle(self):
        return Exactly(8), self.request

    def request(self, data):
        return (Until(b"\0", limit=64), self.user) if data[:2] == b"\4\1" else self.refuse()

    def user(self, name):
        return self.refuse()

    def refuse(self):
        self.send(b"\0\x5b\0\0\0\0\0\0")


class DnsOverTcp(StreamHandler):
    """Answers that no name exists (RFC 1035, section 4.2.2)."""

    async def handle(self):
        while True:
            size = int.from_bytes(await Exactly(2), "big")
            if not 12 <= size <= 512:
                return
            query = await Exactly(size)
            flags = query[2] & 0x80
            if flags:  # an answer, not a question
                return
            answer = query[:2] + b"\x81\x83" + b"\0\0" * 4
            self.send(len(answer).to_bytes(2, "big") + answer)


class Options(StreamHandler):
    """Refuses all options of Telnet (RFC 854), and echoes what is no command."""

    async def handle(self):
        while True:
            byte = await Exactly(1)
            if byte != b"\xff":
                self.send(byte)
                continue
            command = await Exactly(1)
            if command in (b"\xfd", b"\xfe"):
                self.send(b"\xff\xfc" + await Exactly(1))
            elif command in (b"\xfb", b"\xfc"):
                self.send(b"\xff\xfe" + await Exactly(1))
            elif command == b"\xff":
                self.send(b"\xff\xff")


class Mqtt(StreamHandler):
    """Answers PINGREQ and CONNECT; the length is a number of at most four bytes (MQTT 3.1.1, section 2.2.3)."""

    async def length(self):
        size = shift = 0
        while shift < 28:
            byte = (await Exactly(1))[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return size
        return None

    async def handle(self):
        while True:
            kind = (await Exactly(1))[0] >> 4
            size = await self.length()
            if size is None or size > 4_096:
                return
            body = await Exactly(size) if size else b""
            if kind == 1:
                self.send(b"\x20\2\0\0" if len(body) >= 10 else b"\x20\2\0\1")
            elif kind == 12:
                self.send(b"\xd0\0")
            else:
                return


class Masked(StreamHandler):
    """Short frames of WebSocket (RFC 6455, section 5.2), which a client masks."""

    async def handle(self):
        while True:
            first, second = await Exactly(2)
            if not second & 128 or second & 127 > 125 or not first & 128:
                self.send(b"\x88\2\3\xea")
                return
            key = await Exactly(4)
            size = second & 127
            data = await Exactly(size) if size else b""
            plain = bytes(byte ^ key[place % 4] for place, byte in enumerate(data))
            self.send(bytes([first, size]) + plain)
            if first & 15 == 8:
                return


class Amqp(StreamHandler):
    """A header, then frames that end with 0xCE (AMQP 0-9-1, section 2.3)."""

    async def handle(self):
        if await Exactly(8) != b"AMQP\0\0\x09\1":
            self.send(b"AMQP\0\0\x09\1")
            return
        while True:
            kind, channel, size = struct.unpack("!BHI", await Exactly(7))
            if size > 4_096:
                return
            frame = await Exactly(size + 1)
            if frame[-1] != 0xCE:
                return
            self.send(struct.pack("!BHI", kind, channel, size) + frame)


class Startup(StreamHandler):
    """The start of PostgreSQL's protocol: the length counts itself."""

    timeout = 60

    def handle(self):
        return Exactly(8), self.begun

    def begun(self, data):
        size, code = struct.unpack("!II", data)
        if size == 8 and code == 80_877_103:  # SSLRequest
            self.send(b"N")
            return self.handle()
        if not 8 < size <= 1_000 or code != 196_608:
            return None
        return Exactly(size - 8), self.parameters

    def parameters(self, data):
        words = data.split(b"\0")
        self.send(b"R\0\0\0\x08\0\0\0\0" if b"user" in words[::2] else b"E\0\0\0\5\0")


class Modbus(StreamHandler):
    """Answers each request with an exception."""

    async def handle(self):
        while True:
            number, protocol, size, unit = struct.unpack("!HHHB", await Exactly(7))
            if protocol or not 2 <= size <= 254:
                return
            function = (await Exactly(size - 1))[0]
            self.send(struct.pack("!HHHBBB", number, 0, 3, unit, function | 128 if function < 128 else function, 1))


class Hello(StreamHandler):
    """Refuses a handshake of TLS with an alert (RFC 8446, section 5.1)."""

    def handle(self):
        return Exactly(5), self.record

    def record(self, header):
        kind, _, size = struct.unpack("!BHH", header)
        return (Exactly(size), self.refuse) if kind == 22 and 0 < size <= 16_384 else None

    def refuse(self, data):
        self.send(b"\x15\3\3\0\2\2\x28")


class Delimited(StreamHandler):
    """Messages with a length of at most two bytes of seven bits, as protobuf has it."""

    async def handle(self):
        while True:
            size = (await Exactly(1))[0]
            if size > 127:
                high = (await Exactly(1))[0]
                if high > 127:
                    self.send(b"\0")
                    return
                size = size & 127 | high << 7
            data = await Exactly(size) if size else b""
            self.send(bytes([len(data) % 128]) + data[:1])


class Cobs(StreamHandler):
    """Decodes frames between zeros (consistent overhead byte stuffing)."""

    async def handle(self):
        while True:
            try:
                frame = (await Until(b"\0", limit=255))[:-1]
            except LimitPassed:
                self.send(b"too long\0")
                return
            plain, place = b"", 0
            while place < len(frame):
                size = frame[place]
                plain += frame[place + 1 : place + size]
                place += size
                if size < 255 and place < len(frame):
                    plain += b"\0"
            self.send(b"bad\0" if place > len(frame) else plain[::-1].replace(b"\0", b"0") + b"\0")


class Slip(StreamHandler):
    """Undoes escapes (RFC 1055)."""

    async def handle(self):
        while True:
            frame = (await Until(b"\xc0", limit=128))[:-1]
            if frame:
                plain = frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
                self.send(b"%d\n" % len(plain))


class Interleaved(StreamHandler):
    """Frames after ``$`` between lines (RFC 2326, section 10.12)."""

    async def handle(self):
        while True:
            mark = await Exactly(1)
            if mark == b"$":
                channel, size = struct.unpack("!BH", await Exactly(3))
                data = await Exactly(size) if size else b""
                self.send(b"channel %d: %d\r\n" % (channel, len(data)))
            else:
                line = mark + await Until(b"\r\n", limit=100) if mark != b"\r" else mark + await Exactly(1)
                self.send(b"line of %d\r\n" % len(line))


class Tpkt(StreamHandler):
    """Packets on a stream; the length counts the header (RFC 1006, section 6)."""

    async def handle(self):
        while True:
            version, reserved, size = struct.unpack("!BBH", await Exactly(4))
            if version != 3 or reserved or size < 7:
                return
            data = await Exactly(size - 4)
            self.send(b"\3\0" + size.to_bytes(2, "big") + data[::-1])


class Checked(StreamHandler):
    """Frames with a checksum; a wrong one is answered, and the next frame follows."""

    async def handle(self):
        while True:
            size = (await Exactly(1))[0]
            data = await Exactly(size + 4)
            is_right = zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big")
            self.send(b"ok\n" if is_right else b"wrong\n")


def checked(data):
    return bytes([len(data)]) + data + zlib.crc32(data).to_bytes(4, "big")


CORPUS = [
    Right(Netstrings, b"5:hello,0:,3:abc,"),
    Right(Tlv, b"\1\0\5hello\2\0\3abc\1\0\0"),
    Right(Sized, b"\0\0\0\5hello\0\0\0\0\0\0\0\1x"),
    Right(Socks5, b"\5\1\0\5\1\0\3\x09localhost\0\x50"),
    Right(Socks5, b"\5\2\0\2\5\1\0\1\x7f\0\0\1\0\x50"),
    Right(Socks4, b"\4\1\0\x50\x7f\0\0\1ann\0"),
    Right(DnsOverTcp, b"\0\x11\0\7\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1"),
    Right(Options, b"hello\xff\xfd\1\xff\xfb\3\xff\xff\r\n"),
    Right(Mqtt, b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0\xc0\0"),
    Right(Masked, b"\x81\x85abcd" + bytes(a ^ b for a, b in zip(b"hello", b"abcda", strict=True)) + b"\x88\x80abcd"),
    Right(Amqp, b"AMQP\0\0\x09\1\1\0\0\0\0\0\5hello\xce\1\0\1\0\0\0\0\xce"),
    Right(Startup, b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x13\0\3\0\0user\0ann\0\0\0"),
    Right(Modbus, b"\0\1\0\0\0\6\1\3\0\0\0\2\0\2\0\0\0\2\1\7"),
    Right(Hello, b"\x16\3\1\0\5\1\0\0\1\0"),
    Right(Delimited, b"\5hello\0\x82\1" + b"x" * 130),
    Right(Cobs, b"\3ab\2c\0\1\1\0"),
    Right(Slip, b"\xc0hello\xc0a\xdb\xdcb\xc0"),
    Right(Interleaved, b"OPTIONS a\r\n$\0\0\3abcPLAY\r\n"),
    Right(Tpkt, b"\3\0\0\x09hello\3\0\0\7abc"),
    Right(Checked, checked(b"hello") + checked(b"")),
]
