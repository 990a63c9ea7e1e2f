"""Datagrams that come twice, and counts that are never reset."""

import re
from collections import deque
from struct import pack, unpack_from

from handlers import DatagramHandler, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

MAGIC = 0x2112A442
BINDING, ALLOCATE, REFRESH, PERMIT = 1, 3, 4, 8
ERROR_CODE, LIFETIME, PEER, RELAYED, TRANSPORT, SOFTWARE = 9, 0x0D, 0x12, 0x16, 0x19, 0x8022
UDP = b"\x11\0\0\0"


def attribute(kind, value):
    return pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


class Turn(DatagramHandler):
    """TURN: one client, who may have an address at the relay."""

    timeout = 60
    request_timeout = 60
    longest = 3_600

    async def handle(self):
        self.port, self.next_port, self.permitted = 0, 49_152, []
        while True:
            self.one_by_one += 1
            self.send(self.answer(await Packet()))

    def answer(self, packet):
        """The answer to a request."""
        if not 20 <= len(packet) <= 548:
            raise Malformed("no request")
        kind, size, magic = unpack_from(">HHI", packet)
        if kind not in (BINDING, ALLOCATE, REFRESH, PERMIT) or size != len(packet) - 20 or magic != MAGIC:
            raise Malformed("no request")
        found = self.attributes(packet)
        content = self.act(kind, found)
        is_error = content[:2] == pack(">H", ERROR_CODE)
        return pack(">HHI", kind | (0x0110 if is_error else 0x0100), len(content), MAGIC) + packet[8:20] + content

    def attributes(self, packet):
        found, at = {}, 20
        while at < len(packet):
            if at + 4 > len(packet):
                raise Malformed("half an attribute")
            kind, size = unpack_from(">HH", packet, at)
            end = at + 4 + size
            if end + -size % 4 > len(packet) or kind in found:
                raise Malformed("half an attribute")
            found[kind] = packet[at + 4 : end]
            at = end + -size % 4
        for kind, value in found.items():
            if kind < 0x8000 and kind not in (LIFETIME, PEER, TRANSPORT):
                raise Malformed("an attribute that must be known")
            if kind < 0x8000 and len(value) != (8 if kind == PEER else 4):
                raise Malformed("no value")
        return found

    def act(self, kind, found):
        """The attributes of the answer."""
        if kind == BINDING:
            return attribute(SOFTWARE, b"pairs")
        lifetime = min(int.from_bytes(found.get(LIFETIME, pack(">I", 600)), "big"), self.longest)
        if kind == ALLOCATE:
            if self.port:
                return self.error(437, b"Allocation Mismatch")
            if found.get(TRANSPORT) != UDP:
                return self.error(442, b"Unsupported Transport Protocol")
            self.port, self.next_port = self.next_port, 49_152 + (self.next_port - 49_151) % 16_384
            relayed = pack(">BBHI", 0, 1, self.port ^ 0x2112, 0xC0000201 ^ MAGIC)
            return attribute(RELAYED, relayed) + attribute(LIFETIME, pack(">I", lifetime))
        if not self.port:
            return self.error(437, b"Allocation Mismatch")
        if kind == REFRESH:
            if not lifetime:
                self.port, self.permitted = 0, []
            return attribute(LIFETIME, pack(">I", lifetime))
        if found.get(PEER, b"")[:2] != b"\0\1":
            return self.error(400, b"Bad Request")
        if found[PEER] not in self.permitted:
            if len(self.permitted) >= 16:
                return self.error(508, b"Insufficient Capacity")
            self.permitted.append(found[PEER])
        return attribute(SOFTWARE, b"pairs")

    def error(self, code, text):
        return attribute(ERROR_CODE, pack(">HBB", 0, code // 100, code % 100) + text)


class RightTurn(Turn):
    async def handle(self):
        self.answered = deque(maxlen=16)
        await super().handle()

    def answer(self, packet):
        for request, answer in self.answered:
            if request == packet:
                return answer
        answer = super().answer(packet)
        self.answered.append((packet, answer))
        return answer


SCCRQ, SCCRP, SCCCN, STOP, HELLO, ICRQ, ICRP, ICCN, CDN = 1, 2, 3, 4, 6, 10, 11, 12, 14
TUNNEL = 7


def avp(kind, value):
    return pack(">HHH", 0x8000 | (6 + len(value)), 0, kind) + value


class L2tp(DatagramHandler):
    """The control connection of L2TP: calls inside a tunnel, each message with its number."""

    timeout = 60
    request_timeout = 60
    most_calls = 32

    async def handle(self):
        self.sent, self.expected, self.peer_tunnel = 0, 0, 0
        self.calls, self.next_call, self.last, self.has_stopped = {}, 1, b"", False
        while True:
            self.one_by_one += 1
            session, number, found = self.parsed(await Packet())
            if not found:  # an acknowledgement
                continue
            if (self.expected - number) & 0xFFFF >= 0x8000:  # one before it is missing
                continue
            if not self.is_new(number):
                continue
            kind = int.from_bytes(found[0], "big")
            self.expected = (number + 1) & 0xFFFF
            if self.has_stopped:
                raise Malformed("the tunnel has been closed")
            self.act(kind, session, found)
            self.has_stopped = kind == STOP

    def is_new(self, number):
        return True

    def parsed(self, packet):
        """The session, the number and the attributes of a message."""
        if len(packet) < 12 or len(packet) > 1_400:
            raise Malformed("no message")
        flags, size, tunnel, session, number, _ = unpack_from(">6H", packet)
        if flags != 0xC802 or size != len(packet):
            raise Malformed("no message")
        found, at = {}, 12
        while at < size:
            if at + 6 > size:
                raise Malformed("half an attribute")
            head, vendor, kind = unpack_from(">3H", packet, at)
            length = head & 0x3FF
            if length < 6 or at + length > size or head & 0x7C00 or vendor or kind in found:
                raise Malformed("half an attribute")
            found[kind] = packet[at + 6 : at + length]
            at += length
        if found and (next(iter(found)) != 0 or len(found[0]) != 2):
            raise Malformed("the type of the message comes first")
        begins = bool(found) and found[0] == pack(">H", SCCRQ)
        if tunnel != (0 if begins else TUNNEL) or (number if begins else not self.peer_tunnel):
            raise Malformed("no such tunnel")
        return session, number, found

    def act(self, kind, session, found):
        """Do what a message says, and answer it."""
        if kind == SCCRQ and len(found.get(9, b"")) == 2 and found[9] != b"\0\0" and not self.peer_tunnel:
            self.peer_tunnel = int.from_bytes(found[9], "big")
            self.reply(0, avp(0, pack(">H", SCCRP)) + avp(9, pack(">H", TUNNEL)))
        elif kind == ICRQ and len(found.get(14, b"")) == 2 and found[14] != b"\0\0":
            theirs = int.from_bytes(found[14], "big")
            if len(self.calls) >= self.most_calls:
                self.reply(theirs, avp(0, pack(">H", CDN)) + avp(1, pack(">H", 4)))
                return
            while self.next_call in self.calls:
                self.next_call = self.next_call % 0xFFFF + 1
            ours, self.next_call = self.next_call, self.next_call % 0xFFFF + 1
            self.calls[ours] = theirs
            self.reply(theirs, avp(0, pack(">H", ICRP)) + avp(14, pack(">H", ours)))
        elif kind in (ICCN, CDN) and session in self.calls:
            if kind == CDN:
                del self.calls[session]
            self.reply(0)
        elif kind in (SCCCN, HELLO, STOP):
            self.reply(0)
        else:
            raise Malformed("no such message, or not now")

    def reply(self, session, content=b""):
        self.last = pack(">6H", 0xC802, 12 + len(content), self.peer_tunnel, session, self.sent, self.expected)
        self.last += content
        self.sent = (self.sent + bool(content)) & 0xFFFF
        self.send(self.last)


class RightL2tp(L2tp):
    def is_new(self, number):
        if number == self.expected:
            return True
        if (number + 1) & 0xFFFF == self.expected:
            self.send(self.last)
        else:
            self.send(pack(">6H", 0xC802, 12, self.peer_tunnel, 0, self.sent, self.expected))
        return False


COMMAND = re.compile(rb'([a-z_]{1,24})(?: "([ !#-~]{1,200})")?\n')


class Mpd(StreamHandler):
    """MPD: commands for a music player, which may come as a list."""

    timeout = 60
    request_timeout = 60
    most_listed, most_songs = 32, 64

    def setup(self):
        self.songs, self.listed, self.count, self.is_playing = [], None, 0, False

    def handle(self):
        self.send(b"OK MPD 0.23.5\n")
        return self.next()

    def next(self):
        if self.listed is None:
            self.one_by_one += 1
        return Until(b"\n", limit=256), self.line if self.listed is None else self.item

    def line(self, line):
        command = self.parsed(line)
        if command is None or command == (b"close", None):
            return None
        if command == (b"command_list_begin", None):
            self.begin()
            return self.next()
        if not self.run(*command, 0):
            return None
        self.send(b"OK\n")
        return self.next()

    def begin(self):
        self.listed = []

    def item(self, line):
        command = self.parsed(line)
        if command is None:
            return None
        if command != (b"command_list_end", None):
            self.count += 1
            if self.count > self.most_listed:
                self.send(b"ACK [5@0] {} command list is too large\n")
                return None
            self.listed.append(command)
            return self.next()
        listed, self.listed = self.listed, None
        for place, (name, argument) in enumerate(listed):
            if not self.run(name, argument, place):
                return None
        self.send(b"OK\n")
        return self.next()

    def parsed(self, line):
        matched = COMMAND.fullmatch(line)
        if matched is None:
            self.send(b"ACK [5@0] {} malformed command\n")
            return None
        return matched.groups()

    def run(self, name, argument, place):
        """Do a command. Whether it was one that can be done."""
        error = b""
        if name == b"add" and argument:
            if len(self.songs) < self.most_songs:
                self.songs.append(argument)
            else:
                error = b"playlist is at the max size"
        elif name in (b"clear", b"play", b"stop", b"ping", b"status", b"playlist") and not argument:
            if name == b"clear":
                self.songs.clear()
            elif name in (b"play", b"stop"):
                self.is_playing = name == b"play"
            elif name == b"status":
                state = b"play" if self.is_playing else b"stop"
                self.send(b"playlistlength: %d\nstate: %b\n" % (len(self.songs), state))
            elif name == b"playlist":
                self.send(b"".join(b"%d:file: %b\n" % song for song in enumerate(self.songs)))
        else:
            error = b"unknown command or wrong arguments"
        if error:
            self.send(b"ACK [5@%d] {%b} %b\n" % (place, name, error))
        return not error


class RightMpd(Mpd):
    def begin(self):
        super().begin()
        self.count = 0


def turn(kind, number, *attributes):
    content = b"".join(attributes)
    return pack(">HHI", kind, len(content), MAGIC) + b"transact%04d" % number + content


def l2tp(number, expected, kind, content=b"", session=0):
    content = avp(0, pack(">H", kind)) + content
    tunnel = 0 if kind == SCCRQ else TUNNEL
    return pack(">6H", 0xC802, 12 + len(content), tunnel, session, number, expected) + content


PAIRS = [
    # Fault: an allocation that is sent again, with the same transaction, is a mismatch instead of the same answer.
    Pair(
        "turn-allocation",
        8,
        Turn,
        RightTurn,
        [
            turn(BINDING, 1, attribute(SOFTWARE, b"coturn")),
            turn(ALLOCATE, 2, attribute(TRANSPORT, UDP), attribute(LIFETIME, pack(">I", 1_200))),
            turn(PERMIT, 3, attribute(PEER, pack(">BBHI", 0, 1, 0x1234, 0x0A000001 ^ MAGIC))),
            turn(REFRESH, 4, attribute(LIFETIME, pack(">I", 600))),
            turn(REFRESH, 5, attribute(LIFETIME, pack(">I", 0))),
            turn(ALLOCATE, 6, attribute(TRANSPORT, UDP)),
        ],
        {"kept": 16 * 1_200},
    ),
    # Fault: a message with a number from before is done again, and the number that is expected goes back.
    Pair(
        "l2tp-numbers",
        8,
        L2tp,
        RightL2tp,
        [
            l2tp(0, 0, SCCRQ, avp(2, b"\1\0") + avp(7, b"lac.example") + avp(9, b"\0\x2a")),
            l2tp(1, 1, SCCCN),
            l2tp(2, 1, ICRQ, avp(14, b"\0\5") + avp(15, b"\0\0\0\1")),
            pack(">6H", 0xC802, 12, TUNNEL, 0, 3, 2),
            l2tp(3, 2, ICCN, avp(24, b"\0\1\0\0"), session=1),
            l2tp(4, 2, HELLO),
            l2tp(5, 2, CDN, avp(1, b"\0\1") + avp(14, b"\0\5"), session=1),
            l2tp(6, 2, STOP, avp(1, b"\0\6") + avp(9, b"\0\x2a")),
        ],
        {"kept": 4_096},
    ),
    # Fault: the count of the commands in a list is never set back, so that many short lists are one that is too long.
    Pair(
        "mpd-lists",
        8,
        Mpd,
        RightMpd,
        [
            b"ping\n",
            b'add "a/one.ogg"\n',
            b'command_list_begin\nclear\nadd "b/two.ogg"\nadd "b/three.ogg"\nplay\ncommand_list_end\n',
            b"status\n",
            b"playlist\n",
            b"command_list_begin\nstop\nstatus\ncommand_list_end\n",
            b"clear\n",
            b"close\n",
        ],
        {"kept": 64 * 320},
    ),
]
