"""Pairs whose fault is a number that the language takes and the protocol does not."""

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Pair

REQUEST = re.compile(rb"(GET|HEAD) (/[!-~]*) HTTP/1\.1")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t -~]*")
RANGE = re.compile(rb"[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+|[A-Za-z0-9.+-]+/\*|\*/\*")
QVALUE = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


class BadRequest(Exception):
    """The request is answered with 400."""


def header(lines):
    """The fields by their names in lower case."""
    found = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value) or name.lower() in found:
            raise BadRequest
        found[name.lower()] = value.strip(b" \t")
    return found


class Negotiation(StreamHandler):
    """HTTP/1.1: one resource in three media types, of which Accept chooses (RFC 9110, section 12.5.1)."""

    timeout = 30
    request_timeout = 60
    variants = {
        b"text/plain": b"12 degrees\n",
        b"text/html": b"<p>12 degrees</p>\n",
        b"application/json": b'{"degrees":12}\n',
    }

    def handle(self):
        return Until(b"\r\n\r\n", limit=4096), self.head

    def head(self, data):
        line, *lines = data[:-4].split(b"\r\n")
        matched = REQUEST.fullmatch(line)
        try:
            if matched is None:
                raise BadRequest
            found = header(lines)
            if not found.get(b"host") or b"content-length" in found or b"transfer-encoding" in found:
                raise BadRequest
            best = self.best(found.get(b"accept", b"*/*"))
        except BadRequest:
            self.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return None
        if matched[2] != b"/weather":
            self.answer(b"404 Not Found", b"text/plain", b"", matched[1])
        elif best is None:
            self.answer(b"406 Not Acceptable", b"text/plain", b"", matched[1])
        else:
            self.answer(b"200 OK", best, self.variants[best], matched[1])
        if found.get(b"connection", b"").lower() == b"close":
            return None
        self.one_by_one += 1
        return self.handle()

    def answer(self, status, kind, body, method):
        self.send(b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(body)))
        if method == b"GET":
            self.send(body)

    def best(self, accept):
        """The variant with the highest quality; ``None`` if none is acceptable."""
        ranges = {}
        for element in accept.split(b","):
            kind, *parameters = (part.strip(b" \t") for part in element.split(b";"))
            if not RANGE.fullmatch(kind) or len(parameters) > 1:
                raise BadRequest
            ranges[kind.lower()] = self.quality(parameters[0]) if parameters else 1.0
        qualities = {}
        for kind in self.variants:
            names = kind, kind.partition(b"/")[0] + b"/*", b"*/*"
            qualities[kind] = next((ranges[name] for name in names if name in ranges), 0.0)
        kind = max(qualities, key=qualities.__getitem__)
        return kind if qualities[kind] else None

    def quality(self, parameter):
        if not parameter.startswith(b"q="):
            raise BadRequest
        try:
            value = float(parameter[2:])
        except ValueError:
            raise BadRequest from None
        if not 0 <= value <= 1:
            raise BadRequest
        return value


class StrictNegotiation(Negotiation):
    def quality(self, parameter):
        if not parameter.startswith(b"q=") or not QVALUE.fullmatch(parameter, 2):
            raise BadRequest
        return float(parameter[2:])


class WorkQueue(StreamHandler):
    """beanstalkd's protocol: put, reserve, delete, peek, quit. A connection has a queue of its own."""

    timeout = 60
    request_timeout = 60
    most, largest = 8, 256
    number = r"\d{1,10}"

    def setup(self):
        self.jobs, self.last = {}, 0
        number = f"({self.number})"
        self.put_line = re.compile(f"put {number} {number} {number} {number}")
        self.id_line = re.compile(f"(delete|peek) {number}")

    async def handle(self):
        while True:
            line = await Until(b"\r\n", limit=224)
            try:
                text = line[:-2].decode()
            except UnicodeDecodeError:
                self.send(b"BAD_FORMAT\r\n")
                return
            if text == "quit":
                return
            if matched := self.put_line.fullmatch(text):
                priority, delay, time_to_run, size = map(int, matched.groups())
                if max(priority, delay, time_to_run) >= 1 << 32:
                    self.send(b"BAD_FORMAT\r\n")
                    return
                if size > self.largest:
                    self.send(b"JOB_TOO_BIG\r\n")
                    return
                body = await Exactly(size + 2)
                if not body.endswith(b"\r\n"):
                    self.send(b"EXPECTED_CRLF\r\n")
                    return
                self.put(priority, body[:-2])
            elif matched := self.id_line.fullmatch(text):
                self.by_id(matched[1], int(matched[2]))
            elif text == "reserve":
                self.reserve()
            else:
                self.send(b"UNKNOWN_COMMAND\r\n")
                return
            self.one_by_one += 1

    def put(self, priority, body):
        if len(self.jobs) == self.most:
            self.send(b"DRAINING\r\n")
            return
        self.last += 1
        self.jobs[self.last] = priority, body
        self.send(b"INSERTED %d\r\n" % self.last)

    def reserve(self):
        if not self.jobs:
            self.send(b"TIMED_OUT\r\n")
            return
        job = min(self.jobs, key=lambda job: (self.jobs[job][0], job))
        body = self.jobs.pop(job)[1]
        self.send(b"RESERVED %d %d\r\n%b\r\n" % (job, len(body), body))

    def by_id(self, command, job):
        if job not in self.jobs:
            self.send(b"NOT_FOUND\r\n")
        elif command == "delete":
            del self.jobs[job]
            self.send(b"DELETED\r\n")
        else:
            body = self.jobs[job][1]
            self.send(b"FOUND %d %d\r\n%b\r\n" % (job, len(body), body))


