"""Pairs of the ninth set: what is as deep as a message, or costs as much as it has branches."""

from __future__ import annotations

import base64
import json
import re
import struct
from typing import TYPE_CHECKING, Any

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step


class MsgpackRpc(StreamHandler):
    """A server of MessagePack-RPC, as editors have it: requests ``[0, id, method, params]``, for a sum and for a size.

    A message has no length of its own: each value says what follows it. All values of a message have one budget.
    """

    timeout = 30.0
    request_timeout = 30.0
    deepest: float = float("inf")
    constants = {0xC0: None, 0xC2: False, 0xC3: True}

    def spend(self, size: int) -> int:
        """``size``, if the budget of the message allows it."""
        self.left -= size
        if self.left < 0:
            raise Malformed("message is too long")
        return size

    async def number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(await Exactly(size), "big", signed=signed)

    async def text(self, size: int) -> str:
        try:
            return (await Exactly(self.spend(size))).decode()
        except UnicodeDecodeError:
            raise Malformed("no text") from None

    async def array(self, size: int, depth: int) -> list[Any]:
        if size > self.left:
            raise Malformed("message is too long")
        return [await self.value(depth + 1) for _ in range(size)]

    async def map(self, size: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(size):
            name = await self.value(depth + 1)
            if not isinstance(name, str) or name in found:
                raise Malformed("no name")
            found[name] = await self.value(depth + 1)
        return found

    async def value(self, depth: int = 0) -> Any:
        if depth > self.deepest:
            raise Malformed("message is too deep")
        self.spend(1)
        tag = (await Exactly(1))[0]
        if tag < 0x80 or tag >= 0xE0:
            return tag if tag < 0x80 else tag - 256
        if tag in self.constants:
            return self.constants[tag]
        if 0xA0 <= tag < 0xC0:
            return await self.text(tag & 31)
        if 0x90 <= tag < 0xA0 or tag == 0xDC:
            return await self.array(tag & 15 if tag < 0xA0 else await self.number(2), depth)
        if tag < 0x90 or tag == 0xDE:
            return await self.map(tag & 15 if tag < 0x90 else await self.number(2), depth)
        return await self.scalar(tag)

    async def scalar(self, tag: int) -> Any:
        """A value that has no values inside it."""
        if 0xCC <= tag <= 0xD3:
            return await self.number(1 << (tag & 3), signed=tag >= 0xD0)
        if tag == 0xCB:
            return struct.unpack(">d", await Exactly(8))[0]
        if tag in (0xC4, 0xC5):
            return await Exactly(self.spend(await self.number(tag - 0xC3)))
        if tag in (0xD9, 0xDA):
            return await self.text(await self.number(tag - 0xD8))
        raise Malformed("no such value")

    def result(self, method: str, params: list[Any]) -> bytes:
        """The error and the result of a call, in their encoding."""
        if method == "sum" and all(type(param) is int for param in params):
            total = sum(params)
            if -(1 << 63) <= total < 1 << 63:
                return b"\xc0\xd3" + total.to_bytes(8, "big", signed=True)
            return b"\xa8overflow\xc0"
        if method == "size" and len(params) == 1 and isinstance(params[0], (str, bytes, list, dict)):
            return b"\xc0\xcd" + len(params[0]).to_bytes(2, "big")
        return b"\xaeno such method\xc0"

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            self.left = 16_384
            message = await self.value()
            if not isinstance(message, list) or len(message) not in (3, 4) or type(message[0]) is not int:
                raise Malformed("no message")
            *head, method, params = message
            if not isinstance(method, str) or not isinstance(params, list):
                raise Malformed("no call")
            if head == [2]:
                continue
            if len(head) != 2 or head[0] != 0 or type(head[1]) is not int or not 0 <= head[1] < 1 << 32:
                raise Malformed("no request")
            self.send(b"\x94\x01\xce" + head[1].to_bytes(4, "big") + self.result(method, params))


class MsgpackRpcRight(MsgpackRpc):
    deepest = 16


def no_constant(word: str) -> None:
    raise ValueError(word)


class Lora(DatagramHandler):
    """A network server of LoRaWAN, for Semtech's packet forwarder (PROTOCOL.TXT): pushes and pulls are acknowledged.

    Gateways of several makers put members of their own into a packet, also null, which are left out.
    """

    timeout = 60.0
    deepest: float = float("inf")

    def kept(self, value: Any, depth: int = 0) -> Any:
        """``value`` without members that are null."""
        if depth > self.deepest:
            raise Malformed("too deep")
        if isinstance(value, dict):
            return {name: self.kept(item, depth + 1) for name, item in value.items() if item is not None}
        if isinstance(value, list):
            return [self.kept(item, depth + 1) for item in value]
        return value

    def is_received(self, packet: Any) -> bool:
        """Whether ``packet`` is one that a gateway has received, with its whole data."""
        if not isinstance(packet, dict) or not isinstance(packet.get("data"), str):
            return False
        try:
            data = base64.b64decode(packet["data"], validate=True)
        except ValueError:
            return False
        return type(packet.get("size")) is int and packet["size"] == len(data) <= 255

    def is_pushed(self, text: bytes) -> bool:
        try:
            given = json.loads(text.decode(), parse_constant=no_constant)
        except (ValueError, RecursionError):
            return False
        try:
            given = self.kept(given)
        except Malformed:
            return False
        if not isinstance(given, dict) or not given.keys() & {"rxpk", "stat"}:
            return False
        received = given.get("rxpk", [])
        return (
            isinstance(given.get("stat", {}), dict)
            and isinstance(received, list)
            and all(map(self.is_received, received))
        )

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if not 12 <= len(packet) <= 8192 or packet[0] not in (1, 2):
                continue
            if packet[3] == 0 and self.is_pushed(packet[12:]):
                self.send(packet[:3] + b"\x01")
            elif packet[3] == 2 and len(packet) == 12:
                self.send(packet[:3] + b"\x04")


class LoraRight(Lora):
    deepest = 16


PEOPLE = (
    {b"name": b"ada lovelace", b"email": b"ada@example.org", b"phone": b"555-1815", b"title": b"countess"},
    {b"name": b"grace hopper", b"email": b"grace@example.org", b"phone": b"555-1906", b"title": b"rear admiral"},
    {b"name": b"alan turing", b"email": b"alan@example.net", b"phone": b"555-1912", b"title": b"reader"},
)


class Ccso(StreamHandler):
    """A CCSO nameserver, Ph (RFC 2378): queries for people, whose values may have the wildcards ``*`` and ``?``."""

    timeout = 60.0
    request_timeout = 30.0

    def handle(self) -> Step:
        self.one_by_one += 1
        return Until(b"\r\n", limit=256), self.command

    def matches(self, pattern: bytes, text: bytes) -> bool:
        if not pattern:
            return not text
        if pattern[:1] == b"*":
            return self.matches(pattern[1:], text) or (text != b"" and self.matches(pattern, text[1:]))
        return text != b"" and pattern[:1] in (b"?", text[:1]) and self.matches(pattern[1:], text[1:])

    def is_meant(self, person: dict[bytes, bytes], field: bytes, pattern: bytes) -> bool:
        """Whether the value of the field, or one of its words, is meant by the pattern."""
        return any(self.matches(pattern, text) for text in (person[field], *person[field].split()))

    def query(self, words: list[bytes]) -> bytes:
        at = words.index(b"return") if b"return" in words else len(words)
        terms = [word.partition(b"=") if b"=" in word else (b"name", b"=", word) for word in words[:at]]
        wanted = words[at + 1 :] or [b"name", b"email", b"phone"]
        if not terms or at == len(words) - 1 or not all(value for _, _, value in terms) or b"" in wanted:
            return b"599:Syntax error.\r\n"
        if not {*wanted, *(field for field, _, _ in terms)} <= PEOPLE[0].keys() or len(wanted) > 4:
            return b"507:Field does not exist.\r\n"
        found = [person for person in PEOPLE if all(self.is_meant(person, term[0], term[2]) for term in terms)]
        if not found:
            return b"501:No matches to your query.\r\n"
        lines = [b"102:There was %d match%b to your request.\r\n" % (len(found), b"es" if len(found) > 1 else b"")]
        for number, person in enumerate(found, 1):
            lines += [b"-200:%d:%b: %b\r\n" % (number, field.rjust(11), person[field]) for field in wanted]
        return b"".join(lines) + b"200:Ok.\r\n"

    def command(self, data: bytes) -> Step:
        line = data[:-2].lower()
        if not re.fullmatch(rb"[!-~](?:[ -~]*[!-~])?", line):
            self.send(b"599:Syntax error.\r\n")
            return self.handle()
        word, *others = line.split(b" ")
        if word in (b"quit", b"exit", b"stop") and not others:
            self.send(b"200:Bye!\r\n")
            return None
        if word == b"status" and not others:
            self.send(b"200:Database ready.\r\n")
        elif word in (b"query", b"ph"):
            self.send(self.query(others))
        else:
            self.send(b"514:Unknown command.\r\n")
        return self.handle()


class CcsoRight(Ccso):
    def matches(self, pattern: bytes, text: bytes) -> bool:
        at = place = tried = 0
        star = -1
        while place < len(text):
            if at < len(pattern) and pattern[at] == 0x2A:
                star, tried = at, place
                at += 1
            elif at < len(pattern) and pattern[at] in (0x3F, text[place]):
                at += 1
                place += 1
            elif star >= 0:
                tried += 1
                at, place = star + 1, tried
            else:
                return False
        return not pattern[at:].strip(b"*")


def pushed(token: bytes, message: dict[str, Any]) -> bytes:
    """What a gateway of LoRaWAN has received."""
    return b"\x02" + token + b"\x00\xaa\x55\x5a\x00\x00\x00\x01\x01" + json.dumps(message).encode()


PAIRS = [
    Pair(
        "msgpackrpc", 4, MsgpackRpc, MsgpackRpcRight,
        [
            b"\x94\x00\x01\xa3sum\x93\x01\x02\xd0\xf0", b"\x93\x02\xa4hint\x91\x81\xa1a\x92\xc0\xc3",
            b"\x94\x00\xcd\x01\x00\xa4size\x91\x93\x91\x91\x01\xc4\x02ab\x80",
            b"\x94\x00\x03\xa3sum\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x94\x00\x04\xa3mul\x92\x02\x03",
        ],
    ),
    Pair(
        "lora", 4, Lora, LoraRight,
        [
            b"\x02\x00\x01\x02\xaa\x55\x5a\x00\x00\x00\x01\x01",
            pushed(b"\x00\x02", {"rxpk": [{"tmst": 3512348611, "rssi": -35, "size": 3, "data": "AQID", "x": None}]}),
            pushed(b"\x00\x03", {"stat": {"rxnb": 2, "rxok": 2, "extra": {"temp": [21.5, None]}}}),
        ],
    ),
    Pair(
        "ccso", 4, Ccso, CcsoRight,
        [
            b"status\r\n", b"query ada return email\r\n", b"query name=a* title=*e?\r\n", b"query email=*@*.net\r\n",
            b"query bob\r\n", b"query shoe=9\r\n", b"quit\r\n",
        ],
    ),
]  # fmt: skip
