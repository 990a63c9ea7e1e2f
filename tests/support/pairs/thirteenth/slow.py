"""Work that grows with all that is held."""

import re

from handlers import Some, StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair, fields

SOME = Some()
MAX_FRAME = 1 << 20
NUMBER = re.compile(rb"0|[1-9][0-9]{0,6}")
NAME = re.compile(rb"[!-~]{1,64}")


class Topics(StreamHandler):
    """Counts by STOMP 1.2 the bytes that are sent; a content has no NUL."""

    timeout = 30
    request_timeout = 60

    def setup(self):
        self.one_by_one = 0
        self.connected = False
        self.begin()

    def begin(self):
        self.held = b""

    def handle(self):
        return SOME, self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.held += data
        while True:
            frame, nul, rest = self.held.partition(b"\x00")
            if len(frame) > MAX_FRAME:
                return self.fail(b"too long")
            if not nul:
                break
            self.held = rest
            if not self.frame(frame):
                return None
            self.one_by_one += 1
        return SOME, self.more if self.held else self.first

    def fail(self, text):
        self.send(b"ERROR\nmessage:" + text + b"\n\n\x00")

    def frame(self, frame):
        head, blank, content = frame.partition(b"\n\n")
        command, *lines = head.split(b"\n")
        try:
            if not blank or len(head) > 2048:
                raise Malformed("no head")
            found = fields(lines)
            length = found.get(b"content-length", b"%d" % len(content))
            if NUMBER.fullmatch(length) is None or int(length) != len(content):
                raise Malformed("not the length")
            return self.command(command, found, content)
        except Malformed:
            self.fail(b"malformed")
            return False

    def command(self, command, found, content):
        receipt = found.get(b"receipt", b"none")
        if NAME.fullmatch(receipt) is None or (command in (b"CONNECT", b"STOMP")) == self.connected:
            raise Malformed("not now")
        if not self.connected:
            if content or b"receipt" in found or found.get(b"accept-version") != b"1.2":
                raise Malformed("no CONNECT")
            self.connected = True
            self.send(b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\x00")
            return True
        if command == b"SEND" and NAME.fullmatch(found.get(b"destination", b"")):
            self.send(b"MESSAGE\ndestination:%b\n\n%d\x00" % (found[b"destination"], len(content)))
        elif command != b"DISCONNECT" or content:
            raise Malformed("no command")
        if b"receipt" in found:
            self.send(b"RECEIPT\nreceipt-id:%b\n\n\x00" % receipt)
        return command == b"SEND"


class TopicsRight(Topics):
    """The same."""

    def begin(self):
        self.held = bytearray()

    def more(self, data):
        searched = len(self.held)
        self.held += data
        if self.held.find(b"\x00", searched) >= 0:
            *frames, rest = bytes(self.held).split(b"\x00")
            self.held = bytearray(rest)
            for frame in frames:
                if len(frame) > MAX_FRAME:
                    return self.fail(b"too long")
                if not self.frame(frame):
                    return None
                self.one_by_one += 1
        if len(self.held) > MAX_FRAME:
            return self.fail(b"too long")
        return SOME, self.more if self.held else self.first


LINE = Until(b"\r\n", limit=1000)
HELLO = re.compile(rb"LHLO [0-9A-Za-z.-]{1,64}", re.IGNORECASE)
MAIL = re.compile(rb"MAIL FROM:<(?:[!-;=?-~]{1,100})?>", re.IGNORECASE)
RCPT = re.compile(rb"RCPT TO:<([!-;=?-~]{1,100})>", re.IGNORECASE)
HOP = re.compile(rb"^Received:", re.IGNORECASE | re.MULTILINE)
MAX_SIZE = 1 << 20
MAX_HOPS = 25
MAX_RECIPIENTS = 100


class Delivery(StreamHandler):
    """Takes mail by LMTP (RFC 2033), unless it goes round."""

    timeout = 60
    request_timeout = 300

    async def handle(self):
        self.greeted = False
        self.forget()
        self.reply(b"220 here.example LMTP")
        while True:
            self.one_by_one += 1
            if not await self.command((await LINE)[:-2]):
                return

    def forget(self):
        self.sender, self.recipients = False, 0

    def reply(self, line):
        self.send(line + b"\r\n")
        return True

    async def command(self, line):
        if HELLO.fullmatch(line):
            self.greeted = True
            self.forget()
            return self.reply(b"250 here.example")
        if MAIL.fullmatch(line):
            if not self.greeted or self.sender:
                return self.reply(b"503 not now")
            self.sender = True
            return self.reply(b"250 OK")
        if RCPT.fullmatch(line):
            if not self.sender:
                return self.reply(b"503 not now")
            if self.recipients == MAX_RECIPIENTS:
                return self.reply(b"452 too many recipients")
            self.recipients += 1
            return self.reply(b"250 OK")
        verb = line.upper()
        if verb == b"DATA":
            return await self.data()
        if verb == b"RSET":
            self.forget()
        elif verb != b"NOOP":
            self.reply(b"221 bye" if verb == b"QUIT" else b"500 no command")
            return False
        return self.reply(b"250 OK")

    async def data(self):
        if not self.recipients:
            return self.reply(b"503 no recipients")
        self.reply(b"354 go on")
        self.text, self.hops = bytearray(), 0
        while (line := await LINE) != b".\r\n":
            if b"\r" in line[:-2] or b"\n" in line[:-2]:
                self.reply(b"500 a line ends with CR LF")
                return False
            line = line[line.startswith(b".") :]
            self.text += line
            if len(self.text) > MAX_SIZE:
                self.reply(b"552 too long")
                return False
            if self.count(line) > MAX_HOPS:
                self.reply(b"554 it goes round")
                return False
        for _ in range(self.recipients):
            self.reply(b"250 took %d bytes" % len(self.text))
        self.text = None
        self.forget()
        return True

    def count(self, line):
        return len(HOP.findall(self.text))


class DeliveryRight(Delivery):
    """The same."""

    def count(self, line):
        self.hops += HOP.match(line) is not None
        return self.hops


MAX_ITEMS = 4096
MAX_ITEM = 4096
MAX_ALL = 65_536
STORE = {b"ada": b"1815", b"grace": b"1906"}


class Store(Buffered):
    """A part of Redis, to read from, by RESP."""

    def setup(self):
        super().setup()
        self.done = 0
        self.begin()

    def begin(self):
        self.place, self.wanted, self.items, self.size = 0, 0, [], 0

    def take(self):
        try:
            while self.parse():
                items = self.items
                self.done += self.place
                self.begin()
                if not self.command(items[0].upper(), items[1:]):
                    return False
        except Malformed as malformed:
            self.send(b"-ERR Protocol error: %b\r\n" % str(malformed).encode())
            return False
        finally:
            del self.buffer[: self.done]
            self.done = 0
        return True

    def parse(self):
        """Whether a whole command is in the buffer: then it is in ``items``."""
        self.begin()
        return self.parse_on()

    def parse_on(self):
        if not self.wanted:
            wanted = self.number(b"*", MAX_ITEMS)
            if wanted is None:
                return False
            if not wanted:
                raise Malformed("empty array")
            self.wanted = wanted
        while len(self.items) < self.wanted:
            before = self.place
            size = self.number(b"$", MAX_ITEM)
            start = self.done + self.place
            if size is None or len(self.buffer) < start + size + 2:
                self.place = before
                return False
            self.size += size
            if self.size > MAX_ALL:
                raise Malformed("too long")
            if self.buffer[start + size : start + size + 2] != b"\r\n":
                raise Malformed("no end")
            self.items.append(bytes(self.buffer[start : start + size]))
            self.place += size + 2
        return True

    def number(self, mark, most):
        start = self.done + self.place
        end = self.buffer.find(b"\r\n", start, start + 10)
        if self.buffer[start : start + 1] not in (b"", mark) or (end < 0 and len(self.buffer) >= start + 10):
            raise Malformed("no length")
        if end < 0:
            return None
        text = bytes(self.buffer[start + 1 : end])
        if NUMBER.fullmatch(text) is None or int(text) > most:
            raise Malformed("no length")
        self.place = end + 2 - self.done
        return int(text)

    def command(self, verb, arguments):
        if verb == b"PING" and len(arguments) <= 1:
            self.send(self.bulk(arguments[0]) if arguments else b"+PONG\r\n")
        elif verb == b"ECHO" and len(arguments) == 1:
            self.send(self.bulk(arguments[0]))
        elif verb == b"MGET" and arguments:
            found = [self.bulk(STORE[name]) if name in STORE else b"$-1\r\n" for name in arguments]
            self.send(b"*%d\r\n" % len(found) + b"".join(found))
        elif verb == b"QUIT" and not arguments:
            self.send(b"+OK\r\n")
            return False
        else:
            self.send(b"-ERR unknown command, or not so many arguments\r\n")
        return True

    def bulk(self, text):
        return b"$%d\r\n%b\r\n" % (len(text), text)


class StoreRight(Store):
    """The same."""

    def parse(self):
        """Whether a whole command is in the buffer: then it is in ``items``."""
        return self.parse_on()


STOMP = [
    b"CONNECT\naccept-version:1.2\nhost:here\n\n\x00",
    b"SEND\ndestination:/queue/a\n\nhello\x00",
    b"SEND\ndestination:/queue/b\ncontent-length:5\nreceipt:r1\n\nhello\x00",
    b"DISCONNECT\nreceipt:r2\n\n\x00",
]
LMTP = [
    b"LHLO there.example\r\n",
    b"MAIL FROM:<eve@there.example>\r\n",
    b"RCPT TO:<ada@here.example>\r\n",
    b"RCPT TO:<bob@here.example>\r\n",
    b"DATA\r\n",
    b"Received: from there\r\nSubject: hello\r\n\r\nhello\r\n..dot\r\n.\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
]
RESP = [
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n",
    b"*4\r\n$4\r\nMGET\r\n$3\r\nada\r\n$3\r\nbob\r\n$5\r\ngrace\r\n",
    b"*1\r\n$4\r\nQUIT\r\n",
]

PAIRS = [
    # Fault: each read copies and searches all that is held of the frame.
    Pair("stomp-topics", 11, Topics, TopicsRight, STOMP, {"kept": 1 << 21}),
    # Fault: each line of a mail counts the hops in all lines before.
    Pair("lmtp-hops", 11, Delivery, DeliveryRight, LMTP, {"kept": 1 << 23}),
    # Fault: each read parses the array from its beginning.
    Pair("resp-arrays", 11, Store, StoreRight, RESP, {}),
]
