"""Copies of packets, and a count that goes on."""

import re
from types import MappingProxyType

from handlers import DatagramHandler, Delay, FirstOf, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

ASKED = re.compile(rb"\x00\x01([!-~]{1,100})\x00[Oo][Cc][Tt][Ee][Tt]\x00")


class Files(DatagramHandler):
    """Sends a file by TFTP (RFC 1350)."""

    timeout = 10
    request_timeout = 120
    tries = 5
    files = MappingProxyType({b"boot.cfg": b"boot from=net\n" * 3, b"image": bytes(range(256)) * 5})

    async def handle(self):
        request = await Packet()
        if request[:2] != b"\x00\x01":
            return  # a stray one of an old transfer; an error would be taken for one of a new transfer
        asked = ASKED.fullmatch(request)
        if asked is None:
            self.fail(4, b"illegal request")
            return
        if asked[1] not in self.files:
            self.fail(1, b"no such file")
            return
        self.content, self.block = self.files[asked[1]], 1
        while self.block * 512 <= len(self.content) + 512:
            self.send_block()
            if not await self.acknowledged(request):
                return
            self.block += 1

    async def acknowledged(self, request):
        resend, left = Delay(2), self.tries
        while True:
            wait, packet = await FirstOf(Packet(), resend)
            if wait is resend:
                if not left:
                    self.fail(0, b"no answer")
                    return False
                left -= 1
                self.send_block()
            elif packet[:2] == b"\x00\x05":
                return False
            elif packet != request:
                if packet[:2] != b"\x00\x04" or len(packet) != 4:
                    self.fail(4, b"illegal operation")
                    return False
                number = int.from_bytes(packet[2:], "big")
                if number == self.block:
                    return True
                self.other(number)

    def other(self, number):
        if number == self.block - 1:  # the client lacks the block that has been sent
            self.send_block()

    def send_block(self):
        start = (self.block - 1) * 512
        self.send(b"\x00\x03" + self.block.to_bytes(2, "big") + self.content[start : start + 512])

    def fail(self, code, text):
        self.send(bytes([0, 5, 0, code]) + text + b"\x00")


class FilesRight(Files):
    """The same."""

    def other(self, number):
        """Nothing: the block is sent again when its time is over (RFC 1123, section 4.2.3.1)."""


CON, NON, ACK = 0, 1, 2
GET, POST = 1, 2
COUNT = b"\xb5count"
PATH = re.compile(rb"([\xb1-\xbc])([!-~]{1,12})")


class Counter(DatagramHandler):
    """A counter by CoAP (RFC 7252): POST adds one, GET reads."""

    timeout = 247  # EXCHANGE_LIFETIME
    request_timeout = 3600
    remembered = 64

    def setup(self):
        self.count, self.number = 0, 0
        self.answers = {}

    async def handle(self):
        while True:
            self.packet(await Packet())

    def packet(self, packet):
        if len(packet) < 4 or packet[0] >> 6 != 1 or packet[0] & 15 > 8:
            raise Malformed("no message of CoAP")
        kind, size, code = packet[0] >> 4 & 3, packet[0] & 15, packet[1]
        name, token, rest = packet[2:4], packet[4 : 4 + size], packet[4 + size :]
        if len(token) < size or (not code and len(packet) > 4):
            raise Malformed("no message of CoAP")
        path = PATH.fullmatch(rest)
        if code > 31 or (code and (path is None or len(path[2]) != path[1][0] & 15)):
            raise Malformed("no request for a resource")
        if kind > NON:
            return  # nothing of ours is confirmable
        if not code:
            if kind == CON:
                self.send(b"\x70\x00" + name)  # a ping
            return
        if name in self.answers:
            self.again(name)
            return
        answer = self.answer(kind, code, name, token, rest)
        self.remember(kind, name, answer)
        self.send(answer)

    def again(self, name):
        if self.answers[name]:
            self.send(self.answers[name])

    def remember(self, kind, name, answer):
        if kind == CON:
            self.answers[name] = answer
            if len(self.answers) > self.remembered:
                del self.answers[next(iter(self.answers))]

    def answer(self, kind, code, name, token, rest):
        if rest != COUNT:
            result, content = 0x84, b""  # 4.04 Not Found
        elif code == POST:
            self.count += 1
            result, content = 0x44, b"%d" % self.count
        elif code == GET:
            result, content = 0x45, b"%d" % self.count
        else:
            result, content = 0x85, b""  # 4.05 Method Not Allowed
        if kind == NON:
            self.number = (self.number + 1) & 0xFFFF
            name = self.number.to_bytes(2, "big")
        head = bytes([0x40 | (ACK if kind == CON else NON) << 4 | len(token), result])
        return head + name + token + (b"\xff" + content if content else b"")


