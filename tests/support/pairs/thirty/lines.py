"""Handlers for lines of text, each in a right and a broken version: SMTP, RELP, memcached, beanstalkd, chat and others.

A broken class has one fault, which its docstring names. See `thirty` for the list.
"""

from __future__ import annotations

import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from handlers import (
    DatagramHandler,
    Delay,
    Event,
    Exactly,
    Happened,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    Threaded,
    Until,
    UntilAny,
    Wait,
    WhileConnected,
)

if TYPE_CHECKING:
    from handlers import Step

LINE = Until(b"\r\n", limit=512)


class Malformed(Exception):
    """The client has sent what is no message of the protocol. The text is the answer."""


class Smtp(StreamHandler):
    """A receiver of mail, which says for how many recipients it has taken each message."""

    timeout = 300.0

    def setup(self) -> None:
        self.sender = b""
        self.recipients: list[bytes] = []

    async def handle(self) -> None:
        self.send(b"220 mail.example\r\n")
        while True:
            line = (await LINE)[:-2]
            verb, _, rest = line.partition(b" ")
            verb = verb.upper()
            if verb == b"DATA" and self.sender and self.recipients:
                self.send(b"354 end with a dot\r\n")
                while await Until(b"\r\n", limit=1000) != b".\r\n":
                    pass
                self.send(b"250 taken for %d\r\n" % len(self.recipients))
                self.delivered()
            elif verb == b"QUIT":
                self.send(b"221 bye\r\n")
                return
            else:
                self.send(self.command(verb, rest) + b"\r\n")

    def command(self, verb: bytes, rest: bytes) -> bytes:
        address = re.fullmatch(rb"(?:FROM|TO):<([!-;=?-~]{1,256})>", rest, re.IGNORECASE)
        if verb in (b"HELO", b"RSET"):
            self.setup()
        elif verb == b"MAIL" and address and not self.sender and rest[:1] in b"Ff":
            self.sender = address[1]
        elif verb == b"RCPT" and address and self.sender and rest[:1] in b"Tt":
            if len(self.recipients) >= 20:
                return b"452 too many recipients"
            self.recipients.append(address[1])
        elif verb in (b"MAIL", b"RCPT", b"DATA"):
            return b"503 not now"
        elif verb != b"NOOP":
            return b"500 unknown command"
        return b"250 OK"

    def delivered(self) -> None:
        self.setup()


class SmtpKept(Smtp):
    """The recipients of a message get the next one of the connection too."""

    def delivered(self) -> None:
        self.sender = b""


class Relp(StreamHandler):
    """A receiver of log messages with replies, as RELP has them."""

    timeout = 90.0

    async def handle(self) -> None:
        while True:
            number = (await Until(b" ", limit=10))[:-1]
            command = (await Until(b" ", limit=33))[:-1]
            size = await UntilAny(b" ", b"\n", limit=6)
            is_right = number.isdigit() and command.isalpha() and size[:-1].isdigit()
            if is_right and size[-1:] == b" ":
                is_right = (await Exactly(int(size) + 1))[-1:] == b"\n"
            elif is_right:
                is_right = int(size) == 0
            if not is_right:
                self.send(b"0 serverclose 0\n")
                return
            if command in (b"open", b"syslog"):
                self.send(b"%b rsp 6 200 OK\n" % number)
            elif command == b"close":
                self.send(b"%b rsp 0\n" % number)
                return
            else:
                self.unknown(number)

    def unknown(self, number: bytes) -> None:
        self.send(b"%b rsp 19 500 unknown command\n" % number)


class RelpSilent(Relp):
    """A command that is not known has no reply: the client waits for one."""

    def unknown(self, number: bytes) -> None:
        pass


class Memcached(StreamHandler):
    """A store of a client: ``set`` and ``get`` of memcached."""

    timeout = 60.0
    swallowed: type[Exception] = Malformed

    async def handle(self) -> None:
        values: dict[bytes, bytes] = {}
        while await self.request(values):
            pass

    async def request(self, values: dict[bytes, bytes]) -> bool:
        try:
            return await self.command(values, (await LINE)[:-2].split(b" "))
        except self.swallowed:
            self.send(b"ERROR\r\n")
            return True

    async def command(self, values: dict[bytes, bytes], words: list[bytes]) -> bool:
        """Do one command. Whether another may follow."""
        if words[0] == b"set":
            return await self.set(values, words)
        if words[0] == b"get" and len(words) == 2:
            value = values.get(words[1])
            if value is not None:
                self.send(b"VALUE %b 0 %d\r\n%b\r\n" % (words[1], len(value), value))
            self.send(b"END\r\n")
        elif words != [b"quit"]:
            raise Malformed
        return words != [b"quit"]

    async def set(self, values: dict[bytes, bytes], words: list[bytes]) -> bool:
        """Store a value. False: it can't be read, so what follows can't either."""
        found = re.fullmatch(rb"set ([!-~]{1,250}) \d{1,9} \d{1,9} (\d{1,9})", b" ".join(words))
        if found is None or int(found[2]) > 500:
            self.send(b"SERVER_ERROR object too large for cache\r\n" if found else b"CLIENT_ERROR bad command line\r\n")
            return False
        data = await Exactly(int(found[2]) + 2)
        if data[-2:] != b"\r\n":
            self.send(b"CLIENT_ERROR bad data chunk\r\n")
            return False
        if found[1] not in values and len(values) >= 30:
            self.send(b"SERVER_ERROR out of memory storing object\r\n")
        else:
            values[found[1]] = data[:-2]
            self.send(b"STORED\r\n")
        return True


