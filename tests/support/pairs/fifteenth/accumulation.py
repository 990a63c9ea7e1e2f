"""Accumulation without a bound over many small pieces."""

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

STREAM_MAX = 32_768
TEST_VIRUS = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class Clamd(StreamHandler):
    """clamd: commands of a session, and streams that come in chunks."""

    timeout = 30
    request_timeout = 60

    async def handle(self):
        self.number, in_session = 0, False
        while True:
            self.one_by_one += 1
            command = await Until(b"\0", limit=64)
            if command == b"zIDSESSION\0" and not in_session:
                in_session = True
                continue
            if command == b"zEND\0" and in_session:
                return
            if command == b"zPING\0":
                answer = b"PONG"
            elif command == b"zVERSION\0":
                answer = b"ClamAV 1.0.5/27165"
            elif command == b"zINSTREAM\0":
                answer = await self.stream()
            else:
                answer = b"UNKNOWN COMMAND"
            self.number += 1
            self.send(b"%d: %b\0" % (self.number, answer) if in_session else answer + b"\0")
            if not in_session or answer.endswith((b"ERROR", b"COMMAND")):
                return

    async def stream(self):
        """Take the chunks up to the empty one; what has been found in them."""
        stream = bytearray()
        while size := int.from_bytes(await Exactly(4), "big"):
            if not self.is_welcome(size, stream):
                return b"INSTREAM size limit exceeded. ERROR"
            stream += await Exactly(size, limit=STREAM_MAX)
        return b"stream: Win.Test.EICAR_HDB-1 FOUND" if TEST_VIRUS in stream else b"stream: OK"

    def is_welcome(self, size, stream):
        return len(stream) + size <= STREAM_MAX


class BrokenClamd(Clamd):
    def is_welcome(self, size, stream):
        return size <= STREAM_MAX


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
SIZES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
PROTOCOL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 1, 6, 9, 11
MAX_FRAME, MAX_BLOCK = 16_384, 32_768
STATIC = {2: (b":method", b"GET"), 3: (b":method", b"POST"), 4: (b":path", b"/"), 6: (b":scheme", b"http")}
NAMES = {1: b":authority", 4: b":path"}
STATUS = {204: b"\x89", 400: b"\x8c", 404: b"\x8d"}


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def text_at(block, place):
    """The string at ``place`` of a header block, and where it ends."""
    end = place + 1 + (block[place] if place < len(block) else 0)
    if place >= len(block) or block[place] > 126 or end > len(block):
        raise ValueError("no short string without Huffman's code")
    return bytes(block[place + 1 : end]), end


def decoded(block):
    """The fields of a header block that has indices of the static table, and literals that are not to be indexed."""
    place, found = 0, {}
    while place < len(block):
        first, place = block[place], place + 1
        if first & 0x80:
            if first & 0x7F not in STATIC:
                raise ValueError("no such index")
            name, value = STATIC[first & 0x7F]
        elif first in (0, 16):
            name, place = text_at(block, place)
            value, place = text_at(block, place)
        elif first & 0xEF in NAMES:
            name = NAMES[first & 0xEF]
            value, place = text_at(block, place)
        else:
            raise ValueError("no such field")
        if not name or name in found or name != name.lower():
            raise ValueError("a field that comes twice, or has capitals")
        found[name] = value
    return found


