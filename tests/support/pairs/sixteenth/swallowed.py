"""Causes that are swallowed: messages of RELP, events of FreeSWITCH's event socket, and a message centre of SMPP."""

import hashlib
import hmac
import re
from collections import deque

from handlers import Cause, EndOfStream, Exactly, StreamHandler, TimedOut, Until, UntilAny
from tests.support.pairs.pair import Malformed, Pair, fields

NUMBER = re.compile(rb"[1-9][0-9]{0,8}")
NAME = re.compile(rb"[A-Za-z]{1,32}")
SIZE = re.compile(rb"0|[1-9][0-9]{0,5}")
LONGEST = 8192


class Relp(StreamHandler):
    """RELP, rsyslog's protocol: each message that it has taken whole is acknowledged by its number."""

    timeout = 30
    request_timeout = 60
    most_kept = 4

    def setup(self):
        self.one_by_one = 0
        self.number, self.is_open = 0, False
        self.kept = deque(maxlen=self.most_kept)

    async def handle(self):
        while True:
            self.one_by_one += 1
            number = await Until(b" ", limit=10)
            command = await Until(b" ", limit=33)
            size = await UntilAny(b" ", b"\n", limit=7)
            if NUMBER.fullmatch(number[:-1]) is None or NAME.fullmatch(command[:-1]) is None:
                raise Malformed("no head of a frame")
            if SIZE.fullmatch(size[:-1]) is None or (size[:1] == b"0") != (size[-1:] == b"\n"):
                raise Malformed("no length of a frame")
            if int(number) != self.number % 999_999_999 + 1:
                raise Malformed("a number is not the next one")
            self.number, length = int(number), int(size)
            if length > LONGEST:
                return self.respond(b"500 frame too long")
            data = await self.content(length) if length else b""
            if not self.take(command[:-1], data):
                return None

    async def content(self, length):
        data = await Exactly(length + 1)
        if data[-1:] != b"\n":
            raise Malformed("a frame is longer than it says")
        return data[:-1]

    def take(self, command, data):
        """Do a command. Whether more may follow."""
        if command == b"open" and not self.is_open:
            return self.open(data)
        if not self.is_open:
            self.respond(b"500 not open")
            return False
        if command == b"close":
            self.send(b"%d rsp 0\n0 serverclose 0\n" % self.number)
            return False
        if command == b"syslog" and data:
            self.kept.append(data)
            self.respond(b"200 OK")
        else:
            self.respond(b"500 command not known")
        return True

    def open(self, data):
        offers = dict(line.partition(b"=")[::2] for line in data.split(b"\n"))
        if offers.get(b"relp_version") not in (b"0", b"1"):
            self.respond(b"500 version not supported")
            return False
        if b"syslog" not in offers.get(b"commands", b"").split(b","):
            self.respond(b"500 nothing to do")
            return False
        self.is_open = True
        self.respond(b"200 OK\nrelp_version=0\nrelp_software=logs,1.0.0\ncommands=syslog")
        return True

    def respond(self, text):
        self.send(b"%d rsp %d %b\n" % (self.number, len(text), text))


class LenientRelp(Relp):
    """RELP, also for senders that close the connection without the end of their last frame."""

    async def content(self, length):
        try:
            return await super().content(length)
        except EndOfStream as end:
            return end.partial


COMMAND = Until(b"\n\n", limit=2048)
EVENT = re.compile(rb"sendevent ([A-Z_]{1,32})")


