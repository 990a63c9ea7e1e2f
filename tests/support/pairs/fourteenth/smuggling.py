"""Ends and lengths that only look right."""

import re
from hashlib import sha256
from struct import pack, unpack_from

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import FIELD, Malformed, Pair

PATH = rb"<([!-;=?-~]{1,256})>"
MAIL = re.compile(rb"MAIL FROM:(?:<>|%b)\r\n" % PATH, re.IGNORECASE)
RCPT = re.compile(rb"RCPT TO:%b\r\n" % PATH, re.IGNORECASE)
HELLO = re.compile(rb"(?:HELO|EHLO) [!-~]{1,255}\r\n", re.IGNORECASE)


class Mail(StreamHandler):
    """An SMTP server, which says how much it has taken."""

    timeout = 60
    request_timeout = 60
    most_recipients, most_content = 20, 65_536
    content_line = Until(b"\n", limit=1_000)

    def handle(self):
        self.has_greeted, self.count = False, 0
        self.reset()
        self.send(b"220 mail.example ESMTP\r\n")
        return self.next()

    def reset(self):
        self.sender, self.recipients = None, 0

    def next(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=512), self.command

    def command(self, line):
        word = line[:-2].upper()
        if word == b"QUIT":
            self.send(b"221 bye\r\n")
            return None
        if word == b"DATA" and self.recipients:
            self.size = self.lines = 0
            self.send(b"354 go on\r\n")
            return self.content_line, self.content
        if HELLO.fullmatch(line):
            self.has_greeted = True
            self.reset()
            self.send(b"250 mail.example\r\n")
        elif word in (b"RSET", b"NOOP"):
            if word == b"RSET":
                self.reset()
            self.send(b"250 ok\r\n")
        elif MAIL.fullmatch(line) and self.has_greeted and self.sender is None:
            self.sender = line[10:-2]
            self.send(b"250 ok\r\n")
        elif RCPT.fullmatch(line) and self.sender is not None:
            has_room = self.recipients < self.most_recipients
            self.recipients += has_room
            self.send(b"250 ok\r\n" if has_room else b"452 too many\r\n")
        elif word == b"DATA" or MAIL.fullmatch(line) or RCPT.fullmatch(line):
            self.send(b"503 bad sequence of commands\r\n")
        else:
            self.send(b"500 no such command\r\n")
            return None
        return self.next()

    def content(self, line):
        text = line.rstrip(b"\r\n")
        if b"\r" in text or b"\n" in text or b"\0" in text:
            self.send(b"550 a line ends with CR and LF\r\n")
            return None
        if text == b".":
            self.count += 1
            self.send(b"250 message %d has %d lines and %d bytes\r\n" % (self.count, self.lines, self.size))
            self.reset()
            return self.next()
        self.size += len(text.removeprefix(b".")) + 2
        self.lines += 1
        if self.size > self.most_content:
            self.send(b"552 too much\r\n")
            return None
        return self.content_line, self.content


class RightMail(Mail):
    content_line = Until(b"\r\n", limit=1_000)

    def content(self, line):
        if line[-3:-2] in (b"\r", b"\n"):
            self.send(b"550 a line ends with CR and LF\r\n")
            return None
        return super().content(line)


REQUEST = re.compile(rb"(GET|PUT|DELETE) (/[0-9A-Za-z._-]{0,64}) HTTP/1\.1")
SIZE = re.compile(rb"0|[1-9][0-9]{0,4}")


class Pages(StreamHandler):
    """Pages over HTTP/1.1, which are put, got and deleted."""

    timeout = 30
    request_timeout = 30
    most_pages, most_size = 8, 8_192

    async def handle(self):
        self.pages = {}
        while True:
            self.one_by_one += 1
            request, *lines = (await Until(b"\r\n\r\n", limit=8_192))[:-4].split(b"\r\n")
            matched = REQUEST.fullmatch(request)
            try:
                found = self.fields(lines)
                size = self.size(matched and matched[1], found)
            except Malformed:
                self.respond(b"400 Bad Request", b"", b"Connection: close\r\n")
                return
            content = await Exactly(size)
            self.answer(matched[1], matched[2], content)
            if found.get(b"connection", b"").lower() == b"close":
                return

    def fields(self, lines):
        """The fields of a head, by their names in lower case."""
        found = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip()
            if not colon or name in found or FIELD.fullmatch(name + b":" + value) is None:
                raise Malformed("no field")
            found[name] = value
        return found

    def size(self, method, found):
        """The size of the content of a request."""
        if method is None or b"host" not in found or b"transfer-encoding" in found:
            raise Malformed("no request")
        said = found.get(b"content-length")
        if said is None and method != b"PUT":
            return 0
        if said is None or SIZE.fullmatch(said) is None or int(said) > self.most_size:
            raise Malformed("no length")
        return int(said)

    def answer(self, method, path, content):
        if method == b"PUT":
            if path not in self.pages and len(self.pages) >= self.most_pages:
                self.respond(b"507 Insufficient Storage")
                return
            self.respond(b"200 OK" if path in self.pages else b"201 Created")
            self.pages[path] = content
        elif path not in self.pages:
            self.respond(b"404 Not Found")
        elif method == b"GET":
            self.respond(b"200 OK", self.pages[path])
        else:
            del self.pages[path]
            self.respond(b"200 OK")

    def respond(self, status, content=b"", head=b""):
        self.send(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(content), content))


