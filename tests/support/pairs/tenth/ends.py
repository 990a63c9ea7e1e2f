"""Pairs of the tenth set: what only looks like an end, an escape or a boundary."""

from __future__ import annotations

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

DATA = re.compile(rb"((?:[^\x1b\r+]|\x1b[\x1b\r\n+])*)\r?")
ESCAPED = re.compile(rb"\x1b(.)", re.DOTALL)
ADDRESS = re.compile(rb"\+\+addr ([0-9]|[12][0-9]|30)\r?")


class Prologix(StreamHandler):
    """A GPIB-ETHERNET controller (Prologix manual 1.6): lines with ``++`` are for it, others for the instrument.

    In what is for the instrument, ESC stands before each CR, LF, ESC and + that does not end the line.
    """

    timeout = 60.0
    request_timeout = 30.0
    most = 1024

    def setup(self) -> None:
        self.address, self.data = 5, b""

    def is_escaped(self, part: bytes) -> bool:
        """Whether the LF at the end of ``part`` belongs to the data."""
        return part.endswith(b"\x1b\n")

    async def line(self) -> bytes:
        """The next line, without its LF."""
        self.one_by_one += 1
        part = await Until(b"\n", limit=self.most)
        parts, size = [part], len(part)
        while self.is_escaped(part):
            part = await Until(b"\n", limit=self.most)
            parts.append(part)
            size += len(part)
            if size > self.most:
                raise Malformed("too long")
        return b"".join(parts)[:-1]

    def command(self, line: bytes) -> None:
        address = ADDRESS.fullmatch(line)
        word = line.removesuffix(b"\r")
        if address is not None:
            self.address = int(address[1])
        elif word == b"++addr":
            self.send(b"%d\r\n" % self.address)
        elif word == b"++ver":
            self.send(b"Prologix GPIB-ETHERNET Controller version 01.06.06.00\r\n")
        elif word == b"++read eoi" and self.data == b"*IDN?":
            self.send(b"HEWLETT-PACKARD,34401A,0,11-5-2\r\n")
        elif word == b"++read eoi":
            self.send(b"%d BYTES AT %d\r\n" % (len(self.data), self.address))
        else:
            self.send(b"Unrecognized command\r\n")

    async def handle(self) -> None:
        while True:
            line = await self.line()
            if line.startswith(b"++"):
                self.command(line)
                continue
            data = DATA.fullmatch(line)
            if data is None:
                self.send(b"Unrecognized command\r\n")
            elif data[1]:
                self.data = ESCAPED.sub(rb"\1", data[1])


class PrologixRight(Prologix):
    def is_escaped(self, part: bytes) -> bool:
        before = part[:-1]
        return (len(before) - len(before.rstrip(b"\x1b"))) % 2 == 1


VALUE = re.compile(rb"(?:[^\x00-\x1f\x7f\\]|\\[\\n])*")
PLAIN = re.compile(rb"[^\x00-\x1f\x7f]*")
QUESTIONS = b"demo/name", b"demo/motd"


class Debconf(StreamHandler):
    """The configuration of packages (debconf-devel(7)): a script sets and gets the answers to its questions.

    With the capability ``escape`` a backslash is written twice, and the end of a line as a backslash and an n.
    """

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.is_escaping = False
        self.answers = dict.fromkeys(QUESTIONS, b"")
        self.seen = dict.fromkeys(QUESTIONS, b"false")

    def unescaped(self, text: bytes) -> bytes:
        return text.replace(b"\\n", b"\n").replace(b"\\\\", b"\\")

    def set(self, name: bytes, text: bytes) -> bytes:
        if not (VALUE if self.is_escaping else PLAIN).fullmatch(text):
            return b"20 Bad value"
        self.answers[name] = self.unescaped(text) if self.is_escaping else text
        return b"0 value set"

    def get(self, name: bytes) -> bytes:
        value = self.answers[name]
        if self.is_escaping:
            return b"1 " + value.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
        return b"0 " + value

    def of_question(self, word: bytes, rest: bytes) -> bytes:
        """The answer to a command about a question."""
        name, space, text = rest.partition(b" ")
        if name not in self.answers:
            return b"10 No such question"
        if word == b"set" and space:
            return self.set(name, text)
        if word == b"get" and not space:
            return self.get(name)
        if word == b"fget" and text == b"seen":
            return b"0 " + self.seen[name]
        if word == b"fset" and text in (b"seen true", b"seen false"):
            self.seen[name] = text[5:]
            return b"0 " + text[5:]
        return b"20 Syntax error"

    def command(self, line: bytes) -> bytes:
        word, _, rest = line.partition(b" ")
        word = word.lower()
        if word == b"version":
            return b"0 2.0" if rest == b"2.0" else b"30 Wrong version"
        if word == b"capb":
            self.is_escaping = self.is_escaping or b"escape" in rest.split()
            return b"0 escape"
        if word in (b"set", b"get", b"fset", b"fget"):
            return self.of_question(word, rest)
        if word == b"go" and not rest:
            return b"0 ok"
        return b"20 Unsupported command"

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            line = (await Until(b"\n", limit=2048))[:-1]
            if line.lower() == b"stop":
                return
            try:
                line.decode()
            except UnicodeDecodeError:
                self.send(b"20 Bad encoding\n")
                continue
            self.send(self.command(line) + b"\n")


