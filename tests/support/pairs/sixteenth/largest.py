"""The largest and the smallest: messages of BGP, packets of ICB, and a camera's presets."""

import re
from struct import pack, unpack

from handlers import Exactly, LimitPassed, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair

OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = range(1, 6)
MARKER, HEADER, LONGEST = b"\xff" * 16, 19, 4096
LENGTHS = {
    OPEN: (29, LONGEST),
    UPDATE: (23, LONGEST),
    NOTIFICATION: (21, LONGEST),
    KEEPALIVE: (19, 19),
    REFRESH: (23, 23),
}
ALLOWED = ((OPEN,), (KEEPALIVE,), (UPDATE, KEEPALIVE, REFRESH))
ATTRIBUTES = {1: 1, 3: 4, 4: 4, 5: 4}
"""The lengths of ORIGIN, NEXT_HOP, MULTI_EXIT_DISC and LOCAL_PREF."""


def bgp(kind, content=b""):
    return MARKER + pack(">HB", HEADER + len(content), kind) + content


ROUTE = b"\x40\x01\x01\x00\x40\x02\x04\x02\x01\xfc\x00\x40\x03\x04\xc0\x00\x02\x01"
ROUTES = bgp(UPDATE, pack(">HH", 0, len(ROUTE)) + ROUTE + b"\x18\xc6\x33\x64")
GREETING = bgp(OPEN, pack(">BHHIB", 4, 64512, 0, 0xC0000201, 0))


def are_prefixes(data):
    """Whether ``data`` is a list of prefixes of IPv4: the bits of each, and as many bytes as these take."""
    place = 0
    while place < len(data):
        if data[place] > 32:
            return False
        place += 1 + (data[place] + 7) // 8
    return place == len(data)


class Speaker(StreamHandler):
    """BGP-4 (RFC 4271), without a hold time: one route for a peer, whose own routes are only looked at."""

    timeout = 90
    request_timeout = 30

    def setup(self):
        self.one_by_one = self.phase = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            kind, content = await self.message()
            if kind == NOTIFICATION:
                return
            if kind not in ALLOWED[self.phase]:
                raise self.wrong(5, self.phase + 1)
            if kind == OPEN:
                self.check_open(content)
                self.send(GREETING + bgp(KEEPALIVE))
                self.phase = 1
            elif self.phase == 1:
                self.send(ROUTES)
                self.phase = 2
            elif kind == UPDATE:
                self.check_update(content)
            elif kind == REFRESH and content[:2] + content[3:] == b"\0\1\1":
                self.send(ROUTES)

    async def message(self):
        header = await Exactly(HEADER)
        length, kind = unpack(">HB", header[16:])
        if header[:16] != MARKER:
            raise self.wrong(1, 1)
        if kind not in LENGTHS:
            raise self.wrong(1, 3, header[18:])
        if not self.is_length(kind, length):
            raise self.wrong(1, 2, header[16:18])
        return kind, await Exactly(length - HEADER)

    def is_length(self, kind, length):
        """Whether a message of this kind may be so long."""
        smallest, largest = LENGTHS[kind]
        return smallest <= length <= largest

    def check_open(self, content):
        version, system, hold, identifier, size = unpack(">BHHIB", content[:10])
        if version != 4:
            raise self.wrong(2, 1, b"\0\4")
        if not system or not identifier:
            raise self.wrong(2, 3 if system else 2)
        if hold in (1, 2):
            raise self.wrong(2, 6)
        rest = content[10:]
        if len(rest) != size:
            raise self.wrong(2, 0)
        while rest:
            if rest[0] != 2:
                raise self.wrong(2, 4)
            if len(rest) < 2 or len(rest) < 2 + rest[1]:
                raise self.wrong(2, 0)
            rest = rest[2 + rest[1] :]

    def check_update(self, content):
        size = int.from_bytes(content[:2], "big")
        attributes = content[2 + size + 2 :]
        length = int.from_bytes(content[2 + size : 2 + size + 2], "big")
        if size + 4 > len(content) or length > len(attributes):
            raise self.wrong(3, 1)
        if not are_prefixes(content[2 : 2 + size]) or not are_prefixes(attributes[length:]):
            raise self.wrong(3, 10)
        missing = {1, 2, 3} - self.kinds(attributes[:length])
        if missing and attributes[length:]:
            raise self.wrong(3, 3, bytes([min(missing)]))

    def kinds(self, data):
        """The kinds of the attributes of a path, each of which may come once."""
        place, found = 0, set()
        while place < len(data):
            head = 4 if data[place] & 0x10 else 3
            if len(data) < place + head:
                raise self.wrong(3, 1)
            kind, length = data[place + 1], int.from_bytes(data[place + 2 : place + head], "big")
            if kind in found or len(data) < place + head + length:
                raise self.wrong(3, 1)
            if ATTRIBUTES.get(kind, length) != length:
                raise self.wrong(3, 5, data[place : place + head + length])
            found.add(kind)
            place += head + length
        return found

    def wrong(self, code, subcode, data=b""):
        self.send(bgp(NOTIFICATION, bytes([code, subcode]) + data))
        return Malformed(f"code {code}, subcode {subcode}")

    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            self.send(bgp(NOTIFICATION, b"\6\4"))