class EventSocket(StreamHandler):
    """FreeSWITCH's event socket: commands that an empty line ends, and events, which may have a body."""

    timeout = 20
    request_timeout = 60
    password = b"ClueCon"
    longest_body = 16_384

    def setup(self):
        self.one_by_one = self.events = 0
        self.is_known = False

    async def handle(self):
        self.send(b"Content-Type: auth/request\n\n")
        while True:
            self.one_by_one += 1
            command, *lines = (await COMMAND)[:-2].split(b"\n")
            head = fields(lines)
            if command == b"exit" and not head:
                self.reply(b"+OK bye")
                self.send(b"Content-Type: text/disconnect-notice\nContent-Length: 0\n\n")
                return None
            if not self.is_known:
                self.is_known = not head and hmac.compare_digest(command, b"auth " + self.password)
                if not self.is_known:
                    return self.reply(b"-ERR invalid")
                self.reply(b"+OK accepted")
            elif matched := EVENT.fullmatch(command):
                length = head.pop(b"content-length", b"0")
                if SIZE.fullmatch(length) is None or int(length) > self.longest_body:
                    return self.reply(b"-ERR invalid length")
                self.fire(matched[1], head, await self.body(int(length)))
            elif head:
                return self.reply(b"-ERR no fields here")
            else:
                self.api(command)

    async def body(self, length):
        return await Exactly(length)

    def fire(self, name, head, body):
        self.events += 1
        said = b"\n".join((name, *(b"%b: %b" % field for field in sorted(head.items())), b"", body))
        self.reply(b"+OK " + hashlib.sha256(said).hexdigest()[:32].encode())

    def api(self, command):
        if command == b"api status":
            self.answer(b"UP 0 years, 0 days\n%d event(s) since the login\n" % self.events)
        elif command == b"api version":
            self.answer(b"FreeSWITCH Version 1.10.12-release\n")
        elif command == b"noevents":
            self.reply(b"+OK no longer listening for events")
        else:
            self.reply(b"-ERR command not found")

    def answer(self, text):
        self.send(b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(text), text))

    def reply(self, text):
        self.send(b"Content-Type: command/reply\nReply-Text: %b\n\n" % text)


class UndisturbedEventSocket(EventSocket):
    """FreeSWITCH's event socket; an event whose body can't be read is an event without a body."""

    async def body(self, length):
        try:
            return await super().body(length)
        except Cause:
            return b""


BINDS = {1: "receiver", 2: "transmitter", 9: "transceiver"}
SUBMIT, UNBIND, ENQUIRE, NACK, RESPONSE = 4, 6, 0x15, 0x8000_0000, 0x8000_0000
BIND = re.compile(rb"([!-~]{1,15})\0([!-~]{0,8})\0[ -~]{0,12}\0\x34[\0-\x06][\0-\x12][ -~]{0,40}\0", re.DOTALL)
ADDRESS = rb"[\0-\x06][\0-\x12]([0-9]{1,20})\0"
MESSAGE = re.compile(
    rb"[ -~]{0,5}\0" + ADDRESS + ADDRESS + rb"...(?:[!-~]{16})?\0(?:[!-~]{16})?\0[\0-\x1f][\0\x01][\0-\xff][\0-\xff]",
    re.DOTALL,
)


