"""The same read: a password server of CVS, data points of OpenTSDB, and the settings of a u-blox receiver."""

import hmac
import re
import struct

from tests.support.pairs.pair import ANY, Buffered, Malformed, Pair

NAME = re.compile(rb"[A-Za-z][A-Za-z-]{0,31}")
TEXT = re.compile(rb"[!-~](?:[ -~]*[!-~])?")
PATH = re.compile(rb"/[!-~]{1,200}")
USERS = {b"anonymous": b"A", b"ada": b"Ay=0=h<Z"}  # with their passwords as they are sent, scrambled


class PasswordServer(Buffered):
    """CVS, the password server: a login of five lines, then the requests of the client/server protocol."""

    longest = 1024
    most_arguments = 32
    root = b"/var/cvs"

    def setup(self):
        super().setup()
        self.login, self.is_known = [], False
        self.has_root, self.directory, self.arguments = False, None, []

    def take(self):
        for line in self.whole(b"\n"):
            if len(line) > self.longest:
                return self.refuse(b"a line is too long")
            if not (self.request(line) if self.is_known else self.log_in(line)):
                return False
        return len(self.buffer) <= self.longest or self.refuse(b"a line is too long")

    def log_in(self, line):
        """Take a line of the login. Whether more may follow."""
        self.login.append(line)
        if self.login[0] != b"BEGIN AUTH REQUEST":
            return self.refuse(b"bad auth protocol start")
        if len(self.login) < 5:
            return True
        _, root, user, password, end = self.login
        if end != b"END AUTH REQUEST" or PATH.fullmatch(root) is None:
            return self.refuse(b"bad auth protocol end")
        known = USERS.get(user)
        if root != self.root or known is None or not hmac.compare_digest(known, password):
            self.send(b"I HATE YOU\n")
            return False
        self.begin()
        return True

    def begin(self):
        """The login is over, and the session begins."""
        self.is_known, self.login = True, []
        self.send(b"I LOVE YOU\n")

    def request(self, line):
        """Do a request. Whether more may follow."""
        if self.directory == b"":  # the line before was the name of a directory: this is where it is
            self.directory = line
            return PATH.fullmatch(line) is not None or self.refuse(b"no directory")
        name, _, text = line.partition(b" ")
        if NAME.fullmatch(name) is None or (text and TEXT.fullmatch(text) is None):
            return self.refuse(b"no request")
        if name == b"Root" and text == self.root and not self.has_root:
            self.has_root = True
        elif name == b"valid-requests" and not text:
            self.send(b"Valid-requests Root Valid-responses valid-requests Directory Argument noop version ")
            self.send(b"expand-modules\nok\n")
        elif name == b"Valid-responses" and text:
            pass
        elif not self.has_root:
            return self.refuse(b"no root yet")
        elif name == b"Directory" and text:
            self.directory = b""
        elif name == b"Argument" and text:
            if len(self.arguments) >= self.most_arguments:
                return self.refuse(b"too many arguments")
            self.arguments.append(text)
        else:
            self.run(name, text)
        return True

    def run(self, name, text):
        """Run a command, which takes the arguments before it."""
        arguments, self.arguments = self.arguments, []
        if text or name not in (b"noop", b"version", b"expand-modules"):
            self.send(b"error  unrecognized request `%b'\n" % name)
            return
        if name == b"version":
            self.send(b"M Concurrent Versions System (CVS) 1.12.13 (server)\n")
        elif name == b"expand-modules":
            self.send(b"".join(b"Module-expansion %b\n" % argument for argument in arguments))
        self.send(b"ok\n")

    def refuse(self, why):
        self.send(b"error 0 %b\n" % why)
        return False


class FreshPasswordServer(PasswordServer):
    """CVS, the password server; a session begins with nothing of the login in its parser."""

    def begin(self):
        super().begin()
        self.buffer, self.searched = bytearray(), 0


METRIC = re.compile(rb"[A-Za-z0-9._/-]{1,100}")
TIME = re.compile(rb"[1-9][0-9]{9}(?:[0-9]{3})?")
VALUE = re.compile(rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,15})?")
TAG = re.compile(rb"([A-Za-z0-9._/-]{1,64})=([A-Za-z0-9._/-]{1,64})")


