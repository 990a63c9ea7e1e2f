"""Pairs of handlers, broken and right: numbers, accumulation, state that clients share (kinds 1 to 3 of `kinds`)."""

import decimal
import os
import re

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

LINE = Until(b"\r\n", limit=512)

# 1: numbers


class Beanstalk(StreamHandler):
    """The work queue beanstalkd, with one job. Fault: digits of Unicode are digits."""

    timeout = 30
    max_job = 4096

    async def handle(self):
        job = b""
        while True:
            words = (await Until(b"\r\n", limit=224)).decode("utf-8", "replace")[:-2].split(" ")
            if words == ["quit"]:
                return
            if words == ["peek", "1"] and job:
                self.send(b"FOUND 1 %d\r\n%b\r\n" % (len(job), job))
            elif words[0] == "put" and len(words) == 5 and all(map(self.is_number, words[1:])):
                size = int(words[4])
                if not 0 < size <= self.max_job:
                    self.send(b"JOB_TOO_BIG\r\n")
                    return
                data = await Exactly(size + 2)
                if data[-2:] != b"\r\n":
                    self.send(b"EXPECTED_CRLF\r\n")
                    return
                job = data[:-2]
                self.send(b"INSERTED 1\r\n")
            else:
                self.send(b"UNKNOWN_COMMAND\r\n")

    def is_number(self, word):
        return word.isdigit()


class BeanstalkRight(Beanstalk):
    def is_number(self, word):
        return word.isascii() and word.isdigit()


class Chunked(StreamHandler):
    """An upload over HTTP, in chunks. Fault: what int() takes in base 16 is a size."""

    timeout = 10
    request_timeout = 60
    max_body = 65_536

    async def handle(self):
        line, *lines = (await Until(b"\r\n\r\n", limit=4096))[:-4].split(b"\r\n")
        head = fields(lines)
        if (
            line != b"POST /upload HTTP/1.1"
            or head.get(b"transfer-encoding") != b"chunked"
            or b"content-length" in head
        ):
            self.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return
        total = 0
        while size := self.size(await Until(b"\r\n", limit=32)):
            total += size
            if total > self.max_body:
                self.send(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            if (await Exactly(size + 2))[-2:] != b"\r\n":
                raise Malformed("no end of a chunk")
        if await Exactly(2) != b"\r\n":
            raise Malformed("no end of the body")
        text = b"%d bytes" % total
        self.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    def size(self, line):
        try:
            size = int(line, 16)
        except ValueError:
            raise Malformed("no size of a chunk") from None
        if size < 0:
            raise Malformed("no size of a chunk")
        return size


class ChunkedRight(Chunked):
    def size(self, line):
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}\r\n", line):
            raise Malformed("no size of a chunk")
        return int(line, 16)


class StatsD(DatagramHandler):
    """Counters of StatsD, with the sum as the answer. Fault: what float() takes is a number, such as nan and 1_0."""

    timeout = 10

    async def handle(self):
        total = 0.0
        while True:
            name, _, rest = (await Packet()).partition(b":")
            value, _, kind = rest.partition(b"|")
            number = self.number(value) if name == b"hits" and kind == b"c" else None
            if number is None:
                self.send(b"malformed\n")
                continue
            total += number
            self.send(b"%.3f\n" % total)

    def number(self, word):
        try:
            return float(word)
        except ValueError:
            return None


class StatsDRight(StatsD):
    def number(self, word):
        return float(word) if re.fullmatch(rb"-?\d{1,9}(\.\d{1,6})?", word) else None


# 2: accumulation


class RTSP(StreamHandler):
    """A server of RTSP that knows OPTIONS. Fault: a head may have any number of fields."""

    timeout = 20
    request_timeout = 60
    one_by_one = 0

    async def handle(self):
        while True:
            words = (await LINE)[:-2].split(b" ")
            head = await self.head()
            number = head.get(b"cseq", b"")
            if len(words) != 3 or words[2] != b"RTSP/1.0" or not re.fullmatch(rb"\d{1,9}", number):
                self.send(b"RTSP/1.0 400 Bad Request\r\n\r\n")
                return
            status = b"200 OK" if words[0] == b"OPTIONS" else b"501 Not Implemented"
            self.send(b"RTSP/1.0 %b\r\nCSeq: %b\r\n\r\n" % (status, number))
            self.one_by_one += 1

    async def head(self):
        lines = []
        while (line := await LINE) != b"\r\n":
            lines.append(line[:-2])
        return fields(lines)


