"""State that clients share by accident."""

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

COUNT = re.compile(rb"0|[1-9][0-9]{0,3}")
NAME = re.compile(rb"[A-Za-z0-9:._-]{1,64}")


class Transactions(StreamHandler):
    """A part of Redis: PING, GET, SET, DEL, INCR, and transactions of up to 16 commands. Keeps 16 keys."""

    timeout = 30
    request_timeout = 30
    queued = []
    numbers = {b"PING": 1, b"GET": 2, b"SET": 3, b"DEL": 2, b"INCR": 2, b"MULTI": 1, b"EXEC": 1, b"DISCARD": 1}

    def setup(self):
        self.keys, self.in_transaction = {}, False

    async def handle(self):
        while True:
            self.one_by_one += 1
            count = self.count(await Until(b"\r\n", limit=8), b"*")
            words = []
            if not 1 <= count <= 3:
                raise Malformed("words")
            for _ in range(count):
                length = self.count(await Until(b"\r\n", limit=8), b"$")
                if length > 256:
                    raise Malformed("a long word")
                word = await Exactly(length + 2)
                if word[-2:] != b"\r\n":
                    raise Malformed("no end")
                words.append(word[:-2])
            words[0] = words[0].upper()
            if self.numbers.get(words[0]) != count or (count > 1 and NAME.fullmatch(words[1]) is None):
                self.send(b"-ERR unknown command, or wrong arguments\r\n")
                return
            self.send(self.command(words))

    def count(self, line, mark):
        if line[:1] != mark or COUNT.fullmatch(line[1:-2]) is None:
            raise Malformed("no number")
        return int(line[1:-2])

    def command(self, words):
        name = words[0]
        if name == b"MULTI":
            if self.in_transaction:
                return b"-ERR MULTI calls can not be nested\r\n"
            self.in_transaction = True
            return b"+OK\r\n"
        if name in (b"EXEC", b"DISCARD"):
            if not self.in_transaction:
                return b"-ERR %b without MULTI\r\n" % name
            return self.end(name)
        if not self.in_transaction:
            return self.run(words)
        if len(self.queued) >= 16:
            return b"-ERR too many commands\r\n"
        self.queued.append(words)
        return b"+QUEUED\r\n"

    def end(self, name):
        answer = b"+OK\r\n"
        if name == b"EXEC":
            answer = b"*%d\r\n" % len(self.queued) + b"".join(map(self.run, self.queued))
        self.queued.clear()
        self.in_transaction = False
        return answer

    def run(self, words):
        name, key, value = (*words, None, None)[:3]
        if name == b"PING":
            return b"+PONG\r\n"
        old = self.keys.get(key)
        if name == b"GET":
            return b"$-1\r\n" if old is None else b"$%d\r\n%b\r\n" % (len(old), old)
        if name == b"DEL":
            return b":%d\r\n" % (self.keys.pop(key, None) is not None)
        if old is None and len(self.keys) == 16:
            return b"-OOM no more keys\r\n"
        if name == b"SET":
            self.keys[key] = value
            return b"+OK\r\n"
        if old is not None and (COUNT.fullmatch(old) is None or old == b"9999"):
            return b"-ERR value is not an integer or out of range\r\n"
        self.keys[key] = b"%d" % (int(old or 0) + 1)
        return b":%b\r\n" % self.keys[key]


class RightTransactions(Transactions):
    def setup(self):
        super().setup()
        self.queued = []


OWN = {b"application_name", b"datestyle", b"search_path", b"timezone"}
SET = re.compile(rb"SET ([a-z_]{1,20}) (?:TO|=) '([A-Za-z0-9_/, .-]{0,32})';?")
SHOW = re.compile(rb"SHOW ([a-z_]{1,20});?")
TEXT = re.compile(rb"[ -~]{1,32}")


