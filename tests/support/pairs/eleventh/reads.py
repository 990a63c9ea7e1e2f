"""Handlers with a buffer of their own: an uninterruptible power supply, a table of Postfix, a flight controller."""

from __future__ import annotations

import re

from handlers import Some, StreamHandler
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

ANY = Some()


class Buffered(StreamHandler):
    """Takes what has come, and holds the beginning of a message until the rest is there."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.one_by_one = 1
        self.buffer = bytearray()

    def handle(self) -> Step:
        return ANY, self.first

    def first(self, data: bytes) -> Step:
        return self.more(data)

    def more(self, data: bytes) -> Step:
        self.buffer += data
        if not self.take():
            return None
        return ANY, self.more if self.buffer else self.first

    def take(self) -> bool:
        """Take the messages in the buffer. Whether more may follow."""
        raise NotImplementedError


NUT_LINE = 512  # bytes, the end of the line included
NUT_WORD = re.compile(rb"[!-~]{1,64}")
NUT_UPS = {
    b"su700": {b"ups.status": b"OL", b"battery.charge": b"100", b"ups.model": b"SMART-UPS 700"},
}
NUT_DESCRIPTIONS = {b"su700": b"Server room"}


class NetworkUps(Buffered):
    """What a monitor asks upsd of Network UPS Tools (RFC 9271)."""

    def take(self) -> bool:
        if len(self.buffer) > NUT_LINE:
            raise Malformed("a line that is too long")
        while (end := self.buffer.find(b"\n")) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            self.one_by_one += 1
            if not self.line(line.removesuffix(b"\r")):
                return False
        return True

    def line(self, line: bytes) -> bool:
        """Answer a line. Whether more may follow."""
        words = line.split(b" ")
        if not all(map(NUT_WORD.fullmatch, words)):
            self.send(b"ERR INVALID-ARGUMENT\n")
        elif words == [b"LOGOUT"]:
            self.send(b"OK Goodbye\n")
            return False
        elif words == [b"VER"]:
            self.send(b"Network UPS Tools upsd 2.8.0 - https://www.networkupstools.org/\n")
        elif words[0] in (b"USERNAME", b"PASSWORD") and len(words) == 2:
            self.send(b"OK\n")
        elif words == [b"LIST", b"UPS"]:
            lines = [b'UPS %b "%b"\n' % item for item in NUT_DESCRIPTIONS.items()]
            self.send(b"BEGIN LIST UPS\n%bEND LIST UPS\n" % b"".join(lines))
        elif words[:2] == [b"LIST", b"VAR"] and len(words) == 3:
            self.list_variables(words[2])
        elif words[:2] == [b"GET", b"VAR"] and len(words) == 4:
            self.get_variable(words[2], words[3])
        else:
            self.send(b"ERR UNKNOWN-COMMAND\n")
        return True

    def list_variables(self, ups: bytes) -> None:
        """Send all variables of a device."""
        if ups not in NUT_UPS:
            self.send(b"ERR UNKNOWN-UPS\n")
            return
        lines = [b'VAR %b %b "%b"\n' % (ups, *item) for item in NUT_UPS[ups].items()]
        self.send(b"BEGIN LIST VAR %b\n%bEND LIST VAR %b\n" % (ups, b"".join(lines), ups))

    def get_variable(self, ups: bytes, name: bytes) -> None:
        """Send a variable of a device."""
        if ups not in NUT_UPS:
            self.send(b"ERR UNKNOWN-UPS\n")
        elif name not in NUT_UPS[ups]:
            self.send(b"ERR VAR-NOT-SUPPORTED\n")
        else:
            self.send(b'VAR %b %b "%b"\n' % (ups, name, NUT_UPS[ups][name]))


class NetworkUpsRight(NetworkUps):
    """What a monitor asks upsd of Network UPS Tools (RFC 9271)."""

    def take(self) -> bool:
        while (end := self.buffer.find(b"\n", 0, NUT_LINE)) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            self.one_by_one += 1
            if not self.line(line.removesuffix(b"\r")):
                return False
        if len(self.buffer) >= NUT_LINE:
            raise Malformed("a line that is too long")
        return True


TABLE_LINE = 4_096  # bytes, the end of the line included (tcp_table(5))
TABLE_REQUEST = re.compile(rb"(get|put) ((?:[!-$&-~]|%[0-9A-Fa-f]{2})+)(?: ((?:[!-$&-~]|%[0-9A-Fa-f]{2})*))?")
TABLE_QUOTED = re.compile(rb"%([0-9A-Fa-f]{2})")
TABLE = {b"postmaster@example.org": b"ada@example.org", b"sales@example.org": b"bob@example.org,eve@example.org"}


class LookupTable(Buffered):
    """A table of aliases for Postfix, with many requests under way: tcp_table(5)."""

    def setup(self) -> None:
        super().setup()
        self.searched = 0

    def request(self) -> bytes | None:
        """The next request in the buffer, without its end; ``None`` if it has not all come."""
        end = self.buffer.find(b"\n", self.searched, TABLE_LINE)
        self.searched = 0 if end >= 0 else len(self.buffer)
        if end < 0:
            return None
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        self.one_by_one += 1
        return line

    def take(self) -> bool:
        requests = []
        while (line := self.request()) is not None:
            request = TABLE_REQUEST.fullmatch(line)
            if request is None:
                self.send(b"400 Malformed%20request\n")
            else:
                requests.append(request)
        self.send(b"".join(map(self.answer, requests)))
        if len(self.buffer) >= TABLE_LINE:
            raise Malformed("a line that is too long")
        return True

    def answer(self, request: re.Match[bytes]) -> bytes:
        """The answer to a request."""
        if request[1] == b"put":
            return b"500 The%20table%20is%20read-only\n"
        if request[3] is not None:
            return b"400 A%20lookup%20with%20a%20value\n"
        key = TABLE_QUOTED.sub(lambda quoted: bytes([int(quoted[1], 16)]), request[2]).lower()
        return b"200 %b\n" % TABLE[key] if key in TABLE else b"500 Not%20found\n"


class LookupTableRight(LookupTable):
    """A table of aliases for Postfix, with many requests under way: tcp_table(5)."""

    def take(self) -> bool:
        while (line := self.request()) is not None:
            request = TABLE_REQUEST.fullmatch(line)
            self.send(b"400 Malformed%20request\n" if request is None else self.answer(request))
        if len(self.buffer) >= TABLE_LINE:
            raise Malformed("a line that is too long")
        return True


MSP_PREAMBLE = b"$M<"
MSP_FRAME = 6  # bytes of a frame without payload: preamble, size, command, checksum
MSP_NAME_LENGTH = 16
MSP_API_VERSION, MSP_FC_VARIANT, MSP_NAME, MSP_SET_NAME = 1, 2, 10, 11


def checksum(data: bytes | bytearray) -> int:
    """The checksum of the size, the command and the payload."""
    total = 0
    for byte in data:
        total ^= byte
    return total


def msp(direction: bytes, command: int, payload: bytes = b"") -> bytes:
    """A frame."""
    body = bytes((len(payload), command)) + payload
    return b"$M%b%b%b" % (direction, body, bytes((checksum(body),)))


class FlightController(Buffered):
    """A flight controller that is configured over a serial line: MultiWii Serial Protocol, version 1."""

    def setup(self) -> None:
        super().setup()
        self.name = b""

    def take(self) -> bool:
        while self.find_frame():
            end = MSP_FRAME + self.buffer[3]
            if len(self.buffer) < end:
                return True
            body, expected = bytes(self.buffer[3 : end - 1]), self.buffer[end - 1]
            self.one_by_one += 1
            if checksum(body) != expected:
                self.drop(end)
                continue
            del self.buffer[:end]
            self.command(body[1], body[2:])
        return True

    def find_frame(self) -> bool:
        """Drop what comes before a frame. Whether its size has come."""
        start = self.buffer.find(MSP_PREAMBLE)
        if start < 0:
            kept = 2 if self.buffer.endswith(MSP_PREAMBLE[:2]) else int(self.buffer.endswith(MSP_PREAMBLE[:1]))
            start = len(self.buffer) - kept
        del self.buffer[:start]
        return len(self.buffer) > len(MSP_PREAMBLE)

    def drop(self, end: int) -> None:
        """Drop a damaged frame, which ends there."""
        self.buffer.clear()

    def command(self, command: int, payload: bytes) -> None:
        """Answer a command."""
        if command == MSP_API_VERSION and not payload:
            self.send(msp(b">", command, b"\0\x01\x2e"))
        elif command == MSP_FC_VARIANT and not payload:
            self.send(msp(b">", command, b"BTFL"))
        elif command == MSP_NAME and not payload:
            self.send(msp(b">", command, self.name))
        elif command == MSP_SET_NAME and len(payload) <= MSP_NAME_LENGTH:
            self.name = payload
            self.send(msp(b">", command))
        else:
            self.send(msp(b"!", command))


class FlightControllerRight(FlightController):
    """A flight controller that is configured over a serial line: MultiWii Serial Protocol, version 1."""

    def drop(self, end: int) -> None:
        del self.buffer[:end]


PAIRS = [
    Pair(
        "nut-ups", 6, NetworkUps, NetworkUpsRight,
        [
            b"VER\n", b"USERNAME monitor\n", b"PASSWORD sesame\n", b"LIST UPS\n", b"LIST VAR su700\n",
            b"GET VAR su700 ups.status\n", b"GET VAR su700 battery.charge\n", b"GET VAR su700 ups.load\n", b"LOGOUT\n",
        ],
    ),
    Pair(
        "tcp-table", 6, LookupTable, LookupTableRight,
        [
            b"get postmaster@example.org\n",
            b"get sales%40example.org\n",
            b"put info@example.org ada@example.org\n",
            b"get nobody@example.org\n",
            b"get postmaster@example.org\n",
        ],
    ),
    Pair(
        "msp-flight", 6, FlightController, FlightControllerRight,
        [
            msp(b"<", MSP_API_VERSION),
            msp(b"<", MSP_FC_VARIANT),
            msp(b"<", MSP_SET_NAME, b"Kestrel"),
            msp(b"<", MSP_NAME),
            msp(b"<", MSP_API_VERSION),
        ],
    ),
]  # fmt: skip