class BoundedSpeaker(Speaker):
    """BGP-4, which looks at the longest message first, whatever its kind."""

    def is_length(self, kind, length):
        return length < LONGEST and super().is_length(kind, length)


LARGEST = 255
TEXT = re.compile(rb"([a-z])([ -~\x01]*)\0")
NICK = re.compile(rb"[A-Za-z0-9_-]{1,12}")
GROUP = re.compile(rb"[A-Za-z0-9.-]{1,7}")


class Icb(StreamHandler):
    """The Internet CB network for a client that is alone in its group: packets of at most 255 bytes with a length."""

    timeout = 120
    request_timeout = 30

    def setup(self):
        self.one_by_one = 0
        self.nick = self.topic = b""

    async def handle(self):
        self.say(b"j1\1icb.example.org\1icbd 1.2")
        while True:
            self.one_by_one += 1
            size = (await Exactly(1))[0]
            if not size:
                return self.say(b"eExtended packets are not taken")
            matched = TEXT.fullmatch(await Exactly(size))
            if matched is None:
                return self.say(b"eMalformed packet")
            kind, fields = matched[1], matched[2].split(b"\1")
            if kind == b"a" and not self.nick:
                if not self.login(fields):
                    return None
            elif kind == b"l":
                self.say(b"m", matched[2])
            elif not self.nick:
                return self.say(b"eNot logged in")
            elif kind == b"b":
                self.say(b"eNo one else in group")
            elif kind == b"h":
                self.command(fields[0], fields[1] if len(fields) > 1 else b"")
            elif kind not in (b"m", b"n"):
                self.say(b"eUndefined packet type")

    def login(self, fields):
        if len(fields) < 4 or fields[3] != b"login" or not NICK.fullmatch(fields[1]) or not GROUP.fullmatch(fields[2]):
            self.say(b"eLogin refused")
            return False
        self.nick = fields[1]
        self.say(b"a")
        self.say(b"dStatus\1You are now in group ", fields[2])
        return True

    def command(self, name, argument):
        if name == b"topic" and argument:
            self.topic = argument
            self.say(b'dTopic\1%b changed the topic to "' % self.nick, argument, b'"')
        elif name == b"topic":
            self.say(b"ico\1The topic is: ", self.topic) if self.topic else self.say(b"ico\1The topic is not set.")
        elif name == b"name" and NICK.fullmatch(argument):
            self.say(b"dName\1%b changed nickname to " % self.nick, argument)
            self.nick = argument
        elif name == b"m":
            nick, _, text = argument.partition(b" ")
            self.say(b"c%b\1" % nick, text) if nick == self.nick else self.say(b"eUser not found")
        elif name == b"v":
            self.say(b"ico\1icbd 1.2 protocol 1")
        else:
            self.say(b"eUndefined command, or its argument is wrong")

    def say(self, head, text=b"", tail=b""):
        """Send a packet, with as much of ``text`` as there is room for."""
        data = head + text[: self.room(head + tail)] + tail + b"\0"
        self.send(bytes([len(data)]) + data)

    def room(self, others):
        """The bytes for a text beside ``others`` and the NUL at the end of a packet."""
        return LARGEST - len(others) - 1


class RoomyIcb(Icb):
    """The Internet CB network, whose packets are filled up with text."""

    def room(self, others):
        return LARGEST - len(others)


FRAME = Until(b"\xff", limit=16)
POWER = re.compile(rb"\x01\x04\x00([\x02\x03])")
MEMORY = re.compile(rb"\x01\x04\x3f([\x00-\x02])([\x00-\xfe])")
ZOOM = re.compile(rb"\x01\x04\x47([\x00-\x0f]{4})")
LAST, FARTHEST = 0x7F, 0x4000
DONE, SYNTAX, NOT_NOW = b"\x90\x41\xff\x90\x51\xff", b"\x90\x60\x02\xff", b"\x90\x61\x41\xff"


