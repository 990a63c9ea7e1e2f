"""Work that grows with what is held: batches of NSQ, files over Kermit, and queries of CDDB."""

import re
from struct import pack, unpack_from

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Pair

LINE = Until(b"\n", limit=160)
SIZE = Exactly(4)
TOPIC = re.compile(rb"[.a-zA-Z0-9_-]{1,64}(?:#ephemeral)?")
MESSAGE, BATCH = 65_536, 1 << 20


class Producers(StreamHandler):
    """NSQ's protocol V2 for producers: takes messages, one (PUB) or a batch (MPUB), and says that they are taken."""

    timeout = 60
    request_timeout = 60

    def setup(self):
        self.one_by_one = self.taken = 0

    def handle(self):
        return SIZE, self.magic

    def magic(self, data):
        if data != b"  V2":
            return self.refuse(b"E_BAD_PROTOCOL")
        self.opened()
        return self.following()

    def following(self):
        self.one_by_one += 1
        return LINE, self.line

    def line(self, line):
        command, _, topic = line[:-1].partition(b" ")
        if command in (b"PUB", b"MPUB"):
            if TOPIC.fullmatch(topic) is None:
                return self.refuse(b"E_BAD_TOPIC topic name is not valid")
            return SIZE, self.message_size if command == b"PUB" else self.batch_size
        if topic or command not in (b"NOP", b"CLS"):
            return self.refuse(b"E_INVALID invalid command")
        if command == b"CLS":
            return self.answer(b"CLOSE_WAIT")
        return self.following()

    def message_size(self, data):
        size = int.from_bytes(data, "big")
        if not 0 < size <= MESSAGE:
            return self.refuse(b"E_BAD_MESSAGE wrong size of a message")
        return Exactly(size), self.message

    def message(self, _):
        return self.took(1)

    def batch_size(self, data):
        size = int.from_bytes(data, "big")
        if not 4 < size <= BATCH:
            return self.refuse(b"E_BAD_BODY wrong size of a body")
        return Exactly(size), self.batch

    def batch(self, body):
        number = int.from_bytes(body[:4], "big")
        if not number or number != self.count(body):
            return self.refuse(b"E_BAD_MESSAGE wrong messages in a body")
        return self.took(number)

    def count(self, body):
        """The number of messages behind the first four bytes of ``body``; 0 if they don't fill it."""
        number, place = 0, 4
        while place + 4 < len(body):
            (size,) = unpack_from(">I", body, place)
            if not 0 < size <= MESSAGE:
                return 0
            number += 1
            place += 4 + size
        return number if place == len(body) else 0

    def took(self, number):
        self.taken += number
        self.answer(b"OK")
        return self.following()

    def answer(self, text, kind=0):
        self.send(pack(">II", 4 + len(text), kind) + text)

    def refuse(self, why):
        self.answer(why, 1)


class CuttingProducers(Producers):
    """NSQ's protocol V2 for producers: cuts one message after another off a batch."""

    def count(self, body):
        number, rest = 0, body[4:]
        while len(rest) > 4:
            size = int.from_bytes(rest[:4], "big")
            if not 0 < size <= min(MESSAGE, len(rest) - 4):
                return 0
            number += 1
            rest = rest[4 + size :]
        return 0 if rest else number


PACKET = Until(b"\r", limit=97)
SHAPE = re.compile(rb"\x01([#-~])([ -_])([A-Z])([ -~]*)([ -_])\r")
ENCODED = re.compile(rb"(?:[ -\"$-~]|#[ -~])*")
QUOTED = re.compile(rb"#([ -~])")
NAME = re.compile(rb"[A-Za-z0-9_-]{1,32}(?:\.[A-Za-z0-9_-]{1,8})?")
LARGEST = 1 << 20
MOST_NAKS = 10


def check_of(data):
    """Kermit's check of one character."""
    total = sum(data)
    return 32 + ((total + (total >> 6 & 3)) & 63)


def kermit(number, kind, data=b""):
    text = bytes([35 + len(data), 32 + number]) + kind + data
    return b"\x01%b%c\r" % (text, check_of(text))


