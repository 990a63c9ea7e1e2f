"""Slips: jobs of Gearman, packets of EtherNet/IP that have no answer, and pages over SNPP."""

import re
from struct import pack, unpack
from threading import Lock

from handlers import Exactly, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

HEADER = Exactly(12)
CAN_DO, CANT_DO, RESET, PRE_SLEEP, NOOP, SUBMIT_JOB, JOB_CREATED, GRAB_JOB = 1, 2, 3, 4, 6, 7, 8, 9
NO_JOB, JOB_ASSIGN, WORK_COMPLETE, WORK_FAIL, GET_STATUS, ECHO_REQ, ECHO_RES = 10, 11, *range(13, 18)
ERROR, STATUS_RES = 19, 20
KINDS = {
    CAN_DO: (1, "can_do"),
    CANT_DO: (1, "cant_do"),
    RESET: (0, "reset"),
    PRE_SLEEP: (0, "pre_sleep"),
    SUBMIT_JOB: (3, "submit"),
    GRAB_JOB: (0, "grab"),
    WORK_COMPLETE: (2, "complete"),
    WORK_FAIL: (1, "fail"),
    GET_STATUS: (1, "status"),
    ECHO_REQ: (1, "echo"),
}
"""The packets that are taken: the number of their arguments, and the method for them."""
NAME = re.compile(rb"[!-~]{1,64}")
UNIQUE = re.compile(rb"[!-~]{0,64}")
WORKLOAD, MOST_JOBS, MOST_FUNCTIONS = 4096, 16, 32


class Gearman(StreamHandler):
    """Gearman's job server for one connection, which is the client and the worker of its jobs."""

    timeout = 60
    request_timeout = 30

    def setup(self):
        self.one_by_one = self.number = 0
        self.is_asleep = False
        self.functions = set()
        self.jobs = {}
        """By handle: function, unique name, workload, and whether a worker has the job."""

    def handle(self):
        self.one_by_one += 1
        return HEADER, self.header

    def header(self, data):
        magic, self.kind, size = unpack(">4sII", data)
        if magic != b"\0REQ":
            raise Malformed("no packet of a client or worker")
        if size > WORKLOAD + 256:
            return self.error(b"TOO_LARGE", b"Packet is too large")
        return Exactly(size), self.content

    def content(self, data):
        count, name = KINDS.get(self.kind, (0, None))
        parts = data.split(b"\0", count - 1) if count else []
        if name is None:
            self.error(b"UNKNOWN_COMMAND", b"Command is not known here")
        elif len(parts) != count or (data and not count):
            self.error(b"BAD_ARGUMENTS", b"Wrong number of arguments")
        else:
            getattr(self, name)(*parts)
        return self.handle()

    def can_do(self, function):
        if NAME.fullmatch(function) is None or len(self.functions | {function}) > MOST_FUNCTIONS:
            return self.error(b"BAD_FUNCTION", b"Function is not taken")
        self.functions.add(function)
        return None

    def cant_do(self, function):
        self.functions.discard(function)

    def reset(self):
        self.functions.clear()

    def pre_sleep(self):
        self.is_asleep = True
        self.wake()

    def submit(self, function, unique, workload):
        if NAME.fullmatch(function) is None or UNIQUE.fullmatch(unique) is None or len(workload) > WORKLOAD:
            return self.error(b"BAD_JOB", b"Job is not taken")
        for handle, job in self.jobs.items():
            if unique and job[:2] == [function, unique]:
                return self.answer(JOB_CREATED, handle)
        if len(self.jobs) >= MOST_JOBS:
            return self.error(b"QUEUE_FULL", b"Job queue is full")
        self.number += 1
        handle = b"H:gear:%d" % self.number
        self.jobs[handle] = [function, unique, workload, False]
        self.answer(JOB_CREATED, handle)
        self.wake()
        return None

    def waiting(self):
        """The handle of the first job for which a worker is there; `None` if there is none."""
        return next((handle for handle, job in self.jobs.items() if not job[3] and job[0] in self.functions), None)

    def wake(self):
        if self.is_asleep and self.waiting():
            self.is_asleep = False
            self.answer(NOOP)

    def grab(self):
        self.is_asleep, handle = False, self.waiting()
        if handle is None:
            return self.answer(NO_JOB)
        job = self.jobs[handle]
        job[3] = True
        self.answer(JOB_ASSIGN, handle, job[0], job[2])
        return None

    def is_running(self, handle):
        return handle in self.jobs and self.jobs[handle][3]

    def complete(self, handle, result):
        if not self.is_running(handle):
            return self.error(b"JOB_NOT_FOUND", b"Job is not running")
        del self.jobs[handle]
        self.answer(WORK_COMPLETE, handle, result)
        return None

    def fail(self, handle):
        if not self.is_running(handle):
            return self.error(b"JOB_NOT_FOUND", b"Job is not running")
        del self.jobs[handle]
        self.answer(WORK_FAIL, handle)
        return None

    def status(self, handle):
        if NAME.fullmatch(handle) is None:
            return self.error(b"BAD_HANDLE", b"No handle of a job")
        known, running = handle in self.jobs, self.is_running(handle)
        self.answer(STATUS_RES, handle, b"%d" % known, b"%d" % running, b"0", b"0")
        return None

    def echo(self, data):
        self.answer(ECHO_RES, data)

    def error(self, code, text):
        self.answer(ERROR, code, text)

    def answer(self, kind, *parts):
        data = b"\0".join(parts)
        self.send(pack(">4sII", b"\0RES", kind, len(data)) + data)


