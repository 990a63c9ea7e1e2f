"""Ends and lengths that a peer in front may see elsewhere."""

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair, fields

HEAD = Until(b"\r\n\r\n", limit=8192)
REQUEST = re.compile(rb"(GET|PUT) (/[!-~]{0,200}) HTTP/1\.1")
LENGTH = re.compile(rb"0|[1-9][0-9]{0,5}")
SIZE = re.compile(rb"(0|[1-9A-Fa-f][0-9A-Fa-f]{0,4})\r\n")
MAX_BODY = 65_536


class Refused(Exception):
    """The request gets an answer with this status, and is the last."""


class Sizes(StreamHandler):
    """Says by HTTP/1.1 how much has been put."""

    timeout = 30
    request_timeout = 60

    async def handle(self):
        while True:
            self.one_by_one += 1
            try:
                goes_on = await self.request(await HEAD)
            except Refused as refused:
                self.answer(refused.args[0], b"", b"close")
                return
            if not goes_on:
                return

    async def request(self, head):
        first, *lines = head[:-4].split(b"\r\n")
        request = REQUEST.fullmatch(first)
        try:
            found = fields(lines)
        except Malformed:
            raise Refused(b"400 Bad Request") from None
        if request is None or b"host" not in found:
            raise Refused(b"400 Bad Request")
        size = await self.body(found)
        connection = found.get(b"connection", b"keep-alive").lower()
        if connection not in (b"keep-alive", b"close"):
            raise Refused(b"400 Bad Request")
        self.answer(b"200 OK", b"%b %d\n" % (request[2], size), connection)
        return connection == b"keep-alive"

    def answer(self, status, content, connection):
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: %b\r\n\r\n" % (status, len(content), connection)
        self.send(head + content)

    async def body(self, found):
        coding, length = found.get(b"transfer-encoding"), found.get(b"content-length")
        if coding is None:
            if LENGTH.fullmatch(length or b"0") is None or length == b"":
                raise Refused(b"400 Bad Request")
            if int(length or b"0") > MAX_BODY:
                raise Refused(b"413 Content Too Large")
            return len(await Exactly(int(length or b"0")))
        if coding.lower() != b"chunked" or length is not None:
            raise Refused(b"400 Bad Request")
        whole = 0
        while True:
            size = SIZE.fullmatch(await Until(b"\r\n", limit=16))
            if size is None:
                raise Refused(b"400 Bad Request")
            if size[1] == b"0":
                break
            whole += int(size[1], 16)
            if whole > MAX_BODY:
                raise Refused(b"413 Content Too Large")
            await self.chunk(int(size[1], 16))
        if await Exactly(2) != b"\r\n":
            raise Refused(b"400 Bad Request")
        return whole

    async def chunk(self, size):
        chunk = await Exactly(size + 2)
        return chunk[:-2]


class SizesRight(Sizes):
    """The same."""

    async def chunk(self, size):
        chunk = await Exactly(size + 2)
        if chunk[-2:] != b"\r\n":
            raise Refused(b"400 Bad Request")
        return chunk[:-2]


MAX_LINE = 253
PASSWORDS = {b"ada": b"sesame", b"bob": b"mustard"}
MAILS = (b"Subject: one\r\n\r\nhello\r\n", b"Subject: two\r\n\r\n..dots\r\n", b"Subject: three\r\n\r\nbye\r\n")
COMMAND = re.compile(rb"([A-Za-z]{3,4})(?: ([!-~]{1,40}))?")
NUMBER = re.compile(rb"[1-9][0-9]?")


class Maildrop(Buffered):
    """Mail by POP3 (RFC 1939)."""

    def setup(self):
        super().setup()
        self.name, self.user, self.failures, self.deleted, self.over = None, None, 0, set(), False

    def handle(self):
        self.send(b"+OK here.example\r\n")
        return super().handle()

    def take(self):
        end = self.buffer.rfind(b"\r\n", max(0, self.searched - 1))
        if end >= 0:
            text = bytes(self.buffer[: end + 2])
            del self.buffer[: end + 2]
            for line in self.lines(text):
                if len(line) > MAX_LINE or not self.command(line):
                    if not self.over:
                        self.send(b"-ERR bye\r\n")
                    return False
        if len(self.buffer) > MAX_LINE + (self.buffer[-1:] == b"\r"):
            self.send(b"-ERR bye\r\n")
            return False
        return True

    def lines(self, text):
        return text.splitlines()

    def command(self, line):
        found = COMMAND.fullmatch(line)
        if found is None:
            return False
        verb, argument = found[1].upper(), found[2]
        if verb == b"NOOP" and argument is None:
            return self.ok(b"")
        if verb == b"QUIT" and argument is None:
            self.over = self.ok(b"bye")
            return False
        if self.user is None:
            return self.login(verb, argument)
        if verb in (b"RETR", b"DELE") and argument is not None:
            return self.mail(verb, argument)
        if argument is not None:
            return False
        if verb == b"STAT":
            left = [mail for number, mail in enumerate(MAILS, 1) if number not in self.deleted]
            return self.ok(b"%d %d" % (len(left), sum(map(len, left))))
        if verb == b"RSET":
            self.deleted.clear()
            return self.ok(b"")
        return False

    def ok(self, text):
        self.send(b"+OK " + text + b"\r\n")
        return True

    def login(self, verb, argument):
        if verb == b"USER" and argument is not None:
            self.name = argument
            return self.ok(b"and the password?")
        if verb != b"PASS" or argument is None or self.name is None:
            return False
        if PASSWORDS.get(self.name) != argument:
            self.failures += 1
            self.name = None
            self.send(b"-ERR not you\r\n")
            return self.failures < 3
        self.user = self.name
        return self.ok(b"welcome")

    def mail(self, verb, argument):
        if NUMBER.fullmatch(argument) is None:
            return False
        number = int(argument)
        if number > len(MAILS) or number in self.deleted:
            self.send(b"-ERR no such message\r\n")
            return True
        if verb == b"DELE":
            self.deleted.add(number)
            return self.ok(b"deleted")
        self.ok(b"it follows")
        self.send(re.sub(rb"(?m)^\.", b"..", MAILS[number - 1]) + b".\r\n")
        return True