class StrictWorkQueue(WorkQueue):
    number = "0|[1-9][0-9]{0,9}"


LINE = re.compile(rb"([A-Za-z]{3,4})(?: ([!-~](?:[ -~]*[!-~])?))?\r\n")
OCTET = re.compile(rb"0|[1-9][0-9]{0,2}")


class ActiveFTP(StreamHandler):
    """FTP's control connection, with active transfers: the client says where it listens (RFC 959)."""

    timeout = 60
    request_timeout = 60

    def setup(self):
        self.is_anonymous, self.is_in, self.target = False, False, None

    def handle(self):
        self.send(b"220 ready\r\n")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=512), self.line

    def line(self, data):
        matched = LINE.fullmatch(data)
        if matched is None:
            self.send(b"500 syntax error\r\n")
            return None
        verb, argument = matched[1].upper(), matched[2] or b""
        if verb == b"QUIT":
            self.send(b"221 bye\r\n")
            return None
        if verb == b"USER" and argument:
            self.is_anonymous, self.is_in = argument == b"anonymous", False
            self.send(b"331 password, please\r\n")
        elif verb == b"PASS":
            self.is_in = self.is_anonymous
            self.send(b"230 logged in\r\n" if self.is_in else b"530 not logged in\r\n")
        elif verb == b"NOOP":
            self.send(b"200 ok\r\n")
        elif verb not in (b"PORT", b"LIST"):
            self.send(b"502 not implemented\r\n")
            return None
        elif not self.is_in:
            self.send(b"530 not logged in\r\n")
        elif verb == b"PORT":
            return self.port(argument)
        elif self.target is None:
            self.send(b"425 no data connection\r\n")
        else:
            self.send(b"150 sending to %b port %d\r\n226 done\r\n" % self.target)
        return self.following()

    def port(self, argument):
        numbers = self.numbers(argument)
        if numbers is None:
            self.send(b"501 six numbers, please\r\n")
            return None
        port = numbers[4] << 8 | numbers[5]
        if port < 1024:
            self.send(b"504 no such port\r\n")
        else:
            self.target = b"%d.%d.%d.%d" % tuple(numbers[:4]), port
            self.send(b"200 ok\r\n")
        return self.following()

    def numbers(self, argument):
        """The six numbers, or ``None``."""
        try:
            numbers = [int(number) for number in argument.split(b",")]
        except ValueError:
            return None
        if len(numbers) != 6 or min(numbers) < 0 or max(numbers) > 255:
            return None
        return numbers


class ExactActiveFTP(ActiveFTP):
    def numbers(self, argument):
        parts = argument.split(b",")
        if len(parts) != 6 or not all(map(OCTET.fullmatch, parts)):
            return None
        numbers = [int(number) for number in parts]
        return numbers if max(numbers) <= 255 else None


HOST = b"Host: weather.example\r\n"
PAIRS = [
    # Fault: a quality is what float() takes: 5e-1, +0.5, .5, 1_0e-1, 0.12345.
    Pair(
        "accept-quality", 1, Negotiation, StrictNegotiation,
        [
            b"GET /weather HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /weather HTTP/1.1\r\n" + HOST + b"Accept: text/html, text/*;q=0.5, */*;q=0.1\r\n\r\n",
            b"HEAD /weather HTTP/1.1\r\n" + HOST + b"Accept: text/plain;q=0.3, application/json;q=0.75\r\n\r\n",
            b"GET /weather HTTP/1.1\r\n" + HOST + b"Accept: image/png\r\n\r\n",
            b"GET /tides HTTP/1.1\r\n" + HOST + b"Accept: text/plain\r\nConnection: close\r\n\r\n",
        ],
        {},
    ),
    # Fault: \d of a pattern of str is any Unicode digit, and int() takes those too; needless zeros as well.
    Pair(
        "beanstalkd-digits", 1, WorkQueue, StrictWorkQueue,
        [
            b"put 10 0 60 5\r\nhello\r\n",
            b"put 5 0 120 11\r\nurgent work\r\n",
            b"peek 1\r\n",
            b"reserve\r\n",
            b"delete 1\r\n",
            b"reserve\r\n",
            b"quit\r\n",
        ],
        {"kept": 4096},
    ),
    # Fault: int() takes +1, 1_0, a blank and needless zeros in the numbers of PORT.
    Pair(
        "ftp-port", 1, ActiveFTP, ExactActiveFTP,
        [
            b"USER anonymous\r\n",
            b"PASS ada@example.org\r\n",
            b"NOOP\r\n",
            b"LIST\r\n",
            b"PORT 192,168,1,20,195,80\r\n",
            b"LIST\r\n",
            b"QUIT\r\n",
        ],
        {},
    ),
]  # fmt: skip
