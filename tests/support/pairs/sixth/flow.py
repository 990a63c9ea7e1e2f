"""Pairs whose fault is a swallowed cause (kind 5), an effect of what one read brings (6) or a deadline (7)."""

import re
from binascii import crc_hqx
from struct import Struct

from handlers import DatagramHandler, Exactly, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair


class Haproxy(StreamHandler):
    """The socket of HAProxy for statistics: a command per line."""

    timeout = 10

    async def handle(self):
        while await self.command():
            pass

    async def command(self):
        """Do one command. Whether another may follow."""
        try:
            words = (await Until(b"\n", limit=256)).decode().split()
            if words == ["quit"]:
                return False
            self.send(self.answer(*words).encode())
        except Exception:
            self.send(b"Unknown command.\n\n")
        return True

    def answer(self, verb, what="", *rest):
        if verb == "show" and what == "info":
            return "Name: HAProxy\nMaxconn: 2000\n\n"
        if verb == "show" and what == "stat":
            return "# pxname,svname,scur\nweb,FRONTEND,3\n\n"
        raise ValueError(verb)


class HaproxyRight(Haproxy):
    async def command(self):
        line = await Until(b"\n", limit=256)
        try:
            words = line.decode().split()
            if words == ["quit"]:
                return False
            self.send(self.answer(*words).encode())
        except (ValueError, TypeError):
            self.send(b"Unknown command.\n\n")
        return True


SMPP = Struct(">IIII")


def smpp(kind, number, body=b"", status=0):
    return SMPP.pack(16 + len(body), kind, status, number) + body


class Smpp(StreamHandler):
    """SMPP 3.4: bind, submit, enquire, unbind."""

    timeout = 30

    async def handle(self):
        while True:
            length, kind, _, number = SMPP.unpack(await Exactly(16))
            if length < 16:
                self.send(smpp(0x8000_0000, number, status=2))
                return
            body = await self.body(length)
            if body is None:
                self.send(smpp(0x8000_0000, number, status=2))
            elif kind in (2, 9):
                self.send(smpp(0x8000_0000 | kind, number, b"smsc\0"))
            elif kind == 4:
                self.send(smpp(0x8000_0004, number, b"%08x\0" % len(body)))
            elif kind == 0x15:
                self.send(smpp(0x8000_0015, number))
            elif kind == 6:
                self.send(smpp(0x8000_0006, number))
                return
            else:
                self.send(smpp(0x8000_0000, number, status=3))

    async def body(self, length):
        try:
            return await Exactly(length - 16, limit=2048)
        except Exception:
            return None


class SmppRight(Smpp):
    async def body(self, length):
        return await Exactly(length - 16, limit=2048)


ASF = b"\x00\x00\x11\xbe"


class Rmcp(DatagramHandler):
    """RMCP of IPMI: the pong that answers a presence ping goes again until it is acknowledged, three times at most."""

    timeout = 60
    swallowed: type[Exception] = Exception

    async def handle(self):
        while True:
            packet = await Packet()
            if len(packet) < 12 or packet[:2] != b"\x06\x00" or packet[3:9] != b"\x06" + ASF + b"\x80":
                continue
            pong = packet[:8] + b"\x40" + packet[9:10] + b"\x00\x00"
            for _ in range(3):
                self.send(pong)
                try:
                    if await Packet(timeout=2) == b"\x06\x00" + packet[2:3] + b"\x86":
                        break
                except self.swallowed:
                    continue


class RmcpRight(Rmcp):
    swallowed = TimedOut


def ping(number):
    return bytes([6, 0, number, 6]) + ASF + bytes([0x80, number, 0, 0])


def acknowledged(number):
    return bytes([6, 0, number, 0x86])


class Scpi(StreamHandler):
    """SCPI over a raw socket: a command per line, at most 256 bytes of it."""

    timeout = 60
    request_timeout = 60  # for one command: `one_by_one`
    most = 256
    answers = {b"*IDN?": b"ACME,DMM,1,0.1", b"MEAS:VOLT?": b"+1.25E+00", b"SYST:ERR?": b'0,"No error"'}

    def handle(self):
        self.held = b""
        return Some(limit=4096), self.data

    def data(self, data):
        self.held += data
        if self.is_too_long():
            self.send(b'-223,"Too much data"\n')
            return None
        *lines, self.held = self.held.split(b"\n")
        self.one_by_one += len(lines)
        for line in lines:
            if line.endswith(b"?"):
                self.send(self.answers.get(line, b'-113,"Undefined header"') + b"\n")
        return Some(limit=4096), self.data

    def is_too_long(self):
        return len(self.held) > self.most