class MaildropRight(Maildrop):
    """The same."""

    def lines(self, text):
        return text[:-2].split(b"\r\n")


COMPACT = {b"v": b"via", b"f": b"from", b"t": b"to", b"i": b"call-id", b"l": b"content-length", b"c": b"content-type"}
NEEDED = (b"via", b"from", b"to", b"call-id", b"cseq", b"content-length")
CSEQ = re.compile(rb"(?:0|[1-9][0-9]{0,8}) ([A-Z]+)")
START = re.compile(rb"(OPTIONS|MESSAGE|REGISTER) sips?:[!-~]{1,200} SIP/2\.0")


class Proxied(StreamHandler):
    """Takes messages by SIP (RFC 3261) over TCP, from a proxy."""

    timeout = 30
    request_timeout = 60

    def handle(self):
        self.one_by_one += 1
        return HEAD, self.head

    def head(self, head):
        first, *lines = head[:-4].split(b"\r\n")
        start = START.fullmatch(first)
        if start is None:
            return self.send(b"SIP/2.0 400 Bad Request\r\n\r\n")
        try:
            self.found = self.fields(lines)
        except Malformed:
            return self.send(b"SIP/2.0 400 Bad Request\r\n\r\n")
        number = CSEQ.fullmatch(self.found[b"cseq"])
        if number is None or number[1] != start[1] or LENGTH.fullmatch(self.found[b"content-length"]) is None:
            return self.answer(b"400 Bad Request")
        size = int(self.found[b"content-length"])
        if size > MAX_BODY:
            return self.answer(b"513 Message Too Large")
        return Exactly(size), self.body

    def fields(self, lines):
        found = self.renamed(fields(lines))
        if not all(found.get(name) for name in NEEDED):
            raise Malformed("a field is not there")
        return found

    def renamed(self, found):
        for short, name in COMPACT.items():
            if short in found:
                found[name] = found.get(name, found[short])
        return found

    def body(self, body):
        self.answer(b"200 OK", b"%d\n" % len(body) if body else b"")
        return self.handle()

    def answer(self, status, content=b""):
        lines = [b"SIP/2.0 " + status]
        lines += [b"%b: %b" % (name.title(), self.found[name]) for name in NEEDED[:5]]
        self.send(b"\r\n".join([*lines, b"Content-Length: %d" % len(content), b"", content]))


class ProxiedRight(Proxied):
    """The same."""

    def renamed(self, found):
        for short, name in COMPACT.items():
            if short in found:
                if name in found:
                    raise Malformed("a field that comes twice")
                found[name] = found[short]
        return found


HTTP = [
    b"GET /a HTTP/1.1\r\nHost: here\r\n\r\n",
    b"PUT /b HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /c HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n there\r\n0\r\n\r\n",
    b"GET /d HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
]
POP3 = [
    b"NOOP\r\n",
    b"USER ada\r\n",
    b"PASS sesame\r\n",
    b"STAT\r\n",
    b"RETR 2\r\n",
    b"DELE 1\r\n",
    b"RETR 1\r\n",
    b"STAT\r\n",
    b"RSET\r\n",
    b"QUIT\r\n",
]
OPTIONS = (
    b"OPTIONS sip:ada@here.example SIP/2.0\r\nVia: SIP/2.0/TCP there;branch=z9hG4bK1\r\nFrom: <sip:bob@there>;tag=1\r\n"
    b"To: <sip:ada@here.example>\r\nCall-ID: 1@there\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
MESSAGE = (
    b"MESSAGE sip:ada@here.example SIP/2.0\r\nv: SIP/2.0/TCP there;branch=z9hG4bK2\r\nf: <sip:bob@there>;tag=1\r\n"
    b"t: <sip:ada@here.example>\r\ni: 2@there\r\nCSeq: 2 MESSAGE\r\nc: text/plain\r\nl: 5\r\n\r\nhello"
)
SIP = [OPTIONS, MESSAGE]

PAIRS = [
    # Fault: the two bytes behind the data of a chunk are not looked at: they need not be CR LF.
    Pair("http-chunks", 10, Sizes, SizesRight, HTTP, {}),
    # Fault: splitlines() ends a line at a lone CR or LF too.
    Pair("pop3-lines", 10, Maildrop, MaildropRight, POP3, {}),
    # Fault: of a Content-Length in both its forms, which may differ, the long one is taken.
    Pair("sip-fields", 10, Proxied, ProxiedRight, SIP, {}),
]
