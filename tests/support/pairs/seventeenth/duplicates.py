"""Pairs of kind 8: packets that come twice, answers that are answered, and answers that are sent without end."""

import re
import struct

from handlers import DatagramHandler, Packet, TimedOut
from tests.support.pairs.pair import Pair

PACKET = Packet()

# HART-IP

REQUEST, RESPONSE, NAK = 0, 1, 15
INITIATE, CLOSE, ALIVE, TOKEN = range(4)
INVALID, TOO_FEW, NEAREST, VERSION, NO_SESSION = 2, 5, 8, 14, 16


class Thermometer(DatagramHandler):
    """A thermometer that speaks HART-IP over UDP, port 5094 (HCF_SPEC-085).

    A message has a head of 8 bytes: the version, its type (request, response or NAK), what it is, a status, a sequence
    number, and its size. A client opens a session, which ends after a time without a request, passes HART commands, and
    closes it. A request that comes again has the same answer again. What is no request is dropped.
    """

    timeout = 30  # before the session is open, and when it is closed
    most_strays, most_known = 16, 8
    identity = bytes.fromhex("fe2606050507010800a1b2c3")

    def setup(self):
        self.session, self.strays, self.said = None, 0, {}
        self.address, self.changes = 0, 0

    def handle(self):
        return PACKET, self.packet

    def packet(self, packet):
        if len(packet) < 8 or packet[1] != REQUEST:
            self.strays += 1
            self.unwanted(packet)
            return self.following() if self.said and self.strays < self.most_strays else None
        self.strays = 0
        if packet[2] == INITIATE or packet not in self.said:
            self.keep(packet, self.answer(packet))
        self.send(self.said[packet])
        return self.following()

    def keep(self, packet, answer):
        """Keep the answer, for the request may come again; but a session begins, and ends, with none."""
        if packet[2] in (INITIATE, CLOSE):
            self.said.clear()
        elif len(self.said) == self.most_known:
            del self.said[next(iter(self.said))]
        self.said[packet] = answer

    def following(self):
        return Packet(timeout=self.session), self.packet

    def unwanted(self, packet):
        """A packet is no request: nothing is sent, for it may be an answer."""

    def answer(self, packet):
        kind, body = packet[2], packet[8:]
        if packet[0] != 1:
            return self.message(packet, NAK, VERSION)
        if int.from_bytes(packet[6:8], "big") != len(packet):
            return self.message(packet, NAK, TOO_FEW)
        if kind == INITIATE:
            return self.initiate(packet, body)
        if self.session is None:
            return self.message(packet, NAK, NO_SESSION)
        if kind == TOKEN:
            return self.command(packet, body)
        if kind not in (CLOSE, ALIVE) or body:
            return self.message(packet, NAK, INVALID)
        if kind == CLOSE:
            self.session = None
        return self.message(packet, RESPONSE, 0)

    def message(self, packet, kind, status, body=b""):
        """The answer of that kind to ``packet``."""
        return bytes([1, kind, packet[2], status]) + packet[4:6] + (8 + len(body)).to_bytes(2, "big") + body

    def initiate(self, packet, body):
        """The body has the type of the master, and the milliseconds without a request after which the session ends."""
        if len(body) != 5 or body[0] > 1:
            return self.message(packet, NAK, TOO_FEW if len(body) < 5 else INVALID)
        wanted = int.from_bytes(body[1:], "big")
        given = min(max(wanted, 5_000), 60_000)
        self.session = given / 1000
        return self.message(packet, RESPONSE, NEAREST * (given != wanted), body[:1] + given.to_bytes(4, "big"))

    def command(self, packet, frame):
        """A short frame: delimiter, address, command, count of bytes, these bytes, and their check."""
        if len(frame) < 5 or frame[0] != 2 or len(frame) != 5 + frame[3]:
            return self.message(packet, NAK, TOO_FEW if len(frame) < 5 else INVALID)
        status, told = self.carry_out(frame[2], frame[4:-1]) if not check_of(frame) else (0x88, b"")
        answer = bytes([6, frame[1], frame[2], 2 + len(told), status, 0x40 * bool(self.changes)]) + told
        return self.message(packet, RESPONSE, 0, answer + bytes([check_of(answer)]))

    def carry_out(self, command, told):
        if command == 0 and not told:
            return 0, self.identity + self.changes.to_bytes(2, "big")
        if command == 1 and not told:
            return 0, struct.pack(">Bf", 32, 21.5)
        if command == 7 and not told:
            return 0, bytes([self.address, 1])
        if command == 6:
            if len(told) != 1 or told[0] > 63:
                return (INVALID if told else TOO_FEW), b""
            self.address, self.changes = told[0], (self.changes + 1) % 65_536
            return 0, bytes([self.address])
        return 64, b""  # not implemented


class ThermometerAnswersAll(Thermometer):
    """The fault: a NAK is sent for whatever is no request, also for a response and for a NAK.

    Two such devices, or one whose own address is forged as the source, answer each other for ever.
    """

    def unwanted(self, packet):
        if len(packet) >= 8:
            self.send(self.message(packet, NAK, INVALID))


