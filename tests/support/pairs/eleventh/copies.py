"""Pairs of the kind 8: datagrams that come again, and answers that come back."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Delay, FirstOf, Packet
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Step

PACKET = Packet()

# EFTP

PUP = struct.Struct(">HBBI6s6s")
PUP_MOST, PUP_SHELL = 554, 22
NO_CHECKSUM = b"\xff\xff"
DATA, ACK, END, ABORT, BOOT_REQUEST = 0o30, 0o31, 0o32, 0o33, 0o244
BLOCK = 512
RESEND_AFTER, TRIES = 2, 5
IMAGES = {1: bytes(range(256)) * 5, 2: b"\x60\x01" * 300}


class Eftp(DatagramHandler):
    """The boot server of the Alto: a file by EFTP, one block at a time (Boggs et al., "Pup", 1979; E. Taft, "EFTP")."""

    timeout = 30
    request_timeout = 120

    async def handle(self) -> None:
        kind, number, self.server_port, self.client_port, _ = self.parse(await PACKET)
        image = IMAGES.get(number)
        if kind != BOOT_REQUEST or image is None:
            return
        parts = [(DATA, image[at : at + BLOCK]) for at in range(0, len(image), BLOCK)]
        for sequence, (kind, block) in enumerate([*parts, (END, b"")]):
            await self.deliver(kind, sequence, block)
        self.put(END, len(parts) + 1)

    async def deliver(self, kind: int, sequence: int, block: bytes) -> None:
        """Send the block, again if need be, until the client has it."""
        for _ in range(TRIES):
            self.put(kind, sequence, block)
            if await self.is_acknowledged(sequence):
                return
        raise Malformed("no acknowledgement")

    async def is_acknowledged(self, sequence: int) -> bool:
        """Wait for the acknowledgement. False: the block must be sent again."""
        pause = Delay(RESEND_AFTER)
        while True:
            wait, packet = await FirstOf(PACKET, pause)
            if wait is pause:
                return False
            kind, identifier, *_ = self.parse(packet)
            if kind == ABORT:
                raise Malformed("aborted")
            if kind == ACK:
                return identifier == sequence

    def parse(self, packet: bytes) -> tuple[int, int, bytes, bytes, bytes]:
        """The type of a Pup, its identifier, where it goes to, where it comes from, and its contents."""
        if not PUP_SHELL <= len(packet) <= PUP_MOST or packet[-2:] != NO_CHECKSUM:
            return 0, 0, b"", b"", b""
        size, _, kind, identifier, to, sender = PUP.unpack_from(packet)
        if size != len(packet):
            return 0, 0, b"", b"", b""
        return kind, identifier, to, sender, packet[PUP.size : -2]

    def put(self, kind: int, identifier: int, contents: bytes = b"") -> None:
        head = PUP.pack(PUP_SHELL + len(contents), 0, kind, identifier, self.client_port, self.server_port)
        self.send(head + contents + NO_CHECKSUM)


class EftpRight(Eftp):
    """The boot server of the Alto: a file by EFTP, one block at a time (Boggs et al., "Pup", 1979; E. Taft, "EFTP")."""

    async def is_acknowledged(self, sequence: int) -> bool:
        """Wait for the acknowledgement. False: the block must be sent again."""
        pause = Delay(RESEND_AFTER)
        while True:
            wait, packet = await FirstOf(PACKET, pause)
            if wait is pause:
                return False
            kind, identifier, *_ = self.parse(packet)
            if kind == ABORT:
                raise Malformed("aborted")
            if kind == ACK and identifier == sequence:
                return True


# IAX2

FRAME = struct.Struct(">HHIBBBB")
FULL, AGAIN = 0x8000, 0x8000
DTMF, IAX, TEXT = 1, 6, 7
NEW, PING, PONG, IAX_ACK, HANGUP, ACCEPT, VNAK = 1, 2, 3, 4, 5, 7, 0x12
UNNUMBERED = (IAX_ACK, 0x0A, VNAK, 0x17, 0x18)
IE_CALLED, IE_VERSION, IE_FORMAT = 1, 0x0B, 9
ULAW = 4
OUR_CALL = 1
MAX_DIGITS = 24


class Iax(DatagramHandler):
    """One call of IAX2, which takes the number to dial as DTMF (RFC 5456)."""

    timeout = 60
    request_timeout = 600

    def setup(self) -> None:
        self.expected = self.sent = 0
        self.digits = b""
        self.last: bytes | None = None

    def handle(self) -> Step:
        return PACKET, self.first

    def first(self, packet: bytes) -> Step:
        if len(packet) < FRAME.size:
            return None
        source, destination, stamp, order, _, kind, subclass = FRAME.unpack_from(packet)
        if not source & FULL or destination or order or (kind, subclass) != (IAX, NEW):
            return None
        elements = self.elements(packet[FRAME.size :])
        if elements.get(IE_VERSION) != b"\x00\x02":
            return None
        self.their_call, self.expected = source & 0x7FFF, 1
        self.put(stamp, IAX, ACCEPT, struct.pack(">BBI", IE_FORMAT, 4, ULAW))
        return PACKET, self.frame

    def elements(self, data: bytes) -> dict[int, bytes]:
        """The information elements, by their types; none if they are malformed."""
        found, at = {}, 0
        while at + 2 <= len(data) and at + 2 + data[at + 1] <= len(data):
            found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + data[at + 1]
        return found if at == len(data) else {}

    def frame(self, packet: bytes) -> Step:
        if len(packet) < FRAME.size:
            return PACKET, self.frame
        source, destination, stamp, order, _, kind, subclass = FRAME.unpack_from(packet)
        destination &= ~AGAIN
        if source != FULL | self.their_call or destination not in (0, OUR_CALL):
            return PACKET, self.frame
        if (kind == IAX and subclass in UNNUMBERED) or not self.is_next(order, stamp):
            return PACKET, self.frame
        self.last = None
        if kind == DTMF and subclass == ord("#"):
            self.put(stamp, TEXT, 0, b"dialing " + self.digits)
            self.digits = b""
        elif kind == DTMF and subclass in b"0123456789*":
            self.digits = (self.digits + bytes([subclass]))[:MAX_DIGITS]
            self.acknowledge(stamp)
        elif (kind, subclass) == (IAX, PING):
            self.put(stamp, IAX, PONG)
        elif (kind, subclass) == (IAX, HANGUP):
            self.acknowledge(stamp)
            return None
        else:
            self.acknowledge(stamp)
        return PACKET, self.frame

    def is_next(self, order: int, stamp: int) -> bool:
        """Whether the frame with this number is to be done now."""
        self.expected = (order + 1) & 0xFF
        return True

    def put(self, stamp: int, kind: int, subclass: int, data: bytes = b"") -> None:
        """Send a frame that has a number of its own."""
        call = FULL | OUR_CALL
        self.last = FRAME.pack(call, self.their_call, stamp, self.sent, self.expected, kind, subclass) + data
        self.sent = (self.sent + 1) & 0xFF
        self.send(self.last)

    def acknowledge(self, stamp: int, subclass: int = IAX_ACK) -> None:
        self.send(FRAME.pack(FULL | OUR_CALL, self.their_call, stamp, self.sent, self.expected, IAX, subclass))


class IaxRight(Iax):
    """One call of IAX2, which takes the number to dial as DTMF (RFC 5456)."""

    def is_next(self, order: int, stamp: int) -> bool:
        """Whether the frame with this number is to be done now."""
        behind = (self.expected - order) & 0xFF
        if behind == 0:
            self.expected = (order + 1) & 0xFF
            return True
        if behind == 1 and self.last is not None:
            self.send(self.last)
        elif behind < 0x80:
            self.acknowledge(stamp)
        else:
            self.acknowledge(stamp, VNAK)
        return False


# GTP

GTP = struct.Struct(">BBHI")
GTP_OPTIONS = struct.Struct(">HBB")
VERSION_1, PROTOCOL_TYPE, OPTIONS, WITH_NUMBER = 1, 0x10, 0x07, 0x02
ECHO_REQUEST, ECHO_RESPONSE, NOT_SUPPORTED, ERROR_INDICATION, G_PDU = 1, 2, 3, 26, 255
ANSWERS = (ECHO_RESPONSE, NOT_SUPPORTED, ERROR_INDICATION)
RECOVERY, TUNNEL, ADDRESS = b"\x0e\x00", 0x10, b"\x85\x00\x04\xc0\x00\x02\x01"


class Gtp(DatagramHandler):
    """The path management of a node that has no tunnels: GTP-U, version 1 (3GPP TS 29.281)."""

    timeout = 30
    request_timeout = 600

    def handle(self) -> Step:
        return PACKET, self.message

    def message(self, packet: bytes) -> Step:
        if len(packet) < GTP.size:
            return self.handle()
        flags, kind, size, tunnel = GTP.unpack_from(packet)
        if flags >> 5 != VERSION_1:
            if kind not in ANSWERS:
                self.put(NOT_SUPPORTED, 0)
            return self.handle()
        if not flags & PROTOCOL_TYPE or size != len(packet) - GTP.size:
            return self.handle()
        number = 0
        if flags & OPTIONS:
            if size < GTP_OPTIONS.size:
                return self.handle()
            number = GTP_OPTIONS.unpack_from(packet, GTP.size)[0]
        if kind == ECHO_REQUEST:
            self.put(ECHO_RESPONSE, number, RECOVERY)
        elif kind == G_PDU:
            self.put(ERROR_INDICATION, 0, struct.pack(">BI", TUNNEL, tunnel) + ADDRESS)
        else:
            self.other(kind, number)
        return self.handle()

    def other(self, kind: int, number: int) -> None:
        """A message that is not for this node."""
        self.put(NOT_SUPPORTED, number)

    def put(self, kind: int, number: int, elements: bytes = b"") -> None:
        options = GTP_OPTIONS.pack(number, 0, 0)
        flags = VERSION_1 << 5 | PROTOCOL_TYPE | WITH_NUMBER
        self.send(GTP.pack(flags, kind, len(options) + len(elements), 0) + options + elements)


class GtpRight(Gtp):
    """The path management of a node that has no tunnels: GTP-U, version 1 (3GPP TS 29.281)."""

    def other(self, kind: int, number: int) -> None:
        """A message that is not for this node."""


def pup(kind: int, identifier: int) -> bytes:
    """A Pup of a booting Alto."""
    return PUP.pack(PUP_SHELL, 0, kind, identifier, b"\x01\x05\0\0\0\x04", b"\x01\x2a\0\0\x12\x34") + NO_CHECKSUM


def full(stamp: int, order: int, seen: int, kind: int, subclass: int, data: bytes = b"") -> bytes:
    """A full frame of a caller."""
    call = 0 if subclass == NEW and kind == IAX else OUR_CALL
    return FRAME.pack(FULL | 0x2A17, call, stamp, order, seen, kind, subclass) + data


PAIRS = [
    Pair("eftp", 8, Eftp, EftpRight, [
        pup(BOOT_REQUEST, 1), pup(ACK, 0), pup(ACK, 1), pup(ACK, 2), pup(ACK, 3),
    ]),
    Pair("iax", 8, Iax, IaxRight, [
        full(3, 0, 0, IAX, NEW, b"\x0b\x02\x00\x02\x01\x01s\x02\x03155\x06\x03ada"),
        full(3, 1, 1, IAX, IAX_ACK),
        full(520, 1, 1, DTMF, ord("4")),
        full(760, 2, 1, DTMF, ord("2")),
        full(980, 3, 1, DTMF, ord("0")),
        full(1500, 4, 1, DTMF, ord("#")),
        full(1500, 5, 2, IAX, IAX_ACK),
        full(2000, 5, 2, IAX, PING),
        full(2000, 6, 3, IAX, IAX_ACK),
        full(4100, 6, 3, IAX, HANGUP),
    ]),
    Pair("gtp-path", 8, Gtp, GtpRight, [
        b"\x40\x01\x00\x09\x00\x00\x03\x00\x03\x00\x01\x00\x07",
        b"\x32\x01\x00\x04\x00\x00\x00\x00\x00\x01\x00\x00",
        b"\x30\xff\x00\x14\x00\x00\x10\x2f" + bytes.fromhex("45000014000040004001b6e2c0000207c0000201"),
        b"\x32\x01\x00\x04\x00\x00\x00\x00\x00\x02\x00\x00",
    ]),
]  # fmt: skip
