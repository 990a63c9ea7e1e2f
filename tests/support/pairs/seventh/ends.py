"""Pairs of the seventh set: ends that only look like ends, quadratic work, steps that are left out."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from handlers import DatagramHandler, Delay, Exactly, Packet, Some, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers.handler import Step


class Msrp(StreamHandler):
    """MSRP (RFC 4975): SEND, headers, content and the end-line; the answer says how many bytes came."""

    timeout = 60.0

    async def content(self, transaction: bytes) -> bytes:
        data = await Until(b"-------" + transaction, limit=4096)
        await Until(b"\r\n", limit=16)
        return data

    async def handle(self) -> None:
        while True:
            words = (await Until(b"\r\n", limit=128))[:-2].split(b" ")
            if (
                len(words) != 3
                or words[::2] != [b"MSRP", b"SEND"]
                or not 3 < len(words[1]) <= 31
                or not words[1].isalnum()
            ):
                self.send(b"MSRP 400 Bad Request\r\n")
                return
            size = len(await self.content(words[1]))
            self.send(b"MSRP %b 200 OK\r\nBytes: %d\r\n-------%b$\r\n" % (words[1], size, words[1]))


class MsrpRight(Msrp):
    async def content(self, transaction: bytes) -> bytes:
        return (await Until(b"\r\n-------%b$\r\n" % transaction, limit=4096))[:-3]


class EventSocket(StreamHandler):
    """FreeSWITCH's event socket, a part: setvar stores a value with its percent signs, getvar shows it."""

    timeout = 60.0

    def setup(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def handle(self) -> Step:
        return Until(b"\n\n", limit=512), self.command

    def command(self, data: bytes) -> Step:
        words = data[:-2].split(b" ")
        if len(words) == 3 and words[0] == b"setvar" and words[1].isalnum():
            value = unquote_to_bytes(words[2])
            if self.is_fit(value) and (words[1] in self.values or len(self.values) < 16):
                self.values[words[1]] = value
                self.reply(b"+OK " + value)
            else:
                self.reply(b"-ERR no such value")
        elif len(words) == 2 and words[0] == b"getvar" and words[1] in self.values:
            self.reply(b"+OK " + self.values[words[1]])
        else:
            self.reply(b"-ERR command not found")
        return self.handle()

    def is_fit(self, value: bytes) -> bool:
        return len(value) <= 256

    def reply(self, text: bytes) -> None:
        self.send(b"Content-Type: command/reply\nReply-Text: %b\n\n" % text)


class EventSocketRight(EventSocket):
    def is_fit(self, value: bytes) -> bool:
        return len(value) <= 256 and not any(byte < 32 or byte == 127 for byte in value)


class Announcements(DatagramHandler):
    """Announcements of sessions (SAP, RFC 2974), with SDP inside; the answer has the name and the number of lines."""

    timeout = 60.0

    def handle(self) -> Step:
        return Packet(), self.announcement

    def lines(self, text: str) -> list[str]:
        return text.splitlines()

    def announcement(self, packet: bytes) -> Step:
        head, _, content = packet[8:].partition(b"\0")
        if packet[:2] == b"\x20\x00" and head == b"application/sdp":
            try:
                lines = self.lines(content.decode())
            except UnicodeDecodeError:
                lines = []
            names = [line[2:] for line in lines if line.startswith("s=")]
            if lines[:1] == ["v=0"] and len(names) == 1 and all(line[1:2] == "=" for line in lines):
                self.send(packet[2:4] + f"{len(lines)} {names[0]}".encode())
        return self.handle()


class AnnouncementsRight(Announcements):
    def lines(self, text: str) -> list[str]:
        return text.removesuffix("\r\n").split("\r\n")


class GameSpy(StreamHandler):
    r"""Queries of GameSpy: keys and values between backslashes, up to \final\, with long lists of players."""

    timeout = 60.0

    def setup(self) -> None:
        self.held = b""

    async def query(self) -> bytes:
        while b"\\final\\" not in self.held:
            self.held = self.held + await Some(limit=4096)
            if len(self.held) > 262_144:
                return b""
        query, end, self.held = self.held.partition(b"\\final\\")
        return query + end

    async def handle(self) -> None:
        while query := await self.query():
            words = query[1:-7].split(b"\\")
            if not query.startswith(b"\\") or len(words) % 2:
                self.send(b"\\error\\\\final\\")
                return
            self.send(b"\\keys\\%d\\final\\" % (len(words) // 2))


class GameSpyRight(GameSpy):
    async def query(self) -> bytes:
        return await Until(b"\\final\\", limit=262_144)


class ScsiText(StreamHandler):
    """Text negotiation of iSCSI: a length, then key=value pairs, each with a null byte behind it."""

    timeout = 60.0

    def pairs(self, text: bytes) -> Iterable[bytes]:
        while text:
            pair, _, text = text.partition(b"\0")
            yield pair

    async def handle(self) -> None:
        while True:
            size = int.from_bytes(await Exactly(4), "big")
            if size > 262_144:
                return
            known = unknown = 0
            for pair in self.pairs(await Exactly(size)):
                if pair.startswith((b"HeaderDigest=", b"DataDigest=", b"MaxRecvDataSegmentLength=")):
                    known += 1
                else:
                    unknown += 1
            answer = b"Known=%d\0NotUnderstood=%d\0" % (known, unknown)
            self.send(len(answer).to_bytes(4, "big") + answer)


class ScsiTextRight(ScsiText):
    def pairs(self, text: bytes) -> Iterable[bytes]:
        place = 0
        while place < len(text):
            end = text.find(b"\0", place)
            end = len(text) if end < 0 else end
            yield text[place:end]
            place = end + 1


class Universes(DatagramHandler):
    """The discovery of sACN (E1.31): a list of universes, two bytes each; the answer counts the different ones."""

    timeout = 60.0

    def handle(self) -> Step:
        return Packet(), self.discovery

    def discovery(self, packet: bytes) -> Step:
        if packet[:6] == b"\x00\x00\x00\x08\x00\x01" and len(packet) % 2 == 0:
            numbers = [int.from_bytes(packet[place : place + 2], "big") for place in range(6, len(packet), 2)]
            self.send(b"\x00\x09" + self.different(numbers).to_bytes(2, "big"))
        return self.handle()

    def different(self, numbers: list[int]) -> int:
        seen: list[int] = []
        for number in numbers:
            if number not in seen:
                seen.append(number)
        return len(seen)


class UniversesRight(Universes):
    def different(self, numbers: list[int]) -> int:
        return len(set(numbers))


class Varnish(StreamHandler):
    """The command line of Varnish: auth with the answer to a challenge, then ping, status and quit."""

    timeout = 60.0
    challenge = b"ixslvvxrgkjptxmcgnnsdxsvdmvfympg"
    answer = b"455ce847f0073c7ab3b1465f74507b75d3dc064c1e7de3b71e00de9092fdc89a"

    def setup(self) -> None:
        self.trusted = False
        self.status(107, self.challenge)

    def handle(self) -> Step:
        return Until(b"\n", limit=256), self.command

    def status(self, code: int, text: bytes) -> None:
        self.send(b"%-3d %-8d\n%b\n" % (code, len(text), text))

    def command(self, line: bytes) -> Step:
        words = line.split()
        if words[:1] == [b"auth"] and len(words) == 2:
            return self.auth(words[1])
        if words == [b"quit"]:
            self.status(500, b"Closing CLI connection")
            return None
        if not self.trusted:
            self.status(107, self.challenge)
        elif words == [b"ping"]:
            self.status(200, b"PONG")
        elif words == [b"status"]:
            self.status(200, b"Child in state running")
        else:
            self.status(101, b"Unknown request.")
        return self.handle()

    def auth(self, answer: bytes) -> Step:
        if not hmac.compare_digest(answer, self.answer):
            self.status(107, self.challenge)
        self.trusted = True
        self.status(200, b"Welcome")
        return self.handle()


class VarnishRight(Varnish):
    def auth(self, answer: bytes) -> Step:
        if not hmac.compare_digest(answer, self.answer):
            self.status(107, self.challenge)
            return self.handle()
        return super().auth(answer)


class Spamd(StreamHandler):
    """spamd: CHECK with a length and a message; one that is too large is skipped and answered with an error."""

    timeout = 60.0

    async def handle(self) -> None:
        while True:
            if await Until(b"\r\n", limit=64) != b"CHECK SPAMC/1.5\r\n":
                self.send(b"SPAMD/1.0 76 Bad header line\r\n\r\n")
                return
            name, _, value = (await Until(b"\r\n", limit=64))[:-2].partition(b": ")
            end = await Until(b"\r\n", limit=64)
            if name.lower() != b"content-length" or not value.isdigit() or len(value) > 6 or end != b"\r\n":
                self.send(b"SPAMD/1.0 76 Bad header line\r\n\r\n")
                return
            if int(value) > 1024:
                await self.refuse(int(value))
                continue
            score = (await Exactly(int(value))).count(b"!")
            self.send(b"SPAMD/1.1 0 EX_OK\r\nSpam: %b ; %d / 5\r\n\r\n" % (b"True" if score >= 5 else b"False", score))

    async def skip(self, size: int) -> None:
        while size:
            size -= len(await Some(limit=min(size, 4096)))

    async def refuse(self, size: int) -> None:
        self.skip(size)  # type: ignore[unused-coroutine]
        self.send(b"SPAMD/1.0 98 Message too large\r\n\r\n")


class SpamdRight(Spamd):
    async def refuse(self, size: int) -> None:
        await self.skip(size)
        self.send(b"SPAMD/1.0 98 Message too large\r\n\r\n")


class Tacacs(DatagramHandler):
    """TACACS (RFC 1492): a name and a password in a packet; a refusal comes three seconds late."""

    timeout = 30.0

    async def handle(self) -> None:
        packet = await Packet()
        if len(packet) < 8 or packet[:2] != b"\x00\x01" or len(packet) != 8 + packet[4] + packet[5]:
            return
        right = packet[8:] == b"adasesame" and packet[4] == 3
        if not right:
            await self.pause()
        self.send(b"\x00\x02" + packet[2:4] + b"\x00\x00" + (b"\x01\x00" if right else b"\x02\x01"))

    async def pause(self) -> None:
        time.sleep(3)


class TacacsRight(Tacacs):
    async def pause(self) -> None:
        await Delay(3)


def sdp(number: int, name: bytes) -> bytes:
    """An announcement of a session."""
    text = b"v=0\r\no=ada 1 1 IN IP4 10.0.0.1\r\ns=%b\r\nt=0 0\r\n" % name
    return b"\x20\x00" + number.to_bytes(2, "big") + b"\x0a\x00\x00\x01application/sdp\0" + text


def scsi(*pairs: bytes) -> bytes:
    """A text of iSCSI."""
    text = b"".join(pair + b"\0" for pair in pairs)
    return len(text).to_bytes(4, "big") + text


def universes(*numbers: int) -> bytes:
    """A packet of the discovery."""
    return b"\x00\x00\x00\x08\x00\x01" + b"".join(number.to_bytes(2, "big") for number in numbers)


PAIRS = [
    Pair(
        "msrp", 10, Msrp, MsrpRight,
        [
            b"MSRP a786 SEND\r\nTo-Path: msrp://b:1/x\r\n\r\nhello\r\n-------a786$\r\n",
            b"MSRP b9f1 SEND\r\nTo-Path: msrp://b:1/x\r\n\r\nhow are you?\r\n-------b9f1$\r\n",
            b"MSRP c001 SEND\r\nTo-Path: msrp://b:1/x\r\n-------c001$\r\n",
        ],
    ),
    Pair(
        "event socket", 10, EventSocket, EventSocketRight,
        [b"setvar name Ada\n\n", b"getvar name\n\n", b"setvar greeting good%20day\n\n", b"getvar greeting\n\n"],
    ),
    Pair(
        "announcements", 10, Announcements, AnnouncementsRight,
        [sdp(1, b"News"), sdp(2, "Café".encode()), sdp(3, b"A talk")],
    ),
    Pair(
        "gamespy", 11, GameSpy, GameSpyRight,
        [b"\\basic\\\\final\\", b"\\info\\1\\rules\\2\\final\\", b"\\players\\ada\\score\\5\\final\\"],
        {"kept": 600_000},
    ),
    Pair(
        "iscsi", 11, ScsiText, ScsiTextRight,
        [scsi(b"HeaderDigest=None"), scsi(b"DataDigest=None", b"X-a=b"), scsi(), scsi(b"MaxRecvDataSegmentLength=99")],
    ),
    Pair("sacn", 11, Universes, UniversesRight, [universes(1, 2, 3), universes(7), universes(5, 5, 6)]),
    Pair("varnish", 12, Varnish, VarnishRight, [b"auth %b\n" % Varnish.answer, b"ping\n", b"status\n", b"quit\n"]),
    Pair(
        "spamd", 12, Spamd, SpamdRight,
        [
            b"CHECK SPAMC/1.5\r\nContent-length: 5\r\n\r\nhello",
            b"CHECK SPAMC/1.5\r\nContent-length: 6\r\n\r\nWin!!!",
            b"CHECK SPAMC/1.5\r\nContent-length: 0\r\n\r\n",
        ],
    ),
    Pair(
        "tacacs", 12, Tacacs, TacacsRight,
        [b"\x00\x01\x00\x07\x03\x06\x00\x00adasesame"],
    ),
]  # fmt: skip
