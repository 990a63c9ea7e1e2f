"""The largest: mail by QMTP, databases of Redis, and names of DNS."""

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair

SIZE = re.compile(rb"0|[1-9][0-9]{0,4}")
MESSAGE, SENDER, RECIPIENTS = 65_536, 256, 4096
LOCAL = b"@example.org"


class QMTP(StreamHandler):
    """QMTP: mail in netstrings, one answer for each recipient."""

    timeout = 60
    request_timeout = 300

    async def handle(self):
        count = 0
        self.one_by_one = 0
        while True:
            self.one_by_one += 1
            message = self.string(await self.sized(await Until(b":", limit=6), MESSAGE))
            if message[:1] not in (b"\n", b"\r"):
                raise Malformed("the message has no encoding")
            length = len(message) - 1
            del message
            self.string(await self.sized(await Until(b":", limit=6), SENDER))  # the sender
            recipients = self.string(await self.sized(await Until(b":", limit=6), RECIPIENTS))
            count += 1
            for recipient in self.strings(recipients):
                self.answer(recipient, b"ok %d qp %d" % (count, length))

    def sized(self, digits, most):
        """The wait for a netstring, with its comma, of which ``digits`` has the length."""
        size = self.size(digits, most)
        return Exactly(size + 1, limit=most + 1)

    def size(self, digits, most):
        if SIZE.fullmatch(digits[:-1]) is None or int(digits[:-1]) > most:
            raise Malformed("no length, or one too large")
        return int(digits[:-1])

    def string(self, data):
        if data[-1:] != b",":
            raise Malformed("no comma")
        return data[:-1]

    def strings(self, data):
        """The netstrings of which ``data`` is made."""
        found, at = [], 0
        while at < len(data):
            colon = data.find(b":", at, at + 6)
            if colon < 0:
                raise Malformed("no netstring")
            end = colon + 1 + self.size(data[at : colon + 1], SENDER)
            found.append(self.string(data[colon + 1 : end + 1]))
            if len(found[-1]) != end - colon - 1:
                raise Malformed("a netstring is cut")
            at = end + 1
        if not found:
            raise Malformed("no recipient")
        return found

    def answer(self, recipient, text):
        text = b"K" + text if recipient.endswith(LOCAL) else b"Dno such mailbox"
        self.send(b"%d:%b," % (len(text), text))


class LimitedQMTP(QMTP):
    """QMTP: mail in netstrings of a limited length."""

    def sized(self, digits, most):
        size = self.size(digits, most)
        return Exactly(size + 1, limit=most)


COUNT = re.compile(rb"\*([1-4])\r\n")
BULK = re.compile(rb"\$(0|[1-9][0-9]{0,3})\r\n")
INDEX = re.compile(rb"0|[1-9][0-9]?")


class Databases(StreamHandler):
    """Redis for one client: sixteen databases, among which keys move."""

    timeout = 60
    request_timeout = 60
    databases = 16
    most_keys = 64
    arities = {b"PING": 1, b"SELECT": 2, b"SET": 3, b"GET": 2, b"DEL": 2, b"MOVE": 3, b"DBSIZE": 1, b"QUIT": 1}

    def setup(self):
        self.one_by_one = 0
        self.stores = [{} for _ in range(self.databases)]
        self.store = self.stores[0]

    def handle(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=8), self.count

    def count(self, line):
        matched = COUNT.fullmatch(line)
        if matched is None:
            return self.refuse(b"expected an array")
        self.left, self.arguments = int(matched[1]), []
        return Until(b"\r\n", limit=8), self.length

    def length(self, line):
        matched = BULK.fullmatch(line)
        if matched is None or int(matched[1]) > 1024:
            return self.refuse(b"invalid bulk length")
        return Exactly(int(matched[1]) + 2), self.argument

    def argument(self, data):
        if data[-2:] != b"\r\n":
            return self.refuse(b"expected CRLF")
        self.arguments.append(data[:-2])
        if len(self.arguments) < self.left:
            return Until(b"\r\n", limit=8), self.length
        name, *arguments = self.arguments
        name = name.upper()
        if self.arities.get(name) != len(self.arguments):
            return self.refuse(b"unknown command or wrong number of arguments")
        if name == b"QUIT":
            self.send(b"+OK\r\n")
            return None
        self.send(getattr(self, "do_" + name.decode().lower())(*arguments))
        return self.handle()

    def refuse(self, why):
        self.send(b"-ERR Protocol error: %b\r\n" % why)

    def database(self, text):
        """The database of which ``text`` is the index; `None` if there is none."""
        if INDEX.fullmatch(text) is None or int(text) >= self.databases:
            return None
        return self.stores[int(text)]

    def do_ping(self):
        return b"+PONG\r\n"

    def do_select(self, index):
        store = self.database(index)
        if store is None:
            return b"-ERR DB index is out of range\r\n"
        self.store = store
        return b"+OK\r\n"

    def do_set(self, key, value):
        if key not in self.store and sum(map(len, self.stores)) >= self.most_keys:
            return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        self.store[key] = value
        return b"+OK\r\n"

    def do_get(self, key):
        value = self.store.get(key)
        return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)

    def do_del(self, key):
        return b":%d\r\n" % (self.store.pop(key, None) is not None)

    def do_move(self, key, index):
        store = self.database(index)
        if store is None:
            return b"-ERR DB index is out of range\r\n"
        if store is self.store:
            return b"-ERR source and destination objects are the same\r\n"
        if key not in self.store or key in store:
            return b":0\r\n"
        store[key] = self.store.pop(key)
        return b":1\r\n"

    def do_dbsize(self):
        return b":%d\r\n" % len(self.store)


