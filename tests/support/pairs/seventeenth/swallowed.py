"""Pairs of kind 5: a wait fails, and the handler goes on as if it had not, or says something else than what was so."""

import base64
import binascii
import hmac
import re

from handlers import EndOfStream, Exactly, LimitPassed, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair

# poppassd


class PasswordChange(StreamHandler):
    """A password is changed in a dialogue of lines: poppassd, port 106 (Eudora's ``poppassd.c``).

    ``user``, ``pass`` and ``newpass`` come in this order; then the next change, or ``quit``. A mistake ends the
    connection. What was changed holds for the rest of the connection.
    """

    timeout = 30
    request_timeout = 60  # for one change
    accounts = {b"ada": b"lovelace", b"alan": b"enigma-1912"}
    command = re.compile(rb"(user|pass|newpass|quit)(?: ([!-~]{1,64}))?\r\n")
    least = 6

    def setup(self):
        self.passwords = dict(self.accounts)

    async def handle(self):
        self.send(b"200 poppassd v1.8 hello, who are you?\r\n")
        while await self.change():
            self.one_by_one += 1

    async def change(self):
        """Whether another change may follow."""
        user = await self.word(b"user", b"200 Your password please.\r\n")
        if user is None:
            return False
        given = await self.word(b"pass", b"")
        if given is None:
            return False
        known = self.passwords.get(user)
        if not hmac.compare_digest(given, known or b"") or known is None:
            self.send(b"500 Old password is incorrect.\r\n")
            return False
        self.send(b"200 Your new password please.\r\n")
        fresh = await self.word(b"newpass", b"")
        if fresh is None:
            return False
        if len(fresh) < self.least or fresh == known:
            self.send(b"500 Password is too short, or the old one.\r\n")
            return False
        self.passwords[user] = fresh
        self.send(b"200 Password changed, thank-you.\r\n")
        return True

    async def word(self, name, answer):
        """The word of the next command, which must be ``name``; ``None``: it was another, and was answered."""
        found = self.command.fullmatch(await self.line())
        if found is not None and found[1] == b"quit" and found[2] is None:
            self.send(b"200 Bye.\r\n")
        elif found is None or found[1] != name or found[2] is None:
            self.send(b"500 %b required.\r\n" % name)
        else:
            self.send(answer)
            return found[2]
        return None

    async def line(self):
        return await Until(b"\r\n", limit=128)

    def interrupted(self, cause):
        if isinstance(cause, (LimitPassed, TimedOut)):
            self.send(b"500 Line too long.\r\n" if isinstance(cause, LimitPassed) else b"500 Too slow.\r\n")


class PasswordChangeHalfLine(PasswordChange):
    """The fault: what has come of a line when the stream ends is taken for the line, as ``fgets()`` gives it.

    A connection that breaks in the middle of ``newpass`` sets the first half of the new password.
    """

    async def line(self):
        try:
            return await super().line()
        except EndOfStream as end:
            if not end.partial:
                raise
            return end.partial.rstrip(b"\r") + b"\r\n"


# rrdcached


class Updates(StreamHandler):
    """The values of round robin databases, one command a line, or many in a batch (rrdcached(1), "PROTOCOL").

    Values are kept for each file until FLUSH. The lines of a batch are carried out at its end, which is a dot.
    """

    timeout = 30
    request_timeout = 60  # for one command, with its batch
    most_files, most_values, most_lines = 8, 64, 128
    line = Until(b"\n", limit=512)
    name = re.compile(rb"[a-z0-9_-]{1,32}\.rrd")
    value = re.compile(rb"([1-9][0-9]{0,10}):(-?[0-9]{1,15}(?:\.[0-9]{1,6})?|U)")

    def setup(self):
        self.pending = {}

    async def handle(self):
        while (line := await self.line) != b"QUIT\n":
            if line == b"BATCH\n":
                self.send(b"0 Go ahead.  End with dot '.' on its own line.\n")
                await self.batch()
            else:
                self.send(self.answer(line[:-1]))
            self.one_by_one += 1

    async def batch(self):
        """Take the lines up to the dot, and carry them out."""
        lines = []
        while (line := await self.line) != b".\n":
            if len(lines) == self.most_lines:
                self.send(b"-1 Batch too long.\n")
                raise Malformed("batch")
            lines.append(line[:-1])
        self.carry_out(lines)

    def carry_out(self, lines):
        errors = []
        for number, line in enumerate(lines, 1):
            answer = self.answer(line)
            if answer.startswith(b"-"):
                errors.append(b"%d %b" % (number, answer))
        self.send(b"%d errors\n%b" % (len(errors), b"".join(errors)))

    def answer(self, line):
        words = line.split(b" ")
        if words == [b"PING"]:
            return b"0 PONG\n"
        if words[0] not in (b"UPDATE", b"PENDING", b"FLUSH"):
            return b"-1 Unknown command.\n"
        if len(words) < 2 or not self.name.fullmatch(words[1]) or (len(words) > 2) != (words[0] == b"UPDATE"):
            return b"-1 Usage: %b file%b\n" % (words[0], b" values" * (words[0] == b"UPDATE"))
        if words[0] == b"UPDATE":
            return self.update(words[1], words[2:])
        held = self.pending.get(words[1])
        if held is None:
            return b"-1 No such file: %b.\n" % words[1] if words[0] == b"PENDING" else b"0 Nothing to flush.\n"
        if words[0] == b"PENDING":
            return b"%d updates pending\n%b" % (len(held), b"".join(b"%b\n" % value for value in held))
        del self.pending[words[1]]
        return b"0 Successfully flushed %b.\n" % words[1]

    def update(self, name, values):
        held = self.pending.get(name, [])
        last = int(held[-1].partition(b":")[0]) if held else 0
        for value in values:
            found = self.value.fullmatch(value)
            if found is None:
                return b"-1 Parse error in a value.\n"
            if int(found[1]) <= last:
                return b"-1 illegal attempt to update using time %d when last update time is %d\n" % (
                    int(found[1]), last
                )  # fmt: skip
            last = int(found[1])
        if len(held) + len(values) > self.most_values or (not held and len(self.pending) == self.most_files):
            return b"-1 Too many values, FLUSH first.\n"
        self.pending[name] = held + values
        return b"0 errors, enqueued %d value(s).\n" % len(values)

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"-1 Line too long.\n")