class RTSPRight(RTSP):
    async def head(self):
        lines = []
        while (line := await LINE) != b"\r\n":
            if len(lines) == 32:
                raise Malformed("too many fields")
            lines.append(line[:-2])
        return fields(lines)


class GELF(DatagramHandler):
    """Log messages of Graylog, in chunks. Fault: a message of which a chunk is lost is kept."""

    timeout = 5
    max_chunks = 32

    def setup(self):
        self.pending = {}

    async def handle(self):
        while True:
            packet = await Packet()
            if packet[:2] != b"\x1e\x0f":
                self.send(b"%d\n" % len(packet))
                continue
            name, place = packet[2:10], packet[10:12]
            if len(place) < 2 or not place[0] < place[1] <= self.max_chunks:
                continue
            chunks = self.keep(name, place[0], packet[12:])
            if len(chunks) == place[1]:
                self.pending.pop(name, None)
                self.send(b"%d\n" % len(b"".join(chunks[number] for number in sorted(chunks))))

    def keep(self, name, number, chunk):
        chunks = self.pending.setdefault(name, {})
        chunks[number] = chunk
        return chunks


class GELFRight(GELF):
    max_held = 24_000

    def keep(self, name, number, chunk):
        chunks = super().keep(name, number, chunk)
        while sum(200 + len(chunk) for kept in self.pending.values() for chunk in kept.values()) > self.max_held:
            del self.pending[next(iter(self.pending))]
        return chunks


class Plan9(StreamHandler):
    """A file to open, read and clunk, as 9P has it. Fault: a client that goes away leaves its file open."""

    timeout = 30
    path = __file__

    def setup(self):
        self.file = None

    def handle(self):
        return Until(b"\n", limit=64), self.command

    def command(self, line):
        if line == b"open readme\n" and self.file is None:
            self.file = os.open(self.path, os.O_RDONLY)
            self.send(b"ok\n")
        elif line == b"read\n" and self.file is not None:
            piece = os.read(self.file, 16)
            self.send(b"%d\n%b" % (len(piece), piece))
        elif line == b"clunk\n" and self.file is not None:
            self.clunk()
            self.send(b"ok\n")
        else:
            self.send(b"error\n")
        return self.handle()

    def clunk(self):
        os.close(self.file)
        self.file = None


class Plan9Right(Plan9):
    def finish(self):
        if self.file is not None:
            self.clunk()


# 3: state that clients share


class POP3(StreamHandler):
    """A mailbox of three messages. Fault: the class has the set of those that are to be deleted."""

    timeout = 60
    sizes = {b"1": 120, b"2": 300, b"3": 45}
    deleted = set()

    def handle(self):
        self.send(b"+OK ready\r\n")
        self.opened()
        return LINE, self.command

    def command(self, line):
        verb, _, number = line[:-2].partition(b" ")
        left = [size for number, size in self.sizes.items() if number not in self.deleted]
        if line == b"QUIT\r\n":
            self.send(b"+OK bye\r\n")
            return None
        if line == b"STAT\r\n":
            self.send(b"+OK %d %d\r\n" % (len(left), sum(left)))
        elif line == b"RSET\r\n":
            self.deleted.clear()
            self.send(b"+OK\r\n")
        elif verb == b"DELE" and number in self.sizes and number not in self.deleted:
            self.deleted.add(number)
            self.send(b"+OK\r\n")
        else:
            self.send(b"-ERR\r\n")
        return LINE, self.command


class POP3Right(POP3):
    def setup(self):
        self.deleted = set()


