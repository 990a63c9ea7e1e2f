"""Pairs of the tenth set: what comes twice, late, or is sent again."""

from __future__ import annotations

import hmac
import re
import struct
import zlib

from handlers import DatagramHandler, Delay, Exactly, FirstOf, Packet, StreamHandler
from tests.support.pairs.pair import Malformed, Pair

MESSAGE = struct.Struct(">BBBBI16s16sI12s12s16s")
LEAVE_INVITE, LOOK_UP, DELETE, ANNOUNCE = range(4)
SUCCESS, NOT_HERE, FAILED, UNKNOWN_REQUEST, BAD_VERSION, BAD_ADDRESS, BAD_CONTROL = 0, 1, 2, 5, 6, 7, 8
WORD = re.compile(rb"([a-z][a-z0-9_-]{0,10})\x00+")
ADDRESS = b"\x00\x02\x04\xd2\xc0\x00\x02\x09" + bytes(8)


def talk(kind: int, caller: bytes, callee: bytes, number: int = 0) -> bytes:
    """A message of a client of `Ntalk`."""
    return MESSAGE.pack(1, kind, 0, 0, number, ADDRESS, ADDRESS, 311, caller, callee, b"")


class Ntalk(DatagramHandler):
    """The talk daemon of 4.3BSD (``protocols/talkd.h``): invitations are left, looked up and deleted."""

    timeout = 60.0
    most = 8

    def setup(self) -> None:
        self.invitations: dict[int, tuple[bytes, bytes, int, bytes]] = {}
        self.number = 0

    def invite(self, caller: bytes, callee: bytes, pid: int, address: bytes) -> tuple[int, int]:
        """The answer to an invitation, and its number."""
        if len(self.invitations) >= self.most:
            return FAILED, 0
        self.number = self.number % 0xFFFFFFFF + 1
        self.invitations[self.number] = (caller, callee, pid, address)
        return SUCCESS, self.number

    def look_up(self, caller: bytes, callee: bytes) -> tuple[int, int, bytes]:
        for number, held in self.invitations.items():
            if held[:2] == (callee, caller):
                return SUCCESS, number, held[3]
        return NOT_HERE, 0, bytes(16)

    def answer(self, packet: bytes) -> tuple[int, int, bytes]:
        """The answer, a number and an address."""
        version, kind, _, _, number, address, control, pid, caller, callee, _ = MESSAGE.unpack(packet)
        names = WORD.fullmatch(caller), WORD.fullmatch(callee)
        if version != 1:
            return BAD_VERSION, 0, bytes(16)
        if kind > ANNOUNCE:
            return UNKNOWN_REQUEST, 0, bytes(16)
        if address[:2] != b"\x00\x02" or control[:2] != b"\x00\x02":
            return BAD_CONTROL if address[:2] == b"\x00\x02" else BAD_ADDRESS, 0, bytes(16)
        if names[0] is None or names[1] is None:
            return FAILED, 0, bytes(16)
        if kind == LEAVE_INVITE:
            return *self.invite(names[0][1], names[1][1], pid, address), bytes(16)
        if kind == LOOK_UP:
            return self.look_up(names[0][1], names[1][1])
        if kind == DELETE and self.invitations.pop(number, None) is not None:
            return SUCCESS, number, bytes(16)
        return NOT_HERE, 0, bytes(16)

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) == MESSAGE.size and packet[2:4] == b"\x00\x00":
                answer, number, address = self.answer(packet)
                self.send(struct.pack(">BBBBI16s", 1, packet[1], answer, 0, number, address))


class NtalkRight(Ntalk):
    def invite(self, caller: bytes, callee: bytes, pid: int, address: bytes) -> tuple[int, int]:
        for number, held in self.invitations.items():
            if held == (caller, callee, pid, address):
                return SUCCESS, number
        return super().invite(caller, callee, pid, address)


