"""Where a message ends: heads and lengths that come in two reads, and frames that come in one."""

import re
from struct import pack, unpack

from handlers import Exactly, Some, StreamHandler
from tests.support.pairs.pair import Buffered, Malformed, Pair

REQUEST = re.compile(rb"GET (/[!-~]{0,200}) HTTP/1\.1")
FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*")


class HeadParser:
    """Takes the head of a request in pieces. Each byte has to be given to it once."""

    def __init__(self):
        self.held, self.searched, self.lines, self.is_complete = bytearray(), 0, [], False

    def feed(self, data):
        self.held += data
        while not self.is_complete:
            end = self.held.find(b"\r\n", max(0, self.searched - 1))
            if end < 0:
                self.searched = len(self.held)
                break
            line = bytes(self.held[:end])
            del self.held[: end + 2]
            self.searched = 0
            self.take(line)
        if len(self.held) >= 1_024 and not self.is_complete:
            raise Malformed("a line is too long")

    def take(self, line):
        if not line and self.lines:
            self.is_complete = True
        elif len(self.lines) == 32 or len(line) > 1_022 or not (FIELD if self.lines else REQUEST).fullmatch(line):
            raise Malformed("no field, no request, or too many fields")
        else:
            self.lines.append(line)


class Statistics(StreamHandler):
    """The statistics of a chat server, by HTTP: one request, one answer."""

    timeout = 10
    request_timeout = 10

    async def handle(self):
        self.parser, self.received = HeadParser(), bytearray()
        try:
            while not self.parser.is_complete:
                self.received_more(await Some(limit=4_096))
        except Malformed:
            return self.answer(b"400 Bad Request", b"")
        path = REQUEST.fullmatch(self.parser.lines[0])[1]
        if path == b"/stats":
            return self.answer(b"200 OK", b"users=3\n")
        return self.answer(b"404 Not Found", b"")

    def received_more(self, data):
        self.parser.feed(data)

    def answer(self, status, body):
        self.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body))


class RefeedingStatistics(Statistics):
    def received_more(self, data):
        self.received += data
        self.parser.feed(bytes(self.received))


DIGITS = re.compile(rb"[1-9][0-9]{0,3}")
NAMES = re.compile(rb"([A-Z_]{1,40})\0([ -~]{0,200})\0")


