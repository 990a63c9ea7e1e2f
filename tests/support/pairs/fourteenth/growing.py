"""Accumulation without a bound over many small pieces."""

import base64
import hashlib
import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, GET_VALUES, VALUES_RESULT = 1, 2, 3, 4, 5, 6, 9, 10


class FastCGI(StreamHandler):
    """A FastCGI responder, one request at a time, as an application behind nginx."""

    timeout = 30
    request_timeout = 30
    most_content = 16_384
    most_params = 8192

    async def handle(self):
        while True:
            self.one_by_one += 1
            kind, number, length, padding = self.header(await Exactly(8))
            content = (await Exactly(length + padding))[:length]
            if kind == GET_VALUES and number == 0:
                self.record(VALUES_RESULT, 0, self.values(content))
            elif kind == BEGIN and number and length == 8 and content[:2] == b"\0\x01" and content[2] <= 1:
                await self.serve(number)
                if not content[2]:
                    return
            else:
                raise Malformed("no request begins so")

    def header(self, data):
        if data[0] != 1:
            raise Malformed("version")
        length, padding = int.from_bytes(data[4:6], "big"), data[6]
        if length > 8192:
            raise Malformed("record too long")
        return data[1], int.from_bytes(data[2:4], "big"), length, padding

    def record(self, kind, number, content):
        self.send(b"\x01%c%b%b\0\0" % (kind, number.to_bytes(2, "big"), len(content).to_bytes(2, "big")) + content)

    def values(self, content):
        known = {b"FCGI_MAX_CONNS": b"100", b"FCGI_MAX_REQS": b"100", b"FCGI_MPXS_CONNS": b"0"}
        asked = self.pairs(content)
        found = [(name, known[name]) for name in asked if name in known]
        return b"".join(b"%c%c%b%b" % (len(name), len(value), name, value) for name, value in found)

    async def serve(self, number):
        """Take the streams of a request, and answer it unless it is aborted."""
        params = await self.stream(PARAMS, number)
        if params is None:
            return
        params = self.pairs(params)
        content = await self.stream(STDIN, number)
        if content is None:
            return
        name = params.get(b"SCRIPT_NAME", b"/")
        body = b"%b: %d params, %d bytes, md5 %b\n" % (
            name, len(params), len(content), hashlib.md5(content).hexdigest().encode(),
        )  # fmt: skip
        self.record(STDOUT, number, b"Content-Type: text/plain\r\n\r\n" + body)
        self.record(STDOUT, number, b"")
        self.record(END, number, bytes(8))

    async def stream(self, kind, number):
        """The content of a stream, whose last record is empty; ``None`` if the request is aborted."""
        whole = bytearray()
        while True:
            came, its, length, padding = self.header(await Exactly(8))
            content = (await Exactly(length + padding))[:length]
            if came == ABORT and its == number and not length:
                self.record(END, number, b"\0\0\0\x01\0\0\0\0")
                return None
            if (came, its) != (kind, number):
                raise Malformed("another record")
            if not length:
                return bytes(whole)
            self.grow(kind, whole, content)

    def grow(self, kind, whole, content):
        if kind == STDIN and len(whole) + len(content) > self.most_content:
            raise Malformed("content too long")
        whole += content

    def pairs(self, data):
        found, at = {}, 0
        while at < len(data):
            sizes = []
            for _ in range(2):
                size = data[at : at + 4] if data[at : at + 1] >= b"\x80" else data[at : at + 1]
                if len(size) == 4 and size < b"\x80\0\0\x80":
                    raise Malformed("a short length in four bytes")
                at += len(size)
                sizes.append(int.from_bytes(size, "big") & 0x7FFFFFFF)
            end = at + sizes[0] + sizes[1]
            name = data[at : at + sizes[0]]
            if not name or end > len(data) or len(size) not in (1, 4) or name in found:
                raise Malformed("no pair")
            found[name] = data[at + sizes[0] : end]
            at = end
        return found


class RightFastCGI(FastCGI):
    def grow(self, kind, whole, content):
        if kind == PARAMS and len(whole) + len(content) > self.most_params:
            raise Malformed("params too long")
        super().grow(kind, whole, content)


KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Fragments(StreamHandler):
    """A WebSocket that echoes messages of up to 16 KiB, in fragments or not."""

    timeout = 60
    request_timeout = 60
    most = 16_384

    def handle(self):
        return Until(b"\r\n\r\n", limit=2048), self.upgrade

    def upgrade(self, data):
        lines = data[:-4].split(b"\r\n")
        found = fields(lines[1:])
        asked = found.get(b"upgrade", b"").lower(), found.get(b"connection", b"").lower()
        key = found.get(b"sec-websocket-key", b"")
        is_asked = asked == (b"websocket", b"upgrade") and found.get(b"sec-websocket-version") == b"13"
        if lines[0] != b"GET /echo HTTP/1.1" or not is_asked or b"host" not in found or KEY.fullmatch(key) is None:
            self.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return None
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        self.send(b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept)
        self.opened()
        return self.between()

    def between(self):
        self.one_by_one += 1
        self.kind, self.message = None, bytearray()
        return Exactly(2), self.begin

    def begin(self, data):
        return self.frame(data)

    def frame(self, data):
        self.fin, self.opcode, length = data[0] >> 7, data[0] & 0x0F, data[1] & 0x7F
        if data[0] & 0x70 or not data[1] & 0x80 or length == 127:
            return self.fail(1002)
        if self.opcode >= CLOSE:
            if not self.fin or length > 125 or self.opcode > PONG:
                return self.fail(1002)
        elif self.opcode > BINARY or (self.opcode == CONTINUATION) != (self.kind is not None):
            return self.fail(1002)
        if length == 126:
            return Exactly(2), self.length
        return Exactly(4 + length), self.payload

    def length(self, data):
        length = int.from_bytes(data, "big")
        if length < 126:
            return self.fail(1002)
        if self.is_too_long(length):
            return self.fail(1009)
        return Exactly(4 + length), self.payload

    def is_too_long(self, length):
        return length > self.most

    def payload(self, data):
        mask = data[:4] * (len(data) // 4)
        plain = bytes(map(int.__xor__, data[4:], mask))
        if self.opcode == PING:
            self.reply(PONG, plain)
        elif self.opcode == CLOSE:
            return self.bye(plain)
        elif self.opcode != PONG:
            if self.is_too_long(len(plain)):
                return self.fail(1009)
            self.kind = self.opcode or self.kind
            self.message += plain
            if self.fin:
                return self.whole()
        if self.kind is None:
            return self.between()
        return Exactly(2), self.frame

    def whole(self):
        if self.kind == TEXT:
            try:
                self.message.decode()
            except UnicodeDecodeError:
                return self.fail(1007)
        self.reply(self.kind, bytes(self.message))
        return self.between()

    def bye(self, plain):
        code = int.from_bytes(plain[:2], "big")
        is_code = 1000 <= code <= 1003 or 1007 <= code <= 1011 or 3000 <= code <= 4999
        try:
            plain[2:].decode()
        except UnicodeDecodeError:
            return self.fail(1007)
        return self.fail(1002) if plain and not is_code else self.reply(CLOSE, plain[:2])

    def reply(self, opcode, data):
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
        self.send(bytes([0x80 | opcode]) + size + data)

    def fail(self, code):
        self.reply(CLOSE, code.to_bytes(2, "big"))


class RightFragments(Fragments):
    def is_too_long(self, length):
        return len(self.message) + length > self.most


REQUEST, RESPONSE = b"\0REQ", b"\0RES"
CAN_DO, CANT_DO, RESET_ABILITIES, PRE_SLEEP, GRAB_JOB, NO_JOB, JOB_ASSIGN, WORK_COMPLETE = 1, 2, 3, 4, 9, 10, 11, 13
ECHO_REQ, ECHO_RES, ERROR, SET_CLIENT_ID = 16, 17, 19, 22
WORD = re.compile(rb"[!-~]{1,64}")


class Abilities(StreamHandler):
    """What a Gearman job server says to its workers. The jobs are two."""

    timeout = 30
    request_timeout = 30
    most = 32

    def setup(self):
        self.abilities = set()
        self.jobs = [(b"H:lap:1", b"reverse", b"hello"), (b"H:lap:2", b"wc", b"one two")]
        self.given = None

    def handle(self):
        self.one_by_one += 1
        return Exactly(12), self.header

    def header(self, data):
        kind, size = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:], "big")
        if data[:4] != REQUEST or size > 1024:
            return self.fail(b"ERR_PACKET")
        self.kind = kind
        return Exactly(size), self.packet

    def packet(self, data):
        kind = self.kind
        if kind in (CAN_DO, CANT_DO, SET_CLIENT_ID):
            if WORD.fullmatch(data) is None:
                return self.fail(b"ERR_NAME")
            if kind == CAN_DO and not self.can_do(data):
                return self.fail(b"ERR_TOO_MANY")
            if kind == CANT_DO:
                self.abilities.discard(data)
        elif kind == ECHO_REQ:
            self.respond(ECHO_RES, data)
        elif kind == WORK_COMPLETE:
            handle, nul, _ = data.partition(b"\0")
            if not nul or handle != self.given:
                return self.fail(b"ERR_HANDLE")
            self.given = None
        elif data or kind not in (RESET_ABILITIES, PRE_SLEEP, GRAB_JOB):
            return self.fail(b"ERR_PACKET")
        elif kind == RESET_ABILITIES:
            self.abilities.clear()
        elif kind == GRAB_JOB:
            self.grab()
        return self.handle()

    def can_do(self, name):
        self.abilities.add(name)
        return True

    def grab(self):
        for job in self.jobs:
            if job[1] in self.abilities and self.given is None:
                self.jobs.remove(job)
                self.given = job[0]
                self.respond(JOB_ASSIGN, b"\0".join(job))
                return
        self.respond(NO_JOB, b"")

    def respond(self, kind, data):
        self.send(RESPONSE + kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data)

    def fail(self, code):
        self.respond(ERROR, code + b"\0refused")


