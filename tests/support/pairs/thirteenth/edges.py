"""The largest value, the longest line and the longest message of its form."""

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair

LINE = Until(b"\r\n", limit=300)
SET = re.compile(rb"set ([!-~]{1,250}) (0|[1-9][0-9]{0,4}) 0 (0|[1-9][0-9]{0,6})\r\n")
KEY = re.compile(rb"(get|delete) ([!-~]{1,250})\r\n")
MAX_VALUE = 4096
MAX_ITEMS = 8


class Cache(StreamHandler):
    """A part of memcached, with a cache for each connection."""

    timeout = 30
    request_timeout = 60
    most = MAX_VALUE

    def setup(self):
        self.items = {}

    def handle(self):
        self.one_by_one += 1
        return LINE, self.command

    def fail(self, error):
        self.send(error + b"\r\n")

    def command(self, line):
        found = SET.fullmatch(line)
        if found:
            self.key, self.flags, size = found[1], found[2], int(found[3])
            if int(self.flags) > 0xFFFF:
                return self.fail(b"CLIENT_ERROR bad command line format")
            if size > MAX_VALUE:
                return self.fail(b"SERVER_ERROR object too large for cache")
            return Exactly(size + 2, limit=self.most), self.value
        if line == b"version\r\n":
            self.send(b"VERSION 1.6.21\r\n")
            return self.handle()
        if line == b"quit\r\n":
            return None
        found = KEY.fullmatch(line)
        if found is None:
            return self.fail(b"ERROR")
        if found[1] == b"get":
            self.get(found[2])
        else:
            self.send(b"NOT_FOUND\r\n" if self.items.pop(found[2], None) is None else b"DELETED\r\n")
        return self.handle()

    def get(self, key):
        if key in self.items:
            flags, value = self.items[key]
            self.send(b"VALUE %b %b %d\r\n%b\r\n" % (key, flags, len(value), value))
        self.send(b"END\r\n")

    def value(self, data):
        if data[-2:] != b"\r\n":
            return self.fail(b"CLIENT_ERROR bad data chunk")
        self.items.pop(self.key, None)
        self.items[self.key] = self.flags, data[:-2]
        if len(self.items) > MAX_ITEMS:
            del self.items[next(iter(self.items))]
        self.send(b"STORED\r\n")
        return self.handle()


class CacheRight(Cache):
    """The same."""

    most = MAX_VALUE + 2


MAX_LINE = 510
GROUPS = {b"news.here": (3, 1, 3), b"news.there": (2, 7, 8)}
NUMBER = re.compile(rb"0|[1-9][0-9]{0,8}")
TEXT = re.compile(rb"[!-~]+(?: [!-~]+)*\r")


class News(Buffered):
    """Articles by NNTP (RFC 3977), whose lines have at most 512 octets with their end."""

    def setup(self):
        super().setup()
        self.group = None

    def handle(self):
        self.send(b"201 here.example\r\n")
        return super().handle()

    def take(self):
        for line in self.whole(b"\n"):
            if len(line) > MAX_LINE + 1 or TEXT.fullmatch(line) is None:
                self.send(b"501 no line\r\n")
                return False
            if not self.command(line[:-1]):
                return False
        if self.is_too_long(self.buffer):
            self.send(b"501 no line\r\n")
            return False
        return True

    def is_too_long(self, rest):
        return len(rest) > MAX_LINE

    def command(self, line):
        verb, *arguments = line.split(b" ")
        known = self.verbs.get((verb.upper(), len(arguments)))
        if known is None:
            self.send(b"500 no command\r\n")
            return False
        return known(self, *arguments)

    def capabilities(self):
        self.send(b"101 they are\r\nVERSION 2\r\nREADER\r\n.\r\n")
        return True

    def select(self, name):
        if name not in GROUPS:
            self.send(b"411 no such group\r\n")
            return True
        self.group = name
        self.send(b"211 %d %d %d %b\r\n" % (*GROUPS[name], name))
        return True

    def stat(self, number):
        if number[:1] == b"<" and number[-1:] == b">":
            self.send(b"430 no article " + number + b"\r\n")
        elif NUMBER.fullmatch(number) is None:
            self.send(b"501 no number\r\n")
            return False
        elif self.group is None:
            self.send(b"412 no group\r\n")
        elif GROUPS[self.group][1] <= int(number) <= GROUPS[self.group][2]:
            self.send(b"223 %b <%b@here>\r\n" % (number, number))
        else:
            self.send(b"423 no such article\r\n")
        return True

    def leave(self):
        self.send(b"205 bye\r\n")
        return False

    verbs = {(b"CAPABILITIES", 0): capabilities, (b"GROUP", 1): select, (b"STAT", 1): stat, (b"QUIT", 0): leave}


