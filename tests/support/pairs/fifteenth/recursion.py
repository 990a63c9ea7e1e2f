"""Recursion as deep as the message."""

import re
import struct
from hashlib import sha256

from handlers import Exactly, StreamHandler, UntilAny
from tests.support.pairs.pair import Buffered, Malformed, Pair

STOP, BOOL, BYTE, DOUBLE, I16, I32, I64, STRING, STRUCT, MAP, SET, LIST = 0, 2, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15
FIXED = {BOOL: 1, BYTE: 1, DOUBLE: 8, I16: 2, I32: 4, I64: 8}
CALL, REPLY, EXCEPTION = 1, 2, 3
MAX_FRAME, MAX_DEPTH = 16_384, 16


class Input:
    """Thrift's binary protocol, in one frame."""

    def __init__(self, frame):
        self.frame, self.place = frame, 0

    def take(self, size):
        end = self.place + size
        if size < 0 or end > len(self.frame):
            raise Malformed("it ends too early")
        self.place, data = end, self.frame[self.place : end]
        return data

    def number(self, size=4):
        return int.from_bytes(self.take(size), "big", signed=True)

    def count(self):
        count = self.number()
        if count < 0:
            raise Malformed("less than nothing")
        return count

    def skip(self, kind, depth=0):
        """Go behind a value that nobody wants."""
        if depth > MAX_DEPTH:
            raise Malformed("too deep")
        if kind in FIXED:
            self.take(FIXED[kind])
        elif kind == STRING:
            self.take(self.number())
        elif kind == STRUCT:
            while inner := self.number(1):
                self.take(2)
                self.skip(inner, depth + 1)
        elif kind in (MAP, SET, LIST):
            kinds = self.take(2 if kind == MAP else 1)
            for _ in range(self.count()):
                for inner in kinds:
                    self.skip(inner, depth + 1)
        else:
            raise Malformed("no such type")


class BrokenInput(Input):
    def skip(self, kind):
        if kind in FIXED:
            self.take(FIXED[kind])
        elif kind == STRING:
            self.take(self.number())
        elif kind == STRUCT:
            while inner := self.number(1):
                self.take(2)
                self.skip(inner)
        elif kind in (MAP, SET, LIST):
            kinds = self.take(2 if kind == MAP else 1)
            for _ in range(self.count()):
                for inner in kinds:
                    self.skip(inner)
        else:
            raise Malformed("no such type")


class Calculator(StreamHandler):
    """A service of Thrift: ping, add and shout. Fields of a later version are skipped."""

    timeout = 30
    request_timeout = 30
    input = Input

    def handle(self):
        self.one_by_one += 1
        return Exactly(4), self.size

    def size(self, data):
        size = int.from_bytes(data, "big")
        if size < 13:
            raise Malformed("no frame")
        return Exactly(size, limit=MAX_FRAME), self.frame

    def frame(self, data):
        given = self.input(data)
        if given.take(4) != b"\x80\x01\0\1":
            raise Malformed("no call")
        name, number = given.take(given.number()), given.take(4)
        wanted = {b"ping": {}, b"add": {1: I32, 2: I32}, b"shout": {1: STRING}}.get(name)
        found = self.fields(given, wanted or {})
        if given.place < len(data):
            raise Malformed("more than one call in a frame")
        if wanted is None or found.keys() != wanted.keys():
            self.answer(EXCEPTION, name, number, b"\x08\0\2\0\0\0" + (b"\1" if wanted is None else b"\7"))
        else:
            self.answer(REPLY, name, number, self.result(name, found))
        return self.handle()

    def fields(self, given, wanted):
        """The fields that are ``wanted``, by their numbers."""
        found = {}
        while kind := given.number(1):
            field = given.number(2)
            if wanted.get(field) != kind:
                given.skip(kind)
            elif field in found:
                raise Malformed("a field that comes twice")
            else:
                size = given.number() if kind == STRING else FIXED[kind]
                found[field] = given.take(size)
        return found

    def result(self, name, found):
        if name == b"add":
            total = sum(int.from_bytes(found[field], "big") for field in found) & 0xFFFF_FFFF
            return b"\x08\0\0" + total.to_bytes(4, "big")
        if name == b"shout":
            return b"\x0b\0\0" + len(found[1]).to_bytes(4, "big") + found[1].upper()
        return b""

    def answer(self, kind, name, number, fields):
        message = b"\x80\x01\0%c%b%b%b%b\0" % (kind, len(name).to_bytes(4, "big"), name, number, fields)
        self.send(len(message).to_bytes(4, "big") + message)


