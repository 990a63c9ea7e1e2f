"""Pairs whose fault is a recursion as deep as the message."""

import re
from struct import Struct, pack

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

MAIL = {1: (True, b"lunch on friday"), 2: (False, b"re: lunch on friday"), 3: (False, b"invoice 17")}
COMMAND = re.compile(rb"([A-Za-z0-9]{1,16}) ([A-Za-z]{1,16})(?: (.*))?\r\n")
WORDS = re.compile(rb'(\()|(\))|([A-Za-z0-9]+)|"([ !#-\[\]-~]*)"|( )')


class Searching(StreamHandler):
    """IMAP's SEARCH, with keys inside keys: NOT, OR and parentheses (RFC 9051, section 6.4.4)."""

    timeout = 60
    request_timeout = 60

    def handle(self):
        self.send(b"* PREAUTH IMAP4rev2 ready\r\n")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=8192), self.line

    def line(self, data):
        matched = COMMAND.fullmatch(data)
        if matched is None:
            self.send(b"* BAD no command\r\n")
            return None
        tag, name, argument = matched[1], matched[2].upper(), matched[3]
        if name == b"LOGOUT" and argument is None:
            self.send(b"* BYE\r\n%b OK done\r\n" % tag)
            return None
        if name == b"SEARCH" and argument is not None:
            try:
                found = self.search(argument)
            except Malformed:
                self.send(tag + b" BAD no such key\r\n")
                raise
            self.send(b"* SEARCH" + b"".join(b" %d" % n for n in sorted(found)) + b"\r\n")
        elif name != b"NOOP" or argument is not None:
            self.send(tag + b" BAD no such command\r\n")
            return None
        self.send(tag + b" OK done\r\n")
        return self.following()

    def search(self, argument):
        """The messages that have all the keys of ``argument``."""
        self.words, self.at = [], 0
        place = 0
        while place < len(argument):
            word = WORDS.match(argument, place)
            if word is None:
                raise Malformed("no word")
            self.words.append((word.lastindex, word[word.lastindex]))
            place = word.end()
        found = self.keys()
        if self.at < len(self.words):
            raise Malformed("no key")
        self.words = []
        return found

    def next(self, kind):
        """The next word, which is of this kind."""
        if self.at == len(self.words) or self.words[self.at][0] != kind:
            raise Malformed("another word")
        self.at += 1
        return self.words[self.at - 1][1]

    def peek(self):
        return self.words[self.at][0] if self.at < len(self.words) else None

    def keys(self):
        found = self.key()
        while self.peek() == 5:
            self.next(5)
            found = found & self.key()
        return found

    def key(self):
        """The messages that have the next key."""
        if self.peek() == 1:
            self.next(1)
            found = self.keys()
            self.next(2)
            return found
        name = self.next(3).upper()
        if name == b"ALL":
            return set(MAIL)
        if name in (b"SEEN", b"UNSEEN"):
            return {n for n, (seen, _) in MAIL.items() if seen == (name == b"SEEN")}
        self.next(5)
        if name == b"SUBJECT":
            text = self.next(4 if self.peek() == 4 else 3).lower()
            return {n for n, (_, subject) in MAIL.items() if text in subject}
        if name == b"NOT":
            return set(MAIL) - self.key()
        if name != b"OR":
            raise Malformed("no such key")
        found = self.key()
        self.next(5)
        return found | self.key()


class ShallowSearching(Searching):
    deepest = 16

    def search(self, argument):
        self.depth = 0
        return super().search(argument)

    def key(self):
        self.depth += 1
        if self.depth > self.deepest:
            raise Malformed("too deep")
        found = super().key()
        self.depth -= 1
        return found


FRAME = Struct(">BHI")


def short(text):
    return bytes([len(text)]) + text


def long(text):
    return pack(">I", len(text)) + text


def method(kind, number, arguments=b""):
    payload = pack(">HH", kind, number) + arguments
    return FRAME.pack(1, 0, len(payload)) + payload + b"\xce"


