"""Accumulation: messages of WebSocket in fragments, nicknames of an ICB server, and handles of SFTP."""

import base64
import hashlib
import re
import struct

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

REQUEST = re.compile(rb"GET (/[!-~]{0,254}) HTTP/1\.1")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t -~]*")
KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PROTOCOL_ERROR, NO_UTF_8, TOO_BIG = 1002, 1007, 1009
CLOSING = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011)
LONGEST = 32_768


class Shouting(StreamHandler):
    """WebSocket (RFC 6455): each text comes back in capitals, and each other message as it is, in one frame."""

    timeout = 20
    request_timeout = 40

    def setup(self):
        self.one_by_one = 0
        self.kind = None

    async def handle(self):
        self.one_by_one += 1
        accepted = self.accepted((await Until(b"\r\n\r\n", limit=4096))[:-4].split(b"\r\n"))
        if accepted is None:
            return self.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        self.send(b"Sec-WebSocket-Accept: %b\r\n\r\n" % accepted)
        self.opened()
        while True:
            self.one_by_one += 1
            code = await self.frame(await Exactly(2))
            while code is None and self.kind is not None:
                code = await self.frame(await Exactly(2))
            if code is not None:
                return self.answer(CLOSE, code)

    def accepted(self, lines):
        """The answer to the key of an upgrade; `None` if the request is none."""
        found = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            name = name.lower()
            if not colon or TOKEN.fullmatch(name) is None or VALUE.fullmatch(value) is None or name in found:
                return None
            found[name] = value.strip(b" \t")
        key = found.get(b"sec-websocket-key", b"")
        is_upgrade = found.get(b"upgrade", b"").lower() == b"websocket" and b"host" in found
        options = found.get(b"connection", b"").lower().replace(b" ", b"").split(b",")
        if not REQUEST.fullmatch(lines[0]) or not is_upgrade or b"upgrade" not in options or not KEY.fullmatch(key):
            return None
        is_right = found.get(b"sec-websocket-version") == b"13"
        return base64.b64encode(hashlib.sha1(key + GUID).digest()) if is_right else None

    async def frame(self, head):
        """Take the rest of a frame. The code to close with, if the connection has to be closed."""
        is_last, kind, size = head[0] & 128, head[0] & 15, head[1] & 127
        if head[0] & 112 or not head[1] & 128:
            return PROTOCOL_ERROR.to_bytes(2, "big")
        is_right = kind in (TEXT, BINARY) if self.kind is None else kind == CONTINUATION
        if not is_right and not (kind in (CLOSE, PING, PONG) and is_last and size < 126):
            return PROTOCOL_ERROR.to_bytes(2, "big")
        if size > 125:
            width, least = (2, 126) if size == 126 else (8, 65_536)
            size = int.from_bytes(await Exactly(width), "big")
            if size < least or size >> 63:
                return PROTOCOL_ERROR.to_bytes(2, "big")
        if kind < CLOSE and size + (self.size if self.kind else 0) > LONGEST:
            return TOO_BIG.to_bytes(2, "big")
        mask = await Exactly(4)
        payload = await Exactly(size)
        mask = (mask * (size // 4 + 1))[:size]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
        if kind == CLOSE:
            return payload[:2] if self.is_close(payload) else PROTOCOL_ERROR.to_bytes(2, "big")
        if kind == PING:
            self.answer(PONG, payload)
        if kind >= CLOSE:
            return None
        if self.kind is None:
            self.kind, self.size = kind, 0
            self.begin()
        self.size += size
        self.add(payload)
        return self.message() if is_last else None

    def is_close(self, payload):
        """Whether a client may close with that: nothing, or a code and a reason in UTF-8."""
        code = int.from_bytes(payload[:2], "big")
        try:
            payload[2:].decode()
        except UnicodeDecodeError:
            return False
        return not payload or (len(payload) > 1 and (code in CLOSING or 3000 <= code < 5000))

    def begin(self):
        self.held = bytearray()

    def add(self, payload):
        self.held += payload

    def whole(self):
        return bytes(self.held)

    def message(self):
        """Answer a message that has come to its end. The code to close with, if it is none."""
        kind, self.kind, message = self.kind, None, self.whole()
        self.begin()
        if kind == TEXT:
            try:
                message = message.decode().upper().encode()
            except UnicodeDecodeError:
                return NO_UTF_8.to_bytes(2, "big")
        self.answer(kind, message)
        return None

    def answer(self, kind, payload):
        size = len(payload)
        length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        if size > 65_535:
            length = b"\x7f" + size.to_bytes(8, "big")
        self.send(bytes((128 | kind,)) + length + payload)


class JoiningShouting(Shouting):
    """WebSocket: each text comes back in capitals. The fragments of a message are joined when the last has come."""

    def begin(self):
        self.held = []

    def add(self, payload):
        self.held.append(payload)

    def whole(self):
        return b"".join(self.held)


NICKNAME = re.compile(rb"[A-Za-z0-9_-]{1,12}")
WORDS = re.compile(rb"[ -~]*")


class Hub:
    """Who is there, by nickname, and how many lines each has said."""

    most = 200

    def __init__(self):
        self.members, self.lines = {}, {}


class Chat(StreamHandler):
    """ICB, the Internet CB network: packets of a length, a kind and fields; members of groups talk to each other."""

    timeout = 300
    request_timeout = 30
    max_output = 262_144

    def setup(self):
        self.one_by_one = 0
        self.nickname = None

    def handle(self):
        self.tell(b"j", b"1", b"icb.example.org", b"icbd 1.3")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Exactly(1), self.length

    def length(self, octet):
        if octet == b"\0":
            raise Malformed("a packet without a kind")
        return Exactly(octet[0]), self.packet

    def packet(self, packet):
        content = packet[1:].removesuffix(b"\0")
        values = content.split(b"\1")
        if not all(map(WORDS.fullmatch, values)):
            return self.fail(b"Illegal characters", is_over=True)
        kind = packet[:1]
        if kind == b"l":
            self.tell(b"m", *values[:1])
        elif kind == b"m":
            pass
        elif self.nickname is None:
            return self.log_in(values) if kind == b"a" else self.fail(b"Not logged in", is_over=True)
        elif kind == b"b" and len(values) == 1 and content:
            self.server.lines[self.nickname] += 1
            for other in self.others():
                other.tell(b"b", self.nickname, content)
        elif kind == b"h" and values[0] == b"name" and len(values) > 1:
            self.rename(values[1])
        elif kind == b"h" and values[0] == b"w":
            self.who()
        elif kind == b"h" and values[0] == b"m" and len(values) > 1:
            self.whisper(*values[1].partition(b" ")[::2])
        else:
            self.fail(b"Unknown command")
        return self.following()

    def log_in(self, values):
        if len(values) < 4 or values[3] != b"login":
            return self.fail(b"Not a login", is_over=True)
        nickname, group = values[1:3]
        if not NICKNAME.fullmatch(nickname) or not NICKNAME.fullmatch(group):
            return self.fail(b"Illegal nickname or group", is_over=True)
        if nickname in self.server.members or len(self.server.members) >= self.server.most:
            return self.fail(b"Nickname in use, or too many users", is_over=True)
        self.server.members[nickname], self.server.lines[nickname] = self, 0
        self.nickname, self.group = nickname, group
        self.tell(b"a")
        self.tell(b"d", b"Status", b"You are now in group " + group)
        for other in self.others():
            other.tell(b"d", b"Sign-on", nickname + b" has signed on")
        return self.following()

    def rename(self, nickname):
        if not NICKNAME.fullmatch(nickname):
            return self.fail(b"Illegal nickname")
        if nickname in self.server.members:
            return self.fail(b"Nickname in use")
        old, self.nickname = self.nickname, nickname
        self.server.members[nickname] = self.server.members.pop(old)
        self.count_as(old)
        self.tell(b"d", b"Name", b"You are now " + nickname)
        for other in self.others():
            other.tell(b"d", b"Name", b"%b changed nickname to %b" % (old, nickname))
        return None

    def count_as(self, old):
        """Go on with the count of lines that was kept under the name ``old``."""
        self.server.lines[self.nickname] = self.server.lines.pop(old)

    def who(self):
        for nickname, member in self.server.members.items():
            if member.group == self.group:
                self.tell(b"i", b"co", b"%b: %d lines" % (nickname, self.server.lines[nickname]))

    def whisper(self, nickname, words):
        other = self.server.members.get(nickname)
        if other is None or not words:
            return self.fail(b"No such user, or no message")
        return other.tell(b"c", self.nickname, words)

    def others(self):
        return [one for one in self.server.members.values() if one is not self and one.group == self.group]

    def tell(self, kind, *values):
        packet = kind + b"\1".join(values)[:252] + b"\0"
        self.send(bytes((len(packet),)) + packet)

    def fail(self, why, is_over=False):
        self.tell(b"e", why)
        return None if is_over else self.following()

    def finish(self):
        if self.nickname is not None:
            del self.server.members[self.nickname], self.server.lines[self.nickname]
            for other in self.others():
                other.tell(b"d", b"Sign-off", self.nickname + b" has signed off")


class RenamedChat(Chat):
    """ICB, the Internet CB network; the lines that a member has said count under the new name too."""

    def count_as(self, old):
        self.server.lines[self.nickname] = self.server.lines[old]


INIT, OPEN, SHUT, READ, STAT, LIST, NEXT, REAL_PATH = 1, 3, 4, 5, 17, 11, 12, 16
VERSION, STATUS, HANDLE, DATA, NAME, ATTRIBUTES = 2, 101, 102, 103, 104, 105
OK, END_OF_FILE, NO_SUCH_FILE, DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
FILES = {
    b"/motd": b"Maintenance on Sunday.\n",
    b"/logs/boot": b"kernel loaded\nnetwork up\n",
}
DIRECTORIES = {b"/": [b"motd", b"logs"], b"/logs": [b"boot"]}


def string(data):
    return struct.pack(">I", len(data)) + data


class Files(StreamHandler):
    """SFTP, version 3: files and directories for reading only, by handles of which a client may have sixteen."""

    timeout = 120
    request_timeout = 30
    most_handles = 16
    largest = 4096

    def setup(self):
        self.one_by_one = self.number = 0
        self.is_ready = False
        self.files, self.listings = {}, {}

    def handle(self):
        self.one_by_one += 1
        return Exactly(4), self.length

    def length(self, data):
        size = int.from_bytes(data, "big")
        if not 5 <= size <= self.largest:
            raise Malformed("no packet, or too long")
        return Exactly(size), self.packet

    def packet(self, packet):
        kind, self.request = packet[0], packet[1:5]
        if not self.is_ready:
            if kind != INIT or int.from_bytes(self.request, "big") < 3:
                raise Malformed("no version that we have")
            self.is_ready = True
            self.answer(VERSION, b"", b"\0\0\0\3")
            return self.handle()
        self.rest, self.place = packet, 5
        if kind not in OPERATIONS:
            self.status(UNSUPPORTED)
        else:
            try:
                values = [self.string(), *map(self.number_of, OPERATIONS[kind][1])]
                if self.place != len(packet):
                    raise Malformed("bytes behind the last value")
            except Malformed:
                self.status(BAD_MESSAGE)
            else:
                OPERATIONS[kind][0](self, *values)
        return self.handle()

    def string(self):
        size = self.number_of(4)
        self.place += size
        if self.place > len(self.rest):
            raise Malformed("longer than its packet")
        return self.rest[self.place - size : self.place]

    def number_of(self, width):
        self.place += width
        if self.place > len(self.rest):
            raise Malformed("longer than its packet")
        return int.from_bytes(self.rest[self.place - width : self.place], "big")

    def open(self, path, flags, attributes):
        if path not in FILES or flags != 1 or attributes:
            return self.status(NO_SUCH_FILE if path not in FILES else DENIED)
        return self.hold(self.files, FILES[path])

    def list(self, path):
        return self.hold(self.listings, iter([path])) if path in DIRECTORIES else self.status(NO_SUCH_FILE)

    def hold(self, held, what):
        if self.is_full():
            return self.status(FAILURE)
        self.number += 1
        held[b"%d" % self.number] = what
        return self.answer(HANDLE, self.request, string(b"%d" % self.number))

    def is_full(self):
        return len(self.files) + len(self.listings) >= self.most_handles

    def shut(self, handle):
        is_held = self.files.pop(handle, None) is not None or self.listings.pop(handle, None) is not None
        self.status(OK if is_held else FAILURE)

    def read(self, handle, offset, size):
        if handle not in self.files:
            return self.status(FAILURE)
        data = self.files[handle][offset : offset + min(size, 1024)]
        return self.answer(DATA, self.request, string(data)) if data else self.status(END_OF_FILE)

    def next(self, handle):
        if handle not in self.listings:
            return self.status(FAILURE)
        path = next(self.listings[handle], None)
        if path is None:
            return self.status(END_OF_FILE)
        entries = [string(name) + string(name) + self.attributes(path, name) for name in DIRECTORIES[path]]
        return self.answer(NAME, self.request, struct.pack(">I", len(entries)) + b"".join(entries))

    def stat(self, path):
        if path not in FILES and path not in DIRECTORIES:
            return self.status(NO_SUCH_FILE)
        return self.answer(ATTRIBUTES, self.request, self.attributes(b"", path.removeprefix(b"/")))

    def real_path(self, path):
        path = b"/" + path.removeprefix(b".").strip(b"/")
        self.answer(NAME, self.request, b"\0\0\0\1" + string(path) + string(path) + b"\0\0\0\0")

    def attributes(self, directory, name):
        path = directory.rstrip(b"/") + b"/" + name
        is_file = path in FILES
        return struct.pack(">IQI", 5, len(FILES.get(path, b"")), 0o100444 if is_file else 0o40555)

    def status(self, code):
        self.answer(STATUS, self.request, struct.pack(">I", code) + string(b"") + string(b"en"))

    def answer(self, kind, request, content):
        self.send(struct.pack(">IB", 1 + len(request) + len(content), kind) + request + content)


OPERATIONS = {
    OPEN: (Files.open, (4, 4)),
    SHUT: (Files.shut, ()),
    READ: (Files.read, (8, 4)),
    LIST: (Files.list, ()),
    NEXT: (Files.next, ()),
    STAT: (Files.stat, ()),
    REAL_PATH: (Files.real_path, ()),
}


class CountedFiles(Files):
    """SFTP, version 3: files and directories for reading only; a client may have sixteen files open."""

    def is_full(self):
        return len(self.files) >= self.most_handles


def frame(head, payload, mask=b"\x37\xfa\x21\x3d"):
    """A frame of a client."""
    masked = bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))
    return bytes((head, 128 | len(payload))) + mask + masked