class DataPoints(Buffered):
    """OpenTSDB's line protocol: data points, of which only those are answered that are refused."""

    timeout = 20
    longest = 1024
    most_tags = 8

    def setup(self):
        super().setup()
        self.skips, self.points, self.errors = False, 0, 0

    def more(self, data):
        self.searched = len(self.buffer)
        self.buffer += data
        lines = self.whole(b"\n")
        for line in lines:
            if not self.line(line):
                return None
        self.one_by_one += bool(lines)
        if len(self.buffer) > self.longest:
            self.overflow()
        return ANY, self.more if self.buffer or self.skips else self.first

    def overflow(self):
        """The line that has begun is too long: say so, and skip it up to its end."""
        if not self.skips:
            self.refuse(b"error: line too long")
        self.skips = True
        self.buffer.clear()

    def line(self, line):
        """Take a line, or the end of one that is skipped. Whether more may follow."""
        if self.skips:
            self.skips = False
        elif len(line) > self.longest:
            self.refuse(b"error: line too long")
        else:
            command, *words = line.split(b" ")
            if command == b"put":
                self.put(words)
            elif words:
                self.refuse(b"error: unknown command or arguments")
            elif command == b"version":
                self.send(b"net.opentsdb.tools 2.4.1 built at revision 0000000\n")
            elif command == b"stats":
                self.send(b"tsd.rpc.received %d type=put\ntsd.rpc.errors %d\n" % (self.points, self.errors))
            elif command == b"exit":
                return False
            else:
                self.refuse(b"error: unknown command or arguments")
        return True

    def put(self, words):
        """Take a data point: its metric, time, value and tags."""
        if len(words) < 4:
            return self.refuse(b"put: illegal argument: not enough arguments")
        metric, time, value, *words = words
        if METRIC.fullmatch(metric) is None:
            return self.refuse(b"put: illegal argument: invalid metric")
        if TIME.fullmatch(time) is None:
            return self.refuse(b"put: illegal argument: invalid timestamp")
        if VALUE.fullmatch(value) is None:
            return self.refuse(b"put: illegal argument: invalid value")
        if len(words) > self.most_tags:
            return self.refuse(b"put: illegal argument: too many tags")
        tags = [TAG.fullmatch(word) for word in words]
        if None in tags or len({tag[1] for tag in tags}) < len(tags):
            return self.refuse(b"put: illegal argument: invalid tag")
        self.points += 1
        return None

    def refuse(self, why):
        self.errors += 1
        self.send(why + b"\n")


class StrictDataPoints(DataPoints):
    """OpenTSDB's line protocol; what passes the limit of a line is refused."""

    def overflow(self):
        self.refuse(b"error: line too long")
        self.skips = True
        self.buffer.clear()


SYNC = b"\xb5\x62"
ACK, NAK, PORT, RATE, VERSION = b"\x05\x01", b"\x05\x00", b"\x06\x00", b"\x06\x08", b"\x0a\x04"


def check_of(data):
    """The check of a frame: the 8-bit Fletcher algorithm over all between the sync and the check."""
    first = second = 0
    for byte in data:
        first = first + byte & 0xFF
        second = second + first & 0xFF
    return bytes((first, second))


def ubx(kind, payload=b""):
    body = kind + struct.pack("<H", len(payload)) + payload
    return SYNC + body + check_of(body)