def check_of(frame):
    """The exclusive or of the bytes."""
    check = 0
    for byte in frame:
        check ^= byte
    return check


# ATP

TREQ, TRESP, TREL, ONCE, EOM = 0x40, 0x80, 0xC0, 0x20, 0x10


class Spooler(DatagramHandler):
    """Print jobs are queued by transactions of AppleTalk, one packet a datagram: ATP (Inside AppleTalk, chapter 9).

    A request has a bitmap of the response packets that are wanted, a transaction number, and user bytes, the first of
    which is the function: 1 adds the job named, 2 deletes the job numbered, 3 lists the jobs. A request may demand to
    be carried out exactly once, and one that adds or deletes must: its response is kept until the client releases it,
    and sent again for a request that comes again. The number of a transaction that was released is known for a while,
    and such a request is dropped.
    """

    timeout = 30
    most_strays, most_known, most_jobs, largest = 16, 16, 12, 64
    name = re.compile(rb"[ -~]{1,31}")

    def setup(self):
        self.strays, self.known = 0, {}
        self.jobs, self.number = {}, 0

    def handle(self):
        return PACKET, self.packet

    def packet(self, packet):
        if not 8 <= len(packet) <= 586 or not self.took(packet[0], packet[1], packet[2:4], packet[4:8], packet[8:]):
            self.strays += 1
            return (PACKET, self.packet) if self.strays < self.most_strays else None
        self.strays = 0
        return PACKET, self.packet

    def took(self, control, bitmap, transaction, user, data):
        """Whether the packet was of use."""
        if control & 0xC0 == TREL:
            if not self.known.get(transaction):
                return False
            self.known[transaction] = None
            return True
        if control & 0xC0 != TREQ or not bitmap:
            return False
        if not control & ONCE:
            response = self.carry_out(user, data) if user[0] == 3 else (-50, [b""])
            self.respond(bitmap, transaction, response)
            return True
        if transaction not in self.known:
            response = self.carry_out(user, data)
            self.keep(transaction, response)
        else:
            response = self.known[transaction]
        if response is None:
            return False
        self.respond(bitmap, transaction, response)
        return True

    def keep(self, transaction, response):
        """Keep the response until it is released; the oldest goes when there are too many."""
        if len(self.known) == self.most_known:
            del self.known[next(iter(self.known))]
        self.known[transaction] = response

    def respond(self, bitmap, transaction, response):
        """Send the packets of the response that are wanted."""
        status, pieces = response
        for number, piece in enumerate(pieces):
            if bitmap >> number & 1:
                control = TRESP | EOM * (number == len(pieces) - 1)
                self.send(bytes([control, number]) + transaction + status.to_bytes(4, "big", signed=True) + piece)

    def carry_out(self, user, data):
        """The result, and the data in pieces, 8 at most."""
        if user[0] == 1:
            if not self.name.fullmatch(data) or len(self.jobs) == self.most_jobs:
                return -50, [b""]
            self.number = self.number % 9_999 + 1
            while self.number in self.jobs:
                self.number = self.number % 9_999 + 1
            self.jobs[self.number] = data
            return 0, [b"%d" % self.number]
        if user[0] == 2:
            known = self.jobs.pop(int.from_bytes(data, "big"), None) if len(data) == 2 else None
            return (-43 if known is None else 0), [known or b""]
        if user[0] == 3 and not data:
            lines = b"".join(b"%d %b\r" % job for job in self.jobs.items())
            return 0, [lines[at : at + self.largest] for at in range(0, len(lines) or 1, self.largest)]
        return -50, [b""]


class SpoolerForgets(Spooler):
    """The fault: the response to a request that is to be carried out once is forgotten as soon as it has been sent.

    If it is lost, the client sends the request again, and the job is queued twice.
    """

    def keep(self, transaction, response):
        pass


# WTP

INVOKE, RESULT, ACK, ABORT = 1, 2, 3, 4
PROTOCOL_ERROR, NO_SEGMENTS, NO_USER_ACK, OTHER_VERSION, NO_RESPONSE, TOO_LARGE = 0x01, 0x04, 0x05, 0x06, 0x08, 0x09


