"""Recursion: search keys of IMAP, messages of nREPL, and those of Firmata that come together."""

import re
from pprint import saferepr

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair

COMMAND = re.compile(rb"([A-Za-z0-9]{1,16}) ([A-Za-z]{1,16})(?: ([ -~]+))?")
WORD = re.compile(rb'[()]|"(?:[^"\\]|\\["\\])*"|[^ ()"\\{}%]+')
NUMBERS = re.compile(rb"(?:\*|[1-9][0-9]{0,8})(?::(?:\*|[1-9][0-9]{0,8}))?")
SIZE = re.compile(rb"0|[1-9][0-9]{0,8}")
DEEPEST = 40
MAILS = [
    (b"anna@example.org", b"Lamps", 1200, {b"SEEN", b"ANSWERED"}),
    (b"bert@example.org", b"Moths and lamps", 90_210, {b"SEEN"}),
    (b"news@example.com", b"Offers", 5120, set()),
    (b"anna@example.org", b"Re: moths", 880, {b"SEEN", b"FLAGGED"}),
    (b"carl@example.net", b"Holidays", 2_400_000, {b"FLAGGED"}),
]
ALL = frozenset(range(1, len(MAILS) + 1))
FLAGS = (b"ANSWERED", b"DELETED", b"DRAFT", b"FLAGGED", b"SEEN")


class Search:
    """The keys of a SEARCH (RFC 3501, section 6.4.4). Each is the set of the mails that it finds."""

    def __init__(self, text):
        self.words, self.place = [], 0
        end, is_first = 0, True
        while end < len(text):
            begin = end + text.startswith(b" ", end)
            matched = WORD.match(text, begin)
            if matched is None or (begin > end) == (is_first or matched[0] == b")"):
                raise Malformed("no words with a space between them")
            self.words.append(matched[0])
            end, is_first = matched.end(), matched[0] == b"("

    def found(self):
        found = self.keys(0)
        if self.place < len(self.words):
            raise Malformed("a parenthesis that closes nothing")
        return found

    def word(self):
        if self.place >= len(self.words):
            raise Malformed("a key lacks something")
        self.place += 1
        return self.words[self.place - 1]

    def text(self):
        word = self.word()
        if word in b"()":
            raise Malformed("no text")
        return re.sub(rb"\\(.)", rb"\1", word[1:-1]).lower() if word.startswith(b'"') else word.lower()

    def keys(self, depth):
        found = self.key(depth)
        while self.place < len(self.words) and self.words[self.place] != b")":
            found &= self.key(depth)
        return found

    def key(self, depth):
        if depth > DEEPEST:
            raise Malformed("too many keys in one another")
        word = self.word().upper()
        if word == b"(":
            found = self.keys(depth + 1)
            if self.word() != b")":
                raise Malformed("no parenthesis")
            return found
        if word == b"NOT":
            return ALL - self.negated(depth)
        if word == b"OR":
            return self.key(depth + 1) | self.key(depth + 1)
        if word == b"ALL":
            return ALL
        if word in FLAGS:
            return self.those(lambda mail: word in mail[3])
        if word.startswith(b"UN") and word[2:] in FLAGS:
            return self.those(lambda mail: word[2:] not in mail[3])
        if word in (b"FROM", b"SUBJECT"):
            text = self.text()
            return self.those(lambda mail: text in mail[word == b"SUBJECT"].lower())
        if word in (b"LARGER", b"SMALLER"):
            size = self.word()
            if not SIZE.fullmatch(size):
                raise Malformed("no size")
            return self.those(lambda mail: mail[2] > int(size) if word == b"LARGER" else mail[2] < int(size))
        return self.numbers(word)

    def negated(self, depth):
        return self.key(depth + 1)

    def those(self, test):
        return frozenset(number for number, mail in enumerate(MAILS, 1) if test(mail))

    def numbers(self, word):
        """The mails of a number, or of a first and a last one; ``*`` is the last of all."""
        if not NUMBERS.fullmatch(word):
            raise Malformed("no key")
        ends = [len(MAILS) if end == b"*" else int(end) for end in word.split(b":")]
        return frozenset(number for number in ALL if min(ends) <= number <= max(ends))


