"""Handlers that parse numbers: git's pkt-lines, an instrument with SCPI, NATS."""

from __future__ import annotations

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

PKT_HEAD = Exactly(4)
PKT_FLUSH, PKT_DELIMITER = 0, 1
PKT_MOST = 516  # bytes of a pkt-line, its length included
PKT_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
GIT_ARGUMENTS = 32
GIT_REQUEST = re.compile(rb"git-upload-pack /([!-~]+)\0host=[!-~]+\0(?:\0version=2\0)")
GIT_REFS = {
    b"HEAD": b"7217a7c7e582c46cec22a130adf4b9d7d950fba0",
    b"refs/heads/main": b"7217a7c7e582c46cec22a130adf4b9d7d950fba0",
    b"refs/tags/v1.0": b"525128480b96c89e6418b1e40909bf6c5b2d580f",
}


def pkt_line(payload: bytes) -> bytes:
    """The pkt-line with ``payload``."""
    return b"%04x%b" % (len(payload) + 4, payload)


class GitUploadPack(StreamHandler):
    """The references of a repository, by git's protocol version 2 over git:// (gitprotocol-v2, gitprotocol-common)."""

    timeout = 30
    request_timeout = 60

    async def handle(self) -> None:
        _, request = await self.packet()
        if GIT_REQUEST.fullmatch(request) is None:
            raise Malformed("no request for version 2")
        self.send(b"".join(map(pkt_line, (b"version 2\n", b"agent=git/2.43.0\n", b"ls-refs\n"))) + b"0000")
        self.opened()
        while True:
            self.one_by_one += 1
            kind, command = await self.packet()
            if kind == PKT_FLUSH:
                return
            arguments = await self.arguments()
            if command.removesuffix(b"\n") != b"command=ls-refs":
                self.send(pkt_line(b"ERR unknown command\n"))
                return
            self.list_refs([line[11:] for line in arguments if line.startswith(b"ref-prefix ")])

    async def arguments(self) -> list[bytes]:
        """The lines after the delimiter, up to the flush."""
        found: list[bytes] = []
        is_argument = False
        for _ in range(GIT_ARGUMENTS):
            kind, line = await self.packet()
            if kind == PKT_FLUSH:
                return found
            if kind == PKT_DELIMITER:
                if is_argument:
                    raise Malformed("a second delimiter")
                is_argument = True
            elif is_argument:
                found.append(line.removesuffix(b"\n"))
        raise Malformed("too many lines")

    async def packet(self) -> tuple[int, bytes]:
        """The length of a pkt-line and its payload."""
        length = self.length(await PKT_HEAD)
        if length in (PKT_FLUSH, PKT_DELIMITER):
            return length, b""
        if not 4 < length <= PKT_MOST:
            raise Malformed("no length of a pkt-line")
        return length, await Exactly(length - 4)

    def length(self, head: bytes) -> int:
        """The number in the head of a pkt-line."""
        try:
            return int(head, 16)
        except ValueError:
            raise Malformed("no pkt-line") from None

    def list_refs(self, prefixes: list[bytes]) -> None:
        """Send the references that begin with one of the prefixes."""
        for name, oid in GIT_REFS.items():
            if not prefixes or name.startswith(tuple(prefixes)):
                self.send(pkt_line(b"%b %b\n" % (oid, name)))
        self.send(b"0000")


class GitUploadPackRight(GitUploadPack):
    """The references of a repository, by git's protocol version 2 over git:// (gitprotocol-v2, gitprotocol-common)."""

    def length(self, head: bytes) -> int:
        if PKT_HEX.fullmatch(head) is None:
            raise Malformed("no pkt-line")
        return int(head, 16)


SCPI_LINE = Until(b"\n", limit=256)
SCPI_ERRORS = 10  # entries of the error queue
SCPI_REAL = re.compile(rb"-?(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(?:[Ee][+-]?[0-9]{1,2})?")
SCPI_NONE = b'0,"No error"'
SCPI_HEADER = b'-113,"Undefined header"'
SCPI_NUMBER = b'-120,"Numeric data error"'
SCPI_RANGE = b'-222,"Data out of range"'
SCPI_PARAMETER = b'-224,"Illegal parameter value"'
SCPI_OVERFLOW = b'-350,"Queue overflow"'
SUPPLY_MOST = {b"VOLT": 30.0, b"CURR": 5.0}
SWITCH = {b"ON": b"1", b"1": b"1", b"OFF": b"0", b"0": b"0"}