class Broker(StreamHandler):
    """AMQP 0-9-1, up to the open connection: its start, its tuning, heartbeats and its end."""

    timeout = 30
    request_timeout = 30
    sizes = {b"t": 1, b"b": 1, b"s": 2, b"I": 4, b"l": 8, b"V": 0}

    def handle(self):
        return Exactly(8), self.protocol

    def protocol(self, data):
        if data != b"AMQP\0\0\x09\x01":
            self.send(b"AMQP\0\0\x09\x01")
            return None
        self.send(method(10, 10, b"\0\x09" + long(b"") + long(b"PLAIN") + long(b"en_US")))
        self.expected, self.opened_as = (10, 11), None
        return Exactly(7), self.head

    def head(self, data):
        self.kind, channel, size = FRAME.unpack(data)
        if self.kind not in (1, 8) or channel or size > 8184:
            raise Malformed("no such frame")
        return Exactly(size + 1), self.frame

    def frame(self, data):
        if data[-1] != 0xCE:
            raise Malformed("no end of the frame")
        payload = data[:-1]
        if self.kind == 8:
            if payload or self.opened_as is None:
                raise Malformed("no heartbeat")
            self.send(FRAME.pack(8, 0, 0) + b"\xce")
        else:
            if len(payload) < 4:
                raise Malformed("no method")
            called = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
            if called == (10, 50) and self.opened_as is not None:
                self.send(method(10, 51))
                return None
            if called != self.expected:
                raise Malformed("another method")
            self.expected = self.call(called[1], payload)
        self.one_by_one += 1
        return Exactly(7), self.head

    def call(self, number, payload):
        """Answer a method; returns the one that comes next."""
        if number == 11:
            end = self.table(payload, 4)
            mechanism, end = self.short(payload, end)
            response, end = self.long(payload, end)
            _, end = self.short(payload, end)
            if end != len(payload) or mechanism != b"PLAIN" or response != b"\0guest\0guest":
                raise Malformed("no such login")
            self.send(method(10, 30, pack(">HIH", 1, 8192, 20)))
            return 10, 31
        if number == 31:
            if payload[4:] != pack(">HIH", 1, 8192, 20):
                raise Malformed("not what it was tuned to")
            return 10, 40
        host, end = self.short(payload, 4)
        _, end = self.short(payload, end)
        if end + 1 != len(payload) or host != b"/":
            raise Malformed("no such host")
        self.opened_as = host
        self.send(method(10, 41, b"\0"))
        self.opened()
        return None

    def short(self, data, at):
        end = at + 1 + data[at] if at < len(data) else at + 1
        if end > len(data):
            raise Malformed("string too short")
        return data[at + 1 : end], end

    def long(self, data, at):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or at + 4 > len(data):
            raise Malformed("string too short")
        return data[at + 4 : end], end

    def extent(self, data, at):
        """Where the inside of a table or an array begins and ends."""
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or at + 4 > len(data):
            raise Malformed("table too short")
        return at + 4, end

    def table(self, data, at):
        """Check a table; returns its end."""
        at, end = self.extent(data, at)
        while at < end:
            _, at = self.short(data, at)
            at = self.value(data, at)
        if at != end:
            raise Malformed("table too long")
        return end

    def array(self, data, at):
        at, end = self.extent(data, at)
        while at < end:
            at = self.value(data, at)
        if at != end:
            raise Malformed("array too long")
        return end

    def value(self, data, at):
        """Check a value, with its type; returns its end."""
        kind, at = data[at : at + 1], at + 1
        if kind == b"F":
            return self.table(data, at)
        if kind == b"A":
            return self.array(data, at)
        if kind == b"S":
            return self.long(data, at)[1]
        if kind not in self.sizes or at + self.sizes[kind] > len(data):
            raise Malformed("no such value")
        return at + self.sizes[kind]


class ShallowBroker(Broker):
    deepest = 16
    depth = 0

    def extent(self, data, at):
        if self.depth > self.deepest:
            raise Malformed("too deep")
        return super().extent(data, at)

    def value(self, data, at):
        self.depth += 1
        end = super().value(data, at)
        self.depth -= 1
        return end


