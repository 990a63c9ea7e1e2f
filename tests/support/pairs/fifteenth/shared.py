"""State that clients share by accident."""

import re
import struct
from copy import deepcopy
from functools import lru_cache

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

COMMAND = re.compile(rb"([A-Za-z0-9]{1,16}) ([A-Za-z]+)(?: ([ -~]+))?")
STORE = re.compile(rb"([1-9][0-9]{0,4}) ([+-])FLAGS \((\\[A-Za-z]+(?: \\[A-Za-z]+)*)\)")
FETCH = re.compile(rb"([1-9][0-9]{0,4}) (?:FLAGS|\(FLAGS\))")
FLAGS = [b"\\Answered", b"\\Deleted", b"\\Draft", b"\\Flagged", b"\\Seen"]


def mailbox():
    """The messages that are there at first."""
    return [
        {"size": 1032, "flags": {b"\\Seen"}},
        {"size": 411, "flags": {b"\\Seen", b"\\Answered"}},
        {"size": 23_800, "flags": set()},
    ]


class Demonstration(StreamHandler):
    """IMAP for people who try a client: each has a copy of one mailbox, for as long as the connection is there."""

    timeout = 30
    request_timeout = 30
    template = mailbox()

    def setup(self):
        self.messages = self.copied()
        self.is_known = self.is_selected = False

    def copied(self):
        return deepcopy(self.template)

    def handle(self):
        self.send(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=1024), self.command

    def command(self, line):
        matched = COMMAND.fullmatch(line[:-2])
        if matched is None:
            self.send(b"* BAD no command\r\n")
            return None
        tag, name, rest = matched[1], matched[2].upper(), matched[3] or b""
        if name == b"LOGOUT" and not rest:
            self.send(b"* BYE\r\n%b OK LOGOUT completed\r\n" % tag)
            return None
        method = {b"LOGIN": self.login, b"SELECT": self.select, b"NOOP": self.noop}.get(name)
        if self.is_selected and method is None:
            method = {b"STORE": self.store, b"FETCH": self.fetch}.get(name)
        result = b"BAD" if method is None else method(rest)
        self.send(b"%b %b %b completed\r\n" % (tag, result, name[:16]))
        return None if result == b"BAD" else self.following()

    def noop(self, rest):
        return b"BAD" if rest else b"OK"

    def login(self, rest):
        if self.is_known or rest.count(b" ") != 1:
            return b"BAD"
        self.is_known = rest == b"guest guest"
        return b"OK" if self.is_known else b"NO"

    def select(self, rest):
        self.is_selected = self.is_known and rest == b"INBOX"
        if not self.is_selected:
            return b"NO"
        self.send(b"* %d EXISTS\r\n* FLAGS (%b)\r\n" % (len(self.messages), b" ".join(FLAGS)))
        return b"OK"

    def fetch(self, rest):
        matched = FETCH.fullmatch(rest)
        if matched is None or int(matched[1]) > len(self.messages):
            return b"BAD"
        flags = self.messages[int(matched[1]) - 1]["flags"]
        self.send(b"* %b FETCH (FLAGS (%b))\r\n" % (matched[1], b" ".join(sorted(flags))))
        return b"OK"

    def store(self, rest):
        matched = STORE.fullmatch(rest)
        given = set() if matched is None else set(matched[3].split(b" "))
        if matched is None or int(matched[1]) > len(self.messages) or not given <= set(FLAGS):
            return b"BAD"
        message = self.messages[int(matched[1]) - 1]
        if matched[2] == b"+":
            message["flags"] |= given
        else:
            message["flags"] -= given
        return self.fetch(matched[1] + b" FLAGS")


class BrokenDemonstration(Demonstration):
    template = mailbox()

    def copied(self):
        return [dict(message) for message in self.template]


DISK = 8192
OPTION = struct.Struct(">8sII")
REQUEST = struct.Struct(">IHHQQI")
ABORT, LIST = 2, 3
READ, WRITE, DISCONNECT, FLUSH, TRIM = range(5)
EINVAL, ENOSPC = 22, 28
IMAGES = {b"scratch": b"boot" * 128, b"empty": b""}


