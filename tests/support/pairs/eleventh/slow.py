"""Pairs of the kind 11: how much work a byte makes."""

from __future__ import annotations

import json
import re
import struct
from array import array
from typing import TYPE_CHECKING

from handlers import Exactly, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Step

# JSON-RPC

PIECE = Some(limit=4096)
MAX_OBJECT = 32_768
MAX_BLANKS = 16
BLANK = b" \t\r\n"
QUOTE, ESCAPE, OPEN, CLOSE = b'"\\{}'
RESULTS = {
    "eth_chainId": "0x1",
    "eth_blockNumber": "0x12d4f3a",
    "net_version": "1",
    "web3_clientVersion": "quiet/v1.0",
}


class Ipc(StreamHandler):
    """The local end of an Ethereum node (JSON-RPC 2.0): objects one after another, with no delimiter."""

    timeout = 30
    request_timeout = 30

    def setup(self) -> None:
        self.buffer = bytearray()
        self.blanks = 0
        self.begin()

    def begin(self) -> None:
        """Look for the end of an object from the beginning of the buffer on."""
        self.seen = self.depth = 0
        self.in_string = self.escaped = False

    def handle(self) -> Step:
        self.one_by_one += 1
        return PIECE, self.first

    def first(self, data: bytes) -> Step:
        return self.more(data)

    def more(self, data: bytes) -> Step:
        self.buffer += data
        while self.skip() and (end := self.end()):
            if end > MAX_OBJECT:
                break
            self.one_by_one += 1
            self.blanks = 0
            self.answer(bytes(self.buffer[:end]))
            del self.buffer[:end]
            self.begin()
        if len(self.buffer) > MAX_OBJECT:
            raise Malformed("an object that is too large")
        return PIECE, self.more if self.buffer else self.first

    def skip(self) -> bool:
        """Drop the blanks before an object. Whether anything is left."""
        while not self.seen and self.buffer and self.buffer[0] in BLANK:
            del self.buffer[0]
            self.blanks += 1
        if self.blanks > MAX_BLANKS or (self.buffer and self.buffer[0] != OPEN):
            raise Malformed("no object")
        return bool(self.buffer)

    def end(self) -> int:
        """Where the object in the buffer ends; 0 if it is not complete."""
        self.begin()
        return self.scan()

    def scan(self) -> int:
        for place in range(self.seen, len(self.buffer)):
            byte = self.buffer[place]
            if self.escaped:
                self.escaped = False
            elif self.in_string:
                self.in_string, self.escaped = byte != QUOTE, byte == ESCAPE
            elif byte == QUOTE:
                self.in_string = True
            elif byte in (OPEN, CLOSE):
                self.depth += 1 if byte == OPEN else -1
                if not self.depth:
                    return place + 1
        self.seen = len(self.buffer)
        return 0

    def answer(self, text: bytes) -> None:
        try:
            call = json.loads(text.decode())
        except (ValueError, RecursionError):
            raise Malformed("no JSON") from None
        number, method, parameters = call.get("id"), call.get("method"), call.get("params", [])
        if type(number) is not int or not isinstance(method, str) or not isinstance(parameters, list):
            raise Malformed("no call")
        said: dict[str, object] = {"jsonrpc": "2.0", "id": number}
        if method in RESULTS:
            said["result"] = RESULTS[method]
        elif method == "eth_sendRawTransaction" and len(parameters) == 1 and isinstance(parameters[0], str):
            said["result"] = hex(len(parameters[0]) // 2)
        else:
            said["error"] = {"code": -32601, "message": "method not found"}
        self.send(json.dumps(said).encode() + b"\n")


class IpcRight(Ipc):
    """The local end of an Ethereum node (JSON-RPC 2.0): objects one after another, with no delimiter."""

    def end(self) -> int:
        """Where the object in the buffer ends; 0 if it is not complete."""
        return self.scan()


# BitTorrent

PROTOCOL = b"\x13BitTorrent protocol"
HANDSHAKE = Exactly(68)
LENGTH = Exactly(4)
OUR_ID = b"-QT0100-quietpeer001"
INFO_HASH = bytes.fromhex("3b245504cf5f11bbdbe1201cea6a6bf45aee1bc0")
CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE_KIND, CANCEL = range(9)
PIECES, PIECE_SIZE = 8192, 1024
OURS = b"\xff" * (PIECES // 16) + bytes(PIECES // 16)
CONTENT = bytes(range(256)) * (PIECE_SIZE // 256)


class BitTorrent(StreamHandler):
    """A peer that has the first half of a torrent and asks for nothing yet: the wire of BitTorrent (BEP 3)."""

    timeout = 120
    request_timeout = 30

    def setup(self) -> None:
        self.interested = self.serving = False
        self.prepare()

    def prepare(self) -> None:
        """Make the place for the pieces that the peer has."""
        self.theirs = array("H")

    async def handle(self) -> None:
        greeting = await HANDSHAKE
        if not greeting.startswith(PROTOCOL) or greeting[28:48] != INFO_HASH:
            raise Malformed("another protocol, or torrent")
        self.send(PROTOCOL + bytes(8) + INFO_HASH + OUR_ID + self.framed(BITFIELD, OURS))
        self.opened()
        while True:
            self.one_by_one += 1
            size = int.from_bytes(await LENGTH, "big")
            if size > 1 + PIECES // 8:
                raise Malformed("a message that is too large")
            if size:
                data = await Exactly(size)
                self.message(data[0], data[1:])

    def framed(self, kind: int, data: bytes = b"") -> bytes:
        return struct.pack(">IB", 1 + len(data), kind) + data

    def message(self, kind: int, data: bytes) -> None:
        if kind in (CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED) and not data:
            if kind in (INTERESTED, NOT_INTERESTED):
                self.serving = kind == INTERESTED
            if kind == INTERESTED:
                self.send(self.framed(UNCHOKE))
        elif kind == HAVE and len(data) == 4 and int.from_bytes(data, "big") < PIECES:
            self.has(int.from_bytes(data, "big"))
        elif kind == BITFIELD and len(data) == PIECES // 8:
            for index in (place * 8 + bit for place, byte in enumerate(data) for bit in range(8) if byte & 0x80 >> bit):
                self.has(index)
        elif kind == REQUEST and len(data) == 12:
            index, begin, size = struct.unpack(">III", data)
            if index >= PIECES // 2 or begin + size > PIECE_SIZE or not size:
                raise Malformed("no such block")
            if self.serving:
                self.send(self.framed(PIECE_KIND, data[:8] + CONTENT[begin : begin + size]))
        elif kind != CANCEL or len(data) != 12:
            raise Malformed("no message")

    def has(self, index: int) -> None:
        """The peer has this piece."""
        if index not in self.theirs:
            self.theirs.append(index)
            self.want(index)

    def want(self, index: int) -> None:
        """Tell the peer, once, that it has something that is of use."""
        if index >= PIECES // 2 and not self.interested:
            self.interested = True
            self.send(self.framed(INTERESTED))


class BitTorrentRight(BitTorrent):
    """A peer that has the first half of a torrent and asks for nothing yet: the wire of BitTorrent (BEP 3)."""

    def prepare(self) -> None:
        """Make the place for the pieces that the peer has."""
        self.flags = bytearray(PIECES)

    def has(self, index: int) -> None:
        """The peer has this piece."""
        if not self.flags[index]:
            self.flags[index] = 1
            self.want(index)


# Clam

CLAM_COMMAND = Until(b"\0", limit=64)
MAX_STREAM = 32_768
SIGNATURES = {
    b"Doc.Macro.AutoOpen": re.compile(rb"(?i)sub autoopen\(\)"),
    b"Html.Phishing.Form": re.compile(rb"(?i)<form action=.http://[0-9.]{7,15}/"),
}


class Clam(StreamHandler):
    """A session with a scanner: PING, VERSION and INSTREAM, whose data come in chunks (clamd(8))."""

    timeout = 30
    request_timeout = 60

    async def handle(self) -> None:
        if await CLAM_COMMAND != b"zIDSESSION\0":
            raise Malformed("no session")
        self.opened()
        number = 0
        while True:
            self.one_by_one += 1
            command = await CLAM_COMMAND
            number += 1
            if command == b"zEND\0":
                return
            if command == b"zPING\0":
                self.send(b"%d: PONG\0" % number)
            elif command == b"zVERSION\0":
                self.send(b"%d: ClamAV 1.0.5/27210\0" % number)
            elif command == b"zINSTREAM\0":
                found = await self.stream()
                self.send(b"%d: stream: %b\0" % (number, found + b" FOUND" if found else b"OK"))
            else:
                self.send(b"%d: UNKNOWN COMMAND\0" % number)
                return

    async def chunk(self, held: int) -> bytes:
        """The next chunk of a stream, of which so many bytes are held; the last one is empty."""
        size = int.from_bytes(await Exactly(4), "big")
        if held + size > MAX_STREAM:
            self.send(b"INSTREAM size limit exceeded. ERROR\0")
            raise Malformed("a stream that is too long")
        return await Exactly(size)

    async def stream(self) -> bytes:
        """Take a stream. The name of what was found in it."""
        held, found = bytearray(), b""
        while chunk := await self.chunk(len(held)):
            held += chunk
            found = found or self.search(held)
        return found

    def search(self, held: bytearray) -> bytes:
        """The name of what is found."""
        return next((name for name, signature in SIGNATURES.items() if signature.search(held)), b"")


class ClamRight(Clam):
    """A session with a scanner: PING, VERSION and INSTREAM, whose data come in chunks (clamd(8))."""

    async def stream(self) -> bytes:
        """Take a stream. The name of what was found in it."""
        held = bytearray()
        while chunk := await self.chunk(len(held)):
            held += chunk
        return self.search(held)


def call(number: int, method: str, *parameters: str) -> bytes:
    """A call of JSON-RPC."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}).encode()


def wire(kind: int, data: bytes = b"") -> bytes:
    """A message of BitTorrent."""
    return struct.pack(">IB", 1 + len(data), kind) + data


def chunks(*pieces: bytes) -> bytes:
    """What a client of the scanner sends."""
    return b"zINSTREAM\0" + b"".join(struct.pack(">I", len(piece)) + piece for piece in (*pieces, b""))


PAIRS = [
    Pair("ipc", 11, Ipc, IpcRight, [
        call(1, "web3_clientVersion"),
        call(2, "net_version") + b"\n",
        call(3, "eth_chainId"),
        call(4, "eth_blockNumber"),
        call(5, "eth_sendRawTransaction", "0x02f8740182053d8459682f0085" + "6ad92c1ee2825208" * 12),
        call(6, "eth_getLogs"),
    ]),
    Pair("bittorrent-pieces", 11, BitTorrent, BitTorrentRight, [
        PROTOCOL + bytes(8) + INFO_HASH + b"-TR4050-k8hj0wgej6ch",
        wire(BITFIELD, b"\xf0" + bytes(PIECES // 8 - 1)),
        wire(INTERESTED),
        wire(UNCHOKE),
        wire(REQUEST, struct.pack(">III", 17, 0, 512)),
        wire(REQUEST, struct.pack(">III", 17, 512, 512)),
        wire(CANCEL, struct.pack(">III", 17, 512, 512)),
        bytes(4),
        wire(HAVE, struct.pack(">I", 17)),
        wire(HAVE, struct.pack(">I", 5120)),
        wire(HAVE, struct.pack(">I", 5121)),
        wire(NOT_INTERESTED),
        wire(CHOKE),
    ]),
    Pair("clam", 11, Clam, ClamRight, [
        b"zIDSESSION\0",
        b"zPING\0",
        b"zVERSION\0",
        chunks(b"Dear Ada,\r\nthe minutes of Tuesday are below.\r\n", b"Yours, Bob\r\n"),
        chunks(b"Attribute VB_Name = \"This\"\r\nSub Auto", b"Open()\r\nCall Fetch\r\nEnd Sub\r\n"),
        b"zEND\0",
    ]),
]  # fmt: skip
