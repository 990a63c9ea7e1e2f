"""Numbers: ranges of a file over HTTP, the length of a mail for a spam filter, and names of objects of SNMP."""

import re
from bisect import bisect_right

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS) (/[!-~]{0,254}) HTTP/1\.1")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t -~]*")
POSITION = re.compile(rb"0|[1-9][0-9]{0,8}")
MOST_FIELDS = 40
FILES = {
    b"/fox.txt": b"The quick brown fox jumps over the lazy dog.\n",
    b"/digits.txt": b"0123456789" * 12 + b"\n",
    b"/empty.txt": b"",
}


def fields_of(lines):
    """The fields of a head by their names; `None` if a line is no field, a name comes twice, or there are too many."""
    found = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or TOKEN.fullmatch(name) is None or VALUE.fullmatch(value) is None or name in found:
            return None
        found[name] = value.strip(b" \t")
    return found if len(found) <= MOST_FIELDS else None


class Ranges(StreamHandler):
    """HTTP/1.1: files, whole or one range of their bytes (RFC 9110, section 14). A range that is none is ignored."""

    timeout = 15
    request_timeout = 30

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            line, *lines = (await Until(b"\r\n\r\n", limit=8192))[:-4].split(b"\r\n")
            matched, fields = REQUEST.fullmatch(line), fields_of(lines)
            if matched is None or fields is None or not fields.get(b"host"):
                return self.answer(b"400 Bad Request", b"Connection: close\r\n")
            if b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
                return self.answer(b"413 Content Too Large", b"Connection: close\r\n")
            method, path = matched.groups()
            if method not in (b"GET", b"HEAD"):
                self.answer(b"405 Method Not Allowed", b"Allow: GET, HEAD\r\n")
            elif path not in FILES:
                self.answer(b"404 Not Found", with_content=method == b"GET")
            elif method == b"GET" and b"range" in fields and b"if-range" not in fields:
                self.partly(FILES[path], fields[b"range"])
            else:
                self.answer(b"200 OK", b"Accept-Ranges: bytes\r\n", FILES[path], method == b"GET")
            if b"close" in fields.get(b"connection", b"").lower().replace(b" ", b"").split(b","):
                return None

    def partly(self, content, wanted):
        size = len(content)
        unit, equals, spec = wanted.partition(b"=")
        first, dash, last = spec.partition(b"-")
        start, end = self.position(first), self.position(last)
        if unit.lower() != b"bytes" or not equals or not dash or (start is None and first) or (end is None and last):
            start = end = None
        elif start is None and end is not None:
            start, end = (size - end if end < size else 0) if end else size, size - 1
        elif start is not None:
            if end is not None and end < start:
                start = None
            end = size - 1 if end is None else min(end, size - 1)
        if start is None:
            self.answer(b"200 OK", b"Accept-Ranges: bytes\r\n", content)
        elif start >= size:
            self.answer(b"416 Range Not Satisfiable", b"Content-Range: bytes */%d\r\n" % size)
        else:
            told = b"Content-Range: bytes %d-%d/%d\r\n" % (start, end, size)
            self.answer(b"206 Partial Content", told, content[start : end + 1])

    def position(self, text):
        """The number that ``text`` is; `None` if it is none."""
        return int(text) if POSITION.fullmatch(text) else None

    def answer(self, status, fields=b"", content=b"", with_content=True):
        self.send(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n" % (status, fields, len(content)))
        self.send(content if with_content else b"")


class LooseRanges(Ranges):
    """HTTP/1.1: files, whole or one range of their bytes."""

    def position(self, text):
        try:
            return int(text)
        except ValueError:
            return None


LINE = Until(b"\r\n", limit=1024)
COMMAND = re.compile(rb"(CHECK|SYMBOLS|PING) SPAMC/1\.[2-6]\r\n")
NAME = re.compile(r"[A-Za-z][A-Za-z-]{0,31}")
LONGEST_MAIL = 65_536
MOST_HEADERS = 16
RULES = [
    ("MONEY_BACK", 2.5, b"money back guarantee"),
    ("ACT_NOW", 1.5, b"act now"),
    ("CLICK_HERE", 1.0, b"click here"),
    ("SUBJ_FREE", 2.0, b"subject: free"),
    ("MISSING_DATE", 0.5, None),
]


class Spamd(StreamHandler):
    """SpamAssassin's daemon: one request, whose head has the length of the mail, and one answer."""

    timeout = 20
    request_timeout = 60
    length = re.compile(r"0|[1-9][0-9]{0,7}")

    async def handle(self):
        matched = COMMAND.fullmatch(await LINE)
        if matched is None:
            return self.refuse(76, "Bad header line: (not a request)")
        headers = {}
        while (line := await LINE) != b"\r\n":
            name, value = self.header(line[:-2])
            if name is None or name in headers:
                return self.refuse(76, "Bad header line")
            if len(headers) >= MOST_HEADERS:
                return self.refuse(76, "Too many header lines")
            headers[name] = value
        if matched[1] == b"PING":
            return self.send(b"SPAMD/1.5 0 PONG\r\n")
        told = headers.get("content-length", "")
        if not self.length.fullmatch(told):
            return self.refuse(76, "Content-Length is missing or no number")
        if int(told) > LONGEST_MAIL:
            return self.refuse(98, "Message is too large")
        mail = await Exactly(int(told))
        hits, score = self.judge(mail.lower())
        is_spam = "True" if score >= 5 else "False"
        symbols = ",".join(hits) + "\r\n" if matched[1] == b"SYMBOLS" else ""
        head = f"SPAMD/1.1 0 EX_OK\r\nContent-length: {len(symbols)}\r\nSpam: {is_spam} ; {score:.1f} / 5.0\r\n\r\n"
        self.send((head + symbols).encode())
        return None

    def header(self, line):
        """The name, in lower case, and the value of a header; no name if it is none. A value is UTF-8: `User`."""
        try:
            name, colon, value = line.decode().partition(":")
        except UnicodeDecodeError:
            return None, ""
        value = value.strip(" \t")
        is_header = colon and NAME.fullmatch(name) and value.isprintable()
        return (name.lower(), value) if is_header else (None, "")

    def judge(self, mail):
        """The rules that the mail, in lower case, matches, and the sum of their points."""
        head = mail.partition(b"\r\n\r\n")[0]
        hits, score = [], 0.0
        for rule, points, phrase in RULES:
            if (b"date:" not in head) if phrase is None else phrase in mail:
                hits.append(rule)
                score += points
        return hits, score

    def refuse(self, code, why):
        self.send(b"SPAMD/1.0 %d %b\r\n" % (code, why.encode()))


class WorldlySpamd(Spamd):
    """SpamAssassin's daemon, with one pattern for a number that has no needless zero in front."""

    length = re.compile(r"(?!0\d)\d{1,8}")


INTEGER, OCTETS, NULL, OID, SEQUENCE, TICKS = 0x02, 0x04, 0x05, 0x06, 0x30, 0x43
GET, GET_NEXT, RESPONSE = 0xA0, 0xA1, 0xA2
NO_OBJECT, END_OF_VIEW = b"\x80\x00", b"\x82\x00"
TOO_BIG = 1
MOST_BINDINGS = 32
LARGEST_PART = 0xFFFFFFFF


def sized(tag, content):
    """An element of BER."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    return bytes((tag, 0x82)) + size.to_bytes(2, "big") + content


def named(name):
    """The content of an object identifier."""
    written = bytearray()
    for part in (name[0] * 40 + name[1], *name[2:]):
        groups = [part & 127]
        while part := part >> 7:
            groups.append(part & 127 | 128)
        written += bytes(reversed(groups))
    return bytes(written)


SYSTEM = (1, 3, 6, 1, 2, 1, 1)
OBJECTS = {
    (*SYSTEM, 1, 0): sized(OCTETS, b"switch"),
    (*SYSTEM, 3, 0): sized(TICKS, b"\x01\x5f\x90"),
    (*SYSTEM, 5, 0): sized(OCTETS, b"sw3"),
    (1, 3, 6, 1, 2, 1, 2, 1, 0): sized(INTEGER, b"\x18"),
}
ORDER = sorted(OBJECTS)


class Agent(DatagramHandler):
    """SNMPv2c: reads few objects, by their names or in order. What is no request of its community gets no answer."""

    timeout = 5
    request_timeout = 10

    async def handle(self):
        packet = await Packet()
        start, end = self.inside(packet, 0, len(packet), SEQUENCE)
        if end != len(packet):
            raise Malformed("bytes behind the message")
        version, at = self.integer(packet, start, end)
        first, at = self.inside(packet, at, end, OCTETS)
        if version != 1 or packet[first:at] != b"public" or at == end or packet[at] not in (GET, GET_NEXT):
            raise Malformed("no request of this community")
        kind = packet[at]
        start, stop = self.inside(packet, at, end, kind)
        number, at = self.integer(packet, start, stop)
        _, at = self.integer(packet, at, stop)
        _, at = self.integer(packet, at, stop)
        at, last = self.inside(packet, at, stop, SEQUENCE)
        if stop != end or last != stop:
            raise Malformed("lengths that do not agree")
        names = []
        while at < last:
            at, binding = self.inside(packet, at, last, SEQUENCE)
            first, at = self.inside(packet, at, binding, OID)
            if packet[at:binding] != b"\x05\x00":
                raise Malformed("a value in a request")
            names.append(self.name(packet[first:at]))
            at = binding
        status, found = (0, self.look_up(kind, names)) if len(names) <= MOST_BINDINGS else (TOO_BIG, b"")
        written = number.to_bytes(number.bit_length() // 8 + 1 if number >= 0 else 4, "big", signed=True)
        while len(written) > 1 and written[0] == 255 and written[1] > 127:
            written = written[1:]
        head = sized(INTEGER, written) + sized(INTEGER, bytes((status,))) + sized(INTEGER, b"\0")
        answer = sized(INTEGER, b"\1") + sized(OCTETS, b"public") + sized(RESPONSE, head + sized(SEQUENCE, found))
        self.send(sized(SEQUENCE, answer))

    def look_up(self, kind, names):
        found = b""
        for name in names:
            value = OBJECTS.get(name, NO_OBJECT)
            if kind == GET_NEXT:
                place = bisect_right(ORDER, name)
                name = ORDER[place] if place < len(ORDER) else name
                value = OBJECTS[name] if place < len(ORDER) else END_OF_VIEW
            found += sized(SEQUENCE, sized(OID, named(name)) + value)
        return found

    def inside(self, packet, at, end, tag):
        """Where the content of the element at ``at`` begins and ends."""
        if end - at < 2 or packet[at] != tag:
            raise Malformed("another element")
        size, at = packet[at + 1], at + 2
        if size >= 128:
            count = size - 128
            if not 1 <= count <= 4 or end - at < count:
                raise Malformed("no length")
            size, at = int.from_bytes(packet[at : at + count], "big"), at + count
        if size > end - at:
            raise Malformed("longer than what holds it")
        return at, at + size

    def integer(self, packet, at, end):
        """The integer of at most 32 bits at ``at``, and where it ends."""
        at, stop = self.inside(packet, at, end, INTEGER)
        content = packet[at:stop]
        if not 1 <= len(content) <= 4 or (len(content) > 1 and content[0] == (255 if content[1] > 127 else 0)):
            raise Malformed("no integer of 32 bits")
        return int.from_bytes(content, "big", signed=True), stop

    def name(self, content):
        """The parts of an object identifier, at most 128, each of at most 32 bits and in its shortest form."""
        parts, part, begins = [], 0, True
        for octet in content:
            if begins and octet == 128:
                raise Malformed("a zero in front")
            part = self.longer(part, octet & 127)
            begins = octet < 128
            if begins:
                parts.append(part)
                part = 0
        if not begins or not parts or len(parts) > 127:
            raise Malformed("no object identifier")
        root = min(parts[0] // 40, 2)
        return (root, parts[0] - root * 40, *parts[1:])

    def longer(self, part, seven):
        """A part of a name with seven more bits."""
        part = part << 7 | seven
        if part > LARGEST_PART:
            raise Malformed("a part of more than 32 bits")
        return part


class WordAgent(Agent):
    """SNMPv2c: reads few objects, by their names or in order. A part of a name is a word of 32 bits."""

    def longer(self, part, seven):
        return (part << 7 | seven) & LARGEST_PART


def asked(kind, number, *names):
    """A request for objects by their names."""
    bindings = b"".join(sized(SEQUENCE, sized(OID, named(name)) + b"\x05\x00") for name in names)
    head = sized(INTEGER, number) + sized(INTEGER, b"\0") * 2
    return sized(SEQUENCE, b"\x02\x01\x01\x04\x06public" + sized(kind, head + sized(SEQUENCE, bindings)))


READ = [
    b"GET /fox.txt HTTP/1.1\r\nHost: files.example.org\r\n\r\n",
    b"GET /fox.txt HTTP/1.1\r\nHost: files.example.org\r\nRange: bytes=4-8\r\n\r\n",
    b"GET /digits.txt HTTP/1.1\r\nHost: files.example.org\r\nRange: bytes=20-\r\n\r\n",
    b"GET /fox.txt HTTP/1.1\r\nHost: files.example.org\r\nRange: bytes=-5\r\n\r\n",
    b"GET /fox.txt HTTP/1.1\r\nHost: files.example.org\r\nRange: bytes=100-120\r\n\r\n",
    b"HEAD /digits.txt HTTP/1.1\r\nHost: files.example.org\r\nConnection: close\r\n\r\n",
]
MAIL = (
    b"From: offers@example.com\r\nTo: anna@example.org\r\nSubject: Free lamps\r\n\r\n"
    b"Act now: click here for lamps with our money back guarantee!\r\n"
)
FILTER = [b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\nUser: anna\r\n\r\n%b" % (len(MAIL), MAIL)]
WALK = [
    asked(GET, b"\x01", (*SYSTEM, 1, 0)),
    asked(GET, b"\x02", (*SYSTEM, 3, 0), (*SYSTEM, 5, 0), (*SYSTEM, 9, 0)),
    asked(GET_NEXT, b"\x00\x80", SYSTEM),
    asked(GET_NEXT, b"\xff", (*SYSTEM, 5, 0)),
    asked(GET_NEXT, b"\x12\x34\x56\x78", (1, 3, 6, 1, 4, 1, 8072, 3)),
]

PAIRS = [
    # Fault: the positions of a range are what `int()` takes: signs, blanks, underscores and zeros in front too.
    Pair("http-byte-ranges", 1, LooseRanges, Ranges, READ),
    # Fault: `\d` of a pattern for text takes the digits of all scripts, and so does `int()`: `Content-length: ١٢`.
    Pair("spamd-content-length", 1, WorldlySpamd, Spamd, FILTER, {"kept": LONGEST_MAIL}),
    # Fault: a part of a name is cut to 32 bits, so that 2**32 + 1 names the same object as 1.
    Pair("snmp-object-names", 1, WordAgent, Agent, WALK),
]
