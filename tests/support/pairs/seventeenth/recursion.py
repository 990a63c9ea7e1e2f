"""Recursion as deep as the message: a nested expression, nested values, and a state that calls itself."""

import re
from struct import Struct

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair, fields

SONGS = [
    {b"file": b"a/harbour.ogg", b"artist": b"The Ferries", b"title": b"Harbour", b"date": b"1994"},
    {b"file": b"a/pier.ogg", b"artist": b"The Ferries", b"title": b"Pier", b"date": b"1996"},
    {b"file": b"b/lantern.ogg", b"artist": b"Nine O'Clock", b"title": b"Lantern", b"date": b"1996"},
]


class Mistake(Exception):
    """A command that is refused: the number of the error, and its text."""


class MusicFilters(StreamHandler):
    r"""The part of MPD that finds songs with a filter (MPD protocol, "Filters"): ``find "((title == \"X\") AND ...)"``.

    A filter is in parentheses: a tag, an operator and a quoted value; ``!`` and a filter; or filters with ``AND``
    between them. An argument in double quotes has backslashes before quotes and backslashes.
    """

    timeout = 60
    request_timeout = 30
    one_by_one = 0

    LINE = Until(b"\n", limit=8192)
    DEEPEST = 32
    TAGS = {b"file": b"file", b"artist": b"Artist", b"title": b"Title", b"date": b"Date"}
    COMMAND = re.compile(rb'([a-z]{1,16})(?: "((?:[^"\\\x00-\x1f]|\\["\\])*)")?')
    ESCAPED = re.compile(rb"\\(.)")
    TEST = rb"(artist|title|date|file) (==|!=|contains|starts_with) "
    BASE = re.compile(TEST + rb"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\)")

    def handle(self):
        self.send(b"OK MPD 0.23.5\n")
        return self.LINE, self.line

    def line(self, line):
        matched = self.COMMAND.fullmatch(line[:-1])
        word, argument = (matched[1], matched[2]) if matched else (b"", None)
        self.one_by_one += 1
        if word == b"close" and argument is None:
            return None
        try:
            answer = self.answer(word, argument)
        except Mistake as mistake:
            number, text = mistake.args
            answer = b"ACK [%d@0] {%b} %b\n" % (number, word, text)
        self.send(answer)
        return self.LINE, self.line

    def answer(self, word, argument):
        if word not in (b"ping", b"find", b"count"):
            raise Mistake(5, b"unknown command, or its arguments can't be read")
        if (argument is None) != (word == b"ping"):
            raise Mistake(2, b'wrong number of arguments for "%b"' % word)
        if word == b"ping":
            return b"OK\n"
        text = self.ESCAPED.sub(rb"\1", argument)
        suits, end = self.expression(text, 0, 1)
        if end != len(text):
            raise Mistake(2, b"Unparsed garbage after expression")
        found = [song for song in SONGS if suits(song)]
        if word == b"count":
            return b"songs: %d\nOK\n" % len(found)
        told = [b"%b: %b\n" % (self.TAGS[tag], value) for song in found for tag, value in song.items()]
        return b"".join(told) + b"OK\n"

    def expression(self, text, at, depth):
        """What the filter at ``at`` asks of a song, and where the filter ends."""
        self.check_depth(depth)
        if text[at : at + 1] != b"(":
            raise Mistake(2, b"'(' expected")
        if text[at + 1 : at + 2] == b"!":
            inner, at = self.expression(text, at + 2, depth + 1)
            if text[at : at + 1] != b")":
                raise Mistake(2, b"')' expected")
            return (lambda song: not inner(song)), at + 1
        if text[at + 1 : at + 2] != b"(":
            return self.base(text, at + 1)
        parts, at = [], at + 1
        while True:
            part, at = self.expression(text, at, depth + 1)
            parts.append(part)
            if text[at : at + 1] == b")":
                return (lambda song: all(part(song) for part in parts)), at + 1
            if text[at : at + 5] != b" AND ":
                raise Mistake(2, b"'AND' or ')' expected")
            at += 5

    def check_depth(self, depth):
        if depth > self.DEEPEST:
            raise Mistake(2, b"The filter is nested too deeply")

    def base(self, text, at):
        matched = self.BASE.match(text, at)
        if matched is None:
            raise Mistake(2, b"Unknown filter type, or no value")
        tag, operator, value = matched[1], matched[2], self.ESCAPED.sub(rb"\1", matched[3][1:-1])
        does = {
            b"==": lambda song: song[tag] == value,
            b"!=": lambda song: song[tag] != value,
            b"contains": lambda song: value in song[tag],
            b"starts_with": lambda song: song[tag].startswith(value),
        }
        return does[operator], matched.end()


