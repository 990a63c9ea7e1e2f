"""Deadlines: uploads over HTTP, a virus scanner's sessions, and subjects of NATS."""

import hashlib
import re

from handlers import Exactly, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import ANY, Malformed, Pair

REQUEST = re.compile(rb"(GET|HEAD|PUT|DELETE) (/[!-~]{0,254}) HTTP/1\.1")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t -~]*")
LENGTH = re.compile(rb"0|[1-9][0-9]{0,6}")
LARGEST = 4 << 20


def fields_of(lines):
    """The fields of a head by their names; `None` if a line is no field, or a name comes twice."""
    found = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or TOKEN.fullmatch(name) is None or VALUE.fullmatch(value) is None or name in found:
            return None
        found[name] = value.strip(b" \t")
    return found


class Uploads(StreamHandler):
    """HTTP/1.1: takes files by PUT, of which it keeps the length and the SHA-256; GET says them."""

    timeout = 15
    request_timeout = 60
    most_files = 64

    def setup(self):
        self.one_by_one = 0
        self.files = {}

    async def handle(self):
        while True:
            self.one_by_one += 1
            head = await Until(b"\r\n\r\n", limit=8192)
            line, *lines = head[:-4].split(b"\r\n")
            matched, fields = REQUEST.fullmatch(line), fields_of(lines)
            if matched is None or fields is None:
                return self.answer(b"400 Bad Request")
            method, path = matched.groups()
            refusal = self.refusal(method, fields)
            if refusal is not None:
                return self.answer(refusal)
            if method == b"PUT":
                await self.store(path, int(fields[b"content-length"]))
            elif path not in self.files:
                self.answer(b"404 Not Found", b"no such file\n", is_head=method == b"HEAD")
            elif method == b"DELETE":
                del self.files[path]
                self.answer(b"200 OK", b"deleted\n")
            else:
                self.answer(b"200 OK", self.files[path], is_head=method == b"HEAD")
            if b"close" in fields.get(b"connection", b"").lower().replace(b" ", b"").split(b","):
                return None

    def refusal(self, method, fields):
        """The status with which a request is refused; `None` if it is not."""
        length = fields.get(b"content-length")
        if not fields.get(b"host"):
            return b"400 Bad Request"
        if b"transfer-encoding" in fields:
            return b"501 Not Implemented"
        if b"expect" in fields:
            return b"417 Expectation Failed"
        if method != b"PUT":
            return None if length in (None, b"0") else b"400 Bad Request"
        if length is None:
            return b"411 Length Required"
        if LENGTH.fullmatch(length) is None:
            return b"400 Bad Request"
        return b"413 Content Too Large" if int(length) > LARGEST else None

    async def store(self, path, length):
        self.left, self.digest = length, hashlib.sha256()
        while self.left:
            self.took(await Some(limit=min(self.left, 65_536)))
        if path not in self.files and len(self.files) >= self.most_files:
            self.answer(b"507 Insufficient Storage", b"too many files\n")
            return
        self.files[path] = b"%d %b\n" % (length, self.digest.hexdigest().encode())
        self.answer(b"201 Created", self.files[path])

    def took(self, piece):
        self.left -= len(piece)
        self.digest.update(piece)

    def answer(self, status, content=b"", is_head=False):
        self.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status, len(content)))
        self.send(b"" if is_head else content)


class PacedUploads(Uploads):
    """HTTP/1.1: takes files by PUT; an upload that moves may take long."""

    def took(self, piece):
        super().took(piece)
        self.one_by_one += 1


SIGNATURE = b"X5O!P%@AP-TEST-SIGNATURE"
LONGEST = 32
MOST = 1 << 20


