"""Quadratic work."""

import re
from hmac import compare_digest

from handlers import Exactly, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

ANY = Some()
START, END = b"\x0b", b"\x1c\r"
SEGMENT = re.compile(rb"[A-Z][A-Z0-9]{2}\|[ -~]*")


class Results(StreamHandler):
    """HL7 in the frames of MLLP: each message is acknowledged by its number."""

    timeout = 60
    request_timeout = 60
    most = 65_536

    def setup(self):
        self.pieces = []

    def handle(self):
        self.one_by_one += 1
        return ANY, self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.pieces.append(data)
        held = b"".join(self.pieces)
        while held:
            if not held.startswith(START):
                raise Malformed("no start of a message")
            end = held.find(END, 0, self.most)
            if end < 0:
                break
            self.acknowledge(held[1:end])
            held = held[end + 2 :]
            self.pieces = [held] if held else []
            self.one_by_one += 1
        if len(held) >= self.most:
            raise Malformed("too long")
        return ANY, self.more if held else self.first

    def acknowledge(self, message):
        if not message.endswith(b"\r"):
            raise Malformed("a segment ends with CR")
        segments = message[:-1].split(b"\r")
        if not all(map(SEGMENT.fullmatch, segments)):
            raise Malformed("no segment")
        head = segments[0].split(b"|")
        if head[:2] != [b"MSH", b"^~\\&"] or len(head) < 12 or not 1 <= len(head[9]) <= 20:
            raise Malformed("no head of a message")
        code = b"AA" if head[8][:3] in (b"ADT", b"ORU") and head[11] in (b"2.3", b"2.5") else b"AR"
        answer = b"MSH|^~\\&|%b|%b|%b|%b|||ACK|%b|P|2.5\rMSA|%b|%b|%d\r" % (
            *(head[4], head[5], head[2], head[3], head[9], code, head[9]), len(segments),
        )  # fmt: skip
        self.send(START + answer + END)


class RightResults(Results):
    def setup(self):
        self.buffer, self.searched = bytearray(), 0

    def more(self, data):
        held = self.buffer
        held += data
        at = 0
        while at < len(held):
            if held[at] != START[0]:
                raise Malformed("no start of a message")
            end = held.find(END, max(at, self.searched - 1), at + self.most)
            if end < 0:
                break
            self.acknowledge(bytes(held[at + 1 : end]))
            self.searched = at = end + 2
            self.one_by_one += 1
        del held[:at]
        self.searched = len(held)
        if len(held) >= self.most:
            raise Malformed("too long")
        return ANY, self.more if held else self.first


REQUEST = re.compile(rb"(REGISTER|OPTIONS|MESSAGE) (sips?:[!-~]{1,256}) SIP/2\.0")
NUMBER = re.compile(rb"0|[1-9][0-9]{0,8}")
SHARED = b"via", b"from", b"to", b"call-id", b"cseq"


