"""Causes that are swallowed."""

import re

from handlers import EndOfStream, Exactly, LimitPassed, StreamHandler, TimedOut, Until, UntilAny
from tests.support.pairs.pair import Malformed, Pair

NUMBER = re.compile(rb"[1-9][0-9]{0,8}")
SIZE = re.compile(rb"0|[1-9][0-9]{0,3}")
SYSLOG = re.compile(rb"<(0|[1-9][0-9]{0,2})>[^\0]*")


class Relp(StreamHandler):
    """A receiver of the reliable event logging protocol, as of rsyslog: open, syslog, close."""

    timeout = 60
    request_timeout = 60

    def setup(self):
        self.is_open, self.last = False, 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            try:
                number, command, data = await self.frame()
                answer = self.answer(command, data)
            except Exception as error:
                self.respond(self.last, b"500 %b" % str(error).encode())
                continue
            self.respond(number, answer)
            if command == b"close":
                self.send(b"0 serverclose 0\n")
                return

    async def frame(self):
        number = (await Until(b" ", limit=10))[:-1]
        if NUMBER.fullmatch(number) is None or int(number) != self.last + 1:
            raise Malformed("no transaction number")
        command = (await Until(b" ", limit=33))[:-1]
        size = await UntilAny(b" ", b"\n", limit=6)
        if not command.isalpha() or SIZE.fullmatch(size[:-1]) is None or (size[-1:] == b"\n") != (size[:-1] == b"0"):
            raise Malformed("no frame")
        data = b""
        if size != b"0\n":
            data = await Exactly(int(size[:-1]) + 1)
            if data[-1:] != b"\n":
                raise Malformed("no trailer")
        self.last += 1
        return self.last, command, data[:-1]

    def answer(self, command, data):
        """The answer to a frame. Raises ValueError for a command that is refused."""
        if command == b"open" and not self.is_open:
            if b"relp_version=0" not in data.split(b"\n"):
                raise ValueError("relp_version")
            self.is_open = True
            return b"200 OK\nrelp_version=0\nrelp_software=lap,1.0\ncommands=syslog"
        if command == b"syslog" and self.is_open:
            matched = SYSLOG.fullmatch(data)
            if matched is None or int(matched[1]) > 191:
                raise ValueError("priority")
            return b"200 OK"
        if command == b"close" and self.is_open and not data:
            return b"200 OK"
        raise ValueError("command")

    def respond(self, number, data):
        self.send(b"%d rsp %d %b\n" % (number, len(data), data))


class RightRelp(Relp):
    async def handle(self):
        while True:
            self.one_by_one += 1
            number, command, data = await self.frame()
            try:
                answer = self.answer(command, data)
            except ValueError as error:
                self.respond(number, b"500 %b" % str(error).encode())
                continue
            self.respond(number, answer)
            if command == b"close":
                self.send(b"0 serverclose 0\n")
                return


PATH = rb"<([A-Za-z0-9.+_-]{1,64}@[A-Za-z0-9.-]{1,64})>"
MAIL = re.compile(rb"MAIL FROM:(?:<>|%b)" % PATH, re.IGNORECASE)
RCPT = re.compile(rb"RCPT TO:%b" % PATH, re.IGNORECASE)
LINE = Until(b"\r\n", limit=512)


class Mail(StreamHandler):
    """SMTP for mail of up to 16 KiB and four recipients."""

    timeout = 60
    request_timeout = 120

    def setup(self):
        self.greeted, self.sender, self.recipients = False, None, []

    async def handle(self):
        self.send(b"220 mail.example ESMTP\r\n")
        while True:
            self.one_by_one += 1
            line = (await LINE)[:-2]
            if b"\r" in line or b"\n" in line or b"\0" in line:
                raise Malformed("in a line")
            verb = line[:4].upper()
            if verb == b"DATA" and len(line) == 4 and self.recipients:
                self.send(b"354 end with <CRLF>.<CRLF>\r\n")
                size = await self.content()
                if size is None:
                    self.send(b"552 too much mail\r\n")
                    return
                self.send(b"250 queued %d bytes for %d\r\n" % (size, len(self.recipients)))
                self.sender, self.recipients = None, []
            elif verb == b"QUIT" and len(line) == 4:
                self.send(b"221 bye\r\n")
                return
            elif not self.command(verb, line):
                self.send(b"503 command not understood, or not now\r\n")
                return

    def command(self, verb, line):
        """Answer a command that has no content. Whether there is such a command now."""
        answer = b"250 ok\r\n"
        if verb in (b"EHLO", b"HELO") and re.fullmatch(rb" [A-Za-z0-9.-]{1,64}", line[4:]):
            self.greeted, self.sender, self.recipients = True, None, []
            answer = b"250-mail.example\r\n250 PIPELINING\r\n" if verb == b"EHLO" else b"250 mail.example\r\n"
        elif (matched := MAIL.fullmatch(line)) and self.greeted and self.sender is None:
            self.sender = matched[1] or b""
        elif (matched := RCPT.fullmatch(line)) and self.sender is not None:
            if len(self.recipients) == 4:
                answer = b"452 too many recipients\r\n"
            else:
                self.recipients.append(matched[1])
        elif verb == b"RSET" and len(line) == 4:
            self.sender, self.recipients = None, []
        elif verb != b"NOOP" or len(line) != 4:
            return False
        self.send(answer)
        return True

    async def content(self):
        """How many bytes the mail has; ``None`` if they are too many."""
        mail = bytearray()
        while True:
            try:
                line = await Until(b"\r\n", limit=1001)
            except (EndOfStream, TimedOut):
                break  # the client has hung up
            if line == b".\r\n":
                break
            if b"\r" in line[:-2] or b"\n" in line[:-2]:
                raise Malformed("in a line")
            mail += line[1:] if line[:1] == b"." else line
            if len(mail) > 16_384:
                return None
        return len(mail)