INTEGER, OCTETS, ENUMERATED, SEQUENCE = 0x02, 0x04, 0x0A, 0x30
BIND, BOUND, UNBIND, SEARCH, ENTRY, DONE = 0x60, 0x61, 0x42, 0x63, 0x64, 0x65
AND, OR, NOT, EQUAL, PRESENT = 0xA0, 0xA1, 0xA2, 0xA3, 0x87
PEOPLE = {b"cn=ada": {b"cn": b"ada", b"mail": b"ada@example.org"}, b"cn=bob": {b"cn": b"bob"}}
SUCCESS, PROTOCOL_ERROR, WRONG = 0, 2, 49


def ber(tag, *parts):
    """An element of less than 65,536 bytes."""
    data = b"".join(parts)
    size = len(data)
    length = bytes([size] if size < 128 else [0x81, size] if size < 256 else [0x82, size >> 8, size & 255])
    return bytes([tag]) + length + data


class Directory(StreamHandler):
    """LDAP: bind, search with a filter, unbind (RFC 4511)."""

    timeout = 60
    request_timeout = 60

    def handle(self):
        return Exactly(2), self.head

    def head(self, data):
        if data[0] != SEQUENCE or data[1] > 0x82 or data[1] == 0x80:
            raise Malformed("no message")
        self.prefix = data
        return Exactly(data[1] & 0x7F if data[1] > 0x80 else data[1]), self.length if data[1] > 0x80 else self.message

    def length(self, data):
        size = int.from_bytes(data, "big")
        if size < (128, 256)[len(data) - 1] or size > 16_384:
            raise Malformed("no such length")
        return Exactly(size), self.message

    def message(self, data):
        tag, start, end = self.element(data, 0, len(data))
        number = int.from_bytes(data[start:end], "big")
        if tag != INTEGER or not 0 < number < 1 << 31 or end - start != number.bit_length() // 8 + 1:
            raise Malformed("no identifier")
        self.identifier = data[:end]
        tag, start, end = self.element(data, end, len(data))
        if end != len(data):
            raise Malformed("more than an operation")
        if tag == UNBIND and start == end:
            return None
        try:
            if tag == BIND:
                self.bind(data, start, end)
            elif tag == SEARCH:
                self.search(data, start, end)
            else:
                raise Malformed("no such operation")
        except Malformed:
            self.result(DONE if tag == SEARCH else BOUND, PROTOCOL_ERROR)
            raise
        self.one_by_one += 1
        return self.handle()

    def element(self, data, start, end):
        """The tag of the element at ``start``, and where its content begins and ends, which is up to ``end``."""
        if end - start < 2:
            raise Malformed("element too short")
        tag, size, start = data[start], data[start + 1], start + 2
        if size in (0x81, 0x82):
            width = size & 0x7F
            size, start = int.from_bytes(data[start : start + width], "big"), start + width
            if size < (128, 256)[width - 1]:
                raise Malformed("no such length")
        elif size > 127:
            raise Malformed("no such length")
        if start + size > end:
            raise Malformed("element too short")
        return tag, start, start + size

    def expect(self, tags, data, start, end):
        """The elements at ``start``, which have these tags: the last one is up to ``end``."""
        found = []
        for expected in tags:
            tag, start, stop = self.element(data, start, end)
            if tag != expected:
                raise Malformed("another element")
            found.append(data[start:stop])
            start = stop
        if start != end:
            raise Malformed("more than that")
        return found

    def result(self, tag, code):
        done = ber(tag, ber(ENUMERATED, bytes([code])), ber(OCTETS), ber(OCTETS))
        self.send(ber(SEQUENCE, self.identifier, done))

    def bind(self, data, start, end):
        version, name, password = self.expect((INTEGER, OCTETS, 0x80), data, start, end)
        if version != b"\x03":
            raise Malformed("no such version")
        self.result(BOUND, SUCCESS if name in PEOPLE and password == b"secret" else WRONG)

    def search(self, data, start, end):
        """A search is: the base, and the filter; the other parts are left out."""
        tag, begin, stop = self.element(data, start, end)
        if tag != OCTETS or begin != stop:
            raise Malformed("no such base")
        found, stop = self.filter(data, stop, end)
        if stop != end:
            raise Malformed("more than a filter")
        for name in sorted(found):
            self.send(ber(SEQUENCE, self.identifier, ber(ENTRY, ber(OCTETS, name), ber(SEQUENCE))))
        self.result(DONE, SUCCESS)

    def filter(self, data, start, end):
        """The names of those whom the filter finds, and where it ends."""
        tag, start, stop = self.element(data, start, end)
        if tag == PRESENT:
            name = data[start:stop]
            return {person for person, has in PEOPLE.items() if name in has}, stop
        if tag == EQUAL:
            name, value = self.expect((OCTETS, OCTETS), data, start, stop)
            return {person for person, has in PEOPLE.items() if has.get(name) == value}, stop
        if tag not in (AND, OR, NOT) or start == stop:
            raise Malformed("no such filter")
        found, start = self.filter(data, start, stop)
        while start < stop and tag != NOT:
            others, start = self.filter(data, start, stop)
            found = found & others if tag == AND else found | others
        if start != stop:
            raise Malformed("more than a filter")
        return found if tag != NOT else set(PEOPLE) - found, stop