class Receiver(Buffered):
    """UBX, a receiver's end: its version and settings are polled and set; what is no frame is skipped as line noise."""

    longest = 64  # of a payload that it takes
    most_noise = 4096

    def setup(self):
        super().setup()
        self.noise = 0
        self.period, self.cycles, self.reference = 1000, 1, 1
        self.speed = 9600

    def more(self, data):
        self.buffer += data
        while self.frame():
            pass
        return ANY, self.more if self.buffer or self.noise else self.first

    def frame(self):
        """Take a frame, or what is none. Whether there was something to take."""
        start = self.buffer.find(SYNC)
        if start < 0:
            start = len(self.buffer) - self.buffer.endswith(SYNC[:1])
        if start:
            return self.skip(start)
        if len(self.buffer) < 6:
            return False
        length = int.from_bytes(self.buffer[4:6], "little")
        if length > self.longest:
            return self.lose_step()
        if len(self.buffer) < length + 8:
            return False
        body, check = bytes(self.buffer[2 : length + 6]), self.buffer[length + 6 : length + 8]
        if check_of(body) != check:
            return self.lose_step()
        del self.buffer[: length + 8]
        self.noise = 0
        self.one_by_one += 1
        self.do(body[:2], body[4:])
        return True

    def lose_step(self):
        """What looked like a frame is none: look for the next one behind its sync."""
        return self.skip(len(SYNC))

    def skip(self, count):
        del self.buffer[:count]
        self.noise += count
        if self.noise > self.most_noise:
            raise Malformed("nothing but noise")
        return True

    def do(self, kind, payload):
        if kind == VERSION and not payload:
            self.send(ubx(VERSION, b"ROM CORE 3.01 (107888)".ljust(30, b"\0") + b"00080000".ljust(10, b"\0")))
        elif kind == RATE and not payload:
            self.send(ubx(RATE, struct.pack("<3H", self.period, self.cycles, self.reference)))
            self.send(ubx(ACK, kind))
        elif kind == PORT and payload == b"\x01":
            self.send(ubx(PORT, struct.pack("<BBHIIHHHH", 1, 0, 0, 0x8D0, self.speed, 7, 3, 0, 0)))
            self.send(ubx(ACK, kind))
        elif kind[:1] == b"\x06":
            self.send(ubx(ACK if self.set(kind, payload) else NAK, kind))

    def set(self, kind, payload):
        """Change a setting. Whether that is possible."""
        if kind == RATE and len(payload) == 6:
            period, cycles, reference = struct.unpack("<3H", payload)
            if period < 50 or not 1 <= cycles <= 127 or reference > 4:
                return False
            self.period, self.cycles, self.reference = period, cycles, reference
            return True
        if kind == PORT and len(payload) == 20 and payload[0] == 1:
            speed = int.from_bytes(payload[8:12], "little")
            if speed not in (9600, 19_200, 38_400, 57_600, 115_200):
                return False
            self.speed = speed
            return True
        return False


class AlertReceiver(Receiver):
    """UBX, a receiver's end; when it is out of step it begins anew with what comes next."""

    def lose_step(self):
        return self.skip(len(self.buffer))


CHECKOUT = [
    b"BEGIN AUTH REQUEST\n/var/cvs\nada\nAy=0=h<Z\nEND AUTH REQUEST\n",
    b"Root /var/cvs\n",
    b"Valid-responses ok error Valid-requests Module-expansion M E\n",
    b"valid-requests\n",
    b"version\n",
    b"Argument tools\nArgument docs\nDirectory .\n/var/cvs\nexpand-modules\n",
    b"noop\n",
]
POINTS = [
    b"version\n",
    b"put sys.cpu.user 1748945700 42.5 host=web01 cpu=0\n",
    b"put sys.cpu.user 1748945700 17 host=web01 cpu=1\nput sys.load 1748945700500 -0.25 host=web01\n",
    b"put sys.cpu.user now 17 host=web01\n",
    b"put sys.net.bytes 1748945760 123456789\n",
    b"stats\n",
    b"exit\n",
]
SETTINGS = [
    ubx(VERSION),
    ubx(RATE),
    ubx(RATE, struct.pack("<3H", 200, 1, 1)),
    ubx(RATE),
    ubx(PORT, b"\x01"),
    ubx(RATE, struct.pack("<3H", 10, 1, 1)),
    ubx(PORT, struct.pack("<BBHIIHHHH", 1, 0, 0, 0x8D0, 115_200, 7, 3, 0, 0)),
    ubx(PORT, b"\x01"),
]

PAIRS = [
    # Fault: the part of a line that came in the same read as the end of the login is lost.
    Pair("cvs-pserver-first-request", 6, FreshPasswordServer, PasswordServer, CHECKOUT, {"kept": 65_536}),
    # Fault: a line that is too long is refused once if it comes in one read, else each time that the limit is passed.
    Pair("opentsdb-long-line", 6, StrictDataPoints, DataPoints, POINTS),
    # Fault: with a frame whose check is wrong, all that came in the same read behind it is thrown away.
    Pair("ubx-wrong-check", 6, AlertReceiver, Receiver, SETTINGS),
]
