"""Pairs of handlers, broken and right: numbers, what is kept, what clients share."""

from __future__ import annotations

import os
import struct
from hmac import compare_digest
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handlers import Step

# 1: numbers


class ManageSieve(StreamHandler):
    """ManageSieve (RFC 5804): a script comes as a literal, ``{12+}``. Broken: ``int`` takes signs, spaces and ``_``."""

    timeout = 60

    async def handle(self) -> None:
        while True:
            line = await Until(b"\r\n", limit=1024)
            verb, _, rest = line[:-2].partition(b" ")
            if verb.upper() == b"LOGOUT":
                self.send(b"OK\r\n")
                return
            if verb.upper() == b"NOOP":
                self.send(b"OK\r\n")
                continue
            if verb.upper() != b"PUTSCRIPT" or not rest.endswith(b"+}"):
                self.send(b'NO "what?"\r\n')
                continue
            size = self.number(rest[:-2].rpartition(b" {")[2])
            if size is None:
                self.send(b'BYE "no such size"\r\n')
                return
            script = await Exactly(size + 2)
            if script[-2:] != b"\r\n":
                self.send(b'BYE "no end of line"\r\n')
                return
            self.send(b'OK "%d bytes"\r\n' % size)

    def number(self, digits: bytes) -> int | None:
        try:
            size = int(digits)
        except ValueError:
            return None
        return size if 0 <= size <= 32_768 else None


class ManageSieveRight(ManageSieve):
    def number(self, digits: bytes) -> int | None:
        if not digits.isdigit() or len(digits) > 5 or int(digits) > 32_768:
            return None
        return int(digits)


class Slcan(StreamHandler):
    """CAN over a serial line (SLCAN). Broken: ``int(…, 16)`` takes a sign, a space, ``_`` and ``0x``."""

    def handle(self) -> Step:
        return Until(b"\r", limit=32), self.command

    def command(self, line: bytes) -> Step:
        self.send(self.answer(line[:1], line[1:-1]))
        return self.handle()

    def answer(self, verb: bytes, rest: bytes) -> bytes:
        if verb in (b"O", b"C") and not rest:
            return b"\r"
        if verb == b"V" and not rest:
            return b"V1013\r"
        if verb != b"t" or len(rest) < 4:
            return b"\a"
        number, size, data = self.number(rest[:3]), self.number(rest[3:4]), rest[4:]
        if number is None or size is None or number > 0x7FF or size > 8 or len(data) != 2 * size:
            return b"\a"
        if any(self.number(data[place : place + 2]) is None for place in range(0, 2 * size, 2)):
            return b"\a"
        return b"z\r"

    def number(self, digits: bytes) -> int | None:
        try:
            return int(digits, 16)
        except ValueError:
            return None


class SlcanRight(Slcan):
    def number(self, digits: bytes) -> int | None:
        return int(digits, 16) if digits and not digits.strip(b"0123456789abcdefABCDEF") else None


class Mgcp(DatagramHandler):
    """MGCP (RFC 3435). Broken: ``str.isdigit`` is true of digits that ``int`` does not take, or not those of ASCII."""

    async def handle(self) -> None:
        packet = await Packet()
        line, end, _ = packet.partition(b"\n")
        words = line.removesuffix(b"\r").decode("utf-8", "replace").split(" ") if end else []
        if len(words) != 5 or words[3:] != ["MGCP", "1.0"] or not self.is_number(words[1]):
            return
        code = 200 if words[0] in ("AUEP", "RQNT", "NTFY") else 504
        self.send(f"{code} {words[1]} {'OK' if code == 200 else 'unknown command'}\r\n".encode())

    def is_number(self, word: str) -> bool:
        return word.isdigit() and 0 < int(word) <= 999_999_999


class MgcpRight(Mgcp):
    def is_number(self, word: str) -> bool:
        return word.isascii() and word.isdigit() and len(word) <= 9 and int(word) > 0


# 2: what grows


class FastAgi(StreamHandler):
    """Asterisk's FastAGI. Broken: any number of lines of the environment is kept."""

    timeout = 10

    async def handle(self) -> None:
        environment: dict[bytes, bytes] = {}
        while (line := await Until(b"\n", limit=512)) != b"\n":
            name, colon, value = line[:-1].partition(b": ")
            if not colon or not name.startswith(b"agi_") or name in environment or not self.has_room(environment):
                return
            environment[name] = value
        if environment.get(b"agi_network") != b"yes":
            return
        for command in b"ANSWER", b'STREAM FILE hello ""', b"HANGUP":
            self.send(command + b"\n")
            if not (await Until(b"\n", limit=512)).startswith(b"200 "):
                return

    def has_room(self, environment: dict[bytes, bytes]) -> bool:
        return True


class FastAgiRight(FastAgi):
    def has_room(self, environment: dict[bytes, bytes]) -> bool:
        return len(environment) < 64