class PowerSupply(StreamHandler):
    """A laboratory power supply with SCPI over a raw socket (SCPI-1999, IEEE 488.2)."""

    timeout = 120

    def setup(self) -> None:
        self.errors: list[bytes] = []
        self.reset()

    def reset(self) -> None:
        """Take the values after power-on."""
        self.levels = dict.fromkeys(SUPPLY_MOST, 0.0)
        self.output = b"0"

    def handle(self) -> Step:
        return SCPI_LINE, self.message

    def message(self, line: bytes) -> Step:
        header, _, argument = line[:-1].removesuffix(b"\r").partition(b" ")
        header = header.upper()
        if header in SUPPLY_MOST:
            self.set_level(header, argument)
        elif header == b"OUTP":
            self.switch(argument.upper())
        elif argument:
            self.failed(SCPI_HEADER)
        elif header[-1:] == b"?" and header[:-1] in SUPPLY_MOST:
            self.send(b"%.3f\n" % self.levels[header[:-1]])
        elif header == b"OUTP?":
            self.send(self.output + b"\n")
        elif header == b"*IDN?":
            self.send(b"EXAMPLE,PS3005,0001,1.02\n")
        elif header == b"SYST:ERR?":
            self.send((self.errors.pop(0) if self.errors else SCPI_NONE) + b"\n")
        elif header == b"*RST":
            self.reset()
        elif header == b"*CLS":
            self.errors.clear()
        else:
            self.failed(SCPI_HEADER)
        return self.handle()

    def set_level(self, header: bytes, argument: bytes) -> None:
        """Set the voltage or the current."""
        level = self.number(argument)
        if level is None:
            self.failed(SCPI_NUMBER)
        elif level < 0.0 or level > SUPPLY_MOST[header]:
            self.failed(SCPI_RANGE)
        else:
            self.levels[header] = level + 0.0  # no negative zero

    def number(self, argument: bytes) -> float | None:
        """The decimal number; ``None`` if it is none."""
        try:
            return float(argument)
        except ValueError:
            return None

    def switch(self, argument: bytes) -> None:
        """Switch the output on or off."""
        if argument in SWITCH:
            self.output = SWITCH[argument]
        else:
            self.failed(SCPI_PARAMETER)

    def failed(self, error: bytes) -> None:
        """Put an error into the queue."""
        if len(self.errors) < SCPI_ERRORS:
            self.errors.append(error)
        else:
            self.errors[-1] = SCPI_OVERFLOW


class PowerSupplyRight(PowerSupply):
    """A laboratory power supply with SCPI over a raw socket (SCPI-1999, IEEE 488.2)."""

    def number(self, argument: bytes) -> float | None:
        return float(argument) if SCPI_REAL.fullmatch(argument) else None


NATS_LINE = Until(b"\r\n", limit=512)
NATS_PAYLOAD = 4_096
NATS_SUBSCRIPTIONS = 8
NATS_SIZE = re.compile(r"[0-9]{1,7}")
NATS_SUBJECT = re.compile(r"[^\s.*>]+(?:\.[^\s.*>]+)*")
NATS_SID = re.compile(r"[0-9A-Za-z]{1,16}")
NATS_INFO = b'INFO {"server_id":"NDX","version":"2.10.7","proto":1,"max_payload":%d}\r\n' % NATS_PAYLOAD


