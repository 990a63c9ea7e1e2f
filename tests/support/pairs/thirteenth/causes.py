"""Pairs whose fault is a cause that is swallowed."""

import re
from contextlib import suppress

from handlers import DatagramHandler, Exactly, LimitPassed, Packet, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair

RRQ, DATA, ACK, ERROR = 1, 3, 4, 5
NAMED = re.compile(rb"([!-~]{1,64})\0((?i:octet|netascii))\0")


class Download(DatagramHandler):
    """TFTP, from the server (RFC 1350): each block is sent again, three times at most, until it is acknowledged."""

    timeout = 10
    request_timeout = 60
    files = {b"motd": b"good morning\n", b"kernel": b"k" * 512 + b"e" * 512 + b"l" * 100, b"empty": b""}
    attempts = 4

    async def handle(self):
        packet = await Packet()
        named = NAMED.fullmatch(packet, 2)
        if packet[:2] != bytes([0, RRQ]) or named is None:
            self.refuse(4, b"illegal operation")
        if named[1] not in self.files:
            self.refuse(1, b"file not found")
        data = self.files[named[1]]
        for number in range(1, len(data) // 512 + 2):
            block = bytes([0, DATA]) + number.to_bytes(2, "big") + data[512 * (number - 1) : 512 * number]
            await self.deliver(packet, number, block)

    async def deliver(self, request, number, block):
        """Send a block until it is acknowledged."""
        self.send(block)
        attempts = 1
        while True:
            try:
                packet = await Packet(timeout=2)
                if self.acknowledges(packet, request, number):
                    return
            except Exception:  # noqa: PERF203
                if attempts == self.attempts:
                    raise
                attempts += 1
                self.send(block)

    def acknowledges(self, packet, request, number):
        """Whether it is for this block, and not again for one before."""
        if packet == request:
            return False  # a copy that the network has made
        if packet[:2] == bytes([0, ERROR]):
            raise Malformed("the client gives up")
        if len(packet) != 4 or packet[:2] != bytes([0, ACK]) or not 0 < packet[2] << 8 | packet[3] <= number:
            self.refuse(4, b"illegal operation")
        return int.from_bytes(packet[2:], "big") == number

    def refuse(self, code, why):
        self.send(bytes([0, ERROR, 0, code]) + why + b"\0")
        raise Malformed(why.decode())


class PatientDownload(Download):
    async def deliver(self, request, number, block):
        self.send(block)
        attempts = 1
        while True:
            try:
                packet = await Packet(timeout=2)
            except TimedOut:  # noqa: PERF203
                if attempts == self.attempts:
                    raise
                attempts += 1
                self.send(block)
            else:
                if self.acknowledges(packet, request, number):
                    return


COMMAND = re.compile(rb"([A-Za-z0-9]{1,16}) ([A-Za-z]{1,16})((?: [!-~]{1,32}){0,2})\r\n")


class Idle(StreamHandler):
    """IMAP with IDLE (RFC 2177), for 29 minutes at most."""

    timeout = 1800
    request_timeout = 60

    async def handle(self):
        self.send(b"* OK IMAP4rev1 ready\r\n")
        self.is_in = False
        while True:
            matched = COMMAND.fullmatch(await Until(b"\r\n", limit=256))
            if matched is None:
                self.send(b"* BAD no command\r\n")
                raise Malformed("no command")
            tag, name, arguments = matched[1], matched[2].upper(), matched[3].split()
            if name == b"LOGOUT" and not arguments:
                self.send(b"* BYE\r\n%b OK done\r\n" % tag)
                return
            if name == b"IDLE" and not arguments and self.is_in:
                await self.idle(tag)
            else:
                self.command(tag, name, arguments)
            self.one_by_one += 1

    def command(self, tag, name, arguments):
        if name == b"LOGIN" and len(arguments) == 2:
            self.is_in = arguments == [b"ada", b"lovelace"]
            self.send(tag + (b" OK welcome\r\n" if self.is_in else b" NO wrong\r\n"))
        elif name == b"NOOP" and not arguments:
            self.send(tag + b" OK done\r\n")
        elif name == b"STATUS" and arguments == [b"INBOX"] and self.is_in:
            self.send(b"* STATUS INBOX (MESSAGES 3)\r\n%b OK done\r\n" % tag)
        else:
            self.send(tag + b" BAD no such command\r\n")
            raise Malformed("no such command")

    async def idle(self, tag):
        self.send(b"+ idling\r\n* 3 EXISTS\r\n")
        with suppress(Exception):
            await self.done(tag)
        self.send(tag + b" OK IDLE terminated\r\n")

    async def done(self, tag):
        self.one_by_one += 1  # the client may take its time
        line = await Until(b"\r\n", limit=64, timeout=1740)
        if line.upper() != b"DONE\r\n":
            self.send(tag + b" BAD DONE, please\r\n")
            raise Malformed("no DONE")


class EndingIdle(Idle):
    async def idle(self, tag):
        self.send(b"+ idling\r\n* 3 EXISTS\r\n")
        await self.done(tag)
        self.send(tag + b" OK IDLE terminated\r\n")


NUMBER = rb"(0|[1-9][0-9]{0,9})"
SET = re.compile(rb"set ([!-~]{1,32}) %b %b %b\r\n" % (NUMBER, NUMBER, NUMBER))
BY_KEY = re.compile(rb"(get|delete) ([!-~]{1,32})\r\n")


class Cache(StreamHandler):
    """memcached's text protocol: set, get, delete, version, quit. A connection has a cache of its own."""

    timeout = 60
    request_timeout = 60
    most, largest = 16, 512

    def setup(self):
        self.items = {}

    def handle(self):
        return Until(b"\r\n", limit=128), self.line

    def following(self):
        self.one_by_one += 1
        return self.handle()

    def line(self, data):
        if matched := SET.fullmatch(data):
            return self.set(matched[1], *map(int, matched.groups()[1:]))
        if matched := BY_KEY.fullmatch(data):
            verb, key = matched.groups()
            if verb == b"delete":
                self.send(b"NOT_FOUND\r\n" if self.items.pop(key, None) is None else b"DELETED\r\n")
            elif key in self.items:
                flags, value = self.items[key]
                self.send(b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (key, flags, len(value), value))
            else:
                self.send(b"END\r\n")
            return self.following()
        if data == b"version\r\n":
            self.send(b"VERSION 1.6.0\r\n")
            return self.following()
        if data == b"quit\r\n":
            return None
        raise Malformed("no such command")

    def set(self, key, flags, expires, size):
        if flags >= 1 << 32 or expires >= 1 << 31:
            raise Malformed("number too large")
        if size > self.largest:
            raise Malformed("object too large")
        self.item = key, flags
        return Exactly(size + 2), self.value

    def value(self, data):
        if not data.endswith(b"\r\n"):
            raise Malformed("bad data chunk")
        key, flags = self.item
        if key not in self.items and len(self.items) == self.most:
            del self.items[next(iter(self.items))]
        self.items[key] = flags, data[:-2]
        self.send(b"STORED\r\n")
        return self.following()

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"CLIENT_ERROR line too long\r\n")
        elif isinstance(cause, Malformed):
            self.send(b"CLIENT_ERROR %b\r\n" % str(cause).encode())
        elif isinstance(cause, TimedOut):
            self.send(b"SERVER_ERROR timed out\r\n")
        return self.following()


