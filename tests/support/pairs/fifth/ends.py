"""Handlers that take what is no end for one, that do more work the more is held, or that forget something."""

from __future__ import annotations

import re
import time
from base64 import b64decode
from binascii import Error
from typing import Any

from handlers import DatagramHandler, Delay, Exactly, Packet, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair


class DovecotBroken(StreamHandler):
    """Logins are looked up (Dovecot): fields with tabs between them; the answer names the user."""

    def handle(self) -> Any:
        return Until(b"\n", limit=1024), self.line

    def line(self, line: bytes) -> Any:
        found = re.fullmatch(rb"AUTH\t([0-9]{1,9})\tPLAIN\tresp=([A-Za-z0-9+/=]*)\n", line)
        if found is None:
            raise Malformed
        try:
            _, user, password = b64decode(found[2], validate=True).split(b"\0")
        except (Error, ValueError):
            self.send(b"FAIL\t%b\n" % found[1])
            return self.handle()
        known = user == b"ada" and password == b"sesame"
        self.send(b"%b\t%b\tuser=%b\n" % (b"OK" if known else b"FAIL", found[1], self.field(user)))
        return self.handle()

    def field(self, text: bytes) -> bytes:
        return text


class DovecotRight(DovecotBroken):
    def field(self, text: bytes) -> bytes:
        for special, letter in (b"\1", b"1"), (b"\t", b"t"), (b"\n", b"n"), (b"\r", b"r"):
            text = text.replace(special, b"\1" + letter)
        return text


class CDDBBroken(StreamHandler):
    """Titles of discs (CDDBP): ``cddb write`` is followed by lines up to one that is a single dot."""

    async def handle(self) -> None:
        while True:
            line = await Until(b"\r\n", limit=256)
            if line == b"quit\r\n":
                self.send(b"230 goodbye\r\n")
                return
            if not re.fullmatch(rb"cddb write [a-z]{1,20} [0-9a-f]{8}\r\n", line):
                self.send(b"500 unrecognized command\r\n")
                continue
            self.send(b"320 OK, input CDDB data\r\n")
            lines = size = 0
            while not self.is_end(line := await Until(b"\r\n", limit=256)):
                lines, size = lines + 1, size + len(line) - line.startswith(b".")
                if lines > 500:
                    raise Malformed
            self.send(b"200 %d lines, %d bytes\r\n" % (lines, size))

    def is_end(self, line: bytes) -> bool:
        return line.strip() == b"."


class CDDBRight(CDDBBroken):
    def is_end(self, line: bytes) -> bool:
        return line == b".\r\n"


class ICAPBroken(StreamHandler):
    """A filter of HTTP (ICAP): a head of fields. A client that allows it is told to take the content as it is."""

    async def handle(self) -> None:
        while True:
            head = (await Until(b"\r\n\r\n", limit=4096)).decode("latin-1")
            first, *lines = self.lines(head[:-4]) or [""]
            if not re.fullmatch(r"(OPTIONS|RESPMOD) icap://[!-~]+ ICAP/1\.0", first):
                raise Malformed
            fields: dict[str, str] = {}
            for line in lines:
                name, colon, value = line.partition(":")
                if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name) or name.lower() in fields:
                    raise Malformed
                fields[name.lower()] = value.strip(" \t")
            if "host" not in fields:
                raise Malformed
            if first.startswith("OPTIONS"):
                self.send(b"ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nEncapsulated: null-body=0\r\n\r\n")
            else:
                self.send(b"ICAP/1.0 %b\r\n\r\n" % (b"204 Unmodified" if fields.get("allow") == "204" else b"500 No"))

    def lines(self, head: str) -> list[str]:
        return head.splitlines()


class ICAPRight(ICAPBroken):
    def lines(self, head: str) -> list[str]:
        lines = head.split("\r\n")
        if not all(re.fullmatch(r"[\t\x20-\x7e\xa0-\xff]+", line) for line in lines):
            raise Malformed
        return lines


