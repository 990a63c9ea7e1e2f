"""Pairs of the kind 9: what is as long, or as many, as is allowed."""

from __future__ import annotations

import json
import re
import struct
from collections import deque
from typing import TYPE_CHECKING

from handlers import Exactly, LimitPassed, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Cause, Step

# Modbus/TCP

MBAP = struct.Struct(">HHHB")
TWO = struct.Struct(">HH")
ADU_HEAD = Exactly(MBAP.size)
MAX_LENGTH = 254  # the unit and a PDU of 253 bytes
READ, WRITE, WRITE_MANY = 3, 6, 16
MAX_READ, MAX_WRITE = 125, 123
FUNCTION, ADDRESS, VALUE = 1, 2, 3
REGISTERS = 1000


class Refused(Exception):
    """The request is answered by an exception of Modbus."""


class Modbus(StreamHandler):
    """A device with holding registers (Modbus Application Protocol 1.1b3)."""

    timeout = 60
    request_timeout = 30

    def setup(self) -> None:
        self.one_by_one = 0
        self.registers = [0] * REGISTERS

    def handle(self) -> Step:
        return ADU_HEAD, self.head

    def head(self, head: bytes) -> Step:
        self.transaction, protocol, size, self.unit = MBAP.unpack(head)
        if protocol or not 2 <= size <= MAX_LENGTH:
            raise Malformed("head")
        return Exactly(size - 1), self.request

    def request(self, pdu: bytes) -> Step:
        function, data = pdu[0], pdu[1:]
        try:
            answer = bytes([function]) + self.act(function, data)
        except Refused as refused:
            answer = bytes([function | 0x80, refused.args[0]])
        self.send(MBAP.pack(self.transaction, 0, 1 + len(answer), self.unit) + answer)
        self.one_by_one += 1
        return self.handle()

    def act(self, function: int, data: bytes) -> bytes:
        if function not in (READ, WRITE, WRITE_MANY):
            raise Refused(FUNCTION)
        if len(data) < TWO.size or (function != WRITE_MANY and len(data) != TWO.size):
            raise Refused(VALUE)
        first, value = TWO.unpack_from(data)
        if function == READ:
            return self.read(first, value)
        if function == WRITE_MANY:
            return self.write(first, value, data[TWO.size :])
        if first >= REGISTERS:
            raise Refused(ADDRESS)
        self.registers[first] = value
        return data

    def read(self, first: int, count: int) -> bytes:
        if count not in range(1, MAX_READ):
            raise Refused(VALUE)
        return self.found(first, count)

    def found(self, first: int, count: int) -> bytes:
        """The registers, with their size in bytes."""
        if first + count > REGISTERS:
            raise Refused(ADDRESS)
        return struct.pack(f">B{count}H", 2 * count, *self.registers[first : first + count])

    def write(self, first: int, count: int, rest: bytes) -> bytes:
        if not 1 <= count <= MAX_WRITE or rest[:1] != bytes([2 * count]) or len(rest) != 1 + 2 * count:
            raise Refused(VALUE)
        if first + count > REGISTERS:
            raise Refused(ADDRESS)
        self.registers[first : first + count] = struct.unpack(f">{count}H", rest[1:])
        return TWO.pack(first, count)


class ModbusRight(Modbus):
    """A device with holding registers (Modbus Application Protocol 1.1b3)."""

    def read(self, first: int, count: int) -> bytes:
        if not 1 <= count <= MAX_READ:
            raise Refused(VALUE)
        return self.found(first, count)


# beanstalkd

COMMAND = Until(b"\r\n", limit=224)
PUT = re.compile(r"put ([0-9]{1,10}) ([0-9]{1,10}) ([0-9]{1,10}) ([0-9]{1,10})")
DELETE = re.compile(r"delete ([0-9]{1,18})")
RESERVE = re.compile(r"reserve-with-timeout 0")
MAX_JOB = 65_535
MAX_JOBS = 64


