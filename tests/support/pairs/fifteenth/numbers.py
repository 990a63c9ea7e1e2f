"""Numbers that the language takes."""

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

METRIC = re.compile(rb"([A-Za-z][A-Za-z0-9_.-]{0,63}):([^|]+)\|(c|g|ms)(?:\|@([^|]+))?")
NUMBER = re.compile(rb"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{0,5}[1-9])?")
MOST_METRICS = 64


class Statsd(StreamHandler):
    """statsd over TCP, with its administrative commands on the same connection."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.counters, self.gauges, self.timers = {}, {}, {}

    def handle(self):
        self.one_by_one += 1
        return Until(b"\n", limit=256), self.line

    def line(self, data):
        line = data[:-1]
        sections = {b"counters": self.counters, b"gauges": self.gauges, b"timers": self.timers}
        if line == b"quit":
            return None
        if line == b"health":
            self.send(b"health: up\n")
        elif line in sections:
            values = sections[line]
            self.send(b"".join(b"%b: %.3f\n" % (name, values[name]) for name in sorted(values)) + b"END\n\n")
        else:
            matched = METRIC.fullmatch(line)
            if matched is None:
                self.send(b"ERROR\n")
                return None
            self.measure(*matched.groups())
        return self.handle()

    def measure(self, name, text, kind, rate):
        value, share = self.number(text), 1.0
        if rate is not None:
            share = self.number(rate)
            if kind == b"g" or not 0 < share <= 1:
                raise Malformed("a sample rate from 0 to 1, and of counters and timers only")
        values = {b"c": self.counters, b"g": self.gauges, b"ms": self.timers}[kind]
        if name not in values and len(self.counters) + len(self.gauges) + len(self.timers) >= MOST_METRICS:
            raise Malformed("too many metrics")
        if kind == b"c":
            values[name] = values.get(name, 0.0) + value / share
        elif kind == b"g":
            values[name] = value
        else:
            values[name] = max(values.get(name, 0.0), value)

    def number(self, text):
        if NUMBER.fullmatch(text) is None:
            raise Malformed("no number")
        return float(text)


class BrokenStatsd(Statsd):
    def number(self, text):
        try:
            value = float(text)
        except ValueError:
            raise Malformed("no number") from None
        if value < 0 or value > 1e15:
            raise Malformed("a number out of range")
        return value


HEADER = re.compile(r"([A-Za-z][A-Za-z-]{0,31}): ([^\r]+)")
EVENT = re.compile(r"sendevent ([A-Z_]{1,32})")


def reply(text):
    return b"Content-Type: command/reply\nReply-Text: %b\n\n" % text


class EventSocket(StreamHandler):
    """FreeSWITCH's event socket: a command, its headers, and the body whose length they give."""

    timeout = 30
    request_timeout = 30
    known = {"api status": b"UP 0 years\n", "api version": b"FreeSWITCH Version 1.10\n"}

    async def handle(self):
        self.is_known = False
        self.send(b"Content-Type: auth/request\n\n")
        while True:
            self.one_by_one += 1
            head = await Until(b"\n\n", limit=2048)
            try:
                command, *lines = head[:-2].decode().split("\n")
            except UnicodeDecodeError:
                raise Malformed("no UTF-8") from None
            event = EVENT.fullmatch(command)
            if event is not None and self.is_known:
                headers = self.headers(lines)
                body = await Exactly(self.length(headers.get("content-length", "0")), limit=16_384)
                self.send(reply(b"+OK %b %d headers %d bytes" % (event[1].encode(), len(headers), len(body))))
            elif command == "exit" and not lines:
                self.send(reply(b"+OK bye"))
                return
            elif lines or not self.simple(command):
                self.send(reply(b"-ERR command not found"))
                return

    def simple(self, command):
        """Do a command without headers. Whether it is one, and the conversation goes on."""
        if command == "auth ClueCon":
            self.is_known = True
            self.send(reply(b"+OK accepted"))
        elif not self.is_known:
            return False
        elif command in self.known:
            answer = self.known[command]
            self.send(b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(answer), answer))
        elif command in ("event plain ALL", "noevents"):
            self.send(reply(b"+OK event listener enabled plain" if command[0] == "e" else b"+OK no longer listening"))
        else:
            return False
        return True

    def headers(self, lines):
        found = {}
        for line in lines:
            matched = HEADER.fullmatch(line)
            if matched is None or matched[1].lower() in found:
                raise Malformed("no header")
            found[matched[1].lower()] = matched[2]
        return found

    def length(self, text):
        if not (text.isascii() and text.isdigit()) or len(text) > 5 or (text[0] == "0" and text != "0"):
            raise Malformed("no length")
        return int(text)


class BrokenEventSocket(EventSocket):
    def length(self, text):
        if not text.isdigit() or len(text) > 5:
            raise Malformed("no length")
        return int(text)


HEX = re.compile(rb"[0-9a-f]{4}")
OBJECT = re.compile(rb"oid ([0-9a-f]{40})")
MAIN, TAG, PEELED = b"1f" * 20, b"2e" * 20, b"3d" * 20
REFS = [(b"HEAD", MAIN), (b"refs/heads/main", MAIN), (b"refs/tags/v1.0", TAG)]
SIZES = {MAIN: 231, TAG: 148}
MOST_LINES = 32


def packet(line):
    return b"%04x%b" % (len(line) + 4, line)