class Mailbox(StreamHandler):
    """IMAP4rev1 for the search in one mailbox; literals are not taken."""

    timeout = 120
    request_timeout = 30
    most_attempts = 3
    search = Search

    def setup(self):
        self.one_by_one = self.attempts = 0
        self.is_in = self.is_selected = False

    async def handle(self):
        self.send(b"* OK IMAP4rev1 ready\r\n")
        while True:
            self.one_by_one += 1
            matched = COMMAND.fullmatch((await Until(b"\r\n", limit=8192))[:-2])
            if matched is None:
                return self.send(b"* BYE that is no command\r\n")
            tag, name, rest = matched[1], matched[2].upper(), matched[3] or b""
            if name == b"LOGOUT":
                return self.send(b"* BYE\r\n%b OK LOGOUT completed\r\n" % tag)
            self.send(b"%b %b\r\n" % (tag, self.answered(name, rest)))
            if self.attempts >= self.most_attempts:
                return None

    def answered(self, name, rest):
        """Do what a command says. How it has gone."""
        if name in (b"NOOP", b"CAPABILITY") and not rest:
            self.send(b"* CAPABILITY IMAP4rev1\r\n" if name == b"CAPABILITY" else b"")
        elif name == b"LOGIN" and not self.is_in:
            self.is_in = rest in (b"anna lamp", b'anna "lamp"')
            self.attempts += not self.is_in
            if not self.is_in:
                return b"NO wrong name or password"
        elif name in (b"SELECT", b"EXAMINE") and self.is_in:
            self.is_selected = rest.strip(b'"').upper() == b"INBOX"
            if not self.is_selected:
                return b"NO no such mailbox"
            self.send(b"* %d EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen \\Flagged)\r\n" % len(MAILS))
        elif name == b"SEARCH" and self.is_selected:
            try:
                found = self.search(rest).found()
            except Malformed as malformed:
                return b"BAD " + str(malformed).encode()
            self.send(b"* SEARCH%b\r\n" % b"".join(b" %d" % number for number in sorted(found)))
        else:
            return b"BAD unknown, or not now"
        return b"OK %b completed" % name


class ScopedSearch(Search):
    """The keys of a SEARCH. What NOT negates is a key beside it, for it has no parentheses of its own."""

    def negated(self, depth):
        return self.key(depth)


class ScopedMailbox(Mailbox):
    """IMAP4rev1 for the search in one mailbox."""

    search = ScopedSearch


LENGTH = re.compile(rb"0|[1-9][0-9]{0,4}")
INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,17}")
SUM = re.compile(rb"\(\+ ([0-9]{1,9}) ([0-9]{1,9})\)")
LARGEST, MOST_ITEMS, MOST_SESSIONS = 16_384, 2500, 8


def bencoded(message):
    """An answer: texts, and lists of texts, by their names."""
    written = b"d"
    for name, value in sorted(message.items()):
        values = value if isinstance(value, list) else [value]
        texts = b"".join(b"%d:%b" % (len(text), text) for text in values)
        written += b"%d:%b" % (len(name), name) + (b"l%be" % texts if isinstance(value, list) else texts)
    return written + b"e"