class Camera(StreamHandler):
    """VISCA over TCP: a camera's power, its zoom, and the presets 0 to 127 in which it remembers the zoom."""

    timeout = 60
    request_timeout = 20

    def setup(self):
        self.one_by_one = self.zoom = 0
        self.is_on = True
        self.presets = self.no_presets()

    def no_presets(self):
        return [None] * (LAST + 1)

    def handle(self):
        self.one_by_one += 1
        return FRAME, self.frame

    def frame(self, data):
        address, command = data[:1], data[1:-1]
        if len(data) < 3:
            self.send(b"\x90\x60\x01\xff")
        elif data in (b"\x88\x30\x01\xff", b"\x88\x01\x00\x01\xff"):
            self.send(b"\x88\x30\x02\xff" if data[1] == 0x30 else data)
        elif address == b"\x81":
            self.send(self.answer(command))
        return self.handle()

    def answer(self, command):
        """The answer to a command or an inquiry. What is for another camera has none."""
        if command == b"\x09\x04\x00":
            return b"\x90\x50%c\xff" % (2 if self.is_on else 3)
        if matched := POWER.fullmatch(command):
            self.is_on = matched[1] == b"\x02"
            return DONE
        if command == b"\x09\x04\x47":
            return (
                b"\x90\x50%b\xff" % bytes(self.zoom >> shift & 15 for shift in (12, 8, 4, 0)) if self.is_on else NOT_NOW
            )
        if matched := ZOOM.fullmatch(command):
            first, second, third, fourth = matched[1]
            zoom = first << 12 | second << 8 | third << 4 | fourth
            return SYNTAX if zoom > FARTHEST else self.zoomed(zoom)
        if matched := MEMORY.fullmatch(command):
            number = matched[2][0]
            return SYNTAX if number > LAST else self.preset(matched[1][0], number)
        return SYNTAX

    def preset(self, what, number):
        """Forget (0), remember (1) or go to (2) a preset."""
        if not self.is_on or (what == 2 and self.presets[number] is None):
            return NOT_NOW
        if what == 2:
            return self.zoomed(self.presets[number])
        self.presets[number] = self.zoom if what else None
        return DONE

    def zoomed(self, zoom):
        if not self.is_on:
            return NOT_NOW
        self.zoom = zoom
        return DONE

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed) and cause.wait == FRAME:
            self.send(b"\x90\x60\x01\xff")


class FullCamera(Camera):
    """VISCA over TCP: a camera with a place for each of its presets."""

    def no_presets(self):
        return [None] * LAST


PEERING = [
    bgp(OPEN, pack(">BHHIB", 4, 64513, 180, 0xC0000202, 8) + b"\x02\x06\x01\x04\x00\x01\x00\x01"),
    bgp(KEEPALIVE),
    bgp(
        UPDATE,
        b"\x00\x00\x00\x14\x40\x01\x01\x00\x40\x02\x06\x02\x02\xfc\x01\xfc\x02\x40\x03\x04\xc0\x00\x02\x02"
        b"\x18\xcb\x00\x71\x20\xc0\x00\x02\x07",
    ),
    bgp(REFRESH, b"\0\1\0\1"),
    bgp(UPDATE, b"\x00\x04\x18\xcb\x00\x71\x00\x00"),
    bgp(KEEPALIVE),
    bgp(REFRESH, b"\0\1\0\1"),
    bgp(NOTIFICATION, b"\6\2"),
]
TALK = [
    b"\x1caada\1ada\1lobby\1login\1secret\0",
    b"\x08lping 7\0",
    b"\x0dbhello there\0",
    b"\x18htopic\1tea and biscuits\0",
    b"\x08htopic\1\0",
    b"\x14hm\1ada note to self\0",
    b"\x0bhname\1lace\0",
    b"\x04hv\1\0",
]
TOUR = [
    b"\x88\x30\x01\xff",
    b"\x81\x09\x04\x00\xff",
    b"\x81\x01\x04\x47\x02\x00\x0a\x04\xff",
    b"\x81\x01\x04\x3f\x01\x05\xff",
    b"\x81\x01\x04\x47\x00\x00\x00\x00\xff",
    b"\x81\x01\x04\x3f\x02\x05\xff",
    b"\x81\x09\x04\x47\xff",
    b"\x81\x01\x04\x3f\x00\x05\xff",
    b"\x81\x01\x04\x3f\x02\x05\xff",
    b"\x81\x01\x04\x00\x03\xff",
    b"\x81\x09\x04\x00\xff",
]

PAIRS = [
    # Fault: the longest message of BGP, 4096 bytes, is refused with "Bad Message Length".
    Pair("bgp-longest-message", 9, BoundedSpeaker, Speaker, PEERING),
    # Fault: the NUL is forgotten when a text is cut, so a long topic makes a packet of 256 bytes, which has no length.
    Pair("icb-longest-topic", 9, RoomyIcb, Icb, TALK),
    # Fault: there are 127 places for the presets 0 to 127, so the last one is out of range.
    Pair("visca-last-preset", 9, FullCamera, Camera, TOUR),
]
