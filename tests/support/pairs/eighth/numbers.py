"""Pairs of the eighth set: numbers, what is kept without bound; and a debugger."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handlers.handler import Step


class Malformed(Exception):
    """The message can't be read."""


def no_constant(word: str) -> None:
    raise ValueError(word)


class Framed(StreamHandler):
    """JSON behind a head with its length, as editors send it to language servers and debuggers."""

    timeout = 60.0
    request_timeout = 30.0

    def size(self, text: bytes) -> int:
        if not text.isdigit() or len(text) > 5:
            raise Malformed
        return int(text)

    async def message(self) -> dict[str, Any]:
        """The next message, whose head has at most eight fields."""
        size = None
        for _ in range(8):
            line = (await Until(b"\r\n", limit=128))[:-2]
            if not line:
                break
            name, colon, value = line.partition(b": ")
            if not colon or (name.lower() == b"content-length" and size is not None):
                raise Malformed
            if name.lower() == b"content-length":
                size = self.size(value)
        else:
            raise Malformed
        if size is None or not 0 < size <= 16_384:
            raise Malformed
        content = await Exactly(size)
        try:
            message = json.loads(content.decode(), parse_constant=no_constant)
        except (ValueError, RecursionError):
            raise Malformed from None
        if not isinstance(message, dict):
            raise Malformed
        return message

    def reply(self, message: dict[str, Any]) -> None:
        content = json.dumps(message).encode()
        self.send(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))


def framed(message: dict[str, Any]) -> bytes:
    """A message of a client of `Framed`."""
    content = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(content), content)


class Lsp(Framed):
    """A language server (LSP 3.17), which knows the words that a document may begin with."""

    def size(self, text: bytes) -> int:
        try:
            return int(text)
        except ValueError:
            raise Malformed from None

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            try:
                message = await self.message()
            except Malformed:
                self.reply({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}})
                return
            number, method = message.get("id"), message.get("method")
            if method == "exit":
                return
            if "id" not in message:
                continue
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": number}
            if type(number) is not int or not 0 <= number < 1 << 31:
                answer |= {"id": None, "error": {"code": -32600, "message": "Invalid request"}}
            elif method == "initialize":
                answer["result"] = {"capabilities": {"completionProvider": {}}}
            elif method == "textDocument/completion":
                answer["result"] = [{"label": "def"}, {"label": "class"}]
            else:
                answer["result"] = None
            self.reply(answer)


class LspRight(Lsp):
    size = Framed.size


class Megaco(DatagramHandler):
    """A media gateway (H.248, the short text form): transactions that audit a termination are answered."""

    timeout = 60.0

    def is_number(self, text: str) -> bool:
        return text.isdecimal() and len(text) <= 10

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            try:
                text = packet.decode()
            except UnicodeDecodeError:
                continue
            head, mark, rest = text.partition(" T=")
            number, brace, action = rest.partition("{")
            if not mark or not brace or not head.startswith("!/1 [") or not head.endswith("]"):
                continue
            if not self.is_number(number) or not 0 < int(number) < 1 << 32:
                self.send(b"!/1 [192.0.2.1] ER=403{}")
                continue
            if action == "C=-{AV=ROOT{AT{}}}}":
                said = "C=-{AV=ROOT{}}"
            elif action == "C=-{SC=ROOT{SV{MT=RS,RE=901}}}}":
                said = "C=-{SC=ROOT{SV{}}}"
            else:
                said = "ER=501{}"
            self.send(b"!/1 [192.0.2.1] P=%d{%b}" % (int(number), said.encode()))


class MegacoRight(Megaco):
    def is_number(self, text: str) -> bool:
        return text.isascii() and text.isdecimal() and len(text) <= 10


class Kenwood(StreamHandler):
    """A TS-2000, by its serial line: FA is the frequency of VFO A in Hz, MD the mode, ID the model."""

    timeout = 60.0

    def setup(self) -> None:
        self.hertz, self.mode = 14_250_000, b"2"

    def handle(self) -> Step:
        return Until(b";", limit=32), self.command

    def frequency(self, digits: bytes) -> int:
        if len(digits) != 11:
            return 0
        try:
            return int(digits)
        except ValueError:
            return 0

    def command(self, data: bytes) -> Step:
        name, value = data[:2], data[2:-1]
        if name == b"ID" and not value:
            self.send(b"ID019;")
        elif name == b"FA" and not value:
            self.send(b"FA%011d;" % self.hertz)
        elif name == b"MD" and not value:
            self.send(b"MD%b;" % self.mode)
        elif name == b"MD" and value in (b"1", b"2", b"3", b"4"):
            self.mode = value
        elif name == b"FA" and 30_000 <= self.frequency(value) <= 60_000_000:
            self.hertz = self.frequency(value)
        else:
            self.send(b"?;")
        return self.handle()