class NewsRight(News):
    """The same."""

    def is_too_long(self, rest):
        return len(rest) > MAX_LINE + (rest[-1:] == b"\r")


MAX_MESSAGE = 1152  # the base value of Max-Message-Size
CSM, PING, PONG, RELEASE = 0xE1, 0xE2, 0xE3, 0xE4
ECHO = b"\xb4echo\xff"


class Echo(StreamHandler):
    """The resource /echo by CoAP over TCP (RFC 8323)."""

    timeout = 30
    request_timeout = 60
    short = 269

    async def handle(self):
        self.greeted = False
        self.send(b"\x00\xe1")
        while True:
            self.one_by_one += 1
            [head] = await Exactly(1)
            size, token_size = await self.size(head >> 4), head & 15
            if token_size > 8 or size > MAX_MESSAGE:
                raise Malformed("no message, or a long one")
            [code] = await Exactly(1)
            token = await Exactly(token_size)
            if not self.message(code, token, await Exactly(size)):
                return

    async def size(self, nibble):
        if nibble < 13:
            return nibble
        if nibble == 13:
            return 13 + (await Exactly(1))[0]
        if nibble == 14:
            return 269 + int.from_bytes(await Exactly(2), "big")
        raise Malformed("a long message")

    def message(self, code, token, rest):
        if (code == CSM) == self.greeted:
            raise Malformed("a CSM is the first message")
        if code > 0xE0:
            return self.signal(code, token, rest)
        if code != 2 or rest[:6] != ECHO or len(rest) == 6:
            self.answer(0x80, token)
            return False
        self.answer(0x44, token, rest[5:])
        return True

    def signal(self, code, token, rest):
        if rest or code not in (CSM, PING, RELEASE):
            raise Malformed("no signal that is known")
        self.greeted = True
        if code == PING:
            self.answer(PONG, token)
        return code != RELEASE

    def answer(self, code, token, rest=b""):
        size = len(rest)
        if size < 13:
            head, more = size, b""
        elif size <= self.short:
            head, more = 13, bytes([size - 13])
        else:
            head, more = 14, (size - 269).to_bytes(2, "big")
        self.send(bytes([head << 4 | len(token)]) + more + bytes([code]) + token + rest)


class EchoRight(Echo):
    """The same."""

    short = 268


MEMCACHED = [
    b"version\r\n",
    b"set ada 7 0 5\r\nhello\r\n",
    b"get ada\r\n",
    b"set bob 0 0 0\r\n\r\n",
    b"delete ada\r\n",
    b"get ada\r\n",
    b"quit\r\n",
]
NNTP = [
    b"CAPABILITIES\r\n",
    b"GROUP news.here\r\n",
    b"STAT 2\r\n",
    b"STAT 4\r\n",
    b"STAT <1@there>\r\n",
    b"GROUP news.none\r\n",
    b"QUIT\r\n",
]
COAP = [
    b"\x00\xe1",
    b"\xb1\x02A" + ECHO + b"hello",
    b"\xd2\x07\x02AB" + ECHO + b"hello, world..",
    b"\xe0\x00\x9d\x02" + ECHO + b"ab" * 210,
    b"\x01\xe2C",
    b"\x00\xe4",
]

PAIRS = [
    # Fault: the wait for the value has no room for its CR LF, so the largest values end the connection.
    Pair("memcached-values", 9, Cache, CacheRight, MEMCACHED, {"kept": 65_536}),
    # Fault: the longest line is refused if it is cut between its CR and its LF.
    Pair("nntp-lines", 9, News, NewsRight, NNTP, {}),
    # Fault: a message of 269 bytes does not fit the length of one byte, 13 to 268: ValueError.
    Pair("coap-echo", 9, Echo, EchoRight, COAP, {}),
]