class MusicFiltersDeep(MusicFilters):
    """A filter may be nested as deeply as a line is long, and a call is made for each level."""

    def check_depth(self, depth):
        pass


MUSIC = [
    b"ping\n",
    b"find \"(artist == 'The Ferries')\"\n",
    b"find \"((date == '1996') AND (!(title contains 'ant')))\"\n",
    b'count "(artist starts_with \\"Nine O\'\\")"\n',
    b"count \"((file starts_with 'a/') AND ((date != '1994') AND (title == 'Pier')))\"\n",
    b"close\n",
]


class Receipts(Buffered):
    """A receipt printer that speaks ESC/POS: lines of text, some commands, and answers about its state.

    LF prints the line, and so does a line that is full. ``GS r`` and ``DLE EOT`` ask for a byte of state, ``GS I`` for
    a name. A command that the printer does not have ends the connection.
    """

    timeout = 120
    request_timeout = 30

    WIDTH = 42
    ARGUMENTS = {
        b"\x1b@": 0, b"\x1bE": 1, b"\x1ba": 1, b"\x1bd": 1, b"\x1dV": 1, b"\x1dr": 1, b"\x1dI": 1, b"\x10\x04": 1,
    }  # fmt: skip
    TEXT = re.compile(rb"[ -~]+")

    def setup(self):
        super().setup()
        self.at = self.column = self.lines = 0

    def take(self):
        """Do the commands that have come whole."""
        self.at = 0
        self.commands()
        del self.buffer[: self.at]
        return True

    def commands(self):
        while self.command():
            pass

    def command(self):
        """Do the next command. Whether it had come whole."""
        if self.at == len(self.buffer):
            return False
        text = self.TEXT.match(self.buffer, self.at)
        if text is not None:
            full, self.column = divmod(self.column + len(text[0]), self.WIDTH)
            self.lines += full
            self.at = text.end()
            return True
        if self.buffer[self.at] == 10:
            self.lines += 1
            self.column = 0
            self.at += 1
            return True
        name = bytes(self.buffer[self.at : self.at + 2])
        if len(name) == 1 and name in b"\x1b\x1d\x10":
            return False
        if name not in self.ARGUMENTS:
            raise Malformed("no command of this printer")
        end = self.at + 2 + self.ARGUMENTS[name]
        if end > len(self.buffer):
            return False
        self.do(name, self.buffer[end - 1])
        self.at = end
        return True

    def do(self, name, argument):
        if name == b"\x1b@":
            self.column = self.lines = 0
        elif name == b"\x1bd":
            self.lines += argument
            self.column = 0
        elif name == b"\x1dr" and argument in (1, 49):
            self.send(b"\x0c" if self.lines >= 1000 else b"\0")  # the paper is near its end
        elif name == b"\x10\x04" and 1 <= argument <= 4:
            self.send(b"\x12")
        elif name == b"\x1dI" and argument in (66, 67):
            self.send(b"_EXAMPLE\0" if argument == 66 else b"_R-80\0")
        elif name == b"\x1dV" and argument in (0, 1, 48, 49):
            self.send(b"_%d lines\0" % self.lines)
            self.lines = self.column = 0
        elif name == b"\x1bE" or (name == b"\x1ba" and argument in (0, 1, 2, 48, 49, 50)):
            pass
        else:
            raise Malformed("an argument that its command does not have")


class ReceiptsAgain(Receipts):
    """When a command is done, the state calls itself for the next one: as deep as one read has commands."""

    def commands(self):
        if self.command():
            self.commands()


RECEIPT = [
    b"\x1b@\x1dI\x43",
    b"\x10\x04\x01",
    b"\x1ba\x01\x1bE\x01HARBOUR KIOSK\n\x1bE\x00\x1ba\x00\n",
    b"2 tea                                 5.20\n1 scone with butter and jam           4.10\n",
    b"\x1bE\x01TOTAL 9.30\n\x1bE\x00\x1bd\x04\x1dV\x00",
    b"\x1dr\x01",
]


