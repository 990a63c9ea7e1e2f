"""Handlers for binary streams, each in a right and a broken version: netstrings, SOCKS, MQTT, DNS, heartbeats.

A broken class has one fault, which its docstring names. See `thirty` for the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import Exactly, Some, StreamHandler, Until

if TYPE_CHECKING:
    from handlers import Step


class Netstrings(StreamHandler):
    """Each netstring is answered in upper case."""

    timeout = 30.0

    def handle(self) -> Step:
        return Until(b":", limit=7), self.length

    def length(self, digits: bytes) -> Step:
        try:
            size = self.number(digits[:-1])
        except ValueError:
            size = -1
        if not 0 <= size <= 1000:
            self.send(b"10:bad length,")
            return None
        return Exactly(size + 1), self.payload

    def number(self, digits: bytes) -> int:
        if not digits.isdigit() or (digits[:1] == b"0" and digits != b"0"):
            raise ValueError(digits)
        return int(digits)

    def payload(self, data: bytes) -> Step:
        if data[-1:] != b",":
            self.send(b"13:comma missing,")
            return None
        self.send(b"%d:%b," % (len(data) - 1, data[:-1].upper()))
        return self.handle()


class NetstringsLax(Netstrings):
    """A length is whatever `int` takes: ``+5``, ``1_0``, `` 5``. Other parsers see other bounds of messages."""

    def number(self, digits: bytes) -> int:
        return int(digits)


class Socks(StreamHandler):
    """SOCKS5 that says whether the destination is allowed, and does not connect."""

    timeout = 10.0

    async def handle(self) -> None:
        version, count = await Exactly(2)
        if version != 5:
            return
        if 0 not in await Exactly(count):
            self.send(b"\x05\xff")
            return
        self.send(b"\x05\x00")
        version, command, _, kind = await Exactly(4)
        if version != 5 or command != 1:
            self.answer(7)
        elif kind not in (1, 3, 4):
            self.answer(8)
        else:
            address = await self.destination(kind)
            self.answer(1 if address is None else 0 if address[-2:] == b"\x00\x50" else 2)

    async def destination(self, kind: int) -> bytes | None:
        """The address and the port; ``None`` if it is malformed."""
        size = {1: 4, 4: 16}.get(kind) or (await Exactly(1))[0]
        return await Exactly(size + 2) if size else None

    def answer(self, code: int) -> None:
        self.send(bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))


class SocksOneRead(Socks):
    """The address is taken to come in one piece."""

    async def destination(self, kind: int) -> bytes | None:
        rest = await Some(258)
        size = {1: 4, 4: 16}.get(kind) or 1 + rest[0]
        return rest if len(rest) == size + 2 > 3 else None


class Mqtt(StreamHandler):
    """A broker of MQTT 3.1.1 without subscribers. It closes the connection of a client that breaks the rules."""

    timeout = 90.0
    connected = False

    def handle(self) -> Step:
        return Exactly(1), self.first

    def first(self, byte: bytes) -> Step:
        self.kind, self.size, self.shift = byte[0], 0, 0
        return Exactly(1), self.length

    def length(self, byte: bytes) -> Step:
        self.size |= (byte[0] & 127) << self.shift
        self.shift += 7
        if byte[0] & 128:
            return None if self.is_too_long() else (Exactly(1), self.length)
        return None if self.size > 2000 else (Exactly(self.size), self.body)

    def is_too_long(self) -> bool:
        return self.shift >= 28

    def body(self, body: bytes) -> Step:
        topic = int.from_bytes(body[:2], "big")
        if self.kind == 0x10 and not self.connected and body[:7] == b"\x00\x04MQTT\x04":
            self.connected = True
            self.send(b"\x20\x02\x00\x00")
        elif self.connected and self.kind == 0xC0 and not body:
            self.send(b"\xd0\x00")
        elif self.connected and self.kind == 0x32 and len(body) >= topic + 4 and any(body[2 + topic : 4 + topic]):
            self.send(b"\x40\x02" + body[2 + topic : 4 + topic])
        else:  # DISCONNECT, or a mistake
            return None
        return self.handle()


class MqttEndless(Mqtt):
    """The bytes of a remaining length are not counted: there may be any number of them, for a number of any size."""

    def is_too_long(self) -> bool:
        return False


class DnsMalformed(Exception):
    """The query can't be read."""