class CounterRight(Counter):
    """The same."""

    def remember(self, kind, name, answer):
        self.answers[name] = answer if kind == CON else b""
        if len(self.answers) > self.remembered:
            del self.answers[next(iter(self.answers))]


LINE = Until(b"\r\n", limit=1000)
HELLO = re.compile(rb"(?:HELO|EHLO) [0-9A-Za-z.-]{1,64}", re.IGNORECASE)
MAIL = re.compile(rb"MAIL FROM:<(?:[!-;=?-~]{1,100})?>", re.IGNORECASE)
RCPT = re.compile(rb"RCPT TO:<([!-;=?-~]{1,100})>", re.IGNORECASE)
USERS = (b"ada@here.example", b"bob@here.example")
MAX_RECIPIENTS = 100
MAX_SIZE = 1 << 20


class Receiver(StreamHandler):
    """Takes mail by SMTP (RFC 5321)."""

    timeout = 60
    request_timeout = 300

    def setup(self):
        self.greeted = False
        self.asked = 0
        self.forget()

    def forget(self):
        self.sender, self.recipients, self.size = False, set(), 0

    def handle(self):
        return self.reply(b"220 here.example ESMTP")

    def reply(self, line):
        self.send(line + b"\r\n")
        self.one_by_one += 1
        return LINE, self.command

    def bad(self, line):
        self.send(line + b"\r\n")

    def command(self, line):
        line = line[:-2]
        verb = line[:4].upper()
        if HELLO.fullmatch(line):
            self.greeted = True
            self.forget()
            return self.reply(b"250 here.example")
        if MAIL.fullmatch(line):
            if not self.greeted or self.sender:
                return self.reply(b"503 not now")
            self.sender = True
            return self.reply(b"250 OK")
        if RCPT.fullmatch(line):
            return self.recipient(RCPT.fullmatch(line)[1].lower())
        if len(line) != 4 or verb not in (b"DATA", b"RSET", b"NOOP", b"QUIT"):
            return self.bad(b"500 no command")
        if verb == b"QUIT":
            return self.bad(b"221 bye")
        if verb == b"DATA":
            if not self.recipients:
                return self.reply(b"503 no recipients")
            self.send(b"354 go on\r\n")
            return LINE, self.text
        if verb == b"RSET":
            self.forget()
        return self.reply(b"250 OK")

    def recipient(self, user):
        if not self.sender:
            return self.reply(b"503 not now")
        if self.asked == MAX_RECIPIENTS:
            return self.reply(b"452 too many recipients")
        self.asked += 1
        if user not in USERS:
            return self.reply(b"550 not here")
        self.recipients.add(user)
        return self.reply(b"250 OK")

    def text(self, line):
        if b"\r" in line[:-2] or b"\n" in line[:-2]:
            return self.bad(b"500 a line ends with CR LF")
        if line == b".\r\n":
            answer = b"250 took %d bytes for %d" % (self.size, len(self.recipients))
            self.forget()
            return self.reply(answer)
        self.size += len(line) - line.startswith(b".")
        if self.size > MAX_SIZE:
            return self.bad(b"552 too long")
        return LINE, self.text


class ReceiverRight(Receiver):
    """The same."""

    def forget(self):
        super().forget()
        self.asked = 0


TFTP = [b"\x00\x01image\x00octet\x00", b"\x00\x04\x00\x01", b"\x00\x04\x00\x02", b"\x00\x04\x00\x03"]
COAP = [
    b"\x41\x02\x10\x01A" + COUNT,
    b"\x41\x01\x10\x02B" + COUNT,
    b"\x51\x02\x10\x03C" + COUNT,
    b"\x51\x01\x10\x04D" + COUNT,
    b"\x40\x00\x10\x05",
]
SMTP = [
    b"EHLO there.example\r\n",
    b"MAIL FROM:<eve@there.example>\r\n",
    b"RCPT TO:<ada@here.example>\r\n",
    b"RCPT TO:<nobody@here.example>\r\n",
    b"DATA\r\n",
    b"Subject: hello\r\n\r\n..dot\r\n.\r\n",
    b"NOOP\r\n",
    b"MAIL FROM:<>\r\n",
    b"RCPT TO:<bob@here.example>\r\n",
    b"RSET\r\n",
    b"QUIT\r\n",
]

PAIRS = [
    # Fault: an ACK of the block before, which may be a copy, is answered with the block again: sorcerer's apprentice.
    Pair("tftp-files", 8, Files, FilesRight, TFTP, {}),
    # Fault: only confirmable requests are remembered, so the copy of another one counts twice.
    Pair("coap-counter", 8, Counter, CounterRight, COAP, {"kept": 16_384}),
    # Fault: the recipients that were asked for are counted for the session and not for the mail.
    Pair("smtp-recipients", 8, Receiver, ReceiverRight, SMTP, {}),
]
