"""Steps in the wrong order or number: loops around a failure, lines that only look like an end, requests done twice."""

import re
from struct import pack, unpack

from handlers import DatagramHandler, Exactly, LimitPassed, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair


class Framed(StreamHandler):
    """Calls in frames with their length; the answer is the text turned round."""

    timeout = 10
    request_timeout = 10
    largest = 1_000

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            if not await self.one():
                return

    async def one(self):
        length = unpack(">I", await Exactly(4))[0]
        if not 0 < length <= self.largest:
            return False
        call = await Exactly(length)
        self.send(pack(">I", length) + call[::-1])
        return True


class LoopsOnFailure(Framed):
    async def one(self):
        try:
            return await super().one()
        except Exception:
            return True  # the next call may be better


class Mail(StreamHandler):
    """The data of mails, each of which a line with a dot ends; other lines with a dot have one more."""

    timeout = 60
    request_timeout = 60
    most_lines = 200

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        self.send(b"220 mail\r\n")
        while True:
            self.one_by_one += 1
            line = await Until(b"\n", limit=512)
            if line == b"QUIT\r\n":
                return self.send(b"221 bye\r\n")
            if line != b"DATA\r\n":
                return self.send(b"500 what\r\n")
            self.send(b"354 go on\r\n")
            count = size = 0
            while not self.is_end(line := await Until(b"\n", limit=1_000)):
                if line[-2:] != b"\r\n" and not self.takes(line):
                    return self.send(b"521 bare LF\r\n")
                count, size = count + 1, size + len(line) - line.startswith(b".")
                if count > self.most_lines:
                    return self.send(b"552 too much\r\n")
            self.send(b"250 %d lines, %d bytes\r\n" % (count, size))

    def takes(self, line):
        return False

    def is_end(self, line):
        return line == b".\r\n"

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"500 line too long\r\n")


class LooseMail(Mail):
    def takes(self, line):
        return True


EMPTY, PING, BAD_OPTION = pack(">BBH", 0x70, 0, 0), 0, 0x82


class Meter(DatagramHandler):
    """CoAP (RFC 7252): a POST counts, and its answer has the count. Requests are confirmable, and have no options."""

    timeout = 30
    request_timeout = 120
    most = 16

    async def handle(self):
        self.count, self.answers = 0, {}
        try:
            while True:
                self.one(await Packet())
        except TimedOut:
            pass

    def one(self, packet):
        if len(packet) < 4 or packet[0] != 0x40:
            return
        _, code, number = unpack(">BBH", packet[:4])
        if code == 0 and len(packet) == 4:
            self.send(pack(">BBH", 0x70, 0, number))
        elif code in (1, 2):
            answer = self.known(number)
            if answer is None:
                answer = self.done(code, number, packet[4:])
                if len(self.answers) >= self.most:
                    del self.answers[next(iter(self.answers))]
                self.answers[number] = answer
            self.send(answer)
        elif code < 32:
            self.send(pack(">BBH", 0x60, 0x85, number))

    def known(self, number):
        return self.answers.get(number)

    def done(self, code, number, rest):
        if rest:
            return pack(">BBH", 0x60, 0x82, number)
        self.count += code == 2
        return pack(">BBH", 0x60, 0x45 if code == 1 else 0x44, number) + b"\xff%d" % self.count


class ForgetfulMeter(Meter):
    def known(self, number):
        return None


class Gate(StreamHandler):
    """A proxy for some paths: it forwards what is allowed, and refuses the others."""

    timeout = 10
    allowed = (b"/public", b"/news")

    def handle(self):
        return Until(b"\r\n", limit=256), self.line

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"414 too long\r\n")

    def line(self, line):
        matched = re.fullmatch(rb"GET (/[a-z/]{0,60})\r\n", line)
        if matched is None:
            self.send(b"400 bad request\r\n")
            return None
        if not matched[1].startswith(self.allowed) and self.refused(matched[1]):
            return self.handle()
        self.send(b"200 %b of the server behind\r\n" % matched[1])
        return self.handle()

    def refused(self, path):
        self.send(b"403 %b\r\n" % path)
        return True


class OpenGate(Gate):
    def refused(self, path):
        self.send(b"403 %b\r\n" % path)


class Uploads(StreamHandler):
    """Blocks of 1 KiB on a connection that is kept; a client has to send at 500 bytes a second, after a second."""

    timeout = 60
    rate, grace = 500, 1
    size = 1_024

    def setup(self):
        self.begun = None

    def handle(self):
        self.taken = 0
        self.prepared()
        return Some(limit=self.size), self.more

    def prepared(self):
        self.begun = None

    def more(self, data):
        now = self.now()
        if self.begun is None:
            self.begun = now
        self.taken += len(data)
        if self.taken < self.rate * (now - self.begun - self.grace):
            self.send(b"too slow\n")
            return None
        if self.taken < self.size:
            return Some(limit=self.size - self.taken), self.more
        self.send(b"taken\n")
        return self.handle()


class ImpatientUploads(Uploads):
    def prepared(self):
        if self.begun is not None:
            self.begun = self.now()


def framed(text):
    return pack(">I", len(text)) + text


PAIRS = [
    # Fault (aiothrift 42): what fails is caught inside the loop, which goes on.
    Pair("framed-loops", 5, LoopsOnFailure, Framed, [framed(b"hello"), framed(b"there")]),
    # Fault (Haraka 3268): a line that only a LF ends may come before the dot, so that a mail has two ends.
    Pair(
        "mail-bare-lf", 10, LooseMail, Mail,
        [b"DATA\r\n", b"Subject: a\r\n\r\nhello\r\n..\r\n.\r\n", b"DATA\r\nagain\r\n.\r\n", b"QUIT\r\n"],
    ),
    # Fault (contiki 2085): a request that comes again, since its acknowledgement was lost, is done again.
    Pair(
        "coap-again", 8, ForgetfulMeter, Meter,
        [pack(">BBH", 0x40, 1, 7), pack(">BBH", 0x40, 2, 8), pack(">BBH", 0x40, 1, 9)],
        {"kept": 8_192},
    ),
    # Fault (georchestra 3151): after the refusal there is no return.
    Pair("gate-no-return", 12, OpenGate, Gate, [b"GET /public\r\n", b"GET /news/a\r\n"]),
    # Fault (roadrunner 184): the time between two blocks counts as time in which the client was slow.
    Pair("uploads-idle", 7, ImpatientUploads, Uploads, [b"a" * 1_024, b"b" * 1_024]),
]  # fmt: skip
