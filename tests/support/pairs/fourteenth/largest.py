"""Off by one at the largest."""

import re
from struct import pack, unpack, unpack_from

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT = range(1, 7)
RECORD = Exactly(8)
LENGTH = re.compile(rb"0|[1-9][0-9]{0,5}")


class Responder(StreamHandler):
    """A responder of FastCGI, which answers what it was sent, in capital letters."""

    timeout = 30
    request_timeout = 30
    most_params, most_content = 16_384, 131_072
    piece = 65_536

    async def handle(self):
        while True:
            self.one_by_one += 1
            number, padding = self.begun(await RECORD)
            keep = self.keeps(await Exactly(8 + padding))
            params = await self.stream(PARAMS, number, self.most_params)
            content = None if params is None else await self.stream(STDIN, number, self.most_content)
            if content is not None:
                self.respond(number, self.pairs(params), content)
            self.record(END, number, bytes(8))
            if not keep:
                return

    def begun(self, head):
        version, kind, number, size, padding = unpack(">BBHHBx", head)
        if version != 1 or kind != BEGIN or size != 8 or not number:
            raise Malformed("no request begins")
        return number, padding

    def keeps(self, data):
        """Whether the connection stays open after the request."""
        role, flags = unpack_from(">HB", data)
        if role != 1 or flags > 1:
            raise Malformed("no responder")
        return flags == 1

    async def stream(self, kind, number, most):
        """What the records of a stream have, up to the empty one. None: the request was given up."""
        found = bytearray()
        while True:
            version, its_kind, its_number, size, padding = unpack(">BBHHBx", await RECORD)
            if version != 1 or its_kind not in (kind, ABORT) or its_number != number or len(found) + size > most:
                raise Malformed("no record of the stream")
            if its_kind == ABORT and size:
                raise Malformed("an end with content")
            data = await Exactly(size + padding)
            if its_kind == ABORT:
                return None
            if not size:
                return bytes(found)
            found += data[:size]

    def pairs(self, data):
        """The names and values of the parameters."""
        found, at = {}, 0
        while at < len(data):
            sizes = []
            for _ in range(2):
                width = 4 if data[at : at + 1] > b"\x7f" else 1
                if at + width > len(data):
                    raise Malformed("half a parameter")
                sizes.append(int.from_bytes(data[at : at + width], "big") & (0x7FFFFFFF if width == 4 else 0x7F))
                at += width
            middle, end = at + sizes[0], at + sizes[0] + sizes[1]
            if end > len(data) or data[at:middle] in found:
                raise Malformed("half a parameter")
            found[data[at:middle]] = data[middle:end]
            at = end
        return found

    def respond(self, number, params, content):
        length = params.get(b"CONTENT_LENGTH") or b"0"
        if LENGTH.fullmatch(length) is None or int(length) != len(content):
            raise Malformed("another length than was said")
        if params.get(b"REQUEST_METHOD") not in (b"GET", b"POST"):
            answer = b"Status: 405 Method Not Allowed\r\n\r\n"
        else:
            answer = b"Content-Type: text/plain\r\n\r\n" + content.upper()
        for at in range(0, len(answer), self.piece):
            self.record(STDOUT, number, answer[at : at + self.piece])
        self.record(STDOUT, number, b"")

    def record(self, kind, number, data):
        self.send(pack(">BBHHBx", 1, kind, number, len(data), 0) + data)


class RightResponder(Responder):
    piece = 65_535


LINE = Until(b"\r\n", limit=224)
PUT = re.compile(rb"put (0|[1-9][0-9]{0,9}) (0|[1-9][0-9]{0,6}) (0|[1-9][0-9]{0,6}) (0|[1-9][0-9]{0,9})\r\n")
ID = re.compile(rb"(delete|touch) ([1-9][0-9]{0,17})\r\n")


class Tube(StreamHandler):
    """beanstalkd with one tube: jobs are put, reserved and deleted."""

    timeout = 60
    request_timeout = 60
    most_jobs, most_size = 4, 16_384

    def setup(self):
        self.ready, self.reserved, self.last = {}, {}, 0

    def handle(self):
        self.one_by_one += 1
        return LINE, self.command

    def command(self, line):
        if line == b"quit\r\n":
            return None
        put = PUT.fullmatch(line)
        if put is not None:
            return self.put(*map(int, put.groups()))
        named = ID.fullmatch(line)
        if named is not None and named[1] == b"delete":
            number = int(named[2])
            is_known = self.ready.pop(number, None) or self.reserved.pop(number, None)
            self.send(b"DELETED\r\n" if is_known else b"NOT_FOUND\r\n")
        elif named is not None:
            self.send(b"TOUCHED\r\n" if int(named[2]) in self.reserved else b"NOT_FOUND\r\n")
        elif line == b"reserve-with-timeout 0\r\n":
            self.reserve()
        elif line == b"stats\r\n":
            text = b"---\ncurrent-jobs-ready: %d\ncurrent-jobs-reserved: %d\n" % (len(self.ready), len(self.reserved))
            self.send(b"OK %d\r\n%b\r\n" % (len(text), text))
        else:
            self.send(b"UNKNOWN_COMMAND\r\n")
            return None
        return self.handle()

    def put(self, priority, delay, time_to_run, size):
        if priority > 0xFFFFFFFF or time_to_run > 0xFFFFFFFF or delay:
            self.send(b"BAD_FORMAT\r\n")
            return None
        if size > self.most_size:
            self.send(b"JOB_TOO_BIG\r\n")
            return None
        self.priority = priority
        return self.content(size), self.job

    def content(self, size):
        """The wait for the content of a job, and the end of the line."""
        return Exactly(size + 2, limit=self.most_size)

    def job(self, data):
        if not data.endswith(b"\r\n"):
            self.send(b"EXPECTED_CRLF\r\n")
            return None
        if len(self.ready) + len(self.reserved) >= self.most_jobs:
            self.send(b"OUT_OF_MEMORY\r\n")
            return self.handle()
        self.last += 1
        self.ready[self.last] = self.priority, data
        self.send(b"INSERTED %d\r\n" % self.last)
        return self.handle()

    def reserve(self):
        if not self.ready:
            self.send(b"TIMED_OUT\r\n")
            return
        number = min(self.ready, key=lambda number: (self.ready[number][0], number))
        self.reserved[number] = self.ready.pop(number)
        data = self.reserved[number][1]
        self.send(b"RESERVED %d %d\r\n%b" % (number, len(data) - 2, data))