class Repl(StreamHandler):
    """nREPL, over which Clojure is evaluated: messages in bencode, which are read without any recursion."""

    timeout = 60
    request_timeout = 30

    def setup(self):
        self.one_by_one = self.number = 0
        self.sessions = []

    async def handle(self):
        while True:
            self.one_by_one += 1
            if await Exactly(1) != b"d":
                raise Malformed("no dictionary")
            self.take(await self.dictionary())

    async def dictionary(self):  # noqa: C901
        """The rest of a dictionary, with all that is in it. What is open is on a stack."""
        message, size, items = {}, 1, 0
        stack, names = [message], [None]
        while stack:
            first = await Exactly(1)
            value, size, items = None, size + 1, items + 1
            if first in b"ld":
                value = [] if first == b"l" else {}
            elif first == b"i":
                digits = (await Until(b"e", limit=20))[:-1]
                if not INTEGER.fullmatch(digits):
                    raise Malformed("no integer")
                value, size = int(digits), size + len(digits) + 1
            elif first != b"e":
                digits = first if first == b":" else first + (await Until(b":", limit=6))[:-1]
                if not LENGTH.fullmatch(digits) or (size := size + len(digits) + int(digits)) > LARGEST:
                    raise Malformed("no length, or too long")
                value = await Exactly(int(digits))
            if size > LARGEST or items > MOST_ITEMS:
                raise Malformed("too long")
            name = names[-1]
            if value is None:
                if name is not None:
                    raise Malformed("a name without a value")
                stack.pop()
                names.pop()
            elif isinstance(stack[-1], list):
                stack[-1].append(value)
            elif name is None:
                if not isinstance(value, bytes) or value in stack[-1]:
                    raise Malformed("no name, or one that comes twice")
                names[-1] = value
            else:
                stack[-1][name] = value
                names[-1] = None
            if first in b"ld":
                stack.append(value)
                names.append(None)
        return message

    def take(self, message):
        """Answer a message."""
        self.common = {name: message[name] for name in (b"id", b"session") if isinstance(message.get(name), bytes)}
        operation, session = message.get(b"op"), message.get(b"session")
        if b"session" in message and session not in self.sessions:
            self.answer([b"error", b"unknown-session"])
        elif operation == b"clone" and len(self.sessions) < MOST_SESSIONS:
            self.number += 1
            self.sessions.append(b"%08x-7ab3-4d50-8d2e-1f60a7c3b9e4" % self.number)
            self.answer([], {b"new-session": self.sessions[-1]})
        elif operation == b"close" and session is not None:
            self.sessions.remove(session)
            self.answer([b"session-closed"])
        elif operation == b"ls-sessions":
            self.answer([], {b"sessions": list(self.sessions)})
        elif operation == b"describe":
            self.answer([], {b"ops": [b"clone", b"close", b"describe", b"eval", b"ls-sessions"]})
        elif operation == b"eval" and isinstance(code := message.get(b"code"), bytes):
            matched = SUM.fullmatch(code)
            value = {b"value": b"%d" % (int(matched[1]) + int(matched[2]))} if matched else {b"ex": b"Unresolved"}
            self.answer([] if matched else [b"eval-error"], value)
        else:
            self.answer([b"error", b"unknown-op"], self.told(message))

    def told(self, message):
        """What the answer to a message with an operation that we have not says of it."""
        operation = message.get(b"op")
        return {b"op": operation[:64]} if isinstance(operation, bytes) else {}

    def answer(self, status, more=()):
        self.send(bencoded({**self.common, **dict(more), b"status": [b"done", *status]}))


class TellingRepl(Repl):
    """nREPL, over which Clojure is evaluated; it says what it has got if it has no such operation."""

    def told(self, message):
        return {**super().told(message), b"err": saferepr(message)[:200].encode()}


PINS = 8
MODES = (0, 1, 2, 3)  # input, output, analog, PWM
LONGEST = 64
LENGTHS = {0x90: 3, 0xE0: 3, 0xC0: 2, 0xD0: 2, 0xF4: 3, 0xF5: 3, 0xF9: 1, 0xFF: 1}


