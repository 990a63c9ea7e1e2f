"""Pairs of the eighth set: swallowed causes, what came in the same read; and logins."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from handlers import Cause, DatagramHandler, Delay, Exactly, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from handlers.handler import Step


class Malformed(Exception):
    """The message can't be read."""


def skinny(kind: int, content: bytes = b"") -> bytes:
    """A message of SCCP."""
    return (len(content) + 4).to_bytes(4, "little") + b"\0\0\0\0" + kind.to_bytes(4, "little") + content


class Sccp(StreamHandler):
    """A call manager for Skinny phones: they register, keep alive and ask for the time."""

    timeout = 60.0
    request_timeout = 20.0

    def setup(self) -> None:
        self.name = b""

    def handle(self) -> Step:
        self.one_by_one += 1
        return Exactly(12), self.header

    def header(self, data: bytes) -> Step:
        self.kind, size = int.from_bytes(data[8:], "little"), int.from_bytes(data[:4], "little")
        if not 4 <= size <= 2048 or data[4:8] != b"\0\0\0\0":
            return None
        return Exactly(size - 4), self.message

    def message(self, content: bytes) -> Step:
        if self.kind == 0x0001 and len(content) >= 16:
            self.name = content[:16].rstrip(b"\0")
            self.send(skinny(0x0081, b"\x1e\0\0\0M/D/YA\0\0\x1e\0\0\0"))
        elif self.kind == 0x0000:
            self.send(skinny(0x0100))
        elif self.kind == 0x000D and self.name:
            self.send(skinny(0x0094, (2026).to_bytes(4, "little") + (11).to_bytes(4, "little")))
        elif self.kind == 0x0027:
            self.send(skinny(0x0118, b"\0\0\0\0"))
            return None
        else:
            self.send(skinny(0x009D, self.name))
        return self.handle()

    def interrupted(self, cause: Cause) -> Step:
        self.name = b""
        return self.handle()


class SccpRight(Sccp):
    def interrupted(self, cause: Cause) -> Step:
        return None


def doip(kind: int, content: bytes) -> bytes:
    """A message of DoIP."""
    return b"\x02\xfd" + kind.to_bytes(2, "big") + len(content).to_bytes(4, "big") + content


class DoIp(StreamHandler):
    """A gateway to a car (ISO 13400-2): routing is activated, then UDS requests go to the one ECU."""

    timeout = 60.0
    request_timeout = 60.0

    async def handle(self) -> None:
        tester = b""
        while True:
            self.one_by_one += 1
            header = await Exactly(8)
            kind, size = int.from_bytes(header[2:4], "big"), int.from_bytes(header[4:], "big")
            if header[:2] != b"\x02\xfd" or size > 4096:
                self.send(doip(0x0000, b"\x00" if header[:2] != b"\x02\xfd" else b"\x02"))
                return
            try:
                content = await Exactly(size, timeout=10)
            except TimedOut:
                self.send(doip(0x0000, b"\x04"))
                if self.is_over():
                    return
                continue
            if kind == 0x0005 and size in (7, 11):
                tester = content[:2]
                self.send(doip(0x0006, tester + b"\x10\x01\x10\0\0\0\0"))
            elif kind == 0x8001 and size > 4 and tester and content[:2] == tester:
                self.send(doip(0x8002, b"\x10\x01" + tester + b"\0"))
                reply = b"\x7e\x00" if content[4:] == b"\x3e\x00" else b"\x7f" + content[4:5] + b"\x11"
                self.send(doip(0x8001, b"\x10\x01" + tester + reply))
            elif kind == 0x8001 and size > 4:
                self.send(doip(0x8003, b"\x10\x01" + content[:2] + b"\x02"))
            else:
                self.send(doip(0x0000, b"\x01"))

    def is_over(self) -> bool:
        """Whether a message that does not come ends the connection."""
        return False


class DoIpRight(DoIp):
    def is_over(self) -> bool:
        return True