class RightTube(Tube):
    def content(self, size):
        return Exactly(size + 2, limit=self.most_size + 2)


READ, WRITE_ONE, WRITE = 3, 6, 16
HEADER = Exactly(7)


class Device(StreamHandler):
    """A device of Modbus over TCP, with a hundred registers."""

    timeout = 20
    request_timeout = 20
    size = 100

    async def handle(self):
        self.registers = [0] * self.size
        while True:
            self.one_by_one += 1
            transaction, protocol, size, unit = unpack(">HHHB", await HEADER)
            if protocol or not 2 <= size <= 254:
                raise Malformed("no header")
            request = await Exactly(size - 1)
            answer = self.answer(request[0], request[1:])
            self.send(pack(">HHHB", transaction, 0, len(answer) + 1, unit) + answer)

    def answer(self, function, data):
        if function == READ and len(data) == 4:
            address, count = unpack(">HH", data)
            if not 1 <= count <= 125:
                return bytes((function | 0x80, 3))
            if not self.has(address, count):
                return bytes((function | 0x80, 2))
            values = self.registers[address : address + count]
            return pack(f">BB{count}H", function, 2 * count, *values)
        if function == WRITE_ONE and len(data) == 4:
            address, value = unpack(">HH", data)
            if not self.has(address, 1):
                return bytes((function | 0x80, 2))
            self.registers[address] = value
            return bytes((function,)) + data
        if function == WRITE and len(data) >= 5:
            address, count, size = unpack_from(">HHB", data)
            if size != len(data) - 5:
                raise Malformed("another length than was said")
            if not 1 <= count <= 123 or size != 2 * count:
                return bytes((function | 0x80, 3))
            if not self.has(address, count):
                return bytes((function | 0x80, 2))
            self.registers[address : address + count] = unpack_from(f">{count}H", data, 5)
            return bytes((function,)) + data[:4]
        if function in (READ, WRITE_ONE, WRITE) or not 1 <= function < 0x80:
            raise Malformed("no request")
        return bytes((function | 0x80, 1))

    def has(self, address, count):
        """Whether there are such registers."""
        return address + count - 1 <= self.size


class RightDevice(Device):
    def has(self, address, count):
        return address + count <= self.size


def parameters(**named):
    return b"".join(bytes((len(name), len(value))) + name.encode() + value.encode() for name, value in named.items())


def record(kind, data, number=1, padding=0):
    return pack(">BBHHBx", 1, kind, number, len(data), padding) + data + bytes(padding)


def modbus(transaction, function, data):
    return pack(">HHHBB", transaction, 0, len(data) + 2, 1, function) + data


KEEP, ONCE = pack(">HB5x", 1, 1), pack(">HB5x", 1, 0)
POST = parameters(REQUEST_METHOD="POST", SCRIPT_NAME="/shout", CONTENT_LENGTH="15")
GET = parameters(REQUEST_METHOD="GET", SCRIPT_NAME="/shout", CONTENT_LENGTH="")

PAIRS = [
    # Fault: the answer is cut into records of 65,536 bytes, of which a record holds one less.
    Pair(
        "fastcgi-records",
        9,
        Responder,
        RightResponder,
        [
            record(BEGIN, KEEP)
            + record(PARAMS, POST, padding=3)
            + record(PARAMS, b"")
            + record(STDIN, b"hello, ", padding=1)
            + record(STDIN, b"fastcgi\n")
            + record(STDIN, b""),
            record(BEGIN, KEEP) + record(PARAMS, POST) + record(ABORT, b""),
            record(BEGIN, ONCE) + record(PARAMS, GET) + record(PARAMS, b"") + record(STDIN, b""),
        ],
        {"kept": 150_000},
    ),
    # Fault: the limit of the wait is that of a job, without the end of the line that the wait takes with it.
    Pair(
        "beanstalkd-size",
        9,
        Tube,
        RightTube,
        [
            b"put 1024 0 60 11\r\nhello world\r\n",
            b"put 0 0 60 6\r\nurgent\r\n",
            b"reserve-with-timeout 0\r\n",
            b"touch 2\r\n",
            b"stats\r\n",
            b"delete 2\r\n",
            b"reserve-with-timeout 0\r\n",
            b"delete 1\r\n",
            b"reserve-with-timeout 0\r\n",
            b"quit\r\n",
        ],
        {"kept": 100_000},
    ),
    # Fault: a range may end one register behind the last.
    Pair(
        "modbus-range",
        9,
        Device,
        RightDevice,
        [
            modbus(1, WRITE_ONE, pack(">HH", 4, 500)),
            modbus(2, WRITE, pack(">HHB2H", 10, 2, 4, 7, 8)),
            modbus(3, READ, pack(">HH", 0, 12)),
            modbus(4, READ, pack(">HH", 96, 4)),
            modbus(5, 0x2B, b"\x0e\1\0"),
        ],
        {"kept": 4_096},
    ),
]