class Registrar(StreamHandler):
    """A registrar of SIP over TCP, which also takes short messages."""

    timeout = 30
    request_timeout = 30
    field = re.compile(rb"([0-9A-Za-z-]+)[ \t]*:[ \t]*([ -~\t]*?)[ \t]*")

    async def handle(self):
        self.contact = b""
        while True:
            self.one_by_one += 1
            first, *lines = (await Until(b"\r\n\r\n"))[:-4].split(b"\r\n")
            request = REQUEST.fullmatch(first)
            try:
                found = self.fields(lines)
                if request is None or not all(found.get(name) for name in SHARED):
                    raise Malformed("no request")
                length, (number, _, method) = found.get(b"content-length", b""), found[b"cseq"].partition(b" ")
                if not NUMBER.fullmatch(length) or not NUMBER.fullmatch(number) or method != request[1]:
                    raise Malformed("no number")
            except Malformed:
                self.send(b"SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                return
            content = await Exactly(int(length), limit=8_192)
            self.answer(method, found, content)

    def fields(self, lines):
        """The fields of a head, by their names in lower case."""
        found = {}
        for line in lines:
            name, value = self.parted(line)
            if name.lower() in found:
                raise Malformed("a field that comes twice")
            found[name.lower()] = value
        return found

    def parted(self, line):
        matched = self.field.fullmatch(line)
        if matched is None:
            raise Malformed("no field")
        return matched.groups()

    def answer(self, method, found, content):
        status, head = b"200 OK", b""
        if method == b"REGISTER":
            contact = found.get(b"contact", self.contact)
            self.contact = b"" if found.get(b"expires") == b"0" else contact[:256]
            head = b"Contact: %b\r\n" % self.contact if self.contact else b""
        elif method == b"OPTIONS":
            head = b"Allow: REGISTER, OPTIONS, MESSAGE\r\n"
        elif found.get(b"content-type") != b"text/plain" or not content:
            status = b"415 Unsupported Media Type"
        lines = b"".join(b"%b: %b\r\n" % (name.title(), found[name]) for name in SHARED)
        self.send(b"SIP/2.0 %b\r\n%b%bContent-Length: 0\r\n\r\n" % (status, lines, head))


class RightRegistrar(Registrar):
    field = re.compile(rb"([0-9A-Za-z-]+)[ \t]*:([ -~\t]*)")

    def parted(self, line):
        name, value = super().parted(line)
        return name, value.strip(b" \t")


COMMAND = re.compile(rb"([0-9A-Za-z]{1,16}) ([A-Za-z]{1,12})(?: ([ -~]+))?\r\n")
LOGIN = re.compile(rb"([!#-~]{1,64}) ([!#-~]{1,64})")
FETCH = re.compile(rb"([0-9:,]+) \((FLAGS|UID|RFC822\.SIZE)\)")
RANGE = re.compile(rb"([1-9][0-9]{0,8})(?::([1-9][0-9]{0,8}))?")
STORE = re.compile(rb"([1-9][0-9]{0,8}) \+FLAGS \(\\(Seen|Deleted|Flagged)\)")


class Mailbox(StreamHandler):
    """IMAP for one mailbox with eight messages, whose flags are fetched and stored."""

    timeout = 60
    request_timeout = 60
    users = {b"ada": b"lovelace"}
    sizes = 1_204, 733, 98_112, 412, 5_090, 2_048, 611, 77

    def setup(self):
        self.flags = [set() for _ in self.sizes]
        self.state = 0

    def handle(self):
        self.send(b"* OK IMAP4rev1 ready\r\n")
        return self.next()

    def next(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=16_384), self.command

    def command(self, line):
        matched = COMMAND.fullmatch(line)
        if matched is None:
            self.send(b"* BAD no command\r\n")
            return None
        tag, name, arguments = matched[1], matched[2].upper(), matched[3] or b""
        if name == b"LOGOUT" and not arguments:
            self.send(b"* BYE\r\n%b OK LOGOUT\r\n" % tag)
            return None
        if name in (b"NOOP", b"CAPABILITY") and not arguments:
            answer = b"* CAPABILITY IMAP4rev1\r\n" if name == b"CAPABILITY" else b""
        elif name == b"LOGIN" and self.state == 0:
            answer = self.login(arguments)
        elif name == b"SELECT" and self.state and arguments.upper() == b"INBOX":
            self.state = 2
            answer = b"* %d EXISTS\r\n" % len(self.sizes)
        elif name in (b"FETCH", b"STORE") and self.state == 2:
            answer = self.fetch(arguments) if name == b"FETCH" else self.store(arguments)
        else:
            answer = None
        if answer is None:
            self.send(b"%b BAD not now, or wrong arguments\r\n" % tag)
            return None
        self.send(b"%b%b OK %b\r\n" % (answer, tag, name))
        return self.next()

    def login(self, arguments):
        matched = LOGIN.fullmatch(arguments)
        if matched is None or not compare_digest(self.users.get(matched[1], b""), matched[2]):
            return None
        self.state = 1
        return b""

    def fetch(self, arguments):
        """The answers for all messages of a set, in its order. None: it is no set."""
        matched = FETCH.fullmatch(arguments)
        if matched is None:
            return None
        answer = b""
        for part in matched[1].split(b","):
            numbers = self.numbers(part)
            if numbers is None:
                return None
            for number in numbers:
                answer += self.item(number, matched[2])
        return answer

    def numbers(self, part):
        matched = RANGE.fullmatch(part)
        if matched is None:
            return None
        first, last = int(matched[1]), int(matched[2] or matched[1])
        return range(first, last + 1) if first <= last <= len(self.sizes) else None

    def item(self, number, what):
        flags = b"(%b)" % b" ".join(sorted(self.flags[number - 1]))
        value = {b"FLAGS": flags, b"UID": b"%d" % (100 + number), b"RFC822.SIZE": b"%d" % self.sizes[number - 1]}
        return b"* %d FETCH (%b %b)\r\n" % (number, what, value[what])

    def store(self, arguments):
        matched = STORE.fullmatch(arguments)
        if matched is None or int(matched[1]) > len(self.sizes):
            return None
        self.flags[int(matched[1]) - 1].add(b"\\" + matched[2])
        return self.item(int(matched[1]), b"FLAGS")


class RightMailbox(Mailbox):
    def fetch(self, arguments):
        matched = FETCH.fullmatch(arguments)
        if matched is None:
            return None
        items = []
        for part in matched[1].split(b","):
            numbers = self.numbers(part)
            if numbers is None:
                return None
            items += [self.item(number, matched[2]) for number in numbers]
        return b"".join(items)


def hl7(kind, number, *segments):
    head = b"MSH|^~\\&|LAB|NORTH|EHR|SOUTH|20240105120000||%b|%b|P|2.5" % (kind, number)
    return START + b"\r".join([head, *segments, b""]) + END


def sip(method, number, *lines, content=b""):
    head = [
        method + b" sip:example.org SIP/2.0",
        b"Via: SIP/2.0/TCP 192.0.2.7:5060;branch=z9hG4bK%d" % number,
        b"From: <sip:ada@example.org>;tag=77",
        b"To : <sip:ada@example.org>",
        b"Call-ID: 3c2f@192.0.2.7",
        b"CSeq: %d %b" % (number, method),
        *lines,
        b"Content-Length: %d" % len(content),
    ]
    return b"\r\n".join([*head, b"", content])


PAIRS = [
    # Fault: all pieces of a message are joined, and searched, at each read.
    Pair(
        "mllp-pieces",
        11,
        Results,
        RightResults,
        [
            hl7(b"ADT^A01", b"MSG00001", b"EVN|A01|20240105", b"PID|1||12345||DOE^JANE"),
            hl7(b"ORU^R01", b"MSG00002", b"PID|1||12345", b"OBR|1|||GLU", b"OBX|1|NM|GLU||98|mg/dL"),
            hl7(b"SIU^S12", b"MSG00003", b"SCH|1"),
        ],
    ),
    # Fault: a pattern that tries, for each blank inside a value, all blanks after it.
    Pair(
        "sip-pattern",
        11,
        Registrar,
        RightRegistrar,
        [
            sip(b"OPTIONS", 1, b"Max-Forwards: 70"),
            sip(b"REGISTER", 2, b"Contact:  <sip:ada@192.0.2.7:5060> ", b"Expires: 3600"),
            sip(b"MESSAGE", 3, b"Subject: two  words", b"Content-Type: text/plain", content=b"Watson, come here."),
            sip(b"REGISTER", 4, b"Contact: *", b"Expires: 0"),
        ],
        {"kept": 1_024},
    ),
    # Fault: an answer of many parts grows by one part at a time, and is copied each time.
    Pair(
        "imap-fetch",
        11,
        Mailbox,
        RightMailbox,
        [
            b"a1 CAPABILITY\r\n",
            b"a2 LOGIN ada lovelace\r\n",
            b"a3 SELECT INBOX\r\n",
            b"a4 FETCH 1:8 (FLAGS)\r\n",
            b"a5 FETCH 2,4,6:8 (RFC822.SIZE)\r\n",
            b"a6 STORE 3 +FLAGS (\\Seen)\r\n",
            b"a7 FETCH 3 (FLAGS)\r\n",
            b"a8 FETCH 1,3,5 (UID)\r\n",
            b"a9 NOOP\r\n",
            b"a10 LOGOUT\r\n",
        ],
        {"kept": 4_096},
    ),
]