class AppleMidi(DatagramHandler):
    """RTP-MIDI as Apple has it: an invitation, then the exchange of clocks; a silent peer is asked for its clock."""

    silence: type[Cause] = Cause
    me = b"\x00\x00\x00\x07"

    async def handle(self) -> None:
        peer, asked = b"", 0
        while asked < 4:
            try:
                packet = await Packet(timeout=20)
            except self.silence:
                asked += 1
                self.send(b"\xff\xffCK" + self.me + b"\0" * 28)
                continue
            asked = 0
            if packet[:2] != b"\xff\xff" or len(packet) < 8:
                continue
            if packet[2:4] == b"IN" and len(packet) >= 17 and packet[4:8] == b"\0\0\0\2" and packet[-1:] == b"\0":
                peer = packet[12:16]
                self.send(b"\xff\xffOK\0\0\0\2" + packet[8:12] + self.me + b"synth\0")
            elif packet[2:4] == b"CK" and len(packet) == 36 and peer and packet[4:8] == peer and packet[8] == 0:
                self.send(b"\xff\xffCK" + self.me + b"\1\0\0\0" + packet[12:20] + b"\0" * 16)
            elif packet[2:4] == b"BY" and len(packet) == 16 and packet[12:16] == peer:
                return
        self.send(b"\xff\xffBY\0\0\0\2\0\0\0\0" + self.me)


class AppleMidiRight(AppleMidi):
    silence = TimedOut


def civ(*content: int) -> bytes:
    """A frame of CI-V from the controller to the radio."""
    return bytes([0xFE, 0xFE, 0x94, 0xE0, *content, 0xFD])


class CiV(StreamHandler):
    """A radio with Icom's CI-V: 03 asks for the frequency, 05 sets it, 04 asks for the mode."""

    timeout = 60.0

    def setup(self) -> None:
        self.rest = b""
        self.frequency = b"\x00\x00\x25\x14\x00"

    async def handle(self) -> None:
        while True:
            *frames, self.rest = (self.rest + await Some(limit=512)).split(b"\xfd")
            if len(self.rest) > 32:
                return
            answers = b""
            for frame in frames:
                content = self.answer(frame)
                if content is None:
                    self.send(b"\xfe\xfe\xe0\x94\xfa\xfd")
                else:
                    answers += b"\xfe\xfe\xe0\x94" + content + b"\xfd"
            self.send(answers)

    def answer(self, frame: bytes) -> bytes | None:
        if frame == b"\xfe\xfe\x94\xe0\x03":
            return b"\x03" + self.frequency
        if frame == b"\xfe\xfe\x94\xe0\x04":
            return b"\x04\x01\x01"
        digits = frame[5:].hex()
        if frame[:5] == b"\xfe\xfe\x94\xe0\x05" and len(digits) == 10 and digits.isdigit():
            self.frequency = frame[5:]
            return b"\xfb"
        return None


class CiVRight(CiV):
    async def handle(self) -> None:
        while True:
            content = self.answer((await Until(b"\xfd", limit=32))[:-1])
            self.send(b"\xfe\xfe\xe0\x94" + (b"\xfa" if content is None else content) + b"\xfd")


def iso(message: bytes) -> bytes:
    """A message of ISO 8583 behind its length."""
    return len(message).to_bytes(2, "big") + message


class Iso8583(StreamHandler):
    """An acquirer's host (ISO 8583): 0800 is a network test, 0200 a purchase, whose amount is answered."""

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.buffer = bytearray()

    def handle(self) -> Step:
        return Some(limit=4096), self.first

    def first(self, data: bytes) -> Step:
        return self.more(data)

    def is_too_long(self) -> bool:
        return len(self.buffer) > 514

    def more(self, data: bytes) -> Step:
        self.buffer += data
        if self.is_too_long():
            return None
        while len(self.buffer) >= 2:
            size = int.from_bytes(self.buffer[:2], "big")
            if not 20 <= size <= 512:
                return None
            if len(self.buffer) < 2 + size:
                break
            message = bytes(self.buffer[2 : 2 + size])
            del self.buffer[: 2 + size]
            self.one_by_one += 1
            self.message(message)
        return Some(limit=4096), (self.more if self.buffer else self.first)

    def message(self, message: bytes) -> None:
        kind, bitmap, fields = message[:4], message[4:20], message[20:]
        if kind == b"0800" and bitmap == b"0020000000000000" and len(fields) == 6:
            self.send(iso(b"08100020000002000000" + fields + b"00"))
        elif kind == b"0200" and bitmap == b"1020000000000000" and len(fields) == 18 and fields.isdigit():
            self.send(iso(b"02101020000002000000" + fields + b"00"))
        else:
            self.send(iso(b"08100000000002000000" + b"30"))


