"""Numbers that the language takes."""

import re

from handlers import StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

HEAD = Until(b"\r\n\r\n", limit=2048)
PATH = re.compile(rb"/[!-~]*")
SPAN = re.compile(rb"(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})?|-(0|[1-9][0-9]{0,14})")
FILES = {b"/alphabet": b"abcdefghijklmnopqrstuvwxyz", b"/digits": b"0123456789" * 4}


class Ranges(StreamHandler):
    """Files over HTTP/1.1, whole or a range of each."""

    timeout = 30
    request_timeout = 30

    def handle(self):
        self.one_by_one += 1
        return HEAD, self.head

    def head(self, data):
        lines = data[:-4].split(b"\r\n")
        method, _, rest = lines[0].partition(b" ")
        path, _, version = rest.partition(b" ")
        try:
            found = fields(lines[1:])
        except Malformed:
            found = {}
        if version != b"HTTP/1.1" or b"host" not in found or method not in (b"GET", b"HEAD"):
            return self.refuse(b"400 Bad Request")
        if PATH.fullmatch(path) is None:
            return self.refuse(b"400 Bad Request")
        if b"content-length" in found or b"transfer-encoding" in found:
            return self.refuse(b"413 Content Too Large")
        content = FILES.get(path)
        if content is None:
            self.answer(b"404 Not Found", b"", b"no such file\n", method)
        elif b"range" not in found:
            self.answer(b"200 OK", b"Accept-Ranges: bytes\r\n", content, method)
        else:
            return self.part(method, found[b"range"], content)
        return self.handle()

    def part(self, method, value, content):
        unit, _, asked = value.partition(b"=")
        size = len(content)
        try:
            first, last = self.span(asked, size)
        except ValueError:
            return self.refuse(b"400 Bad Request")
        if unit != b"bytes" or first > last:
            return self.refuse(b"400 Bad Request")
        if first >= size:
            self.answer(b"416 Range Not Satisfiable", b"Content-Range: bytes */%d\r\n" % size, b"", method)
        else:
            last = min(last, size - 1)
            where = b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, size)
            self.answer(b"206 Partial Content", where, content[first : last + 1], method)
        return self.handle()

    def span(self, asked, size):
        first, dash, last = asked.partition(b"-")
        if not dash:
            raise ValueError("no range")
        if not first:
            return max(0, size - int(last)), max(size, 1)
        return int(first), int(last) if last else max(size, int(first))

    def answer(self, status, more, content, method):
        self.send(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n" % (status, more, len(content)))
        if method == b"GET":
            self.send(content)

    def refuse(self, status):
        self.send(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)


class RightRanges(Ranges):
    def span(self, asked, size):
        if SPAN.fullmatch(asked) is None:
            raise ValueError("no range")
        return super().span(asked, size)


AMOUNT = re.compile(rb"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,6})?")
SECONDS = re.compile(rb"[1-9][0-9]{9}")
NAME = re.compile(rb"[A-Za-z0-9._/-]{1,48}")
TAG = re.compile(rb"[A-Za-z0-9._/-]{1,24}=[A-Za-z0-9._/-]{1,24}")


class Points(StreamHandler):
    """The line protocol of OpenTSDB: put, stats, version, exit. Keeps the sum and the largest of 16 metrics."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.metrics = {}

    async def handle(self):
        while True:
            self.one_by_one += 1
            line = await Until(b"\n", limit=256)
            words = line[:-1].split(b" ")
            if words[0] == b"put":
                if not self.put(words[1:]):
                    self.send(b"put: illegal argument\n")
                    return
            elif words == [b"stats"]:
                self.stats()
            elif words == [b"version"]:
                self.send(b"net.opentsdb.tools BuildData built at revision 8c7cd8b\n")
            elif words == [b"exit"]:
                return
            else:
                self.send(b"unknown command\n")
                return

    def put(self, words):
        """Take ``metric timestamp value tag=value...``. Whether it was well-formed."""
        if not 4 <= len(words) <= 11 or NAME.fullmatch(words[0]) is None or SECONDS.fullmatch(words[1]) is None:
            return False
        if not all(map(TAG.fullmatch, words[3:])):
            return False
        try:
            value = self.value(words[2])
        except ValueError:
            return False
        if words[0] not in self.metrics and len(self.metrics) == 16:
            return False
        count, total, largest = self.metrics.get(words[0], (0, 0.0, 0.0))
        self.metrics[words[0]] = count + 1, total + value, max(largest, value)
        return True

    def value(self, text):
        return float(text)

    def stats(self):
        self.send(b"tsd.metrics %d\n" % len(self.metrics))
        for name, (count, total, largest) in self.metrics.items():
            self.send(b"tsd.points %b count=%d mean=%.3f max=%.3f\n" % (name, count, total / count, largest))


class RightPoints(Points):
    def value(self, text):
        if AMOUNT.fullmatch(text) is None:
            raise ValueError("no amount")
        return float(text)


PLACE = re.compile(r"0|[1-9][0-9]{0,11}")


class Restarts(StreamHandler):
    """The control connection of an FTP server that knows UTF-8 (RFC 2640) and REST (RFC 3659). No data connection."""

    timeout = 60
    request_timeout = 60
    sizes = {"/readme.txt": 1024, "/été.txt": 77}

    def setup(self):
        self.user, self.is_in, self.offset = None, False, 0

    def handle(self):
        self.send(b"220 ready\r\n")
        return self.go_on()

    def go_on(self, answer=""):
        if answer:
            self.send(answer.encode())
        self.one_by_one += 1
        return Until(b"\r\n", limit=512), self.command

    def refuse(self, answer):
        self.send(answer)

    def command(self, data):
        try:
            line = data[:-2].decode()
        except UnicodeDecodeError:
            return self.refuse(b"501 not UTF-8\r\n")
        verb, blank, argument = line.partition(" ")
        method = getattr(self, "do_" + verb.lower(), None) if verb.isalpha() and verb.isascii() else None
        if not line.isprintable() or method is None or bool(blank) != bool(argument):
            return self.refuse(b"500 command not understood\r\n")
        if not self.is_in and verb.lower() not in ("user", "pass", "quit", "noop"):
            return self.refuse(b"530 log in first\r\n")
        return method(argument)

    def do_user(self, name):
        self.user, self.is_in = name, False
        return self.go_on("331 password, please\r\n") if name else self.refuse(b"501 a name\r\n")

    def do_pass(self, password):
        if (self.user, password) != ("ada", "lovelace"):
            return self.refuse(b"530 not logged in\r\n")
        self.is_in = True
        return self.go_on("230 logged in\r\n")

    def do_rest(self, place):
        if not self.is_number(place):
            return self.refuse(b"501 a number of bytes\r\n")
        self.offset = int(place)
        return self.go_on(f"350 restarting at {self.offset}\r\n")

    def is_number(self, text):
        return len(text) <= 12 and text.isdigit()

    def do_size(self, path):
        return self.go_on(f"213 {self.sizes[path]}\r\n" if path in self.sizes else "550 no such file\r\n")

    def do_retr(self, path):
        offset, self.offset = self.offset, 0
        if offset > self.sizes.get(path, -1):
            return self.go_on("550 no such file, or not so long\r\n")
        return self.go_on(f"425 no data connection for {self.sizes[path] - offset} bytes\r\n")

    def do_noop(self, argument):
        return self.refuse(b"501 no argument\r\n") if argument else self.go_on("200 well\r\n")

    def do_quit(self, argument):
        return self.refuse(b"501 no argument\r\n" if argument else b"221 goodbye\r\n")


class RightRestarts(Restarts):
    def is_number(self, text):
        return PLACE.fullmatch(text) is not None


PAIRS = [
    # Fault: int() takes the ends of a range, so `bytes=+1-1_0` and `bytes=01- 9` are ranges.
    Pair(
        "http-ranges", 1, Ranges, RightRanges,
        [
            b"GET /alphabet HTTP/1.1\r\nHost: files.example\r\n\r\n",
            b"GET /alphabet HTTP/1.1\r\nHost: files.example\r\nRange: bytes=2-10\r\n\r\n",
            b"HEAD /digits HTTP/1.1\r\nHost: files.example\r\nRange: bytes=12-\r\n\r\n",
            b"GET /digits HTTP/1.1\r\nHost: files.example\r\nUser-Agent: curl/8.5.0\r\nRange: bytes=-5\r\n\r\n",
            b"GET /digits HTTP/1.1\r\nHost: files.example\r\nRange: bytes=40-49\r\n\r\n",
            b"GET /none HTTP/1.1\r\nHost: files.example\r\n\r\n",
        ],
    ),
    # Fault: float() takes a value, so `nan`, `inf`, `1e9` and `1_0` are points.
    Pair(
        "opentsdb-put", 1, Points, RightPoints,
        [
            b"version\n",
            b"put sys.cpu.user 1356998400 42.5 host=webserver01 cpu=0\n",
            b"put sys.cpu.user 1356998460 17.25 host=webserver01 cpu=0\n",
            b"put proc.loadavg 1356998460 3 host=webserver01\n",
            b"stats\n",
            b"exit\n",
        ],
        {"kept": 4096},
    ),
    # Fault: str.isdigit() and int() take `٣` and `007`; `²` is a digit and no number, so it raises.
    Pair(
        "ftp-restart", 1, Restarts, RightRestarts,
        [
            b"USER ada\r\n",
            b"PASS lovelace\r\n",
            b"NOOP\r\n",
            b"SIZE /readme.txt\r\n",
            b"REST 512\r\n",
            b"RETR /readme.txt\r\n",
            "SIZE /été.txt\r\n".encode(),
            "RETR /été.txt\r\n".encode(),
            b"QUIT\r\n",
        ],
        {"kept": 4096},
    ),
]  # fmt: skip
