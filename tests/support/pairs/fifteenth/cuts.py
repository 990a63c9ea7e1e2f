"""Effects of how a read was cut."""

import re

from handlers import Some, StreamHandler
from tests.support.pairs.pair import Buffered, Malformed, Pair

PING, QUIT, INIT_DB, QUERY, STATISTICS = 14, 1, 2, 3, 9
MAX_PACKET = 16_384
OK, EOF = b"\0\0\0\2\0\0\0", b"\xfe\0\0\2\0"
LOGIN = re.compile(rb".{4}.{4}.\0{23}([a-z]{1,16})\0\0(?:[a-z_]{1,32}\0)?", re.DOTALL)
SCHEMAS = {b"test", b"information_schema"}
GREETING = (
    b"\x0a8.0.36\0\1\0\0\0abcdefgh\0\x09\x82\xff\2\0\x08\0\x15" + bytes(10) + b"ijklmnopqrst\0mysql_native_password\0"
)


def packets(number, *payloads):
    """The payloads as packets, numbered from ``number`` on."""
    return b"".join(
        len(payload).to_bytes(3, "little") + bytes([number + at]) + payload for at, payload in enumerate(payloads)
    )


def result(column, value):
    """The answer to a query that has one value."""
    described = b"\3def\0\0\0%c%b\0\x0c\xff\0\x14\0\0\0\xfd\0\0\0\0\0" % (len(column), column)
    return packets(1, b"\1", described, EOF, b"%c%b" % (len(value), value), EOF)


QUERIES = {
    b"SET NAMES utf8mb4": packets(1, OK),
    b"SELECT 1": result(b"1", b"1"),
    b"SELECT @@version": result(b"@@version", b"8.0.36"),
}


class MySQL(StreamHandler):
    """MySQL's protocol, as much of it as monitoring needs, for users without a password."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.buffer, self.is_known = bytearray(), False

    def handle(self):
        self.send(packets(0, GREETING))
        return Some(), self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.buffer += data
        used = 0
        while len(self.buffer) >= used + 4:
            start, size = used + 4, int.from_bytes(self.buffer[used : used + 3], "little")
            if not 0 < size <= MAX_PACKET:
                raise Malformed("no packet")
            if len(self.buffer) < start + size:
                break
            if not self.take(self.buffer[used + 3], bytes(self.buffer[start : start + size])):
                return None
            used = start + size
        self.drop(used, data)
        self.one_by_one += used > 0
        return Some(), self.more if self.buffer else self.first

    def drop(self, used, data):
        """Keep what is not yet a whole packet."""
        del self.buffer[:used]

    def take(self, number, payload):
        """Answer a packet. Whether more may follow."""
        if number != (not self.is_known):
            raise Malformed("out of order")
        if not self.is_known:
            self.is_known = LOGIN.fullmatch(payload) is not None
            refused = b"\xff\x15\x04#28000Access denied"
            self.send(packets(2, OK if self.is_known else refused))
            return self.is_known
        answer = self.answer(payload[0], payload[1:])
        if answer is None:
            self.send(packets(1, b"\xff\x17\x04#08S01Unknown command"))
        return bool(answer) and (self.send(answer) or True)

    def answer(self, command, rest):
        """What the command is answered with; ``None``: it is none; nothing after the last."""
        if command in (PING, QUIT, STATISTICS) and not rest:
            return {PING: packets(1, OK), QUIT: b"", STATISTICS: packets(1, b"Uptime: 7  Threads: 1")}[command]
        if command == INIT_DB:
            return packets(1, OK if rest in SCHEMAS else b"\xff\x19\x04#42000Unknown database")
        if command == QUERY:
            return QUERIES.get(rest, packets(1, b"\xff\x28\x04#42000You have an error in your SQL syntax"))
        return None


class BrokenMySQL(MySQL):
    def drop(self, used, data):
        if used:
            self.buffer = bytearray(data[used:])


MAX_LINE = 128
SETTING = re.compile(rb"F ([1-9][0-9]{3,9})|M ([A-Z]{2,5}) (0|[1-9][0-9]{0,4})|V (VFO[AB])|T ([01])")


class Rig(StreamHandler):
    """rigctld of Hamlib: the frequency and the mode of a radio. A setting is answered with RPRT and a number."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.buffer, self.searched = bytearray(), 0
        self.frequency, self.mode, self.width, self.vfo, self.transmits = 145_000_000, b"FM", b"15000", b"VFOA", b"0"

    def handle(self):
        return Some(), self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.buffer += data
        lines, is_long = self.lines()
        for line in lines:
            if not self.line(line):
                return None
        if is_long:
            self.send(b"RPRT -1\n")
            return None
        self.one_by_one += len(lines) > 0
        self.searched = len(self.buffer)
        return Some(), self.more if self.buffer else self.first

    def lines(self):
        """The lines that have come, up to the first that is too long; whether there is such a one."""
        last = self.buffer.rfind(b"\n", self.searched)
        lines = bytes(self.buffer[:last]).split(b"\n") if last >= 0 else []
        del self.buffer[: last + 1]
        for number, line in enumerate(lines):
            if len(line) > MAX_LINE:
                return lines[:number], True
        return lines, len(self.buffer) > MAX_LINE

    def line(self, line):
        """Answer a line. Whether more may follow."""
        if line == b"q":
            return False
        values = {
            b"f": b"%d" % self.frequency,
            b"m": self.mode + b"\n" + self.width,
            b"v": self.vfo,
            b"t": self.transmits,
            b"_": b"Dummy",
        }
        if line in values:
            self.send(values[line] + b"\n")
            return True
        matched = SETTING.fullmatch(line)
        if matched is None:
            self.send(b"RPRT -1\n")
            return False
        if matched[1]:
            self.frequency = int(matched[1])
        elif matched[2]:
            self.mode, self.width = matched[2], matched[3]
        else:
            self.vfo, self.transmits = matched[4] or self.vfo, matched[5] or self.transmits
        self.send(b"RPRT 0\n")
        return True