class UpdatesFinally(Updates):
    """The fault: a batch is carried out in a ``finally``, so also if it has not come to its end.

    A client that leaves, or is silent, in the middle of a batch gets "0 errors", and half of the batch is kept.
    """

    async def batch(self):
        lines = []
        try:
            while (line := await self.line) != b".\n":
                if len(lines) == self.most_lines:
                    self.send(b"-1 Batch too long.\n")
                    raise Malformed("batch")
                lines.append(line[:-1])
        finally:
            self.carry_out(lines)


# MUPDATE


class Mistake(Exception):
    """A command that has come whole is wrong: its text is the answer, and the session goes on."""


class Mailboxes(StreamHandler):
    """The mailbox database of a cluster of mail servers: MUPDATE (RFC 3656).

    A command has a tag, a name, and strings, each of which is quoted or a literal, ``{5+}``, that follows the line.
    The mailboxes are those of the session.
    """

    timeout = 30
    request_timeout = 60  # for one command, and for the login
    line = Until(b"\r\n", limit=1024)
    most_boxes, most_literals = 16, 1024
    literal = re.compile(rb"\{([^{}]*)\}\r\n\Z")
    size = re.compile(rb"(0|[1-9][0-9]{0,3})\+")
    head = re.compile(rb"([A-Za-z0-9]{1,16}) ([A-Za-z]{1,16})((?: .*)?)")
    quoted = re.compile(rb'(?: "(?:[^"\\\0\r\n]|\\["\\])*")*')
    string = re.compile(rb'"((?:[^"\\]|\\["\\])*)"')
    escaped = re.compile(rb"\\(.)")
    name = re.compile(rb"[!-~]{1,255}")
    strings = {b"NOOP": 0, b"FIND": 1, b"DELETE": 1, b"RESERVE": 2, b"ACTIVATE": 3, b"LOGOUT": 0, b"AUTHENTICATE": 2}

    def setup(self):
        self.boxes, self.user, self.failed = {}, None, 0

    async def handle(self):
        self.send(b'* AUTH "PLAIN"\r\n* OK MUPDATE "mupdate.example.org" "Cyrus" "3.8" "(master)"\r\n')
        going_on = True
        while going_on:
            line = await self.line
            try:
                going_on = await self.execute(line)
            except Mistake as mistake:
                self.send(b'%b "%b"\r\n' % mistake.args)
            self.one_by_one += self.user is not None

    async def execute(self, line):
        """Carry out the command that ``line`` begins. Whether the session goes on."""
        pieces, held = [], 0
        while found := self.literal.search(line):
            size = self.size.fullmatch(found[1])
            held += int(size[1]) if size else 0
            if size is None or held > self.most_literals or len(pieces) == 6:
                self.send(b'* BYE "No such literal"\r\n')
                raise Malformed("literal")
            pieces += [line[: found.start()], await Exactly(int(size[1]), limit=self.most_literals)]
            line = await self.line
        tag, command, strings = self.parsed([*pieces, line[:-2]])
        if self.user is None and command not in (b"AUTHENTICATE", b"LOGOUT"):
            raise Mistake(tag + b" NO", b"Authenticate first")
        if command == b"AUTHENTICATE":
            return self.login(tag, *strings)
        if command == b"LOGOUT":
            self.send(b'%b OK "Bye"\r\n' % tag)
            return False
        if strings and not self.name.fullmatch(strings[0]):
            raise Mistake(tag + b" BAD", b"Bad mailbox name")
        self.send(self.answer(tag, command, *strings))
        return True

    def parsed(self, pieces):
        head = self.head.fullmatch(pieces[0])
        if head is None:
            raise Mistake(b"* BAD", b"Need tag and command")
        strings = []
        for number, piece in enumerate([head[3], *pieces[1:]]):
            if number % 2:
                strings.append(piece)
                continue
            is_last = number + 1 == len(pieces)
            text = piece if is_last else piece[:-1]
            if not self.quoted.fullmatch(text) or not (is_last or piece.endswith(b" ")):
                raise Mistake(head[1] + b" BAD", b"Bad string")
            strings += [self.escaped.sub(rb"\1", found) for found in self.string.findall(text)]
        if self.strings.get(head[2].upper()) != len(strings):
            raise Mistake(head[1] + b" BAD", b"Unknown command, or its arguments")
        return head[1], head[2].upper(), strings

    def login(self, tag, mechanism, response):
        try:
            response = base64.b64decode(response, validate=True)
        except binascii.Error:
            response = b""
        if self.user is not None or mechanism != b"PLAIN" or response != b"\0cyrus\0imapd":
            self.failed += 1
            self.send(b'%b NO "Not authenticated"\r\n' % tag)
            return self.failed < 3
        self.user = b"cyrus"
        self.send(b'%b OK "Authenticated"\r\n' % tag)
        return True

    def answer(self, tag, command, box=b"", *told):
        if command == b"FIND" and box in self.boxes:
            kind = b"MAILBOX" if len(self.boxes[box]) == 2 else b"RESERVE"
            found = b" ".join(b"{%d+}\r\n%b" % (len(said), said) for said in (box, *self.boxes[box]))
            self.send(b"%b %b %b\r\n" % (tag, kind, found))
        elif command == b"DELETE" and self.boxes.pop(box, None) is None:
            return b'%b NO "No such mailbox"\r\n' % tag
        elif told:
            known = self.boxes.get(box, ())
            if len(known) >= len(told) or (len(self.boxes) == self.most_boxes and not known):
                return b'%b NO "Mailbox exists, or too many"\r\n' % tag
            self.boxes[box] = told
        return b'%b OK "done"\r\n' % tag

    def interrupted(self, cause):
        if isinstance(cause, (LimitPassed, TimedOut)):
            self.send(b'* BYE "%b"\r\n' % (b"Line too long" if isinstance(cause, LimitPassed) else b"Too slow"))


