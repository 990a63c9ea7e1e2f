"""Pairs of the tenth set: handlers with buffers of their own, for which a read should be no more than a read."""

from __future__ import annotations

import codecs
import json
import re
import struct
from typing import TYPE_CHECKING, Any

from handlers import Some, StreamHandler
from tests.support.pairs.pair import Buffered, Malformed, Pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from handlers.handler import Step

    Query = tuple[int, int, int]

SESSION, SERIAL = 0x1A2B, 42
PREFIXES = (("c0000200", 24, 24, 64_496), ("cb007100", 24, 28, 64_511))


class Wrong(Exception):
    """A PDU is wrong: the code of the error, or ``None`` if it gets no answer, and its head."""


class Rtr(Buffered):
    """A cache for the RPKI (RFC 8210, version 1 of the protocol): routers ask for all prefixes, or for what is new."""

    timeout = 60.0

    def handle(self) -> Step:
        self.one_by_one += 1
        return super().handle()

    def take(self) -> bool:
        try:
            for kind, session, serial in self.ready(self.queries()):
                self.answer(kind, session, serial)
        except Wrong as wrong:
            code, head = wrong.args
            if code is not None:
                self.send(struct.pack(">BBHII", 1, 10, code, 24, 8) + head + bytes(4))
            return False
        return True

    def ready(self, queries: Iterator[Query]) -> Iterable[Query]:
        """Those that have come whole."""
        return list(queries)

    def queries(self) -> Iterator[Query]:
        while len(self.buffer) >= 8:
            head = bytes(self.buffer[:8])
            version, kind, session, size = struct.unpack(">BBHI", head)
            if kind == 10:
                raise Wrong(None, head)
            if version != 1 or kind not in (1, 2):
                raise Wrong(4 if version != 1 else 5, head)
            if size != (12 if kind == 1 else 8) or (kind == 2 and session):
                raise Wrong(0, head)
            if len(self.buffer) < size:
                return
            serial = int.from_bytes(self.buffer[8:size], "big")
            del self.buffer[:size]
            yield kind, session, serial

    def answer(self, kind: int, session: int, serial: int) -> None:
        if kind == 1 and (session, serial) != (SESSION, SERIAL):
            self.send(b"\x01\x08\x00\x00\x00\x00\x00\x08")
            return
        self.send(struct.pack(">BBHI", 1, 3, SESSION, 8))
        if kind == 2:
            for prefix, shortest, longest, system in PREFIXES:
                data = bytes([1, shortest, longest, 0]) + bytes.fromhex(prefix) + system.to_bytes(4, "big")
                self.send(struct.pack(">BBHI", 1, 4, 0, 20) + data)
        self.send(struct.pack(">BBHIIIII", 1, 7, SESSION, 24, SERIAL, 3600, 600, 7200))


class RtrRight(Rtr):
    def ready(self, queries: Iterator[Query]) -> Iterable[Query]:
        return queries


WHITE, QUOTE, BACKSLASH = b" \t\r\n", 0x22, 0x5C


def no_constant(word: str) -> None:
    raise ValueError(word)


class Ovsdb(StreamHandler):
    """A database server of Open vSwitch (RFC 7047): JSON-RPC 1.0, whose objects follow each other with nothing between.

    An object ends where its brackets end, for which brackets in strings do not count.
    """

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.message = bytearray()
        self.depth = 0
        self.is_quoted = self.is_escaped = False

    def handle(self) -> Step:
        self.one_by_one += 1
        return Some(4096), self.first

    def first(self, data: bytes) -> Step:
        self.scan(data)
        return (Some(4096), self.more) if self.message else (Some(4096), self.first)

    def more(self, data: bytes) -> Step:
        return self.first(data)

    def scan(self, data: bytes) -> None:
        self.scan_from(False, data)

    def scan_from(self, is_escaped: bool, data: bytes) -> bool:
        """Take what has come. Whether the last byte is a backslash that says something about the next."""
        for byte in data:
            if not self.message and byte in WHITE:
                continue
            self.message.append(byte)
            if self.message[0] != 0x7B or len(self.message) > 16_384:
                raise Malformed("no object, or too long")
            if is_escaped:
                is_escaped = False
            elif byte == QUOTE:
                self.is_quoted = not self.is_quoted
            elif self.is_quoted:
                is_escaped = byte == BACKSLASH
            elif byte in b"{[":
                self.depth += 1
                if self.depth > 32:
                    raise Malformed("too deep")
            elif byte in b"}]":
                self.depth -= 1
                if not self.depth:
                    self.answer(bytes(self.message))
                    self.message.clear()
                    self.one_by_one += 1
        return is_escaped

    def answer(self, message: bytes) -> None:
        try:
            call = json.loads(message.decode(), parse_constant=no_constant)
            if call.keys() != {"method", "params", "id"} or not isinstance(call["params"], list):
                raise Malformed("no call")
            if not isinstance(call["method"], str) or type(call["id"]) not in (int, str, type(None)):
                raise Malformed("no call")
            result, error = self.perform(call["method"], call["params"])
            said = json.dumps({"id": call["id"], "result": result, "error": error}, allow_nan=False)
        except ValueError:
            raise Malformed("no JSON") from None
        if call["id"] is not None:
            self.send(said.encode())

    def perform(self, method: str, params: list[Any]) -> tuple[Any, Any]:
        if method == "echo":
            return params, None
        if method == "list_dbs" and not params:
            return ["Open_vSwitch"], None
        if method == "get_schema" and params == ["Open_vSwitch"]:
            return {"name": "Open_vSwitch", "version": "8.3.0", "tables": {}}, None
        return None, "unknown database" if method == "get_schema" else "unknown method"