class RightPages(Pages):
    def fields(self, lines):
        for line in lines:
            if FIELD.fullmatch(line) is None:
                raise Malformed("no field")
        return super().fields(lines)


FAILURE, SUCCESS, LIST, IDENTITIES, SIGN, SIGNED, ADD, REMOVE, CLEAR = 5, 6, 11, 12, 13, 14, 17, 18, 19


class Agent(StreamHandler):
    """The agent of SSH: keys are added, listed, used and removed."""

    timeout = 30
    request_timeout = 30
    most_keys, most_size = 8, 4_096

    def setup(self):
        self.keys = {}

    def handle(self):
        self.one_by_one += 1
        return Exactly(4), self.length

    def length(self, data):
        size = int.from_bytes(data, "big")
        if not 1 <= size <= self.most_size:
            raise Malformed("no length")
        return Exactly(size), self.message

    def message(self, data):
        kind, rest = data[0], data[1:]
        if kind == LIST:
            keys = b"".join(self.string(key) + self.string(comment) for key, (_, comment) in self.keys.items())
            answer = pack(">BI", IDENTITIES, len(self.keys)) + keys
        elif kind == SIGN:
            key, rest = self.take(rest)
            content, rest = self.take(rest)
            if len(rest) != 4 or rest != bytes(4):
                raise Malformed("no flags")
            rest, answer = b"", self.sign(key, content)
        elif kind == ADD:
            key, rest = self.take(rest)
            secret, rest = self.take(rest)
            comment, rest = self.take(rest)
            answer = self.add(key, secret, comment)
        elif kind == REMOVE:
            key, rest = self.take(rest)
            answer = bytes((FAILURE if self.keys.pop(key, None) is None else SUCCESS,))
        elif kind == CLEAR:
            self.keys.clear()
            answer = bytes((SUCCESS,))
        else:
            raise Malformed("no such message")
        if rest:
            raise Malformed("more than the message has")
        self.send(self.string(answer))
        return self.handle()

    def take(self, data):
        """The string that ``data`` begins with, and the rest."""
        if len(data) < 4:
            raise Malformed("half a string")
        end = 4 + unpack_from(">I", data)[0]
        return data[4:end], data[end:]

    def string(self, data):
        return pack(">I", len(data)) + data

    def add(self, key, secret, comment):
        if not key or (key not in self.keys and len(self.keys) >= self.most_keys):
            return bytes((FAILURE,))
        self.keys[key] = secret, comment
        return bytes((SUCCESS,))

    def sign(self, key, content):
        if key not in self.keys:
            return bytes((FAILURE,))
        return bytes((SIGNED,)) + self.string(sha256(self.keys[key][0] + content).digest())


class RightAgent(Agent):
    def take(self, data):
        if len(data) < 4 or unpack_from(">I", data)[0] > len(data) - 4:
            raise Malformed("half a string")
        return super().take(data)


def agent(kind, *strings, after=b""):
    content = bytes((kind,)) + b"".join(pack(">I", len(string)) + string for string in strings) + after
    return pack(">I", len(content)) + content


HOST = b"Host: pages.example\r\n"

PAIRS = [
    # Fault: a line of the content may end with LF alone, so `.\n` ends the message, and the rest of it is commands.
    Pair(
        "smtp-content",
        10,
        Mail,
        RightMail,
        [
            b"EHLO client.example\r\n",
            b"MAIL FROM:<ada@client.example>\r\n",
            b"RCPT TO:<bob@mail.example>\r\n",
            b"RCPT TO:<eve@mail.example>\r\n",
            b"DATA\r\n",
            b"Subject: dots\r\n\r\nOne line\r\n..two dots\r\n.\r\n",
            b"NOOP\r\n",
            b"MAIL FROM:<>\r\n",
            b"RSET\r\n",
            b"QUIT\r\n",
        ],
        {"kept": 1_024},
    ),
    # Fault: blanks before the colon of a field, and before its name, are taken away instead of refused.
    Pair(
        "http-blanks",
        10,
        Pages,
        RightPages,
        [
            b"PUT /one.txt HTTP/1.1\r\n%bContent-Length: 11\r\n\r\nhello, one\n" % HOST,
            b"GET /one.txt HTTP/1.1\r\n%bUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n" % HOST,
            b"PUT /one.txt HTTP/1.1\r\n%bContent-Length: 4\r\n\r\nnew\n" % HOST,
            b"DELETE /one.txt HTTP/1.1\r\n%b\r\n" % HOST,
            b"GET /one.txt HTTP/1.1\r\n%bConnection: close\r\n\r\n" % HOST,
        ],
        {"kept": 100_000},
    ),
    # Fault: a string inside a message may say that it is longer than the message, and is what is left of it then.
    Pair(
        "ssh-agent-strings",
        10,
        Agent,
        RightAgent,
        [
            agent(ADD, b"ssh-ed25519 AAAAC3Nz", b"secret of ada", b"ada@laptop"),
            agent(ADD, b"ssh-rsa AAAAB3Nz", b"secret of build", b"build"),
            agent(LIST),
            agent(SIGN, b"ssh-ed25519 AAAAC3Nz", b"data to be signed", after=bytes(4)),
            agent(REMOVE, b"ssh-rsa AAAAB3Nz"),
            agent(LIST),
            agent(CLEAR),
        ],
        {"kept": 50_000},
    ),
]