class Settings(StreamHandler):
    """A PostgreSQL server for sessions that set and show their parameters by simple queries."""

    timeout = 30
    request_timeout = 30

    defaults = {
        b"application_name": b"", b"datestyle": b"ISO, MDY", b"search_path": b"public", b"server_version": b"16.1",
        b"timezone": b"UTC",
    }  # fmt: skip

    def setup(self):
        self.settings = self.defaults
        self.asked_ssl = False

    def handle(self):
        return Exactly(4), self.startup_length

    def startup_length(self, data):
        length = int.from_bytes(data, "big")
        if not 8 <= length <= 512:
            raise Malformed("length")
        return Exactly(length - 4), self.startup

    def startup(self, data):
        if data == b"\x04\xd2\x16\x2f" and not self.asked_ssl:
            self.asked_ssl = True
            self.send(b"N")
            return self.handle()
        texts = data[4:-2].split(b"\0")
        if data[:4] != b"\0\x03\0\0" or data[-2:] != b"\0\0" or len(texts) % 2 or not all(map(TEXT.fullmatch, texts)):
            raise Malformed("startup")
        asked = dict(zip(texts[::2], texts[1::2], strict=True))
        if len(asked) != len(texts) // 2 or b"user" not in asked or asked.keys() - {b"user", b"database"} - OWN:
            return self.fail(b"08P01", b"bad startup packet")
        self.settings.update((name, asked[name]) for name in asked if name in OWN)
        self.message(b"R", bytes(4))
        for name in (b"server_version", b"application_name"):
            self.message(b"S", name + b"\0" + self.settings[name] + b"\0")
        self.opened()
        return self.ready()

    def ready(self):
        self.message(b"Z", b"I")
        self.one_by_one += 1
        return Exactly(5), self.header

    def header(self, data):
        length = int.from_bytes(data[1:], "big") - 4
        if data == b"X\0\0\0\x04":
            return None
        if data[:1] != b"Q" or not 1 <= length <= 512:
            return self.fail(b"08P01", b"invalid message")
        return Exactly(length), self.query

    def query(self, data):
        text = data[:-1]
        if data[-1:] != b"\0" or b"\0" in text:
            return self.fail(b"08P01", b"invalid message format")
        if (matched := SHOW.fullmatch(text)) and matched[1] in self.settings:
            return self.show(matched[1])
        if (matched := SET.fullmatch(text)) and matched[1] in OWN:
            self.settings[matched[1]] = matched[2]
            self.message(b"C", b"SET\0")
            return self.ready()
        return self.fail(b"42601", b"syntax error, or no such parameter")

    def show(self, name):
        value = self.settings[name]
        self.message(b"T", b"\0\x01" + name + bytes(7) + b"\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")
        self.message(b"D", b"\0\x01" + len(value).to_bytes(4, "big") + value)
        self.message(b"C", b"SHOW\0")
        return self.ready()

    def message(self, kind, content):
        self.send(kind + (len(content) + 4).to_bytes(4, "big") + content)

    def fail(self, code, text):
        self.message(b"E", b"SFATAL\0C" + code + b"\0M" + text + b"\0\0")


class RightSettings(Settings):
    defaults = dict(Settings.defaults)

    def setup(self):
        super().setup()
        self.settings = dict(self.defaults)


USERS = {b"Basic YWRhOmxvdmVsYWNl": b"ada", b"Basic Ym9iOmJ1aWxkZXI=": b"bob"}
LETTERS = {b"ada": [b"from Charles", b"from Mary"], b"bob": [b"from Wendy"]}
FILED = {b"/inbox": 0, b"/sent": 1, b"/trash": 2}


