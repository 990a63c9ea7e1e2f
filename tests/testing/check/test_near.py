"""Right handlers that come near to what a property of `check` accuses are not accused."""

from urllib.parse import unquote_to_bytes

import pytest

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from reactor.testing import (
    answers_duplicates_once,
    bears_any_number,
    same_at_its_limits,
    splits_no_answer,
    stays_in_bounds_when_repeated,
    takes_exact_ends_only,
    takes_names_in_any_case,
    takes_true_lengths_only,
    works_linearly,
)


class Padded(StreamHandler):
    """Answers the data of a record, behind which up to 255 bytes of padding may stand."""

    async def handle(self):
        while True:
            record = await Exactly(int.from_bytes(await Exactly(2), "big"), limit=1 << 16)
            if len(record) < 2 or 2 + int.from_bytes(record[:2], "big") > len(record):
                return
            self.send(record[2 : 2 + int.from_bytes(record[:2], "big")])


class Points(StreamHandler):
    """Answers the byte at an offset of a record."""

    async def handle(self):
        while True:
            record = await Exactly((await Exactly(1))[0] + 1)
            self.send(record[record[0] :][:1])


class Reserved(StreamHandler):
    """Skips two bytes behind each name, which are reserved."""

    async def handle(self):
        while True:
            data = await Exactly((await Exactly(1))[0] + 2)
            self.send(data[:-2] + b";")


class Varints(StreamHandler):
    """Adds up numbers of any number of bytes, modulo 2 ** 32."""

    async def handle(self):
        total = shift = 0
        while True:
            byte = (await Exactly(1))[0]
            total = total + ((byte & 127) << shift) & 0xFFFFFFFF
            shift = min(shift + 7, 35) if byte & 128 else 0
            if not byte & 128:
                self.send(total.to_bytes(4, "big"))


class Digits(StreamHandler):
    """Refuses what is no number of up to three digits, and ends without an answer if more than 500 bytes follow."""

    async def handle(self):
        while True:
            digits = (await Until(b":", limit=8))[:-1]
            if not digits.isdigit() or len(digits) > 3:
                self.send(b"bad length\n")
                return
            self.send(await Exactly(int(digits), limit=500) + b"\n")


class Counter(DatagramHandler):
    """Packets of several kinds, which have numbers: 1 counts up, 2 counts down, 3 tells the count."""

    async def handle(self):
        count = 0
        while True:
            packet = await Packet()
            if packet[:1] not in (b"\1", b"\2", b"\3"):
                continue
            count += {1: 1, 2: -1}.get(packet[0], 0)
            self.send(packet[:1] + count.to_bytes(4, "big", signed=True))


class Blocks(DatagramHandler):
    """Acknowledges blocks with their numbers, and each again that comes twice."""

    async def handle(self):
        expected = 0
        while True:
            packet = await Packet()
            if packet[:1] and packet[0] <= expected:
                expected = max(expected, packet[0] + 1)
                self.send(packet[:1])


class Mirror(StreamHandler):
    """Answers each request with its head as the body, and with its path in plain text."""

    async def handle(self):
        while True:
            head = await Until(b"\r\n\r\n", limit=2048)
            body = head + unquote_to_bytes(head.split(b" ")[1])
            self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class Blob(StreamHandler):
    """Answers each message of any kind when all its bytes are here: many small ones may follow a large one."""

    async def handle(self):
        while True:
            size = int.from_bytes(await Exactly(2), "big")
            if size > 1000:
                return
            self.send(len(await Exactly(size)).to_bytes(2, "big"))


GET = b"GET /%7Eann HTTP/1.1\r\nHost: a.example\r\nX-Trace: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("holds", "kind", "conversation"),
    [
        (takes_true_lengths_only, Padded, b"\0\x17\0\5hello" + bytes(16) + b"\0\x0d\0\3abc" + bytes(8)),
        (bears_any_number, Points, b"\5\3hello\3\1abc"),
        (takes_exact_ends_only, Reserved, b"\5hello\0\0\3ab\xff\0\0"),
        (stays_in_bounds_when_repeated, Varints, b"\x05\x96\x01"),
        (same_at_its_limits, Digits, b"5:hello"),
        (answers_duplicates_once, Counter, [b"\1", b"\2", b"\3"]),
        (answers_duplicates_once, Blocks, [b"\0one", b"\1two", b"\2three"]),
        (splits_no_answer, Mirror, GET * 2),
        (takes_names_in_any_case, Mirror, GET * 2),
    ],
)
def test_a_right_handler_is_not_accused(holds, kind, conversation):
    holds(kind, conversation)


@pytest.mark.slow
def test_work_that_begins_after_some_hundred_bytes_is_not_accused():
    for _ in range(6):  # each time with other floods
        works_linearly(Blob, b"\1\x2c" + bytes(300))