class MailboxesAnyError(Mailboxes):
    """The fault: whatever goes wrong in a command is answered with BAD, and the session goes on with the next line.

    A literal that does not come in time, or a stream that ends in it, counts as a bad command. What comes of the
    literal afterwards is taken for commands.
    """

    async def handle(self):
        self.send(b'* AUTH "PLAIN"\r\n* OK MUPDATE "mupdate.example.org" "Cyrus" "3.8" "(master)"\r\n')
        going_on = True
        while going_on:
            line = await self.line
            try:
                going_on = await self.execute(line)
            except Mistake as mistake:
                self.send(b'%b "%b"\r\n' % mistake.args)
            except Exception:
                self.send(b'* BAD "Internal error"\r\n')
            self.one_by_one += self.user is not None


PAIRS = [
    Pair(
        "poppassd-new-password", 5, PasswordChangeHalfLine, PasswordChange,
        [b"user ada\r\n", b"pass lovelace\r\n", b"newpass engine-1843\r\n",
         b"user ada\r\n", b"pass engine-1843\r\n", b"newpass notes-on-bernoulli\r\n", b"quit\r\n"],
    ),
    Pair(
        "rrdcached-batch", 5, UpdatesFinally, Updates,
        [b"PING\n", b"UPDATE load.rrd 1700000000:0.42\n", b"BATCH\n", b"UPDATE load.rrd 1700000060:0.5 1700000120:U\n",
         b"UPDATE net.rrd 1700000060:1024\n", b"UPDATE net.rrd 1700000060:1030\n", b".\n", b"PENDING load.rrd\n",
         b"FLUSH load.rrd\n", b"FLUSH load.rrd\n", b"QUIT\n"],
        {"kept": 65_536},
    ),
    Pair(
        "mupdate-literal", 5, MailboxesAnyError, Mailboxes,
        [b'A1 AUTHENTICATE "PLAIN" "AGN5cnVzAGltYXBk"\r\n', b'A2 RESERVE "user.ada" "be1!default"\r\n',
         b'A3 ACTIVATE "user.ada" {11+}\r\nbe1!default {9+}\r\nada\tlrswi\r\n', b'A4 FIND "user.ada"\r\n',
         b'A5 ACTIVATE {9+}\r\nuser.alan "be2!default" "alan\tlrswipcda"\r\n', b"A6 NOOP\r\n",
         b'A7 DELETE "user.alan"\r\n', b'A8 FIND "user.alan"\r\n', b"A9 LOGOUT\r\n"],
        {"kept": 65_536},
    ),
]  # fmt: skip
