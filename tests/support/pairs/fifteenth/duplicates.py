"""Duplicates: blocks of CoAP, datagrams of memcached, and channels of IRC."""

import hashlib
import re

from handlers import DatagramHandler, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

URI_PATH, BLOCK1 = 11, 27
LARGEST = 16_384


def extended(packet, nibble, at):
    """A delta or length of an option, of which four bits are ``nibble``, and where what follows it begins."""
    if nibble < 13:
        return nibble, at
    size = nibble - 12
    if nibble == 15 or at + size > len(packet):
        raise Malformed("no option")
    return int.from_bytes(packet[at : at + size], "big") + (13 if nibble == 13 else 269), at + size


def options_of(packet, at):
    """The options of a message, by their numbers, and its payload."""
    found, number = {}, 0
    while at < len(packet) and packet[at] != 0xFF:
        first = packet[at]
        delta, at = extended(packet, first >> 4, at + 1)
        length, at = extended(packet, first & 15, at)
        number += delta
        if at + length > len(packet):
            raise Malformed("an option is cut")
        found.setdefault(number, []).append(packet[at : at + length])
        at += length
    if at + 1 == len(packet):
        raise Malformed("a marker without a payload")
    return found, packet[at + 1 :]


class Firmware(DatagramHandler):
    """CoAP: takes an image in blocks by PUT (RFC 7959), and says by GET what it has."""

    timeout = 60
    request_timeout = 600

    def setup(self):
        self.image, self.stored = bytearray(), b""

    async def handle(self):
        while True:
            packet = await Packet()
            if not 4 <= len(packet) <= 1152 or packet[0] >> 4 != 4:
                raise Malformed("no confirmable message")
            self.send(self.exchange(packet))

    def exchange(self, packet):
        return self.answer(packet)

    def answer(self, packet):
        tokens, code, number = packet[0] & 15, packet[1], packet[2:4]
        if packet[:2] == b"\x40\0" and len(packet) == 4:  # is somebody there?
            return b"\x70\0" + number
        if tokens > 8 or len(packet) < 4 + tokens or code not in (1, 3):
            raise Malformed("no request")
        options, payload = options_of(packet, 4 + tokens)
        head = bytes([0x60 | tokens]), number + packet[4 : 4 + tokens]
        if any(option % 2 and option not in (URI_PATH, BLOCK1) for option in options):
            return head[0] + b"\x82" + head[1]
        if options.get(URI_PATH) != [b"firmware"]:
            return head[0] + b"\x84" + head[1]
        if code == 1:
            if not self.stored:
                return head[0] + b"\x84" + head[1]
            return head[0] + b"\x45" + head[1] + b"\xff" + self.stored
        block, *more = options.get(BLOCK1, [b"none"])
        if more or len(block) > 3:
            return head[0] + b"\x80" + head[1]
        code = self.put(int.from_bytes(block, "big"), payload)
        return head[0] + bytes([code]) + head[1] + bytes([0xD0 | len(block), 14]) + block

    def put(self, block, payload):
        """Take a block. The code of the answer."""
        count, is_last, size = block >> 4, not block & 8, 16 << (block & 7)
        if size > 1024 or len(payload) > size or (len(payload) < size and not is_last):
            return 0x80
        if count == 0:
            self.image.clear()
        if count * size != len(self.image):
            self.image.clear()
            return 0x88
        if len(self.image) + len(payload) > LARGEST:
            self.image.clear()
            return 0x8D
        self.image += payload
        if not is_last:
            return 0x5F
        self.stored = b"%d %b" % (len(self.image), hashlib.sha256(self.image).hexdigest().encode())
        self.image.clear()
        return 0x44


class RememberingFirmware(Firmware):
    """CoAP: takes an image in blocks by PUT, and knows its last answers."""

    most_answers = 16

    def setup(self):
        super().setup()
        self.answers = {}

    def exchange(self, packet):
        if packet not in self.answers:
            self.answers[packet] = self.answer(packet)
            if len(self.answers) > self.most_answers:
                del self.answers[next(iter(self.answers))]
        return self.answers[packet]


CATALOG = {
    b"price:lamp": b"19.90",
    b"price:desk": b"149.00",
    b"stock:lamp": b"12",
    b"stock:desk": b"3",
    b"motd": b"closed on Sunday " * 100,
}
GET = re.compile(rb"gets?((?: [!-~]{1,250}){1,20})\r\n")
PIECE = 1400


