"""Pairs whose fault is state that clients share by accident."""

import re

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

LINE = re.compile(rb"([A-Za-z]{3,4})(?: ([!-~]{1,40}))?(?: ([!-~]{1,40}))?\r\n")
NUMBER = re.compile(rb"0|[1-9][0-9]{0,7}")
MESSAGES = b"Subject: one\r\n\r\nfirst", b"Subject: two\r\n\r\nsecond, longer", b"Subject: three\r\n\r\nthird"


class Maildrop:
    """The messages of a mailbox, some of which are marked as deleted."""

    def __init__(self, messages):
        self.messages, self.marked = messages, set()

    def mark(self, number):
        self.marked.add(number)

    def reset(self):
        self.marked.clear()

    def left(self):
        return {n: message for n, message in enumerate(self.messages, 1) if n not in self.marked}


class PostOffice(StreamHandler):
    """POP3 (RFC 1939)."""

    timeout = 600
    request_timeout = 60
    maildrop = Maildrop(MESSAGES)

    def setup(self):
        self.is_named = self.is_in = False

    def handle(self):
        self.send(b"+OK POP3\r\n")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=128), self.line

    def line(self, data):
        matched = LINE.fullmatch(data)
        if matched is None:
            return self.refuse()
        verb, *arguments = matched.groups()
        verb, arguments = verb.upper(), [argument for argument in arguments if argument is not None]
        if verb == b"QUIT" and not arguments:
            self.send(b"+OK %d messages left\r\n" % len(self.maildrop.left()))
            return None
        taken = self.transaction(verb, arguments) if self.is_in else self.authorization(verb, arguments)
        return self.following() if taken else self.refuse()

    def refuse(self):
        self.send(b"-ERR no such command\r\n")

    def authorization(self, verb, arguments):
        if verb == b"USER" and len(arguments) == 1:
            self.is_named = arguments == [b"ada"]
            self.send(b"+OK\r\n")
            return True
        if verb == b"PASS" and len(arguments) == 1:
            self.is_in = self.is_named and arguments == [b"lovelace"]
            self.send(b"+OK welcome\r\n" if self.is_in else b"-ERR wrong\r\n")
            return True
        return False

    def transaction(self, verb, arguments):
        left = self.maildrop.left()
        if verb in (b"STAT", b"LIST", b"RSET", b"NOOP") and not arguments:
            if verb == b"STAT":
                self.send(b"+OK %d %d\r\n" % (len(left), sum(map(len, left.values()))))
            elif verb == b"LIST":
                listed = b"".join(b"%d %d\r\n" % (n, len(message)) for n, message in left.items())
                self.send(b"+OK\r\n" + listed + b".\r\n")
            elif verb == b"RSET":
                self.maildrop.reset()
                self.send(b"+OK\r\n")
            else:
                self.send(b"+OK\r\n")
            return True
        if verb not in (b"RETR", b"DELE") or len(arguments) != 1 or not NUMBER.fullmatch(arguments[0]):
            return False
        number = int(arguments[0])
        if number not in left:
            self.send(b"-ERR no such message\r\n")
        elif verb == b"DELE":
            self.maildrop.mark(number)
            self.send(b"+OK\r\n")
        else:
            self.send(b"+OK\r\n" + left[number] + b"\r\n.\r\n")
        return True


class OwnPostOffice(PostOffice):
    def setup(self):
        super().setup()
        self.maildrop = Maildrop(MESSAGES)


def options():
    return {b"verbose": False, b"pedantic": False, b"echo": True}