class Beanstalk(StreamHandler):
    """A queue of jobs of one client (the protocol of beanstalkd)."""

    timeout = 120
    request_timeout = 60

    def setup(self) -> None:
        self.one_by_one = 0
        self.ready: deque[tuple[int, bytes]] = deque()
        self.reserved: dict[int, bytes] = {}
        self.last = 0

    async def handle(self) -> None:
        while True:
            line = (await COMMAND)[:-2].decode("latin-1")
            if line == "quit":
                return
            matched = PUT.fullmatch(line)
            if matched and max(map(int, matched.groups()[:3])) < 1 << 32:
                self.send(await self.put(int(matched[4])))
            else:
                self.send(self.answer(line))
            self.one_by_one += 1

    async def put(self, size: int) -> bytes:
        if size > MAX_JOB:
            left = size + 2
            while left:
                left -= len(await Some(limit=min(left, 65_536)))
            return b"JOB_TOO_BIG\r\n"
        job = await self.job(size)
        if job[-2:] != b"\r\n":
            self.send(b"EXPECTED_CRLF\r\n")
            raise Malformed("no CRLF behind the job")
        if len(self.ready) + len(self.reserved) == MAX_JOBS:
            return b"OUT_OF_MEMORY\r\n"
        self.last += 1
        self.ready.append((self.last, job[:-2]))
        return b"INSERTED %d\r\n" % self.last

    async def job(self, size: int) -> bytes:
        """The job and the CRLF behind it."""
        return await Exactly(size + 2, limit=MAX_JOB)

    def answer(self, line: str) -> bytes:
        if RESERVE.fullmatch(line):
            if not self.ready:
                return b"TIMED_OUT\r\n"
            number, job = self.ready.popleft()
            self.reserved[number] = job
            return b"RESERVED %d %d\r\n%b\r\n" % (number, len(job), job)
        matched = DELETE.fullmatch(line)
        if matched:
            return b"NOT_FOUND\r\n" if self.reserved.pop(int(matched[1]), None) is None else b"DELETED\r\n"
        command = line.partition(" ")[0]
        if command == "put":  # nobody knows how long its job is
            self.send(b"BAD_FORMAT\r\n")
            raise Malformed("put")
        return b"BAD_FORMAT\r\n" if command in ("delete", "reserve-with-timeout") else b"UNKNOWN_COMMAND\r\n"

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, LimitPassed):
            self.send(b"BAD_FORMAT\r\n")


class BeanstalkRight(Beanstalk):
    """A queue of jobs of one client (the protocol of beanstalkd)."""

    async def job(self, size: int) -> bytes:
        """The job and the CRLF behind it."""
        return await Exactly(size + 2, limit=MAX_JOB + 2)


# NATS

CONTROL_LINE = Until(b"\r\n", limit=1024)
SUBJECT = r"[^\s.*>]+(?:\.[^\s.*>]+)*"
SID = "[0-9A-Za-z]{1,32}"
CONTROL = re.compile(
    rf"(?:(?P<verb>PING|PONG)|CONNECT (?P<options>\{{[^\r\n]*\}})|PUB (?P<to>{SUBJECT})(?: (?P<reply>{SUBJECT}))? "
    rf"(?P<size>[0-9]{{1,9}})|SUB (?P<subject>{SUBJECT}) (?P<sid>{SID})|UNSUB (?P<gone>{SID}))",
    re.ASCII,
)
MAX_PAYLOAD = 8192
MAX_SUBJECTS = 64