class Health(StreamHandler):
    """HTTP/2 without content, for load balancers that ask whether a service is well."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.last, self.block = 0, bytearray()
        self.kind = self.flags = self.stream = None

    def handle(self):
        return Exactly(len(PREFACE)), self.preface

    def preface(self, data):
        if data != PREFACE:
            raise Malformed("no HTTP/2")
        self.send(frame(SETTINGS, 0, 0))
        self.opened()
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Exactly(9), self.header

    def refuse(self, code):
        self.send(frame(GOAWAY, 0, 0, self.last.to_bytes(4, "big") + code.to_bytes(4, "big")))

    def header(self, data):
        size, was = int.from_bytes(data[:3], "big"), self.kind
        self.kind, self.flags, self.stream = data[3], data[4], int.from_bytes(data[5:], "big") & 0x7FFF_FFFF
        if size > MAX_FRAME or SIZES.get(self.kind, size) != size:
            return self.refuse(FRAME_SIZE_ERROR)
        if was is None and self.kind != SETTINGS:
            return self.refuse(PROTOCOL_ERROR)
        return Exactly(size, limit=MAX_FRAME), self.payload

    def payload(self, data):
        kind, is_whole = self.kind, self.stream == 0
        if is_whole and kind in (PRIORITY, RST_STREAM):
            return self.refuse(PROTOCOL_ERROR)
        if kind == HEADERS:
            return self.headers(data)
        if kind == SETTINGS and is_whole and len(data) % 6 == 0 and not (self.flags & 1 and data):
            self.send(b"" if self.flags & 1 else frame(SETTINGS, 1, 0))
        elif kind == PING and is_whole:
            self.send(b"" if self.flags & 1 else frame(PING, 1, 0, data))
        elif kind == GOAWAY and is_whole and len(data) >= 8:
            return None
        elif kind == WINDOW_UPDATE and self.stream <= self.last and int.from_bytes(data, "big") & 0x7FFF_FFFF:
            pass  # there is no content that it is about
        elif kind <= CONTINUATION and not (kind == PRIORITY or (kind == RST_STREAM and self.stream <= self.last)):
            return self.refuse(PROTOCOL_ERROR)
        return self.following()

    def headers(self, data):
        if self.stream % 2 == 0 or self.stream <= self.last or self.flags & ~4 != 1:
            return self.refuse(PROTOCOL_ERROR)
        self.last = self.stream
        self.block += data
        return self.respond() if self.flags & 4 else (Exactly(9), self.continuing)

    def continuing(self, data):
        size, stream = int.from_bytes(data[:3], "big"), int.from_bytes(data[5:], "big") & 0x7FFF_FFFF
        if data[3] != CONTINUATION or stream != self.last:
            return self.refuse(PROTOCOL_ERROR)
        self.flags = data[4]
        if not self.is_moderate(size):
            return self.refuse(ENHANCE_YOUR_CALM)
        return Exactly(size, limit=MAX_FRAME), self.continuation

    def is_moderate(self, size):
        return 0 < size <= MAX_FRAME and len(self.block) + size <= MAX_BLOCK

    def continuation(self, data):
        self.block += data
        return self.respond() if self.flags & 4 else (Exactly(9), self.continuing)

    def respond(self):
        try:
            found = decoded(self.block)
        except ValueError:
            return self.refuse(COMPRESSION_ERROR)
        self.block.clear()
        if not {b":method", b":path", b":scheme"} <= set(found):
            return self.refuse(PROTOCOL_ERROR)
        status = 204 if found[b":path"] in (b"/", b"/health") else 404
        status = status if found[b":method"] == b"GET" else 400
        self.send(frame(HEADERS, 5, self.last, STATUS[status]))
        return self.following()


class BrokenHealth(Health):
    def is_moderate(self, size):
        return 0 < size <= MAX_FRAME


LINE = re.compile(rb"([A-Z]+)(?: ([ -~]+))?")
NICK = re.compile(rb"[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]{0,15}")
USER = re.compile(rb"[A-Za-z0-9]{1,10} [0-9] \* :[ -~]{1,50}")
MOST_WATCHED = 100
PRESENT = {b"alice", b"bob"}


class Monitor(StreamHandler):
    """IRC, with the MONITOR command of IRCv3: who of some others is there."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.nick, self.is_registered, self.watched = b"*", False, {}

    def handle(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=512), self.line

    def line(self, data):
        matched = LINE.fullmatch(data[:-2])
        if matched is None:
            raise Malformed("no line of IRC")
        command, rest = matched[1], matched[2] or b""
        if command == b"QUIT":
            self.send(b"ERROR :Closing link\r\n")
            return None
        if command == b"PING" and rest:
            self.send(b":irc.example PONG irc.example %b\r\n" % rest)
        elif command == b"NICK" and not self.is_registered and NICK.fullmatch(rest):
            self.nick = rest
        elif command == b"USER" and not self.is_registered and self.nick != b"*" and USER.fullmatch(rest):
            self.is_registered = True
            self.reply(b"001", b":Welcome to the network")
            self.reply(b"005", b"MONITOR=%d :are supported by this server" % MOST_WATCHED)
        elif command != b"MONITOR" or not self.is_registered or not self.monitor(rest):
            self.reply(b"421", command[:32] + b" :Unknown command")
            return None
        return self.handle()

    def reply(self, number, text):
        self.send(b":irc.example %b %b %b\r\n" % (number, self.nick, text))

    def monitor(self, rest):
        """Do what MONITOR says. Whether it is anything."""
        action, _, names = rest.partition(b" ")
        nicks = names.split(b",") if names else []
        if any(NICK.fullmatch(nick) is None for nick in nicks) or bool(nicks) != (action in (b"+", b"-")):
            return False
        if action == b"+":
            if not self.has_room(nicks):
                self.reply(b"734", b"%d %b :Monitor list is full." % (MOST_WATCHED, b",".join(nicks[:10])))
                return True
            self.watched.update(dict.fromkeys(nicks))
            self.say_who(nicks)
        elif action == b"-":
            for nick in nicks:
                self.watched.pop(nick, None)
        elif action == b"C":
            self.watched.clear()
        elif action == b"L":
            for nick in self.watched:
                self.reply(b"732", b":" + nick)
            self.reply(b"733", b":End of MONITOR list")
        elif action == b"S":
            self.say_who(self.watched)
        else:
            return False
        return True

    def has_room(self, nicks):
        return len(self.watched.keys() | set(nicks)) <= MOST_WATCHED

    def say_who(self, nicks):
        for nick in nicks:
            self.reply(b"730" if nick in PRESENT else b"731", b":" + nick)