COMMAND = re.compile(rb"[a-z][a-z0-9 ]{0,63}")
PASSWORD = re.compile(rb"[!-~]{1,32}")


def sealed(kind: int, data: bytes) -> bytes:
    """A packet of BattlEye."""
    content = bytes([0xFF, kind]) + data
    return b"BE" + zlib.crc32(content).to_bytes(4, "little") + content


class BattlEye(DatagramHandler):
    """The remote console of a game server (BERConProtocol): a login, commands with numbers, messages of the server.

    A message of the server is sent again every three seconds until the client says that it has it.
    """

    timeout = 45.0
    most_tries = 5

    def setup(self) -> None:
        self.is_open, self.refused = False, 0
        self.last, self.answer = 255, b""  # the number of the last command
        self.number, self.message, self.tries = 0, b"", 0

    def deliver(self, message: bytes) -> None:
        """Send a message, which is kept until the client has it."""
        self.message, self.tries = message, 0
        self.send(message)

    def again(self) -> bool:
        """Send the message again. False if the client has had its time."""
        self.tries += 1
        if self.tries > self.most_tries:
            return False
        self.send(self.message)
        return True

    async def packet(self) -> bytes | None:
        """The content of the next packet; ``None`` if the client is lost."""
        while True:
            wait = Packet()
            if self.message:
                got, packet = await FirstOf(wait, Delay(3))
                if got is not wait:
                    if not self.again():
                        return None
                    continue
            else:
                packet = await wait
            if len(packet) >= 8 and packet == sealed(packet[7], packet[8:]):
                return packet[7:]

    def log_in(self, password: bytes) -> None:
        if not PASSWORD.fullmatch(password):
            return
        is_right = hmac.compare_digest(password, b"swordfish")
        self.send(sealed(0, b"\x01" if is_right else b"\x00"))
        self.refused += not is_right
        if is_right and not self.is_open:
            self.is_open = True
            self.deliver(sealed(2, b"\x00RCon admin #0 logged in"))

    def command(self, number: int, text: bytes) -> None:
        if not COMMAND.fullmatch(text):
            return
        if number == (self.last + 1) % 256:
            said = {b"players": b"0 players in total", b"version": b"1.240"}.get(text, b"Unknown command")
            self.last, self.answer = number, sealed(1, bytes([number]) + said)
        if number == self.last and self.answer:
            self.send(self.answer)

    async def handle(self) -> None:
        while self.refused < 3:
            content = await self.packet()
            if content is None:
                return
            if content[0] == 0:
                self.log_in(content[1:])
            elif self.is_open and content[0] == 1 and len(content) > 2:
                self.command(content[1], content[2:])
            elif self.is_open and content == b"\x02\x00":
                self.message = b""


class BattlEyeBroken(BattlEye):
    def again(self) -> bool:
        self.tries += 1
        if self.tries > self.most_tries:
            return False
        self.deliver(self.message)
        return True


CONTENT = re.compile(rb"(?:[ -\"$-~]|#[#?-_])*")
FILE = re.compile(rb"[A-Z0-9_][A-Z0-9._-]{0,31}")


def block(number: int, kind: bytes, data: bytes = b"") -> bytes:
    """A packet of Kermit with a check of type 1."""
    body = bytes([len(data) + 35, number + 32]) + kind + data
    total = sum(body)
    return b"\x01%b%c\r" % (body, ((total + (total >> 6 & 3)) & 63) + 32)