class Gateway(DatagramHandler):
    """The responder of the wireless transaction protocol (WAP-224-WTP), port 9201, which answers a Get of WSP.

    Class 0 has no answer, class 1 an acknowledgement; class 2 has a result, which is sent again until the client
    acknowledges it, and the transaction is aborted after some attempts. Messages in segments are refused.
    """

    timeout = 7  # until the result is sent again
    most_tries, most_strays, largest = 4, 8, 1400
    pages = {b"/": b"Welcome", b"/weather": b"Rain, 12 degrees", b"/trains": b"18:04 Lund, platform 5"}

    @staticmethod
    def key(packet):
        return packet[1:3]

    def setup(self):
        self.transaction, self.result = b"", b""
        self.tries, self.strays = 0, 0

    def handle(self):
        return PACKET, self.invoked

    def invoked(self, packet):
        if len(packet) < 4 or packet[1] & 0x80 or packet[0] >> 3 & 15 != INVOKE:
            return None  # what is no request has no answer
        self.transaction = packet[1:3]
        reason = self.refused(packet)
        if reason is not None:
            return self.abort_for(reason)
        kind = packet[3] & 3
        if kind == 2:
            self.result = self.page(packet[4:])
            return self.deliver(0)
        if kind == 1:
            self.send(self.head(ACK << 3))
            return PACKET, self.acknowledging
        return None

    def refused(self, packet):
        """The reason to abort the transaction that ``packet`` begins; ``None``: there is none."""
        checks = (
            (OTHER_VERSION, packet[3] >> 6),
            (PROTOCOL_ERROR, packet[0] & 0x80 or packet[3] & 3 == 3),
            (NO_SEGMENTS, packet[0] & 6 != 6),
            (NO_USER_ACK, packet[3] & 0x10),
            (TOO_LARGE, len(packet) > self.largest),
        )
        return next((reason for reason, is_wrong in checks if is_wrong), None)

    def head(self, first):
        """The first byte, and the transaction: the highest bit says that it is the responder who sends."""
        return bytes([first, self.transaction[0] | 0x80, self.transaction[1]])

    def abort_for(self, reason):
        self.send(self.head(ABORT << 3) + bytes([reason]))

    def deliver(self, again):
        """Send the result, for the first time (0) or again (1)."""
        self.tries += again
        self.send(self.head(RESULT << 3 | 6 | again) + self.result)
        return PACKET, self.waiting

    def page(self, request):
        """The Reply to a Get: status, headers with the type text/plain, and the content."""
        if len(request) < 2 or request[0] != 0x40 or request[1] > 127 or len(request) != 2 + request[1]:
            status, content = 0x40, b""
        else:
            content = self.pages.get(request[2:], b"")
            status = 0x20 if content else 0x44
        return bytes([4, status, 1, 0x83]) + content

    def waiting(self, packet):
        """The client acknowledges the result, or aborts; the invocation may come again."""
        kind = packet[0] >> 3 if len(packet) >= 3 and packet[1:3] == self.transaction else 0
        if (kind == ACK and not packet[0] & 4) or kind == ABORT:
            return None
        return self.strayed(self.waiting)

    def acknowledging(self, packet):
        """The invocation comes again, if the acknowledgement was lost."""
        if len(packet) >= 4 and packet[1:3] == self.transaction and packet[0] >> 3 == INVOKE:
            self.send(self.head(ACK << 3))
        return self.strayed(self.acknowledging)

    def strayed(self, state):
        self.strays += 1
        return (PACKET, state) if self.strays < self.most_strays else None

    def interrupted(self, cause):
        if not isinstance(cause, TimedOut) or not self.result:
            return None
        return self.deliver(1) if self.tries < self.most_tries else self.abort_for(NO_RESPONSE)


class GatewayCountsAnew(Gateway):
    """The fault: the count of attempts begins anew whenever the result is sent, also when it is sent again.

    To a client that is gone, or whose address was forged, the result is sent without end.
    """

    def deliver(self, again):
        self.tries = 0
        return super().deliver(again)


def hart(kind, number, body=b""):
    """A request of HART-IP."""
    return bytes([1, REQUEST, kind, 0]) + number.to_bytes(2, "big") + (8 + len(body)).to_bytes(2, "big") + body


def token(number, command, told=b""):
    """A request of HART-IP with a command."""
    frame = bytes([2, 0x80, command, len(told)]) + told
    return hart(TOKEN, number, frame + bytes([check_of(frame)]))


def transaction(number, control, function=0, data=b""):
    """A packet of ATP."""
    return bytes([control, 0xFF * (control & 0xC0 == TREQ), 0x30, number, function, 0, 0, 0]) + data


PAIRS = [
    Pair(
        "hart-ip-responses", 8, ThermometerAnswersAll, Thermometer,
        [hart(INITIATE, 1, b"\1\0\0\x75\x30"), token(2, 0), token(3, 1), token(4, 6, b"\7"), token(5, 7), token(6, 0),
         hart(ALIVE, 7), hart(CLOSE, 8)],
    ),
    Pair(
        "atp-exactly-once", 8, SpoolerForgets, Spooler,
        [transaction(1, TREQ | ONCE, 1, b"letter to Lovelace"), transaction(1, TREL),
         transaction(2, TREQ | ONCE, 1, b"notes, with a long title"), transaction(2, TREL), transaction(3, TREQ, 3),
         transaction(4, TREQ | ONCE, 2, b"\0\1"), transaction(4, TREL), transaction(5, TREQ, 3)],
        {"kept": 16_384},
    ),
    Pair(
        "wtp-result", 8, GatewayCountsAnew, Gateway,
        [b"\x0e\x12\x34\x02\x40\x08/weather", b"\x18\x12\x34", b"\x0e\x12\x35\x02\x40\x01/", b"\x18\x12\x35",
         b"\x0e\x12\x36\x01\x40\x01/"],
    ),
]  # fmt: skip