def decoded(data):
    """``data`` without the marks of control characters."""
    return QUOTED.sub(lambda quoted: b"%c" % (quoted[1][0] ^ 64) if b"?" <= quoted[1] <= b"_" else quoted[1], data)


class Kermit(StreamHandler):
    """Kermit: receives files in packets of at most 94 characters, each of which has its number and its check."""

    timeout = 30
    request_timeout = 20

    def setup(self):
        self.one_by_one = self.number = self.naks = 0
        self.expected = b"S"
        self.last = b""
        self.begin()

    def begin(self):
        """A file begins."""
        self.content = bytearray()

    def took(self, data):
        """Keep what a packet has of the file. Whether there is room for it."""
        self.content += decoded(data)
        return len(self.content) <= LARGEST

    async def handle(self):
        while True:
            self.one_by_one += 1
            packet = await PACKET
            matched = SHAPE.fullmatch(packet)
            if not matched or packet[1] - 32 != len(packet) - 3 or matched[5][0] != check_of(packet[1:-2]):
                self.naks += 1
                if self.naks > MOST_NAKS:
                    return self.refuse(b"Too many bad packets")
                self.send(kermit(self.number, b"N"))
                continue
            number, kind, data = matched[2][0] - 32, matched[3], matched[4]
            if kind == b"E":
                return None
            if self.last and number == (self.number - 1) % 64:
                self.send(self.last)
                continue
            if number != self.number or kind not in self.expected.split() or not ENCODED.fullmatch(data):
                return self.refuse(b"Unexpected packet")
            if not self.packet(kind, data) or kind == b"B":
                return None

    def packet(self, kind, data):
        """Take a packet that has its number. Whether it was taken."""
        self.naks, answer = 0, b""
        if kind == b"S":
            answer, self.expected = b"~* @-#N1", b"F B"
        elif kind == b"F":
            if NAME.fullmatch(data) is None:
                return self.refuse(b"Wrong name of a file")
            self.begin()
            answer, self.expected = data, b"D Z"
        elif kind == b"D":
            if not self.took(data):
                return self.refuse(b"File too large")
        elif kind == b"Z":
            self.expected = b"F B"
        self.last = kermit(self.number, b"Y", answer)
        self.send(self.last)
        self.number = (self.number + 1) % 64
        return True

    def refuse(self, why):
        self.send(kermit(self.number, b"E", why))


class WholeKermit(Kermit):
    """Kermit: receives files, of which it keeps what was sent and what that means."""

    def begin(self):
        super().begin()
        self.sent = b""

    def took(self, data):
        self.sent += data
        self.content = decoded(self.sent)
        return len(self.content) <= LARGEST


COMMAND = Until(b"\r\n", limit=1024)
PRINTABLE = re.compile(rb"[ -~]*")
DISC = re.compile(rb"[0-9a-f]{8}")
NUMBER = re.compile(rb"0|[1-9][0-9]{0,6}")
QUERY = re.compile(rb" *[cC][dD]{2}[bB] +[qQ][uU][eE][rR][yY] +([0-9a-f]{8}) +([0-9]+) +([0-9 ]+) +([0-9]+) *")
ENTRY = [
    b"# xmcd",
    b"DISCID=1f02d303",
    b"DTITLE=The Example / Three Pieces",
    b"TTITLE0=One",
    b"TTITLE1=Two",
    b"TTITLE2=Three",
]
DISCS = {(b"1f02d303", 3): b"classical 1f02d303 The Example / Three Pieces"}


