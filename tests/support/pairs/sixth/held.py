"""Pairs whose fault is what is kept (kind 2) or what other clients feel (kind 3)."""

import json
from struct import Struct
from types import SimpleNamespace

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair


class Fcp(StreamHandler):
    """The client protocol of Freenet: a name, fields, ``EndMessage``."""

    timeout = 60
    request_timeout = 60
    max_fields = 1 << 30

    async def handle(self):
        while True:
            self.one_by_one += 1
            name = (await Until(b"\n", limit=256))[:-1]
            fields = {}
            while (line := await Until(b"\n", limit=256)) != b"EndMessage\n":
                key, equals, value = line[:-1].partition(b"=")
                if not equals or len(fields) >= self.max_fields:
                    self.send(b"ProtocolError\nCode=7\nFatal=true\nEndMessage\n")
                    return
                fields[key] = value
            if name == b"Disconnect":
                return
            if name == b"ClientHello":
                self.send(b"NodeHello\nFCPVersion=2.0\nClient=%b\nEndMessage\n" % fields.get(b"Name", b""))
            else:
                self.send(b"ProtocolError\nCode=8\nFatal=false\nEndMessage\n")


class FcpRight(Fcp):
    max_fields = 32


def nsq_frame(text):
    return (len(text) + 4).to_bytes(4, "big") + bytes(4) + text


class Nsq(StreamHandler):
    """NSQ: the client says who it is; the server knows its clients, for its page of statistics."""

    timeout = 60

    def handle(self):
        return Exactly(4), self.magic

    def magic(self, data):
        return self.next() if data == b"  V2" else None

    def next(self):
        return Until(b"\n", limit=128), self.command

    def command(self, line):
        if line == b"CLS\n":
            self.send(nsq_frame(b"CLOSE_WAIT"))
            return None
        if line == b"IDENTIFY\n":
            return Exactly(4), self.size
        if line != b"NOP\n":
            self.send(nsq_frame(b"E_INVALID"))
            return None
        return self.next()

    def size(self, data):
        return Exactly(int.from_bytes(data, "big"), limit=1024), self.identify

    def identify(self, body):
        self.server.clients[self] = body
        self.send(nsq_frame(b"OK"))
        return self.next()


class NsqRight(Nsq):
    def finish(self):
        self.server.clients.pop(self, None)


class Lumberjack(StreamHandler):
    """Lumberjack, version 2: a window of events is answered when all of them have come."""

    timeout = 60
    max_window = 0xFFFF_FFFF
    batches = 0

    async def handle(self):
        while True:
            kind, window = await Exactly(2), int.from_bytes(await Exactly(4), "big")
            if kind != b"2W" or not 0 < window <= self.max_window:
                return
            events = []
            while len(events) < window:
                if await Exactly(2) != b"2J":
                    return
                number = await Exactly(4)
                events.append(await Exactly(int.from_bytes(await Exactly(4), "big"), limit=512))
            self.store(events)
            self.send(b"2A" + number)

    def store(self, events):
        """Write the batch at once, as the index wants it."""
        self.batches += bool(events)


class LumberjackRight(Lumberjack):
    max_window = 64


def event(number, text):
    return b"2J" + number.to_bytes(4, "big") + len(text).to_bytes(4, "big") + text


class Gpsd(StreamHandler):
    """gpsd: ``?WATCH=…;`` changes the policy of this client, ``?POLL;`` asks for a fix."""

    timeout = 300
    policy = {"enable": False, "json": False, "nmea": False}

    def handle(self):
        return Until(b";", limit=120), self.command

    def command(self, data):
        name, _, argument = data[:-1].strip(b"\r\n").partition(b"=")
        if name == b"?WATCH":
            try:
                wanted = json.loads(argument or b"{}")
            except ValueError:
                wanted = None
            if not isinstance(wanted, dict) or not all(isinstance(value, bool) for value in wanted.values()):
                self.send(b'{"class":"ERROR","message":"Invalid WATCH"}\r\n')
                return self.handle()
            self.policy.update((key, value) for key, value in wanted.items() if key in self.policy)
            self.send(json.dumps({"class": "WATCH", **self.policy}).encode() + b"\r\n")
        elif name == b"?POLL":
            fixes = [{"lat": 48.2, "lon": 16.4}] if self.policy["enable"] else []
            self.send(json.dumps({"class": "POLL", "tpv": fixes}).encode() + b"\r\n")
        else:
            self.send(b'{"class":"ERROR","message":"Unrecognized request"}\r\n')
        return self.handle()


