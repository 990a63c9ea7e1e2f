"""Pairs of the tenth set: an end, a silence and a farewell that are taken for something else."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from handlers import DatagramHandler, EndOfStream, Exactly, Packet, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step

END_OF_DATA, TERMINATE, HEARTBEAT, HEARTBEAT_ANSWER = -1, -4, -6, -7
RECORD = re.compile(rb"([1-9][0-9]{0,8}) ([1-9][0-9]{0,3}) 0")


def bnet(message: bytes | int) -> bytes:
    """A message of Bacula, or a signal, which is a negative size."""
    if isinstance(message, int):
        return message.to_bytes(4, "big", signed=True)
    return len(message).to_bytes(4, "big") + message


class Bacula(StreamHandler):
    """A storage daemon (the network protocol of Bacula): a file daemon opens a session and appends data.

    Each file is a head, with its number and the stream, the data, and the signal for the end of data. One more of
    that signal instead of a head is the end of all files.
    """

    timeout = 60.0
    request_timeout = 30.0

    async def message(self) -> bytes | int:
        self.one_by_one += 1
        size = int.from_bytes(await Exactly(4), "big", signed=True)
        if size > 65_536:
            raise Malformed("too long")
        return await Exactly(size) if size >= 0 else size

    async def handle(self) -> None:
        is_open = False
        while True:
            message = await self.message()
            if message == TERMINATE:
                return
            if message == HEARTBEAT:
                self.send(bnet(HEARTBEAT_ANSWER))
            elif isinstance(message, int):
                raise Malformed("no signal for this place")
            elif message == b"append open session\n" and not is_open:
                is_open = True
                self.send(bnet(b"3000 OK open ticket = 1\n"))
            elif message == b"append data 1\n" and is_open:
                self.send(bnet(b"3000 OK data\n"))
                count = await self.files()
                self.send(bnet(b"3000 OK append data, files=%d\n" % count))
            elif message == b"append end session 1\n" and is_open:
                self.send(bnet(b"3000 OK end\n"))
            elif message == b"append close session 1\n" and is_open:
                is_open = False
                self.send(bnet(b"3000 OK close Status = 84\n"))
            else:
                self.send(bnet(b"3999 Invalid command\n"))

    async def files(self) -> int:
        """Take the files up to the end of the data. Returns how many there were."""
        count = 0
        try:
            while await self.is_file(count + 1):
                count += 1
        except EndOfStream as end:
            if end.partial:
                raise
        return count

    async def is_file(self, number: int) -> bool:
        """Take a file; ``False``: there is none any more."""
        head = await self.message()
        if head == END_OF_DATA:
            return False
        found = RECORD.fullmatch(head) if isinstance(head, bytes) else None
        if found is None or int(found[1]) != number:
            raise Malformed("no head of a file")
        while (data := await self.message()) != END_OF_DATA:
            if isinstance(data, int):
                raise Malformed("no signal for this place")
        return True


class BaculaRight(Bacula):
    async def files(self) -> int:
        count = 0
        while await self.is_file(count + 1):
            count += 1
        return count


PCI, AUTHENTICATION, TERMINATION, NOTIFICATION = 1, 2, 3, 4
REQUEST, START, COMPLETE, PING = 0x8000, 0x4000, 0x2000, 0x0800
SESSION = 0x5C6D7E01


def avp(code: int, value: bytes) -> bytes:
    return struct.pack(">HHHH", code, 0, len(value), 0) + value + bytes(-len(value) % 4)


def pana(flags: int, kind: int, session: int, sequence: int, content: bytes = b"") -> bytes:
    return struct.pack(">HHHHII", 0, 16 + len(content), flags, kind, session, sequence) + content


class Pana(DatagramHandler):
    """An authentication agent (PANA, RFC 5191), which asks for no more than the identity of EAP (RFC 3748).

    It sends its requests again until there is an answer. A client whose identity is known may ping, and terminates.
    """

    timeout = 60.0
    most_sent: float = float("inf")

    async def handle(self) -> None:
        while await Packet() != pana(0, PCI, 0, 0):
            pass
        self.sequence = 0x1000
        if await self.exchange(START, b""):
            return
        identity = await self.exchange(0, avp(2, b"\x01\x07\x00\x05\x01"))
        if not re.fullmatch(rb"\x02\x07\x00[\x06-\x45]\x01[!-~]+", identity) or identity[3] != len(identity):
            return
        is_known = identity[5:] in (b"ada", b"grace")
        result = avp(7, bytes(3) + bytes([not is_known])) + avp(2, bytes([3 if is_known else 4, 7, 0, 4]))
        if await self.exchange(COMPLETE, result) or not is_known:
            return
        await self.serve()

    async def exchange(self, flags: int, content: bytes) -> bytes:
        """Send a request. Returns the EAP message of its answer, ``b""`` if it has none."""
        self.sequence += 1
        request = pana(REQUEST | flags, AUTHENTICATION, SESSION, self.sequence, content)
        self.send(request)
        sent, strays = 1, 0
        while strays < 64:
            try:
                packet = await Packet(timeout=2 * min(sent, 8))
            except TimedOut:
                if sent >= self.most_sent:
                    raise
                sent += 1
                self.send(request)
                continue
            size = min(int.from_bytes(packet[20:22], "big"), 1_024)
            payload = packet[24 : 24 + size]
            answer = avp(2, payload) if payload else b""
            if packet == pana(flags, AUTHENTICATION, SESSION, self.sequence, answer):
                return payload
            strays += 1
        raise Malformed("no answer among many packets")

    async def serve(self) -> None:
        """Answer the requests of an open session; one that comes again gets its answer again."""
        last, answer = None, b""
        while True:
            packet = await Packet()
            sequence = int.from_bytes(packet[12:16], "big")
            is_ping = packet == pana(REQUEST | PING, NOTIFICATION, SESSION, sequence)
            is_end = packet == pana(REQUEST, TERMINATION, SESSION, sequence, avp(9, b"\x00\x00\x00\x01"))
            if not (is_ping or is_end):
                continue
            if last is None or sequence == (last + 1) & 0xFFFFFFFF:
                flags, kind = (PING, NOTIFICATION) if is_ping else (0, TERMINATION)
                last, answer = sequence, pana(flags, kind, SESSION, sequence)
                self.send(answer)
                if is_end:
                    return
            elif sequence == last:
                self.send(answer)


class PanaRight(Pana):
    most_sent = 4


BLOCK = re.compile(rb"\x02[0-9]{1,10}\r")
TEXT = re.compile(rb"[ -~]{0,240}\r")


def tap_block(pager: bytes, text: bytes) -> bytes:
    """A page with its checksum."""
    block = b"\x02%b\r%b\r\x03" % (pager, text)
    total = sum(block) & 0xFFF
    return block + bytes(0x30 + (total >> shift & 15) for shift in (8, 4, 0)) + b"\r"


class Tap(StreamHandler):
    """A paging terminal (TAP 1.8, also known as IXO): a login, pages with a checksum, and the end of the transaction.

    With that end the terminal says that the pages are sent, and disconnects.
    """

    timeout = 30.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.pages = self.wrong = 0

    def handle(self) -> Step:
        self.one_by_one += 1
        return Until(b"\r", limit=1), self.hello

    def hello(self, data: bytes) -> Step:
        self.send(b"ID=")
        return Until(b"\r", limit=16), self.login

    def login(self, data: bytes) -> Step:
        if data != b"\x1bPG1\r":
            raise Malformed("no automatic login")
        self.send(b"\x06\r\x1b[p\r")
        return self.next_block()

    def next_block(self) -> Step:
        self.one_by_one += 1
        return Until(b"\r", limit=16), self.pager

    def pager(self, data: bytes) -> Step:
        if data == b"\x04\r":
            return self.transacted()
        if not BLOCK.fullmatch(data):
            raise Malformed("no block")
        self.block = data
        return Until(b"\r", limit=256), self.text

    def text(self, data: bytes) -> Step:
        if not TEXT.fullmatch(data):
            raise Malformed("no text")
        self.block += data
        return Exactly(5), self.checksum

    def checksum(self, data: bytes) -> Step:
        block = self.block[1:].split(b"\r")
        if data == tap_block(block[0], block[1])[-5:]:
            self.pages += 1
            self.send(b"\x06\r")
        else:
            self.wrong += 1
            self.send(b"\x15\r" if self.wrong < 3 else b"\x1e\r")
        return self.next_block() if self.wrong < 3 else None

    def transacted(self) -> Step:
        return None

    def finish(self) -> None:
        if self.pages:
            self.send(b"211 Page(s) Sent Successfully\r")
        self.send(b"\x1b\x04\r")


class TapRight(Tap):
    def transacted(self) -> Step:
        Tap.finish(self)
        return None

    def finish(self) -> None:
        pass


PAIRS = [
    Pair(
        "bacula",
        5,
        Bacula,
        BaculaRight,
        [
            bnet(b"append open session\n"),
            bnet(b"append data 1\n"),
            bnet(b"1 1 0") + bnet(b"attributes of /etc/motd") + bnet(END_OF_DATA),
            bnet(b"2 2 0") + bnet(b"hello, ") + bnet(b"world\n") + bnet(END_OF_DATA),
            bnet(END_OF_DATA),
            bnet(b"append end session 1\n"),
            bnet(b"append close session 1\n"),
            bnet(TERMINATE),
        ],
    ),
    Pair(
        "pana",
        5,
        Pana,
        PanaRight,
        [
            pana(0, PCI, 0, 0),
            pana(START, AUTHENTICATION, SESSION, 0x1001),
            pana(0, AUTHENTICATION, SESSION, 0x1002, avp(2, b"\x02\x07\x00\x08\x01ada")),
            pana(COMPLETE, AUTHENTICATION, SESSION, 0x1003),
            pana(REQUEST | PING, NOTIFICATION, SESSION, 77),
            pana(REQUEST, TERMINATION, SESSION, 78, avp(9, b"\x00\x00\x00\x01")),
        ],
    ),
    Pair(
        "tap",
        5,
        Tap,
        TapRight,
        [b"\r", b"\x1bPG1\r", tap_block(b"5550123", b"CALL HOME"), tap_block(b"42", b"TEST"), b"\x04\r"],
    ),
]
