"""Pairs of the ninth set: the work for each read and each message, for an emulator, an agent and a mailer."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from handlers import Exactly, StreamHandler
from tests.support.pairs.pair import ANY, Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step

BLANK = re.compile(rb"[ \t\r\n]*")
MARK, MARK_IN_STRING = re.compile(rb'["\[\]{}]'), re.compile(rb'["\\]')
GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 8}, "package": ""}, "capabilities": []}}


def refused(word: str) -> None:
    raise ValueError(word)


def small(digits: str) -> int:
    if len(digits) > 18:
        raise ValueError(digits)
    return int(digits)


def unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a member comes twice")
    return found


class QmpRight(StreamHandler):
    """The monitor of an emulator (QMP, of QEMU): JSON objects, one after another, with nothing between that ends them.

    The first command agrees on capabilities.
    """

    timeout = 30.0
    request_timeout = 30.0
    most = 65_536

    def setup(self) -> None:
        self.buffer = bytearray()
        self.is_ready, self.is_running, self.blanks = False, True, 0
        self.begin()

    def begin(self) -> None:
        """Nothing of the object at the beginning of the buffer has been looked at."""
        self.place, self.depth, self.is_string = 0, 0, False

    def handle(self) -> Step:
        self.one_by_one += 1
        self.reply(GREETING)
        return ANY, self.first

    def first(self, data: bytes) -> Step:
        return self.more(data)

    def more(self, data: bytes) -> Step:
        self.buffer += data
        try:
            while end := self.end():
                text = bytes(self.buffer[:end])
                del self.buffer[:end]
                self.begin()
                self.blanks = 0
                self.one_by_one += 1
                if not self.run(self.parse(text)):
                    return None
        except Malformed:
            self.fail("GenericError", "JSON parse error")
            return None
        return ANY, self.more if self.buffer else self.first

    def end(self) -> int:
        """Where the object ends that the buffer begins with; 0 if its end has not come."""
        if blanks := BLANK.match(self.buffer).end():
            self.blanks += blanks
            del self.buffer[:blanks]
        if self.blanks > 64 or self.buffer[:1] not in (b"", b"{"):
            raise Malformed("no object")
        end = self.scan()
        if (end or len(self.buffer)) > self.most:
            raise Malformed("too long")
        return end

    def scan(self) -> int:
        """As `end`, from the place that has been reached."""
        while found := (MARK_IN_STRING if self.is_string else MARK).search(self.buffer, self.place):
            mark = found[0]
            if mark == b"\\":
                if found.end() == len(self.buffer):
                    self.place = found.start()
                    return 0
                self.place = found.end() + 1
                continue
            self.place = found.end()
            if mark == b'"':
                self.is_string = not self.is_string
            else:
                self.depth += 1 if mark in b"{[" else -1
                if self.depth > 32:
                    raise Malformed("too deep")
                if not self.depth:
                    return self.place
        self.place = len(self.buffer)
        return 0

    def parse(self, text: bytes) -> dict[str, Any]:
        try:
            message = json.loads(text.decode(), parse_constant=refused, parse_int=small, object_pairs_hook=unique)
        except ValueError:
            raise Malformed("no JSON") from None
        if not isinstance(message, dict):
            raise Malformed("no object")
        return message

    def reply(self, message: dict[str, Any]) -> None:
        self.send(json.dumps(message).encode() + b"\r\n")

    def fail(self, kind: str, text: str, **given: Any) -> None:
        self.reply({"error": {"class": kind, "desc": text}, **given})

    def run(self, message: dict[str, Any]) -> bool:
        """Do what a message says. False: it was the last."""
        given = {"id": message["id"]} if type(message.get("id")) in (str, int) else {}
        command = message.get("execute")
        if not message.keys() <= {"execute", "arguments", "id"} or not isinstance(command, str):
            self.fail("GenericError", "QMP input must have 'execute', and no more than 'arguments' and 'id'", **given)
        elif message.get("arguments", {}) != {} or ("id" in message and not given):
            self.fail("GenericError", "Invalid parameter", **given)
        elif self.is_ready == (command == "qmp_capabilities"):
            self.fail("CommandNotFound", "Capabilities are negotiated once, at the beginning", **given)
        elif command in ("qmp_capabilities", "stop", "cont", "quit"):
            self.is_ready = True
            self.is_running = command == "cont" or (self.is_running and command != "stop")
            self.reply({"return": {}, **given})
            return command != "quit"
        elif command == "query-status":
            status = "running" if self.is_running else "paused"
            self.reply({"return": {"status": status, "running": self.is_running}, **given})
        else:
            self.fail("CommandNotFound", "The command has not been found", **given)
        return True


class Qmp(QmpRight):
    def more(self, data: bytes) -> Step:
        self.begin()
        return super().more(data)


OPEN, CLOSE, REGISTER, UNREGISTER, PING, RESPONSE = 1, 2, 3, 4, 13, 18


class AgentXRight(StreamHandler):
    """A master agent of SNMP (AgentX, RFC 2741): a subagent opens a session and registers its subtrees."""

    timeout = 60.0
    request_timeout = 30.0
    most = 8192

    def setup(self) -> None:
        self.is_open = False
        self.registered = self.none_registered()

    def none_registered(self) -> Any:
        return set()

    def register(self, subtree: bytes) -> None:
        self.registered.add(subtree)

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            head = await Exactly(20)
            self.order = "big" if head[2] & 0x10 else "little"
            size = self.number(head[16:])
            if head[0] != 1 or head[3] or size % 4 or size > 1024:
                raise Malformed("no message")
            content = await Exactly(size)
            if head[1] == RESPONSE:
                continue
            error = self.error_of(head, content)
            self.send(head[:1] + b"\x12" + bytes([head[2] & 0x10]) + b"\0" + self.digits(self.is_open) + head[8:16])
            self.send(self.digits(8) + self.digits(0) + self.digits(error, 2) + self.digits(0, 2))
            if head[1] == CLOSE and not error:
                return

    def number(self, digits: bytes) -> int:
        return int.from_bytes(digits, self.order)

    def digits(self, number: int, size: int = 4) -> bytes:
        return number.to_bytes(size, self.order)

    def error_of(self, head: bytes, content: bytes) -> int:
        """Do what a message says, and return the error in the response."""
        kind, flags = head[1], head[2] & 0xEF
        if flags & 8:
            return 262
        if flags and (flags != 1 or kind != REGISTER):
            return 266
        if kind == OPEN:
            oid, rest = self.oid(content[4:])
            text = rest[4 : 4 + self.number(rest[:4])]
            padded = text.ljust(-len(text) % 4 + len(text), b"\0")
            if (
                oid is None
                or any(content[1:4])
                or len(rest) < 4
                or self.number(rest[:4]) != len(text)
                or rest[4:] != padded
            ):
                return 266
            error, self.is_open = 256 * self.is_open, True
            return error
        if not self.is_open or self.number(head[4:8]) != 1:
            return 257
        if kind == CLOSE:
            return 0 if len(content) == 4 and 1 <= content[0] <= 6 and content[1:] == bytes(3) else 266
        if kind == PING:
            return 266 if content else 0
        return self.subtree_error(kind, content) if kind in (REGISTER, UNREGISTER) else 266

    def subtree_error(self, kind: int, content: bytes) -> int:
        oid, rest = self.oid(content[4:])
        if (
            not oid
            or len(rest) != 4 * bool(content[2])
            or content[3]
            or not content[1]
            or (kind == UNREGISTER and content[0])
        ):
            return 266
        if content[2]:
            return 267
        subtree = content[1:2] + oid
        if kind == UNREGISTER:
            if subtree not in self.registered:
                return 264
            self.registered.remove(subtree)
        elif subtree in self.registered:
            return 263
        elif len(self.registered) >= self.most:
            return 267
        else:
            self.register(subtree)
        return 0

    def oid(self, content: bytes) -> tuple[bytes | None, bytes]:
        """The object identifier that ``content`` begins with, four bytes for each of its numbers, and the rest."""
        if len(content) < 4 or len(content) < 4 + 4 * content[0] or content[0] > 128 or content[2:4] != b"\0\0":
            return None, b""
        numbers = [self.number(content[place : place + 4]) for place in range(4, 4 + 4 * content[0], 4)]
        if content[1]:
            numbers = [1, 3, 6, 1, content[1], *numbers]
        return b"".join(number.to_bytes(4, "big") for number in numbers), content[4 + 4 * content[0] :]


class AgentX(AgentXRight):
    def none_registered(self) -> Any:
        return []

    def register(self, subtree: bytes) -> None:
        self.registered.append(subtree)


def agentx(kind: int, number: int, content: bytes = b"", session: int = 1) -> bytes:
    """A message of a subagent."""
    numbers = session, 0, number, len(content)
    return bytes([1, kind, 0x10, 0]) + b"".join(field.to_bytes(4, "big") for field in numbers) + content


def subtree(priority: int, *numbers: int) -> bytes:
    """The content of a registration below 1.3.6.1.4."""
    oid = bytes([len(numbers), 4, 0, 0]) + b"".join(number.to_bytes(4, "big") for number in numbers)
    return bytes([0, priority, 0, 0]) + oid


NUL, ADR, PWD, FILE, OK, EOB, GOT, ERR, SKIP = 0, 1, 2, 3, 4, 5, 6, 7, 10
FILE_HEAD = re.compile(rb"([A-Za-z0-9_.-]{1,64}) ([0-9]{1,7}) ([0-9]{1,10}) 0")


def binkp(command: int, text: bytes = b"") -> bytes:
    """A command of binkp."""
    return (0x8001 + len(text)).to_bytes(2, "big") + bytes([command]) + text


class BinkpRight(StreamHandler):
    """A mailer of FidoNet that is called (binkp, FTS-1026): it takes files, each as frames of data.

    A file whose name ends with ``.pkt`` must be a packet of type 2; else it is skipped.
    """

    timeout = 30.0
    request_timeout = 120.0
    most = 1_048_576

    async def frame(self) -> tuple[int | None, bytes]:
        """The next command and its argument; for a frame of data, `None` and the data."""
        word = int.from_bytes(await Exactly(2), "big")
        content = await Exactly(word & 0x7FFF)
        if not content:
            raise Malformed("an empty frame")
        return (content[0], content[1:]) if word & 0x8000 else (None, content)

    async def handle(self) -> None:
        self.send(binkp(NUL, b"SYS Reactor") + binkp(NUL, b"VER reactor/1.0 binkp/1.0"))
        self.send(binkp(ADR, b"2:5020/1042@fidonet"))
        login = {NUL: b"", ADR: b"", PWD: b""}
        for _ in range(16):
            command, text = await self.frame()
            if command not in login or (login[command] and command != NUL) or (command == PWD and not login[ADR]):
                break
            login[command] = text or b"-"
            if command == PWD:
                break
        if not re.fullmatch(rb"[1-7]:[0-9]{1,5}/[0-9]{1,5}@fidonet", login[ADR]) or login[PWD] != b"opensesame":
            self.send(binkp(ERR, b"Bad password"))
            return
        self.send(binkp(OK, b"secure"))
        self.opened()
        while True:
            self.one_by_one += 1
            command, text = await self.frame()
            if command == EOB and not text:
                self.send(binkp(EOB))
                return
            matched = FILE_HEAD.fullmatch(text) if command == FILE else None
            if matched and int(matched[2]) <= self.most and await self.is_taken(int(matched[2])):
                is_good = not matched[1].endswith(b".pkt") or self.file[18:20] == b"\x02\x00"
                self.send(binkp(GOT if is_good else SKIP, b"%b %b %b" % matched.groups()))
            elif command != NUL:
                self.send(binkp(ERR, b"Unexpected frame"))
                return

    async def is_taken(self, size: int) -> bool:
        """Take the data of a file. False: it was followed by something else."""
        self.file = self.no_data()
        while len(self.file) < size:
            command, data = await self.frame()
            if command is not None or len(data) > size - len(self.file):
                return False
            self.file += data
        return True

    def no_data(self) -> bytes | bytearray:
        return bytearray()


class Binkp(BinkpRight):
    def no_data(self) -> bytes | bytearray:
        return b""


PAIRS = [
    Pair(
        "qmp", 11, Qmp, QmpRight,
        [
            b'{"execute": "qmp_capabilities"}\n',
            b'{"execute": "query-status", "id": "a{\\"}"}',
            b'{"execute": "stop", "arguments": {}, "id": 3}',
            b'{"execute": "query-status"}\r\n',
            b'{"execute": "eject"}',
            b'{"execute": "quit"}',
        ],
    ),
    Pair(
        "agentx-search", 11, AgentX, AgentXRight,
        [
            agentx(OPEN, 1, b"\x05\0\0\0" + bytes(4) + b"\0\0\0\x05hello\0\0\0", 0),
            agentx(REGISTER, 2, subtree(127, 1, 8072, 9999)),
            agentx(REGISTER, 3, subtree(127, 1, 8072, 9998)),
            agentx(PING, 4),
            agentx(UNREGISTER, 5, subtree(127, 1, 8072, 9999)),
            agentx(CLOSE, 6, b"\x05\0\0\0"),
        ],
        {"kept": 1 << 20},
    ),
    Pair(
        "binkp", 11, Binkp, BinkpRight,
        [
            binkp(NUL, b"SYS Ada"),
            binkp(ADR, b"2:5020/1@fidonet"),
            binkp(PWD, b"opensesame"),
            binkp(FILE, b"notes.txt 11 1700000000 0"),
            b"\x00\x06hello ",
            b"\x00\x05world",
            binkp(FILE, b"01.pkt 20 1700000000 0"),
            b"\x00\x14" + bytes(18) + b"\x02\x00",
            binkp(EOB),
        ],
    ),
]  # fmt: skip