class BlockDevice(StreamHandler):
    """NBD, copy on write: what a client writes is there for this client only, and as long as it is connected."""

    timeout = 30
    request_timeout = 30

    async def handle(self):
        self.send(b"NBDMAGICIHAVEOPT\0\3")
        flags = int.from_bytes(await Exactly(4), "big")
        if flags & ~3 or not flags & 1:
            raise Malformed("unknown flags")
        if not await self.negotiate(bool(flags & 2)):
            return
        self.opened()
        while True:
            self.one_by_one += 1
            magic, flags, kind, cookie, offset, size = REQUEST.unpack(await Exactly(REQUEST.size))
            if magic != 0x2560_9513 or flags or kind > TRIM:
                raise Malformed("no request")
            if kind == DISCONNECT:
                return
            data = await Exactly(size, limit=DISK) if kind == WRITE else b""
            error, answer = self.do(kind, offset, size, data)
            self.send(struct.pack(">IIQ", 0x6744_6698, error, cookie) + answer)

    async def negotiate(self, is_short):
        """Take options up to the name of the export. Whether there is one."""
        for _ in range(16):
            magic, option, size = OPTION.unpack(await Exactly(OPTION.size))
            data = await Exactly(size, limit=256)
            if magic != b"IHAVEOPT":
                raise Malformed("no option")
            if option == 1:
                if data not in IMAGES:
                    return False
                self.disk = self.opened_disk(data)
                self.send(struct.pack(">QH", DISK, 0x25) + (b"" if is_short else bytes(124)))
                return True
            if option == LIST and not data:
                for name in IMAGES:
                    self.option_reply(option, 2, len(name).to_bytes(4, "big") + name)
            self.option_reply(option, 1 if option in (ABORT, LIST) else 0x8000_0001)
            if option == ABORT:
                return False
        raise Malformed("too many options")

    def option_reply(self, option, kind, data=b""):
        self.send(struct.pack(">QIII", 0x3_E889_0455_65A9, option, kind, len(data)) + data)

    def opened_disk(self, name):
        return bytearray(IMAGES[name].ljust(DISK, b"\0"))

    def do(self, kind, offset, size, data):
        """Do a request; its error and what it answers."""
        if kind == FLUSH:
            return (EINVAL if offset or size else 0), b""
        if offset + size > DISK:
            return (ENOSPC if kind == WRITE else EINVAL), b""
        if kind == READ:
            return 0, bytes(self.disk[offset : offset + size])
        self.disk[offset : offset + size] = data if kind == WRITE else bytes(size)
        return 0, b""


@lru_cache(maxsize=8)
def image(name):
    """The first content of the disk with this name."""
    return bytearray(IMAGES[name].ljust(DISK, b"\0"))


class BrokenBlockDevice(BlockDevice):
    def opened_disk(self, name):
        return image(name)


GROUPS = {b"comp.lang.python": range(101, 106), b"misc.test": range(1, 4)}
NEWS = re.compile(rb"([A-Za-z]+)(?: ([!-~]+))?")
NUMBER = re.compile(rb"[1-9][0-9]{0,8}")


class Place:
    """Where a reader is: a group and an article of it."""

    def __init__(self):
        self.group = self.article = None

    def enter(self, group):
        self.group, self.article = group, GROUPS[group][0]

    def step(self, by):
        """Go on to the next article, or back. Whether there is one."""
        if self.article + by not in GROUPS[self.group]:
            return False
        self.article += by
        return True