class BrokenCalculator(Calculator):
    input = BrokenInput


WORD = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,31}")
NUMBER = re.compile(rb"0|[1-9][0-9]{0,8}")
MAX_MESSAGE = 16_384
URL = b"svn://svn.example/repos"
FILES = {b"README": b"Hello.\n", b"trunk/a.c": b"int a;\n"}
END = object()


def string(data):
    return b"%d:%b " % (len(data), data)


class Subversion(StreamHandler):
    """svnserve, for reading: words, numbers, strings, and lists of those."""

    timeout = 30
    request_timeout = 30

    async def handle(self):
        self.one_by_one += 1
        self.send(b"( success ( 2 2 ( ) ( edit-pipeline ) ) ) ")
        greeting = await self.message()
        if len(greeting) != 3 or greeting[0] != 2 or greeting[2] != URL:
            self.send(b"( failure ( ( 210005 0: 0: 0 ) ) ) ")
            return
        self.send(b"( success ( ( ANONYMOUS ) 5:repos ) ) ")
        if await self.message() != ["ANONYMOUS", [b""]]:
            raise Malformed("no login")
        self.send(b"( success ( ) ) ( success ( 36:12345678-1234-1234-1234-123456789abc %b( ) ) ) " % string(URL))
        self.opened()
        while True:
            self.one_by_one += 1
            command = await self.message()
            answer = None
            if len(command) == 2 and isinstance(command[1], list):
                answer = self.answer(*command)
            if answer is None:
                self.send(b"( failure ( ( 210001 15:Unknown command 0: 0 ) ) ) ")
                return
            self.send(b"( success ( ( ) 0: ) ) ( success ( %b) ) " % answer)

    def answer(self, command, arguments):
        if (command, arguments) == ("get-latest-rev", []):
            return b"12 "
        if command == "reparent" and arguments == [URL]:
            return b""
        if len(arguments) < 2 or not isinstance(arguments[0], bytes) or arguments[1] not in ([], [12]):
            return None
        content = FILES.get(arguments[0])
        if command == "check-path" and len(arguments) == 2:
            return b"none " if content is None else b"file "
        if command == "get-file" and content is not None and arguments[2:] in (["false", "true"], ["false", "false"]):
            return b"( ) 12 ( ) " + string(content if arguments[3] == "true" else b"")
        return None

    async def message(self):
        self.budget = MAX_MESSAGE
        message = await self.item()
        if not isinstance(message, list):
            raise Malformed("no list")
        return message

    async def item(self, depth=0):
        """The next word, number, string or list, or `END` of one."""
        token = await UntilAny(b" ", b":", limit=64)
        self.spend(len(token))
        if token in (b"( ", b") "):
            return END if token == b") " else await self.items(depth + 1)
        if NUMBER.fullmatch(token[:-1]) is None:
            if WORD.fullmatch(token[:-1]) is None or token.endswith(b":"):
                raise Malformed("no item")
            return token[:-1].decode()
        if token.endswith(b" "):
            return int(token)
        self.spend(int(token[:-1]) + 1)
        data = await Exactly(int(token[:-1]) + 1)
        if not data.endswith(b" "):
            raise Malformed("no string")
        return data[:-1]

    async def items(self, depth):
        if depth > MAX_DEPTH:
            raise Malformed("too deep")
        found = []
        while (item := await self.item(depth)) is not END:
            found.append(item)
        return found

    def spend(self, size):
        self.budget -= size
        if self.budget < 0:
            raise Malformed("a message that is too long")


class BrokenSubversion(Subversion):
    async def items(self, depth):
        found = []
        while (item := await self.item(depth)) is not END:
            found.append(item)
        return found


MAGIC, MAX_PAYLOAD = b"\xf9\xbe\xb4\xd9", 4096
HEAD = struct.Struct("<4s12sI4s")
IGNORED = {b"pong": 8, b"sendheaders": 0, b"feefilter": 8}


def checksum(payload):
    return sha256(sha256(payload).digest()).digest()[:4]


def bitcoin(command, payload=b""):
    return HEAD.pack(MAGIC, command, len(payload), checksum(payload)) + payload


VERSION = struct.pack("<iQq26s26sQB9siB", 70_015, 1, 1_700_000_000, bytes(26), bytes(26), 7, 9, b"/example/", 0, 1)
ADDRESS = struct.pack("<BIQ16sH", 1, 1_700_000_000, 1, bytes(10) + b"\xff\xff\xc0\0\2\1", 0x8D20)