class MemcachedSwallows(Memcached):
    """Every exception is taken for a mistake in a command: a timeout, the end of the stream, a long line."""

    swallowed = Exception


class Beanstalkd(StreamHandler):
    """A queue of jobs, as beanstalkd has it, for one client. A job has at most 1000 bytes."""

    timeout = 60.0
    most = 1000

    def setup(self) -> None:
        self.jobs: deque[tuple[int, bytes]] = deque()
        self.number = 0

    def handle(self) -> Step:
        return Until(b"\r\n", limit=224), self.command

    def command(self, line: bytes) -> Step:
        put = re.fullmatch(rb"put \d{1,9} \d{1,9} \d{1,9} (\d{1,9})\r\n", line)
        if put is not None:
            self.size = int(put[1])
            if self.size <= self.most:
                return self.job(), self.put
            self.send(b"JOB_TOO_BIG\r\n")
            return None
        if line == b"reserve-with-timeout 0\r\n" and self.jobs:
            number, job = self.jobs.popleft()
            self.send(b"RESERVED %d %d\r\n%b\r\n" % (number, len(job), job))
        elif line == b"reserve-with-timeout 0\r\n":
            self.send(b"TIMED_OUT\r\n")
        elif line == b"quit\r\n":
            return None
        else:
            self.send(b"UNKNOWN_COMMAND\r\n")
        return self.handle()

    def job(self) -> Wait:
        return Exactly(self.size + 2, limit=self.most + 2)

    def put(self, data: bytes) -> Step:
        if data[-2:] != b"\r\n":
            self.send(b"EXPECTED_CRLF\r\n")
            return None
        if len(self.jobs) >= 20:
            self.send(b"OUT_OF_MEMORY\r\n")
            return self.handle()
        self.number += 1
        self.jobs.append((self.number, data[:-2]))
        self.send(b"INSERTED %d\r\n" % self.number)
        return self.handle()


class BeanstalkdBound(Beanstalkd):
    """The bound of the read does not count the CR LF: the largest jobs, which are allowed, end the connection."""

    def job(self) -> Wait:
        return Exactly(self.size + 2, limit=self.most)


class Chat(StreamHandler):
    """A room. The server has the people in it by name."""

    timeout = 600.0
    name = b""
    server: Any

    async def handle(self) -> None:
        while True:
            verb, _, rest = (await LINE)[:-2].partition(b" ")
            if verb == b"NICK" and not self.name:
                self.send(b"OK\r\n" if re.fullmatch(rb"[a-z]{1,20}", rest) and self.enter(rest) else b"REFUSED\r\n")
            elif verb == b"SAY" and self.name:
                text = re.sub(rb"[^ -~]", b"?", rest)
                for person in [*self.server.people.values()]:
                    if person is not self:
                        person.send(b"FROM %b %b\r\n" % (self.name, text))
                self.send(b"OK\r\n")
            elif verb == b"QUIT":
                self.send(b"BYE\r\n")
                return
            else:
                self.send(b"ERROR\r\n")

    def enter(self, name: bytes) -> bool:
        if self.server.people.setdefault(name, self) is not self:
            return False
        self.name = name
        return True

    def finish(self) -> None:
        if self.name:
            del self.server.people[self.name]


class ChatStolen(Chat):
    """A name that is in use is given to the next who asks for it; when both leave, the second finds no entry."""

    def enter(self, name: bytes) -> bool:
        self.server.people[name] = self
        self.name = name
        return True


