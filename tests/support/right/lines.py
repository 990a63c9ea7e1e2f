"""Right handlers of line protocols."""

import re

from handlers import EndOfStream, Exactly, LimitPassed, Some, StreamHandler, Until

from . import Right


class AnswersTooLong(StreamHandler):
    """Answers a line that is too long, and ends."""

    def handle(self):
        return Until(b"\r\n", limit=64), self.line

    def line(self, data):
        self.send(data[::-1])
        return self.handle()

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"too long\r\n")


class Pop3(StreamHandler):
    """The commands of a mailbox without mail (RFC 1939)."""

    timeout = 600

    async def handle(self):
        user = secret = b""
        self.send(b"+OK ready\r\n")
        while True:
            verb, _, argument = (await Until(b"\r\n", limit=255))[:-2].partition(b" ")
            verb = verb.upper()
            if verb == b"QUIT":
                self.send(b"+OK bye\r\n")
                return
            if verb == b"USER" and argument:
                user = argument
                self.send(b"+OK\r\n")
            elif verb == b"PASS" and user:
                secret = argument
                self.send(b"+OK\r\n" if secret == b"sesame" else b"-ERR\r\n")
            elif verb == b"STAT" and secret == b"sesame":
                self.send(b"+OK 0 0\r\n")
            else:
                self.send(b"-ERR\r\n")


class Smtp(StreamHandler):
    """Takes mail of at most 1,000 bytes (RFC 5321)."""

    timeout = 300

    async def handle(self):
        self.send(b"220 ready\r\n")
        while True:
            line = await Until(b"\r\n", limit=512)
            verb = line[:4].upper()
            if verb == b"DATA":
                self.send(b"354 go on\r\n")
                self.send(b"250 took %d\r\n" % size if (size := await self.size()) <= 1_000 else b"552 too big\r\n")
            elif verb == b"QUIT":
                self.send(b"221 bye\r\n")
                return
            else:
                self.send(b"250 ok\r\n" if verb in (b"HELO", b"MAIL", b"RCPT", b"NOOP") else b"500 what?\r\n")

    async def size(self):
        size = 0
        while (line := await Until(b"\r\n", limit=1_000)) != b".\r\n":
            size += len(line) - line.startswith(b".")
        return size


class Directory(StreamHandler):
    """A current directory, as in FTP."""

    def __init__(self):
        self.path = []

    def handle(self):
        return Until(b"\r\n", limit=128), self.command

    def command(self, line):
        verb, _, name = line[:-2].partition(b" ")
        if verb == b"CWD" and name == b"..":
            self.path = self.path[:-1]
        elif verb == b"CWD" and re.fullmatch(rb"[a-z]{1,8}", name) and len(self.path) < 16:
            self.path.append(name)
        elif verb == b"QUIT":
            return None
        elif verb != b"PWD":
            self.send(b"500\r\n")
            return self.handle()
        self.send(b"257 /%b\r\n" % b"/".join(self.path))
        return self.handle()


class Relay(StreamHandler):
    """IRC's PING and NICK."""

    async def handle(self):
        nick = b"*"
        while True:
            line = (await Until(b"\n", limit=512)).rstrip(b"\r\n")
            verb, _, rest = line.partition(b" ")
            if verb == b"PING":
                self.send(b"PONG " + rest + b"\r\n")
            elif verb == b"NICK" and re.fullmatch(rb"[A-Za-z]{1,9}", rest):
                self.send(b":%b NICK %b\r\n" % (nick, rest))
                nick = rest
            elif verb == b"QUIT":
                return
            else:
                self.send(b"421 %b\r\n" % nick)


class Store(StreamHandler):
    """The text protocol of memcached, with 16 values of at most 100 bytes for each connection."""

    async def handle(self):
        values = {}
        while True:
            words = (await Until(b"\r\n", limit=80)).split(b" ")
            words[-1] = words[-1].removesuffix(b"\r\n")
            if words[0] == b"set" and len(words) == 3 and re.fullmatch(rb"[0-9]{1,3}", words[2]):
                size = int(words[2])
                if size > 100:
                    self.send(b"SERVER_ERROR too large\r\n")
                    return
                data = await Exactly(size + 2)
                if data[-2:] != b"\r\n":
                    self.send(b"CLIENT_ERROR bad data chunk\r\n")
                    return
                if words[1] in values or len(values) < 16:
                    values[words[1]] = data[:-2]
                    self.send(b"STORED\r\n")
                else:
                    self.send(b"NOT_STORED\r\n")
            elif words[0] == b"get" and len(words) == 2:
                if (value := values.get(words[1])) is not None:
                    self.send(b"VALUE %b %d\r\n%b\r\n" % (words[1], len(value), value))
                self.send(b"END\r\n")
            else:
                self.send(b"ERROR\r\n")


