"""Duplicates: control messages of NTP, the floors of a conference by BFCP, and a meter on M-Bus."""

import re
import struct
from collections import OrderedDict

from handlers import DatagramHandler, Packet
from tests.support.pairs.pair import Pair

READ_STATUS, READ_VARIABLES = 1, 2
RESPONSE, ERROR = 0x80, 0x40
BAD_FORMAT, BAD_OPCODE, BAD_ASSOCIATION, BAD_NAME, PROHIBITED = 2, 3, 4, 5, 7
NAMES = re.compile(rb"[a-z]{1,16}(?:, ?[a-z]{1,16}){0,15}")
SYSTEM = {b"version": b'"ntpd 4.2.8p18"', b"leap": b"0", b"stratum": b"2", b"precision": b"-24", b"refid": b"PPS"}
SERVER = {b"srcadr": b"192.0.2.7", b"stratum": b"1", b"reach": b"255"}
ASSOCIATIONS = {0: (0x0628, SYSTEM), 14_201: (0x961A, SERVER)}


class ControlMessages(DatagramHandler):
    """NTP, control messages (RFC 9327): the status and the variables of a server; nothing is changed by them."""

    timeout = 20
    largest = 512

    def handle(self):
        return Packet(), self.came

    def came(self, packet):
        is_control = 12 <= len(packet) <= self.largest and packet[0] & 7 == 6 and 2 <= packet[0] >> 3 & 7 <= 4
        if is_control and self.is_request(packet[1]):
            self.answer(packet)
        return self.handle()

    def is_request(self, flags):
        return not flags & 0xE0

    def answer(self, packet):
        head, flags, number, _, association, offset, count = struct.unpack(">BBHHHHH", packet[:12])
        opcode, data = flags & 0x1F, packet[12:]
        status, variables = ASSOCIATIONS.get(association, (0, None))
        code, said = 0, b""
        if offset or len(data) != count + -count % 4 or data[count:].strip(b"\0"):
            code = BAD_FORMAT
        elif variables is None:
            code = BAD_ASSOCIATION
        elif opcode == READ_STATUS and count:
            code = BAD_FORMAT
        elif opcode == READ_STATUS:
            others = [(known, of[0]) for known, of in ASSOCIATIONS.items() if known] if not association else []
            said = b"".join(struct.pack(">HH", known, its) for known, its in others)
        elif opcode == READ_VARIABLES:
            code, said = self.read(variables, data[:count])
        else:
            code = PROHIBITED if READ_STATUS <= opcode <= 10 else BAD_OPCODE
        flags = RESPONSE | (ERROR if code else 0) | opcode
        status = code << 8 if code else status
        answer = struct.pack(">BBHHHHH", head, flags, number, status, association, 0, len(said))
        self.send(answer + said + bytes(-len(said) % 4))

    def read(self, variables, wanted):
        """The code of an error or 0, and the variables that are ``wanted``; all if none is named."""
        if wanted and NAMES.fullmatch(wanted) is None:
            return BAD_FORMAT, b""
        names = dict.fromkeys(name.strip() for name in wanted.split(b",")) if wanted else variables
        if not all(name in variables for name in names):
            return BAD_NAME, b""
        return 0, b", ".join(b"%b=%b" % (name, variables[name]) for name in names)


class TalkativeControlMessages(ControlMessages):
    """NTP, control messages; all but responses are answered."""

    def is_request(self, flags):
        return flags & 0xE0 != RESPONSE


REQUEST, RELEASE, QUERY, STATUS, HELLO, HELLO_ACK, FAILED, GOODBYE, GOODBYE_ACK = 1, 2, 3, 4, 11, 12, 13, 16, 17
BENEFICIARY, FLOOR, REQUEST_ID, PRIORITY, REQUEST_STATUS, ERROR_CODE, ATTRIBUTES, PRIMITIVES = 1, 2, 3, 4, 5, 6, 10, 11
INFORMATION, OVERALL = 15, 18
GRANTED, DENIED, RELEASED = 3, 4, 6


def attribute(kind, value):
    return bytes((kind << 1 | 1, len(value) + 2)) + value + bytes(-(len(value) + 2) % 4)