class Reader(StreamHandler):
    """NNTP, as a reader uses it to find out what there is."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.place = Place()

    def handle(self):
        self.send(b"201 news.example, posting prohibited\r\n")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=512), self.command

    def command(self, line):
        matched = NEWS.fullmatch(line[:-2])
        if matched is None:
            self.send(b"501 syntax error\r\n")
            return None
        name, word = matched[1].upper(), matched[2]
        if name == b"QUIT" and word is None:
            self.send(b"205 closing connection\r\n")
            return None
        if name == b"LIST" and word is None:
            lines = (b"%b %d %d n\r\n" % (group, found[-1], found[0]) for group, found in GROUPS.items())
            answer = b"215 list of newsgroups follows\r\n" + b"".join(lines) + b".\r\n"
        elif name == b"GROUP" and word is not None:
            answer = self.group(word)
        elif name in (b"NEXT", b"LAST", b"STAT") and (word is None or name == b"STAT"):
            answer = b"412 no newsgroup selected\r\n" if self.place.group is None else self.article(name, word)
        else:
            answer = None
        self.send(answer or b"500 unknown command\r\n")
        return answer and self.following()

    def group(self, word):
        if word not in GROUPS:
            return b"411 no such newsgroup\r\n"
        self.place.enter(word)
        found = GROUPS[word]
        return b"211 %d %d %d %b\r\n" % (len(found), found[0], found[-1], word)

    def article(self, name, word):
        place = self.place
        if name == b"NEXT" and not place.step(1):
            return b"421 no next article\r\n"
        if name == b"LAST" and not place.step(-1):
            return b"422 no previous article\r\n"
        if word is not None:
            if NUMBER.fullmatch(word) is None:
                return None
            if int(word) not in GROUPS[place.group]:
                return b"423 no article with that number\r\n"
            place.article = int(word)
        return b"223 %d <%d@news.example>\r\n" % (place.article, place.article)


class BrokenReader(Reader):
    place = Place()

    def setup(self):
        pass


def option(number, data=b""):
    return OPTION.pack(b"IHAVEOPT", number, len(data)) + data


def request(kind, cookie, offset=0, size=0, data=b""):
    return REQUEST.pack(0x2560_9513, 0, kind, cookie, offset, size or len(data)) + data


PAIRS = [
    # Fault: the copy of the mailbox is shallow, so all clients change the same sets of flags.
    Pair(
        "imap-store",
        3,
        BrokenDemonstration,
        Demonstration,
        [
            b"a1 NOOP\r\n",
            b"a2 LOGIN guest guest\r\n",
            b"a3 SELECT INBOX\r\n",
            b"a4 FETCH 3 (FLAGS)\r\n",
            b"a5 STORE 3 +FLAGS (\\Seen \\Flagged)\r\n",
            b"a6 STORE 1 +FLAGS (\\Deleted)\r\n",
            b"a7 FETCH 1 FLAGS\r\n",
            b"a8 STORE 1 -FLAGS (\\Deleted)\r\n",
            b"a9 STORE 3 -FLAGS (\\Flagged \\Seen)\r\n",
            b"b1 FETCH 2 FLAGS\r\n",
            b"b2 LOGOUT\r\n",
        ],
        {"kept": 8192},
    ),
    # Fault: the cache gives all clients one bytearray, into which each writes.
    Pair(
        "nbd-copy-on-write",
        3,
        BrokenBlockDevice,
        BlockDevice,
        [
            b"\0\0\0\3",
            option(LIST),
            option(1, b"scratch"),
            request(READ, 1, 0, 16),
            request(WRITE, 2, 1024, data=b"hello, disk"),
            request(READ, 3, 1020, 20),
            request(FLUSH, 4),
            request(TRIM, 5, 1024, 512),
            request(READ, 6, 1024, 16),
            request(READ, 7, 8190, 16),
            request(DISCONNECT, 8),
        ],
        {"kept": 16_384},
    ),
    # Fault: the place of a reader is an object of the class, so one client's GROUP or NEXT moves all others.
    Pair(
        "nntp-next",
        3,
        BrokenReader,
        Reader,
        [
            b"LIST\r\n",
            b"GROUP misc.test\r\n",
            b"STAT\r\n",
            b"NEXT\r\n",
            b"NEXT\r\n",
            b"NEXT\r\n",
            b"LAST\r\n",
            b"STAT 1\r\n",
            b"LAST\r\n",
            b"GROUP comp.lang.python\r\n",
            b"NEXT\r\n",
            b"STAT 105\r\n",
            b"GROUP alt.nothing\r\n",
            b"QUIT\r\n",
        ],
        {"kept": 4096},
    ),
]