class Nats(StreamHandler):
    """A part of NATS: one client's subjects, without wildcards and queues (NATS client protocol)."""

    timeout = 120
    request_timeout = 30

    def setup(self) -> None:
        self.subjects: dict[str, str] = {}  # by sid
        self.verbose = False

    async def handle(self) -> None:
        self.send(NATS_INFO)
        while True:
            self.one_by_one += 1
            line = await NATS_LINE
            try:
                words = line[:-2].decode().split(" ")
            except UnicodeDecodeError:
                words = [""]
            error = await self.operation(words[0].upper() if words[0].isascii() else "", words[1:])
            if error:
                self.send(b"-ERR '%b'\r\n" % error)
                return

    async def operation(self, name: str, words: list[str]) -> bytes:
        """Do one operation. Returns the text of an error."""
        if name == "PING" and not words:
            self.send(b"PONG\r\n")
        elif name == "PONG" and not words:
            pass
        elif name == "CONNECT" and words:
            self.verbose = '"verbose":true' in "".join(words)
            self.agreed()
        elif name == "SUB" and len(words) == 2 and NATS_SUBJECT.fullmatch(words[0]) and NATS_SID.fullmatch(words[1]):
            if len(self.subjects) >= NATS_SUBSCRIPTIONS and words[1] not in self.subjects:
                return b"maximum subscriptions exceeded"
            self.subjects[words[1]] = words[0]
            self.agreed()
        elif name == "UNSUB" and len(words) == 1:
            self.subjects.pop(words[0], None)
            self.agreed()
        elif name == "PUB" and len(words) == 2 and NATS_SUBJECT.fullmatch(words[0]):
            return await self.publish(words[0], self.size(words[1]))
        else:
            return b"Unknown Protocol Operation"
        return b""

    async def publish(self, subject: str, size: int | None) -> bytes:
        """Take the payload, and send it to the subscriptions of the subject."""
        if size is None:
            return b"Unknown Protocol Operation"
        if size > NATS_PAYLOAD:
            return b"Maximum Payload Violation"
        payload = await Exactly(size + 2)
        if not payload.endswith(b"\r\n"):
            return b"Unknown Protocol Operation"
        self.agreed()
        for sid, subscribed in self.subjects.items():
            if subscribed == subject:
                self.send(b"MSG %b %b %d\r\n%b" % (subject.encode(), sid.encode(), size, payload))
        return b""

    def size(self, word: str) -> int | None:
        """The number of bytes; ``None`` if it is none."""
        return int(word) if word.isdigit() else None

    def agreed(self) -> None:
        """Say that it is done, if the client wants to know."""
        if self.verbose:
            self.send(b"+OK\r\n")


class NatsRight(Nats):
    """A part of NATS: one client's subjects, without wildcards and queues (NATS client protocol)."""

    def size(self, word: str) -> int | None:
        return int(word) if NATS_SIZE.fullmatch(word) else None


PAIRS = [
    Pair(
        "git-pkt-line", 1, GitUploadPack, GitUploadPackRight,
        [
            pkt_line(b"git-upload-pack /project.git\0host=git.example.org\0\0version=2\0"),
            pkt_line(b"command=ls-refs\n") + pkt_line(b"agent=git/2.43.0\n") + b"0001" + pkt_line(b"peel\n")
            + pkt_line(b"symrefs\n") + pkt_line(b"ref-prefix HEAD\n") + pkt_line(b"ref-prefix refs/heads/\n") + b"0000",
            pkt_line(b"command=ls-refs\n") + b"0001" + pkt_line(b"ref-prefix refs/tags/\n") + b"0000",
            b"0000",
        ],
    ),
    Pair(
        "scpi-supply", 1, PowerSupply, PowerSupplyRight,
        [
            b"*IDN?\n", b"*RST\n", b"*CLS\n", b"VOLT 3.3\n", b"VOLT?\n", b"CURR 1.5E-1\n", b"CURR?\n", b"OUTP ON\n",
            b"OUTP?\n", b"VOLT 12\n", b"VOLT?\n", b"VOLT 45\n", b"SYST:ERR?\n", b"SYST:ERR?\n", b"OUTP OFF\n",
        ],
    ),
    Pair(
        "nats-pub", 1, Nats, NatsRight,
        [
            b'CONNECT {"verbose":true,"pedantic":false,"lang":"python3","version":"2.6.0"}\r\n',
            b"PING\r\n",
            b"SUB orders.new 1\r\n",
            b"SUB orders.paid 2\r\n",
            b"PUB orders.new 11\r\nhello world\r\n",
            b"PUB orders.paid 27\r\n{\"order\":17,\"amount\":40.50}\r\n",
            b"PUB audit 0\r\n\r\n",
            b"UNSUB 2\r\n",
            b"PUB orders.paid 5\r\nagain\r\n",
            b"PONG\r\n",
        ],
    ),
]  # fmt: skip