class Lpd(StreamHandler):
    """The line printer daemon (RFC 1179). Broken: a job that is broken off leaves the descriptor of its spool file."""

    spool = -1

    async def handle(self) -> None:
        line = await Until(b"\n", limit=128)
        if line[:1] != b"\x02" or len(line) < 3:
            self.send(b"\x01")
            return
        self.send(b"\x00")
        self.opened()
        while True:
            line = await Until(b"\n", limit=128)
            size = line[1:-1].partition(b" ")[0]
            if line[:1] not in (b"\x02", b"\x03") or not size.isdigit() or len(size) > 6:
                self.send(b"\x01")
                return
            self.send(b"\x00")
            self.spool = os.open(os.devnull, os.O_WRONLY)
            left = int(size)
            while left:
                left -= os.write(self.spool, await Exactly(min(left, 4096)))
            end = await Exactly(1)
            os.close(self.spool)
            self.spool = -1
            if end != b"\x00":
                self.send(b"\x01")
                return
            self.send(b"\x00")


class LpdRight(Lpd):
    def finish(self) -> None:
        if self.spool >= 0:
            os.close(self.spool)


class NatPmp(DatagramHandler):
    """NAT-PMP (RFC 6886). Broken: any number of mappings is kept."""

    mappings: ClassVar[dict[Any, tuple[int, float]]] = {}

    def handle(self) -> Step:
        return Packet(), self.request

    def request(self, packet: bytes) -> Step:
        if len(packet) < 2 or packet[1] & 0x80:
            return None
        version, opcode = packet[:2]
        if version:
            self.send(struct.pack("!BBHI", 0, 0x80 | opcode, 1, 0))
        elif opcode == 0 and len(packet) == 2:
            self.send(struct.pack("!BBHI4B", 0, 0x80, 0, 0, 192, 0, 2, 1))
        elif opcode in (1, 2) and len(packet) == 12:
            _, internal, external, lifetime = struct.unpack("!HHHI", packet[2:])
            self.remember((self.peer, opcode, internal), external, lifetime)
            self.send(struct.pack("!BBHIHHI", 0, 0x80 | opcode, 0, 0, internal, external, lifetime))
        else:
            self.send(struct.pack("!BBHI", 0, 0x80 | opcode, 5, 0))
        return None

    def remember(self, key: object, external: int, lifetime: int) -> None:
        self.mappings.pop(key, None)
        if lifetime:
            self.mappings[key] = external, self.now() + lifetime


class NatPmpRight(NatPmp):
    mappings: ClassVar[dict[Any, tuple[int, float]]] = {}

    def remember(self, key: object, external: int, lifetime: int) -> None:
        super().remember(key, external, lifetime)
        if len(self.mappings) > 64:
            del self.mappings[next(iter(self.mappings))]


# 3: what clients share

WORDS = {b"apple": b"a fruit", b"python": b"a snake"}


class Dict(StreamHandler):
    """DICT (RFC 2229). Broken: the options of one client are those of all."""

    options: ClassVar[dict[str, bool]] = {}

    async def handle(self) -> None:
        self.send(b"220 dict.example\r\n")
        while True:
            verb, *words = (await Until(b"\r\n", limit=1024)).upper().split() or [b""]
            if verb == b"QUIT":
                self.send(b"221 bye\r\n")
                return
            if verb == b"OPTION" and words == [b"MIME"]:
                self.options["mime"] = True
                self.send(b"250 ok\r\n")
            elif verb == b"DEFINE" and len(words) == 2:
                self.define(words[1].lower())
            elif verb == b"CLIENT":
                self.send(b"250 ok\r\n")
            else:
                self.send(b"500 what?\r\n")

    def define(self, word: bytes) -> None:
        if word not in WORDS:
            self.send(b"552 no match\r\n")
            return
        header = b"\r\n" if self.options.get("mime") else b""
        self.send(b'150 1 found\r\n151 "%b" all "all"\r\n%b%b\r\n.\r\n250 ok\r\n' % (word, header, WORDS[word]))


class DictRight(Dict):
    def setup(self) -> None:
        self.options = {}  # type: ignore[misc]


SESSION = {"is_authenticated": False}