class Refused(Exception):
    """The status with which a request is refused."""


class PrintJobs(StreamHandler):
    """A printer of IPP (RFC 8010, RFC 8011) in HTTP/1.1: it validates a job, and says which attributes it ignores.

    A value can be a collection, whose members can be collections again (RFC 8010, section 3.1.6).
    """

    timeout = 60
    request_timeout = 60
    one_by_one = 0

    HEAD = Until(b"\r\n\r\n", limit=4096)
    LARGEST = 32_768
    DEEPEST = 8
    LENGTH = re.compile(rb"0|[1-9][0-9]{0,6}")
    START, SHORT = Struct(">HHI"), Struct(">H")
    BEGIN, END, MEMBER = 0x34, 0x37, 0x4A
    SIZES = {0x21: 4, 0x22: 1, 0x23: 4, BEGIN: 0, END: 0}
    KNOWN = (b"copies", b"sides", b"media-col", b"job-name")

    def handle(self):
        return self.HEAD, self.head

    def head(self, data):
        first, *lines = data[:-4].split(b"\r\n")
        try:
            found = fields(lines)
        except Malformed:
            return self.refuse(b"400 Bad Request")
        length = found.get(b"content-length", b"")
        if first != b"POST /ipp/print HTTP/1.1" or b"host" not in found:
            return self.refuse(b"400 Bad Request")
        if b"transfer-encoding" in found or not length:
            return self.refuse(b"501 Not Implemented" if b"transfer-encoding" in found else b"411 Length Required")
        if not self.LENGTH.fullmatch(length):
            return self.refuse(b"400 Bad Request")
        if int(length) > self.LARGEST:
            return self.refuse(b"413 Content Too Large")
        connection = found.get(b"connection", b"keep-alive").lower()
        if found.get(b"content-type") != b"application/ipp" or connection not in (b"keep-alive", b"close"):
            return self.refuse(b"400 Bad Request")
        if b"expect" in found:
            if found[b"expect"].lower() != b"100-continue":
                return self.refuse(b"417 Expectation Failed")
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.is_last = connection == b"close"
        return Exactly(int(length), limit=self.LARGEST), self.body

    def refuse(self, status):
        self.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        return

    def body(self, data):
        self.number, unknown = 0, []
        try:
            unknown = self.job(data)
            status = 1 if unknown else 0
        except Refused as refused:
            (status,) = refused.args
        answer = self.START.pack(0x0101, status, self.number) + b"\x01"
        answer += self.value(0x47, b"attributes-charset", b"utf-8")
        answer += self.value(0x48, b"attributes-natural-language", b"en")
        answer += (b"\x05" if unknown else b"") + b"".join(self.value(0x10, name, b"") for name in unknown) + b"\x03"
        ends = b"Connection: close\r\n" if self.is_last else b""
        said = b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n%bContent-Length: %d\r\n\r\n" % (ends, len(answer))
        self.send(said + answer)
        self.one_by_one += 1
        return None if self.is_last else self.handle()

    def value(self, tag, name, value):
        return bytes((tag,)) + self.SHORT.pack(len(name)) + name + self.SHORT.pack(len(value)) + value

    def job(self, data):
        """The names of the attributes of a job that are ignored. Raises `Refused`."""
        if len(data) < 9:
            raise Refused(0x0400)
        version, operation, self.number = self.START.unpack_from(data)
        if version >> 8 not in (1, 2):
            raise Refused(0x0503)
        if operation != 4:
            raise Refused(0x0501)
        groups, at = {}, 8
        while data[at : at + 1] in (b"\x01", b"\x02") and data[at] not in groups:
            group = groups[data[at]] = {}
            at = self.attributes(data, at + 1, group)
        if data[at:] != b"\x03" or next(iter(groups), 0) != 1:
            raise Refused(0x0400)
        asked = list(groups[1].items())
        if asked[:2] != [(b"attributes-charset", [b"utf-8"]), (b"attributes-natural-language", [b"en"])]:
            raise Refused(0x0400)
        if groups[1].get(b"printer-uri") != [b"ipp://printer.example/ipp/print"]:
            raise Refused(0x0400)
        return [name for name in groups.get(2, ()) if name not in self.KNOWN]

    def attributes(self, data, at, group):
        """Take the attributes of a group. Where the next group begins."""
        name = None
        while at < len(data) and data[at] >= 0x10:
            tag, said, value, at = self.field(data, at)
            if said in group or tag in (self.END, self.MEMBER) or (not said and name is None):
                raise Refused(0x0400)
            name = said or name
            if tag == self.BEGIN:
                value, at = self.collection(data, at, 1)
            group.setdefault(name, []).append(value)
        return at

    def collection(self, data, at, depth):
        """The members of a collection that has begun, and where it ends."""
        if depth > self.deepest():
            raise Refused(0x0408)
        members, name = {}, None
        while True:
            tag, said, value, at = self.field(data, at)
            if said or (tag != self.MEMBER and tag != self.END and name is None):
                raise Refused(0x0400)
            if tag == self.MEMBER or tag == self.END:
                if (name is not None and not members[name]) or bool(value) != (tag == self.MEMBER) or value in members:
                    raise Refused(0x0400)
                if tag == self.END:
                    return members, at
                name, members[value] = value, []
            else:
                if tag == self.BEGIN:
                    value, at = self.collection(data, at, depth + 1)
                members[name].append(value)

    def deepest(self):
        return self.DEEPEST

    def field(self, data, at):
        """A tag, a name, a value, and where they end."""
        middle = at + 3 + int.from_bytes(data[at + 1 : at + 3], "big")
        end = middle + 2 + int.from_bytes(data[middle : middle + 2], "big")
        if end > len(data) or data[at] < 0x10 or self.SIZES.get(data[at], end - middle - 2) != end - middle - 2:
            raise Refused(0x0400)
        return data[at], data[at + 3 : middle], data[middle + 2 : end], end