class ManyDatabases(Databases):
    """Redis for one client, with an index that is checked."""

    def database(self, text):
        if INDEX.fullmatch(text) is None or int(text) > self.databases:
            return None
        return self.stores[int(text)]


ORIGIN = b"example", b"org"
ZONE = {
    (ORIGIN, 1): [b"\xc0\x00\x02\x01"],
    ((b"www", *ORIGIN), 1): [b"\xc0\x00\x02\x02", b"\xc0\x00\x02\x03"],
    (ORIGIN, 15): [b"\x00\x0a\x04mail\xc0\x0c"],
    (ORIGIN, 16): [b"\x0bv=spf1 -all"],
}
NAMES = {name for name, _ in ZONE}
HEAD, QUERY = 12, 512


class Zone(Buffered):
    """DNS over TCP: a zone with a few names."""

    def take(self):
        while len(self.buffer) >= 2:
            size = int.from_bytes(self.buffer[:2], "big")
            if not HEAD < size <= QUERY:
                raise Malformed("no query is as long as that")
            if len(self.buffer) < 2 + size:
                break
            query = bytes(self.buffer[2 : 2 + size])
            del self.buffer[: 2 + size]
            answer = self.answer(query)
            self.send(len(answer).to_bytes(2, "big") + answer)
        return True

    def answer(self, query):
        flags, counts = query[2:4], query[4:HEAD]
        if flags[0] & 0x82 or flags[1] & 0xCF or counts != b"\0\1\0\0\0\0\0\0":
            raise Malformed("no query for one name")
        opcode = flags[0] & 0x78
        labels, end = self.name(query)
        if len(query) != end + 4:
            raise Malformed("no question")
        kind, group = int.from_bytes(query[end : end + 2], "big"), query[end + 2 :]
        name = tuple(map(bytes.lower, labels))
        found = ZONE.get((name, kind), []) if group == b"\0\1" and not opcode else []
        code = 4 if opcode else 0 if name in NAMES else 3
        flags = bytes([0x84 | opcode | flags[0] & 1, code])
        head = query[:2] + flags + b"\0\1" + len(found).to_bytes(2, "big") + bytes(4)
        owner = b"\xc0\x0c" + query[end:] + (3600).to_bytes(4, "big")
        records = [owner + len(data).to_bytes(2, "big") + data for data in found]
        return head + query[HEAD:] + b"".join(records)

    def name(self, query):
        """The labels of the name in the question, and where it ends."""
        labels, at = [], HEAD
        while at < len(query) and query[at]:
            length = query[at]
            if length > 63:
                raise Malformed("no label")
            labels.append(query[at + 1 : at + 1 + length])
            at += 1 + length
        if at >= len(query) or not self.fits(at + 1 - HEAD):
            raise Malformed("no name, or one too long")
        return labels, at + 1

    def fits(self, octets):
        return octets <= 255


class ShortZone(Zone):
    """DNS over TCP: a zone with a few names, none of which is too long."""

    def fits(self, octets):
        return octets < 255


def netstring(data):
    return b"%d:%b," % (len(data), data)


def mail(text, sender, *recipients):
    return netstring(text) + netstring(sender) + netstring(b"".join(map(netstring, recipients)))


def resp(*arguments):
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments)


def query(number, name, kind):
    question = b"".join(b"%c%b" % (len(label), label) for label in name.split(b".")) + b"\0\0%c\0\1" % kind
    message = number.to_bytes(2, "big") + b"\x01\x20\0\1\0\0\0\0\0\0" + question
    return len(message).to_bytes(2, "big") + message


MAIL = [
    mail(b"\nSubject: lunch\n\nAt noon?\n", b"ada@example.org", b"charles@example.org"),
    mail(b"\r\nSubject: engines\r\n\r\nNew.\r\n", b"ada@example.org", b"mary@example.org", b"nobody@example.net"),
    mail(b"\n\nThis could not be delivered.\n", b"", b"ada@example.org"),
]
REDIS = [
    resp(b"PING"),
    resp(b"SET", b"lamp", b"12"),
    resp(b"GET", b"lamp"),
    resp(b"SELECT", b"3"),
    resp(b"GET", b"lamp"),
    resp(b"set", b"desk", b"oak, 149.00"),
    resp(b"MOVE", b"desk", b"0"),
    resp(b"SELECT", b"0"),
    resp(b"DBSIZE"),
    resp(b"DEL", b"lamp"),
    resp(b"GET", b"desk"),
    resp(b"SELECT", b"99"),
    resp(b"QUIT"),
]
DNS = [
    query(0x1A2B, b"example.org", 1),
    query(0x1A2C, b"www.Example.org", 1),
    query(0x1A2D, b"example.org", 15),
    query(0x1A2E, b"example.org", 16),
    query(0x1A2F, b"www.example.org", 28),
    query(0x1A30, b"ftp.example.org", 1),
]

PAIRS = [
    # Fault: the limit of the wait does not count the comma, so the largest message, sender and list are refused.
    Pair("qmtp-largest-mail", 9, LimitedQMTP, QMTP, MAIL, {"kept": 131_072}),
    # Fault: index 16 of sixteen databases passes the check, and raises IndexError.
    Pair("redis-database-index", 9, ManyDatabases, Databases, REDIS, {"kept": 262_144}),
    # Fault: a name of 255 octets, the longest that is allowed, is refused.
    Pair("dns-longest-name", 9, ShortZone, Zone, DNS),
]