class NETCONFBroken(StreamHandler):
    """The configuration of a router (NETCONF 1.0): messages of XML, each up to 1 MiB and ended by ``]]>]]>``."""

    end, largest = b"]]>]]>", 1 << 20

    def setup(self) -> None:
        self.held = bytearray()
        self.searched = 0

    def handle(self) -> Any:
        return Some(), self.first

    def first(self, data: bytes) -> Any:
        return self.came(data)

    def came(self, data: bytes) -> Any:
        self.held += data
        place, found = 0, self.search()
        while found >= 0:
            self.message(bytes(self.held[place:found]))
            place = found + len(self.end)
            found = self.held.find(self.end, place)
        del self.held[:place]
        self.searched = max(0, len(self.held) - len(self.end) + 1)
        if len(self.held) >= self.largest:
            raise Malformed
        return (Some(), self.came) if self.held else self.handle()

    def search(self) -> int:
        return self.held.find(self.end)

    def message(self, message: bytes) -> None:
        if len(message) + len(self.end) > self.largest:
            raise Malformed
        found = re.match(rb'<rpc message-id="([0-9]{1,9})">', message)
        number = found[1] if found else b"0"
        kind = b"ok" if found and message.endswith(b"</rpc>") else b"rpc-error"
        self.send(b'<rpc-reply message-id="%b"><%b/></rpc-reply>%b' % (number, kind, self.end))


class NETCONFRight(NETCONFBroken):
    def search(self) -> int:
        return self.held.find(self.end, self.searched)


class NetFlowBroken(DatagramHandler):
    """Flows of a router (NetFlow 9): templates, and data that names its template. The answer counts the records."""

    most = 4096

    def setup(self) -> None:
        self.templates: list[list[int]] = []

    def handle(self) -> Any:
        return Packet(), self.flows

    def flows(self, packet: bytes) -> Any:
        if packet[:2] != b"\0\x09":
            return self.handle()
        words = [int.from_bytes(packet[at : at + 2], "big") for at in range(4, len(packet) - 1, 2)]
        place = records = 0
        while place + 2 <= len(words):  # a set: its number, its size in words, what is in it
            number, size = words[place : place + 2]
            if size < 2 or place + size > len(words):
                break
            content = words[place + 2 : place + size]
            place += size
            if number == 0:
                for template, length in zip(content[::2], content[1::2], strict=False):
                    self.define(template, length)
            elif length := self.length(number):
                records += len(content) // length
        if len(packet) >= 8:
            self.send(b"\0\x0a" + records.to_bytes(4, "big"))
        return self.handle()

    def define(self, number: int, length: int) -> None:
        for template in self.templates:
            if template[0] == number:
                template[1] = length
                return
        if len(self.templates) < self.most:
            self.templates.append([number, length])

    def length(self, number: int) -> int:
        return next((length for known, length in self.templates if known == number), 0)


class NetFlowRight(NetFlowBroken):
    def setup(self) -> None:
        self.lengths: dict[int, int] = {}

    def define(self, number: int, length: int) -> None:
        if number in self.lengths or len(self.lengths) < self.most:
            self.lengths[number] = length

    def length(self, number: int) -> int:
        return self.lengths.get(number, 0)