class Iso8583Right(Iso8583):
    def is_too_long(self) -> bool:
        return False


class Visca(StreamHandler):
    """A camera with VISCA over TCP: commands are acknowledged and completed, inquiries answered."""

    timeout = 60.0

    def setup(self) -> None:
        self.buffer = b""
        self.zoom = b"\0\0\0\0"

    async def frame(self) -> bytes:
        while b"\xff" not in self.buffer:
            if len(self.buffer) > 16:
                raise Cause("a frame that is too long")
            self.buffer += await Some(limit=16)
        frame, self.buffer = self.buffer.partition(b"\xff")[0], b""
        return frame

    async def handle(self) -> None:
        while True:
            frame = await self.frame()
            if frame == b"\x81\x09\x04\x47":
                self.send(b"\x90\x50" + self.zoom + b"\xff")
            elif frame[:4] == b"\x81\x01\x04\x47" and len(frame) == 8 and max(frame[4:]) < 16:
                self.zoom = frame[4:]
                self.send(b"\x90\x41\xff\x90\x51\xff")
            elif frame == b"\x81\x01\x04\x00\x02":
                self.send(b"\x90\x41\xff\x90\x51\xff")
            else:
                self.send(b"\x90\x60\x02\xff")


class ViscaRight(Visca):
    async def frame(self) -> bytes:
        return (await Until(b"\xff", limit=17))[:-1]


def sentence(*words: bytes) -> bytes:
    """A sentence of the API of RouterOS, of short words."""
    return b"".join(bytes([len(word)]) + word for word in (*words, b""))


class RouterOs(StreamHandler):
    """The API of RouterOS: sentences of words with their lengths before them; /login, then questions."""

    timeout = 60.0
    request_timeout = 30.0
    guarded: tuple[bytes, ...] = (b"/system/", b"/user/", b"/file/")

    async def sentence(self) -> list[bytes]:
        words: list[bytes] = []
        while size := (await Exactly(1))[0]:
            if size >= 0x80 or len(words) == 16:
                raise Malformed
            words.append(await Exactly(size))
        return words

    async def handle(self) -> None:
        is_known, failures = False, 0
        while failures < 3:
            self.one_by_one += 1
            try:
                words = await self.sentence()
            except Malformed:
                self.send(sentence(b"!fatal", b"malformed"))
                return
            command = words[0] if words else b""
            if command == b"/login":
                is_known = words[1:] == [b"=name=admin", b"=password=secret"]
                failures += not is_known
                self.send(sentence(b"!done") if is_known else sentence(b"!trap", b"=message=invalid user or password"))
            elif command == b"/quit":
                self.send(sentence(b"!fatal", b"session terminated"))
                return
            elif command.startswith(self.guarded) and not is_known:
                self.send(sentence(b"!fatal", b"not logged in"))
                return
            elif command == b"/system/identity/print":
                self.send(sentence(b"!re", b"=name=edge") + sentence(b"!done"))
            elif command == b"/ip/address/print":
                self.send(sentence(b"!re", b"=address=192.0.2.1/24", b"=interface=ether1") + sentence(b"!done"))
            else:
                self.send(sentence(b"!trap", b"=message=no such command"))


class RouterOsRight(RouterOs):
    guarded = (b"",)


POOL = ThreadPoolExecutor(max_workers=2)


def authenticate(user: bytes, password: bytes) -> bool:
    """What PAM does: a failure takes its time."""
    if (user, password) == (b"nuucp", b"secret"):
        return True
    time.sleep(2.5)
    return False


