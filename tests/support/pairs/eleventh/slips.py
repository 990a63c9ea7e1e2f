"""Pairs of the kind 12: steps, coroutines and calls."""

from __future__ import annotations

import re
import struct
import time
from typing import TYPE_CHECKING

from handlers import Delay, Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Step

# NBD

NBD_MAGIC, OLD_STYLE = b"NBDMAGIC", 0x00420281861253
REQUEST = struct.Struct(">IHHQQI")
REPLY = struct.Struct(">IIQ")
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
HAS_FLAGS, SEND_FLUSH = 1, 4
READ, WRITE, DISCONNECT, FLUSH = range(4)
DISK_SIZE, MAX_PAYLOAD = 32_768, 8192
OK, EINVAL, ENOSPC = 0, 22, 28


class Nbd(StreamHandler):
    """A small disk for each connection: the network block device, simple replies (NBD protocol, proto.md)."""

    timeout = 120
    request_timeout = 30

    async def handle(self) -> None:
        self.disk = bytearray(DISK_SIZE)
        self.send(NBD_MAGIC + struct.pack(">QQI", OLD_STYLE, DISK_SIZE, HAS_FLAGS | SEND_FLUSH) + bytes(124))
        while True:
            self.one_by_one += 1
            magic, flags, kind, cookie, offset, size = REQUEST.unpack(await Exactly(REQUEST.size))
            if magic != REQUEST_MAGIC or flags or size > MAX_PAYLOAD:
                raise Malformed("no request")
            if kind == DISCONNECT:
                return
            if kind == WRITE:
                await self.write(cookie, offset, size)
            elif kind == READ and offset + size <= DISK_SIZE:
                self.reply(OK, cookie, bytes(self.disk[offset : offset + size]))
            else:
                self.reply(OK if kind == FLUSH else EINVAL, cookie)

    def reply(self, error: int, cookie: int, data: bytes = b"") -> None:
        self.send(REPLY.pack(REPLY_MAGIC, error, cookie) + data)

    async def write(self, cookie: int, offset: int, size: int) -> None:
        """Write what follows to the disk."""
        if offset + size > DISK_SIZE:
            self.skip(size)
            self.reply(ENOSPC, cookie)
            return
        self.disk[offset : offset + size] = await Exactly(size)
        self.reply(OK, cookie)

    async def skip(self, size: int) -> None:
        """Drop what follows."""
        await Exactly(size)


class NbdRight(Nbd):
    """A small disk for each connection: the network block device, simple replies (NBD protocol, proto.md)."""

    async def write(self, cookie: int, offset: int, size: int) -> None:
        """Write what follows to the disk."""
        if offset + size > DISK_SIZE:
            await self.skip(size)
            self.reply(ENOSPC, cookie)
            return
        self.disk[offset : offset + size] = await Exactly(size)
        self.reply(OK, cookie)


# NUT

LINE = Until(b"\n", limit=512)
WORDS = re.compile(rb"[!-~]{1,64}(?: [!-~]{1,64}){0,3}")
DEVICES = {
    b"rack": {b"battery.charge": b"100", b"battery.runtime": b"2640", b"ups.status": b"OL"},
    b"desk": {b"battery.charge": b"64", b"ups.status": b"OB DISCHRG"},
}
USERS = {b"monitor": b"sesame"}


class Nut(StreamHandler):
    """A server of two UPS: Network UPS Tools (RFC 9271)."""

    timeout = 60

    def setup(self) -> None:
        self.user = self.password = b""

    def handle(self) -> Step:
        return LINE, self.command

    def command(self, line: bytes) -> Step:
        if WORDS.fullmatch(line[:-1]) is None:
            return self.error(b"INVALID-ARGUMENT")
        match line[:-1].split(b" "):
            case [b"VER"]:
                return self.say(b"Network UPS Tools upsd 2.8.1 - https://www.networkupstools.org/")
            case [b"USERNAME", user]:
                self.user = user
                return self.say(b"OK")
            case [b"PASSWORD", password]:
                self.password = password
                return self.say(b"OK")
            case [b"LOGIN", name]:
                return self.login(name)
            case [b"LIST", b"UPS"]:
                return self.listed(b"UPS", [b'UPS %b "unit %b"' % (name, name) for name in DEVICES])
            case [b"LIST", b"VAR", name]:
                found = DEVICES.get(name)
                if found is None:
                    return self.error(b"UNKNOWN-UPS")
                return self.listed(b"VAR " + name, [b'VAR %b %b "%b"' % (name, *pair) for pair in found.items()])
            case [b"GET", b"VAR", name, variable]:
                return self.variable(name, variable)
            case [b"LOGOUT"]:
                self.send(b"OK Goodbye\n")
                return None
        return self.error(b"UNKNOWN-COMMAND")

    def login(self, name: bytes) -> Step:
        if name not in DEVICES:
            return self.error(b"UNKNOWN-UPS")
        if not self.password or USERS.get(self.user) != self.password:
            return self.error(b"ACCESS-DENIED")
        return self.say(b"OK")

    def variable(self, name: bytes, variable: bytes) -> Step:
        """Answer with the value of a variable."""
        if name not in DEVICES:
            return self.error(b"UNKNOWN-UPS")
        value = DEVICES[name].get(variable)
        if value is None:
            self.error(b"VAR-NOT-SUPPORTED")
        else:
            return self.say(b'VAR %b %b "%b"' % (name, variable, value))
        return None

    def listed(self, what: bytes, lines: list[bytes]) -> Step:
        return self.say(b"\n".join([b"BEGIN LIST " + what, *lines, b"END LIST " + what]))

    def say(self, text: bytes) -> Step:
        """Send a line, and go on with the next command."""
        self.send(text + b"\n")
        return LINE, self.command

    def error(self, what: bytes) -> Step:
        return self.say(b"ERR " + what)