class RightAbilities(Abilities):
    def can_do(self, name):
        if name not in self.abilities and len(self.abilities) == self.most:
            return False
        return super().can_do(name)


def _record(kind, content, number=1, padding=0):
    sizes = len(content).to_bytes(2, "big") + bytes([padding, 0])
    return bytes([1, kind]) + number.to_bytes(2, "big") + sizes + content + bytes(padding)


def _pairs(**named):
    return b"".join(bytes([len(name), len(value)]) + name.encode() + value for name, value in named.items())


def _frame(first, data, mask=b"\x37\xfa\x21\x3d"):
    return bytes([first, 0x80 | len(data)]) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def _packet(kind, data=b""):
    return REQUEST + kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data


PAIRS = [
    # Fault: the records of PARAMS, each of which has a bound, have none together.
    Pair(
        "fastcgi-params", 2, FastCGI, RightFastCGI,
        [
            _record(GET_VALUES, _pairs(FCGI_MAX_CONNS=b"", FCGI_MPXS_CONNS=b""), number=0),
            _record(BEGIN, b"\0\x01\x01\0\0\0\0\0")
            + _record(PARAMS, _pairs(REQUEST_METHOD=b"GET", SCRIPT_NAME=b"/status", QUERY_STRING=b""), padding=3)
            + _record(PARAMS, b"")
            + _record(STDIN, b""),
            _record(BEGIN, b"\0\x01\0\0\0\0\0\0", 2)
            + _record(PARAMS, _pairs(REQUEST_METHOD=b"POST", SCRIPT_NAME=b"/upload"), 2)
            + _record(PARAMS, _pairs(CONTENT_LENGTH=b"11"), 2)
            + _record(PARAMS, b"", 2)
            + _record(STDIN, b"hello ", 2, 2)
            + _record(STDIN, b"world", 2)
            + _record(STDIN, b"", 2),
        ],
    ),
    # Fault: the bound of a message is held against each of its fragments.
    Pair(
        "websocket-fragments", 2, Fragments, RightFragments,
        [
            (
                b"GET /echo HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ),
            _frame(0x81, b"Hello"),
            _frame(0x02, b"frag") + _frame(0x00, b"men") + _frame(0x89, b"ping") + _frame(0x80, b"ts"),
            _frame(0x8A, b""),
            b"\x81\xfe\x00\x80\0\0\0\0" + b"long" * 32,
            _frame(0x88, b"\x03\xe8bye"),
        ],
    ),
    # Fault: the functions that a worker announces, one in each packet, are remembered whatever their number.
    Pair(
        "gearman-abilities", 2, Abilities, RightAbilities,
        [
            _packet(SET_CLIENT_ID, b"worker-1"),
            _packet(ECHO_REQ, b"are you there?"),
            _packet(CAN_DO, b"reverse"),
            _packet(CAN_DO, b"wc"),
            _packet(GRAB_JOB),
            _packet(WORK_COMPLETE, b"H:lap:1\0olleh"),
            _packet(CANT_DO, b"reverse"),
            _packet(GRAB_JOB),
            _packet(WORK_COMPLETE, b"H:lap:2\x002"),
            _packet(RESET_ABILITIES),
            _packet(GRAB_JOB),
            _packet(PRE_SLEEP),
        ],
        {"kept": 16_384},
    ),
]  # fmt: skip