class ScpiRight(Scpi):
    def data(self, data):
        *lines, self.held = (self.held + data).split(b"\n")
        self.one_by_one += len(lines)
        for line in [*lines, self.held]:
            if len(line) > self.most:
                self.send(b'-223,"Too much data"\n')
                return None
            if line is not self.held and line.endswith(b"?"):
                self.send(self.answers.get(line, b'-113,"Undefined header"') + b"\n")
        return Some(limit=4096), self.data


class Kafka(StreamHandler):
    """Kafka's framing: the answers to all requests of a read go out together."""

    timeout = 60
    request_timeout = 60  # for one request: `one_by_one`

    def handle(self):
        self.held = b""
        return Some(limit=16_384), self.data

    def data(self, data):
        held, place, self.answers = self.held + data, 0, []
        while len(held) - place >= 4:
            size = int.from_bytes(held[place : place + 4], "big")
            if not 8 <= size <= 1024:
                self.flush()
                return None
            if len(held) - place - 4 < size:
                break
            self.request(held[place + 4 : place + 4 + size])
            place += 4 + size
            self.one_by_one += 1
        self.held = held[place:]
        self.flush()
        return Some(limit=16_384), self.data

    def flush(self):
        self.send(b"".join(self.answers))

    def request(self, request):
        kind, correlation = int.from_bytes(request[:2], "big"), request[4:8]
        if kind == 18:
            self.answers.append(b"\0\0\0\x0a" + correlation + bytes(6))
        elif kind == 3:
            self.answers.append(b"\0\0\0\x0c" + correlation + bytes(8))
        else:
            self.error(b"\0\0\0\x06" + correlation + b"\0\x23")

    def error(self, answer):
        self.send(answer)


class KafkaRight(Kafka):
    def error(self, answer):
        self.answers.append(answer)


def kafka(kind, correlation):
    return b"\0\0\0\x0a" + kind.to_bytes(2, "big") + b"\0\0" + correlation.to_bytes(4, "big") + b"\xff\xff"


def mavlink(number, kind, payload):
    frame = bytes([len(payload), number, 255, 190, kind]) + payload
    return b"\xfe" + frame + crc_hqx(frame, 0xFFFF).to_bytes(2, "little")


class Mavlink(StreamHandler):
    """MAVLink 1 over TCP: heartbeats and pings are answered; a frame with a wrong checksum is not."""

    timeout = 60
    request_timeout = 60  # for one frame: `one_by_one`

    def handle(self):
        self.held = b""
        return Some(limit=4096), self.data

    def data(self, data):
        held = self.held + data
        place = held.find(b"\xfe")
        while place >= 0 and place + 2 <= len(held):
            end = place + 8 + held[place + 1]
            if end > len(held):
                break
            frame = held[place:end]
            if crc_hqx(frame[1:-2], 0xFFFF).to_bytes(2, "little") == frame[-2:]:
                self.frame(frame[2], frame[5], frame[6:-2])
            else:
                end = self.skipped(held, end)
            place = held.find(b"\xfe", end)
            self.one_by_one += 1
        self.held = held[place:] if place >= 0 else b""
        return Some(limit=4096), self.data

    def skipped(self, held, end):
        return len(held)

    def frame(self, number, kind, payload):
        if kind in (0, 4):
            self.send(mavlink(number, kind, payload))


class MavlinkRight(Mavlink):
    def skipped(self, held, end):
        return end


class Gopher(StreamHandler):
    """Gopher (RFC 1436): a selector, then a menu and the end."""

    timeout = 15

    async def handle(self):
        selector = await self.selector()
        if len(selector) > 200:
            self.send(b"3selector too long\t\terror.host\t1\r\n.\r\n")
            return
        self.send(b"i%d bytes\t\terror.host\t1\r\n.\r\n" % len(selector))

    async def selector(self):
        line = b""
        while b"\r\n" not in line and len(line) < 256:
            line += await Some(limit=256)
        return line.partition(b"\r\n")[0]