class KenwoodRight(Kenwood):
    def frequency(self, digits: bytes) -> int:
        return int(digits) if len(digits) == 11 and digits.isdigit() else 0


class Gnutella(StreamHandler):
    """A peer of Gnutella 0.6: the handshake with its headers, then descriptors; each ping has a pong."""

    timeout = 60.0
    request_timeout = 30.0
    most_headers: float = float("inf")

    async def headers(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        while line := (await Until(b"\r\n", limit=512))[:-2]:
            name, colon, value = line.partition(b":")
            if not colon or len(found) >= self.most_headers:
                raise Malformed
            found[name.strip().lower()] = value.strip()
        return found

    async def handle(self) -> None:
        if await Until(b"\r\n", limit=64) != b"GNUTELLA CONNECT/0.6\r\n":
            return
        try:
            is_leaf = (await self.headers()).get(b"x-ultrapeer", b"").lower() != b"true"
            self.send(b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: %b\r\n\r\n" % (b"True" if is_leaf else b"False"))
            if await Until(b"\r\n", limit=64) != b"GNUTELLA/0.6 200 OK\r\n":
                return
            await self.headers()
        except Malformed:
            self.send(b"GNUTELLA/0.6 503 Bad handshake\r\n\r\n")
            return
        self.opened()
        while True:
            self.one_by_one += 1
            header = await Exactly(23)
            size = int.from_bytes(header[19:], "little")
            if size > 4096 or not 1 <= header[17] <= 7:
                return
            await Exactly(size)
            if header[16] == 0 and not size:
                pong = b"\xca\x18\xc0\x00\x02\x01" + (12).to_bytes(4, "little") + (4096).to_bytes(4, "little")
                self.send(header[:16] + b"\x01\x01\x00\x0e\x00\x00\x00" + pong)


class GnutellaRight(Gnutella):
    most_headers = 32


def block(data: bytes, last: bool = True) -> bytes:
    """A block of MAPI."""
    return (len(data) << 1 | last).to_bytes(2, "little") + data


class Mapi(StreamHandler):
    """MonetDB's MAPI: messages in blocks, the last of which is marked. A challenge, a login, then queries."""

    timeout = 60.0
    request_timeout = 30.0
    most: float = float("inf")

    async def message(self) -> bytes | None:
        """A whole message; ``None`` if it is too long."""
        message = bytearray()
        while True:
            word = int.from_bytes(await Exactly(2), "little")
            if word >> 1 > 8190:
                return None
            message += await Exactly(word >> 1)
            if len(message) > self.most:
                return None
            if word & 1:
                return bytes(message)

    async def handle(self) -> None:
        self.send(block(b"f00d:merovingian:9:SHA512:LIT:SHA512:"))
        if await self.message() != b"LIT:monetdb:{plain}monetdb:sql:demo:":
            self.send(block(b"!InvalidCredentialsException:checkCredentials:invalid credentials\n"))
            return
        self.send(block(b""))
        self.opened()
        while True:
            self.one_by_one += 1
            message = await self.message()
            if message is None:
                self.send(block(b"!too long\n"))
                return
            if message == b"sSELECT 1;\n":
                self.send(block(b"&1 0 1 1 1\n% .%1 # table_name\n[ 1\t]\n"))
            elif message.startswith(b"s"):
                self.send(block(b"&2 %d -1\n" % (len(message) - 1)))
            else:
                self.send(block(b"!unknown command\n"))


class MapiRight(Mapi):
    most = 65_536


def subscribe(session: int, service: int, group: int, ttl: int = 3) -> bytes:
    """A message of SOME/IP-SD with one entry, SubscribeEventgroup."""
    entry = b"\x06\x00\x00\x00" + service.to_bytes(2, "big") + b"\x00\x01\x01" + ttl.to_bytes(3, "big")
    entry += b"\x00\x00" + group.to_bytes(2, "big")
    return discovery(session, entry)


def discovery(session: int, entry: bytes) -> bytes:
    content = b"\xc0\x00\x00\x00\x00\x00\x00\x10" + entry + b"\x00\x00\x00\x00"
    head = (len(content) + 8).to_bytes(4, "big") + b"\x00\x00" + session.to_bytes(2, "big") + b"\x01\x01\x02\x00"
    return b"\xff\xff\x81\x00" + head + content


class SomeIp(DatagramHandler):
    """Service discovery of SOME/IP, the side that offers: it knows the event groups that this peer has subscribed."""

    timeout = 30.0
    most: float = float("inf")

    def setup(self) -> None:
        self.groups: dict[bytes, int] = {}
        self.session = 0

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) != 44 or packet != discovery(int.from_bytes(packet[10:12], "big"), packet[24:40]):
                continue
            entry = packet[24:40]
            if entry[0] != 6:
                continue
            name, ttl = entry[4:8] + entry[14:], int.from_bytes(entry[9:12], "big")
            if not ttl:
                self.groups.pop(name, None)
                continue
            if name not in self.groups and len(self.groups) >= self.most:
                ttl = 0
            else:
                self.groups[name] = ttl
            self.session = self.session % 0xFFFF + 1
            self.send(discovery(self.session, b"\x07" + entry[1:9] + ttl.to_bytes(3, "big") + entry[12:]))


class SomeIpRight(SomeIp):
    most = 32


numbers = itertools.count(1)


class Dap(Framed):
    """The debug adapter protocol: breakpoints are set in a source and get numbers."""

    def setup(self) -> None:
        self.numbers: Iterator[int] = numbers
        self.sequence = 0

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            try:
                message = await self.message()
            except Malformed:
                return
            number, command, given = message.get("seq"), message.get("command"), message.get("arguments")
            if type(number) is not int or not 0 < number < 1 << 31 or message.get("type") != "request":
                return
            if command == "initialize":
                self.answer(number, command, {"supportsConditionalBreakpoints": False})
            elif command == "setBreakpoints" and isinstance(given, dict):
                asked = given.get("breakpoints")
                count = len(asked) if isinstance(asked, list) else 0
                placed = [{"id": next(self.numbers), "verified": True} for _ in range(min(count, 32))]
                self.answer(number, command, {"breakpoints": placed})
            else:
                self.answer(number, "disconnect", {})
                return

    def answer(self, number: int, command: str, body: dict[str, Any]) -> None:
        self.sequence += 1
        head = {"seq": self.sequence, "type": "response", "request_seq": number, "success": True}
        self.reply({**head, "command": command, "body": body})


class DapRight(Dap):
    def setup(self) -> None:
        self.numbers = itertools.count(1)
        self.sequence = 0


def login(*messages: bytes) -> list[bytes]:
    """What a client of MAPI sends."""
    return [block(b"LIT:monetdb:{plain}monetdb:sql:demo:"), *messages]


PAIRS = [
    Pair(
        "lsp", 1, Lsp, LspRight,
        [
            framed({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}),
            framed({"jsonrpc": "2.0", "method": "initialized"}),
            framed({"jsonrpc": "2.0", "id": 2, "method": "textDocument/completion"}),
            framed({"jsonrpc": "2.0", "id": 3, "method": "shutdown"}),
        ],
    ),
    Pair(
        "megaco", 1, Megaco, MegacoRight,
        [b"!/1 [192.0.2.9] T=9998{C=-{SC=ROOT{SV{MT=RS,RE=901}}}}", b"!/1 [192.0.2.9] T=9999{C=-{AV=ROOT{AT{}}}}"],
    ),
    Pair("kenwood", 1, Kenwood, KenwoodRight, [b"ID;", b"FA;", b"FA00007030000;", b"FA;", b"MD3;", b"MD;"]),
    Pair(
        "gnutella", 2, Gnutella, GnutellaRight,
        [
            b"GNUTELLA CONNECT/0.6\r\nUser-Agent: gtk\r\nX-Ultrapeer: False\r\n\r\n",
            b"GNUTELLA/0.6 200 OK\r\n\r\n",
            b"0123456789abcdef\x00\x03\x00\x00\x00\x00\x00",
            b"0123456789ABCDEF\x00\x01\x02\x00\x00\x00\x00",
        ],
    ),
    Pair(
        "mapi", 2, Mapi, MapiRight,
        login(block(b"sSELECT 1;\n"), block(b"sINSERT INTO t ", last=False) + block(b"VALUES (1);\n"), block(b"Xno\n")),
    ),
    Pair(
        "some-ip", 2, SomeIp, SomeIpRight,
        [subscribe(1, 0x1234, 1), subscribe(2, 0x1234, 2), subscribe(3, 0x1234, 1, 0), subscribe(4, 0x1235, 1)],
    ),
    Pair(
        "dap", 3, Dap, DapRight,
        [
            framed({"seq": 1, "type": "request", "command": "initialize"}),
            framed({"seq": 2, "type": "request", "command": "setBreakpoints", "arguments": {"breakpoints": [{}, {}]}}),
            framed({"seq": 3, "type": "request", "command": "setBreakpoints", "arguments": {"breakpoints": [{}]}}),
            framed({"seq": 4, "type": "request", "command": "disconnect"}),
        ],
    ),
]  # fmt: skip
