"""Ends that only look like ends: events of FreeSWITCH, log lines over RELP, and frames for a TNC."""

import re

from handlers import Exactly, LimitPassed, StreamHandler, Until, UntilAny
from tests.support.pairs.pair import Malformed, Pair

HEAD = Until(b"\n\n", limit=4096)
FIELD = re.compile(rb"([A-Za-z0-9_-]{1,64}): ?([!-~](?:[ -~]*[!-~])?|)")
NUMBER = re.compile(rb"0|[1-9][0-9]{0,5}")
ANYWHERE = re.compile(rb"(?i)content-length: ?(0|[1-9][0-9]{0,5})\b")
EVENT = re.compile(rb"[A-Z_]{1,32}")
BODY = 65_536


class EventSocket(StreamHandler):
    """FreeSWITCH's event socket: a client that has the password gets the events that it sends and has asked for."""

    timeout = 60
    request_timeout = 30
    password = b"ClueCon"
    most_fields = 40
    most_events = 16

    def setup(self):
        self.one_by_one = 0
        self.is_in = False
        self.events = set()

    async def handle(self):
        self.send(b"Content-Type: auth/request\n\n")
        while True:
            self.one_by_one += 1
            head = (await HEAD)[:-2]
            command, *lines = head.split(b"\n")
            fields = self.fields(lines)
            body = await Exactly(self.length(head, fields), limit=BODY)
            name, _, argument = command.partition(b" ")
            if name == b"exit":
                return self.reply(b"+OK bye")
            if name == b"auth":
                self.is_in = argument == self.password
                self.reply(b"+OK accepted" if self.is_in else b"-ERR invalid")
            if not self.is_in:
                return None
            if name != b"auth":
                self.command(name, argument, fields, body)

    def fields(self, lines):
        """The fields of a head, by their names in lower case."""
        found = {}
        for line in lines:
            matched = FIELD.fullmatch(line)
            if matched is None or matched[1].lower() in found or len(found) >= self.most_fields:
                self.reply(b"-ERR malformed head")
                raise Malformed("no field")
            found[matched[1].lower()] = matched[2]
        return found

    def length(self, head, fields):
        """The length of the body behind a head."""
        length = fields.get(b"content-length", b"0")
        if NUMBER.fullmatch(length) is None or int(length) > BODY:
            self.reply(b"-ERR wrong length")
            raise Malformed("no length")
        return int(length)

    def command(self, name, argument, fields, body):
        kind, _, names = argument.partition(b" ")
        if name == b"event" and kind == b"plain" and names:
            events = self.events.union(names.split(b" "))
            if len(events) > self.most_events or not all(map(EVENT.fullmatch, events)):
                return self.reply(b"-ERR no events that can be sent")
            self.events = events
            self.reply(b"+OK event listener enabled plain")
        elif name == b"noevents":
            self.events.clear()
            self.reply(b"+OK no longer listening for events")
        elif name == b"api" and argument == b"version":
            self.send(b"Content-Type: api/response\nContent-Length: 26\n\nFreeSWITCH Version 1.10.11")
        elif name == b"sendevent" and EVENT.fullmatch(argument):
            self.reply(b"+OK")
            if argument in self.events:
                self.event(argument, fields, body)
        else:
            self.reply(b"-ERR command not found")
        return None

    def event(self, name, fields, body):
        lines = [b"Event-Name: %b\n" % name]
        lines += [b"%b: %b\n" % field for field in fields.items() if field[0] not in (b"content-length", b"event-name")]
        lines += [b"Content-Length: %d\n\n" % len(body), body] if body else [b"\n"]
        text = b"".join(lines)
        self.send(b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(text), text))

    def reply(self, text):
        self.send(b"Content-Type: command/reply\nReply-Text: %b\n\n" % text)


class SearchingEventSocket(EventSocket):
    """FreeSWITCH's event socket, which looks into a head for the length of what follows."""

    def length(self, head, fields):
        super().length(head, fields)
        found = ANYWHERE.search(head)
        return int(found[1]) if found else 0


TXNR = re.compile(rb"[1-9][0-9]{0,8}")
COMMAND = re.compile(rb"[a-z]{1,32}")
DATALEN = re.compile(rb"0|[1-9][0-9]{0,4}")
OFFER = re.compile(rb"[a-z_]{1,32}(?:=[!-~]{0,200})?")
MOST = 32_768
OFFERS = b"200 OK\nrelp_version=0\nrelp_software=collector,1.4\ncommands=syslog"


class Relp(StreamHandler):
    """RELP 1: takes log lines in frames, each with its number, its command, its length and a line feed behind it."""

    timeout = 90
    request_timeout = 30

    def setup(self):
        self.one_by_one = 0
        self.is_open = False

    async def handle(self):
        while True:
            self.one_by_one += 1
            number = (await Until(b" ", limit=10))[:-1]
            command = (await Until(b" ", limit=33))[:-1]
            length = await UntilAny(b" ", b"\n", limit=6)
            if not (TXNR.fullmatch(number) and COMMAND.fullmatch(command) and DATALEN.fullmatch(length[:-1])):
                raise Malformed("no head of a frame")
            size = int(length)
            if size > MOST or (size == 0) != (length[-1:] == b"\n"):
                raise Malformed("a wrong length")
            data = await self.data(size) if size else b""
            if command == b"close" and not data:
                self.answer(number, b"")
                return self.send(b"0 serverclose 0\n")
            if command == b"open" and not self.is_open:
                self.open(number, data)
            elif command == b"syslog" and self.is_open:
                self.answer(number, b"200 OK" if data else b"500 no message")
            else:
                self.answer(number, b"500 command not expected here")

    async def data(self, size):
        """The data of a frame, which a line feed ends."""
        data = await Exactly(size + 1)
        if data[-1:] != b"\n":
            raise Malformed("no line feed behind the data")
        return data[:-1]

    def open(self, number, data):
        offers = data.split(b"\n")
        if not all(OFFER.fullmatch(offer) for offer in offers):
            raise Malformed("no offers")
        if b"relp_version=0" not in offers and b"relp_version=1" not in offers:
            self.answer(number, b"500 no version in common")
            return
        self.is_open = True
        self.answer(number, OFFERS)

    def answer(self, number, data):
        self.send(b"%b rsp %d%b\n" % (number, len(data), b" " + data if data else b""))