class Scgi(Buffered):
    """SCGI: the head is a netstring of names and values; `CONTENT_LENGTH` comes first."""

    def take(self):
        colon = self.buffer.find(b":", 0, 5)
        if colon < 0:
            return self.without_colon()
        if DIGITS.fullmatch(self.buffer, 0, colon) is None:
            return self.refuse()
        length = int(self.buffer[:colon])
        if length > 2_048:
            return self.refuse()
        if len(self.buffer) <= colon + 1 + length:
            return True
        head, comma = bytes(self.buffer[colon + 1 : colon + 1 + length]), self.buffer[colon + 1 + length]
        found = NAMES.findall(head)
        is_head = b"".join(b"%b\0%b\0" % pair for pair in found) == head and len(dict(found)) == len(found)
        if comma != 0x2C or not is_head or found[:1] != [(b"CONTENT_LENGTH", b"0")]:
            return self.refuse()
        uri = dict(found).get(b"REQUEST_URI", b"/")
        self.send(b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n%b\n" % uri)
        return False

    def without_colon(self):
        if len(self.buffer) < 5 and DIGITS.fullmatch(self.buffer):
            return True
        return self.refuse()

    def refuse(self):
        self.send(b"Status: 400 Bad Request\r\n\r\n")
        return False


class ImpatientScgi(Scgi):
    def without_colon(self):
        return self.refuse()


def head_of(**names):
    return b"".join(b"%b\0%b\0" % (name.encode(), value.encode()) for name, value in names.items())


SCGI = head_of(CONTENT_LENGTH="0", SCGI="1", REQUEST_METHOD="GET", REQUEST_URI="/torrents")


class Modbus(StreamHandler):
    """Modbus/TCP: reads and writes single registers; each frame has a transaction and the length of what follows."""

    timeout = 30
    request_timeout = 10

    def setup(self):
        self.one_by_one = 0
        self.registers = [0] * 16

    async def handle(self):
        while True:
            self.one_by_one += 1
            transaction, protocol, length, unit, function = unpack(">HHHBB", await Exactly(8))
            if protocol != 0 or not 3 <= length <= 254:
                return
            if function not in (3, 6):
                await self.passed_over(length)
                self.reply(transaction, unit, bytes((function | 0x80, 1)))
                continue
            body = await Exactly(length - 2)
            if length != 6:
                self.reply(transaction, unit, bytes((function | 0x80, 3)))
            else:
                self.reply(transaction, unit, self.done(function, *unpack(">HH", body)))

    async def passed_over(self, length):
        await Exactly(length - 2)

    def done(self, function, address, value):
        if address >= len(self.registers):
            return bytes((function | 0x80, 2))
        if function == 6:
            self.registers[address] = value
            return pack(">BHH", function, address, value)
        if not 1 <= value <= len(self.registers) - address:
            return bytes((function | 0x80, 3))
        return pack(">BB", 3, 2 * value) + pack(f">{value}H", *self.registers[address : address + value])

    def reply(self, transaction, unit, answer):
        self.send(pack(">HHHB", transaction, 0, 1 + len(answer), unit) + answer)


class ModbusOutOfStep(Modbus):
    async def passed_over(self, length):
        pass


class ModbusReads(Buffered, Modbus):
    """Modbus/TCP, with a buffer of its own."""

    request_timeout = 10

    def setup(self):
        Modbus.setup(self)
        Buffered.setup(self)

    def take(self):
        used = 0
        while (frame := self.frame_at(used)) is not None:
            if not 3 <= frame[1] <= 254 or frame[0]:
                return False
            used += 6 + frame[1]
            self.frame(*frame[2:])
            if self.takes_one:
                break
        del self.buffer[: len(self.buffer) if used and self.takes_one else used]
        return True

    takes_one = False

    def frame_at(self, start):
        """Protocol, length, transaction and the rest of the frame there; ``None`` if it is not complete."""
        if len(self.buffer) - start < 8:
            return None
        transaction, protocol, length = unpack(">HHH", self.buffer[start : start + 6])
        if len(self.buffer) - start < 6 + length and not protocol and 3 <= length <= 254:
            return None
        return protocol, length, transaction, bytes(self.buffer[start + 6 : start + 6 + length])

    def frame(self, transaction, frame):
        unit, function = frame[:2]
        if function not in (3, 6):
            answer = bytes((function | 0x80, 1))
        elif len(frame) != 6:
            answer = bytes((function | 0x80, 3))
        else:
            answer = self.done(function, *unpack(">HH", frame[2:]))
        self.reply(transaction, unit, answer)


class ModbusFirstOnly(ModbusReads):
    takes_one = True


class ModbusUnit(ModbusReads):
    """Modbus/TCP on a line with several devices: frames to other units are passed over."""

    unit = 1

    def frame(self, transaction, frame):
        if frame[0] == self.unit:
            super().frame(transaction, frame)


class ModbusUnitAgain(ModbusUnit):
    def frame_at(self, start):
        found = super().frame_at(start)
        passed = start and bytes(self.buffer[6:7]) != bytes((self.unit,))
        return super().frame_at(0) if passed and found is not None else found


def adu(transaction, unit, *parts):
    body = bytes((unit,)) + b"".join(parts)
    return pack(">HHH", transaction, 0, len(body)) + body


WRITE, READ = pack(">BHH", 6, 2, 99), pack(">BHH", 3, 1, 3)

PAIRS = [
    # Fault (inspircd 2227): all that has been received is given to the parser again with each read.
    Pair(
        "http-fed-again", 6, RefeedingStatistics, Statistics,
        [b"GET /stats HTTP/1.1\r\nHost: irc.example\r\nAccept: */*\r\n\r\n"],
    ),
    # Fault (rtorrent 1764): a length whose colon comes in the next read is refused.
    Pair("scgi-colon", 6, ImpatientScgi, Scgi, [b"%d:%b," % (len(SCGI), SCGI)]),
    # Fault (nanoMODBUS 67): of a frame with a function that is not known only the head is read.
    Pair("modbus-out-of-step", 12, ModbusOutOfStep, Modbus, [adu(1, 1, WRITE), adu(2, 1, READ)]),
    # Fault (OpenPLC_v3 253): of several frames in one read only the first is taken.
    Pair("modbus-first-only", 6, ModbusFirstOnly, ModbusReads, [adu(1, 1, WRITE), adu(2, 1, READ)]),
    # Fault (pymodbus 2933): behind a frame that is passed over, the same frame is looked at again, and not the next.
    Pair("modbus-other-unit", 6, ModbusUnitAgain, ModbusUnit, [adu(1, 1, WRITE), adu(2, 7, READ), adu(3, 1, READ)]),
]  # fmt: skip
