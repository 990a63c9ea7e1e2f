"""Pairs whose fault is an effect of how a read was cut."""

import re

from handlers import Some, StreamHandler
from tests.support.pairs.pair import Buffered, Malformed, Pair

ANY = Some()
COUNT = re.compile(rb"([*$])(0|[1-9][0-9]{0,3})\r\n")


class Pipeline(StreamHandler):
    """Redis: the answers to all commands that a read has brought leave together. A connection has keys of its own."""

    timeout = 60
    request_timeout = 60
    most, largest = 16, 128

    def setup(self):
        self.buffer = bytearray()
        self.left, self.words, self.size = 0, [], None
        self.keys, self.replies = {}, []

    def handle(self):
        return ANY, self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.buffer += data
        self.replies = []
        try:
            while (command := self.command()) is not None:
                self.words = []
                self.one_by_one += 1
                self.execute(*command)
                if command[0].upper() == b"QUIT":
                    self.flush()
                    return None
        except Malformed as malformed:
            return self.refuse(malformed)
        self.flush()
        return ANY, self.more if self.buffer or self.left else self.first

    def flush(self):
        self.send(b"".join(self.replies))
        self.replies = []

    def refuse(self, malformed):
        self.send(b"-ERR Protocol error: %b\r\n" % str(malformed).encode())

    def command(self):
        """The next command, if it has come whole."""
        if not self.left:
            self.left = self.count(b"*")
            if self.left is None:
                self.left = 0
                return None
            if not 0 < self.left <= 8:
                raise Malformed("invalid multibulk length")
            self.words = []
        while self.left:
            if self.size is None:
                self.size = self.count(b"$")
                if self.size is None:
                    return None
                if self.size > self.largest:
                    raise Malformed("invalid bulk length")
            if len(self.buffer) < self.size + 2:
                return None
            if self.buffer[self.size : self.size + 2] != b"\r\n":
                raise Malformed("no end of a bulk")
            self.words.append(bytes(self.buffer[: self.size]))
            del self.buffer[: self.size + 2]
            self.left, self.size = self.left - 1, None
        return self.words

    def count(self, kind):
        """The number on the next line, which begins with ``kind``; ``None`` if the line has not come whole."""
        end = self.buffer.find(b"\n", 0, 7) + 1
        if not end:
            if len(self.buffer) >= 7 or self.buffer[:1] not in (b"", kind):
                raise Malformed("no such line")
            return None
        matched = COUNT.fullmatch(bytes(self.buffer[:end]))
        if matched is None or matched[1] != kind:
            raise Malformed("no such line")
        del self.buffer[:end]
        return int(matched[2])

    def execute(self, name, *arguments):
        name = name.upper()
        if name == b"PING" and not arguments:
            self.replies.append(b"+PONG\r\n")
        elif name == b"QUIT" and not arguments:
            self.replies.append(b"+OK\r\n")
        elif name == b"SET" and len(arguments) == 2 and len(arguments[0]) <= 64:
            if arguments[0] not in self.keys and len(self.keys) == self.most:
                raise Malformed("too many keys")
            self.keys[arguments[0]] = arguments[1]
            self.replies.append(b"+OK\r\n")
        elif name == b"GET" and len(arguments) == 1:
            value = self.keys.get(arguments[0])
            self.replies.append(b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value))
        elif name == b"DEL" and len(arguments) == 1:
            self.replies.append(b":%d\r\n" % (self.keys.pop(arguments[0], None) is not None))
        else:
            raise Malformed("unknown command")


class OrderedPipeline(Pipeline):
    def refuse(self, malformed):
        self.flush()
        return super().refuse(malformed)


NICKNAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,15}")


class Chat(Buffered):
    """IRC, of which all text is UTF-8: nicknames, PING, a topic, messages to oneself (RFC 2812)."""

    longest = 512

    def setup(self):
        super().setup()
        self.nickname, self.topic = "*", ""

    def take(self):
        if not self.is_fit(self.buffer[self.searched :]):
            return self.refuse("not UTF-8")
        for line in self.whole(b"\n"):
            if len(line) >= self.longest or not line.endswith(b"\r") or not self.is_sound(line):
                return self.refuse("no such line")
            if not self.line(line[:-1].decode()):
                return False
        if len(self.buffer) >= self.longest:
            return self.refuse("no such line")
        return True

    def is_fit(self, read):
        """Whether what has come is UTF-8."""
        try:
            read.decode()
        except UnicodeDecodeError:
            return False
        return True

    def is_sound(self, line):
        """Whether a line is text."""
        return b"\0" not in line and b"\r" not in line[:-1]

    def refuse(self, why):
        self.tell(f"ERROR :{why}")
        return False

    def tell(self, text):
        self.send(text.encode() + b"\r\n")

    def line(self, line):
        verb, _, rest = line.partition(" ")
        target, _, text = rest.partition(" :")
        verb = verb.upper() if verb.isascii() else ""
        if verb == "NICK" and NICKNAME.fullmatch(rest):
            self.nickname = rest
            self.tell(f":server 001 {rest} :Welcome")
        elif verb == "PING" and rest:
            self.tell(f":server PONG server {rest}")
        elif verb == "TOPIC" and target == "#home":
            if text:
                self.topic = text[:100]
            self.tell(f":server 332 {self.nickname} #home :{self.topic}")
        elif verb == "PRIVMSG" and target == self.nickname and text:
            self.tell(f":{self.nickname} PRIVMSG {self.nickname} :{text}")
        elif verb == "QUIT":
            self.tell("ERROR :Closing link")
            return False
        else:
            return self.refuse("no such command")
        return True