class Cddb(StreamHandler):
    """CDDB: says which disc has these tracks, and what is known of it. Words may have several spaces between them."""

    timeout = 60
    request_timeout = 30

    def setup(self):
        self.one_by_one = 0
        self.is_known = False

    async def handle(self):
        self.say(b"201 cddb.example.org CDDBP server v1.5.2 ready")
        while True:
            self.one_by_one += 1
            line = (await COMMAND)[:-2]
            words = line.split() if PRINTABLE.fullmatch(line) else []
            command = [word.lower() for word in words[:2]]
            if command == [b"quit"]:
                return self.say(b"230 cddb.example.org Closing connection.  Goodbye.")
            if command == [b"ver"]:
                self.say(b"200 cddbd v1.5.2 Copyright (c) nobody.")
            elif command[:1] != [b"cddb"]:
                self.say(b"500 Unrecognized command.")
            elif command[1:] == [b"hello"]:
                self.hello(words[2:])
            elif not self.is_known:
                self.say(b"409 No handshake.")
            elif command[1:] == [b"lscat"]:
                self.say(b"210 OK, category list follows (until terminating `.')", b"classical", b"rock", b".")
            elif command[1:] == [b"query"]:
                self.query(*self.parts(line))
            elif command[1:] == [b"read"]:
                self.read(words[2:])
            else:
                self.say(b"500 Unrecognized command.")

    def hello(self, words):
        if self.is_known:
            self.say(b"402 Already shook hands.")
        elif len(words) != 4:
            self.say(b"500 Command syntax error.")
        else:
            self.is_known = True
            self.say(b"200 Hello and welcome %b@%b running %b %b." % tuple(words))

    def parts(self, line):
        """What a query names: the disc, the number of its tracks, where these begin, and its length in seconds."""
        words = line.split()[2:]
        return (words[0], words[1], words[2:-1], words[-1]) if len(words) > 3 else (b"", b"", [], b"")

    def query(self, disc, number, begins, seconds):
        numbers = (number, *begins, seconds)
        if DISC.fullmatch(disc) is None or not all(map(NUMBER.fullmatch, numbers)) or len(begins) != int(number):
            self.say(b"500 Command syntax error.")
        else:
            found = DISCS.get((disc, int(number)))
            self.say(b"200 " + found if found else b"202 No match found.")

    def read(self, words):
        if words == [b"classical", b"1f02d303"]:
            self.say(b"210 classical 1f02d303 CD database entry follows (until terminating `.')", *ENTRY, b".")
        else:
            self.say(b"401 Specified CDDB entry not found.")

    def say(self, *lines):
        self.send(b"".join(b"%b\r\n" % line for line in lines))


class MatchingCddb(Cddb):
    """CDDB: says which disc has the tracks that an expression finds in the line."""

    def parts(self, line):
        matched = QUERY.fullmatch(line)
        return (matched[1], matched[2], matched[3].split(), matched[4]) if matched else (b"", b"", [], b"")


PUBLISHED = [
    b"  V2",
    b"PUB orders\n\0\0\0\x06book 3",
    b"MPUB orders\n\0\0\0\x1f\0\0\0\3\0\0\0\6lamp 1\0\0\0\1x\0\0\0\x08table 12",
    b"NOP\n",
    b"PUB stock.low#ephemeral\n\0\0\0\4lamp",
    b"MPUB stock.low\n\0\0\0\x0c\0\0\0\1\0\0\0\4none",
    b"CLS\n",
]
FILES = [
    kermit(0, b"S", b"~* @-#N1"),
    kermit(1, b"F", b"NOTES.TXT"),
    kermit(2, b"D", b"first line#M#Jsecond ## line#M#J"),
    kermit(2, b"D", b"first line#M#Jsecond ## line#M#J"),
    kermit(3, b"D", b"third line#M#J"),
    kermit(4, b"Z"),
    kermit(5, b"F", b"EMPTY"),
    kermit(6, b"Z"),
    kermit(7, b"B"),
]
LOOKED_UP = [
    b"cddb hello ada example.org ripper 1.4\r\n",
    b"ver\r\n",
    b"cddb lscat\r\n",
    b"cddb query 1f02d303 3 150 20295 41200 725\r\n",
    b"CDDB query  0a00b401 1  150 182\r\n",
    b"cddb query 1f02d303 3 150 725\r\n",
    b"cddb read classical 1f02d303\r\n",
    b"quit\r\n",
]

PAIRS = [
    # Fault: what is left of a batch is copied for each of its messages.
    Pair("nsq-batch-cut", 11, CuttingProducers, Producers, PUBLISHED, {"kept": BATCH}),
    # Fault: with each packet, all that has come of the file is copied and decoded anew.
    Pair("kermit-file-decoded-anew", 11, WholeKermit, Kermit, FILES, {"kept": LARGEST}),
    # Fault: three parts of the expression for a query match spaces, so many spaces are shared out in all ways.
    Pair("cddb-query-spaces", 11, MatchingCddb, Cddb, LOOKED_UP),
]
