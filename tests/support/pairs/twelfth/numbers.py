"""Handlers that parse numbers: a cache, a receiver of logs, a broker."""

from __future__ import annotations

import re
import struct

from handlers import Exactly, StreamHandler, Until, UntilAny
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

CACHE_LINE = Until(b"\r\n", limit=512)
CACHE_KEY = re.compile(rb"[!-~]{1,250}")
CACHE_NUMBER = re.compile(rb"0|[1-9][0-9]{0,9}")
CACHE_VALUE = 8192  # bytes
CACHE_ITEMS = 32


class Memcached(StreamHandler):
    """The text protocol of memcached, with a small cache for each client."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.items: dict[bytes, tuple[int, bytes]] = {}

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            words = (await CACHE_LINE)[:-2].split(b" ")
            if words == [b"quit"]:
                return
            if words == [b"version"]:
                self.send(b"VERSION 1.6.21\r\n")
            elif words[0] == b"set":
                await self.store(words[1:])
            elif words[0] == b"get" and len(words) > 1 and all(map(CACHE_KEY.fullmatch, words)):
                found = [(key, *self.items[key]) for key in words[1:] if key in self.items]
                for key, flags, value in found:
                    self.send(b"VALUE %b %d %d\r\n%b\r\n" % (key, flags, len(value), value))
                self.send(b"END\r\n")
            elif words[0] == b"delete" and len(words) == 2 and CACHE_KEY.fullmatch(words[1]):
                self.send(b"NOT_FOUND\r\n" if self.items.pop(words[1], None) is None else b"DELETED\r\n")
            else:
                self.send(b"ERROR\r\n")

    async def store(self, words: list[bytes]) -> None:
        """Take the value of a ``set``, and keep it."""
        if len(words) != 4 or not CACHE_KEY.fullmatch(words[0]):
            self.send(b"CLIENT_ERROR bad command line format\r\n")
            raise Malformed("where the value ends is not known")
        flags, _ = self.number(words[1], 0xFFFF_FFFF), self.number(words[2], 0)  # nothing expires here
        data = await Exactly(self.number(words[3], CACHE_VALUE) + 2)
        if data[-2:] != b"\r\n":
            self.send(b"CLIENT_ERROR bad data chunk\r\n")
            raise Malformed("the value does not end where it should")
        if words[0] not in self.items and len(self.items) >= CACHE_ITEMS:
            self.send(b"SERVER_ERROR out of memory storing object\r\n")
        else:
            self.items[words[0]] = (flags, data[:-2])
            self.send(b"STORED\r\n")

    def number(self, word: bytes, most: int) -> int:
        """The number that ``word`` is, at most ``most``."""
        try:
            value = int(word)
        except ValueError:
            value = -1
        if not 0 <= value <= most:
            self.send(b"CLIENT_ERROR bad command line format\r\n")
            raise Malformed("no number")
        return value


class MemcachedRight(Memcached):
    """The text protocol of memcached, with a small cache for each client."""

    def number(self, word: bytes, most: int) -> int:
        if not CACHE_NUMBER.fullmatch(word) or int(word) > most:
            self.send(b"CLIENT_ERROR bad command line format\r\n")
            raise Malformed("no number")
        return int(word)


RELP_NUMBER = re.compile(rb"0|[1-9][0-9]{0,8}")
RELP_LIMIT = 8192  # bytes of data
RELP_MOST = 999_999_999


class Relp(StreamHandler):
    """A receiver of log messages that acknowledges each: RELP, as rsyslog has it."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.is_open, self.number, self.name = False, 0, b""

    def handle(self) -> Step:
        self.one_by_one += 1
        return Until(b" ", limit=10), self.transaction

    def transaction(self, digits: bytes) -> Step:
        number = self.parse(digits[:-1])
        if number != self.number % RELP_MOST + 1:
            raise Malformed("a transaction out of order")
        self.number = number
        return Until(b" ", limit=33), self.command

    def command(self, name: bytes) -> Step:
        self.name = name[:-1]
        if self.name not in (b"open", b"syslog", b"close") or self.is_open == (self.name == b"open"):
            raise Malformed("no command, or one that is out of place")
        return UntilAny(b" ", b"\n", limit=10), self.size

    def size(self, digits: bytes) -> Step:
        size = self.parse(digits[:-1])
        if (size == 0) == (digits[-1:] == b" "):
            raise Malformed("data that its size does not announce")
        if not size:
            return self.take(b"")
        return Exactly(size + 1, limit=RELP_LIMIT + 1), self.data

    def data(self, data: bytes) -> Step:
        if data[-1:] != b"\n":
            raise Malformed("a frame that does not end where it should")
        return self.take(data[:-1])

    def take(self, data: bytes) -> Step:
        """Answer a frame."""
        if self.name == b"close":
            self.answer(b"")
            self.send(b"0 serverclose 0\n")
            return None
        if self.name == b"open":
            offers = data.split(b"\n")
            if b"relp_version=0" not in offers or b"commands=syslog" not in offers:
                self.answer(b"500 no such version or command")
                return None
            self.is_open = True
            self.answer(b"200 OK\nrelp_version=0\nrelp_software=reactor\ncommands=syslog")
        else:
            self.answer(b"200 OK" if data else b"500 an empty message")
        return self.handle()

    def answer(self, text: bytes) -> None:
        """Send the response to this transaction."""
        self.send(b"%d rsp %d%b\n" % (self.number, len(text), b" " + text if text else b""))

    def parse(self, digits: bytes) -> int:
        """The number of a transaction, or of bytes."""
        text = digits.decode("utf-8", "replace")
        if not text.isdigit():
            raise Malformed("no number")
        return int(text)


