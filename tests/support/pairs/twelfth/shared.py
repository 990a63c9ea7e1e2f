"""Handlers with a state for each client: a mailbox, transactions, the group that a reader of news is in."""

from __future__ import annotations

import re
from hmac import compare_digest

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

MAIL_LINE = Until(b"\r\n", limit=255)
MAIL_WORD = re.compile(rb"[!-~]{1,40}")
MAIL_NUMBER = re.compile(rb"[1-9][0-9]{0,4}")
MAIL_USERS = {b"ada": b"sesame", b"bob": b"open"}
MAIL_BOX = [b"Subject: tea\r\n\r\nAt four.\r\n", b"Subject: cake\r\n\r\nBring some.\r\n.. or not.\r\n"]
MAIL_ATTEMPTS = 3


class Pop3(StreamHandler):
    """A mailbox (RFC 1939) from which nothing is deleted."""

    timeout = 600
    request_timeout = 60
    session: dict[str, bytes] = {}  # who has logged in

    def setup(self) -> None:
        self.name, self.attempts = b"", 0

    async def handle(self) -> None:
        self.send(b"+OK POP3 ready\r\n")
        while self.attempts < MAIL_ATTEMPTS:
            self.one_by_one += 1
            verb, *words = (await MAIL_LINE)[:-2].split(b" ")
            verb = verb.upper()
            if verb == b"QUIT" and not words:
                self.session.clear()
                self.send(b"+OK bye\r\n")
                return
            if not all(map(MAIL_WORD.fullmatch, words)):
                self.send(b"-ERR no argument\r\n")
            elif "user" not in self.session:
                self.authorization(verb, words)
            else:
                self.transaction(verb, words)

    def authorization(self, verb: bytes, words: list[bytes]) -> None:
        """A command of one who has not logged in."""
        if verb == b"USER" and len(words) == 1:
            self.name = words[0]
            self.send(b"+OK\r\n")
        elif verb == b"PASS" and len(words) == 1 and self.name:
            if compare_digest(MAIL_USERS.get(self.name, b""), words[0]):
                self.session["user"] = self.name
                self.send(b"+OK logged in\r\n")
            else:
                self.attempts += 1
                self.send(b"-ERR [AUTH] no such user or password\r\n")
            self.name = b""
        else:
            self.send(b"-ERR not before you have logged in\r\n")

    def transaction(self, verb: bytes, words: list[bytes]) -> None:
        """A command of one who has logged in."""
        if verb == b"NOOP" and not words:
            self.send(b"+OK\r\n")
        elif verb == b"STAT" and not words:
            self.send(b"+OK %d %d\r\n" % (len(MAIL_BOX), sum(map(len, MAIL_BOX))))
        elif verb == b"LIST" and not words:
            lines = [b"%d %d\r\n" % (number, len(text)) for number, text in enumerate(MAIL_BOX, 1)]
            self.send(b"+OK\r\n%b.\r\n" % b"".join(lines))
        elif verb == b"RETR" and len(words) == 1:
            if MAIL_NUMBER.fullmatch(words[0]) and int(words[0]) <= len(MAIL_BOX):
                text = MAIL_BOX[int(words[0]) - 1].replace(b"\r\n.", b"\r\n..")
                self.send(b"+OK\r\n%b.\r\n" % text)
            else:
                self.send(b"-ERR no such message\r\n")
        else:
            self.send(b"-ERR no such command\r\n")


class Pop3Right(Pop3):
    """A mailbox (RFC 1939) from which nothing is deleted."""

    def setup(self) -> None:
        super().setup()
        self.session = {}


REDIS_LINE = Until(b"\r\n", limit=16)
REDIS_SIZE = re.compile(rb"0|[1-9][0-9]{0,4}")
REDIS_WORDS, REDIS_WORD = 8, 4096
REDIS_KEYS, REDIS_QUEUE = 64, 64
REDIS_COMMANDS = {b"PING": 1, b"ECHO": 2, b"SET": 3, b"GET": 2, b"DEL": 2}  # how many words each has