class DebconfRight(Debconf):
    def unescaped(self, text: bytes) -> bytes:
        return re.sub(rb"\\([\\n])", lambda found: b"\n" if found[1] == b"n" else b"\\", text)


KIND = re.compile(rb"multipart/form-data; ?boundary=([0-9A-Za-z_-]{1,70})")
NAMED = re.compile(rb'form-data; name="([a-z0-9_]{1,32})"(?:; filename="[0-9A-Za-z._-]{1,64}")?')
LENGTH = re.compile(rb"0|[1-9][0-9]{0,4}")


class FormData(StreamHandler):
    """Forms with files (RFC 7578), sent by POST in HTTP/1.1; the answer has the name and the size of each part."""

    timeout = 60.0
    request_timeout = 30.0
    most = 16_384

    def cut(self, body: bytes, boundary: bytes) -> list[bytes]:
        """What is between the delimiters, which begin lines."""
        pieces = body.split(b"--" + boundary)
        return [piece.removesuffix(b"\r\n") for piece in pieces[:-1]] + pieces[-1:]

    def parts(self, body: bytes, boundary: bytes) -> list[bytes]:
        pieces = self.cut(body, boundary)
        if len(pieces) < 3 or len(pieces) > 18 or pieces[0] or pieces[-1] not in (b"--", b"--\r\n"):
            raise Malformed("no form")
        named = []
        for piece in pieces[1:-1]:
            head, blank, content = piece.partition(b"\r\n\r\n")
            if not blank or not head.startswith(b"\r\n"):
                raise Malformed("no part")
            matched = NAMED.fullmatch(fields(head[2:].split(b"\r\n")).get(b"content-disposition", b""))
            if matched is None:
                raise Malformed("no name")
            named.append(b"%b %d\n" % (matched[1], len(content)))
        return named

    def answer(self, status: bytes, said: bytes, is_last: bool) -> None:
        close = b"Connection: close\r\n" if is_last else b""
        head = b"HTTP/1.1 %b\r\n%bContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % (status, close, len(said))
        self.send(head + said)

    async def request(self, head: bytes) -> bool:
        """Answer one request; whether another may follow."""
        first, *lines = head.split(b"\r\n")
        found = fields(lines)
        kind = KIND.fullmatch(found.get(b"content-type", b""))
        length = LENGTH.fullmatch(found.get(b"content-length", b""))
        if first != b"POST /upload HTTP/1.1" or b"host" not in found or kind is None or length is None:
            raise Malformed("no upload")
        if b"transfer-encoding" in found or b"expect" in found or int(length[0]) > self.most:
            raise Malformed("not supported")
        said = self.parts(await Exactly(int(length[0])), kind[1])
        is_last = found.get(b"connection", b"").lower() == b"close"
        self.answer(b"200 OK", b"".join(said), is_last)
        return not is_last

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            head = await Until(b"\r\n\r\n", limit=2048)
            try:
                if not await self.request(head[:-4]):
                    return
            except Malformed:
                self.answer(b"400 Bad Request", b"", True)
                return


class FormDataRight(FormData):
    def cut(self, body: bytes, boundary: bytes) -> list[bytes]:
        return (b"\r\n" + body).split(b"\r\n--" + boundary)


def form(boundary: bytes, *parts: tuple[bytes, bytes]) -> bytes:
    """A request of a client of `FormData`."""
    head = b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    body = b"".join(head % (boundary, name, content) for name, content in parts) + b"--%b--\r\n" % boundary
    kind = b"Content-Type: multipart/form-data; boundary=%b\r\n" % boundary
    return b"POST /upload HTTP/1.1\r\nHost: a.example\r\n%bContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


PAIRS = [
    Pair(
        "prologix-escapes", 10, Prologix, PrologixRight,
        [
            b"++ver\r\n",
            b"++addr 9\n",
            b"*IDN?\r\n++read eoi\n",
            b"DISP:TEXT 'a\x1b\nb\x1b+c'\r\n",
            b"++read eoi\n",
            b"++mode 7\n",
        ],
    ),
    Pair(
        "debconf", 10, Debconf, DebconfRight,
        [
            b"VERSION 2.0\nCAPB multiselect escape\n",
            b"SET demo/name Ada Lovelace\nGET demo/name\n",
            b"SET demo/motd Hello,\\nworld. \\\\o/\nGET demo/motd\n",
            b"FSET demo/motd seen true\nGET demo/none\n",
            b"STOP\n",
        ],
    ),
    Pair(
        "form-data", 10, FormData, FormDataRight,
        [
            form(b"----xyz", (b"name", b"Ada"), (b"note", b"Dear Bob,\r\n\r\n--\r\nAda")),
            form(b"0f0f", (b"file", bytes(range(256)))),
            form(b"0f0f"),
        ],
    ),
]  # fmt: skip
