"""Smuggling: codings of HTTP, bodies of STOMP, and chunks of SMTP."""

import hashlib
import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Pair

REQUEST = re.compile(rb"(GET|POST) (/[!-~]*) HTTP/1\.1")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t -~]*")
LENGTH = re.compile(rb"0|[1-9][0-9]{0,4}")
CHUNK = re.compile(rb"(0|[1-9A-Fa-f][0-9A-Fa-f]{0,3})\r\n")
HEAD = Until(b"\r\n\r\n", limit=8192)
LARGEST = 65_536


class Forms(StreamHandler):
    """HTTP/1.1: says of what is posted, with a length or in chunks, how long it is."""

    timeout = 20
    request_timeout = 60

    def setup(self):
        self.one_by_one = 0

    def handle(self):
        self.one_by_one += 1
        return HEAD, self.head

    def head(self, head):
        line, *lines = head[:-4].split(b"\r\n")
        matched, fields = REQUEST.fullmatch(line), self.fields(lines)
        if matched is None or fields is None or not fields.get(b"host"):
            return self.refuse(b"400 Bad Request")
        self.closes = b"close" in fields.get(b"connection", b"").lower().replace(b" ", b"").split(b",")
        length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
        if b"expect" in fields:
            return self.refuse(b"417 Expectation Failed")
        if coding is not None:
            if length is not None:
                return self.refuse(b"400 Bad Request")
            if not self.is_chunked(coding):
                return self.refuse(b"501 Not Implemented")
            self.total, self.digest = 0, hashlib.sha1()
            return Until(b"\r\n", limit=8), self.chunk
        if length is None:
            return self.content(b"")
        if LENGTH.fullmatch(length) is None:
            return self.refuse(b"400 Bad Request")
        if int(length) > LARGEST:
            return self.refuse(b"413 Content Too Large")
        return Exactly(int(length)), self.content

    def fields(self, lines):
        """The fields by their names; `None` if a line is no field, or a name comes twice."""
        found = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            name = name.lower()
            if not colon or TOKEN.fullmatch(name) is None or VALUE.fullmatch(value) is None or name in found:
                return None
            found[name] = value.strip(b" \t")
        return found

    def is_chunked(self, coding):
        return coding.lower() == b"chunked"

    def chunk(self, line):
        matched = CHUNK.fullmatch(line)
        if matched is None:
            return self.refuse(b"400 Bad Request")
        size = int(matched[1], 16)
        self.total += size
        if self.total > LARGEST:
            return self.refuse(b"413 Content Too Large")
        return Exactly(size + 2), self.chunk_data if size else self.last

    def chunk_data(self, data):
        if data[-2:] != b"\r\n":
            return self.refuse(b"400 Bad Request")
        self.digest.update(data[:-2])
        return Until(b"\r\n", limit=8), self.chunk

    def last(self, data):
        if data != b"\r\n":  # trailers are not taken
            return self.refuse(b"400 Bad Request")
        return self.answer(self.total, self.digest)

    def content(self, data):
        return self.answer(len(data), hashlib.sha1(data))

    def answer(self, length, digest):
        text = b"%d bytes, %b\n" % (length, digest.hexdigest().encode())
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
        return None if self.closes else self.handle()

    def refuse(self, status):
        self.send(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)


class CodedForms(Forms):
    """HTTP/1.1: takes what is posted in chunks, among other codings."""

    def is_chunked(self, coding):
        return b"chunked" in coding.lower()


ESCAPED = rb"(?:[ -9;-\[\]-~\x80-\xff]|\\[rnc\\])*"
HEADER = re.compile(rb"([!-9;-\[\]-~]+):(%b)\n" % ESCAPED)
BODY = 32_768