class PrintJobsDeep(PrintJobs):
    """Collections may be nested as deeply as a request is long, and a call is made for each level."""

    def deepest(self):
        return self.LARGEST


def ipp(*values, operation=4, more=b""):
    """A request of a client: Validate-Job with these values of a job."""
    data = PrintJobs.START.pack(0x0101, operation, 42) + b"\x01"
    data += ipp_value(0x47, b"attributes-charset", b"utf-8") + ipp_value(0x48, b"attributes-natural-language", b"en")
    data += ipp_value(0x45, b"printer-uri", b"ipp://printer.example/ipp/print") + b"\x02" + b"".join(values) + b"\x03"
    said = b"Host: printer.example\r\nContent-Type: application/ipp\r\n%bContent-Length: %d\r\n\r\n" % (more, len(data))
    return b"POST /ipp/print HTTP/1.1\r\n" + said + data


def ipp_value(tag, name, value):
    """An attribute, or a further value of one, or a part of a collection."""
    return bytes((tag,)) + len(name).to_bytes(2, "big") + name + len(value).to_bytes(2, "big") + value


def member(name, *values):
    """A member of a collection."""
    return ipp_value(0x4A, b"", name) + b"".join(values)


CLOSED = ipp_value(0x37, b"", b"")
WIDE = member(b"x-dimension", ipp_value(0x21, b"", b"\0\0\x52\x08"))
HIGH = member(b"y-dimension", ipp_value(0x21, b"", b"\0\0\x74\x04"))
SIZE = member(b"media-size", ipp_value(0x34, b"", b""), WIDE, HIGH, CLOSED)
MEDIA = ipp_value(0x34, b"media-col", b"") + SIZE + member(b"media-color", ipp_value(0x44, b"", b"blue")) + CLOSED
IPP = [
    ipp(ipp_value(0x21, b"copies", b"\0\0\0\x02"), ipp_value(0x44, b"sides", b"one-sided")),
    ipp(ipp_value(0x42, b"job-name", b"tide table"), MEDIA, ipp_value(0x44, b"finish", b"gold")),
    ipp(operation=5, more=b"Connection: close\r\n"),
]

PAIRS = [
    Pair("mpd-filters", 4, MusicFiltersDeep, MusicFilters, MUSIC),
    Pair("esc-pos-next-command", 4, ReceiptsAgain, Receipts, RECEIPT),
    Pair("ipp-collections", 4, PrintJobsDeep, PrintJobs, IPP),
]
