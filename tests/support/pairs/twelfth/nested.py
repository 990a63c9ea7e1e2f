"""Handlers of messages within messages: calls in JSON, documents of BSON, elements of BER."""

from __future__ import annotations

import json
import re
import struct

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handlers import Step

RPC_LINE = Until(b"\n", limit=65_536)
RPC_DEPTH = 32
RPC_MEMBERS = {"jsonrpc", "method", "params", "id"}


def no_constant(name: str) -> None:
    """Refuse what is no JSON: NaN, and numbers that are too large for it."""
    raise ValueError(name)


def finite(digits: str) -> float:
    """The number. Raises ``ValueError`` if a float can't be so large."""
    value = float(digits)
    return no_constant(digits) if value in (float("inf"), float("-inf")) else value  # type: ignore[return-value]


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object. Raises ``ValueError`` if one comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member that comes twice")
    return found


def is_integer(value: object) -> bool:
    """Whether it is a number of a size with which one counts."""
    return type(value) is int and abs(value) < 1 << 53


def is_call(value: Any) -> bool:
    """Whether it is a call or a notification."""
    is_object = isinstance(value, dict) and {*value} <= RPC_MEMBERS
    return is_object and value.get("jsonrpc") == "2.0" and isinstance(value.get("method"), str)


class JsonRpc(StreamHandler):
    """JSON-RPC 2.0: a call in each line, its response in a line."""

    timeout = 60
    request_timeout = 60

    def handle(self) -> Step:
        self.one_by_one += 1
        return RPC_LINE, self.line

    def line(self, line: bytes) -> Step:
        try:
            call = self.parse(line.decode())
        except ValueError:
            self.error(None, -32700, "Parse error")
            return self.handle()
        if not is_call(call):
            self.error(None, -32600, "Invalid Request")
        elif "id" not in call:
            pass  # a notification, which nothing here is for
        elif not isinstance(call["id"], str) and not is_integer(call["id"]):
            self.error(None, -32600, "Invalid Request")
        else:
            self.call(call["id"], call["method"], call.get("params", []))
        return self.handle()

    def parse(self, text: str) -> Any:
        """The value that ``text`` is. Raises ``ValueError``."""
        return json.loads(text, parse_constant=no_constant, parse_float=finite, object_pairs_hook=members)

    def call(self, number: int | str, method: str, parameters: Any) -> None:
        """Do a call and answer it."""
        if not isinstance(parameters, list):
            self.error(number, -32602, "Invalid params")
        elif method == "sum" and all(map(is_integer, parameters)):
            self.answer({"jsonrpc": "2.0", "result": sum(parameters), "id": number})
        elif method == "keys" and len(parameters) == 1 and isinstance(parameters[0], dict):
            self.answer({"jsonrpc": "2.0", "result": sorted(parameters[0]), "id": number})
        elif method in ("sum", "keys"):
            self.error(number, -32602, "Invalid params")
        else:
            self.error(number, -32601, "Method not found")

    def error(self, number: int | str | None, code: int, message: str) -> None:
        """Answer with an error."""
        self.answer({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": number})

    def answer(self, value: dict[str, Any]) -> None:
        """Send a response."""
        self.send(json.dumps(value).encode() + b"\n")


class JsonRpcRight(JsonRpc):
    """JSON-RPC 2.0: a call in each line, its response in a line."""

    def parse(self, text: str) -> Any:
        depth, in_string, escaped = 0, False, False
        for character in text:
            if in_string:
                in_string = escaped or character != '"'
                escaped = character == "\\" and not escaped
            elif character == '"':
                in_string = True
            elif character in "[{":
                depth += 1
                if depth > RPC_DEPTH:
                    raise ValueError("too deep")
            elif character in "]}":
                depth -= 1
        return super().parse(text)


BSON_LIMIT = 65_536  # bytes of a message
BSON_DEPTH = 64
BSON_NAME = re.compile(rb"[!-~]{1,64}")
BSON_SIZES = {0x01: 8, 0x08: 1, 0x0A: 0, 0x10: 4, 0x12: 8}


class Bson(StreamHandler):
    """Commands in BSON, as a driver of MongoDB has them, each answered by a document."""

    timeout = 60
    request_timeout = 60

    def handle(self) -> Step:
        self.one_by_one += 1
        return Exactly(4), self.size

    def size(self, head: bytes) -> Step:
        (size,) = struct.unpack("<i", head)
        if not 5 <= size <= BSON_LIMIT:
            raise Malformed("no size")
        self.head = head
        return Exactly(size - 4), self.message

    def message(self, data: bytes) -> Step:
        data = self.head + data
        command = self.document(data, 0, len(data))
        if [*command] == ["ping"]:
            self.answer(b"")
        elif [*command] == ["count"] and isinstance(command["count"], dict):
            self.answer(b"\x10n\0" + struct.pack("<i", len(command["count"])))
        elif [*command] == ["add"] and isinstance(command["add"], list) and set(map(type, command["add"])) <= {int}:
            self.answer(b"\x02sum\0" + self.string(str(sum(command["add"]))))
        else:
            self.answer(b"\x02errmsg\0" + self.string("no such command"), ok=0)
        return self.handle()

    def string(self, text: str) -> bytes:
        """A string, as a value."""
        return struct.pack("<i", len(text) + 1) + text.encode("ascii") + b"\0"

    def answer(self, elements: bytes, ok: float = 1) -> None:
        """Send a document."""
        elements += b"\x01ok\0" + struct.pack("<d", ok)
        self.send(struct.pack("<i", len(elements) + 5) + elements + b"\0")

    def document(self, data: bytes, start: int, stop: int) -> dict[str, Any]:
        """The document from ``start`` to ``stop``."""
        if data[stop - 1]:
            raise Malformed("a document that does not end where it should")
        found: dict[str, Any] = {}
        place = start + 4
        while place < stop - 1:
            end = data.find(b"\0", place + 1, stop - 1)
            if end < 0 or not BSON_NAME.fullmatch(data, place + 1, end):
                raise Malformed("an element without a name")
            name = data[place + 1 : end].decode("ascii")
            if name in found:
                raise Malformed("a name that comes twice")
            found[name], place = self.value(data, data[place], end + 1, stop - 1)
        return found

    def value(self, data: bytes, kind: int, place: int, stop: int) -> tuple[Any, int]:
        """The value at ``place``, which ends before ``stop``, and the place behind it."""
        size = BSON_SIZES.get(kind)
        if kind in (0x02, 0x03, 0x04) and place + 4 <= stop:
            (size,) = struct.unpack_from("<i", data, place)
            size += 4 * (kind == 0x02)  # a string does not count its size
            if size < 5:
                raise Malformed("a value without a size")
        if size is None or place + size > stop:
            raise Malformed("a value that is not known, or longer than its document")
        end = place + size
        if kind == 0x02:
            return self.text(data[place + 4 : end]), end
        if kind == 0x03:
            return self.document(data, place, end), end
        if kind == 0x04:
            elements = self.document(data, place, end)
            if [*elements] != [str(index) for index in range(len(elements))]:
                raise Malformed("an array that is not numbered")
            return [*elements.values()], end
        return self.scalar(kind, data[place:end]), end

    def text(self, data: bytes) -> str:
        """A string."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise Malformed("no text") from None
        if text[-1:] != "\0":
            raise Malformed("a string that does not end where it should")
        return text[:-1]

    def scalar(self, kind: int, data: bytes) -> float | bool | int | None:
        """A value of a fixed size."""
        if kind == 0x08 and data not in (b"\0", b"\1"):
            raise Malformed("neither true nor false")
        if kind == 0x01:
            return float(struct.unpack("<d", data)[0])
        if kind == 0x0A:
            return None
        return data == b"\1" if kind == 0x08 else int.from_bytes(data, "little", signed=True)


class BsonRight(Bson):
    """Commands in BSON, as a driver of MongoDB has them, each answered by a document."""

    depth = 0

    def document(self, data: bytes, start: int, stop: int) -> dict[str, Any]:
        if self.depth == BSON_DEPTH:
            raise Malformed("a document that is too deep")
        self.depth += 1
        found = super().document(data, start, stop)
        self.depth -= 1
        return found


BER_INTEGER, BER_OCTETS, BER_SEQUENCE = 0x02, 0x04, 0x30
BER_LIMIT = 65_536  # bytes of a message
BER_DEPTH = 16


def octets(number: int) -> int:
    """How many octets an integer has."""
    return (number if number >= 0 else ~number).bit_length() // 8 + 1


class Ber(StreamHandler):
    """Adds the integers of each message, which is an element of BER: tag, length, value, and elements within."""

    timeout = 60
    request_timeout = 60

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            tag, size, _ = await self.head(await Exactly(2))
            if tag != BER_SEQUENCE or size > BER_LIMIT:
                raise Malformed("no message")
            total = await self.sequence(size)
            digits = total.to_bytes(octets(total), "big", signed=True)
            self.send(bytes([BER_INTEGER, len(digits)]) + digits)

    async def head(self, begin: bytes) -> tuple[int, int, int]:
        """The tag and the length of an element that begins so, and how many bytes that took."""
        tag, size = begin
        if tag not in (BER_INTEGER, BER_OCTETS, BER_SEQUENCE):
            raise Malformed("no such tag")
        if size < 0x80:
            return tag, size, 2
        count = size - 0x80
        if not 1 <= count <= 4:
            raise Malformed("no length")
        size = int.from_bytes(await Exactly(count), "big")
        if size < 0x80 or size.bit_length() <= 8 * (count - 1):
            raise Malformed("a length that could be shorter")
        return tag, size, 2 + count

    async def sequence(self, room: int) -> int:
        """The sum of the integers in the next ``room`` bytes."""
        total = 0
        while room:
            if room < 2:
                raise Malformed("no room for an element")
            tag, size, taken = await self.head(await Exactly(2))
            room -= taken + size
            if room < 0:
                raise Malformed("an element that is longer than the one around it")
            total += await self.value(tag, size)
        return total

    async def value(self, tag: int, size: int) -> int:
        """The sum of the integers in a value."""
        if tag == BER_SEQUENCE:
            return await self.sequence(size)
        data = await Exactly(size)
        if tag == BER_OCTETS:
            return 0
        number = int.from_bytes(data, "big", signed=True)
        if not 1 <= size <= 8 or size != octets(number):
            raise Malformed("no integer, or one that could be shorter")
        return number


class BerRight(Ber):
    """Adds the integers of each message, which is an element of BER: tag, length, value, and elements within."""

    depth = 0

    async def sequence(self, room: int) -> int:
        if self.depth == BER_DEPTH:
            raise Malformed("an element that is too deep")
        self.depth += 1
        total = await super().sequence(room)
        self.depth -= 1
        return total


def bson(elements: bytes) -> bytes:
    """A document of these elements."""
    return struct.pack("<i", len(elements) + 5) + elements + b"\0"


PAIRS = [
    Pair(
        "json-rpc-lines",
        4,
        JsonRpc,
        JsonRpcRight,
        [
            b'{"jsonrpc": "2.0", "method": "sum", "params": [1, 2, 39], "id": 1}\n',
            b'{"jsonrpc": "2.0", "method": "keys", "params": [{"b": [1.5, null], "a": {"c": "[{"}}], "id": "two"}\n',
            b'{"jsonrpc": "2.0", "method": "sum", "params": ["1"], "id": 3}\n',
            b'{"jsonrpc": "2.0", "method": "multiply", "params": [2, 3], "id": 4}\n',
        ],
    ),
    Pair(
        "bson",
        4,
        Bson,
        BsonRight,
        [
            bson(b"\x10ping\0\1\0\0\0"),
            bson(b"\4add\0" + bson(b"\x100\0\2\0\0\0" + b"\x101\0\x28\0\0\0")),
            bson(b"\3count\0" + bson(b"\2name\0\4\0\0\0ada\0" + b"\3tags\0" + bson(b"\x08admin\0\1" + b"\nold\0"))),
            bson(b"\2find\0\6\0\0\0users\0"),
        ],
    ),
    Pair(
        "ber",
        4,
        Ber,
        BerRight,
        [
            b"\x30\x06\x02\x01\x05\x02\x01\x07",
            b"\x30\x10\x02\x01\x01\x30\x08\x02\x02\x01\x00\x04\x02hi\x02\x01\xff",
            b"\x30\x81\x83\x04\x81\x80" + b"x" * 128,
        ],
    ),
]