class SkippingRelp(Relp):
    """RELP 1, which goes on behind the line feed of a frame."""

    async def data(self, size):
        data = await Exactly(size)
        await Until(b"\n", limit=256)
        return data


FRAME = Until(b"\xc0", limit=1024)
ESCAPED = re.compile(rb"(?:[^\xc0\xdb]|\xdb[\xdc\xdd])*")
ESCAPE = re.compile(rb"\xdb([\xdc\xdd])")
SPECIAL = re.compile(rb"[\xc0\xdb]")
MEANINGS = {b"\xdc": b"\xc0", b"\xdd": b"\xdb"}
ESCAPES = {b"\xc0": b"\xdb\xdc", b"\xdb": b"\xdb\xdd"}
SHORTEST, LONGEST = 15, 330


class Tnc(StreamHandler):
    """KISS over TCP: a TNC with one port, which says of a frame with a number (ACKMODE) when it has been sent."""

    timeout = 300
    request_timeout = 30

    def setup(self):
        self.one_by_one = self.frames = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            frame = (await FRAME)[:-1]
            if frame == b"\xff":
                return
            if frame and ESCAPED.fullmatch(frame):
                self.frame(self.meant(frame))

    def meant(self, frame):
        """The bytes that a frame has, without the escapes."""
        return ESCAPE.sub(lambda matched: MEANINGS[matched[1]], frame)

    def frame(self, frame):
        port, command, data = frame[0] >> 4, frame[0] & 15, frame[1:]
        if port:
            return
        if command == 0 and SHORTEST <= len(data) <= LONGEST:
            self.frames += 1
        elif command == 12 and SHORTEST <= len(data) - 2 <= LONGEST:
            self.frames += 1
            self.put(b"\x0c" + data[:2])
        elif command == 6 and data == b"TNC:":
            self.put(b"\x06TNC:SIM 1.0")
        elif command == 6 and data == b"FRAMES:":
            self.put(b"\x06FRAMES:%d" % self.frames)

    def put(self, data):
        self.send(b"\xc0%b\xc0" % SPECIAL.sub(lambda matched: ESCAPES[matched[0]], data))

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.put(b"\x06ERROR:TOO LONG")


class ReplacingTnc(Tnc):
    """KISS over TCP: a TNC that replaces each of the two escapes."""

    def meant(self, frame):
        return frame.replace(b"\xdb\xdd", b"\xdb").replace(b"\xdb\xdc", b"\xc0")


EVENTS = [
    b"auth ClueCon\n\n",
    b"api version\n\n",
    b"event plain CUSTOM MESSAGE\n\n",
    b"sendevent CUSTOM\nEvent-Subclass: shop::order\nContent-Length: 12\n\nbook 3\nlamp\n",
    b"sendevent MESSAGE\nFrom: 1001\nTo: 1002\n\n",
    b"sendevent HEARTBEAT\nUp-Time: 3 days\nContent-Length: 0\n\n",
    b"noevents\n\n",
    b"sendevent CUSTOM\nContent-Length: 2\n\nok",
    b"exit\n\n",
]
LOG = [
    b"1 open 65 relp_version=0\nrelp_software=librelp,1.11.0\ncommands=syslog,other\n",
    b"2 syslog 51 <34>1 2024-05-01T10:00:00Z host su - - - su failed \n",
    b"3 syslog 9 two\nlines\n",
    b"4 syslog 0\n",
    b"5 starttls 0\n",
    b"6 close 0\n",
]
AX25 = b"\x82\xa0\xa4\xa6\x40\x40\x60\x9c\x60\x86\x82\x98\x98\x61\x03\xf0"
RADIO = [
    b"\xc0\x01\x32\xc0",
    b"\xc0\x06TNC:\xc0",
    b"\xc0\x00%b>position\xc0" % AX25,
    b"\xc0\x0c\x12\x34%b>numbered\xc0" % AX25,
    b"\xc0\x0c\x00\xdb\xdc%b>escaped \xdb\xdd\xdb\xdc\xc0" % AX25,
    b"\xc0\x06FRAMES:\xc0",
    b"\xc0\xff\xc0",
]

PAIRS = [
    # Fault: the length of a body is looked for anywhere in the head: the field `X-Content-Length` counts too.
    Pair("esl-length-anywhere", 10, SearchingEventSocket, EventSocket, EVENTS, {"kept": BODY}),
    # Fault: what stands between the data of a frame and the next line feed is skipped, as if the length agreed.
    Pair("relp-bytes-before-the-end", 10, SkippingRelp, Relp, LOG),
    # Fault: an escape that the first replacement has made of other bytes is replaced again: DB DD DC is read as C0.
    Pair("kiss-replaced-twice", 10, ReplacingTnc, Tnc, RADIO),
]