class TorControl(StreamHandler):
    """The control port of Tor. Broken: what one client has proved counts for all."""

    def setup(self) -> None:
        self.session = SESSION

    def handle(self) -> Step:
        return Until(b"\r\n", limit=1024), self.command

    def command(self, line: bytes) -> Step:
        verb, _, argument = line[:-2].partition(b" ")
        if verb == b"QUIT":
            self.send(b"250 closing connection\r\n")
            return None
        if verb == b"PROTOCOLINFO":
            self.send(b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n")
        elif verb == b"AUTHENTICATE":
            if not compare_digest(argument, b'"sesame"'):
                self.send(b"515 Authentication failed\r\n")
                return None
            self.session["is_authenticated"] = True
            self.send(b"250 OK\r\n")
        elif not self.session["is_authenticated"]:
            self.send(b"514 Authentication required.\r\n")
            return None
        elif verb == b"GETINFO" and argument == b"version":
            self.send(b"250-version=0.4.8\r\n250 OK\r\n")
        else:
            self.send(b"510 Unrecognized command\r\n")
        return self.handle()


class TorControlRight(TorControl):
    def setup(self) -> None:
        self.session = {"is_authenticated": False}


def fix(body: bytes) -> bytes:
    """A message of FIX, whose fields in ``body`` have ``|`` for the delimiter."""
    body = body.replace(b"|", b"\x01")
    message = b"8=FIX.4.4\x019=%d\x01%b" % (len(body), body)
    return message + b"10=%03d\x01" % (sum(message) % 256)


class Fix(StreamHandler):
    """FIX 4.4. Broken: the sequence numbers of one session go on in the next."""

    numbers: Iterator[int] = count(1)
    timeout = 60

    async def handle(self) -> None:
        while True:
            begin = await Until(b"\x01", limit=16)
            length = await Until(b"\x01", limit=16)
            digits = length[2:-1]
            if begin != b"8=FIX.4.4\x01" or length[:2] != b"9=" or not digits.isdigit() or int(digits) > 4096:
                return
            body = await Exactly(int(digits) + 7)
            if body[-7:] != b"10=%03d\x01" % (sum(begin + length + body[:-7]) % 256):
                return
            fields = body[:-8].split(b"\x01")
            if fields[0] == b"35=5":
                self.answer(b"35=5|")
                return
            if fields[0] == b"35=A":
                self.answer(b"35=A|98=0|108=30|")
            elif fields[0] == b"35=1":
                asked = [field for field in fields if field.startswith(b"112=")]
                self.answer(b"35=0|" + (asked[0].replace(b"|", b"") + b"|" if asked else b""))

    def answer(self, fields: bytes) -> None:
        kind, rest = fields.split(b"|", 1)
        self.send(fix(b"%b|34=%d|%b" % (kind, next(self.numbers), rest)))


class FixRight(Fix):
    def setup(self) -> None:
        self.numbers = count(1)


MAPPING = b"\x00\x01\x00\x00\x1f\x90\x1f\x90\x00\x00\x0e\x10"

PAIRS = [
    Pair("managesieve", 1, ManageSieve, ManageSieveRight,
         [b"NOOP\r\n", b'PUTSCRIPT "a" {5+}\r\nkeep;\r\n', b'PUTSCRIPT "b" {12+}\r\ndiscard;stop\r\n', b"LOGOUT\r\n"]),
    Pair("slcan", 1, Slcan, SlcanRight, [b"V\r", b"O\r", b"t1232AABB\r", b"t7FF0\r", b"C\r"]),
    Pair("mgcp", 1, Mgcp, MgcpRight,
         [b"AUEP 1200 aaln/1@gw.example MGCP 1.0\r\n", b"RQNT 1201 aaln/1@gw.example MGCP 1.0\r\nX: 7\r\nR: hd\r\n",
          b"CRCX 1202 aaln/1@gw.example MGCP 1.0\r\n"]),
    Pair("fastagi", 2, FastAgi, FastAgiRight,
         [b"agi_network: yes\nagi_request: agi://host/hello\n", b"agi_extension: 100\n\n", b"200 result=0\n",
          b"200 result=0 endpos=800\n", b"200 result=1\n"]),
    Pair("lpd", 2, Lpd, LpdRight,
         [b"\x02lp\n", b"\x0212 cfA001host\n", b"Hhost\nPada\nf\x00", b"\x035 dfA001host\n", b"hello\x00"]),
    Pair("natpmp", 2, NatPmp, NatPmpRight,
         [b"\x00\x00", MAPPING, b"\x00\x02" + MAPPING[2:], b"\x00\x01\x00\x00\x1f\x90\x00\x00\x00\x00\x00\x00"]),
    Pair("dict", 3, Dict, DictRight,
         [b"CLIENT test\r\n", b"DEFINE * apple\r\n", b"OPTION MIME\r\n", b"DEFINE * python\r\n", b"QUIT\r\n"]),
    Pair("torcontrol", 3, TorControl, TorControlRight,
         [b"PROTOCOLINFO 1\r\n", b'AUTHENTICATE "sesame"\r\n', b"GETINFO version\r\n", b"QUIT\r\n"]),
    Pair("fix", 3, Fix, FixRight,
         [fix(b"35=A|34=1|49=A|56=B|98=0|108=30|"), fix(b"35=1|34=2|112=hello|"), fix(b"35=0|34=3|"),
          fix(b"35=5|34=4|")]),
]  # fmt: skip
