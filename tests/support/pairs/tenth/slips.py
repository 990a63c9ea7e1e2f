"""Pairs of the tenth set: what a linter or a first run should say."""

from __future__ import annotations

import hmac
import re
import struct
import time
from typing import TYPE_CHECKING

from handlers import Delay, Exactly, StreamHandler
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handlers.handler import Step


def string(data: bytes) -> bytes:
    """A string of SSH."""
    return len(data).to_bytes(4, "big") + data


IDENTITY = string(string(b"ssh-ed25519") + string(bytes(range(32)))) + string(b"ada@example")
FAILURE, SUCCESS = b"\x05", b"\x06"


class SshAgent(StreamHandler):
    """An SSH agent (draft-ietf-sshm-ssh-agent): it lists its key, and can be locked with a passphrase.

    Each wrong passphrase makes the next answer later, up to ten seconds.
    """

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.identities, self.passphrase, self.failures = [IDENTITY], b"", 0

    def string(self, content: bytes) -> bytes:
        """The one string that ``content`` has."""
        if string(content[4:]) != content or not 4 < len(content) <= 260:
            raise Malformed("no string")
        return content[4:]

    async def unlock(self, passphrase: bytes) -> bytes:
        if not self.passphrase:
            return FAILURE
        if hmac.compare_digest(passphrase, self.passphrase):
            self.passphrase, self.failures = b"", 0
            return SUCCESS
        self.failures = min(self.failures + 1, 100)
        time.sleep(0.1 * self.failures)
        return FAILURE

    async def answer(self, kind: int, content: bytes) -> bytes:
        if kind == 11 and not content:
            shown = [] if self.passphrase else self.identities
            return b"\x0c" + len(shown).to_bytes(4, "big") + b"".join(shown)
        if kind == 19 and not content and not self.passphrase:
            self.identities = []
            return SUCCESS
        if kind == 22 and not self.passphrase:
            self.passphrase = self.string(content)
            return SUCCESS
        if kind == 23:
            return await self.unlock(self.string(content))
        return FAILURE

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            size = int.from_bytes(await Exactly(4), "big")
            if not 0 < size <= 4096:
                raise Malformed("no message")
            content = await Exactly(size)
            self.send(string(await self.answer(content[0], content[1:])))


class SshAgentRight(SshAgent):
    async def unlock(self, passphrase: bytes) -> bytes:
        if not self.passphrase:
            return FAILURE
        if hmac.compare_digest(passphrase, self.passphrase):
            self.passphrase, self.failures = b"", 0
            return SUCCESS
        self.failures = min(self.failures + 1, 100)
        await Delay(0.1 * self.failures)
        return FAILURE


DOWNLOAD = re.compile(rb"download:([0-9a-f]{8})")


def fast(data: bytes) -> bytes:
    """A message of fastboot over TCP."""
    return len(data).to_bytes(8, "big") + data


class Fastboot(StreamHandler):
    """A boot loader of Android (fastboot 0.4 over TCP): variables, a download, an image that is flashed.

    A command has at most 64 bytes. One that is longer is skipped and refused.
    """

    timeout = 60.0
    request_timeout = 60.0
    variables = {b"version": b"0.4", b"product": b"demo", b"max-download-size": b"0x00002000"}
    most = 0x2000

    def setup(self) -> None:
        self.image = b""

    async def skip(self, size: int) -> None:
        while size:
            size -= len(await Exactly(min(size, 1024)))

    async def refuse(self, size: int) -> None:
        self.skip(size)
        self.send(fast(b"FAILcommand too long"))

    async def download(self, size: int) -> None:
        if not 0 < size <= self.most:
            self.send(fast(b"FAILdata too large"))
            return
        self.send(fast(b"DATA%08x" % size))
        parts: list[bytes] = []
        while size:
            part = int.from_bytes(await Exactly(8), "big")
            if not 0 < part <= size:
                raise Malformed("no data")
            parts.append(await Exactly(part))
            size -= part
        self.image = b"".join(parts)
        self.send(fast(b"OKAY"))

    async def command(self, text: bytes) -> None:
        download = DOWNLOAD.fullmatch(text)
        word, _, value = text.partition(b":")
        if download is not None:
            await self.download(int(download[1], 16))
        elif word == b"getvar" and value in self.variables:
            self.send(fast(b"OKAY" + self.variables[value]))
        elif text == b"flash:boot":
            self.send(fast(b"OKAY" if self.image else b"FAILno image"))
        else:
            self.send(fast(b"FAILunknown command"))

    async def handle(self) -> None:
        if await Exactly(4) != b"FB01":
            raise Malformed("no handshake")
        self.send(b"FB01")
        self.opened()
        while True:
            self.one_by_one += 1
            size = int.from_bytes(await Exactly(8), "big")
            if not 0 < size <= 65_536:
                raise Malformed("no message")
            if size > 64:
                await self.refuse(size)
            else:
                await self.command(await Exactly(size))


class FastbootRight(Fastboot):
    async def refuse(self, size: int) -> None:
        await self.skip(size)
        self.send(fast(b"FAILcommand too long"))


COOKIE = 0x1A2B3C4D
LENGTHS = {1: 156, 3: 16, 5: 16, 7: 168, 12: 16, 15: 24}