class Clamd(StreamHandler):
    """ClamAV's daemon: commands that a NUL ends, alone or in a session, and streams in chunks to be scanned."""

    timeout = 30
    request_timeout = 60

    def setup(self):
        self.one_by_one, self.number = 1, 0
        self.buffer = bytearray()
        self.in_session = self.in_stream = self.over = False

    def handle(self):
        return ANY, self.came

    def came(self, data):
        return self.more(data)

    def more(self, data):
        self.buffer += data
        while not self.over and (self.chunk() if self.in_stream else self.command()):
            pass
        return None if self.over else self.rest()

    def rest(self):
        return ANY, self.more if self.buffer or self.in_stream else self.came

    def command(self):
        """Take a command. Whether one was there."""
        end = self.buffer.find(b"\0", 0, LONGEST)
        if end < 0:
            if len(self.buffer) >= LONGEST:
                raise Malformed("a command is too long")
            return False
        command = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        self.number += 1
        if command == b"zIDSESSION" and not self.in_session:
            self.in_session, self.number = True, 0
            self.one_by_one += 1
        elif command == b"zINSTREAM":
            self.in_stream, self.left, self.total, self.tail, self.found = True, 0, 0, b"", False
        elif command == b"zPING":
            self.reply(b"PONG")
        elif command == b"zVERSION":
            self.reply(b"ClamAV 1.4.2/27600")
        elif command == b"zEND" and self.in_session:
            self.over = True
        else:
            self.reply(b"UNKNOWN COMMAND")
            self.over = True
        return True

    def chunk(self):
        """Take the length of a chunk, or what has come of it. Whether there was something to take."""
        if not self.left:
            if len(self.buffer) < 4:
                return False
            self.left = int.from_bytes(self.buffer[:4], "big")
            del self.buffer[:4]
            self.total += self.left
            if self.total > MOST:
                self.reply(b"INSTREAM size limit exceeded. ERROR")
                self.over = True
            elif not self.left:
                self.in_stream = False
                self.reply(b"stream: Test.Signature FOUND" if self.found else b"stream: OK")
            return True
        piece = self.tail + self.buffer[: self.left]
        taken = len(piece) - len(self.tail)
        del self.buffer[:taken]
        self.left -= taken
        self.found = self.found or SIGNATURE in piece
        self.tail = bytes(piece[1 - len(SIGNATURE) :])
        return taken > 0

    def reply(self, text):
        self.send(b"%d: %b\0" % (self.number, text) if self.in_session else text + b"\0")
        self.over = not self.in_session
        self.one_by_one += 1


class WaitingClamd(Clamd):
    """ClamAV's daemon, which waits for whatever comes next."""

    def rest(self):
        return ANY, self.came


COMMAND = Until(b"\r\n", limit=1024)
PAIR = rb'"[a-z_]{1,32}":(?:true|false|0|[1-9][0-9]{0,5}|"[ !#-\[\]-~]*")'
CONNECT = re.compile(rb"CONNECT \{(?:%b(?:,%b)*)?\}" % (PAIR, PAIR))
SUBJECT = rb"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
SUB = re.compile(rb"SUB (%b) ([A-Za-z0-9]{1,16})" % SUBJECT)
UNSUB = re.compile(rb"UNSUB ([A-Za-z0-9]{1,16})")
PUB = re.compile(rb"PUB (%b) (0|[1-9][0-9]{0,4})" % SUBJECT)
PAYLOAD = 32_768