class Dns(StreamHandler):
    """Queries of DNS over TCP. Names in ``example`` are known and have no records, others are refused."""

    timeout = 10.0

    def handle(self) -> Step:
        return Exactly(2), self.length

    def length(self, size: bytes) -> Step:
        n = int.from_bytes(size, "big")
        return (Exactly(n), self.query) if 12 <= n <= 512 else None

    def query(self, message: bytes) -> Step:
        if message[2] & 0x80:
            return None  # a response
        try:
            names, place = [], 12
            for _ in range(min(int.from_bytes(message[4:6], "big"), 5)):
                labels, place = self.name(message, place)
                place += 4
                names.append(labels)
            if not 0 < len(names) < 5 or place > len(message):
                raise DnsMalformed
            code = 0 if all(labels[-1:] == [b"example"] for labels in names) else 5
        except DnsMalformed:
            code = 1
        self.send(b"\x00\x0c" + message[:2] + bytes([0x80 | message[2] & 0x79, code]) + bytes(8))
        return self.handle()

    def name(self, message: bytes, place: int) -> tuple[list[bytes], int]:
        """The labels of the name at ``place``, and where it ends."""
        labels: list[bytes] = []
        end, lowest = 0, place
        while place < len(message):
            size = message[place]
            if size >= 0xC0:
                target = int.from_bytes(message[place : place + 2], "big") & 0x3FFF
                self.check_jump(target, lowest)
                end, place, lowest = end or place + 2, target, target
            elif size == 0:
                return labels, end or place + 1
            elif size > 63 or len(labels) > 127:
                raise DnsMalformed
            else:
                labels.append(message[place + 1 : place + 1 + size].lower())
                place += 1 + size
        raise DnsMalformed

    def check_jump(self, target: int, lowest: int) -> None:
        if target >= lowest:
            raise DnsMalformed


class DnsLoop(Dns):
    """A pointer to itself is followed for ever."""

    def check_jump(self, target: int, lowest: int) -> None:
        pass


class Heartbeat(StreamHandler):
    """Records with a heartbeat (RFC 6520), whose payload is sent back. Anything else gets an alert."""

    timeout = 60.0

    def handle(self) -> Step:
        return Exactly(2), self.length

    def length(self, size: bytes) -> Step:
        n = int.from_bytes(size, "big")
        return (Exactly(n), self.record) if 3 <= n <= 1024 else self.alert()

    def record(self, record: bytes) -> Step:
        size = int.from_bytes(record[1:3], "big")
        if record[0] != 1 or not self.is_inside(size, record):
            return self.alert()
        self.send((size + 3).to_bytes(2, "big") + b"\x02" + record[1:3] + self.payload(size, record))
        return self.handle()

    def is_inside(self, size: int, record: bytes) -> bool:
        return 3 + size <= len(record)

    def payload(self, size: int, record: bytes) -> bytes:
        return record[3 : 3 + size]

    def alert(self) -> Step:
        self.send(b"\x00\x01\x03")
        return None


class HeartbeatBleed(Heartbeat):
    """The size of the payload is trusted: the rest comes from the buffer, where another client's record was."""

    buffer = bytearray(1024)

    def is_inside(self, size: int, record: bytes) -> bool:
        return 3 + size <= len(self.buffer)

    def payload(self, size: int, record: bytes) -> bytes:
        self.buffer[: len(record)] = record
        return bytes(self.buffer[3 : 3 + size])