class Redis(StreamHandler):
    """A part of Redis (RESP2) with transactions. Each client has a small database of its own."""

    timeout = 60
    request_timeout = 60
    queued: list[list[bytes]] = []  # the commands since MULTI

    def setup(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.in_transaction = self.is_broken = False

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            count = self.size(await REDIS_LINE, b"*", 1, REDIS_WORDS)
            words = [await self.word() for _ in range(count)]
            name = words[0].upper()
            if name == b"QUIT" and len(words) == 1:
                self.send(b"+OK\r\n")
                return
            if name in (b"MULTI", b"EXEC", b"DISCARD") and len(words) == 1:
                self.send(self.transaction(name))
            elif REDIS_COMMANDS.get(name) != len(words):
                self.is_broken = self.in_transaction
                self.send(b"-ERR unknown command or wrong number of arguments\r\n")
            elif not self.in_transaction:
                self.send(self.do(name, words))
            elif len(self.queued) >= REDIS_QUEUE:
                self.is_broken = True
                self.send(b"-ERR too many commands\r\n")
            else:
                self.queued.append(words)
                self.send(b"+QUEUED\r\n")

    def size(self, line: bytes, kind: bytes, least: int, most: int) -> int:
        """The size that the line says."""
        if line[:1] != kind or not REDIS_SIZE.fullmatch(line[1:-2]) or not least <= int(line[1:-2]) <= most:
            self.send(b"-ERR Protocol error\r\n")
            raise Malformed("no size")
        return int(line[1:-2])

    async def word(self) -> bytes:
        """A bulk string."""
        data = await Exactly(self.size(await REDIS_LINE, b"$", 0, REDIS_WORD) + 2)
        if data[-2:] != b"\r\n":
            self.send(b"-ERR Protocol error\r\n")
            raise Malformed("a string that does not end where it should")
        return data[:-2]

    def transaction(self, name: bytes) -> bytes:
        """Begin a transaction, or end it."""
        if name == b"MULTI":
            if self.in_transaction:
                return b"-ERR MULTI calls can not be nested\r\n"
            self.in_transaction = True
            return b"+OK\r\n"
        if not self.in_transaction:
            return b"-ERR %b without MULTI\r\n" % name
        commands, is_broken = self.queued[:], self.is_broken
        self.queued.clear()
        self.in_transaction = self.is_broken = False
        if name == b"DISCARD":
            return b"+OK\r\n"
        if is_broken:
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        return b"*%d\r\n%b" % (len(commands), b"".join(self.do(words[0].upper(), words) for words in commands))

    def do(self, name: bytes, words: list[bytes]) -> bytes:
        """Do a command that does not wait."""
        if name == b"PING":
            return b"+PONG\r\n"
        if name == b"SET":
            if words[1] not in self.values and len(self.values) >= REDIS_KEYS:
                return b"-OOM command not allowed\r\n"
            self.values[words[1]] = words[2]
            return b"+OK\r\n"
        if name == b"DEL":
            return b":0\r\n" if self.values.pop(words[1], None) is None else b":1\r\n"
        value = words[1] if name == b"ECHO" else self.values.get(words[1])
        return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


class RedisRight(Redis):
    """A part of Redis (RESP2) with transactions. Each client has a small database of its own."""

    def setup(self) -> None:
        super().setup()
        self.queued = []


NEWS_LINE = Until(b"\r\n", limit=512)
NEWS_WORD = re.compile(rb"[!-~]{1,80}")
NEWS_NUMBER = re.compile(rb"[1-9][0-9]{0,8}")
NEWS_GROUPS = {
    b"misc.test": [b"a test", b"again", b"ignore me"],
    b"comp.lang.python": [b"a release"],
    b"alt.silence": [],
}
NEWS_CURRENT: dict[str, bytes] = {}  # the group that was selected
NEWS_ARTICLE: dict[str, int] = {}  # and the number of the article


class News(StreamHandler):
    """A server for readers of news (RFC 3977): groups, and the articles one by one."""

    timeout = 180
    request_timeout = 60

    def setup(self) -> None:
        self.group, self.article = NEWS_CURRENT, NEWS_ARTICLE

    def handle(self) -> Step:
        self.one_by_one = 1
        self.send(b"201 news.example, no posting\r\n")
        return NEWS_LINE, self.line

    def line(self, line: bytes) -> Step:
        verb, *words = line[:-2].split(b" ")
        verb = verb.upper()
        if verb == b"QUIT" and not words:
            self.send(b"205 bye\r\n")
            return None
        if not all(map(NEWS_WORD.fullmatch, words)):
            self.send(b"501 syntax error\r\n")
        elif verb == b"CAPABILITIES" and not words:
            self.send(b"101 list\r\nVERSION 2\r\nREADER\r\n.\r\n")
        elif verb == b"GROUP" and len(words) == 1:
            self.select(words[0])
        elif verb in (b"NEXT", b"LAST") and not words:
            self.step(1 if verb == b"NEXT" else -1)
        elif verb in (b"STAT", b"BODY") and len(words) < 2:
            self.show(verb, *words)
        else:
            self.send(b"500 what?\r\n")
        self.one_by_one += 1
        return NEWS_LINE, self.line

    def select(self, name: bytes) -> None:
        """Make this the group, and its first article the current one."""
        if name not in NEWS_GROUPS:
            self.send(b"411 no such group\r\n")
            return
        count = len(NEWS_GROUPS[name])
        self.group["name"] = name
        self.article.clear()
        if count:
            self.article["number"] = 1
        self.send(b"211 %d %d %d %b\r\n" % (count, min(count, 1), count, name))

    def step(self, by: int) -> None:
        """Go to the next article, or the one before."""
        if "name" not in self.group:
            self.send(b"412 no group\r\n")
        elif "number" not in self.article:
            self.send(b"420 no article\r\n")
        elif not 1 <= self.article["number"] + by <= len(NEWS_GROUPS[self.group["name"]]):
            self.send(b"421 no next article\r\n" if by == 1 else b"422 no previous article\r\n")
        else:
            self.article["number"] += by
            self.send(b"223 %d <%d@news.example>\r\n" % ((self.article["number"],) * 2))

    def show(self, verb: bytes, number: bytes | None = None) -> None:
        """Show an article, the current one if it is not said which."""
        if "name" not in self.group:
            self.send(b"412 no group\r\n")
            return
        articles = NEWS_GROUPS[self.group["name"]]
        if number is not None:
            if not NEWS_NUMBER.fullmatch(number) or int(number) > len(articles):
                self.send(b"423 no such article\r\n")
                return
            self.article["number"] = int(number)
        elif "number" not in self.article:
            self.send(b"420 no article\r\n")
            return
        chosen = self.article["number"]
        body = b"" if verb == b"STAT" else articles[chosen - 1] + b"\r\n.\r\n"
        self.send(b"%d %d <%d@news.example>\r\n%b" % (223 if verb == b"STAT" else 222, chosen, chosen, body))


class NewsRight(News):
    """A server for readers of news (RFC 3977): groups, and the articles one by one."""

    def setup(self) -> None:
        self.group, self.article = {}, {}


def redis(*words: bytes) -> bytes:
    """A command, as a client sends it."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


PAIRS = [
    Pair(
        "pop3-login",
        3,
        Pop3,
        Pop3Right,
        [
            b"USER ada\r\n",
            b"PASS sesame\r\n",
            b"STAT\r\n",
            b"LIST\r\n",
            b"RETR 1\r\n",
            b"RETR 2\r\n",
            b"QUIT\r\n",
        ],
    ),
    Pair(
        "redis-multi",
        3,
        Redis,
        RedisRight,
        [
            redis(b"PING"),
            redis(b"SET", b"tea", b"green"),
            redis(b"MULTI"),
            redis(b"SET", b"cake", b"none"),
            redis(b"GET", b"tea"),
            redis(b"EXEC"),
            redis(b"GET", b"cake"),
            redis(b"QUIT"),
        ],
    ),
    Pair(
        "nntp-group",
        3,
        News,
        NewsRight,
        [
            b"CAPABILITIES\r\n",
            b"GROUP misc.test\r\n",
            b"STAT\r\n",
            b"NEXT\r\n",
            b"BODY\r\n",
            b"BODY 3\r\n",
            b"NEXT\r\n",
            b"GROUP comp.lang.python\r\n",
            b"BODY\r\n",
            b"QUIT\r\n",
        ],
    ),
]