class NutRight(Nut):
    """A server of two UPS: Network UPS Tools (RFC 9271)."""

    def variable(self, name: bytes, variable: bytes) -> Step:
        """Answer with the value of a variable."""
        if name not in DEVICES:
            return self.error(b"UNKNOWN-UPS")
        value = DEVICES[name].get(variable)
        if value is None:
            return self.error(b"VAR-NOT-SUPPORTED")
        return self.say(b'VAR %b %b "%b"' % (name, variable, value))


# Hayes

AT_LINE = Until(b"\r", limit=64)
DIAL = re.compile(rb"ATD[TP]?([0-9*#,]{1,32})")
REGISTER = re.compile(rb"ATS([0-7])(\?|=([0-9]{1,3}))")
MAX_PAUSES = 4
PAUSE = 2
"""Seconds for each comma in a number."""
LINES = {b"5550100": b"BUSY", b"5550199": b"NO ANSWER"}


class Hayes(StreamHandler):
    """A modem that has nobody to connect to: the commands of the Hayes Smartmodem (ITU-T V.250)."""

    timeout = 300

    def setup(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.echo = True
        self.registers = [0, 0, 43, 13, 10, 8, 2, 50]

    async def handle(self) -> None:
        while True:
            line = await AT_LINE
            if self.echo:
                self.send(line)
            self.send(b"\r\n%b\r\n" % await self.result(line[:-1].upper()))

    async def result(self, command: bytes) -> bytes:
        """Do a command. What the modem says."""
        if command in (b"AT", b"ATH", b"ATH0"):
            return b"OK"
        if command in (b"ATE0", b"ATE1"):
            self.echo = command == b"ATE1"
            return b"OK"
        if command == b"ATZ":
            self.reset()
            return b"OK"
        if command == b"ATI":
            return b"Quietmodem 9600\r\n\r\nOK"
        if matched := REGISTER.fullmatch(command):
            number = int(matched[1])
            if matched[3] is None:
                return b"%03d\r\n\r\nOK" % self.registers[number]
            if int(matched[3]) > 255:
                return b"ERROR"
            self.registers[number] = int(matched[3])
            return b"OK"
        if (matched := DIAL.fullmatch(command)) and matched[1].count(b",") <= MAX_PAUSES:
            await self.pause(matched[1].count(b","))
            return LINES.get(matched[1].rpartition(b",")[2], b"NO CARRIER")
        return b"ERROR"

    async def pause(self, count: int) -> None:
        """Let the exchange find an outside line."""
        for _ in range(count):
            time.sleep(PAUSE)


class HayesRight(Hayes):
    """A modem that has nobody to connect to: the commands of the Hayes Smartmodem (ITU-T V.250)."""

    async def pause(self, count: int) -> None:
        """Let the exchange find an outside line."""
        for _ in range(count):
            await Delay(PAUSE)


def nbd(kind: int, cookie: int, offset: int = 0, size: int = 0, data: bytes = b"") -> bytes:
    """A request of a block device."""
    return REQUEST.pack(REQUEST_MAGIC, 0, kind, cookie, offset, size) + data


PAIRS = [
    Pair("nbd-writes", 12, Nbd, NbdRight, [
        nbd(READ, 0x1001, 0, 512),
        nbd(WRITE, 0x1002, 1024, 64, bytes(range(64))),
        nbd(WRITE, 0x1003, 4096, 16, b"a block of sixty"),
        nbd(FLUSH, 0x1004),
        nbd(READ, 0x1005, 1024, 128),
        nbd(READ, 0x1006, 4096, 16),
        nbd(DISCONNECT, 0x1007),
    ]),
    Pair("nut-variables", 12, Nut, NutRight, [
        b"VER\n",
        b"USERNAME monitor\n",
        b"PASSWORD sesame\n",
        b"LIST UPS\n",
        b"LOGIN rack\n",
        b"LIST VAR rack\n",
        b"GET VAR rack battery.charge\n",
        b"GET VAR desk ups.status\n",
        b"LOGOUT\n",
    ]),
    Pair("hayes", 12, Hayes, HayesRight, [
        b"ATZ\r",
        b"ATE0\r",
        b"ATI\r",
        b"ATS0=1\r",
        b"ATS0?\r",
        b"AT\r",
        b"ATDT5550100\r",
        b"ATDT5550199\r",
        b"ATE1\r",
        b"ATH\r",
    ]),
]  # fmt: skip