class RelpRight(Relp):
    """A receiver of log messages that acknowledges each: RELP, as rsyslog has it."""

    def parse(self, digits: bytes) -> int:
        if not RELP_NUMBER.fullmatch(digits):
            raise Malformed("no number")
        return int(digits)


KAFKA_LIMIT = 65_536  # bytes of a request
KAFKA_COORDINATOR, KAFKA_HEARTBEAT, KAFKA_VERSIONS = 10, 12, 18


def kafka_string(data: bytes, place: int) -> tuple[bytes | None, int]:
    """A string that may be null, and the place behind it."""
    if len(data) < place + 2:
        raise Malformed("no room for a string")
    (size,) = struct.unpack_from(">h", data, place)
    if size == -1:
        return None, place + 2
    if size < 0 or len(data) < place + 2 + size:
        raise Malformed("a string that is longer than its request")
    return data[place + 2 : place + 2 + size], place + 2 + size


class Kafka(StreamHandler):
    """What a client of a Kafka broker asks before all else: versions, the coordinator of a group, a heartbeat."""

    timeout = 60
    request_timeout = 60

    def handle(self) -> Step:
        self.one_by_one += 1
        return Exactly(4), self.size

    def size(self, head: bytes) -> Step:
        (size,) = struct.unpack(">i", head)
        if size > KAFKA_LIMIT:
            raise Malformed("a request that is too large")
        return Exactly(size, limit=KAFKA_LIMIT), self.request

    def request(self, data: bytes) -> Step:
        if len(data) < 8:
            raise Malformed("no header")
        key, version, correlation = struct.unpack_from(">hhi", data)
        _, place = kafka_string(data, 8)  # the name of the client
        if version and key != KAFKA_VERSIONS:
            raise Malformed("a version that was not offered")
        body = self.answer(key, version, data, place)
        self.send(struct.pack(">ii", len(body) + 4, correlation) + body)
        return self.handle()

    def answer(self, key: int, version: int, data: bytes, place: int) -> bytes:
        """The body of the response to what begins at ``place``."""
        if key == KAFKA_VERSIONS:
            if not version and place != len(data):
                raise Malformed("a body where there is none")
            keys = (KAFKA_COORDINATOR, KAFKA_HEARTBEAT, KAFKA_VERSIONS)
            offers = b"".join(struct.pack(">hhh", key, 0, 0) for key in keys)
            return struct.pack(">hi", 35 if version else 0, len(keys)) + offers
        if key not in (KAFKA_COORDINATOR, KAFKA_HEARTBEAT):
            raise Malformed("no such request")
        group, place = kafka_string(data, place)
        if not group:
            raise Malformed("no group")
        if key == KAFKA_COORDINATOR:
            if place != len(data):
                raise Malformed("more than a group")
            return struct.pack(">hih", 0, 1, 6) + b"broker" + struct.pack(">i", 9092)
        member, end = kafka_string(data, place + 4)
        if member is None or end != len(data):
            raise Malformed("no member, or more than that")
        generation = data[place : place + 4]
        known = (group, generation, member) == (b"readers", b"\0\0\0\1", b"member-1")
        return struct.pack(">h", 0 if known else 25)


class KafkaRight(Kafka):
    """What a client of a Kafka broker asks before all else: versions, the coordinator of a group, a heartbeat."""

    def size(self, head: bytes) -> Step:
        (size,) = struct.unpack(">i", head)
        if not 0 <= size <= KAFKA_LIMIT:
            raise Malformed("a request that is too large, or less than nothing")
        return Exactly(size, limit=KAFKA_LIMIT), self.request


def kafka(key: int, correlation: int, body: bytes = b"") -> bytes:
    """A request, as a client sends it."""
    data = struct.pack(">hhih", key, 0, correlation, 3) + b"app" + body
    return struct.pack(">i", len(data)) + data


def relp(number: int, name: bytes, data: bytes) -> bytes:
    """A frame, as a client sends it."""
    return b"%d %b %d %b\n" % (number, name, len(data), data)


PAIRS = [
    Pair(
        "memcached-set",
        1,
        Memcached,
        MemcachedRight,
        [
            b"version\r\n",
            b"set user:1 0 0 5\r\nhello\r\n",
            b"set user:2 16 0 12\r\ngood morning\r\n",
            b"get user:1\r\n",
            b"get user:1 user:2 user:3\r\n",
            b"delete user:1\r\n",
            b"get user:1\r\n",
            b"quit\r\n",
        ],
    ),
    Pair(
        "relp-open",
        1,
        Relp,
        RelpRight,
        [
            relp(1, b"open", b"relp_version=0\nrelp_software=librelp\ncommands=syslog"),
            relp(2, b"syslog", b"<13>1 - host app - - - user ada logged in"),
            relp(3, b"syslog", b"<13>1 - host app - - - one") + relp(4, b"syslog", b"<13>1 - host app - - - two"),
            b"5 close 0\n",
        ],
    ),
    Pair(
        "kafka-frames",
        1,
        Kafka,
        KafkaRight,
        [
            kafka(KAFKA_VERSIONS, 1),
            kafka(KAFKA_COORDINATOR, 2, b"\0\7readers"),
            kafka(KAFKA_HEARTBEAT, 3, b"\0\7readers\0\0\0\1\0\10member-1"),
            kafka(KAFKA_HEARTBEAT, 4, b"\0\7writers\0\0\0\1\0\10member-1"),
        ],
    ),
]