class Letters(StreamHandler):
    """Pages over HTTP/1.1 for users with passwords. A page is rendered once."""

    timeout = 30
    request_timeout = 30
    pages = {}

    def handle(self):
        self.one_by_one += 1
        return Until(b"\r\n\r\n", limit=2048), self.head

    def head(self, data):
        lines = data[:-4].split(b"\r\n")
        words = lines[0].split(b" ")
        found = fields(lines[1:])
        if len(words) != 3 or words[0] != b"GET" or words[2] != b"HTTP/1.1" or not re.fullmatch(rb"/[!-~]*", words[1]):
            return self.answer(b"400 Bad Request", b"Connection: close\r\n")
        if b"host" not in found or b"content-length" in found or b"transfer-encoding" in found:
            return self.answer(b"400 Bad Request", b"Connection: close\r\n")
        user = USERS.get(found.get(b"authorization", b""))
        if user is None:
            self.answer(b"401 Unauthorized", b'WWW-Authenticate: Basic realm="letters"\r\n')
        elif words[1] not in FILED:
            self.answer(b"404 Not Found", b"")
        else:
            self.answer(b"200 OK", b"Content-Type: text/html\r\n", self.page(user, words[1]))
        return self.handle()

    def page(self, user, path):
        page = self.pages.get(path)
        if page is None:
            page = self.pages[path] = self.render(user, path)
        return page

    def render(self, user, path):
        letters = LETTERS[user] if path == b"/inbox" else []
        rows = b"".join(b"<li>%b</li>" % letter for letter in letters)
        return b"<h1>%b of %b</h1><ul>%b</ul>\n" % (path[1:].capitalize(), user, rows)

    def answer(self, status, more, content=b""):
        self.send(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(content), content))


class RightLetters(Letters):
    def setup(self):
        self.pages = {}

    def page(self, user, path):
        page = self.pages.get((user, path))
        if page is None:
            page = self.pages[user, path] = self.render(user, path)
        return page


def _words(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _query(text):
    return b"Q" + (len(text) + 5).to_bytes(4, "big") + text + b"\0"


def _startup(**asked):
    texts = b"".join(name.encode() + b"\0" + value + b"\0" for name, value in asked.items())
    return (len(texts) + 9).to_bytes(4, "big") + b"\0\x03\0\0" + texts + b"\0"


def _page(path, user):
    return b"GET %b HTTP/1.1\r\nHost: letters.example\r\nAuthorization: Basic %b\r\n\r\n" % (path, user)


PAIRS = [
    # Fault: the commands of a transaction are queued in the class, so one client's EXEC runs those of another.
    Pair(
        "redis-transactions", 3, Transactions, RightTransactions,
        [
            _words(b"PING"),
            _words(b"SET", b"stock", b"41"),
            _words(b"MULTI"),
            _words(b"INCR", b"stock"),
            _words(b"GET", b"stock"),
            _words(b"EXEC"),
            _words(b"MULTI"),
            _words(b"DEL", b"stock"),
            _words(b"DISCARD"),
            _words(b"GET", b"stock"),
            _words(b"DEL", b"stock"),
        ],
        {"kept": 32_768},
    ),
    # Fault: a session sets its parameters in the dictionary of the defaults, so the next sessions begin with them.
    Pair(
        "postgres-settings", 3, Settings, RightSettings,
        [
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            _startup(user=b"ada", database=b"engine", application_name=b"psql"),
            _query(b"SET timezone TO 'Europe/London';"),
            _query(b"SHOW timezone;"),
            _query(b"SET search_path = 'analytical, public'"),
            _query(b"SHOW search_path"),
            _query(b"SHOW server_version;"),
            b"X\0\0\0\x04",
        ],
        {"kept": 8192},
    ),
    # Fault: rendered pages are remembered by path, in the class, so a user gets the page of another.
    Pair(
        "http-private-pages", 3, Letters, RightLetters,
        [
            b"GET /inbox HTTP/1.1\r\nHost: letters.example\r\nAccept: */*\r\n\r\n",
            _page(b"/inbox", b"YWRhOmxvdmVsYWNl"),
            _page(b"/inbox", b"YWRhOmxvdmVsYWNl"),
            _page(b"/sent", b"YWRhOmxvdmVsYWNl"),
            _page(b"/trash", b"Ym9iOmJ1aWxkZXI="),
            _page(b"/drafts", b"Ym9iOmJ1aWxkZXI="),
        ],
        {"kept": 8192},
    ),
]  # fmt: skip