class RightMail(Mail):
    async def content(self):
        mail = bytearray()
        while (line := await Until(b"\r\n", limit=1001)) != b".\r\n":
            if b"\r" in line[:-2] or b"\n" in line[:-2]:
                raise Malformed("in a line")
            mail += line[1:] if line[:1] == b"." else line
            if len(mail) > 16_384:
                return None
        return len(mail)


WORDS = {
    b"engine": [b"a machine that works", b"a thing of brass"],
    b"enigma": [b"what is not understood"],
    b"error": [b"what a program has"],
}
COMMAND = re.compile(rb'([A-Z]+)((?: (?:[a-zA-Z0-9*!/._-]{1,32}|"[a-z]{1,32}"))*)')


class Dictionary(StreamHandler):
    """A part of DICT (RFC 2229): DEFINE, MATCH, SHOW DB, CLIENT, STATUS, QUIT."""

    timeout = 120
    request_timeout = 120

    def handle(self):
        self.send(b"220 dict.example ready <1.1@dict.example>\r\n")
        return self.go_on()

    def go_on(self, answer=b""):
        if answer:
            self.send(answer)
        self.one_by_one += 1
        return Until(b"\r\n", limit=1024), self.command

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"500 line too long\r\n")
            return None
        return self.go_on(b"420 still here\r\n")

    def command(self, data):
        matched = COMMAND.fullmatch(data[:-2])
        words = matched[2].split(b" ")[1:] if matched else []
        method = getattr(self, "do_" + matched[1].decode().lower(), None) if matched else None
        if method is None:
            self.send(b"500 syntax error, command not recognized\r\n")
            return None
        answer = method(words)
        if answer is None:
            self.send(b"501 syntax error, illegal parameters\r\n")
            return None
        if matched[1] == b"QUIT":
            self.send(answer)
            return None
        return self.go_on(answer)

    def do_define(self, words):
        if len(words) != 2:
            return None
        word = words[1].strip(b'"')
        if words[0] not in (b"lap", b"*", b"!"):
            return b"550 invalid database, use SHOW DB\r\n"
        found = WORDS.get(word, [])
        if not found:
            return b"552 no match\r\n"
        texts = b"".join(b'151 "%b" lap "Lap"\r\n%b\r\n.\r\n' % (word, text) for text in found)
        return b"150 %d definitions\r\n%b250 ok\r\n" % (len(found), texts)

    def do_match(self, words):
        if len(words) != 3 or words[1] not in (b"exact", b"prefix", b"."):
            return None
        sought = words[2].strip(b'"')
        if words[0] not in (b"lap", b"*", b"!"):
            return b"550 invalid database, use SHOW DB\r\n"
        found = [word for word in WORDS if word == sought or (words[1] != b"exact" and word.startswith(sought))]
        if not found:
            return b"552 no match\r\n"
        lines = b"".join(b'lap "%b"\r\n' % word for word in found)
        return b"152 %d matches\r\n%b.\r\n250 ok\r\n" % (len(found), lines)

    def do_show(self, words):
        if words not in ([b"DB"], [b"DATABASES"]):
            return None
        return b'110 1 databases\r\nlap "Lap"\r\n.\r\n250 ok\r\n'

    def do_client(self, words):
        return b"250 ok\r\n" if words else None

    def do_status(self, words):
        return None if words else b"210 status\r\n"

    def do_quit(self, words):
        return None if words else b"221 bye\r\n"


class RightDictionary(Dictionary):
    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"500 line too long\r\n")


def _relp(number, command, data):
    return b"%d %b %d %b\n" % (number, command, len(data), data)


PAIRS = [
    # Fault: `except Exception` around the await of a frame takes TimedOut, EndOfStream and Malformed for a bad command.
    Pair(
        "relp-frames", 5, Relp, RightRelp,
        [
            _relp(1, b"open", b"relp_version=0\nrelp_software=librelp,1.11.0\ncommands=syslog"),
            _relp(2, b"syslog", b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick"),
            _relp(3, b"syslog", b"<13>Oct 11 22:14:16 mymachine ada: a note, please"),
            b"4 close 0\n",
        ],
    ),
    # Fault: a stream that ends in the middle of a mail, or stalls, is the end of the mail, which is queued.
    Pair(
        "smtp-truncated", 5, Mail, RightMail,
        [
            b"EHLO client.example\r\n",
            b"NOOP\r\n",
            b"MAIL FROM:<ada@example.org>\r\nRCPT TO:<mary@example.org>\r\nRCPT TO:<charles@example.org>\r\nDATA\r\n",
            b"Subject: the engine\r\n\r\nIt works.\r\n..\r\n\r\nAda\r\n.\r\n",
            b"MAIL FROM:<>\r\n",
            b"RSET\r\n",
            b"HELO client.example\r\n",
            b"QUIT\r\n",
        ],
        {"kept": 1 << 20},
    ),
    # Fault: any cause but LimitPassed is answered, and the handler waits for the next command.
    Pair(
        "dict-lookups", 5, Dictionary, RightDictionary,
        [
            b"CLIENT dict/1.13.1\r\n",
            b"SHOW DB\r\n",
            b"DEFINE lap engine\r\n",
            b'DEFINE * "enigma"\r\n',
            b"MATCH lap prefix en\r\n",
            b"MATCH ! exact motor\r\n",
            b"STATUS\r\n",
            b"QUIT\r\n",
        ],
    ),
]  # fmt: skip