class SECSBroken(StreamHandler):
    """Messages of a machine that makes chips (SECS-I): blocks with a sum, each confirmed, joined at the last one."""

    text: bytes | bytearray

    def setup(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.blocks, self.text = 0, b""

    def add(self, data: bytes) -> None:
        self.text = self.text + data

    def handle(self) -> Any:
        return Exactly(1), self.first

    def first(self, size: bytes) -> Any:
        return self.size(size)

    def size(self, size: bytes) -> Any:
        if not 10 <= size[0] <= 254:
            raise Malformed
        return Exactly(size[0] + 2), self.block

    def block(self, block: bytes) -> Any:
        if sum(block[:-2]) != int.from_bytes(block[-2:], "big"):
            self.send(b"\x15")
        else:
            self.send(b"\6")
            self.blocks += 1
            if self.blocks > 4096:
                raise Malformed
            self.add(block[10:-2])
            if block[4] & 0x80:
                self.send(b"S6F12 %d" % len(self.text))
                self.begin()
        return (Exactly(1), self.size) if self.blocks else self.handle()


class SECSRight(SECSBroken):
    def begin(self) -> None:
        self.blocks, self.text = 0, bytearray()

    def add(self, data: bytes) -> None:
        self.text += data


class FINSBroken(DatagramHandler):
    """Questions to a controller (Omron FINS): a head, a command, data. The answer has an end code."""

    def handle(self) -> Any:
        return Packet(), self.frame

    def frame(self, packet: bytes) -> Any:
        if len(packet) < 14 or packet[0] != 0x80:
            return self.handle()
        command = packet[10:12]
        if command not in (b"\1\1", b"\5\1"):
            return self.unknown(packet)
        return self.known(packet)

    def unknown(self, packet: bytes) -> Any:
        self.answer(packet, b"\4\1")
        return self.known(packet)

    def known(self, packet: bytes) -> Any:
        does = {b"\1\1": self.read, b"\5\1": self.model}[packet[10:12]]
        does(packet)
        return self.handle()

    def read(self, packet: bytes) -> None:
        if len(packet) != 18 or packet[12] != 0x82 or packet[16:] not in (b"\0\1", b"\0\2"):
            self.answer(packet, b"\x11\1")
        else:
            self.answer(packet, b"\0\0" + packet[13:15] * packet[17])

    def model(self, packet: bytes) -> None:
        self.answer(packet, b"\0\0")

    def answer(self, packet: bytes, rest: bytes) -> None:
        self.send(b"\xc0\0\2" + packet[6:9] + packet[3:6] + packet[9:12] + rest)


class FINSRight(FINSBroken):
    def unknown(self, packet: bytes) -> Any:
        self.answer(packet, b"\4\1")
        return self.handle()


class RFBBroken(StreamHandler):
    """A screen elsewhere (RFB 3.8): versions, a challenge, then events. A wrong response has to wait for its answer."""

    challenge = bytes(range(16))

    async def handle(self) -> None:
        self.send(b"RFB 003.008\n")
        if await Exactly(12) != b"RFB 003.008\n":
            raise Malformed
        self.send(b"\1\2")
        if await Exactly(1) != b"\2":
            raise Malformed
        self.send(self.challenge)
        if await Exactly(16) != self.challenge[::-1]:
            await self.refuse()
            return
        self.send(bytes(4))
        await Exactly(1)
        self.send(b"\2\x80\1\xe0" + bytes(16) + b"\0\0\0\4desk")
        self.opened()
        while True:
            event = await Exactly(8)
            if event[0] != 4:  # a key
                raise Malformed

    async def refuse(self) -> None:
        self.penalty()
        self.send(b"\0\0\0\1\0\0\0\6denied")

    async def penalty(self) -> None:
        await Delay(3)


class RFBRight(RFBBroken):
    async def refuse(self) -> None:
        await self.penalty()
        self.send(b"\0\0\0\1\0\0\0\6denied")


class CVSBroken(StreamHandler):
    """A login to a repository (CVS pserver), then questions. A wrong password has to wait for its answer."""

    def handle(self) -> Any:
        return self.next(self.begin)

    def next(self, state: Any) -> Any:
        return Until(b"\n", limit=256), state

    def begin(self, line: bytes) -> Any:
        if line != b"BEGIN AUTH REQUEST\n":
            raise Malformed
        return self.next(self.root)

    def root(self, line: bytes) -> Any:
        return self.next(self.user)

    def user(self, line: bytes) -> Any:
        self.name = line
        return self.next(self.password)

    def password(self, line: bytes) -> Any:
        self.is_known = (self.name, line) == (b"ada\n", b"A:yZZ30 e\n")
        return self.next(self.end)

    def end(self, line: bytes) -> Any:
        if line != b"END AUTH REQUEST\n":
            raise Malformed
        if not self.is_known:
            return self.wrong()
        self.send(b"I LOVE YOU\n")
        self.opened()
        return self.next(self.command)

    def wrong(self) -> Any:
        time.sleep(3)
        return self.refuse()

    def refuse(self, _: None = None) -> None:
        self.send(b"I HATE YOU\n")

    def command(self, line: bytes) -> Any:
        self.send(b"ok\n" if line == b"noop\n" else b"error  unrecognized request\n")
        return self.next(self.command)


class CVSRight(CVSBroken):
    def wrong(self) -> Any:
        return Delay(3), self.refuse


def _secs(is_last: bool, data: bytes) -> bytes:
    block = b"\0\1\x86\x0b%c\1\0\0\0\1" % (0x80 if is_last else 0) + data
    return bytes([len(block)]) + block + sum(block).to_bytes(2, "big")


_ICAP = b"Host: filter.example\r\nAllow: 204\r\n\r\n"
_FINS = b"\x80\0\2\0\1\0\0\2\0"

PAIRS = [
    Pair(
        "dovecot", 10, DovecotBroken, DovecotRight,
        [b"AUTH\t%d\tPLAIN\tresp=%b\n" % (n, b) for n, b in enumerate([b"AGFkYQBzZXNhbWU=", b"AGV2ZQBhYg==", b"AGFk"])],
    ),
    Pair(
        "cddb", 10, CDDBBroken, CDDBRight,
        [
            b"cddb write rock 0800a001\r\n", b"DTITLE=Ada / One\r\nTTITLE0=First\r\n..\r\n", b".\r\n",
            b"cddb read\r\n", b"quit\r\n",
        ],
    ),
    Pair(
        "icap", 10, ICAPBroken, ICAPRight,
        [
            b"OPTIONS icap://filter.example/scan ICAP/1.0\r\n" + _ICAP,
            b"RESPMOD icap://filter.example/scan ICAP/1.0\r\n" + _ICAP,
            b"RESPMOD icap://filter.example/scan ICAP/1.0\r\nHost: filter.example\r\n\r\n",
        ],
    ),
    Pair(
        "netconf", 11, NETCONFBroken, NETCONFRight,
        [b'<rpc message-id="%d"><get-config/></rpc>]]>]]>' % number for number in (101, 102)] + [b"<hello/>]]>]]>"],
        {"kept": 4 << 20},
    ),
    Pair(
        "netflow", 11, NetFlowBroken, NetFlowRight,
        [
            b"\0\x09\0\1\0\0\0\4\1\0\0\3",
            b"\0\x09\0\2\1\0\0\5\0\1\0\2\0\3",
            b"\0\x09\0\1\0\0\0\6\1\1\0\1\1\0\0\2",
            b"\0\x09\0\2\1\0\0\6\0\1\0\2\0\3\0\4",
        ],
        {"kept": 1 << 20},
    ),
    Pair(
        "secs", 11, SECSBroken, SECSRight,
        [_secs(False, b"wafer"), _secs(True, b"-17"), _secs(True, b"")], {"kept": 4 << 20},
    ),
    Pair(
        "fins", 12, FINSBroken, FINSRight,
        [_FINS + b"\1\1\1\x82\0\x64\0\0\2", _FINS + b"\2\5\1\0\0", _FINS + b"\3\1\1\x82\0\x65\0\0\1"],
    ),
    Pair(
        "rfb", 12, RFBBroken, RFBRight,
        [b"RFB 003.008\n", b"\2", bytes(range(15, -1, -1)), b"\1", b"\4\1\0\0\0\0\0\x61", b"\4\0\0\0\0\0\0\x61"],
    ),
    Pair(
        "cvs", 12, CVSBroken, CVSRight,
        [b"BEGIN AUTH REQUEST\n/cvs\n", b"ada\n", b"A:yZZ30 e\n", b"END AUTH REQUEST\n", b"noop\n"],
    ),
]  # fmt: skip