class HastyGearman(Gearman):
    """Gearman's job server for one connection, which takes results as they come."""

    def complete(self, handle, result):
        if not self.is_running(handle):
            self.error(b"JOB_NOT_FOUND", b"Job is not running")
        self.jobs.pop(handle, None)
        self.answer(WORK_COMPLETE, handle, result)


NOP, SERVICES, IDENTITY, INTERFACES, REGISTER, UNREGISTER, REQUEST = 0x00, 0x04, 0x63, 0x64, 0x65, 0x66, 0x6F
SIZES = {
    SERVICES: (0, 0),
    IDENTITY: (0, 0),
    INTERFACES: (0, 0),
    REGISTER: (4, 4),
    UNREGISTER: (0, 0),
    REQUEST: (18, 504),
}
SESSION = 0x00010203
PRODUCT = b"Example I/O"
ATTRIBUTES = {
    1: pack("<H", 1021),
    2: pack("<H", 12),
    3: pack("<H", 65),
    4: b"\2\1",
    5: pack("<H", 0x30),
    6: pack("<I", 0x00C0FFEE),
    7: b"%c%b" % (len(PRODUCT), PRODUCT),
}
"""The attributes of the identity object: vendor, type, product, revision, status, serial number and name."""
ADDRESS = pack(">HH4s8x", 2, 44818, bytes([192, 0, 2, 10]))
DEVICE = pack("<H", 1) + ADDRESS + b"".join(ATTRIBUTES.values()) + b"\3"