class Kermit(StreamHandler):
    """The receiver of Kermit (da Cruz, Kermit Protocol Manual): S, then files, each F, D and Z, then B.

    A packet that is damaged, or not the one whose turn it is, is asked for again; the answer to the last packet is
    repeated when the packet is. The answer to Z says how many bytes have come.
    """

    timeout = 60.0
    request_timeout = 20.0
    most = 1 << 20

    def setup(self) -> None:
        self.number, self.answer = 0, b""  # of the packet whose turn it is; the answer to the one before
        self.may_come, self.size, self.bad = b"S", 0, 0

    async def packet(self) -> tuple[int, bytes, bytes] | None:
        """Number, kind and data of the next packet; ``None`` if it is damaged."""
        head = await Exactly(2)
        if head[0] != 1 or not 3 <= head[1] - 32 <= 94:
            raise Malformed("no packet")
        rest = await Exactly(head[1] - 31)
        if rest[-1:] != b"\r" or not 32 <= rest[0] < 96:
            raise Malformed("no packet")
        packet = block(rest[0] - 32, rest[1:2], rest[2:-2])
        return (rest[0] - 32, rest[1:2], rest[2:-2]) if packet == head + rest else None

    def is_next(self, number: int) -> bool:
        return number == self.number

    def take(self, kind: bytes, data: bytes) -> bytes | None:
        """The data of the answer to a packet whose turn it is; ``None`` if it is refused."""
        if kind not in (b"S", b"F", b"D", b"Z", b"B") or kind not in self.may_come:
            return None
        if kind == b"S":
            self.may_come = b"FB"
            is_known = 6 <= len(data) <= 16 and data[4:6] == b"-#" and data[7:8] in (b"", b"1")
            return b"~* @-#N1" if is_known else None
        if kind == b"F":
            self.may_come, self.size = b"DZ", 0
            return data if FILE.fullmatch(data) else None
        if kind == b"D":
            self.size += len(data) - len(re.findall(rb"#.", data))
            return b"" if CONTENT.fullmatch(data) and self.size <= self.most else None
        self.may_come = b"FB"
        if data:
            return None
        return b"%d" % self.size if kind == b"Z" else b""

    async def handle(self) -> None:
        while self.bad < 5:
            self.one_by_one += 1
            packet = await self.packet()
            if packet is not None and self.answer and packet[0] == (self.number - 1) % 64:
                self.send(self.answer)
                continue
            if packet is None or not self.is_next(packet[0]):
                self.bad += 1
                self.send(block(self.number, b"N"))
                continue
            number, kind, data = packet
            said = self.take(kind, data)
            if said is None:
                self.send(block(number, b"E", b"Unexpected packet"))
                return
            self.bad, self.number, self.answer = 0, (number + 1) % 64, block(number, b"Y", said)
            self.send(self.answer)
            if kind == b"B":
                return
        self.send(block(self.number, b"E", b"Too many bad packets"))


class KermitBroken(Kermit):
    def is_next(self, number: int) -> bool:
        return True


PAIRS = [
    Pair(
        "ntalk", 8, Ntalk, NtalkRight,
        [
            talk(LOOK_UP, b"ada", b"bob"),
            talk(LEAVE_INVITE, b"ada", b"bob"),
            talk(LOOK_UP, b"bob", b"ada"),
            talk(LEAVE_INVITE, b"ada", b"eve"),
            talk(DELETE, b"ada", b"bob", 1),
            talk(LOOK_UP, b"bob", b"ada"),
        ],
    ),
    Pair(
        "battleye", 8, BattlEyeBroken, BattlEye,
        [
            sealed(0, b"swordfish"),
            sealed(2, b"\x00"),
            sealed(1, b"\x00players"),
            sealed(1, b"\x01version"),
            sealed(1, b"\x01version"),
            sealed(1, b"\x02kick all"),
        ],
    ),
    Pair(
        "kermit", 8, KermitBroken, Kermit,
        [
            block(0, b"S", b"~* @-#N1"),
            block(1, b"F", b"NOTES.TXT"),
            block(2, b"D", b"Dear Ada,#M#J"),
            block(2, b"D", b"Dear Ada,#M#J"),
            block(3, b"D", b"no. ## 3#M#J"),
            block(4, b"Z"),
            block(5, b"B"),
        ],
    ),
]  # fmt: skip