class Resp(StreamHandler):
    """Arrays of at most 8 strings of at most 64 bytes."""

    async def number(self, sign, most):
        line = await Until(b"\r\n", limit=8)
        if not re.fullmatch(rb"[0-9]{1,3}\r\n", line[1:]) or line[:1] != sign or int(line[1:-2]) > most:
            raise ValueError(line)
        return int(line[1:-2])

    async def handle(self):
        while True:
            words = []
            try:
                for _ in range(await self.number(b"*", 8)):
                    word = await Exactly(await self.number(b"$", 64) + 2)
                    if not word.endswith(b"\r\n"):
                        raise ValueError(word)
                    words.append(word[:-2])
            except ValueError:
                self.send(b"-ERR protocol\r\n")
                return
            self.send(b"+%d %b\r\n" % (len(words), b",".join(words)))


class Ident(StreamHandler):
    """Names the user of a pair of ports (RFC 1413)."""

    timeout = 30

    async def handle(self):
        line = await Until(b"\r\n", limit=32)
        if re.fullmatch(rb" *[0-9]{1,5} *, *[0-9]{1,5} *\r\n", line):
            self.send(line[:-2] + b" : USERID : UNIX : nobody\r\n")
        else:
            self.send(b"0 , 0 : ERROR : INVALID-PORT\r\n")


class Gopher(StreamHandler):
    """Answers one selector and ends (RFC 1436)."""

    def handle(self):
        return Until(b"\r\n", limit=255), self.selector

    def selector(self, line):
        self.send(b"iYou asked for %b\tfake\t(NULL)\t0\r\n.\r\n" % line[:-2])


class Calculator(StreamHandler):
    """Reverse Polish notation, on a stack of at most 16 numbers of at most 9 digits."""

    async def handle(self):
        stack = []
        while True:
            word = (await Until(b"\n", limit=16)).rstrip(b"\r\n")
            if re.fullmatch(rb"[0-9]{1,9}", word) and len(stack) < 16:
                stack.append(int(word))
            elif word == b"+" and len(stack) > 1:
                stack.append((stack.pop() + stack.pop()) % 10**9)
            elif word == b"=" and stack:
                self.send(b"%d\n" % stack[-1])
            else:
                self.send(b"?\n")


class Head(StreamHandler):
    """A parser of HTTP's head of its own."""

    timeout = 20

    async def handle(self):
        while True:
            try:
                head = await Until(b"\r\n\r\n", limit=1_024)
            except LimitPassed:
                self.send(b"HTTP/1.1 431 Too large\r\n\r\n")
                return
            lines = head[:-4].split(b"\r\n")
            headers = [line.partition(b":") for line in lines[1:]]
            sizes = [value.strip(b" \t") for name, _, value in headers if name.lower() == b"content-length"]
            is_fair = all(re.fullmatch(rb"[A-Za-z-]+", name) and colon for name, colon, _ in headers)
            is_fair = is_fair and re.fullmatch(rb"[A-Z]+ [^ \r\n]+ HTTP/1\.1", lines[0])
            if not is_fair or len(sizes) > 1 or (sizes and not re.fullmatch(rb"[0-9]{1,4}", sizes[0])):
                self.send(b"HTTP/1.1 400 Bad\r\n\r\n")
                return
            body = await Exactly(int(sizes[0])) if sizes and int(sizes[0]) else b""
            self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class Chunked(StreamHandler):
    """Takes a body in chunks of at most 999 bytes (RFC 9112, section 7.1), without extensions and trailers."""

    async def handle(self):
        total = 0
        while total < 100_000:
            line = await Until(b"\r\n", limit=8)
            if not re.fullmatch(rb"[0-9a-fA-F]{1,3}\r\n", line):
                break
            size = int(line[:-2], 16)
            data = await Exactly(size + 2)
            if not data.endswith(b"\r\n"):
                break
            total += size
            if not size:
                self.send(b"%d\r\n" % total)
                return
        self.send(b"bad\r\n")


class Jobs(StreamHandler):
    """Puts and reserves jobs, as beanstalkd, at most four of a connection."""

    def __init__(self):
        self.jobs = []

    def handle(self):
        return Until(b"\r\n", limit=32), self.command

    def command(self, line):
        if found := re.fullmatch(rb"put ([0-9]{1,2})\r\n", line):
            return Exactly(int(found[1]) + 2), self.job
        if line == b"reserve\r\n" and self.jobs:
            job = self.jobs.pop(0)
            self.send(b"RESERVED %d\r\n%b\r\n" % (len(job), job))
        else:
            self.send(b"NOT_FOUND\r\n")
        return self.handle()

    def job(self, data):
        if data[-2:] != b"\r\n":
            self.send(b"EXPECTED_CRLF\r\n")
            return None
        if len(self.jobs) < 4:
            self.jobs.append(data[:-2])
            self.send(b"INSERTED\r\n")
        else:
            self.send(b"DRAINING\r\n")
        return self.handle()