def message(primitive, number, content=b"", user=101, answers=False):
    head = 0x50 if answers else 0x40
    return struct.pack(">BBHIHH", head, primitive, len(content) // 4, 1, number, user) + content


class Floors(DatagramHandler):
    """BFCP over UDP (RFC 8855): a participant asks for the floors of a conference, and releases them."""

    timeout = 30
    largest = 256
    conference, users, floors = 1, range(100, 200), (1, 2)
    most_remembered = 16

    def setup(self):
        self.last = 0
        self.held = {}  # the floors that are granted, by the request
        self.answers = OrderedDict()  # those to the last requests that must not be done twice

    def handle(self):
        return Packet(), self.came

    def came(self, packet):
        if not 12 <= len(packet) <= self.largest or packet[0] & 0x10 or packet[1] == FAILED:
            return self.handle()  # no message, an answer, or an error
        if packet in self.answers:
            self.send(self.answers[packet])
            return self.handle()
        head, primitive, words, conference, number, user = struct.unpack(">BBHIHH", packet[:12])
        found = self.attributes(packet[12:])
        if head >> 5 != 2:
            answer = FAILED, 12
        elif head & 8 or len(packet) != 12 + 4 * words or found is None or not number:
            answer = FAILED, 10
        elif conference != self.conference:
            answer = FAILED, 1
        elif user not in self.users:
            answer = FAILED, 2
        else:
            answer = self.do(primitive, found)
        kind, content = answer
        content = attribute(ERROR_CODE, bytes((content,))) if kind == FAILED else content
        said = struct.pack(">BBHIHH", 0x50, kind, len(content) // 4, conference, number, user) + content
        self.send(said)
        if kind == STATUS and self.is_once(primitive):
            self.answers[packet] = said
            if len(self.answers) > self.most_remembered:
                self.answers.popitem(last=False)
        return None if kind == GOODBYE_ACK else self.handle()

    def is_once(self, primitive):
        """Whether a request must not be done again when it comes again."""
        return primitive in (REQUEST, RELEASE)

    def attributes(self, data):
        """The attributes by their kinds; `None` if they are none, or one comes twice."""
        found, at = {}, 0
        while at < len(data):
            length = data[at + 1] if at + 1 < len(data) else 0
            end = at + length + -length % 4
            if length < 2 or end > len(data) or data[at] >> 1 in found:
                return None
            found[data[at] >> 1] = data[at + 2 : at + length]
            at = end
        return found

    def do(self, primitive, found):
        if primitive == HELLO and not found:
            known = attribute(PRIMITIVES, bytes((REQUEST, RELEASE, QUERY, HELLO, GOODBYE)))
            return HELLO_ACK, known + attribute(ATTRIBUTES, bytes((BENEFICIARY << 1, FLOOR << 1, REQUEST_ID << 1)))
        if primitive == GOODBYE and not found:
            return GOODBYE_ACK, b""
        if primitive not in (REQUEST, RELEASE, QUERY):
            return FAILED, 3
        wanted = FLOOR if primitive == REQUEST else REQUEST_ID
        if len(found.get(wanted, b"")) != 2 or found.keys() - {wanted, BENEFICIARY, PRIORITY}:
            return FAILED, 10
        number = int.from_bytes(found[wanted], "big")
        if primitive == REQUEST:
            return self.request(number)
        if number not in self.held:
            return FAILED, 7
        if primitive == RELEASE:
            del self.held[number]
        return STATUS, self.status(number, RELEASED if primitive == RELEASE else GRANTED)

    def request(self, floor):
        if floor not in self.floors:
            return FAILED, 6
        self.last = self.last % 0xFFFF + 1
        while self.last in self.held:
            self.last = self.last % 0xFFFF + 1
        if floor in self.held.values():
            return STATUS, self.status(self.last, DENIED)
        self.held[self.last] = floor
        return STATUS, self.status(self.last, GRANTED)

    def status(self, number, status):
        said = number.to_bytes(2, "big")
        overall = attribute(OVERALL, said + attribute(REQUEST_STATUS, bytes((status, 0))))
        return attribute(INFORMATION, said + overall)


class ReleasingFloors(Floors):
    """BFCP over UDP; only a request for a floor makes something new, and must not be done twice."""

    def is_once(self, primitive):
        return primitive == REQUEST


ACK = b"\xe5"
RESET, SEND, REQUEST_DATA = 0x40, 0x53, 0x5B  # the control fields, without the frame count bit
READINGS = b"\x04\x06\x10\x27\x00\x00", b"\x04\x13\x39\x30\x00\x00", b"\x02\x5a\xbc\x02\x02\x5e\x8a\x01"


def short(control, address):
    return bytes((0x10, control, address, control + address & 0xFF, 0x16))


def long(control, address, data):
    body = bytes((control, address)) + data
    return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))