class GitUpload(StreamHandler):
    """git-upload-pack, version 2 of its protocol, for those who only list."""

    timeout = 30
    request_timeout = 30

    async def handle(self):
        lines = b"version 2\n", b"agent=git/2.39.2\n", b"ls-refs\n", b"object-info\n"
        self.send(b"".join(map(packet, lines)) + b"0000")
        while True:
            self.one_by_one += 1
            command = await self.line()
            if command is None:
                return
            arguments = await self.arguments()
            if command == b"command=ls-refs":
                answer = self.refs(arguments)
            elif command == b"command=object-info" and arguments[:1] == [b"size"]:
                answer = self.sizes(arguments[1:])
            else:
                answer = None
            if answer is None:
                self.send(packet(b"ERR unknown request\n"))
                return
            self.send(answer + b"0000")

    async def line(self):
        """The next line; ``None`` for a flush, ``b""`` for a delimiter."""
        size = self.size(await Exactly(4))
        if size < 2:
            return b"" if size else None
        if size < 5:
            raise Malformed("no line")
        return (await Exactly(size - 4, limit=1024)).removesuffix(b"\n")

    async def arguments(self):
        """What comes after the delimiter, up to the flush."""
        lines = []
        while (line := await self.line()) is not None:
            lines.append(line)
            if len(lines) > MOST_LINES:
                raise Malformed("too many lines")
        place = (*lines, b"").index(b"")
        if lines.count(b"") > 1 or not all(line.startswith((b"agent=", b"object-format=")) for line in lines[:place]):
            raise Malformed("no capability")
        return lines[place + 1 :]

    def refs(self, arguments):
        prefixes = tuple(line[11:] for line in arguments if line.startswith(b"ref-prefix "))
        if len(prefixes) + arguments.count(b"peel") + arguments.count(b"symrefs") < len(arguments):
            return None
        answer = b""
        for name, oid in REFS:
            if not prefixes or name.startswith(prefixes):
                line = oid + b" " + name
                if name == b"HEAD" and b"symrefs" in arguments:
                    line += b" symref-target:refs/heads/main"
                if oid == TAG and b"peel" in arguments:
                    line += b" peeled:" + PEELED
                answer += packet(line + b"\n")
        return answer

    def sizes(self, arguments):
        found = [OBJECT.fullmatch(line) for line in arguments]
        if None in found:
            return None
        lines = (b"%b %b\n" % (oid[1], b"%d" % SIZES[oid[1]] if oid[1] in SIZES else b"") for oid in found)
        return packet(b"size\n") + b"".join(map(packet, lines))

    def size(self, head):
        if HEX.fullmatch(head) is None:
            raise Malformed("no length")
        size = int(head, 16)
        if size > 65_520:
            raise Malformed("too long")
        return size


class BrokenGitUpload(GitUpload):
    def size(self, head):
        try:
            size = int(head, 16)
        except ValueError:
            raise Malformed("no length") from None
        if not 0 <= size <= 65_520:
            raise Malformed("too long")
        return size


PAIRS = [
    # Fault: float() takes nan, 1e5, 1_0, +5 and blanks, and a gauge or a counter has that value from then on.
    Pair(
        "statsd-gauges",
        1,
        BrokenStatsd,
        Statsd,
        [
            b"web.requests:1|c\n",
            b"web.requests:3|c|@0.1\n",
            b"web.latency:320|ms\n",
            b"web.latency:12.5|ms|@0.5\n",
            b"queue.depth:333|g\n",
            b"queue.depth:0|g\n",
            b"disk.used:71.25|g\n",
            b"health\n",
            b"counters\n",
            b"gauges\n",
            b"timers\n",
            b"quit\n",
        ],
        {"kept": 32_768},
    ),
    # Fault: str.isdigit() takes superscripts, at which int() raises, and digits of other scripts; zeros in front too.
    Pair(
        "freeswitch-event-socket",
        1,
        BrokenEventSocket,
        EventSocket,
        [
            b"auth ClueCon\n\n",
            b"api status\n\n",
            b"api version\n\n",
            b"event plain ALL\n\n",
            b"sendevent NOTIFY\nprofile: internal\nevent-string: check-sync\n\n",
            "sendevent SEND_MESSAGE\nsubject: für alle\ncontent-length: 14\n\nHello, world!\n".encode(),
            b"sendevent SEND_INFO\ncontent-type: text/plain\ncontent-length: 0\n\n",
            b"noevents\n\n",
            b"exit\n\n",
        ],
        {"kept": 4096},
    ),
    # Fault: int(head, 16) takes 0x1f, +01f, 1_1f and blanks as the length of a line.
    Pair(
        "git-want-lines",
        1,
        BrokenGitUpload,
        GitUpload,
        [
            (
                b"0014command=ls-refs\n0015agent=git/2.39.2\n0017object-format=sha1\n00010009peel\n000csymrefs\n"
                b"001bref-prefix refs/heads/\n001aref-prefix refs/tags/\n0000"
            ),
            b"0014command=ls-refs\n0001000csymrefs\n0014ref-prefix HEAD\n0000",
            b"0018command=object-info\n00010009size\n0031oid " + MAIN + b"\n0031oid " + PEELED + b"\n0000",
            b"0013command=ls-refs0000",
            b"0000",
        ],
        {"kept": 4096},
    ),
]
