"""Pairs of the tenth set: messages inside messages, structures inside structures, terms inside terms."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

SERVER_ID = b"\x00\x03\x00\x01\x02\x00\x5e\x10\x00\x01"
DNS_SERVERS = bytes.fromhex("20010db8000000000000000000000053")
INFORMATION_REQUEST, REPLY, RELAY_FORWARD, RELAY_REPLY = 11, 7, 12, 13


def option(code: int, data: bytes) -> bytes:
    return struct.pack(">HH", code, len(data)) + data


class Dhcpv6(DatagramHandler):
    """A stateless server of DHCPv6 (RFC 8415): it answers Information-request, directly and through relays.

    A relay puts what it has got into a Relay-forward message, also what another relay has sent.
    """

    timeout = 30.0
    most_relays: float = float("inf")

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) > 65_000:
                continue
            try:
                self.send(self.answer(packet, 0))
            except Malformed:
                continue

    def answer(self, message: bytes, relays: int) -> bytes:
        if message[:1] == bytes([INFORMATION_REQUEST]) and len(message) >= 4:
            return self.reply(message[1:4], self.options(message[4:]))
        if message[:1] != bytes([RELAY_FORWARD]) or len(message) < 34 or relays >= self.most_relays:
            raise Malformed("no message for a server")
        options = self.options(message[34:])
        if 9 not in options:
            raise Malformed("nothing was relayed")
        inner = self.answer(options[9], relays + 1)
        interface = option(18, options[18]) if 18 in options else b""
        return bytes([RELAY_REPLY]) + message[1:34] + interface + option(9, inner)

    def reply(self, transaction: bytes, options: dict[int, bytes]) -> bytes:
        asked = options.get(6, b"")
        if len(asked) % 2 or len(options.get(8, b"\x00\x00")) != 2 or not 3 <= len(options.get(1, b"DUID")) <= 130:
            raise Malformed("an option with a wrong size")
        if options.get(2, SERVER_ID) != SERVER_ID or options.keys() & {3, 4, 25}:
            raise Malformed("for another server, or with addresses")
        said = option(1, options[1]) if 1 in options else b""
        said += option(2, SERVER_ID)
        if (23,) in struct.iter_unpack(">H", asked):
            said += option(23, DNS_SERVERS)
        return bytes([REPLY]) + transaction + said

    def options(self, data: bytes) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            if len(data) - at < 4:
                raise Malformed("part of an option")
            code, size = struct.unpack_from(">HH", data, at)
            if code in found or size > len(data) - at - 4:
                raise Malformed("an option twice, or too long")
            found[code] = data[at + 4 : at + 4 + size]
            at += 4 + size
        return found


class Dhcpv6Right(Dhcpv6):
    most_relays = 8


CALL, REPLIED, EXCEPTION, ONEWAY = 1, 2, 3, 4
STOP, I32, STRING, STRUCT, MAP, SET, LIST = 0, 8, 11, 12, 13, 14, 15
FIXED = {2: 1, 3: 1, 4: 8, 6: 2, I32: 4, 10: 8}
KINDS = {*FIXED, STRING, STRUCT, MAP, SET, LIST}


class Fields:
    """A reader for the structures of Thrift."""

    def __init__(self, data: bytes, deepest: float) -> None:
        self.data, self.at, self.deepest = data, 0, deepest

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise Malformed("the message is too short")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big", signed=True)

    def skip(self, kind: int, depth: int = 1) -> None:
        """Pass a value that nobody has asked for."""
        if depth > self.deepest:
            raise Malformed("too deep")
        if kind in FIXED:
            self.take(FIXED[kind])
        elif kind == STRING:
            self.take(self.number(4))
        elif kind == STRUCT:
            while (its := self.number(1)) != STOP:
                self.number(2)
                self.skip(its, depth + 1)
        elif kind in (MAP, SET, LIST):
            kinds = self.take(2 if kind == MAP else 1)
            count = self.number(4)
            if not {*kinds} <= KINDS:
                raise Malformed("no type")
            if not 0 <= count <= (len(self.data) - self.at) // len(kinds):
                raise Malformed("more elements than bytes")
            for _ in range(count):
                for its in kinds:
                    self.skip(its, depth + 1)
        else:
            raise Malformed("no type")


class Thrift(StreamHandler):
    """A service of Apache Thrift (strict binary protocol, in frames): ``i32 add(1: i32 a, 2: i32 b)`` and ``ping()``.

    Fields that are not known are passed over, as a newer client may send them.
    """

    timeout = 60.0
    request_timeout = 30.0
    deepest: float = float("inf")

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            size = int.from_bytes(await Exactly(4), "big")
            if not 12 <= size <= 16_384:
                raise Malformed("no frame")
            fields = Fields(await Exactly(size), self.deepest)
            version, name = fields.number(4) & 0xFFFFFFFF, fields.take(fields.number(4))
            sequence = fields.take(4)
            if version not in (0x80010000 | CALL, 0x80010000 | ONEWAY) or not re.fullmatch(rb"\w{1,64}", name):
                raise Malformed("no call")
            kind, result = self.perform(name, fields)
            if version & 0xFF == CALL:
                message = struct.pack(">II", 0x80010000 | kind, len(name)) + name + sequence + result
                self.send(len(message).to_bytes(4, "big") + message)

    def perform(self, name: bytes, fields: Fields) -> tuple[int, bytes]:
        try:
            given = self.arguments(fields)
        except Malformed:
            return self.exception(7, b"protocol error")
        if name == b"ping":
            return REPLIED, b"\x00"
        if name != b"add":
            return self.exception(1, b"unknown method")
        total = sum(given.values())
        if len(given) != 2 or not -1 << 31 <= total < 1 << 31:
            return self.exception(6, b"internal error")
        return REPLIED, struct.pack(">bhib", I32, 0, total, STOP)

    def arguments(self, fields: Fields) -> dict[int, int]:
        """The fields 1 and 2 where they are numbers of 32 bits."""
        found: dict[int, int] = {}
        while (kind := fields.number(1)) != STOP:
            place = fields.number(2)
            if kind != I32 or place not in (1, 2):
                fields.skip(kind)
            elif place in found:
                raise Malformed("a field twice")
            else:
                found[place] = fields.number(4)
        if fields.at != len(fields.data):
            raise Malformed("more than one message")
        return found

    def exception(self, code: int, text: bytes) -> tuple[int, bytes]:
        said = struct.pack(">bhi", STRING, 1, len(text)) + text + struct.pack(">bhib", I32, 2, code, STOP)
        return EXCEPTION, said


class ThriftRight(Thrift):
    deepest = 64


def call(name: bytes, sequence: int, arguments: bytes) -> bytes:
    """A call of Thrift, in its frame."""
    message = struct.pack(">II", 0x80010001, len(name)) + name + sequence.to_bytes(4, "big") + arguments
    return len(message).to_bytes(4, "big") + message


FILES = {"main.c": 812, "main.py": 2045, "lib/util.py": 377, "lib/util.c": 9120, "README": 120}


def no_constant(word: str) -> None:
    raise ValueError(word)


class Watchman(StreamHandler):
    """A file watcher (Watchman, its JSON protocol, one line for each message): ``query`` finds files with a term.

    Terms have terms in them: ``allof``, ``anyof`` and ``not``, thirty-two deep at most.
    """

    timeout = 60.0
    request_timeout = 30.0

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            line = await Until(b"\n", limit=4096)
            try:
                command = json.loads(line.decode(), parse_constant=no_constant)
            except (ValueError, RecursionError):
                command = None
            self.send(json.dumps({"version": "2024.01.01.00", **self.result(command)}).encode() + b"\n")

    def result(self, command: Any) -> dict[str, Any]:
        if not isinstance(command, list) or not command or not isinstance(command[0], str):
            return {"error": "invalid command"}
        if command == ["version"]:
            return {}
        if command == ["watch-list"]:
            return {"roots": ["/srv/project"]}
        if command[:2] != ["query", "/srv/project"] or len(command) != 3 or not isinstance(command[2], dict):
            return {"error": "unknown command or root"}
        if command[2].keys() - {"expression", "fields"} or command[2].get("fields", ["name"]) != ["name"]:
            return {"error": "unknown option"}
        term = command[2].get("expression", "true")
        found = {name: self.matches(term, name, 0) for name in FILES}
        if None in found.values():
            return {"error": "failed to parse the expression"}
        return {"files": [name for name in FILES if found[name]]}

    def matches(self, term: Any, name: str, depth: int) -> bool | None:
        """Whether a file is one that the term is for; ``None`` if it is no term."""
        if term in ("true", "false"):
            return bool(term == "true")
        if not isinstance(term, list) or not term or not isinstance(term[0], str) or depth >= 32:
            return None
        if term[0] == "not" and len(term) == 2:
            return self.differs(term[1], name, depth + 1)
        if term[0] in ("allof", "anyof"):
            found = [self.matches(each, name, depth + 1) for each in term[1:]]
            return None if None in found else all(found) if term[0] == "allof" else any(found)
        if len(term) != 2 or not isinstance(term[1], str):
            return None
        if term[0] == "name":
            return name.rpartition("/")[2] == term[1]
        if term[0] == "suffix":
            return name.rpartition(".")[2].lower() == term[1].lower() and "." in name
        return None

    def differs(self, term: Any, name: str, depth: int) -> bool | None:
        if self.matches(term, name, depth) is None:
            return None
        return not self.matches(term, name, depth)


class WatchmanRight(Watchman):
    def differs(self, term: Any, name: str, depth: int) -> bool | None:
        found = self.matches(term, name, depth)
        return None if found is None else not found


def query(expression: Any) -> bytes:
    """A query of Watchman."""
    return json.dumps(["query", "/srv/project", {"expression": expression, "fields": ["name"]}]).encode() + b"\n"


def relayed(message: bytes, hops: int, *more: bytes) -> bytes:
    """A Relay-forward of DHCPv6."""
    return bytes([RELAY_FORWARD, hops]) + DNS_SERVERS[:-1] + b"\x01" + DNS_SERVERS + b"".join(more) + option(9, message)


ASKS = b"\x0b\x01\x02\x03" + option(1, b"\x00\x03\x00\x01\x02\x00\x00\x00\x00\x09") + option(8, b"\x00\x00")

PAIRS = [
    Pair(
        "dhcpv6",
        4,
        Dhcpv6,
        Dhcpv6Right,
        [
            ASKS + option(6, b"\x00\x17\x00\x18"),
            relayed(ASKS + option(6, b"\x00\x17"), 0, option(18, b"eth0")),
            relayed(relayed(ASKS, 0, option(18, b"eth1")), 1),
        ],
    ),
    Pair(
        "thrift",
        4,
        Thrift,
        ThriftRight,
        [
            call(b"ping", 1, b"\x00"),
            call(b"add", 2, b"\x08\x00\x01\x00\x00\x00\x02\x08\x00\x02\x00\x00\x00\x28\x00"),
            call(
                b"add",
                3,
                b"\x08\x00\x02\xff\xff\xff\xff\x0c\x00\x09\x02\x00\x01\x01\x00\x08\x00\x01\x00\x00\x00\x07\x00",
            ),
            call(b"ping", 4, b"\x0d\x00\x05\x0b\x08\x00\x00\x00\x01\x00\x00\x00\x01k\x00\x00\x00\x02\x00"),
            call(b"sub", 5, b"\x00"),
        ],
    ),
    Pair(
        "watchman",
        4,
        Watchman,
        WatchmanRight,
        [
            b'["version"]\n',
            query(["suffix", "py"]),
            query(["allof", ["not", ["suffix", "py"]], ["not", ["name", "README"]]]),
            query(["anyof", ["name", "main.c"], "false"]),
            query(["since", 1]),
        ],
    ),
]