class Nats(StreamHandler):
    """A server of NATS for one client, which gets the messages for the subjects that it has named."""

    timeout = 120
    request_timeout = 30

    def setup(self) -> None:
        self.one_by_one = 0
        self.subjects: dict[str, str] = {}
        self.is_verbose = True

    def handle(self) -> Step:
        self.send(b'INFO {"server_id":"one","version":"2.10.0","headers":false,"max_payload":%d}\r\n' % MAX_PAYLOAD)
        return CONTROL_LINE, self.line

    def following(self) -> Step:
        self.one_by_one += 1
        return CONTROL_LINE, self.line

    def line(self, line: bytes) -> Step:
        try:
            matched = CONTROL.fullmatch(line[:-2].decode())
        except UnicodeDecodeError:
            matched = None
        if matched is None:
            raise Malformed("Unknown Protocol Operation")
        if matched["size"]:
            return self.publish(matched["to"], matched["reply"], int(matched["size"]))
        if matched["verb"] == "PING":
            self.send(b"PONG\r\n")
            return self.following()
        if matched["options"]:
            self.connect(matched["options"])
        elif matched["subject"]:
            if len(self.subjects) == MAX_SUBJECTS and matched["sid"] not in self.subjects:
                raise Malformed("Maximum Subscriptions Exceeded")
            self.subjects[matched["sid"]] = matched["subject"]
        elif matched["gone"]:
            self.subjects.pop(matched["gone"], None)
        self.ok(matched["verb"] is None)
        return self.following()

    def ok(self, is_answered: bool = True) -> None:
        if is_answered and self.is_verbose:
            self.send(b"+OK\r\n")

    def connect(self, text: str) -> None:
        try:
            self.is_verbose = json.loads(text).get("verbose", True)
        except (ValueError, RecursionError):
            raise Malformed("Parser Error") from None
        if not isinstance(self.is_verbose, bool):
            raise Malformed("Parser Error")

    def publish(self, to: str, reply: str | None, size: int) -> Step:
        if size >= MAX_PAYLOAD:
            raise Malformed("Maximum Payload Violation")
        return self.payload(to, reply, size)

    def payload(self, to: str, reply: str | None, size: int) -> Step:
        """Wait for the payload of a message."""
        self.to, self.reply = to, reply
        return Exactly(size + 2), self.message

    def message(self, payload: bytes) -> Step:
        if payload[-2:] != b"\r\n":
            raise Malformed("Parser Error")
        self.ok()
        for sid, subject in self.subjects.items():
            if subject == self.to:
                words = ["MSG", subject, sid, *([self.reply] if self.reply else []), str(len(payload) - 2)]
                self.send(" ".join(words).encode() + b"\r\n" + payload)
        return self.following()

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, (Malformed, LimitPassed)):
            what = cause.args[0] if isinstance(cause, Malformed) else "Maximum Control Line Exceeded"
            self.send(f"-ERR '{what}'\r\n".encode())


class NatsRight(Nats):
    """A server of NATS for one client, which gets the messages for the subjects that it has named."""

    def publish(self, to: str, reply: str | None, size: int) -> Step:
        if size > MAX_PAYLOAD:
            raise Malformed("Maximum Payload Violation")
        return self.payload(to, reply, size)


def adu(transaction: int, pdu: bytes) -> bytes:
    return MBAP.pack(transaction, 0, 1 + len(pdu), 1) + pdu


PAIRS = [
    Pair(
        "modbus-tcp",
        9,
        Modbus,
        ModbusRight,
        [
            adu(1, b"\x06\0\x10\x12\x34"),
            adu(2, b"\x10\0\x11\0\2\4\xab\xcd\0\1"),
            adu(3, b"\x03\0\x10\0\4"),
            adu(4, b"\x03\0\0\0\x40") + adu(5, b"\x03\x03\xe7\0\1"),
            adu(6, b"\x03\x03\xe7\0\2"),
            adu(7, b"\x2b\x0e\1\0"),
        ],
    ),
    Pair(
        "beanstalk",
        9,
        Beanstalk,
        BeanstalkRight,
        [
            b"put 1024 0 60 5\r\nhello\r\n",
            b"put 1024 0 60 12\r\nresize 4.jpg\r\n",
            b"reserve-with-timeout 0\r\n",
            b"delete 1\r\nreserve-with-timeout 0\r\n",
            b"delete 7\r\ndelete 2\r\n",
            b"reserve-with-timeout 0\r\n",
            b"put 1 0 60 70000\r\n" + b"a" * 70_000 + b"\r\n",
            b"put 1 0 60 0\r\n\r\nreserve-with-timeout 0\r\nquit\r\n",
        ],
    ),
    Pair(
        "nats-payload",
        9,
        Nats,
        NatsRight,
        [
            b'CONNECT {"verbose":true,"lang":"python"}\r\nPING\r\n',
            b"SUB orders.new 1\r\nSUB orders.paid 2\r\n",
            b"PUB orders.new 11\r\nhello world\r\n",
            b"PUB orders.paid _INBOX.1 3\r\nyes\r\nPUB nobody 0\r\n\r\n",
            b"UNSUB 2\r\nPUB orders.paid 4\r\nlost\r\n",
            b"PING\r\nPUB orders.new 100\r\n" + b"-" * 100 + b"\r\n",
        ],
    ),
]