class Adapter(StreamHandler):
    """EtherNet/IP: an adapter, which says what it is, also by Get_Attribute_Single of its identity object."""

    timeout = 60
    request_timeout = 30

    def setup(self):
        self.one_by_one = self.session = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            self.head = await Exactly(24)
            command, length, session, status, _, options = unpack("<HHII8sI", self.head)
            if command == NOP or status or options:
                await self.ignore(length)
            elif command not in SIZES:
                await self.skip(length)
                self.answer(status=0x01)
            elif not SIZES[command][0] <= length <= SIZES[command][1]:
                await self.skip(length)
                self.answer(status=0x65)
            else:
                data = await Exactly(length)
                if command == UNREGISTER:
                    return
                self.serve(command, session, data)

    async def ignore(self, length):
        """Pass over the data of a packet that gets no answer."""
        if length:
            await self.skip(length)

    async def skip(self, length):
        while length:
            length -= len(await Some(limit=length))

    def serve(self, command, session, data):
        if command == SERVICES:
            self.answer(pack("<HHHHH16s", 1, 0x100, 20, 1, 0x20, b"Communications"))
        elif command == IDENTITY:
            self.answer(pack("<HHH", 1, 0x0C, len(DEVICE)) + DEVICE)
        elif command == INTERFACES:
            self.answer(pack("<H", 0))
        elif command == REGISTER:
            self.register(data)
        elif not self.session or session != self.session:
            self.answer(status=0x64)
        else:
            self.request(data)

    def register(self, data):
        if data != pack("<HH", 1, 0):
            self.answer(pack("<HH", 1, 0), status=0x69)
        elif self.session:
            self.answer(status=0x01)
        else:
            self.session = SESSION
            self.answer(data, session=SESSION)

    def request(self, data):
        interface, _, count, address, size, kind, length = unpack("<IHHHHHH", data[:16])
        message = data[16:]
        if interface or count != 2 or address or size or kind != 0xB2 or length != len(message) or length < 2:
            return self.answer(status=0x03)
        reply = self.attribute(message)
        self.answer(pack("<IHHHHHH", 0, 0, 2, 0, 0, 0xB2, len(reply)) + reply)
        return None

    def attribute(self, message):
        """The reply to a request of CIP."""
        service, path = message[0], message[2:]
        if len(path) < 2 * message[1]:
            return pack("<BBBB", service | 0x80, 0, 0x13, 0)
        if path[:4] != b"\x20\x01\x24\x01":
            return pack("<BBBB", service | 0x80, 0, 0x05, 0)
        if service != 0x0E:
            return pack("<BBBB", service | 0x80, 0, 0x08, 0)
        if len(path) != 6 or message[1] != 3 or path[4] != 0x30 or path[5] not in ATTRIBUTES:
            return pack("<BBBB", service | 0x80, 0, 0x14, 0)
        return pack("<BBBB", service | 0x80, 0, 0, 0) + ATTRIBUTES[path[5]]

    def answer(self, data=b"", status=0, session=None):
        command, _, its, _, context, _ = unpack("<HHII8sI", self.head)
        self.send(pack("<HHII8sI", command, len(data), its if session is None else session, status, context, 0) + data)


class ForgetfulAdapter(Adapter):
    """EtherNet/IP: an adapter with a shorter way past the packets that get no answer."""

    async def ignore(self, length):
        if length:
            self.skip(length)


LINE = Until(b"\r\n", limit=512)
TEXT_LINE = Until(b"\r\n", limit=1002)
PAGER = re.compile(rb"[0-9]{4,15}")
PRINTABLE = re.compile(rb"[\t -~]*")
LONGEST, MOST_PAGERS = 4096, 8


class Counts:
    """What all clients together have sent."""

    def __init__(self):
        self.lock = Lock()
        self.pages = self.octets = 0

    def add(self, pages, octets):
        with self.lock:
            self.pages += pages
            self.octets += octets


class Snpp(StreamHandler):
    """SNPP (RFC 1861), level 1 and DATA: takes messages for pagers."""

    timeout = 60
    request_timeout = 60
    counts = Counts()

    def setup(self):
        self.one_by_one = 0
        self.forget()

    def forget(self):
        self.pagers, self.message = [], None

    async def handle(self):
        self.send(b"220 SNPP Gateway Ready\r\n")
        while True:
            self.one_by_one += 1
            line = (await LINE)[:-2]
            name, _, argument = line.partition(b" ")
            name = name.upper()
            if name == b"QUIT" and not argument:
                return self.reply(b"221 OK, Goodbye")
            if PRINTABLE.fullmatch(line) is None:
                self.reply(b"500 Command Not Understood")
            elif name == b"PAGE":
                self.page(argument)
            elif name in (b"MESS", b"DATA") and self.message is not None:
                self.reply(b"503 Message Already Entered")
            elif name == b"MESS" and argument:
                self.message = argument
                self.reply(b"250 Message OK")
            elif name == b"DATA" and not argument:
                self.reply(b"354 Begin Input; End with <CRLF>.<CRLF>")
                self.message = await self.text()
                self.reply(b"554 Message Not Taken" if self.message is None else b"250 Message OK")
            elif name == b"SEND" and not argument:
                self.deliver()
            elif name == b"RESE" and not argument:
                self.forget()
                self.reply(b"250 Reset OK")
            elif name == b"HELP" and not argument:
                self.reply(b"214 PAGE MESS DATA SEND RESE HELP QUIT", b"250 End of Help Information")
            else:
                self.reply(b"500 Command Not Implemented, or its argument is wrong")

    def page(self, pager):
        if PAGER.fullmatch(pager) is None:
            self.reply(b"550 Invalid Pager ID")
        elif len(self.pagers) >= MOST_PAGERS:
            self.reply(b"552 Max Recipients Exceeded")
        else:
            self.pagers.append(pager)
            self.reply(b"250 Pager ID Accepted")

    async def text(self):
        """The lines up to one with a period alone; `None` if they are no text, or too long."""
        lines, octets, is_text = [], 0, True
        while (line := await TEXT_LINE) != b".\r\n":
            octets += len(line)
            is_text = is_text and octets <= LONGEST and PRINTABLE.fullmatch(line[:-2]) is not None
            if is_text:
                lines.append(line.removeprefix(b"."))
        return b"".join(lines) if is_text else None

    def deliver(self):
        if not self.pagers or self.message is None:
            return self.reply(b"503 Pager or Message Information Incomplete")
        self.counts.add(len(self.pagers), len(self.message))
        self.reply(b"250 Message Sent Successfully to %d" % len(self.pagers))
        self.forget()
        return None

    def reply(self, *lines):
        self.send(b"".join(b"%b\r\n" % line for line in lines))