def control(kind: int, body: bytes) -> bytes:
    """A control message of PPTP."""
    return struct.pack(">HHIHH", len(body) + 12, 1, COOKIE, kind, 0) + body


def called(number: int) -> bytes:
    """A request for a call."""
    return control(7, struct.pack(">HHIIIIHHHH", number, number, 300, 100_000_000, 3, 3, 64, 0, 0, 0) + bytes(128))


class Pptp(StreamHandler):
    """A network server of PPTP (RFC 2637), its control connection: a start, calls, echoes, a stop.

    A stop is answered when the client has been told of each call that it ends.
    """

    timeout = 90.0
    request_timeout = 30.0
    most = 16

    def setup(self) -> None:
        self.kind, self.is_started = 0, False
        self.calls: dict[int, int] = {}  # the number that the server has given, by that of the client

    def handle(self) -> Step:
        self.one_by_one += 1
        return Exactly(12), self.head

    def head(self, data: bytes) -> Step:
        size, message, cookie, self.kind, zero = struct.unpack(">HHIHH", data)
        if message != 1 or cookie != COOKIE or zero or LENGTHS.get(self.kind) != size:
            raise Malformed("no message")
        if self.is_started == (self.kind == 1):
            raise Malformed("unexpected")
        states = {1: self.started, 3: self.stopped, 5: self.echoed, 7: self.called, 12: self.cleared, 15: self.linked}
        return Exactly(size - 12), states[self.kind]

    def started(self, body: bytes) -> Step:
        version, zero = struct.unpack_from(">HH", body)
        if version != 0x0100 or zero:
            self.send(control(2, struct.pack(">HBBIIHH", 0x0100, 5, 0, 0, 0, 0, 0) + bytes(128)))
            return None
        self.is_started = True
        names = b"pns".ljust(64, b"\x00") + b"demo".ljust(64, b"\x00")
        self.send(control(2, struct.pack(">HBBIIHH", 0x0100, 1, 0, 3, 3, self.most, 1) + names))
        return self.handle()

    def called(self, body: bytes) -> Step:
        theirs, _, slowest, fastest, _, _, window = struct.unpack_from(">HHIIIIH", body)
        ours = next(number for number in range(1, self.most + 2) if number not in self.calls.values())
        if theirs in self.calls or ours > self.most or slowest > fastest or not window:
            self.send(control(8, struct.pack(">HHBBHIHHI", 0, theirs, 2, 4, 0, 0, 0, 0, 0)))
        else:
            self.calls[theirs] = ours
            self.send(control(8, struct.pack(">HHBBHIHHI", ours, theirs, 1, 0, 0, fastest, 64, 0, 0)))
        return self.handle()

    def cleared(self, body: bytes) -> Step:
        theirs, zero = struct.unpack(">HH", body)
        if zero:
            raise Malformed("no message")
        if theirs in self.calls:
            self.send(self.notice(self.calls.pop(theirs), 4))
        return self.handle()

    def notice(self, number: int, why: int) -> bytes:
        """What tells the client that a call is over."""
        return control(13, struct.pack(">HBBHH", number, why, 0, 0, 0) + bytes(128))

    def notices(self) -> Iterator[bytes]:
        while self.calls:
            yield self.notice(self.calls.popitem()[1], 3)

    def linked(self, body: bytes) -> Step:
        if body[2:4] != b"\x00\x00":
            raise Malformed("no message")
        return self.handle()

    def echoed(self, body: bytes) -> Step:
        self.send(control(6, body + b"\x01\x00\x00\x00"))
        return self.handle()

    def hang_up(self) -> None:
        map(self.send, self.notices())

    def stopped(self, body: bytes) -> Step:
        if not 1 <= body[0] <= 3 or any(body[1:]):
            raise Malformed("no message")
        self.hang_up()
        self.send(control(4, b"\x01\x00\x00\x00"))


class PptpRight(Pptp):
    def hang_up(self) -> None:
        for notice in self.notices():
            self.send(notice)


START = control(
    1, struct.pack(">HHIIHH", 0x0100, 0, 3, 3, 0, 1) + b"pac".ljust(64, b"\x00") + b"demo".ljust(64, b"\x00")
)

PAIRS = [
    Pair(
        "ssh-agent", 12, SshAgent, SshAgentRight,
        [
            string(b"\x0b"),
            string(b"\x16" + string(b"open sesame")),
            string(b"\x0b"),
            string(b"\x17" + string(b"open sesame")),
            string(b"\x1b"),
            string(b"\x13"),
        ],
    ),
    Pair(
        "fastboot", 12, Fastboot, FastbootRight,
        [
            b"FB01",
            fast(b"getvar:version"),
            fast(b"download:0000000c"),
            fast(b"ANDROID!"),
            fast(b"boot"),
            fast(b"flash:boot"),
            fast(b"getvar:none"),
        ],
    ),
    Pair(
        "pptp", 12, Pptp, PptpRight,
        [
            START,
            called(7),
            control(15, struct.pack(">HHII", 1, 0, 0xFFFFFFFF, 0xFFFFFFFF)),
            control(5, b"\x00\x00\x00\x2a"),
            control(12, b"\x00\x07\x00\x00"),
            control(3, b"\x01\x00\x00\x00"),
        ],
    ),
]  # fmt: skip