class Node(Buffered):
    """A node of Bitcoin's network, as far as others find out whether it is there."""

    def setup(self):
        super().setup()
        self.has_version = self.is_known = False

    def end_of(self, place):
        """Where the message at ``place`` ends; ``None``: it has not come whole."""
        if len(self.buffer) < place + HEAD.size:
            return None
        magic, _, size, _ = HEAD.unpack_from(self.buffer, place)
        if magic != MAGIC or size > MAX_PAYLOAD:
            raise Malformed("no message")
        end = place + HEAD.size + size
        return end if end <= len(self.buffer) else None

    def take(self):
        place = 0
        while (end := self.end_of(place)) is not None:
            self.message(place, end)
            place = end
        del self.buffer[:place]
        return True

    def message(self, place, end):
        _, command, size, summed = HEAD.unpack_from(self.buffer, place)
        payload, name = bytes(self.buffer[place + HEAD.size : end]), command.rstrip(b"\0")
        if checksum(payload) != summed:
            raise Malformed("a wrong checksum")
        if name == b"version" and not self.has_version and 85 <= size <= 341:
            self.has_version = True
            self.send(bitcoin(b"version", VERSION) + bitcoin(b"verack"))
        elif name == b"verack" and self.has_version and not (self.is_known or size):
            self.is_known = True
        elif name == b"ping" and self.is_known and size == 8:
            self.send(bitcoin(b"pong", payload))
        elif name == b"getaddr" and self.is_known and not size:
            self.send(bitcoin(b"addr", ADDRESS))
        elif not self.is_known or IGNORED.get(name) != size:
            raise Malformed("no message for this place")


class BrokenNode(Node):
    def take(self, place=0):
        end = self.end_of(place)
        if end is None:
            del self.buffer[:place]
            return True
        self.message(place, end)
        return self.take(end)


def framed(name, number, fields):
    message = b"\x80\x01\0\1" + len(name).to_bytes(4, "big") + name + number.to_bytes(4, "big") + fields + b"\0"
    return len(message).to_bytes(4, "big") + message


PAIRS = [
    # Fault: a field that is skipped may be lists of lists, or structures, as deep as the frame is long.
    Pair(
        "thrift-skip",
        4,
        BrokenCalculator,
        Calculator,
        [
            framed(b"ping", 1, b""),
            framed(b"add", 2, b"\x08\0\1\0\0\0\x28\x08\0\2\0\0\0\2"),
            framed(b"shout", 3, b"\x0b\0\1\0\0\0\5hello"),
            framed(b"shout", 4, b"\x0c\0\x07\x0b\0\1\0\0\0\2de\x0f\0\2\x08\0\0\0\1\0\0\0\7\0\x0b\0\1\0\0\0\3abc"),
            framed(b"add", 5, b"\x0d\0\4\x0b\x02\0\0\0\1\0\0\0\1k\1\x08\0\1\xff\xff\xff\xff\x08\0\2\0\0\0\3"),
            framed(b"add", 6, b"\x08\0\1\0\0\0\1"),
            framed(b"divide", 7, b""),
        ],
        {"kept": 4096},
    ),
    # Fault: a coroutine for each list awaits that of the list within it, as deep as a message goes.
    Pair(
        "svnserve-lists",
        4,
        BrokenSubversion,
        Subversion,
        [
            b"( 2 ( edit-pipeline svndiff1 ) 23:svn://svn.example/repos ) ",
            b"( ANONYMOUS ( 0: ) ) ",
            b"( get-latest-rev ( ) ) ",
            b"( reparent ( 23:svn://svn.example/repos ) ) ",
            b"( check-path ( 6:README ( 12 ) ) ) ",
            b"( check-path ( 7:nothing ( ) ) ) ",
            b"( get-file ( 9:trunk/a.c ( 12 ) false true ) ) ",
        ],
        {"kept": 1 << 20},
    ),
    # Fault: take() calls itself for the next message, as often as one read has messages.
    Pair(
        "bitcoin-ping",
        4,
        BrokenNode,
        Node,
        [
            bitcoin(b"version", VERSION),
            bitcoin(b"verack"),
            bitcoin(b"ping", b"12345678"),
            bitcoin(b"sendheaders"),
            bitcoin(b"getaddr"),
            bitcoin(b"pong", b"87654321"),
            bitcoin(b"ping", bytes(8)),
        ],
        {"kept": 8192},
    ),
]
