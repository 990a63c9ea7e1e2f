"""Pairs of the kind 12: a return that is forgotten, a sleep, a coroutine that nobody awaits."""

from __future__ import annotations

import re
import time
from hmac import compare_digest
from typing import TYPE_CHECKING

from handlers import Delay, Flushed, LimitPassed, StreamHandler, Until
from handlers.telnet import Piece, Telnet
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Cause, Step

# Ident

QUERY_LINE = Until(b"\r\n", limit=1002)
QUERY = re.compile(rb"[ \t]*([0-9]{1,5})[ \t]*,[ \t]*([0-9]{1,5})[ \t]*\r\n")
USERS = {(22, 40_001): b"ada", (6193, 23): b"stjohns", (25, 40_100): b"mail"}


class Ident(StreamHandler):
    """Says whose a connection is (RFC 1413)."""

    timeout = 60
    request_timeout = 30

    def setup(self) -> None:
        self.one_by_one = 0

    def handle(self) -> Step:
        return QUERY_LINE, self.query

    def following(self) -> Step:
        self.one_by_one += 1
        return self.handle()

    def query(self, line: bytes) -> Step:
        matched = QUERY.fullmatch(line)
        if matched is None:
            raise Malformed("no query")
        ports = int(matched[1]), int(matched[2])
        if not all(1 <= port <= 65_535 for port in ports):
            self.put(ports, b"ERROR : INVALID-PORT")
        return self.look_up(ports)

    def look_up(self, ports: tuple[int, int]) -> Step:
        user = USERS.get(ports)
        if user is None:
            self.put(ports, b"ERROR : NO-USER")
        else:
            self.put(ports, b"USERID : UNIX : " + user)
        return self.following()

    def put(self, ports: tuple[int, int], what: bytes) -> None:
        self.send(b"%d , %d : %b\r\n" % (*ports, what))


class IdentRight(Ident):
    """Says whose a connection is (RFC 1413)."""

    def query(self, line: bytes) -> Step:
        matched = QUERY.fullmatch(line)
        if matched is None:
            raise Malformed("no query")
        ports = int(matched[1]), int(matched[2])
        if not all(1 <= port <= 65_535 for port in ports):
            self.put(ports, b"ERROR : INVALID-PORT")
            return self.following()
        return self.look_up(ports)


# Telnet

PASSWORDS = {b"ada": b"lovelace", b"bob": b"builder"}
PENALTY = 0.5
TRIES = 3


class TelnetLogin(Telnet):
    """A console behind a login (RFC 854). Who gives a wrong password must wait before the next."""

    timeout = 60
    request_timeout = 300  # for one line
    nvt_piece = Piece(limit=512)

    def setup(self) -> None:
        self.one_by_one = 0
        self.user: bytes | None = None
        self.tries = 0
        self.counter = 0
        self.obey = self.name

    def handle(self) -> Step:
        self.send(b"login: ")
        return super().handle()

    def line(self, line: bytes) -> Step:
        self.one_by_one += 1
        return self.obey(line)

    def name(self, name: bytes) -> Step:
        self.user = name
        self.send(b"Password: ")
        self.obey = self.password
        return self.next_line()

    def password(self, password: bytes) -> Step:
        known = PASSWORDS.get(self.user, b"")
        if compare_digest(known, password) and known:
            self.send(b"Welcome\r\n> ")
            self.obey = self.command_line
            return self.next_line()
        self.tries += 1
        return self.penalty()

    def penalty(self) -> Step:
        """Let some time pass, for guesses to be few."""
        time.sleep(PENALTY)
        return self.again(None)

    def again(self, _: None) -> Step:
        self.send_line(b"Login incorrect")
        if self.tries == TRIES:
            return None
        self.send(b"login: ")
        self.obey = self.name
        return self.next_line()

    def command_line(self, line: bytes) -> Step:
        command, _, argument = line.partition(b" ")
        if line == b"logout":
            self.send_line(b"bye")
            return None
        if line == b"whoami":
            self.send_line(self.user)
        elif command == b"count" and re.fullmatch(rb"[0-9]{1,6}", argument):
            self.counter += int(argument)
            self.send_line(b"%d" % self.counter)
        elif line:
            self.send_line(b"?")
        self.send(b"> ")
        return self.next_line()


