"""Numbers and sizes: lengths that are merged, block sizes of zero, negative lengths, limits that a read steps over."""

import re
from struct import pack, unpack

from handlers import DatagramHandler, Exactly, LimitPassed, Packet, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair, fields

LENGTH = re.compile(rb"0|[1-9][0-9]{0,4}")
POST = re.compile(rb"POST (/[!-~]{0,100}) HTTP/1\.1")


class Posts(StreamHandler):
    """HTTP/1.1: says how long each body was, and its first letter."""

    timeout = 10
    request_timeout = 20

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            try:
                head = await Until(b"\r\n\r\n", limit=2_048)
            except LimitPassed:
                return self.answer(b"431 Request Header Fields Too Large")
            line, *lines = head[:-4].split(b"\r\n")
            try:
                length = self.length(lines)
            except Malformed:
                length = b""
            if POST.fullmatch(line) is None or LENGTH.fullmatch(length) is None or int(length) > 20_000:
                return self.answer(b"400 Bad Request")
            body = await Exactly(int(length)) if int(length) else b""
            self.answer(b"200 OK", b"%d %b\n" % (len(body), body[:1]))

    def length(self, lines):
        return fields(lines).get(b"content-length", b"")

    def answer(self, status, body=b""):
        self.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


class MergingPosts(Posts):
    def length(self, lines):
        merged = {}
        for line in lines:
            [(name, value)] = fields([line]).items()
            merged[name] = merged[name] + b", " + value if name in merged else value
        return merged.get(b"content-length", b"").partition(b",")[0]


REQUEST = re.compile(rb"\0\x01([a-z.]{1,20})\0octet\0(?:blksize\0([1-9][0-9]{0,4}|0)\0)?")
FILE = bytes(range(256)) * 5


class Tftp(DatagramHandler):
    """TFTP (RFC 1350, RFC 2348): one file, in blocks of the size that the client asks for."""

    timeout = 2
    request_timeout = 60
    most_tries = 4

    async def handle(self):
        matched = REQUEST.fullmatch(await Packet())
        if matched is None or matched[1] != b"file.bin":
            self.send(b"\0\5\0\1no such file\0")
            return
        size = 512
        if matched[2] is not None:
            size = self.block_size(int(matched[2]))
            if size is None:
                self.send(b"\0\5\0\10bad block size\0")
                return
            if not await self.acknowledged(b"\0\6blksize\0%d\0" % size, 0):
                return
        await self.blocks(size)

    async def blocks(self, size):
        start, number = 0, 1
        while True:
            block = FILE[start : start + size]
            if not await self.acknowledged(pack(">HH", 3, number) + block, number) or len(block) < size:
                return
            start, number = start + size, number + 1

    def block_size(self, asked):
        return min(asked, 1_024) if 8 <= asked <= 65_464 else None

    async def acknowledged(self, packet, number):
        """Send it until it is acknowledged. Whether it was."""
        for _ in range(self.most_tries):
            self.send(packet)
            try:
                while True:
                    answer = await Packet()
                    if answer == pack(">HH", 4, number):
                        return True
                    if answer[:2] == b"\0\5":
                        return False
            except TimedOut:
                pass
        return False


class TftpAnySize(Tftp):
    def block_size(self, asked):
        return min(asked, 1_024)


class Orders(StreamHandler):
    """The orders of a game: frames of the length of their data, and the data."""

    timeout = 10
    request_timeout = 10
    largest = 1_024

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            length = self.length(await Exactly(4))
            if length > self.largest:
                return
            order = await Exactly(length) if length else b""
            self.send(pack("<I", len(order)) + order[::-1])

    def length(self, told):
        return unpack("<I", told)[0]


class SignedOrders(Orders):
    def length(self, told):
        return unpack("<i", told)[0]


class Packages(Buffered):
    """Packages of letters that end with CRLF, at most 256 bytes with it."""

    largest = 256

    def take(self):
        for package in self.whole(b"\n"):
            if package[-1:] != b"\r" or self.is_too_long(package + b"\n"):
                self.send(b"ERR too long\r\n")
                return False
            self.send(b"OK %d\r\n" % (len(package) - 1))
        if self.is_full():
            self.send(b"ERR too long\r\n")
            return False
        return True

    def is_too_long(self, package):
        return len(package) > self.largest

    def is_full(self):
        return len(self.buffer) >= self.largest


class SteppedOver(Packages):
    def is_too_long(self, package):
        return False

    def is_full(self):
        return len(self.buffer) == self.largest


def post(body):
    return b"POST /in HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nAccept: */*\r\n\r\n%b" % (len(body), body)


PAIRS = [
    # Fault (uwsgi 2775): of two lengths, which are merged with a comma as other fields are, the first one counts.
    Pair("http-merged-lengths", 10, MergingPosts, Posts, [post(b"hello"), post(b"")]),
    # Fault (fx-tftp 12): a block size of 0 is taken: the file has no last block.
    Pair(
        "tftp-block-size", 1, TftpAnySize, Tftp,
        [b"\0\1file.bin\0octet\0blksize\x001024\0", b"\0\4\0\0", b"\0\4\0\1", b"\0\4\0\2"],
    ),
    # Fault (OpenRA 3535): a length is signed, and may be negative.
    Pair("orders-signed", 9, SignedOrders, Orders, [pack("<I", 5) + b"march", pack("<I", 3) + b"dig"]),
    # Fault (swoole 6201): only what has no end yet is too long, and only if it is just as long as a package may be.
    Pair("packages-stepped-over", 9, SteppedOver, Packages, [b"first package\r\n", b"second\r\n"]),
]  # fmt: skip