DEFAULTS = options()
MEMBER = rb'"([a-z_]{1,20})":(true|false|"[ !#-\[\]-~]{0,40}")'
OBJECT = re.compile(rb"\{(?:%b(?:,%b)*)?\}" % (MEMBER, MEMBER))
MEMBERS = re.compile(MEMBER)
SUBJECT = re.compile(rb"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
SID = re.compile(rb"[A-Za-z0-9]{1,20}")


class Bus(StreamHandler):
    """NATS, for the subscriptions of the same client."""

    timeout = 120
    request_timeout = 60
    most, largest = 16, 1024

    def setup(self):
        self.subscriptions = {}
        self.options = self.defaults()

    def defaults(self):
        return DEFAULTS

    async def handle(self):
        self.send(b'INFO {"server_id":"bus","max_payload":1024}\r\n')
        while True:
            line = await Until(b"\r\n", limit=512)
            verb, *arguments = line[:-2].split(b" ")
            verb = verb.upper()
            if verb == b"PUB":
                subject, size = self.destination(arguments)
                payload = await Exactly(size + 2)
                if not payload.endswith(b"\r\n"):
                    self.refuse(b"Parser Error")
                self.publish(subject, payload)
            elif verb == b"PING" and not arguments:
                self.send(b"PONG\r\n")
            elif verb == b"CONNECT" and len(arguments) == 1:
                self.connect(arguments[0])
            elif verb == b"SUB" and len(arguments) == 2:
                self.subscribe(*arguments)
            elif verb == b"UNSUB" and len(arguments) == 1 and SID.fullmatch(arguments[0]):
                self.subscriptions.pop(arguments[0], None)
            else:
                self.refuse(b"Unknown Protocol Operation")
            if self.options[b"verbose"] and verb != b"PING":
                self.send(b"+OK\r\n")
            self.one_by_one += 1

    def refuse(self, why):
        self.send(b"-ERR '%b'\r\n" % why)
        raise Malformed(why.decode())

    def connect(self, text):
        members = MEMBERS.findall(text)
        if not OBJECT.fullmatch(text) or len(dict(members)) != len(members):
            self.refuse(b"Parser Error")
        for name, value in members:
            if name in self.options:
                if value not in (b"true", b"false"):
                    self.refuse(b"Parser Error")
                self.options[name] = value == b"true"

    def subscribe(self, subject, sid):
        if not SUBJECT.fullmatch(subject) or len(subject) > 64 or not SID.fullmatch(sid):
            self.refuse(b"Invalid Subject")
        if sid not in self.subscriptions and len(self.subscriptions) == self.most:
            self.refuse(b"Maximum Subscriptions Exceeded")
        self.subscriptions[sid] = subject

    def destination(self, arguments):
        if len(arguments) != 2 or not SUBJECT.fullmatch(arguments[0]) or not NUMBER.fullmatch(arguments[1]):
            self.refuse(b"Parser Error")
        size = int(arguments[1])
        if size > self.largest:
            self.refuse(b"Maximum Payload Violation")
        return arguments[0], size

    def publish(self, subject, payload):
        if self.options[b"echo"]:
            for sid, wanted in self.subscriptions.items():
                if wanted == subject:
                    self.send(b"MSG %b %b %d\r\n%b" % (subject, sid, len(payload) - 2, payload))


class OwnBus(Bus):
    def defaults(self):
        return options()


RRQ, WRQ, DATA, ACK, ERROR = 1, 2, 3, 4, 5
NAMED = re.compile(rb"([!-~]{1,64})\0((?i:octet|netascii))\0")


class Upload(DatagramHandler):
    """TFTP, to the server (RFC 1350); the last block is answered once the file is whole."""

    timeout = 10
    request_timeout = 60
    most = 16
    blocks: list[bytes] = []

    async def handle(self):
        packet = await Packet()
        opcode, named = packet[:2], NAMED.fullmatch(packet, 2)
        if opcode != bytes([0, WRQ]) or named is None:
            self.refuse(4, b"illegal operation")
        self.blocks.clear()
        self.acknowledge(0)
        while True:
            again = await Packet()
            if again == packet:
                if not self.blocks:
                    self.acknowledge(0)  # the first acknowledgement was lost
                continue
            number, data = self.block(again)
            if number == len(self.blocks) + 1:
                if len(self.blocks) == self.most:
                    self.refuse(3, b"disk full")
                self.blocks.append(data)
                self.acknowledge(number)
                if len(data) < 512:
                    return
            elif number == len(self.blocks):
                self.acknowledge(number)
            elif number > len(self.blocks):
                self.refuse(4, b"a block is missing")

    def block(self, packet):
        """The number and the data of a DATA packet."""
        if len(packet) < 4 or packet[:2] != bytes([0, DATA]) or len(packet) > 516:
            self.refuse(4, b"illegal operation")
        number = int.from_bytes(packet[2:4], "big")
        if not number:
            self.refuse(4, b"no block")
        return number, packet[4:]

    def acknowledge(self, number):
        self.send(bytes([0, ACK]) + number.to_bytes(2, "big"))

    def refuse(self, code, why):
        self.send(bytes([0, ERROR, 0, code]) + why + b"\0")
        raise Malformed(why.decode())


class OwnUpload(Upload):
    def setup(self):
        self.blocks = []


PAIRS = [
    # Fault: one maildrop, with its marks of deletion, for all sessions.
    Pair(
        "pop3-marks", 3, PostOffice, OwnPostOffice,
        [
            b"USER ada\r\n",
            b"PASS lovelace\r\n",
            b"STAT\r\n",
            b"LIST\r\n",
            b"RETR 1\r\n",
            b"DELE 1\r\n",
            b"STAT\r\n",
            b"RSET\r\n",
            b"NOOP\r\n",
            b"QUIT\r\n",
        ],
        {},
    ),
    # Fault: the options of a client are the defaults themselves, so what one client sets is set for all.
    Pair(
        "nats-options", 3, Bus, OwnBus,
        [
            b'CONNECT {"verbose":true,"pedantic":false,"name":"ada"}\r\n',
            b"SUB weather.today 1\r\n",
            b"PUB weather.today 5\r\nsunny\r\n",
            b"PUB weather.tomorrow 4\r\nrain\r\n",
            b"UNSUB 1\r\n",
            b"PING\r\n",
        ],
        {"kept": 4096},
    ),
    # Fault: the list of the blocks that have come is of the class; two uploads at once take each other's blocks.
    Pair(
        "tftp-upload", 3, Upload, OwnUpload,
        [
            bytes([0, WRQ]) + b"notes.txt\0octet\0",
            bytes([0, DATA, 0, 1]) + b"a" * 512,
            bytes([0, DATA, 0, 2]) + b"b" * 512,
            bytes([0, DATA, 0, 3]) + b"the end",
        ],
        {},
    ),
]  # fmt: skip