class GopherRight(Gopher):
    async def selector(self):
        return (await Until(b"\r\n", limit=256))[:-2]


class Openvpn(StreamHandler):
    """OpenVPN over TCP, its first packets: two bytes of length; a reset is answered, other packets acknowledged."""

    timeout = 30

    async def handle(self):
        while True:
            packet = await self.packet(int.from_bytes(await Exactly(2), "big"))
            if len(packet) < 9:
                return
            kind, session = packet[0] >> 3, packet[1:9]
            if kind == 7:
                self.send(b"\x00\x0e\x40SERVER-1\x00" + packet[-4:])
            elif kind == 4:
                self.send(b"\x00\x16\x28SERVER-1\x01" + packet[-4:] + session)

    async def packet(self, length):
        packet = b""
        while len(packet) < min(length, 1600):
            packet += await Some(limit=length - len(packet))
        return packet if length <= 1600 else b""


class OpenvpnRight(Openvpn):
    async def packet(self, length):
        return await Exactly(length, limit=1600)


def openvpn(kind, number, data=b""):
    packet = bytes([kind << 3]) + b"CLIENT-1\x00" + data + number.to_bytes(4, "big")
    return len(packet).to_bytes(2, "big") + packet


class Aprs(StreamHandler):
    """APRS-IS: a client logs in within some seconds, or is a stranger; comments are for the human reader."""

    timeout = 600
    comments = 1 << 30

    async def handle(self):
        self.send(b"# aprsc 2.1\r\n")
        for _ in range(1 + self.comments):
            line = await Until(b"\r\n", limit=512, timeout=20)
            if not line.startswith(b"#"):
                break
        words = line.split()
        if words[:1] != [b"user"] or len(words) < 4 or not re.fullmatch(rb"[A-Z0-9-]{1,9}", words[1]):
            self.send(b"# invalid login\r\n")
            return
        self.send(b"# logresp %b unverified\r\n" % words[1])
        self.opened()
        while True:
            line = await Until(b"\r\n", limit=512)
            if line.startswith(b"#filter "):
                self.send(b"# filter active\r\n")


class AprsRight(Aprs):
    comments = 4


PAIRS = [
    Pair(
        "haproxy", 5, Haproxy, HaproxyRight,
        [b"show info\n", b"show stat\n", b"disable server web/1\n", b"show info\n", b"quit\n"],
    ),
    Pair(
        "smpp", 5, Smpp, SmppRight,
        [smpp(9, 1, b"ada\0secret\0\0\x34\0\0\0"), smpp(0x15, 2), smpp(4, 3, bytes(12) + b"\x05hello"), smpp(6, 4)],
    ),
    Pair("rmcp", 5, Rmcp, RmcpRight, [ping(1), acknowledged(1), ping(2), acknowledged(2)]),
    Pair("scpi", 6, Scpi, ScpiRight, [b"*IDN?\n", b"*RST\nMEAS:VOLT?\n", b"SYST:ERR?\n", b"MEAS:CURR?\n"]),
    Pair("kafka", 6, Kafka, KafkaRight, [kafka(18, 1), kafka(3, 2), kafka(3, 3), kafka(0x7F, 4)]),
    Pair(
        "mavlink", 6, Mavlink, MavlinkRight,
        [mavlink(1, 0, b"\0\0\0\0\x06\x08\0\x03\x03"), mavlink(2, 4, bytes(14)), mavlink(3, 30, bytes(28)),
         mavlink(4, 4, bytes(range(14)))],
    ),
    Pair("gopher", 7, Gopher, GopherRight, [b"/doc", b"uments/a", b"bout\r\n"]),
    Pair(
        "openvpn", 7, Openvpn, OpenvpnRight,
        [openvpn(7, 0), openvpn(4, 1, b"client hello"), openvpn(4, 2, b"more of it"), openvpn(5, 3)],
    ),
    Pair(
        "aprs-is", 7, Aprs, AprsRight,
        [b"# hello\r\n", b"user N0CALL pass -1 vers x 1\r\n", b"N0CALL>APRS,TCPIP*:>test\r\n",
         b"#filter r/48/16/9\r\n"],
    ),
]  # fmt: skip
