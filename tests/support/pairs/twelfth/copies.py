"""Pairs of the kind 8: packets that come again, and a count that is kept for too long."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Delay, FirstOf, Packet
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Step

PACKET = Packet()

# TFTP

DATA, ACK, ERROR = 3, 4, 5
HEAD = struct.Struct(">HH")
READ = re.compile(rb"\x00\x01([!-~]{1,128})\0([a-zA-Z]{1,16})\0(?:[!-~]{1,32}\0[!-~]{1,32}\0){0,8}")  # options: ignored
BLOCK = 512
RESEND, TRIES = Delay(2), 5
FILES = {b"kernel": bytes(range(256)) * 5, b"boot.cfg": b"default kernel\ntimeout 5\n", b"zeros": bytes(1024)}


class Tftp(DatagramHandler):
    """Files to be read, one block at a time (RFC 1350)."""

    timeout = 30
    request_timeout = 120

    def handle(self) -> Step:
        return PACKET, self.request

    def request(self, packet: bytes) -> Step:
        matched = READ.fullmatch(packet)
        if matched is None or matched[2].lower() != b"octet":
            if packet[:2] in (b"\0\1", b"\0\2"):  # what is no request is not answered
                self.send(HEAD.pack(ERROR, 4) + b"only reading, in mode octet\0")
            return None
        self.file = FILES.get(matched[1])
        if self.file is None:
            self.send(HEAD.pack(ERROR, 1) + b"file not found\0")
            return None
        return self.deliver(1)

    def deliver(self, number: int) -> Step:
        """Send the block with this number, for the first time."""
        self.number, self.tries = number, 1
        self.put()
        return FirstOf(PACKET, RESEND), self.came

    def put(self) -> None:
        self.send(HEAD.pack(DATA, self.number) + self.file[(self.number - 1) * BLOCK : self.number * BLOCK])

    def came(self, result: tuple[object, bytes]) -> Step:
        wait, packet = result
        if wait is RESEND:
            if self.tries == TRIES:
                raise Malformed("no acknowledgement")
            self.tries += 1
            self.put()
        elif packet[:2] == b"\0\5":
            return None
        elif packet[:2] == b"\0\4" and len(packet) == HEAD.size:
            return self.acknowledged(HEAD.unpack(packet)[1])
        return FirstOf(PACKET, RESEND), self.came

    def acknowledged(self, number: int) -> Step:
        if number == self.number:
            return self.deliver(number + 1) if number * BLOCK <= len(self.file) else None
        if number == self.number - 1:  # it has not got this block
            self.put()
        return FirstOf(PACKET, RESEND), self.came


class TftpRight(Tftp):
    """Files to be read, one block at a time (RFC 1350)."""

    def acknowledged(self, number: int) -> Step:
        if number == self.number:
            return self.deliver(number + 1) if number * BLOCK <= len(self.file) else None
        return FirstOf(PACKET, RESEND), self.came


# CoAP

CONFIRMABLE, NON_CONFIRMABLE, ACKNOWLEDGEMENT, RESET = range(4)
GET, POST = 0x01, 0x02
CHANGED, CONTENT, BAD_REQUEST, BAD_OPTION, NOT_FOUND, NOT_ALLOWED = 0x44, 0x45, 0x80, 0x82, 0x84, 0x85
URI_HOST, URI_PORT, URI_PATH = 3, 7, 11
KEPT = 64


def extended(packet: bytes, at: int, nibble: int) -> tuple[int, int]:
    """The delta or the length of an option, and where what follows it begins."""
    if nibble == 15:
        raise Malformed("option")
    size = max(nibble - 12, 0)
    if at + size > len(packet):
        raise Malformed("option")
    return (nibble, 13, 269)[size] + int.from_bytes(packet[at : at + size], "big"), at + size


def options(packet: bytes, at: int) -> tuple[list[tuple[int, bytes]], bytes]:
    """The options, which begin at ``at``, and the payload."""
    found, number = [], 0
    while at < len(packet):
        if packet[at] == 0xFF:
            if at + 1 == len(packet):
                raise Malformed("no payload")
            return found, packet[at + 1 :]
        head = packet[at]
        delta, at = extended(packet, at + 1, head >> 4)
        size, at = extended(packet, at, head & 15)
        if at + size > len(packet):
            raise Malformed("option")
        number += delta
        found.append((number, packet[at : at + size]))
        at += size
    return found, b""


class Coap(DatagramHandler):
    """A meter of one client, /meter (RFC 7252): GET reads it, and POST adds the number that it has."""

    timeout = 247  # EXCHANGE_LIFETIME
    request_timeout = 3600

    def setup(self) -> None:
        self.meter = 0
        self.number = 0  # the message ID of what is not an acknowledgement
        self.answers: dict[bytes, bytes] = {}

    def handle(self) -> Step:
        return PACKET, self.message

    def message(self, packet: bytes) -> Step:
        if len(packet) < 4 or packet[0] >> 6 != 1:  # another version is ignored
            return self.handle()
        kind, code = packet[0] >> 4 & 3, packet[1]
        if kind in (CONFIRMABLE, NON_CONFIRMABLE):
            try:
                if not 1 <= code <= 31:
                    raise Malformed("no request")
                self.exchange(kind, packet)
            except Malformed:
                if kind == CONFIRMABLE:
                    self.send(bytes([0x70, 0]) + packet[2:4])
        return self.handle()

    def exchange(self, kind: int, packet: bytes) -> None:
        self.send(self.answer(kind, packet))

    def answer(self, kind: int, packet: bytes) -> bytes:
        """Do what the request says, and make the response to it."""
        size = packet[0] & 15
        token = packet[4 : 4 + size]
        if size > 8 or len(token) < size:
            raise Malformed("token")
        found, payload = options(packet, 4 + size)
        code, content = self.act(packet[1], found, payload)
        identifier = packet[2:4]
        if kind == NON_CONFIRMABLE:
            identifier = self.number.to_bytes(2, "big")
            self.number = (self.number + 1) % 65_536
        kind = ACKNOWLEDGEMENT if kind == CONFIRMABLE else NON_CONFIRMABLE
        return bytes([0x40 | kind << 4 | size, code]) + identifier + token + (b"\xff" + content if content else b"")

    def act(self, method: int, found: list[tuple[int, bytes]], payload: bytes) -> tuple[int, bytes]:
        if any(number % 2 and number not in (URI_HOST, URI_PORT, URI_PATH) for number, _ in found):
            return BAD_OPTION, b""
        if [value for number, value in found if number == URI_PATH] != [b"meter"]:
            return NOT_FOUND, b""
        if method == GET:
            return CONTENT, b"%d" % self.meter
        if method != POST:
            return NOT_ALLOWED, b""
        if re.fullmatch(rb"[0-9]{1,6}", payload) is None:
            return BAD_REQUEST, b"a number, please"
        self.meter += int(payload)
        return CHANGED, b"%d" % self.meter


class CoapRight(Coap):
    """A meter of one client, /meter (RFC 7252): GET reads it, and POST adds the number that it has."""

    def exchange(self, kind: int, packet: bytes) -> None:
        identifier = packet[2:4]
        if identifier in self.answers:  # RFC 7252, section 4.5
            if kind == CONFIRMABLE:
                self.send(self.answers[identifier])
            return
        self.answers[identifier] = answer = self.answer(kind, packet)
        if len(self.answers) > KEPT:
            del self.answers[next(iter(self.answers))]
        self.send(answer)


# Heartbeats: the echo of GTP-U

GTP = struct.Struct(">BBHIHBB")
ECHO_REQUEST, ECHO_RESPONSE = 1, 2
RECOVERY = b"\x0e\0"
SILENCE = Delay(20)  # T3-RESPONSE
MISSES = 3  # N3-REQUESTS


class Heartbeat(DatagramHandler):
    """The supervision of a path by echoes (GTP-U, 3GPP TS 29.281): it is down when too many in a row have no answer."""

    timeout = 60
    request_timeout = 3600

    def setup(self) -> None:
        self.missed = 0
        self.sequence = 0

    async def handle(self) -> None:
        self.beat(self.parse(await PACKET))
        while True:
            wait, packet = await FirstOf(PACKET, SILENCE)
            if wait is SILENCE:
                if self.missed == MISSES:
                    raise Malformed("the path is down")
                self.missed += 1
                self.sequence = (self.sequence + 1) % 65_536
                self.put(ECHO_REQUEST, self.sequence)
            else:
                self.beat(self.parse(packet))

    def beat(self, message: tuple[int, int]) -> None:
        """The other end is there."""
        kind, sequence = message
        if kind == ECHO_REQUEST:
            self.put(ECHO_RESPONSE, sequence, RECOVERY)

    def parse(self, packet: bytes) -> tuple[int, int]:
        """The type of the message and its sequence number."""
        if len(packet) < GTP.size:
            raise Malformed("length")
        flags, kind, size, tunnel, sequence, piece, extension = GTP.unpack_from(packet)
        if flags != 0x32 or tunnel or piece or extension or size != len(packet) - 8:
            raise Malformed("head")
        rest = packet[GTP.size :]
        if (kind, len(rest), rest[:1]) not in ((ECHO_REQUEST, 0, b""), (ECHO_RESPONSE, 2, b"\x0e")):
            raise Malformed("message")
        return kind, sequence

    def put(self, kind: int, sequence: int, rest: bytes = b"") -> None:
        self.send(GTP.pack(0x32, kind, 4 + len(rest), 0, sequence, 0, 0) + rest)


class HeartbeatRight(Heartbeat):
    """The supervision of a path by echoes (GTP-U, 3GPP TS 29.281): it is down when too many in a row have no answer."""

    def beat(self, message: tuple[int, int]) -> None:
        """The other end is there."""
        self.missed = 0
        super().beat(message)


def echo(sequence: int) -> bytes:
    return GTP.pack(0x32, ECHO_REQUEST, 4, 0, sequence, 0, 0)


def ack(number: int) -> bytes:
    return HEAD.pack(ACK, number)


PAIRS = [
    Pair(
        "tftp-read",
        8,
        Tftp,
        TftpRight,
        [
            b"\0\1kernel\0octet\0",
            *(ack(1), ack(2), ack(3)),
            b"\0\1boot.cfg\0octet\0tsize\x000\0",
            ack(1),
            b"\0\1missing\0octet\0",
            b"\0\1zeros\0octet\0",
            *(ack(1), ack(2), ack(3)),
        ],
    ),
    Pair(
        "coap-meter",
        8,
        Coap,
        CoapRight,
        [
            b"\x40\x01\x10\x01\xb5meter",
            b"\x42\x02\x10\x02ab\xb5meter\xff250",
            b"\x41\x02\x10\x03c\xb5meter\x10\xff30",
            b"\x51\x01\x10\x04d\x3ccoap.example\x85meter",
            b"\x40\x03\x10\x05\xb5meter\xff1",
            b"\x40\x01\x10\x06\xb5clock",
            b"\x40\x00\x10\x07",
            b"\x40\x01\x10\x08\xb5meter",
        ],
    ),
    Pair(
        "heartbeat",
        8,
        Heartbeat,
        HeartbeatRight,
        [echo(1), echo(2), GTP.pack(0x32, ECHO_RESPONSE, 6, 0, 0, 0, 0) + RECOVERY, echo(3), echo(4)],
    ),
]
