"""Handlers with a buffer of their own, which take all messages of a read: strings, files, a mailbox."""

from __future__ import annotations

import re

from handlers import Some, StreamHandler
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

ANY = Some()


class Buffered(StreamHandler):
    """Takes what has come, and holds the beginning of a message until the rest is there."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.one_by_one = 1
        self.buffer = bytearray()

    def handle(self) -> Step:
        return ANY, self.first

    def first(self, data: bytes) -> Step:
        return self.more(data)

    def more(self, data: bytes) -> Step:
        self.buffer += data
        if not self.take():
            return None
        return ANY, self.more if self.buffer else self.first

    def take(self) -> bool:
        """Take the messages in the buffer. Whether more may follow."""
        raise NotImplementedError


NETSTRING_HEAD = re.compile(rb"(0|[1-9][0-9]{0,3}):")
NETSTRING_BEGIN = re.compile(rb"(?:0|[1-9][0-9]{0,3})?")
NETSTRING_LIMIT = 4096  # bytes of text
NETSTRING_FRAME = NETSTRING_LIMIT + 6


class Netstrings(Buffered):
    """Answers each netstring with the same text in capitals."""

    def take(self) -> bool:
        if len(self.buffer) > NETSTRING_FRAME:
            raise Malformed("a netstring that is too long")
        self.take_strings()
        return True

    def take_strings(self) -> None:
        """Answer each netstring that is whole."""
        while head := NETSTRING_HEAD.match(self.buffer):
            size, start = int(head[1]), head.end()
            if size > NETSTRING_LIMIT:
                raise Malformed("a netstring that is too long")
            if len(self.buffer) <= start + size:
                return
            if self.buffer[start + size] != ord(","):
                raise Malformed("a netstring that does not end where it should")
            text = bytes(self.buffer[start : start + size])
            del self.buffer[: start + size + 1]
            self.one_by_one += 1
            self.send(b"%d:%b," % (size, text.upper()))
        if not NETSTRING_BEGIN.fullmatch(self.buffer):
            raise Malformed("no size")


class NetstringsRight(Netstrings):
    """Answers each netstring with the same text in capitals."""

    def take(self) -> bool:
        self.take_strings()  # which holds no more than one that is not whole
        return True


FTP_LINE = 512  # bytes, the end of the line included
FTP_WORD = re.compile(rb"[!-~]+(?: [!-~]+)*")
FTP_PATH = re.compile(rb"(?:/[A-Za-z0-9.-]{1,32})+")
FTP_FILES = {b"/README": 120, b"/pub/reactor.tar.gz": 65_536}


class Ftp(Buffered):
    """The control connection of an FTP server (RFC 959), as far as it needs no data connection."""

    def setup(self) -> None:
        super().setup()
        self.user = b""
        self.is_in = False

    def handle(self) -> Step:
        self.send(b"220 ftp.example ready\r\n")
        return ANY, self.first

    def take(self) -> bool:
        replies: list[bytes] = []
        more = True
        while more and (end := self.buffer.find(b"\r\n", 0, FTP_LINE)) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 2]
            self.one_by_one += 1
            more = self.line(line, replies)
        if replies:
            self.send(b"".join(replies))
        if more and len(self.buffer) >= FTP_LINE:
            raise Malformed("a line that is too long")
        return more

    def line(self, line: bytes, replies: list[bytes]) -> bool:
        """Do a command. Whether another may follow."""
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if not FTP_WORD.fullmatch(line):
            self.refuse(b"500 Syntax error\r\n", replies)
        elif verb == b"QUIT" and not argument:
            replies.append(b"221 Goodbye\r\n")
            return False
        elif verb == b"NOOP" and not argument:
            replies.append(b"200 OK\r\n")
        elif verb == b"USER" and argument and not self.is_in:
            self.user = argument
            replies.append(b"331 Password, please\r\n")
        elif verb == b"PASS" and argument and self.user and not self.is_in:
            self.is_in = self.user == b"anonymous"
            self.user = b""
            replies.append(b"230 Logged in\r\n" if self.is_in else b"530 Not logged in\r\n")
        elif not self.is_in:
            self.refuse(b"530 Not logged in\r\n", replies)
        else:
            self.command(verb, argument, replies)
        return True

    def command(self, verb: bytes, argument: bytes, replies: list[bytes]) -> None:
        """Do a command of one who has logged in."""
        if verb == b"SYST" and not argument:
            replies.append(b"215 UNIX Type: L8\r\n")
        elif verb == b"TYPE" and argument.upper() in (b"A", b"I"):
            replies.append(b"200 Type set to %b\r\n" % argument.upper())
        elif verb == b"SIZE" and FTP_PATH.fullmatch(argument):
            if argument in FTP_FILES:
                replies.append(b"213 %d\r\n" % FTP_FILES[argument])
            else:
                self.refuse(b"550 No such file\r\n", replies)
        else:
            self.refuse(b"502 Not implemented, or not so\r\n", replies)

    def refuse(self, reply: bytes, replies: list[bytes]) -> None:
        """Answer a command that is not done."""
        self.send(reply)


class FtpRight(Ftp):
    """The control connection of an FTP server (RFC 959), as far as it needs no data connection."""

    def refuse(self, reply: bytes, replies: list[bytes]) -> None:
        replies.append(reply)


IMAP_LINE = 1024  # bytes, the end of the line included
IMAP_TAG = re.compile(rb"[A-Za-z0-9.-]{1,32}")
IMAP_WORD = re.compile(rb"[!#$&'+-\[^-z|}~]{1,64}|\"[!#-\[\]-~]{0,64}\"")
IMAP_BOXES = {b"INBOX": 3, b"sent": 1}


class Imap(StreamHandler):
    """A server of IMAP (RFC 9051) with two mailboxes in which nothing changes."""

    timeout = 1800
    request_timeout = 60

    def setup(self) -> None:
        self.one_by_one = 1
        self.buffer = bytearray()
        self.attempts, self.is_in = 3, False

    async def handle(self) -> None:
        self.send(b"* OK [CAPABILITY IMAP4rev2] ready\r\n")
        more = True
        while more:
            if self.buffer:
                self.buffer += await ANY  # the rest of a line
            else:
                self.buffer += await ANY
            while more and (end := self.buffer.find(b"\r\n", 0, IMAP_LINE)) >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[: end + 2]
                self.one_by_one += 1
                more = self.line(line)
            if more and len(self.buffer) >= IMAP_LINE:
                self.send(b"* BYE the line is too long\r\n")
                raise Malformed("a line that is too long")

    def line(self, line: bytes) -> bool:
        """Do a command. Whether another may follow."""
        tag, *words = line.split(b" ")
        if not IMAP_TAG.fullmatch(tag) or not words or not all(map(IMAP_WORD.fullmatch, words)):
            self.bad(tag if IMAP_TAG.fullmatch(tag) else b"*")
            return True
        verb, *words = words
        verb = verb.upper()
        if verb == b"LOGOUT" and not words:
            self.send(b"* BYE logging out\r\n%b OK done\r\n" % tag)
            return False
        if verb == b"NOOP" and not words:
            self.send(tag + b" OK done\r\n")
        elif verb == b"CAPABILITY" and not words:
            self.send(b"* CAPABILITY IMAP4rev2\r\n%b OK done\r\n" % tag)
        elif verb == b"LOGIN" and len(words) == 2 and not self.is_in:
            return self.login(tag, [word.strip(b'"') for word in words])
        elif verb in (b"SELECT", b"EXAMINE") and len(words) == 1 and self.is_in:
            self.select(tag, words[0].strip(b'"'))
        else:
            self.bad(tag)
        return True

    def login(self, tag: bytes, words: list[bytes]) -> bool:
        """Let the client log in. Whether another command may follow."""
        self.is_in = words == [b"ada", b"sesame"]
        self.attempts -= 1
        self.send(tag + (b" OK done\r\n" if self.is_in else b" NO [AUTHENTICATIONFAILED] not so\r\n"))
        return self.is_in or self.attempts > 0

    def select(self, tag: bytes, name: bytes) -> None:
        """Open a mailbox."""
        name = b"INBOX" if name.upper() == b"INBOX" else name
        if name not in IMAP_BOXES:
            self.send(tag + b" NO [NONEXISTENT] no such mailbox\r\n")
            return
        self.send(b"* %d EXISTS\r\n* OK [UIDVALIDITY 1] valid\r\n" % IMAP_BOXES[name])
        self.send(tag + b" OK [READ-ONLY] done\r\n")

    def bad(self, tag: bytes) -> None:
        """Answer what is no command, and begin anew with the next line."""
        self.buffer.clear()
        self.send(tag + b" BAD no such command, or not now\r\n")


class ImapRight(Imap):
    """A server of IMAP (RFC 9051) with two mailboxes in which nothing changes."""

    def bad(self, tag: bytes) -> None:
        self.send(tag + b" BAD no such command, or not now\r\n")


PAIRS = [
    Pair(
        "netstring-capitals",
        6,
        Netstrings,
        NetstringsRight,
        [b"5:hello,", b"0:,3:abc,", b"26:the quick brown fox jumped,", b"4:last,"],
    ),
    Pair(
        "ftp-control",
        6,
        Ftp,
        FtpRight,
        [
            b"USER anonymous\r\n",
            b"PASS ada@example\r\n",
            b"SYST\r\n",
            b"TYPE I\r\n",
            b"SIZE /README\r\n",
            b"SIZE /missing\r\n",
            b"FEAT\r\n",
            b"NOOP\r\n",
            b"QUIT\r\n",
        ],
    ),
    Pair(
        "imap-bad",
        6,
        Imap,
        ImapRight,
        [
            b"a1 CAPABILITY\r\n",
            b'a2 LOGIN ada "sesame"\r\n',
            b"a3 SELECT inbox\r\n",
            b"a4 IDLE\r\n",
            b"a5 EXAMINE sent\r\n",
            b"a6 NOOP\r\n",
            b"a7 LOGOUT\r\n",
        ],
    ),
]