class Subjects(StreamHandler):
    """NATS for one client, which gets what it publishes; it is asked whether it is there when it is silent."""

    timeout = 20
    request_timeout = 40
    most_pings = 2
    most_subscriptions = 32

    def setup(self):
        self.one_by_one = self.pings = 0
        self.connected = False
        self.subscriptions = {}

    def handle(self):
        self.send(b'INFO {"server_id":"N1","version":"2.10.0","max_payload":%d}\r\n' % PAYLOAD)
        return self.following()

    def following(self):
        self.one_by_one += 1
        return COMMAND, self.command

    def command(self, line):
        self.pings, line = 0, line[:-2]
        if line in (b"PING", b"PONG"):
            self.send(b"PONG\r\n" if line == b"PING" else b"")
        elif CONNECT.fullmatch(line):
            self.connected = True
            self.send(b"+OK\r\n")
        elif not self.connected:
            return self.refuse(b"Authorization Violation")
        elif matched := SUB.fullmatch(line):
            subject, sid = matched.groups()
            if sid not in self.subscriptions and len(self.subscriptions) >= self.most_subscriptions:
                return self.refuse(b"Maximum Subscriptions Exceeded")
            self.subscriptions[sid] = subject
            self.send(b"+OK\r\n")
        elif matched := UNSUB.fullmatch(line):
            self.subscriptions.pop(matched[1], None)
            self.send(b"+OK\r\n")
        elif matched := PUB.fullmatch(line):
            self.subject, size = matched[1], int(matched[2])
            if size > PAYLOAD:
                return self.refuse(b"Maximum Payload Violation")
            return Exactly(size + 2), self.payload
        else:
            return self.refuse(b"Unknown Protocol Operation")
        return self.following()

    def payload(self, data):
        if data[-2:] != b"\r\n":
            return self.refuse(b"Parser Error")
        self.send(b"+OK\r\n")
        for sid, subject in self.subscriptions.items():
            if subject == self.subject:
                self.send(b"MSG %b %b %d\r\n%b" % (subject, sid, len(data) - 2, data))
        return self.following()

    def refuse(self, why):
        self.send(b"-ERR '%b'\r\n" % why)

    def interrupted(self, cause):
        if not isinstance(cause, TimedOut) or cause.wait != COMMAND or self.held_in:
            return None
        return self.silent()

    def silent(self):
        if self.pings >= self.most_pings:
            return self.refuse(b"Stale Connection")
        self.pings += 1
        self.send(b"PING\r\n")
        return COMMAND, self.command


class PatientSubjects(Subjects):
    """NATS for one client, which is asked now and then whether it is there."""

    def silent(self):
        self.send(b"PING\r\n")
        return COMMAND, self.command


UPLOAD = [
    (
        b"PUT /reports/june.csv HTTP/1.1\r\nHost: files.example.org\r\nContent-Type: text/csv\r\n"
        b"Content-Length: 26\r\n\r\nday,visits\r\n1,204\r\n2,198\r\n"
    ),
    b"GET /reports/june.csv HTTP/1.1\r\nHost: files.example.org\r\nUser-Agent: curl/8.5.0\r\n\r\n",
    b"HEAD /reports/june.csv HTTP/1.1\r\nHost: files.example.org\r\n\r\n",
    b"PUT /empty HTTP/1.1\r\nHost: files.example.org\r\nContent-Length: 0\r\n\r\n",
    b"DELETE /reports/june.csv HTTP/1.1\r\nHost: files.example.org\r\n\r\n",
    b"GET /reports/june.csv HTTP/1.1\r\nHost: files.example.org\r\nConnection: close\r\n\r\n",
]
SCAN = [
    b"zIDSESSION\0",
    b"zPING\0",
    b"zVERSION\0",
    b"zINSTREAM\0\0\0\0\x10an attachment: a\0\0\0\x08 picture\0\0\0\0",
    b"zINSTREAM\0\0\0\0\x14mail X5O!P%@AP-TEST-\0\0\0\x0eSIGNATURE here\0\0\0\0",
    b"zPING\0",
    b"zEND\0",
]
PUBLISH = [
    b'CONNECT {"verbose":true,"pedantic":false,"lang":"python","name":"stock","protocol":1}\r\n',
    b"PING\r\n",
    b"SUB orders.new 1\r\n",
    b"SUB stock.low 2\r\n",
    b"PUB orders.new 11\r\nbook 3 lamp\r\n",
    b"PUB stock.low 0\r\n\r\n",
    b"UNSUB 1\r\n",
    b"PUB orders.new 4\r\nlamp\r\n",
    b"PONG\r\n",
]

PAIRS = [
    # Fault: each piece of the content counts as a new request, so `request_timeout` starts anew with each byte.
    Pair("http-upload-pace", 7, PacedUploads, Uploads, UPLOAD, {"kept": 65_536}),
    # Fault: the rest of a command or stream is awaited in the state of its first byte: no `request_timeout` holds.
    Pair("clamd-stream-rest", 7, WaitingClamd, Clamd, SCAN),
    # Fault: a client that answers no PING is asked for ever: nothing ends the connection.
    Pair("nats-stale-client", 7, PatientSubjects, Subjects, PUBLISH, {"kept": 65_536}),
]