class Board(Buffered):
    """Firmata 2.5 of a board with eight pins: messages of MIDI's kind, short ones and such that end with 0xF7."""

    timeout = 60
    request_timeout = 20

    def setup(self):
        super().setup()
        self.reset()

    def reset(self):
        self.modes, self.values = [0] * PINS, [0] * PINS

    def take(self):
        place = 0
        while end := self.end(place):
            self.message(bytes(self.buffer[place:end]))
            place = end
        del self.buffer[:place]
        return True

    def end(self, place):
        """Where the message at ``place`` ends; 0 if it has not come whole."""
        if place >= len(self.buffer):
            return 0
        first = self.buffer[place]
        if first == 0xF0:
            end = self.buffer.find(b"\xf7", place, place + LONGEST) + 1
            if not end and len(self.buffer) - place >= LONGEST:
                raise Malformed("a message is too long")
        else:
            size = LENGTHS.get(first if first >= 0xF0 else first & 0xF0)
            if size is None:
                raise Malformed("no message")
            end = place + size
        return end if end <= len(self.buffer) else 0

    def message(self, data):  # noqa: C901
        """Do what a message says."""
        kind, which, content = data[0] & 0xF0, data[0] & 15, data[1:]
        if data[0] == 0xF0:
            content = content[:-1]
        if any(octet > 127 for octet in content):
            raise Malformed("no data")
        if data[0] == 0xF0:
            self.long(content)
        elif data[0] == 0xF9:
            self.send(b"\xf9\x02\x05")
        elif data[0] == 0xFF:
            self.reset()
        elif data[0] == 0xF4:
            self.modes[self.pin(content[0])] = content[1] if content[1] in MODES else 0
        elif data[0] == 0xF5:
            self.values[self.pin(content[0])] = int(content[1] != 0)
        elif kind == 0xE0:
            self.values[self.pin(which)] = content[0] | content[1] << 7
        elif kind == 0x90 and which == 0:
            bits = content[0] | content[1] << 7
            for pin, mode in enumerate(self.modes):
                self.values[pin] = bits >> pin & 1 if mode == 1 else self.values[pin]
        elif kind == 0xC0 and content[0]:
            value = self.values[self.pin(which)]
            self.send(bytes((0xE0 | which, value & 127, value >> 7)))
        elif kind == 0xD0 and which == 0 and content[0]:
            bits = sum(1 << pin for pin, value in enumerate(self.values) if value)
            self.send(bytes((0x90, bits & 127, bits >> 7)))

    def long(self, content):
        if content == b"\x79":
            name = b"".join(bytes((letter & 127, letter >> 7)) for letter in b"board")
            self.send(b"\xf0\x79\x02\x05" + name + b"\xf7")
        elif content == b"\x6b":
            self.send(b"\xf0\x6c" + b"\0\1\1\1\2\x0a\3\x08\x7f" * PINS + b"\xf7")
        elif content == b"\x69":
            self.send(b"\xf0\x6a" + bytes(range(PINS)) + b"\xf7")
        elif content[:1] == b"\x6d" and len(content) == 2:
            value = self.values[self.pin(content[1])]
            self.send(bytes((0xF0, 0x6E, content[1], self.modes[content[1]], value & 127, value >> 7, 0xF7)))
        else:
            self.send(b"\xf0\x71?\0\xf7")

    def pin(self, number):
        if number >= PINS:
            raise Malformed("no such pin")
        return number


class NextBoard(Board):
    """Firmata 2.5 of a board with eight pins. After a message comes the next one."""

    def take(self):
        end = self.end(0)
        if not end:
            return True
        message = bytes(self.buffer[:end])
        del self.buffer[:end]
        self.message(message)
        return self.take()


FIND = [
    b"a1 LOGIN anna lamp\r\n",
    b"a2 SELECT INBOX\r\n",
    b"a3 SEARCH UNSEEN\r\n",
    b'a4 SEARCH FROM "anna" NOT SUBJECT lamps\r\n',
    b"a5 SEARCH OR (FLAGGED LARGER 100000) (NOT SEEN SMALLER 9000)\r\n",
    b"a6 SEARCH 2:* NOT (OR FROM bert FROM news)\r\n",
    b"a7 NOOP\r\n",
    b"a8 LOGOUT\r\n",
]
SESSION = b"36:00000001-7ab3-4d50-8d2e-1f60a7c3b9e4"
EVALUATE = [
    b"d2:id1:12:op5:clonee",
    b"d4:code9:(+ 19 23)2:id1:22:op4:eval7:session" + SESSION + b"e",
    b"d4:code5:(dec)2:id1:37:optionsd4:deepi2e5:printl3:one3:twoee2:op4:eval7:session" + SESSION + b"e",
    b"d2:id1:42:op11:ls-sessionse",
    b"d2:id1:52:op8:describee",
    b"d2:id1:62:op5:close7:session" + SESSION + b"e",
]
BLINK = [
    b"\xf9",
    b"\xf0\x79\xf7",
    b"\xf0\x69\xf7",
    b"\xf4\x05\x01\xd0\x01",
    b"\x90\x20\x00\xd0\x01",
    b"\xf4\x03\x03\xe3\x48\x01\xc3\x01",
    b"\xf0\x6d\x03\xf7\xf0\x6d\x05\xf7",
    b"\xf5\x05\x00\xf0\x6d\x05\xf7",
    b"\xff\xf0\x6b\xf7",
]

PAIRS = [
    # Fault: the depth of keys counts parentheses and OR, and not NOT: `NOT NOT NOT …` is as deep as the line is long.
    Pair("imap-search-keys", 4, ScopedMailbox, Mailbox, FIND),
    # Fault: a message with an unknown operation is written out by `pprint`, which recurses as deep as its lists go.
    Pair("nrepl-unknown-operation", 4, TellingRepl, Repl, EVALUATE, {"kept": 524_288}),
    # Fault: a message that has been taken calls for the next one, as deep as there are messages in one piece.
    Pair("firmata-next-message", 4, NextBoard, Board, BLINK),
]