class Meter(DatagramHandler):
    """M-Bus behind a gateway (EN 13757-2): a heat meter, whose readings are three telegrams, read one after another."""

    timeout = 60

    def setup(self):
        self.address, self.accesses = 5, 0
        self.telegram = 0
        self.last = {}  # the frame count bit and the answer of the last frame, by its function

    def handle(self):
        return Packet(), self.came

    def came(self, packet):
        frame = self.frame_in(packet)
        if frame is not None and frame[1] in (self.address, 254, 255):
            control, address, data = frame
            answer = self.answer_to(control, address, data)
            if answer is not None and address != 255:
                self.send(answer)
        return self.handle()

    def frame_in(self, packet):
        """The control field, address and data of a frame from the master; `None` if there is none."""
        if len(packet) == 5 and packet[0] == 0x10:
            body = packet[1:3]
        elif 9 <= len(packet) <= 261 and packet[:4] == bytes((0x68, len(packet) - 6, len(packet) - 6, 0x68)):
            body = packet[4:-2]
        else:
            return None
        is_right = packet[-1] == 0x16 and packet[-2] == sum(body) & 0xFF and body[0] & 0xC0 == 0x40
        return (body[0], body[1], body[2:]) if is_right else None

    def answer_to(self, control, address, data):
        """The answer to a frame; `None` if there is none. A frame that comes again has the answer that it had."""
        if control == RESET and not data:
            self.reset()
            return ACK
        function, count = control & ~0x20, control & 0x20
        if function not in (SEND, REQUEST_DATA) or bool(data) != (function == SEND):
            return None
        if address == 255 and function == REQUEST_DATA:
            return None
        last = self.last.get(function)
        if last is not None and last[0] == count:
            return last[1]
        answer = self.readings() if function == REQUEST_DATA else self.take(data)
        self.last[function] = count, answer
        return answer

    def reset(self):
        """The link is reset: reading begins with the first telegram, and the next frame is a new one."""
        self.telegram = 0
        self.last.clear()

    def readings(self):
        """The next telegram."""
        self.accesses = self.accesses + 1 & 0xFF
        is_last = self.telegram == len(READINGS) - 1
        header = b"\x78\x56\x34\x12\x2d\x2c\x0a\x04" + bytes((self.accesses, 0, 0, 0))
        said = long(0x08, self.address, b"\x72" + header + READINGS[self.telegram] + (b"" if is_last else b"\x1f"))
        self.telegram = 0 if is_last else self.telegram + 1
        return said

    def take(self, data):
        """Do what the master has sent: begin the readings anew, or change the address. `None`: it is refused."""
        if data == b"\x50":
            self.telegram = 0
        elif len(data) == 4 and data[:3] == b"\x51\x01\x7a" and 1 <= data[3] <= 250:
            self.address = data[3]
        else:
            return None
        return ACK


class SteadyMeter(Meter):
    """M-Bus behind a gateway: a heat meter; a reset of the link begins the readings anew."""

    def reset(self):
        self.telegram = 0


def control_message(opcode, number, association=0, data=b"", flags=0):
    head = struct.pack(">BBHHHHH", 0x16, flags | opcode, number, 0, association, 0, len(data))
    return head + data + bytes(-len(data) % 4)


CONTROL = [
    control_message(READ_STATUS, 1),
    control_message(READ_VARIABLES, 2, data=b"stratum, leap"),
    control_message(READ_VARIABLES, 3, 14_201),
    control_message(READ_VARIABLES, 4, data=b"peers"),
    control_message(3, 5, data=b"leap=1"),
]
CONFERENCE = [
    message(HELLO, 1),
    message(REQUEST, 2, attribute(FLOOR, b"\0\x01")),
    message(REQUEST, 3, attribute(FLOOR, b"\0\x01")),
    message(REQUEST, 4, attribute(FLOOR, b"\0\x02")),
    message(QUERY, 5, attribute(REQUEST_ID, b"\0\x01")),
    message(RELEASE, 6, attribute(REQUEST_ID, b"\0\x01")),
    message(REQUEST, 7, attribute(FLOOR, b"\0\x01")),
    message(GOODBYE, 8),
]
READING = [
    short(RESET, 5),
    short(REQUEST_DATA | 0x20, 5),
    short(REQUEST_DATA, 5),
    long(SEND | 0x20, 5, b"\x50"),
    short(REQUEST_DATA | 0x20, 254),
    short(REQUEST_DATA, 5),
    short(RESET, 5),
    short(REQUEST_DATA | 0x20, 5),
]

PAIRS = [
    # Fault: a response that says an error is answered, with an error: two such servers answer each other for ever.
    Pair("ntp-control-errors", 8, TalkativeControlMessages, ControlMessages, CONTROL),
    # Fault: a release that comes twice is done twice: its second answer is an error in place of the status.
    Pair("bfcp-release-again", 8, ReleasingFloors, Floors, CONFERENCE),
    # Fault: a reset of the link does not forget the frame count bit: the first frame after it may count as a repeat.
    Pair("mbus-link-reset", 8, SteadyMeter, Meter, READING, {"meant": ["answers_duplicates_once"]}),
]