class Pop3(StreamHandler):
    """A mailbox without mail. A line must come within a minute."""

    timeout = 60.0

    async def handle(self) -> None:
        self.send(b"+OK ready\r\n")
        user, is_in = b"", False
        while True:
            try:
                line = await self.line()
            except LimitPassed:
                self.send(b"-ERR line too long\r\n")
                return
            verb, _, rest = line[:-2].partition(b" ")
            verb = verb.upper()
            if verb == b"QUIT":
                self.send(b"+OK bye\r\n")
                return
            if verb == b"USER" and not is_in:
                user = rest
            elif verb == b"PASS" and user == b"ada" and rest == b"sesame":
                is_in = True
            elif verb == b"PASS":
                self.send(b"-ERR wrong\r\n")
                return
            elif verb != b"NOOP" and not (verb == b"STAT" and is_in):
                self.send(b"-ERR not now\r\n")
                continue
            self.send(b"+OK 0 0\r\n" if verb == b"STAT" else b"+OK\r\n")

    async def line(self) -> bytes:
        return await Until(b"\r\n", limit=255)


class Pop3Restarts(Pop3):
    """Each byte begins the minute for a line anew (slowloris)."""

    async def line(self) -> bytes:
        data = await Some(255)
        while b"\r\n" not in data:
            if len(data) >= 255:
                raise LimitPassed(None)
            data += await Some(255 - len(data))
        line, end, rest = data.partition(b"\r\n")
        self.put_back(rest)
        return line + end


class Fetch(DatagramHandler):
    """Looks a key up in a slow store."""

    async def handle(self) -> None:
        key = await Packet()
        await Delay(0.01)
        self.send(b"$%d\r\nvalue of %b\r\n" % (len(key) + 9, key))


class Redis(StreamHandler):
    """Inline commands of Redis, of which GET takes its time."""

    timeout = 60.0

    async def handle(self) -> None:
        while True:
            verb, _, rest = (await LINE)[:-2].partition(b" ")
            if verb.upper() == b"GET" and rest:
                await self.get(rest)
            elif verb.upper() == b"PING" and not rest:
                self.send(b"+PONG\r\n")
            else:
                self.send(b"-ERR unknown command\r\n")

    async def get(self, key: bytes) -> None:
        found = Event()
        self.call(Fetch(), key, found.set)
        self.send(await Happened(found))


class RedisUnordered(Redis):
    """What is answered at once overtakes the answer to an earlier command."""

    async def get(self, key: bytes) -> None:
        self.call(Fetch(), key, self.send)


def registrant(domain: bytes) -> bytes:
    return {b"example.org": b"ada", b"example.net": b"grace"}.get(domain, b"nobody")


class Whois(StreamHandler):
    """Who has a domain, which is looked up in a thread."""

    timeout = 30.0

    async def handle(self) -> None:
        while True:
            line = await LINE
            self.send(b"registrant: %b\r\n" % await self.found(Threaded(registrant, line[:-2].lower())))

    async def found(self, wait: Wait) -> bytes:
        answer: bytes = await wait
        return answer


class WhoisHalfClosed(Whois):
    """A client that ends its stream behind the question (``nc -N``) gets no answer."""

    async def found(self, wait: Wait) -> bytes:
        answer: bytes = await WhileConnected(wait)
        return answer


class Syslog(StreamHandler):
    """Log messages in lines, each of which is acknowledged with its tag."""

    timeout = 60.0
    pattern = re.compile(rb"<\d{1,3}>([\w-]+(?: [\w-]+)*): [ -~]*\n")

    def handle(self) -> Step:
        return Until(b"\n", limit=1024), self.line

    def line(self, line: bytes) -> Step:
        found = self.pattern.fullmatch(line)
        self.send(b"no message\n" if found is None else b"ok %b\n" % found[1])
        return self.handle()


class SyslogBacktracks(Syslog):
    """The expression can split a word in any number of ways, and tries all of them if the colon is missing."""

    pattern = re.compile(rb"<\d{1,3}>((?:[\w-]+ ?)+): [ -~]*\n")


class Ftp(StreamHandler):
    """The login of FTP. A wrong password has its answer a second later."""

    timeout = 60.0

    async def handle(self) -> None:
        self.send(b"220 ready\r\n")
        user, tries = b"", 0
        while True:
            verb, _, rest = (await LINE)[:-2].partition(b" ")
            verb = verb.upper()
            if verb == b"USER":
                user = rest
                self.send(b"331 password, please\r\n")
            elif verb == b"PASS" and user == b"anonymous" and b"@" in rest:
                self.send(b"230 welcome\r\n")
            elif verb == b"PASS":
                await self.wait()
                tries += 1
                self.send(b"530 wrong\r\n" if tries < 3 else b"421 too many\r\n")
                if tries == 3:
                    return
            elif verb == b"QUIT":
                self.send(b"221 bye\r\n")
                return
            else:
                self.send(b"200 fine\r\n" if verb == b"NOOP" else b"502 not here\r\n")

    async def wait(self) -> None:
        await Delay(1)


class FtpBlocks(Ftp):
    """The delay after a wrong password holds up all clients of the loop."""

    async def wait(self) -> None:
        time.sleep(1)