class GpsdRight(Gpsd):
    def setup(self):
        self.policy = dict(self.policy)


class Ptp(DatagramHandler):
    """A slave of PTP in two steps: after the Follow_Up of the Sync it asks for the delay."""

    timeout = 16
    expected = None

    async def handle(self):
        while True:
            packet = await Packet()
            if len(packet) != 44 or packet[1] & 15 != 2:
                continue
            kind, number = packet[0] & 15, packet[30:32]
            if kind == 0:
                self.expect(number)
            elif kind == 8 and number == self.expected:
                self.expect(None)
                self.send(b"\x01\x02\x00\x2c" + packet[4:30] + number + b"\x01\x7f" + bytes(10))

    def expect(self, number):
        type(self).expected = number


class PtpRight(Ptp):
    def expect(self, number):
        self.expected = number


def ptp(kind, number):
    return bytes([kind, 2, 0, 44]) + bytes(26) + number.to_bytes(2, "big") + bytes([kind and 2, 0]) + bytes(10)


PDU = Struct(">BxI")


class Dicom(StreamHandler):
    """The upper layer of DICOM: an association, messages in fragments, the release."""

    timeout = 60
    pending = bytearray()

    def handle(self):
        return Exactly(PDU.size), self.header

    def header(self, data):
        self.kind, length = PDU.unpack(data)
        return Exactly(length, limit=4096), self.body

    def body(self, body):
        if self.kind == 1:
            self.send(PDU.pack(2, len(body)) + body)
        elif self.kind == 4 and len(body) >= 6:
            self.pending += body[6:]
            if len(self.pending) > 16_384:
                self.send(PDU.pack(7, 4) + bytes(4))
                return None
            if body[5] & 2:
                answer = len(self.pending).to_bytes(4, "big")
                self.send(PDU.pack(4, 10) + b"\0\0\0\x06" + body[4:5] + b"\x02" + answer)
                self.pending.clear()
        else:
            self.send(PDU.pack(6, 4) + bytes(4))
            return None
        return self.handle()


class DicomRight(Dicom):
    def setup(self):
        self.pending = bytearray()


def pdu(kind, body):
    return PDU.pack(kind, len(body)) + body


def pdv(control, data):
    return pdu(4, (len(data) + 2).to_bytes(4, "big") + bytes([1, control]) + data)


PAIRS = [
    Pair(
        "fcp", 2, Fcp, FcpRight,
        [b"ClientHello\nName=ada\nExpectedVersion=2.0\nEndMessage\n", b"ListPeers\nWithMetadata=true\nEndMessage\n",
         b"ClientHello\nName=bob\nEndMessage\n", b"Disconnect\nEndMessage\n"],
    ),
    Pair(
        "nsq", 2, Nsq, NsqRight,
        [b"  V2", b'IDENTIFY\n\0\0\0\x13{"client_id":"ada"}', b"NOP\n", b"CLS\n"],
        {"server": SimpleNamespace(clients={})},
    ),
    Pair(
        "lumberjack", 2, Lumberjack, LumberjackRight,
        [b"2W\0\0\0\x02", event(1, b'{"a":1}'), event(2, b'{"b":2}'), b"2W\0\0\0\x01", event(3, b"{}")],
    ),
    Pair(
        "gpsd", 3, Gpsd, GpsdRight,
        [b"?POLL;\r\n", b'?WATCH={"enable":true,"json":true};\r\n', b"?POLL;\r\n", b'?WATCH={"enable":false};'],
    ),
    Pair("ptp", 3, Ptp, PtpRight, [ptp(0, 1), ptp(8, 1), ptp(0, 2), ptp(8, 2)]),
    Pair(
        "dicom", 3, Dicom, DicomRight,
        [pdu(1, b"\0\x01ECHO"), pdv(1, b"first "), pdv(3, b"second"), pdv(3, b"alone"), pdu(5, bytes(4))],
    ),
]  # fmt: skip