class Calculator(StreamHandler):
    """Divides decimal numbers. Fault: a client sets the precision of the thread."""

    timeout = 30

    def handle(self):
        return Until(b"\n", limit=80), self.command

    def command(self, line):
        division = re.fullmatch(rb"DIV (-?\d{1,20}) (-?\d{1,20})\n", line)
        precision = re.fullmatch(rb"PREC ([1-9]\d?)\n", line)
        if precision:
            self.context().prec = int(precision[1])
            self.send(b"OK\n")
        elif division and int(division[2]):
            one, other = (decimal.Decimal(number.decode()) for number in division.groups())
            self.send(b"%b\n" % str(self.context().divide(one, other)).encode())
        else:
            self.send(b"ERROR\n")
        return self.handle()

    def context(self):
        return decimal.getcontext()


class CalculatorRight(Calculator):
    def setup(self):
        self.own = decimal.Context(prec=28)

    def context(self):
        return self.own


HOST_NAME, LEASE, MASK = 12, 51, 1
DEFAULTS = {MASK: b"\xff\xff\xff\x00", LEASE: b"\x00\x00\x0e\x10"}


class DHCP(DatagramHandler):
    """Answers with options, of which the client may ask for some. Fault: what it asks for stays in the defaults."""

    timeout = 5

    def handle(self):
        return Packet(), self.request

    def request(self, packet):
        asked, place = {}, 4
        while place < len(packet):
            size = packet[place + 1] if place + 1 < len(packet) else 255
            value = packet[place + 2 : place + 2 + size]
            if len(value) < size or size > 32:
                return
            if packet[place] in (HOST_NAME, LEASE):
                asked[packet[place]] = value
            place += 2 + size
        if len(packet) >= 4 and len(asked.get(LEASE, b"four")) == 4:
            options = sorted(self.options(asked).items())
            self.send(packet[:4] + b"".join(bytes([code, len(value)]) + value for code, value in options))
        return

    def options(self, asked):
        options = DEFAULTS
        options.update(asked)
        return options


class DHCPRight(DHCP):
    def options(self, asked):
        return {**DEFAULTS, **asked}


PAIRS = [
    Pair("beanstalkd", 1, Beanstalk, BeanstalkRight, [
        b"put 0 0 60 5\r\nhello\r\n", b"peek 1\r\n", b"put 0 0 60 3\r\nabc\r\n", b"peek 1\r\n", b"quit\r\n",
    ]),
    Pair("chunked", 1, Chunked, ChunkedRight, [
        b"POST /upload HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"5\r\nhello\r\n", b"1a\r\nabcdefghijklmnopqrstuvwxyz\r\n", b"0\r\n\r\n",
    ]),
    Pair("statsd", 1, StatsD, StatsDRight, [b"hits:1|c", b"hits:2.5|c", b"hits:-1|c"]),
    Pair("rtsp", 2, RTSP, RTSPRight, [
        b"OPTIONS rtsp://a.example/1 RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: player\r\n\r\n",
        b"DESCRIBE rtsp://a.example/1 RTSP/1.0\r\nCSeq: 2\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n",
    ]),
    Pair("gelf", 2, GELF, GELFRight, [
        b'{"short_message":"whole"}',
        b"\x1e\x0f12345678\x00\x02" + b'{"short_mes', b"\x1e\x0f12345678\x01\x02" + b'sage":"halves"}',
        b"\x1e\x0fabcdefgh\x00\x01" + b'{"short_message":"one"}',
    ]),
    Pair("9p", 2, Plan9, Plan9Right, [b"open readme\n", b"read\n", b"clunk\n", b"open readme\n", b"clunk\n"]),
    Pair("pop3", 3, POP3, POP3Right, [b"STAT\r\n", b"DELE 1\r\n", b"STAT\r\n", b"RSET\r\n", b"QUIT\r\n"]),
    Pair("calculator", 3, Calculator, CalculatorRight, [b"PREC 12\n", b"DIV 1 3\n", b"DIV -20 7\n"]),
    Pair("dhcp", 3, DHCP, DHCPRight, [
        b"\x00\x00\x00\x01\x0c\x03ada\x33\x04\x00\x00\x02\x58", b"\x00\x00\x00\x02\x33\x04\x00\x00\x0e\x10\x0c\x03bob",
        b"\x00\x00\x00\x03\x0c\x03eve\x33\x04\x00\x00\x00\x3c",
    ]),
]  # fmt: skip