class Syslog(StreamHandler):
    """Counts octets (RFC 6587, section 3.4.1)."""

    async def handle(self):
        while True:
            digits = (await Until(b" ", limit=5))[:-1]
            if not re.fullmatch(rb"[1-9][0-9]{0,3}", digits):
                self.send(b"bad\n")
                return
            message = await Exactly(int(digits))
            self.send(b"%d octets\n" % len(message))


class Article(StreamHandler):
    """Takes articles that end with a lone dot, and undoes dot-stuffing (RFC 3977, section 3.1.1)."""

    async def handle(self):
        while await Until(b"\r\n", limit=80) == b"POST\r\n":
            self.send(b"340 send\r\n")
            lines = []
            while (line := await Until(b"\r\n", limit=80)) != b".\r\n" and len(lines) < 50:
                lines.append(line[1:] if line.startswith(b"..") else line)
            self.send(b"240 %d lines, %d bytes\r\n" % (len(lines), sum(map(len, lines))))
        self.send(b"500\r\n")


class OwnBuffer(StreamHandler):
    """Keeps a buffer of its own, and resumes its search where it has stopped."""

    timeout, request_timeout = 20, 3_600

    async def handle(self):
        held, seen = bytearray(), 0
        while True:
            while (end := held.find(b"\n", seen)) < 0:
                seen = len(held)
                if seen > 100:
                    self.send(b"too long\n")
                    return
                held += await Some(limit=101)
            line = bytes(held[: end + 1])
            del held[: end + 1]
            seen = 0
            if len(line) > 101:
                self.send(b"too long\n")
                return
            self.send(line.upper())


class ByteByByte(StreamHandler):
    """Reads one byte after another."""

    min_rate = 1

    def __init__(self):
        self.word = b""

    def handle(self):
        return Exactly(1), self.byte

    def byte(self, data):
        if data == b";":
            self.send(self.word + b".")
            self.word = b""
        elif len(self.word) == 20:
            self.send(b"too long.")
            return None
        else:
            self.word += data
        return self.handle()


class SumsAtTheEnd(StreamHandler):
    """Adds numbers, and answers when the stream ends."""

    async def handle(self):
        total = 0
        try:
            while True:
                line = await Until(b"\n", limit=12)
                if not re.fullmatch(rb"[0-9]{1,9}\n", line):
                    self.send(b"no number\n")
                    return
                total += int(line)
        except EndOfStream:
            self.send(b"%d\n" % total)


class Separated(StreamHandler):
    """Rows of values that are separated by commas, with quotes (RFC 4180, section 2)."""

    async def handle(self):
        while True:
            line = (await Until(b"\r\n", limit=200))[:-2]
            fields = re.findall(rb'(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))', line)
            self.send(b"|".join(quoted.replace(b'""', b'"') or plain for quoted, plain in fields) + b"\r\n")


CORPUS = [
    Right(AnswersTooLong, b"one\r\ntwo\r\n"),
    Right(Pop3, b"USER ann\r\nPASS sesame\r\nSTAT\r\nQUIT\r\n"),
    Right(Smtp, b"HELO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n..x\r\n.\r\nQUIT\r\n"),
    Right(Directory, b"CWD usr\r\nCWD lib\r\nCWD ..\r\nPWD\r\nQUIT\r\n"),
    Right(Relay, b"NICK ann\r\nPING 1\r\nJOIN #a\r\nQUIT\r\n"),
    Right(Store, b"set a 5\r\nhello\r\nget a\r\nget b\r\n"),
    Right(Resp, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*0\r\n"),
    Right(Ident, b"6193, 23\r\n"),
    Right(Gopher, b"/about\r\n"),
    Right(Calculator, b"12\n30\n+\n=\n"),
    Right(Head, b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n"),
    Right(Chunked, b"5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n"),
    Right(Jobs, b"put 5\r\nhello\r\nreserve\r\nreserve\r\n"),
    Right(Syslog, b"11 <34>1 hello11 <34>1 world"),
    Right(Article, b"POST\r\none\r\n..two\r\n.\r\nPOST\r\n.\r\nQUIT\r\n"),
    Right(OwnBuffer, b"one\ntwo\n"),
    Right(ByteByByte, b"one;two;"),
    Right(SumsAtTheEnd, b"1\n22\n333\n"),
    Right(Separated, b'a,"b ""c""",d\r\n1,2\r\n'),
]
