"""Pairs of the tenth set: a cache, settings and a board that clients share, though none is meant for two."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from handlers import StreamHandler, Until, UntilAny
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers.handler import Step

TAG = re.compile(rb"[0-9A-Za-z]{1,6}")
SLOTS = {b"SLOT-1": (b"STM1", 4711), b"SLOT-2": (b"STM4", 4712), b"SLOT-3": (b"E1", 4715)}
PASSWORDS = {b"ADMIN": b"Tl1-admin", b"GUEST": b"guest"}


class Denied(Exception):
    """A command is denied: the code and the text are the arguments."""


class Tl1(StreamHandler):
    """A network element (Telcordia GR-831, TL1): users log in, and ask for its equipment.

    The serial numbers are for the administrator. An answer has the tag of its command.
    """

    timeout = 60.0
    request_timeout = 30.0
    reports: dict[bytes, bytes] = {}

    def setup(self) -> None:
        self.user = b""

    def handle(self) -> Step:
        self.one_by_one += 1
        return Until(b";", limit=256), self.command

    def command(self, data: bytes) -> Step:
        verb, *blocks = data[:-1].split(b":")
        tag = blocks[2] if len(blocks) > 2 and TAG.fullmatch(blocks[2]) else b"0"
        try:
            if tag == b"0" or blocks[0].upper() not in (b"", b"NE1"):
                raise Denied(b"IICT" if tag == b"0" else b"IITA", b"Invalid tag or target")
            text = self.perform(verb.upper(), blocks[1].upper(), blocks[3:])
            said = b"COMPLD\r\n" + text
        except Denied as denied:
            said = b"DENY\r\n   %b\r\n   /* %b */\r\n" % denied.args
        self.send(b"\r\n\n   NE1 70-01-01 00:00:00\r\nM  %b %b;" % (tag, said))
        return self.handle()

    def perform(self, verb: bytes, aid: bytes, more: list[bytes]) -> bytes:
        if verb == b"ACT-USER":
            if len(more) != 2 or more[0] or PASSWORDS.get(aid) != more[1]:
                raise Denied(b"PIUI", b"Illegal user identity")
            self.user = aid
            return b""
        if more:
            raise Denied(b"IPNV", b"Parameters not valid")
        if not self.user:
            raise Denied(b"PLNA", b"Login not active")
        if verb == b"RTRV-EQPT" and aid in SLOTS:
            return self.report(aid)
        if verb == b"CANC-USER" and aid == self.user:
            self.user = b""
            return b""
        raise Denied(b"IIAC" if verb in (b"RTRV-EQPT", b"CANC-USER") else b"ICNV", b"Input not valid")

    def report(self, aid: bytes) -> bytes:
        if aid not in self.reports:
            self.reports[aid] = self.written(aid)
        return self.reports[aid]

    def written(self, aid: bytes) -> bytes:
        serial = b",SERNO=%d" % SLOTS[aid][1] if self.user == b"ADMIN" else b""
        return b'   "%b::TYPE=%b%b:IS-NR"\r\n' % (aid, SLOTS[aid][0], serial)


class Tl1Right(Tl1):
    def report(self, aid: bytes) -> bytes:
        return self.written(aid)


SETTINGS = """
addr 5 0 30
auto 0 0 1
eos 0 0 3
eoi 1 0 1
read_tmo_ms 200 1 3000
"""
INSTRUMENTS = {5: b"HEWLETT-PACKARD,34401A,0,11-5-2", 9: b"TEKTRONIX,TDS 210,0,CF:91.1CT FV:v1.16"}


@lru_cache(maxsize=1)
def factory_settings() -> dict[bytes, list[int]]:
    """The settings of a controller as it is delivered: the value, the least and the most."""
    rows = [line.split() for line in SETTINGS.strip().splitlines()]
    return {name.encode(): [int(number) for number in numbers] for name, *numbers in rows}


class Prologix(StreamHandler):
    """A GPIB controller for Ethernet (Prologix GPIB-ETHERNET, manual 1.6.6): its commands, and two instruments.

    A line that begins with two plus signs is for the controller; any other is for the instrument at the address.
    """

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.settings = factory_settings()
        self.waiting = b""

    def handle(self) -> Step:
        self.one_by_one += 1
        return UntilAny(b"\r\n", b"\n", limit=256), self.line

    def value(self, name: bytes) -> int:
        return self.settings[name][0]

    def line(self, data: bytes) -> Step:
        text = data.removesuffix(b"\n").removesuffix(b"\r")
        name, space, value = text[2:].partition(b" ")
        if not text.startswith(b"++"):
            if text.upper() == b"*IDN?" and self.value(b"addr") in INSTRUMENTS:
                self.waiting = INSTRUMENTS[self.value(b"addr")] + b"\n"
            if self.value(b"auto"):
                self.read()
        elif name == b"ver" and not space:
            self.send(b"Prologix GPIB-ETHERNET Controller version 01.06.06.00\r\n")
        elif name == b"read" and (not space or value == b"eoi"):
            self.read()
        elif name in self.settings and not space:
            self.send(b"%d\r\n" % self.value(name))
        elif not self.is_set(name, value):
            self.send(b"Unrecognized command\r\n")
        return self.handle()

    def is_set(self, name: bytes, value: bytes) -> bool:
        """Set a value. Whether it is one that the setting may have."""
        if name not in self.settings or not value.isdigit() or len(value) > 4 or str(int(value)).encode() != value:
            return False
        _, least, most = self.settings[name]
        if least <= int(value) <= most:
            self.settings[name][0] = int(value)
        return least <= int(value) <= most

    def read(self) -> None:
        self.send(self.waiting)
        self.waiting = b""


class PrologixRight(Prologix):
    def setup(self) -> None:
        self.settings = {name: list(numbers) for name, numbers in factory_settings().items()}
        self.waiting = b""


IGNORED = bytes({*range(32), 127} - {9, 10})
VERTEX = re.compile(rb"([A-HJ-T])([1-9][0-9]?)")
COLOURS = {b"b": b"b", b"black": b"b", b"w": b"w", b"white": b"w"}


class Board:
    """The stones on a board of Go, in the order in which they were played."""

    size = 19
    stones: dict[bytes, bytes] = {}

    def is_free(self, vertex: bytes) -> bool:
        found = VERTEX.fullmatch(vertex)
        if found is None or int(found[2]) > self.size or b"ABCDEFGHJKLMNOPQRST".index(found[1]) >= self.size:
            return False
        return vertex not in self.stones


class OwnBoard(Board):
    def __init__(self) -> None:
        self.stones = {}


class Go(StreamHandler):
    """The Go Text Protocol (draft of version 2, Farnebäck): an engine that only keeps the record of a game.

    A command may have a number, which its answer repeats. Comments and control characters are ignored.
    """

    timeout = 60.0
    request_timeout = 30.0
    board = Board

    def setup(self) -> None:
        self.game = self.board()

    def handle(self) -> Step:
        self.one_by_one += 1
        return Until(b"\n", limit=256), self.line

    def line(self, data: bytes) -> Step:
        words = data.translate(None, IGNORED).partition(b"#")[0].split()
        number = words.pop(0) if words and words[0].isdigit() else b""
        if not words and not number:
            return self.handle()
        if len(number) > 10 or int(number or b"0") >= 1 << 31:
            self.send(b"? number out of range\n\n")
            return self.handle()
        command, *arguments = words or [b""]
        error, text = self.perform(command, arguments)
        said = b"?%b %b" % (number, error) if error else b"=%b %b" % (number, text)
        self.send(said + b"\n\n")
        return None if command == b"quit" and not error else self.handle()

    def perform(self, command: bytes, arguments: list[bytes]) -> tuple[bytes, bytes]:
        """What is wrong with a command, or else its result."""
        results = {b"protocol_version": b"2", b"name": b"Record", b"version": b"1.0", b"quit": b""}
        stones = self.game.stones
        if command in results and not arguments:
            return b"", results[command]
        if command == b"clear_board" and not arguments:
            stones.clear()
            return b"", b""
        if command == b"undo" and not arguments:
            return self.undo()
        if command == b"boardsize" and len(arguments) == 1:
            if not re.fullmatch(rb"[2-9]|1[0-9]", arguments[0]):
                return b"unacceptable size", b""
            self.game.size = int(arguments[0])
            stones.clear()
            return b"", b""
        if command in (b"play", b"is_legal") and len(arguments) == 2:
            return self.move(command, arguments[0].lower(), arguments[1].upper())
        return b"unknown command", b""

    def undo(self) -> tuple[bytes, bytes]:
        if not self.game.stones:
            return b"cannot undo", b""
        self.game.stones.popitem()
        return b"", b""

    def move(self, command: bytes, colour: bytes, vertex: bytes) -> tuple[bytes, bytes]:
        if colour not in COLOURS:
            return b"invalid color or coordinate", b""
        is_free = self.game.is_free(vertex)
        if command == b"is_legal":
            return b"", b"%d" % is_free
        if not is_free:
            return b"illegal move", b""
        self.game.stones[vertex] = COLOURS[colour]
        return b"", b""


class GoRight(Go):
    board = OwnBoard


PAIRS = [
    Pair(
        "tl1",
        3,
        Tl1,
        Tl1Right,
        [
            b"ACT-USER:NE1:ADMIN:100::Tl1-admin;",
            b"RTRV-EQPT:NE1:SLOT-1:101;",
            b"CANC-USER:NE1:ADMIN:102;",
            b"ACT-USER:NE1:GUEST:103::guest;",
            b"RTRV-EQPT:NE1:SLOT-2:104;",
            b"RTRV-EQPT:NE1:SLOT-7:105;",
        ],
    ),
    Pair(
        "prologix",
        3,
        Prologix,
        PrologixRight,
        [b"++addr 9\n", b"++auto 0\r\n", b"++addr\n", b"*IDN?\n", b"++read eoi\n", b"++ver\n", b"++eos 7\n"],
    ),
    Pair(
        "go",
        3,
        Go,
        GoRight,
        [b"1 boardsize 9\n", b"2 clear_board\n", b"play B E5\n", b"3 is_legal W E5\n", b"play W D3\r\n", b"undo\n"],
    ),
]