class EndingCache(Cache):
    def interrupted(self, cause):
        super().interrupted(cause)
        return


PAIRS = [
    # Fault: what is meant for TimedOut catches Cancelled and a malformed packet, and sends the block again.
    Pair(
        "tftp-download", 5, Download, PatientDownload,
        [
            bytes([0, RRQ]) + b"kernel\0octet\0",
            bytes([0, ACK, 0, 1]),
            bytes([0, ACK, 0, 2]),
            bytes([0, ACK, 0, 3]),
        ],
        {},
    ),
    # Fault: suppress(Exception) around the wait of IDLE swallows an end, a limit, a cancellation and another line.
    Pair(
        "imap-done", 5, Idle, EndingIdle,
        [
            b"a1 NOOP\r\n",
            b"a2 LOGIN ada lovelace\r\n",
            b"a3 STATUS INBOX\r\n",
            b"a4 IDLE\r\n",
            b"DONE\r\n",
            b"a5 LOGOUT\r\n",
        ],
        {},
    ),
    # Fault: interrupted() goes on with the next command, whatever the cause.
    Pair(
        "memcached-causes", 5, Cache, EndingCache,
        [
            b"version\r\n",
            b"set greeting 5 0 5\r\nhello\r\n",
            b"get greeting\r\n",
            b"delete greeting\r\n",
            b"get greeting\r\n",
            b"quit\r\n",
        ],
        {"kept": 12_000},
    ),
]  # fmt: skip