class WholeChat(Chat):
    def is_fit(self, read):
        return True

    def is_sound(self, line):
        return super().is_sound(line) and super().is_fit(line)


REQUEST = re.compile(rb"([A-Za-z]+)(?: ([!-~]+))?\r")
ARTICLE = re.compile(rb"[1-9][0-9]{0,5}")
GROUPS = {b"comp.lang.python": 4, b"misc.test": 2}


class News(Buffered):
    """NNTP, for a reader: GROUP, STAT, NEXT, LAST, DATE and QUIT (RFC 3977)."""

    longest = 512

    def setup(self):
        super().setup()
        self.group, self.article = None, 0

    def handle(self):
        self.send(b"200 ready\r\n")
        return super().handle()

    def take(self):
        for line in self.whole(b"\n"):
            matched = self.request(line)
            if matched is None:
                return self.refuse()
            verb, argument = matched[1].upper(), matched[2]
            if verb == b"QUIT" and argument is None:
                self.send(b"205 bye\r\n")
                return False
            if verb == b"GROUP" and argument is not None:
                self.enter(argument)
            elif verb == b"DATE" and argument is None:
                self.send(b"111 20240229120000\r\n")
            elif verb == b"STAT" and (argument is None or ARTICLE.fullmatch(argument)):
                self.stat(self.article if argument is None else int(argument))
            elif verb in (b"NEXT", b"LAST") and argument is None:
                self.stat(self.article + (1 if verb == b"NEXT" else -1))
            else:
                return self.refuse()
        if len(self.buffer) >= self.longest:
            return self.refuse()
        return True

    def request(self, line):
        """The parts of a line, which is here without its line feed; ``None`` if it is no request."""
        return REQUEST.fullmatch(line)

    def refuse(self):
        self.send(b"501 syntax error\r\n")
        return False

    def enter(self, name):
        if name not in GROUPS:
            self.send(b"411 no such group\r\n")
            return
        self.group, self.article = name, 1
        self.send(b"211 %d 1 %d %b\r\n" % (GROUPS[name], GROUPS[name], name))

    def stat(self, article):
        if self.group is None:
            self.send(b"412 no group\r\n")
        elif 0 < article <= GROUPS[self.group]:
            self.article = article
            self.send(b"223 %d <%d@%b>\r\n" % (article, article, self.group))
        else:
            self.send(b"423 no such article\r\n")


class ShortNews(News):
    def request(self, line):
        return super().request(line) if len(line) < self.longest else None


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


PAIRS = [
    # Fault: after a broken frame, the answers to the commands before it in the same read are not sent.
    Pair(
        "redis-pipeline", 6, Pipeline, OrderedPipeline,
        [
            command(b"PING"),
            command(b"SET", b"city", b"Turin"),
            command(b"GET", b"city"),
            command(b"DEL", b"city"),
            command(b"GET", b"city"),
            command(b"QUIT"),
        ],
        {"kept": 4096},
    ),
    # Fault: each read must be UTF-8 by itself, so a character that is cut is refused; and before the lines before it.
    Pair(
        "irc-text", 6, Chat, WholeChat,
        [
            b"NICK ada\r\n",
            b"PING :1700000000\r\n",
            b"TOPIC #home :engines and looms\r\n",
            b"TOPIC #home\r\n",
            b"PRIVMSG ada :note to self\r\n",
            b"QUIT :bye\r\n",
        ],
        {},
    ),
    # Fault: only a line that has not come whole is held against the limit; in one read it may have any length.
    Pair(
        "nntp-overlong", 6, News, ShortNews,
        [
            b"GROUP comp.lang.python\r\n",
            b"STAT\r\n",
            b"NEXT\r\n",
            b"LAST\r\n",
            b"STAT 4\r\n",
            b"GROUP misc.test\r\n",
            b"DATE\r\n",
            b"QUIT\r\n",
        ],
        {},
    ),
]  # fmt: skip