class Catalog(DatagramHandler):
    """memcached over UDP, read only: requests and answers of several datagrams, each with a head of eight bytes."""

    timeout = 60
    request_timeout = 600
    most_pieces = 16

    def setup(self):
        self.begin(None, 0)

    async def handle(self):
        while True:
            packet = await Packet()
            if not 8 < len(packet) <= 8 + PIECE or packet[6:8] != b"\0\0":
                raise Malformed("no datagram of memcached")
            identifier = packet[:2]
            place, total = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[4:6], "big")
            if not place < total <= self.most_pieces:
                raise Malformed("no such piece")
            if (identifier, total) != (self.identifier, self.total):
                self.begin(identifier, total)
            if self.is_whole(place, packet[8:]):
                request = b"".join(piece for _, piece in sorted(self.pieces.items()))
                self.begin(None, 0)
                answer = self.answer(request)
                self.reply(identifier, answer)
                if answer == b"ERROR\r\n":
                    return

    def begin(self, identifier, total):
        self.identifier, self.total, self.pieces, self.arrived = identifier, total, {}, 0

    def is_whole(self, place, piece):
        self.pieces[place] = piece
        return len(self.pieces) == self.total

    def answer(self, request):
        if request == b"version\r\n":
            return b"VERSION 1.6.31\r\n"
        matched = GET.fullmatch(request)
        if matched is None:
            return b"ERROR\r\n"
        keys = matched[1].split()
        found = [b"VALUE %b 0 %d\r\n%b\r\n" % (key, len(CATALOG[key]), CATALOG[key]) for key in keys if key in CATALOG]
        return b"".join(found) + b"END\r\n"

    def reply(self, identifier, answer):
        total = -(-len(answer) // PIECE)
        for place in range(total):
            head = identifier + place.to_bytes(2, "big") + total.to_bytes(2, "big") + b"\0\0"
            self.send(head + answer[place * PIECE : (place + 1) * PIECE])


class CountingCatalog(Catalog):
    """memcached over UDP: counts the datagrams of a request that have arrived."""

    def is_whole(self, place, piece):
        self.pieces[place] = piece
        self.arrived += 1
        return self.arrived == self.total


LINE = Until(b"\r\n", limit=512)
NAME = rb"[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]{0,29}"
CHANNEL = rb"#[!-+\--9;-~]{1,48}"
NICK = re.compile(rb"NICK (%b)" % NAME)
USER = re.compile(rb"USER ([!-9;-?A-~]{1,10}) [!-9;-~]+ [!-9;-~]+ :[ -~\x80-\xff]*")
JOIN = re.compile(rb"JOIN (%b)" % CHANNEL)
PART = re.compile(rb"PART (%b)(?: :[ -~\x80-\xff]*)?" % CHANNEL)
MESSAGE = re.compile(rb"PRIVMSG (%b|%b) :([ -~\x80-\xff]+)" % (CHANNEL, NAME))
PING = re.compile(rb"PING :?([!-9;-~]{1,64})")
QUIT = re.compile(rb"QUIT(?: :[ -~\x80-\xff]*)?")


class Chat(StreamHandler):
    """IRC for one user, who may be in a few channels at once."""

    timeout = 180
    request_timeout = 180
    most_channels = 10

    def setup(self):
        self.one_by_one = self.joined = 0
        self.nick, self.user, self.channels = b"*", None, set()

    def handle(self):
        self.one_by_one += 1
        return LINE, self.line

    def line(self, line):
        line = line[:-2]
        if QUIT.fullmatch(line):
            self.send(b"ERROR :Closing link\r\n")
            return None
        if matched := PING.fullmatch(line):
            self.send(b":irc.example.org PONG irc.example.org :%b\r\n" % matched[1])
        elif matched := NICK.fullmatch(line):
            self.rename(matched[1])
        elif (matched := USER.fullmatch(line)) and self.user is None:
            self.user = matched[1]
            self.welcome()
        elif matched := JOIN.fullmatch(line):
            self.registered(self.join, matched[1])
        elif matched := PART.fullmatch(line):
            self.registered(self.part, matched[1])
        elif matched := MESSAGE.fullmatch(line):
            self.registered(self.message, *matched.groups())
        else:
            self.send(b"ERROR :Closing link: no such command\r\n")
            return None
        return self.handle()

    def rename(self, nick):
        if self.user is not None and self.nick != b"*":
            self.send(b":%b NICK :%b\r\n" % (self.nick, nick))
            self.nick = nick
            return
        self.nick = nick
        self.welcome()

    def welcome(self):
        if self.user is not None and self.nick != b"*":
            self.number(b"001", b":Welcome to the network, " + self.nick)

    def registered(self, command, *arguments):
        if self.user is None or self.nick == b"*":
            self.number(b"451", b":You have not registered")
            return
        command(*arguments)

    def number(self, number, text):
        self.send(b":irc.example.org %b %b %b\r\n" % (number, self.nick, text))

    def join(self, channel):
        if channel in self.channels:
            return
        if self.joined >= self.most_channels:
            self.number(b"405", channel + b" :You have joined too many channels")
            return
        self.channels.add(channel)
        self.joined += 1
        self.send(b":%b!%b@localhost JOIN %b\r\n" % (self.nick, self.user, channel))
        self.number(b"353", b"= %b :%b" % (channel, self.nick))
        self.number(b"366", channel + b" :End of /NAMES list")

    def part(self, channel):
        if channel not in self.channels:
            self.number(b"442", channel + b" :You're not on that channel")
            return
        self.leave(channel)
        self.send(b":%b!%b@localhost PART %b\r\n" % (self.nick, self.user, channel))

    def leave(self, channel):
        self.channels.remove(channel)
        self.joined -= 1

    def message(self, target, text):
        if target == self.nick:
            self.send(b":%b!%b@localhost PRIVMSG %b :%b\r\n" % (self.nick, self.user, target, text))
        elif target not in self.channels:
            is_channel = target.startswith(b"#")
            reason = b" :Cannot send to channel" if is_channel else b" :No such nick"
            self.number(b"404" if is_channel else b"401", target + reason)


class LeavingChat(Chat):
    """IRC for one user, who may be in a few channels and leave them."""

    def leave(self, channel):
        self.channels.remove(channel)


PATH = b"\xb8firmware"
IMAGE = bytes(range(64)) * 2 + b"the end of the image"


def block(number, count, is_more, token=b"\x71\x72"):
    """A PUT of the block ``count`` of the image."""
    option = b"\xd1\x03%c" % (count << 4 | is_more << 3 | 2)
    head = b"\x42\x03" + number.to_bytes(2, "big") + token
    return head + PATH + option + b"\xff" + IMAGE[64 * count : 64 * count + 64]


COAP = [
    b"\x40\0\x10\x01",
    block(0x1002, 0, 1),
    block(0x1003, 1, 1),
    block(0x1004, 2, 0),
    b"\x41\x01\x10\x05\x73" + PATH,
]
UDP = [
    b"\0\x01\0\0\0\x01\0\0version\r\n",
    b"\0\x02\0\0\0\x01\0\0get price:lamp stock:lamp\r\n",
    b"\0\x03\0\0\0\x03\0\0get price:desk ",
    b"\0\x03\0\x01\0\x03\0\0stock:desk pri",
    b"\0\x03\0\x02\0\x03\0\0ce:lamp\r\n",
    b"\0\x04\0\0\0\x01\0\0get motd\r\n",
    b"\0\x05\0\x01\0\x02\0\0price:sofa\r\n",
    b"\0\x05\0\0\0\x02\0\0gets stock:lamp ",
]
IRC = [
    b"NICK ada\r\n",
    b"USER ada 0 * :Ada Lovelace\r\n",
    b"JOIN #engines\r\n",
    b"PRIVMSG #engines :good morning\r\n",
    b"JOIN #looms\r\n",
    b"PRIVMSG ada :note to myself\r\n",
    b"PRIVMSG #nowhere :is somebody there?\r\n",
    b"PART #engines :too loud\r\n",
    b"PART #engines\r\n",
    b"NICK countess\r\n",
    b"PING :irc.example.org\r\n",
    b"QUIT :good night\r\n",
]

PAIRS = [
    # Fault: a block that is sent again, because its answer was lost, is refused as incomplete, and the image is lost.
    Pair("coap-firmware-blocks", 8, Firmware, RememberingFirmware, COAP, {"kept": 65_536}),
    # Fault: a datagram that comes twice is counted twice, so a request counts as whole while a piece is missing.
    Pair("memcached-udp-pieces", 8, CountingCatalog, Catalog, UDP, {"kept": 65_536, "meant": ["answers_no_answer"]}),
    # Fault: the count of channels goes up with each JOIN, and never down with a PART.
    Pair("irc-channel-count", 8, LeavingChat, Chat, IRC, {"kept": 4096}),
]