class Broker(StreamHandler):
    """STOMP 1.2 for one client, which gets what it sends to where it has subscribed."""

    timeout = 60
    request_timeout = 60
    most_headers = 16
    most_subscriptions = 16

    def setup(self):
        self.one_by_one = self.number = 0
        self.connected = False
        self.subscriptions = {}

    async def handle(self):
        while True:
            self.one_by_one += 1
            line = await Until(b"\n", limit=32)
            if line in (b"\n", b"\r\n"):  # between frames
                continue
            headers = await self.headers()
            if headers is None or not await self.frame(line[:-1].removesuffix(b"\r"), headers):
                return

    async def headers(self):
        """The headers of a frame by their names; `None` if they are wrong, which the client is told."""
        found = {}
        while (line := await Until(b"\n", limit=1024)) not in (b"\n", b"\r\n"):
            line = line[:-2] + b"\n" if line.endswith(b"\r\n") else line
            matched = HEADER.fullmatch(line)
            if matched is None or matched[1] in found or len(found) >= self.most_headers:
                return self.error(b"malformed header")
            found[matched[1]] = matched[2]
        return found

    async def body(self, headers):
        """The body of a frame, up to the NUL that ends it; `None` if it is wrong, which the client is told."""
        length = headers.get(b"content-length")
        if length is None:
            return (await Until(b"\0", limit=BODY + 1))[:-1]
        if LENGTH.fullmatch(length) is None or int(length) > BODY:
            return self.error(b"wrong content-length")
        return self.ended(await Exactly(int(length) + 1))

    def ended(self, data):
        return data[:-1] if data.endswith(b"\0") else self.error(b"the body has another length")

    async def frame(self, command, headers):
        """Take the body of a frame, and do what it says. Whether more may follow."""
        body = await self.body(headers)
        if body is None:
            return False
        destination, identifier = headers.get(b"destination"), headers.get(b"id")
        if command in (b"CONNECT", b"STOMP") and not self.connected and not body:
            self.connected = True
            self.send(b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0")
            return True
        if not self.connected or (body and command != b"SEND"):
            return bool(self.error(b"unexpected frame"))
        if command == b"SEND" and destination:
            self.deliver(destination, body)
        elif command == b"SUBSCRIBE" and destination and identifier and identifier not in self.subscriptions:
            if len(self.subscriptions) >= self.most_subscriptions:
                return bool(self.error(b"too many subscriptions"))
            self.subscriptions[identifier] = destination
        elif command == b"UNSUBSCRIBE" and identifier in self.subscriptions:
            del self.subscriptions[identifier]
        elif command != b"DISCONNECT":
            return bool(self.error(b"wrong frame"))
        if receipt := headers.get(b"receipt"):
            self.send(b"RECEIPT\nreceipt-id:%b\n\n\0" % receipt)
        return command != b"DISCONNECT"

    def deliver(self, destination, body):
        for identifier, subscribed in self.subscriptions.items():
            if subscribed == destination:
                self.number += 1
                self.send(
                    b"MESSAGE\nsubscription:%b\nmessage-id:%d\ndestination:%b\ncontent-length:%d\n\n%b\0"
                    % (identifier, self.number, destination, len(body), body)
                )

    def error(self, why):
        self.send(b"ERROR\nmessage:%b\n\n\0" % why)


class LengthBroker(Broker):
    """STOMP 1.2 for one client, with bodies of a given length."""

    def ended(self, data):
        return data[:-1]


LINE = Until(b"\r\n", limit=512)
ADDRESS = rb"[A-Za-z0-9.+_-]{1,64}@[A-Za-z0-9.-]{1,128}"
EHLO = re.compile(rb"EHLO [A-Za-z0-9.\[\]:-]{1,255}", re.IGNORECASE)
FROM = re.compile(rb"MAIL FROM:<(?:%b)?>(?: BODY=(?:7BIT|8BITMIME|BINARYMIME))?" % ADDRESS, re.IGNORECASE)
TO = re.compile(rb"RCPT TO:<(%b)>" % ADDRESS, re.IGNORECASE)
BDAT = re.compile(rb"BDAT (0|[1-9][0-9]{0,4})( LAST)?", re.IGNORECASE)
MESSAGE = 1 << 20


class Chunking(StreamHandler):
    """SMTP that takes messages in chunks (RFC 3030)."""

    timeout = 60
    request_timeout = 60
    most_recipients = 100

    def setup(self):
        self.one_by_one = self.queued = 0
        self.greeted = False
        self.reset()

    def reset(self):
        self.has_sender, self.has_content, self.recipients, self.length = False, False, 0, 0

    def handle(self):
        self.send(b"220 mx.example.org ESMTP\r\n")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return LINE, self.line

    def say(self, reply):
        self.send(reply + b"\r\n")
        return self.following()

    def line(self, line):
        line = line[:-2]
        if EHLO.fullmatch(line):
            self.greeted = True
            self.reset()
            return self.say(b"250-mx.example.org\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 8BITMIME")
        if matched := BDAT.fullmatch(line):
            return self.chunk(int(matched[1]), matched[2] is not None)
        if FROM.fullmatch(line):
            if not self.greeted or self.has_sender:
                return self.say(b"503 5.5.1 Bad sequence of commands")
            self.has_sender = True
            return self.say(b"250 2.1.0 Sender ok")
        if matched := TO.fullmatch(line):
            return self.say(self.recipient(matched[1].lower()))
        command = line.upper()
        if command == b"RSET":
            self.reset()
        elif command == b"QUIT":
            self.send(b"221 2.0.0 Bye\r\n")
            return None
        elif command != b"NOOP":
            self.send(b"500 5.5.2 Command unrecognized, closing\r\n")
            return None
        return self.say(b"250 2.0.0 Ok")

    def recipient(self, address):
        if not self.has_sender or self.has_content:
            return b"503 5.5.1 Bad sequence of commands"
        if not address.endswith(b"@example.org"):
            return b"550 5.7.1 Relaying denied"
        if self.recipients >= self.most_recipients:
            return b"452 4.5.3 Too many recipients"
        self.recipients += 1
        return b"250 2.1.5 Recipient ok"

    def chunk(self, size, is_last):
        if not self.recipients:
            return self.out_of_sequence(size)
        self.length += size
        if self.length > MESSAGE:
            self.send(b"552 5.3.4 Message too large, closing\r\n")
            return None
        self.is_last, self.has_content = is_last, True
        return Exactly(size), self.content

    def content(self, data):
        if not self.is_last:
            return self.say(b"250 2.0.0 %d octets received" % len(data))
        self.queued += 1
        length = self.length
        self.reset()
        return self.say(b"250 2.0.0 Message of %d octets queued as %d" % (length, self.queued))

    def out_of_sequence(self, size):
        return Exactly(size), self.dropped

    def dropped(self, data):
        return self.say(b"503 5.5.1 No recipients, %d octets dropped" % len(data))


class PromptChunking(Chunking):
    """SMTP that takes messages in chunks, and says at once what it does not take."""

    def out_of_sequence(self, size):
        return self.say(b"503 5.5.1 No recipients, %d octets dropped" % size)


HTTP = [
    b"GET /form HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
    (
        b"POST /form HTTP/1.1\r\nHost: www.example.org\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 16\r\n\r\nname=ada&age=208"
    ),
    (
        b"POST /form HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"9\r\nname=mary\r\nA\r\n&age=97&x=\r\n0\r\n\r\n"
    ),
    b"POST /form HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 0\r\n\r\n",
    b"GET /form HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n",
]
STOMP = [
    b"CONNECT\naccept-version:1.2\nhost:example.org\n\n\0",
    b"SUBSCRIBE\nid:0\ndestination:/queue/orders\nack:auto\n\n\0\n",
    b"SEND\ndestination:/queue/orders\ncontent-type:text/plain\n\nthree lamps\0\n",
    b"SEND\ndestination:/queue/orders\ncontent-length:9\nreceipt:r1\n\na\0b\0c\nd\0e\0\n",
    b"SEND\r\ndestination:/queue/other\r\ncontent-length:4\r\n\r\ndesk\0",
    b"UNSUBSCRIBE\nid:0\nreceipt:r2\n\n\0",
    b"DISCONNECT\nreceipt:r3\n\n\0",
]
SMTP = [
    b"EHLO client.example.net\r\n",
    b"MAIL FROM:<ada@example.net> BODY=BINARYMIME\r\n",
    b"RCPT TO:<charles@example.org>\r\n",
    b"RCPT TO:<nobody@example.com>\r\n",
    b"BDAT 16\r\nSubject: lunch\r\n",
    b"BDAT 18 LAST\r\n\r\nAt noon?\r\n.\r\n\0\x01\x02",
    b"MAIL FROM:<>\r\n",
    b"RCPT TO:<ada@example.org>\r\n",
    b"RSET\r\n",
    b"mail from:<mary@example.net>\r\n",
    b"rcpt to:<ada@example.org>\r\n",
    b"bdat 12\r\nSubject: x\r\n",
    b"bdat 0 last\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
]

PAIRS = [
    # Fault: any coding with "chunked" in it counts as chunked: "xchunked", "chunked, identity".
    Pair("http-coding-chunked", 10, CodedForms, Forms, HTTP, {"kept": 131_072}),
    # Fault: the byte after a body of a given length is dropped, whatever it is: a wrong length goes unnoticed.
    Pair("stomp-content-length", 10, LengthBroker, Broker, STOMP, {"kept": 65_536}),
    # Fault: the chunk of a BDAT that is refused is not taken, but read as commands.
    Pair("smtp-bdat-refused", 10, PromptChunking, Chunking, SMTP, {"kept": 131_072}),
]