class BrokenRig(Rig):
    def lines(self):
        if len(self.buffer) > MAX_LINE:
            return [], True
        last = self.buffer.rfind(b"\n", self.searched)
        lines = bytes(self.buffer[:last]).split(b"\n") if last >= 0 else []
        del self.buffer[: last + 1]
        return lines, False


ROUTES = {b"64496": b"192.0.2.0/24 198.51.100.0/24", b"64497": b"203.0.113.0/24"}
SETS = {b"AS-EXAMPLE": b"AS64496 AS64497"}
ASKED = re.compile(rb"!(?:gAS([1-9][0-9]{0,9})|i(AS-[A-Z0-9-]{1,32})|n([!-~]{1,64})|t([1-9][0-9]{0,3})|([!vq]))")
MAX_QUERY = 128


class Refused(Exception):
    """A query that is none."""


class Routes(Buffered):
    """IRRd's queries: the prefixes of an autonomous system, the members of a set. They may come many at a time."""

    def setup(self):
        super().setup()
        self.stays = self.is_over = False

    def take(self):
        answers = []
        try:
            for line in self.whole(b"\n"):
                answers.append(self.answer(line))
                if self.is_over:
                    break
            if not self.is_over and len(self.buffer) > MAX_QUERY:
                raise Refused("query too long")
        except Refused as refused:
            self.is_over = True
            answers.append(self.refusal(refused))
        self.send(b"".join(answers))
        return not self.is_over

    def refusal(self, refused):
        return b"F %b\n" % str(refused).encode()

    def answer(self, line):
        if len(line) > MAX_QUERY:
            raise Refused("query too long")
        matched = ASKED.fullmatch(line)
        if matched is None:
            raise Refused("unrecognized command")
        system, members, client, seconds, letter = matched.groups()
        if letter == b"!":
            self.stays = True
            return b""
        self.is_over = letter == b"q" or not self.stays
        if letter == b"q":
            return b""
        if client or seconds:
            return b"C\n"
        found = ROUTES.get(system) if system else SETS.get(members)
        if letter == b"v":
            found = b"IRRd -- version 4.4.2"
        return b"D\n" if found is None else b"A%d\n%b\nC\n" % (len(found) + 1, found)


class BrokenRoutes(Routes):
    def take(self):
        answers = []
        try:
            for line in self.whole(b"\n"):
                answers.append(self.answer(line))
                if self.is_over:
                    break
            if not self.is_over and len(self.buffer) > MAX_QUERY:
                raise Refused("query too long")
        except Refused as refused:
            self.send(self.refusal(refused))
            return False
        self.send(b"".join(answers))
        return not self.is_over


PAIRS = [
    # Fault: what is kept is cut out of the read, not of the buffer: wrong if a part was held, and a part is left.
    Pair(
        "mysql-packets",
        6,
        BrokenMySQL,
        MySQL,
        [
            packets(1, b"\x05\xa6\x03\0\0\0\0\1\x21" + bytes(23) + b"monitor\0\0"),
            packets(0, b"\x0e"),
            packets(0, b"\3SET NAMES utf8mb4"),
            packets(0, b"\2test"),
            packets(0, b"\2nothing"),
            packets(0, b"\3SELECT 1"),
            packets(0, b"\3SELECT @@version"),
            packets(0, b"\3SELECT 2"),
            packets(0, b"\x09"),
            packets(0, b"\1"),
        ],
        {"kept": 4096},
    ),
    # Fault: the limit of a line is held against all that came, so a client that pipelines is refused.
    Pair(
        "rigctld-limit",
        6,
        BrokenRig,
        Rig,
        [
            b"_\n",
            b"f\n",
            b"F 14250000\n",
            b"f\n",
            b"M USB 2400\n",
            b"m\n",
            b"V VFOB\n",
            b"v\n",
            b"T 1\n",
            b"t\n",
            b"T 0\n",
            b"q\n",
        ],
        {"kept": 4096},
    ),
    # Fault: a query that is refused takes with it the answers to those that came in the same read.
    Pair(
        "irrd-queries",
        6,
        BrokenRoutes,
        Routes,
        [
            b"!!\n",
            b"!nbgpq4-1.4\n",
            b"!t60\n",
            b"!v\n",
            b"!gAS64496\n",
            b"!gAS64497\n",
            b"!gAS65000\n",
            b"!iAS-EXAMPLE\n",
            b"!iAS-NOTHING\n",
            b"!q\n",
        ],
        {"kept": 4096},
    ),
]