class ShallowDirectory(Directory):
    deepest = 16
    depth = 0

    def filter(self, data, start, end):
        self.depth += 1
        if self.depth > self.deepest:
            raise Malformed("too deep")
        found = super().filter(data, start, end)
        self.depth -= 1
        return found


def ldap(identifier, *operation):
    return ber(SEQUENCE, ber(INTEGER, bytes([identifier])), ber(*operation))


def equal(name, value):
    return ber(EQUAL, ber(OCTETS, name), ber(OCTETS, value))


PROPERTIES = b"".join(
    [
        short(b"product") + b"S" + long(b"client"),
        short(b"threads") + b"t\1",
        short(b"capabilities") + b"F" + long(short(b"basic.nack") + b"t\1" + short(b"limit") + b"I\0\0\0\x05"),
        short(b"hosts") + b"A" + long(b"S" + long(b"one") + b"S" + long(b"two")),
    ]
)
PAIRS = [
    # Fault: NOT, OR and parentheses call the parser again, as deep as a line of 8,192 bytes says.
    Pair(
        "imap-search", 4, Searching, ShallowSearching,
        [
            b"a1 NOOP\r\n",
            b"a2 SEARCH ALL\r\n",
            b"a3 SEARCH NOT SEEN\r\n",
            b'a4 SEARCH UNSEEN SUBJECT "lunch on"\r\n',
            b"a5 SEARCH OR (SEEN SUBJECT friday) NOT (SUBJECT lunch)\r\n",
            b"a6 LOGOUT\r\n",
        ],
        {},
    ),
    # Fault: tables in tables and arrays in arrays of the client's properties, as deep as a frame of 8,192 bytes says.
    Pair(
        "amqp-tables", 4, Broker, ShallowBroker,
        [
            b"AMQP\0\0\x09\x01",
            method(10, 11, long(PROPERTIES) + short(b"PLAIN") + long(b"\0guest\0guest") + short(b"en_US")),
            method(10, 31, pack(">HIH", 1, 8192, 20)),
            method(10, 40, short(b"/") + short(b"") + b"\0"),
            FRAME.pack(8, 0, 0) + b"\xce",
            method(10, 50, pack(">H", 200) + short(b"bye") + pack(">HH", 0, 0)),
        ],
        {},
    ),
    # Fault: filters in filters, as deep as a message of 16,384 bytes says.
    Pair(
        "ldap-filter", 4, Directory, ShallowDirectory,
        [
            ldap(1, BIND, ber(INTEGER, b"\3"), ber(OCTETS, b"cn=ada"), ber(0x80, b"secret")),
            ldap(2, SEARCH, ber(OCTETS), ber(PRESENT, b"mail")),
            ldap(3, SEARCH, ber(OCTETS), ber(AND, ber(PRESENT, b"cn"), ber(NOT, equal(b"cn", b"bob")))),
            ldap(4, SEARCH, ber(OCTETS), ber(OR, equal(b"cn", b"ada"), equal(b"cn", b"bob"))),
            ldap(5, UNBIND),
        ],
        {},
    ),
]  # fmt: skip