class OvsdbRight(Ovsdb):
    def scan(self, data: bytes) -> None:
        self.is_escaped = self.scan_from(self.is_escaped, data)


CHANNELS = ("Das Erste HD", "ZDF HD", "ORF2 Österreich", "Télé Zürich")


class Svdrp(StreamHandler):
    """A video recorder (SVDRP of VDR 2.6, in the character set UTF-8): CHAN selects a channel, LSTC lists them.

    A channel is named by its number or by a part of its name, in which the case does not count.
    """

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text, self.tail, self.channel = "", b"", 1

    def handle(self) -> Step:
        self.one_by_one += 1
        self.send(b"220 vdr SVDRP VideoDiskRecorder 2.6.9; UTF-8\r\n")
        return Some(512), self.first

    def decoded(self, data: bytes) -> str:
        return data.decode("utf-8", "replace")

    def first(self, data: bytes) -> Step:
        self.text += self.decoded(data)
        self.tail = (self.tail + data)[-2:]
        *lines, self.text = self.text.split("\r\n")
        for line in lines:
            if len(line) > 254:
                raise Malformed("too long")
            self.one_by_one += 1
            if not self.goes_on(line):
                return None
        if len(self.text.removesuffix("\r")) > 254:
            raise Malformed("too long")
        return Some(512), self.first if self.tail == b"\r\n" else self.more

    def more(self, data: bytes) -> Step:
        return self.first(data)

    def goes_on(self, line: str) -> bool:
        """Answer a command. ``False``: it was the last."""
        word, _, option = line.partition(" ")
        if word.upper() == "QUIT" and not option:
            self.send(b"221 vdr closing connection\r\n")
            return False
        if word.upper() not in ("CHAN", "LSTC"):
            self.send(b"500 Command unrecognized\r\n")
            return True
        found = self.found(option) if option else [self.channel] if word.upper() == "CHAN" else [1, 2, 3, 4]
        if not found:
            self.send(b"501 Channel not defined\r\n")
        elif word.upper() == "CHAN":
            self.channel = found[0]
            found = found[:1]
        for place, number in enumerate(found, 1):
            self.send(f"250{' -'[place < len(found)]}{number} {CHANNELS[number - 1]}\r\n".encode())
        return True

    def found(self, option: str) -> list[int]:
        if re.fullmatch("[0-9]{1,4}", option):
            return [int(option)] if 1 <= int(option) <= len(CHANNELS) else []
        return [number for number, name in enumerate(CHANNELS, 1) if option.casefold() in name.casefold()]


class SvdrpRight(Svdrp):
    def decoded(self, data: bytes) -> str:
        return self.decoder.decode(data)


PAIRS = [
    Pair(
        "rtr",
        6,
        Rtr,
        RtrRight,
        [
            struct.pack(">BBHI", 1, 2, 0, 8),
            struct.pack(">BBHII", 1, 1, SESSION, 12, 41),
            struct.pack(">BBHII", 1, 1, SESSION, 12, SERIAL),
        ],
    ),
    Pair(
        "ovsdb",
        6,
        Ovsdb,
        OvsdbRight,
        [
            b'{"method":"list_dbs","params":[],"id":0}',
            b'{"id":"echo","method":"echo","params":["a {brace}",1,null]}',
            b'{"method":"get_schema","params":["Open_vSwitch"],"id":1} ',
            b'{"method":"steal","params":["idl"],"id":2}',
        ],
    ),
    Pair(
        "svdrp",
        6,
        Svdrp,
        SvdrpRight,
        [
            b"CHAN\r\n",
            b"LSTC\r\n",
            b"chan zdf\r\n",
            b"CHAN\r\n",
            b"LSTC 3\r\n",
            b"LSTC arte\r\n",
            b"VOLU up\r\n",
            b"QUIT\r\n",
        ],
    ),
]