class LockedSnpp(Snpp):
    """SNPP: takes messages for pagers, and the text of one after another."""

    counts = Counts()

    async def text(self):
        with self.counts.lock:
            return await super().text()


def gearman(kind, *parts):
    data = b"\0".join(parts)
    return pack(">4sII", b"\0REQ", kind, len(data)) + data


def enip(command, data=b"", session=0, context=b"_client_"):
    return pack("<HHII8sI", command, len(data), session, 0, context, 0) + data


def attribute(number):
    message = b"\x0e\x03\x20\x01\x24\x01\x30%c" % number
    return pack("<IHHHHHH", 0, 5, 2, 0, 0, 0xB2, len(message)) + message


JOBS = [
    gearman(ECHO_REQ, b"are you there"),
    gearman(CAN_DO, b"reverse"),
    gearman(GRAB_JOB),
    gearman(PRE_SLEEP),
    gearman(SUBMIT_JOB, b"reverse", b"r-1", b"hello\0there"),
    gearman(SUBMIT_JOB, b"count", b"", b"a b c"),
    gearman(GRAB_JOB),
    gearman(GET_STATUS, b"H:gear:1"),
    gearman(WORK_COMPLETE, b"H:gear:1", b"ereht\0olleh"),
    gearman(CAN_DO, b"count"),
    gearman(GRAB_JOB),
    gearman(WORK_FAIL, b"H:gear:2"),
    gearman(GET_STATUS, b"H:gear:2"),
    gearman(RESET),
    gearman(GRAB_JOB),
]
SCANNER = [
    enip(NOP),
    enip(SERVICES),
    enip(IDENTITY),
    enip(INTERFACES, context=b"\0\1\2\3\4\5\6\7"),
    enip(REGISTER, b"\1\0\0\0"),
    enip(REQUEST, attribute(1), SESSION),
    enip(NOP, session=SESSION),
    enip(REQUEST, attribute(7), SESSION),
    enip(REQUEST, attribute(9), SESSION),
    enip(0x70, b"", SESSION),
    enip(UNREGISTER, b"", SESSION),
]
PAGING = [
    b"PAGE 5551234\r\n",
    b"MESS lunch at noon\r\n",
    b"SEND\r\n",
    b"PAGE 5551234\r\n",
    b"page 5559876\r\n",
    b"DATA\r\n",
    b"Two lines:\r\n..this one has a period\r\n.\r\n",
    b"SEND\r\n",
    b"PAGE 12\r\n",
    b"SEND\r\n",
    b"RESE\r\n",
    b"HELP\r\n",
    b"QUIT\r\n",
]

PAIRS = [
    # Fault: a `return` is forgotten: a result for a job that is not running gets an error, and is sent on all the same.
    Pair("gearman-result-after-error", 12, HastyGearman, Gearman, JOBS, {"kept": 65_536}),
    # Fault: the coroutine that passes over the data of a NOP is not awaited, so the data are taken for packets.
    Pair("enip-data-not-skipped", 12, ForgetfulAdapter, Adapter, SCANNER),
    # Fault: a lock is held while a client sends its text: the next client with a text blocks the whole server.
    Pair("snpp-lock-while-waiting", 12, LockedSnpp, Snpp, PAGING),
]