def icb(kind, *values):
    packet = kind + b"\1".join(values) + b"\0"
    return bytes((len(packet),)) + packet


def sftp(kind, request, *content):
    content = b"".join(content)
    return struct.pack(">IBI", 5 + len(content), kind, request) + content


UPGRADE = (
    b"GET /shout HTTP/1.1\r\nHost: echo.example.org\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SHOUT = [
    UPGRADE,
    frame(0x81, b"good morning"),
    frame(0x01, b"in three ") + frame(0x00, b"pieces, ") + frame(0x80, "dürer".encode()),
    frame(0x89, b"there?"),
    frame(0x02, b"\0\1") + frame(0x89, b"") + frame(0x00, b"\2") + frame(0x80, b""),
    frame(0x88, b"\x03\xe8"),
]
TALK = [
    icb(b"a", b"anna", b"anna", b"lamps", b"login", b""),
    icb(b"b", b"good morning"),
    icb(b"h", b"name", b"anna_b"),
    icb(b"b", b"is anybody here?"),
    icb(b"h", b"w", b""),
    icb(b"h", b"m", b"anna_b a note to myself"),
    icb(b"l", b"17"),
]
FETCH = [
    b"\0\0\0\5\1\0\0\0\3",
    sftp(REAL_PATH, 1, string(b".")),
    sftp(LIST, 2, string(b"/")),
    sftp(NEXT, 3, string(b"1")),
    sftp(NEXT, 4, string(b"1")),
    sftp(SHUT, 5, string(b"1")),
    sftp(STAT, 6, string(b"/logs/boot")),
    sftp(OPEN, 7, string(b"/logs/boot"), b"\0\0\0\1\0\0\0\0"),
    sftp(READ, 8, string(b"2"), b"\0\0\0\0\0\0\0\x07\0\0\x80\0"),
    sftp(READ, 9, string(b"2"), b"\0\0\0\0\0\0\0\x19\0\0\x80\0"),
    sftp(SHUT, 10, string(b"2")),
]

PAIRS = [
    # Fault: fragments are kept in a list, and only their bytes are bounded: empty ones add up without end.
    Pair("websocket-empty-fragments", 2, JoiningShouting, Shouting, SHOUT, {"kept": LONGEST}),
    # Fault: a member that takes a new nickname leaves its count under the old one, which nothing removes.
    Pair("icb-nicknames", 2, RenamedChat, Chat, TALK, {"server": Hub(), "meant": ["leaves_nothing_behind"]}),
    # Fault: handles of directories do not count among those that a client may have: it may open them without end.
    Pair("sftp-directory-handles", 2, CountedFiles, Files, FETCH),
]