class MessageCentre(StreamHandler):
    """SMPP 3.4, the end of the message centre; it asks a client that is silent once whether it is there."""

    timeout = 30
    request_timeout = 60
    longest = 1024
    password = b"secret08"

    def setup(self):
        self.one_by_one = self.messages = self.asked = 0
        self.bound = ""

    async def handle(self):
        while True:
            self.one_by_one += 1
            try:
                head = await Exactly(16)
            except (TimedOut, EndOfStream) as cause:
                self.silent(cause)
                continue
            self.asked = 0
            length, command, _, number = (int.from_bytes(head[at : at + 4], "big") for at in (0, 4, 8, 12))
            if not 16 <= length <= self.longest:
                return self.put(NACK, number, status=2)
            body = await Exactly(length - 16)
            if command < RESPONSE and not self.take(command, number, body):
                return None

    def silent(self, cause):
        """Ask the client whether it is there, or end the session for ``cause``."""
        if not isinstance(cause, TimedOut) or self.held_in or self.asked:
            raise cause
        self.enquire()

    def enquire(self):
        self.asked += 1
        self.put(ENQUIRE, self.asked)

    def take(self, command, number, body):
        """Do a command. Whether more may follow."""
        if command in (UNBIND, ENQUIRE):
            self.put(command | RESPONSE, number, status=2 if body else 0)
            return command != UNBIND
        if command in BINDS:
            return self.bind(command, number, body)
        if command != SUBMIT:
            self.put(NACK, number, status=3)
        elif self.bound not in ("transmitter", "transceiver"):
            self.put(SUBMIT | RESPONSE, number, status=4)
        else:
            self.submit(number, body)
        return True

    def bind(self, command, number, body):
        matched = BIND.fullmatch(body)
        status = 5 if self.bound else 0 if matched and hmac.compare_digest(matched[2], self.password) else 0x0D
        if not status:
            self.bound = BINDS[command]
        self.put(command | RESPONSE, number, b"" if status else b"centre\0", status)
        return bool(self.bound)

    def submit(self, number, body):
        matched = MESSAGE.match(body)
        if matched is None:
            return self.put(SUBMIT | RESPONSE, number, status=2)
        text = body[matched.end() :]
        if not 1 <= len(text) <= 255 or text[0] != len(text) - 1 or text[0] > 254:
            return self.put(SUBMIT | RESPONSE, number, status=1)
        self.messages += 1
        return self.put(SUBMIT | RESPONSE, number, b"%08X\0" % self.messages)

    def put(self, command, number, body=b"", status=0):
        self.send(b"".join(part.to_bytes(4, "big") for part in (16 + len(body), command, status, number)) + body)


class AskingMessageCentre(MessageCentre):
    """SMPP 3.4, the end of the message centre; it asks a client that says nothing once whether it is there."""

    def silent(self, cause):
        if self.held_in or self.asked:
            raise cause
        self.enquire()


def frame(number, command, data=b""):
    return b"%d %b %d%b%b\n" % (number, command, len(data), b" " if data else b"", data)


def pdu(command, number, body=b""):
    return b"".join(part.to_bytes(4, "big") for part in (16 + len(body), command, 0, number)) + body


LOGS = [
    frame(1, b"open", b"relp_version=0\nrelp_software=librelp,1.11.0\ncommands=syslog"),
    frame(2, b"syslog", b"<30>Jun  3 10:15:02 gate cron[811]: (root) CMD (run-parts)"),
    frame(3, b"syslog", b"<13>Jun  3 10:15:04 gate ada: two lines\nof text\n"),
    frame(4, b"syslog", b"a b c"),
    frame(5, b"close"),
]
EVENTS = [
    b"auth ClueCon\n\n",
    b"api status\n\n",
    b"sendevent NOTIFY\nprofile: internal\nuser: 1001\ncontent-length: 22\n\nmessages-waiting: yes\n",
    b"sendevent HEARTBEAT\n\n",
    b"api version\n\n",
    b"noevents\n\n",
    b"exit\n\n",
]
MESSAGES = [
    pdu(9, 1, b"shop\0secret08\0\0\x34\x01\x01\0"),
    pdu(ENQUIRE, 2),
    pdu(SUBMIT, 3, b"\0\x01\x01447700900123\0\x01\x01447700900456\0\0\0\0\0\0\0\0\0\0\x13your parcel is here"),
    pdu(ENQUIRE | RESPONSE, 1),
    pdu(SUBMIT, 4, b"CMT\0\0\x014100\0\x01\x01447700900789\0\0\0\0\0\0\x01\0\0\0\x02ok"),
    pdu(UNBIND, 5),
]

PAIRS = [
    # Fault: the end of the stream in the middle of a message is taken for its end, and half of it is acknowledged.
    Pair("relp-half-message", 5, LenientRelp, Relp, LOGS, {"kept": 65_536}),
    # Fault: a body that does not come in time counts as empty: the event is accepted, its body then read as commands.
    Pair("esl-event-body", 5, UndisturbedEventSocket, EventSocket, EVENTS),
    # Fault: the end of the stream within a head is taken for silence: the client is asked, and the session ends well.
    Pair("smpp-silent-client", 5, AskingMessageCentre, MessageCentre, MESSAGES),
]