class Uucp(StreamHandler):
    """UUCP over TCP: a login as at a terminal, then the greeting of uucico and the protocols that it has."""

    timeout = 30.0
    request_timeout = 120.0

    def handle(self) -> Step:
        self.send(b"login: ")
        return Until(b"\n", limit=64), self.user

    def user(self, data: bytes) -> Step:
        self.name = data.strip()
        self.send(b"Password:")
        return Until(b"\n", limit=64), self.password

    def password(self, data: bytes) -> Any:
        if POOL.submit(authenticate, self.name, data.strip()).result():
            return self.welcome()
        self.send(b"Login incorrect\n")
        return None

    def welcome(self) -> Step:
        self.send(b"\x10Shere=hub\0")
        return Until(b"\0", limit=128), self.called

    def called(self, data: bytes) -> Step:
        if not re.fullmatch(rb"\x10S[a-z0-9]{1,8}( -[A-Za-z0-9=]{1,16}){0,4}\0", data):
            self.send(b"\x10RYou are unknown to me\0")
            return None
        self.send(b"\x10ROK\0\x10Pgit\0")
        return Until(b"\0", limit=16), self.chosen

    def chosen(self, data: bytes) -> Step:
        self.send(b"\x10OOOOOO\0" if data in (b"\x10Ug\0", b"\x10Ui\0", b"\x10Ut\0") else b"\x10UN\0")
        return None


class UucpRight(Uucp):
    def password(self, data: bytes) -> Step | Coroutine[Any, Any, Step]:
        return self.welcome() if (self.name, data.strip()) == (b"nuucp", b"secret") else self.refuse()

    async def refuse(self) -> Step:
        await Delay(2.5)
        self.send(b"Login incorrect\n")
        return None


PAIRS = [
    Pair(
        "sccp", 5, Sccp, SccpRight,
        [skinny(1, b"SEP0013\0\0\0\0\0\0\0\0\0"), skinny(0x0D), skinny(0), skinny(0x0D), skinny(0x27, b"\0\0\0\0")],
    ),
    Pair(
        "doip", 5, DoIp, DoIpRight,
        [
            doip(0x0005, b"\x0e\x80\0\0\0\0\0"),
            doip(0x8001, b"\x0e\x80\x10\x01\x3e\x00"),
            doip(0x8001, b"\x0e\x80\x10\x01\x22\xf1\x90"),
        ],
    ),
    Pair(
        "apple-midi", 5, AppleMidi, AppleMidiRight,
        [
            b"\xff\xffIN\0\0\0\2\x11\x22\x33\x44\0\0\0\x09pad\0",
            b"\xff\xffCK\0\0\0\x09\0\0\0\0" + b"\0\0\0\0\0\0\x10\x01" + b"\0" * 16,
            b"\xff\xffCK\0\0\0\x09\2\0\0\0" + b"\0\0\0\0\0\0\x10\x01" * 3,
            b"\xff\xffBY\0\0\0\2\0\0\0\0\0\0\0\x09",
        ],
    ),
    Pair("ci-v", 6, CiV, CiVRight, [civ(3), civ(5, 0, 0, 7, 7, 0), civ(3), civ(4)]),
    Pair(
        "iso-8583", 6, Iso8583, Iso8583Right,
        [
            iso(b"08000020000000000000000001"),
            iso(b"02001020000000000000000000001250000002"),
            iso(b"02001020000000000000000000099900000003"),
        ],
    ),
    Pair(
        "visca", 6, Visca, ViscaRight,
        [b"\x81\x09\x04\x47\xff", b"\x81\x01\x04\x47\x01\x02\x03\x04\xff", b"\x81\x09\x04\x47\xff"],
    ),
    Pair(
        "router-os", 12, RouterOs, RouterOsRight,
        [
            sentence(b"/login", b"=name=admin", b"=password=secret"),
            sentence(b"/system/identity/print"),
            sentence(b"/ip/address/print"),
            sentence(b"/quit"),
        ],
    ),
    Pair("uucp", 12, Uucp, UucpRight, [b"nuucp\n", b"secret\n", b"\x10Sleaf -Q0 -N07\0", b"\x10Ut\0"]),
]  # fmt: skip