class BrokenMonitor(Monitor):
    def has_room(self, nicks):
        return len(nicks) <= MOST_WATCHED


def chunk(data):
    return len(data).to_bytes(4, "big") + data


PAIRS = [
    # Fault: the limit holds for each chunk of a stream, not for the stream.
    Pair(
        "clamd-instream",
        2,
        BrokenClamd,
        Clamd,
        [
            b"zIDSESSION\0",
            b"zPING\0",
            b"zVERSION\0",
            b"zINSTREAM\0" + chunk(b"From: ada@example.org\r\n") + chunk(b"\r\nnothing bad\r\n") + chunk(b""),
            b"zINSTREAM\0" + chunk(TEST_VIRUS[:30]) + chunk(TEST_VIRUS[30:]) + chunk(b""),
            b"zINSTREAM\0" + chunk(b""),
            b"zEND\0",
        ],
        {"kept": STREAM_MAX},
    ),
    # Fault: CONTINUATION frames add to a header block whose size has no bound (the CONTINUATION flood of 2024).
    Pair(
        "http2-continuation",
        2,
        BrokenHealth,
        Health,
        [
            PREFACE,
            frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff"),
            frame(SETTINGS, 1, 0),
            frame(HEADERS, 5, 1, b"\x82\x84\x86\x01\x0bexample.org"),
            frame(PING, 0, 0, b"whatever"),
            frame(WINDOW_UPDATE, 0, 0, b"\0\0\x10\0"),
            frame(HEADERS, 1, 3, b"\x82\x86\x04\x07/health")
            + frame(CONTINUATION, 0, 3, b"\x01\x0bexample.org")
            + frame(CONTINUATION, 4, 3, b"\x00\x0auser-agent\x03elb"),
            frame(HEADERS, 5, 5, b"\x82\x86\x04\x05/none"),
            frame(PRIORITY, 0, 5, b"\0\0\0\0\x10"),
            frame(HEADERS, 5, 7, b"\x83\x84\x86"),
            frame(GOAWAY, 0, 0, bytes(8)),
        ],
        {"kept": MAX_BLOCK},
    ),
    # Fault: the limit of the list is held against the nicks of one command, so the list grows from command to command.
    Pair(
        "irc-monitor",
        2,
        BrokenMonitor,
        Monitor,
        [
            b"NICK ada\r\n",
            b"USER ada 0 * :Ada Lovelace\r\n",
            b"PING 12345\r\n",
            b"MONITOR + alice,charles\r\n",
            b"MONITOR + bob\r\n",
            b"MONITOR L\r\n",
            b"MONITOR - charles\r\n",
            b"MONITOR S\r\n",
            b"MONITOR C\r\n",
            b"MONITOR L\r\n",
            b"QUIT :bye\r\n",
        ],
        {"kept": 32_768},
    ),
]
