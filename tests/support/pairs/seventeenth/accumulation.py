"""Many small pieces: the segments of a message, the names that are cached, entries of clients that have gone."""

from struct import Struct, pack

from handlers import Exactly, StreamHandler
from tests.support.pairs.pair import Malformed, Pair


class TransportEcho(StreamHandler):
    """ISO transport class 0 on TCP (RFC 1006, RFC 905): a connection is agreed on, and each TSDU is sent back.

    A TSDU comes in DT TPDUs, in packets of TPKT; the last one has the mark EOT. The answer is cut into TPDUs of the
    size that was agreed on. A TPDU may be empty, so the TPDUs of a TSDU are counted as well as its bytes.
    """

    timeout = 60
    request_timeout = 30
    one_by_one = 0

    TPKT = Struct(">BBH")
    LARGEST, MOST = 8192, 128
    CONNECT, CONFIRM, DISCONNECT, DATA, ERROR = 0xE0, 0xD0, 0x80, 0xF0, 0x70
    SIZES = {code: 1 << code for code in range(7, 12)}  # 128 to 2048 bytes

    def setup(self):
        self.pieces, self.held = [], 0
        self.size = None

    def handle(self):
        return Exactly(4), self.header

    def header(self, data):
        version, reserved, length = self.TPKT.unpack(data)
        if version != 3 or reserved or not 7 <= length <= 2052:
            raise Malformed("no TPKT")
        return Exactly(length - 4, limit=2048), self.tpdu

    def next_header(self, data):
        """The header of a packet within a TSDU."""
        return self.header(data)

    def tpdu(self, data):
        length, kind = data[0], data[1]
        if length >= len(data) or length < 2 or length == 255:
            return self.reject(data, b"\0")
        if self.size is None:
            return self.connect(data) if kind == self.CONNECT else self.reject(data, b"\x02")
        if kind == self.DISCONNECT and length == 6 and len(data) == 7 and not self.pieces:
            return None
        if kind != self.DATA or length != 2 or data[2] & 0x7F or len(data) > self.size:
            return self.reject(data, b"\x02")
        return self.part(data[3:], data[2] == 0x80)

    def connect(self, data):
        length, _, destination, source, options = Struct(">BBHHB").unpack(data[:7]) if len(data) >= 7 else (0,) * 5
        if length + 1 != len(data) or length < 6 or destination or options:
            return self.reject(data, b"\0")
        asked, at = {}, 7
        while at + 2 <= len(data) and data[at] not in asked and at + 2 + data[at + 1] <= len(data):
            asked[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + data[at + 1]
        code = asked.get(0xC0, b"\x07")
        if at != len(data) or not asked.keys() <= {0xC0, 0xC1, 0xC2} or len(code) != 1 or code[0] not in self.SIZES:
            return self.reject(data, b"\x03")
        self.size = self.SIZES[code[0]]
        self.answer(pack(">BBHHBBB", 9, self.CONFIRM, source, 1, 0, 0xC0, 1) + code)
        self.opened()
        self.one_by_one += 1
        return Exactly(4), self.header

    def part(self, data, is_last):
        """Take a piece of a TSDU."""
        self.pieces.append(data)
        self.held += len(data)
        if self.is_too_much():
            return self.reject(b"", b"\0")
        if not is_last:
            return Exactly(4), self.next_header
        whole, self.pieces, self.held = b"".join(self.pieces), [], 0
        step = self.size - 3
        for at in range(0, max(len(whole), 1), step):
            self.answer(bytes((2, self.DATA, 0x80 * (at + step >= len(whole)))) + whole[at : at + step])
        self.one_by_one += 1
        return Exactly(4), self.header

    def is_too_much(self):
        return self.held > self.LARGEST or len(self.pieces) > self.MOST

    def reject(self, data, why):
        """End the connection with an ER TPDU, whose parameter has the beginning of what is rejected."""
        began = data[:32]
        self.answer(bytes((6 + len(began), self.ERROR, 0, 0)) + why + bytes((0xC1, len(began))) + began)
        return

    def answer(self, tpdu):
        self.send(self.TPKT.pack(3, 0, 4 + len(tpdu)) + tpdu)


class TransportEchoWithoutEnd(TransportEcho):
    """Each TPDU is bounded, and a TSDU is not: what comes without the mark EOT is held for as long as it comes."""

    def is_too_much(self):
        return False


def tpkt(tpdu):
    """A packet of RFC 1006."""
    return TransportEcho.TPKT.pack(3, 0, 4 + len(tpdu)) + tpdu


COTP = [
    tpkt(b"\x11\xe0\x00\x00\x00\x2a\x00\xc0\x01\x07\xc1\x02\x01\x00\xc2\x02\x01\x02"),
    tpkt(b"\x02\xf0\x80short"),
    tpkt(b"\x02\xf0\x00the first piece, "),
    tpkt(b"\x02\xf0\x00the second piece, "),
    tpkt(b"\x02\xf0\x80and the last piece"),
    tpkt(b"\x02\xf0\x80" + bytes(range(100))),
    tpkt(b"\x06\x80\x00\x01\x00\x2a\x00"),
]


class MsdpPeer(StreamHandler):
    """A peer of MSDP (RFC 3618) that keeps the active sources of the other peer, and answers requests for them.

    A message is a type, a length of two bytes that counts them too, and a value. A source-active message (1) has
    entries of source and group, a request (2) names a group, the answer (3) is as a source-active message. A keepalive
    (4) is answered by one. More entries than the limit end the session (RFC 4611, section 3.1: the SA limit).
    """

    timeout = 75
    request_timeout = 75
    one_by_one = 0

    HEADER = Struct(">BH")
    ACTIVE, REQUEST, RESPONSE, KEEPALIVE = 1, 2, 3, 4
    LONGEST = 1400
    SA_LIMIT = 64

    def setup(self):
        self.sources = {}  # by their groups
        self.entries = 0

    def handle(self):
        return Exactly(3), self.header

    def header(self, data):
        self.type, length = self.HEADER.unpack(data)
        if not 3 <= length <= self.LONGEST:
            raise Malformed("the length of a message")
        return Exactly(length - 3, limit=self.LONGEST), self.value

    def value(self, data):
        if self.type == self.ACTIVE:
            self.active(data)
        elif self.type == self.REQUEST:
            self.request(data)
        elif self.type == self.KEEPALIVE and not data:
            self.send(self.HEADER.pack(self.KEEPALIVE, 3))
        else:
            raise Malformed("a message that a peer does not send")
        self.one_by_one += 1
        return self.handle()

    def active(self, data):
        """Keep the entries of a source-active message: a group, and in it a source with its rendezvous point."""
        if len(data) < 5 or len(data) != 5 + 12 * data[0]:
            raise Malformed("no source-active message")
        point = data[1:5]
        self.check_address(point)
        for at in range(5, len(data), 12):
            prefix, group, source = data[at : at + 4], data[at + 4 : at + 8], data[at + 8 : at + 12]
            if prefix != b"\0\0\0\x20" or not 224 <= group[0] < 240 or group[:3] == b"\xe0\0\0":
                raise Malformed("no entry")
            self.check_address(source)
            self.keep(group, source, point)

    def check_address(self, address):
        """Whether it may be of a host that sends."""
        if address[0] in (0, 127) or address[0] >= 224:
            raise Malformed("no address of a host")

    def keep(self, group, source, point):
        known = self.sources.get(group, {})
        if source not in known:
            if self.is_full():
                raise Malformed("the peer has passed the SA limit")
            self.entries += 1
        known[source] = point
        self.sources[group] = known

    def is_full(self):
        return self.entries >= self.SA_LIMIT

    def request(self, data):
        """Answer with the sources of a group, a message for each rendezvous point."""
        if len(data) != 5 or data[0] or not 224 <= data[1] < 240:
            raise Malformed("no request")
        group, points = data[1:], {}
        for source, point in self.sources.get(group, {}).items():
            points.setdefault(point, []).append(b"\0\0\0\x20" + group + source)
        for point, entries in points.items():
            for at in range(0, len(entries), 100):
                some = entries[at : at + 100]
                self.send(self.HEADER.pack(self.RESPONSE, 8 + 12 * len(some)) + bytes((len(some),)) + point)
                self.send(b"".join(some))
        if not points:
            self.send(self.HEADER.pack(self.RESPONSE, 8) + bytes(5))


class MsdpPeerWithoutLimit(MsdpPeer):
    """The cache of sources has no limit: a host that scans groups (as the Ramen worm did) fills it entry by entry."""

    def is_full(self):
        return False


def msdp(kind, value=b""):
    """A message of MSDP."""
    return MsdpPeer.HEADER.pack(kind, 3 + len(value)) + value


WHOLE, GROUP, OTHER = b"\0\0\0\x20", b"\xe8\x01\x02\x03", b"\xe9\xfb\x00\x09"
MSDP = [
    msdp(4),
    msdp(1, b"\x02\xc0\x00\x02\x01" + WHOLE + GROUP + b"\xc6\x33\x64\x05" + WHOLE + GROUP + b"\x0a\1\1\1"),
    msdp(1, b"\x01\xc0\x00\x02\x02" + WHOLE + OTHER + b"\xcb\x00\x71\x09"),
    msdp(2, b"\0" + GROUP),
    msdp(2, b"\0" + OTHER),
    msdp(2, b"\0\xe8\x07\x07\x07"),
    msdp(4),
]


class ChannelAccess(StreamHandler):
    """A part of an IOC of EPICS: channels to process variables that don't change, reads, and monitors of them.

    (Channel Access Protocol Specification.) A message has a header of sixteen bytes: command, size of the payload, type
    and count of its data, and two parameters. All monitors of a variable are listed for the record that would post an
    event to them; a client that has gone has none. The one type is DBR_DOUBLE.
    """

    timeout = 300
    request_timeout = 60
    one_by_one = 0

    HEADER = Struct(">HHHHII")
    VERSION, EVENT_ADD, EVENT_CANCEL, ERROR, CLEAR, READ, CREATE, CLIENT, HOST, RIGHTS, FAIL, ECHO = (
        0, 1, 2, 11, 12, 15, 18, 20, 21, 22, 26, 23
    )  # fmt: skip
    DOUBLE, NORMAL, BADTYPE, BADCHANNEL, ALLOCATION = 6, 1, 114, 410, 48
    MOST = 32
    VALUES = {b"BEAM:CURRENT": 201.5, b"RING:VACUUM": 2.5e-9, b"HALL:TEMP": 21.25}
    monitors = {name: {} for name in VALUES}

    def setup(self):
        self.channels, self.mine = {}, {}  # the names by their numbers; the channels of the monitors by their numbers

    def finish(self):
        for monitor in list(self.mine):
            self.cancel(monitor)

    def handle(self):
        return Exactly(16), self.header

    def header(self, data):
        self.head = self.HEADER.unpack(data)
        if self.head[1] > 256 or self.head[1] % 8:
            raise Malformed("the size of a payload")
        return Exactly(self.head[1], limit=256), self.payload

    def payload(self, data):
        command, _, kind, count, one, two = self.head
        if command == self.VERSION and not data:
            self.answer(self.VERSION, 0, 13)
        elif command == self.ECHO and not data:
            self.answer(self.ECHO)
        elif command == self.CREATE:
            self.create(data.rstrip(b"\0"), one)
        elif command in (self.READ, self.EVENT_ADD, self.EVENT_CANCEL, self.CLEAR):
            if len(data) != 16 * (command == self.EVENT_ADD):
                raise Malformed("the size of a payload")
            name = self.channels.get(one)
            if name is None:
                self.fail(self.BADCHANNEL)
            elif command == self.CLEAR:
                self.clear(one, two)
            elif command == self.EVENT_CANCEL:
                if self.mine.get(two) != one:
                    raise Malformed("no such monitor")
                self.cancel(two)
                self.answer(self.EVENT_ADD, self.DOUBLE, 0, one, two)
            elif kind != self.DOUBLE or count != 1:
                self.fail(self.BADTYPE)
            else:
                self.show(command, name, one, two)
        elif command not in (self.CLIENT, self.HOST) or not 0 < len(data.rstrip(b"\0")) < 64:
            raise Malformed("no message of a client")
        self.one_by_one += 1
        return self.handle()

    def create(self, name, client):
        if name not in self.VALUES or len(self.channels) >= self.MOST:
            self.answer(self.FAIL, 0, 0, client)
            return
        number = next(number for number in range(1, self.MOST + 1) if number not in self.channels)
        self.channels[number] = name
        self.answer(self.RIGHTS, 0, 0, client, 1)
        self.answer(self.CREATE, self.DOUBLE, 1, client, number)

    def show(self, command, name, channel, two):
        """Answer with the value; before that, for EVENT_ADD, list the monitor."""
        if command == self.EVENT_ADD:
            if two in self.mine or len(self.mine) >= self.MOST:
                self.fail(self.ALLOCATION)
                return
            self.mine[two] = channel
            self.monitors[name][self, two] = None
        self.answer(command, self.DOUBLE, 1, self.NORMAL, two, pack(">d", self.VALUES[name]))

    def cancel(self, monitor):
        del self.monitors[self.channels[self.mine.pop(monitor)]][self, monitor]

    def clear(self, channel, client):
        for monitor in [monitor for monitor, its in self.mine.items() if its == channel]:
            self.cancel(monitor)
        del self.channels[channel]
        self.answer(self.CLEAR, 0, 0, channel, client)

    def fail(self, status):
        self.answer(self.ERROR, 0, 0, self.head[4], status, self.HEADER.pack(*self.head) + b"refused\0")

    def answer(self, command, kind=0, count=0, one=0, two=0, data=b""):
        self.send(self.HEADER.pack(command, len(data), kind, count, one, two) + data)


class ChannelAccessDeadMonitors(ChannelAccess):
    """A monitor leaves the list when it is cancelled or its channel is cleared, but not when the client just goes."""

    monitors = {name: {} for name in ChannelAccess.VALUES}

    def finish(self):
        pass


def ca(command, kind=0, count=0, one=0, two=0, data=b""):
    """A message of Channel Access."""
    data += bytes(-len(data) % 8)
    return ChannelAccess.HEADER.pack(command, len(data), kind, count, one, two) + data


CHANNEL_ACCESS = [
    ca(0, 0, 13) + ca(20, data=b"operator\0") + ca(21, data=b"console-3\0"),
    ca(18, 0, 0, 7, 13, b"BEAM:CURRENT\0"),
    ca(15, 6, 1, 1, 100),
    ca(1, 6, 1, 1, 55, bytes(12) + b"\0\1\0\0"),
    ca(18, 0, 0, 8, 13, b"HALL:TEMP\0"),
    ca(1, 6, 1, 2, 56, bytes(12) + b"\0\5\0\0"),
    ca(23),
    ca(2, 6, 1, 1, 55),
    ca(12, 0, 0, 2, 8),
    ca(12, 0, 0, 1, 7),
]

PAIRS = [
    Pair("cotp-segments", 2, TransportEchoWithoutEnd, TransportEcho, COTP),
    Pair("msdp-sources", 2, MsdpPeerWithoutLimit, MsdpPeer, MSDP),
    Pair("channel-access-monitors", 2, ChannelAccessDeadMonitors, ChannelAccess, CHANNEL_ACCESS),
]