class TelnetLoginRight(TelnetLogin):
    """A console behind a login (RFC 854). Who gives a wrong password must wait before the next."""

    def penalty(self) -> Step:
        """Let some time pass, for guesses to be few."""
        return Delay(PENALTY), self.again


# statsd

STATS_LINE = Until(b"\n", limit=512)
METRIC = re.compile(rb"([A-Za-z0-9_.-]{1,200}):([+-]?[0-9]{1,9})\|([cg])\n")
MAX_METRICS = 10_000
LISTED = {b"counters\n": b"c", b"gauges\n": b"g"}


class Statsd(StreamHandler):
    """Counters and gauges over TCP (statsd), and the commands of its console that list them."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.one_by_one = 0
        self.values: dict[tuple[bytes, bytes], int] = {}

    async def handle(self) -> None:
        while (line := await STATS_LINE) != b"quit\n":
            matched = METRIC.fullmatch(line)
            if matched:
                self.count(matched[3], matched[1], matched[2])
            elif line in LISTED:
                await self.list(LISTED[line])
            else:
                self.send(b"ERROR\n")
            self.one_by_one += 1

    def count(self, kind: bytes, name: bytes, value: bytes) -> None:
        if (kind, name) not in self.values and len(self.values) == MAX_METRICS:
            raise Malformed("too many metrics")
        is_change = kind == b"c" or value[:1] in (b"+", b"-")
        self.values[kind, name] = int(value) + (self.values.get((kind, name), 0) if is_change else 0)

    async def list(self, kind: bytes) -> None:
        """Send the metrics of a kind, which may be many, as the client takes them."""
        for (its, name), value in sorted(self.values.items()):
            if its == kind:
                self.send(b"%b: %d\n" % (name, value))
                self.room()
        self.send(b"END\n\n")

    async def room(self) -> None:
        """Wait until what was sent has left."""
        await Flushed()

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, (Malformed, LimitPassed)):
            self.send(b"ERROR\n")


class StatsdRight(Statsd):
    """Counters and gauges over TCP (statsd), and the commands of its console that list them."""

    async def list(self, kind: bytes) -> None:
        """Send the metrics of a kind, which may be many, as the client takes them."""
        for (its, name), value in sorted(self.values.items()):
            if its == kind:
                self.send(b"%b: %d\n" % (name, value))
                await self.room()
        self.send(b"END\n\n")


PAIRS = [
    Pair(
        "ident-port",
        12,
        Ident,
        IdentRight,
        [
            b"6193, 23\r\n",
            b"22 , 40001\r\n25,40100\r\n",
            b"22, 40002\r\n",
            b"  1 ,\t65535 \r\n",
        ],
        {"meant": ["takes_plain_numbers_only"]},
    ),
    Pair(
        "telnetlogin",
        12,
        TelnetLogin,
        TelnetLoginRight,
        [
            b"\xff\xfd\x01\xff\xfb\x1fada\r\n",
            b"turing\r\n",
            b"ada\r\n",
            b"lovelace\r\n",
            b"whoami\r\ncount 5\r\n",
            b"count 37\r\nreboot\r\n",
            b"logout\r\n",
        ],
    ),
    Pair(
        "statsd-tcp",
        12,
        Statsd,
        StatsdRight,
        [
            b"page.views:1|c\npage.views:3|c\n",
            b"page.errors:1|c\nusers.online:12|g\n",
            b"counters\n",
            b"users.online:-2|g\ngauges\n",
            b"page.views:1|c\npage.time:320|ms\n",
            b"counters\nquit\n",
        ],
        {"kept": 1 << 20, "meant": ["takes_plain_numbers_only"]},
    ),
]
