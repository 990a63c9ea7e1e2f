"""Pairs of handlers, broken and right: recursion, swallowed causes, effects of one read (kinds 4 to 6 of `kinds`)."""

import json
import re
import struct

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair

LINE = Until(b"\r\n", limit=512)

# 4: recursion as deep as the message


class DHT(DatagramHandler):
    """Answers the ping of a node of BitTorrent. Fault: lists in lists are decoded as deep as they are."""

    timeout = 5
    number = re.compile(rb"0|-?[1-9]\d{0,17}")

    async def handle(self):
        packet = await Packet()
        try:
            query, end = self.decode(packet, 0, 0)
        except ValueError:
            self.send(b"d1:eli203e8:protocole1:y1:ee")
            return
        name = query.get(b"t", b"") if isinstance(query, dict) else b""
        if end == len(packet) and isinstance(name, bytes) and len(name) == 2 and query.get(b"q") == b"ping":
            self.send(b"d1:rd2:id4:nodee1:t2:%b1:y1:re" % name)

    def decode(self, data, place, depth):
        """The value that begins at ``place``, and where it ends. Raises `ValueError`."""
        first = data[place : place + 1]
        if first == b"i":
            end = data.index(b"e", place, place + 21)
            return self.integer(data[place + 1 : end]), end + 1
        if first not in (b"l", b"d"):
            colon = data.index(b":", place, place + 6)
            end = colon + 1 + self.integer(data[place:colon])
            if not colon < end <= len(data):
                raise ValueError("a string is longer than the message")
            return data[colon + 1 : end], end
        items, place = [], place + 1
        while data[place : place + 1] != b"e":
            item, place = self.decode(data, place, depth + 1)
            items.append(item)
        if first == b"l":
            return items, place + 1
        if len(items) % 2 or not all(isinstance(key, bytes) for key in items[::2]):
            raise ValueError("no dictionary")
        return dict(zip(items[::2], items[1::2], strict=True)), place + 1

    def integer(self, digits):
        if not self.number.fullmatch(digits):
            raise ValueError("no number")
        return int(digits)


class DHTRight(DHT):
    def decode(self, data, place, depth):
        if depth > 16:
            raise ValueError("too deep")
        return super().decode(data, place, depth)


NOT, AND, PRESENT = 0xA2, 0xA0, 0x87


class LDAP(StreamHandler):
    """A directory of one entry that is searched with a filter (RFC 4511). Fault: "not" in "not", as deep as it is."""

    timeout = 30
    attributes = (b"cn", b"mail", b"objectClass")

    def handle(self):
        return Exactly(2), self.begin

    def begin(self, head):
        if head[0] != 0x30 or (head[1] > 0x7F and head[1] != 0x82):
            raise Malformed("no message")
        return (Exactly(2), self.size) if head[1] == 0x82 else (Exactly(head[1]), self.search)

    def size(self, data):
        return Exactly(int.from_bytes(data, "big")), self.search

    def search(self, data):
        found, end = self.matches(data, 0, len(data), 0)
        if end != len(data):
            raise Malformed("more than a filter")
        self.send(b"\x65\x03\x0a\x01" + bytes([0 if found else 32]))
        return self.handle()

    def matches(self, data, place, end, depth):
        """Whether the filter at ``place`` matches, and where it ends."""
        if end - place < 2 or (data[place + 1] == 0x82 and end - place < 4):
            raise Malformed("no filter")
        tag, size, begin = data[place], data[place + 1], place + 2
        if size == 0x82:
            size, begin = int.from_bytes(data[begin : begin + 2], "big"), begin + 2
        last = begin + size
        if last > end or (data[place + 1] > 0x7F and data[place + 1] != 0x82):
            raise Malformed("a filter is longer than the message")
        if tag == PRESENT:
            return data[begin:last] in self.attributes, last
        results = []
        while begin < last:
            result, begin = self.matches(data, begin, last, depth + 1)
            results.append(result)
        if tag not in (NOT, AND) or (tag == NOT and len(results) != 1):
            raise Malformed("no such filter")
        return not results[0] if tag == NOT else all(results), last


class LDAPRight(LDAP):
    def matches(self, data, place, end, depth):
        if depth > 32:
            raise Malformed("too deep")
        return super().matches(data, place, end, depth)


class Calls(StreamHandler):
    """JSON-RPC, a call a line; "count" counts its parameters. Fault: arrays in arrays are no ValueError."""

    timeout = 30
    mistakes = (ValueError,)

    def handle(self):
        return Until(b"\n", limit=16_384), self.call_line

    def call_line(self, line):
        try:
            call = json.loads(line.decode())
        except self.mistakes:
            self.answer(None, "error", {"code": -32700, "message": "Parse error"})
            return self.handle()
        name = call.get("id") if isinstance(call, dict) else None
        if not isinstance(name, (int, str)):
            self.answer(None, "error", {"code": -32600, "message": "Invalid Request"})
        elif call.get("method") != "count" or not isinstance(call.get("params"), list):
            self.answer(name, "error", {"code": -32601, "message": "Method not found"})
        else:
            self.answer(name, "result", len(call["params"]))
        return self.handle()

    def answer(self, name, kind, value):
        self.send(json.dumps({"jsonrpc": "2.0", kind: value, "id": name}).encode() + b"\n")


class CallsRight(Calls):
    mistakes = (ValueError, RecursionError)


# 5: a swallowed cause


class IRC(StreamHandler):
    """A server of IRC for one. Fault: after any cause, and not only after silence, it sends a PING and waits on."""

    timeout = 60

    def setup(self):
        self.silent = 0

    def handle(self):
        return LINE, self.message

    def message(self, line):
        self.silent = 0
        verb, _, rest = line[:-2].partition(b" ")
        if verb == b"QUIT":
            self.send(b"ERROR :Closing link\r\n")
            return None
        if verb == b"NICK" and re.fullmatch(rb"[A-Za-z]\w{0,15}", rest):
            self.send(b":irc.example 001 %b :Welcome\r\n" % rest)
        elif verb == b"PING" and re.fullmatch(rb"\w{1,32}", rest):
            self.send(b":irc.example PONG irc.example :%b\r\n" % rest)
        elif verb != b"PONG":
            self.send(b":irc.example 421 :Unknown command\r\n")
        return self.handle()

    def interrupted(self, cause):
        self.silent += 1
        if self.silent > 2:
            return None
        self.send(b"PING :irc.example\r\n")
        return self.handle()


class IRCRight(IRC):
    def interrupted(self, cause):
        return super().interrupted(cause) if isinstance(cause, TimedOut) else None


class STUN(DatagramHandler):
    """Answers binding requests (RFC 8489). Fault: what is meant for a short packet swallows the end of the wait too."""

    timeout = 5

    async def handle(self):
        while True:
            await self.take()

    async def take(self):
        try:
            self.answer(await Packet())
        except Exception:
            pass  # no message of STUN

    def answer(self, packet):
        kind, size, cookie, name = struct.unpack_from(">HHI12s", packet)
        if kind == 1 and size == len(packet) - 20 and cookie == 0x2112A442:
            self.send(struct.pack(">HHI12s", 0x0101, 8, cookie, name) + b"\x80\x22\x00\x04stun")


class STUNRight(STUN):
    async def take(self):
        packet = await Packet()
        try:
            self.answer(packet)
        except struct.error:
            pass  # no message of STUN


class NNTP(StreamHandler):
    """Takes articles of news. Fault: an article of which the end is missing is taken too."""

    timeout = 60

    async def handle(self):
        self.send(b"200 news.example ready\r\n")
        self.opened()
        while True:
            line = await LINE
            if line == b"QUIT\r\n":
                self.send(b"205 bye\r\n")
                return
            if line == b"POST\r\n":
                self.send(b"340 send it\r\n")
                self.send(b"240 an article of %d bytes\r\n" % await self.article())
            else:
                self.send(b"500 what?\r\n")

    async def article(self):
        size = 0
        try:
            while (line := await Until(b"\r\n", limit=1000)) != b".\r\n":
                size += len(line) - line.startswith(b".")
        except Exception:
            pass  # some clients leave out the dot
        return size


class NNTPRight(NNTP):
    async def article(self):
        size = 0
        while (line := await Until(b"\r\n", limit=1000)) != b".\r\n":
            size += len(line) - line.startswith(b".")
        return size


# 6: effects of one read


class Graphite(Buffered):
    """Metrics in lines, each with an answer. Fault: the limit of a line holds for all that one read has brought."""

    max_line = 256

    def take(self):
        if len(self.buffer) > self.max_line:
            self.send(b"line too long\n")
            return False
        for line in self.whole(b"\n"):
            self.metric(line)
        return True

    def metric(self, line):
        taken = re.fullmatch(rb"[a-z.]{1,100} -?\d{1,12}(\.\d{1,6})? \d{10}", line)
        self.send(b"ok\n" if taken else b"no metric\n")


class GraphiteRight(Graphite):
    def take(self):
        for line in self.whole(b"\n"):
            if len(line) >= self.max_line:
                break
            self.metric(line)
        else:
            if len(self.buffer) < self.max_line:
                return True
        self.send(b"line too long\n")
        return False


class STOMP(Buffered):
    """Frames of STOMP, with receipts. Fault: the error of a frame leaves before the receipts of those before it."""

    max_frame = 2048

    def take(self):
        frames = self.whole(b"\0")
        receipts, is_good = [], len(self.buffer) <= self.max_frame
        for frame in frames:
            receipt = re.match(rb"SEND\ndestination:/[a-z]+\nreceipt:(\w{1,16})\n\n", frame)
            if receipt is None or len(frame) > self.max_frame:
                is_good = False
                break
            receipts.append(b"RECEIPT\nreceipt-id:%b\n\n\0" % receipt[1])
        self.answer(receipts, is_good)
        return is_good

    def answer(self, receipts, is_good):
        if not is_good:
            self.send(b"ERROR\nmessage:malformed frame\n\n\0")
        self.send(b"".join(receipts))


class STOMPRight(STOMP):
    def answer(self, receipts, is_good):
        self.send(b"".join(receipts))
        if not is_good:
            self.send(b"ERROR\nmessage:malformed frame\n\n\0")


class Modbus(Buffered):
    """Registers over Modbus TCP. Fault: a frame of another protocol takes with it what one read has brought behind."""

    def take(self):
        while len(self.buffer) >= 7:
            number, protocol, size, unit = struct.unpack_from(">HHHB", self.buffer)
            if not 2 <= size <= 254:
                return False
            if len(self.buffer) < 6 + size:
                break
            request = bytes(self.buffer[7 : 6 + size])
            del self.buffer[: 6 + size]
            if protocol:
                self.skipped()
                continue
            answer = self.answer(request)
            self.send(struct.pack(">HHHB", number, 0, len(answer) + 1, unit) + answer)
        return True

    def skipped(self):
        self.buffer.clear()

    def answer(self, request):
        if request[0] != 3 or len(request) != 5:
            return bytes([request[0] | 0x80, 1])
        count = int.from_bytes(request[3:], "big")
        return bytes([3, 2 * count]) + b"\x00\x07" * count if 0 < count <= 125 else b"\x83\x03"


class ModbusRight(Modbus):
    def skipped(self):
        """Only the frame itself is dropped."""


PAIRS = [
    Pair("dht", 4, DHT, DHTRight, [
        b"d1:ad2:id4:abcde1:q4:ping1:t2:aa1:y1:qe", b"d1:ad2:id4:abcd4:listli1eli2eeee1:q4:ping1:t2:ab1:y1:qe",
        b"d1:q4:ping1:t2:ace",
    ]),
    Pair("ldap", 4, LDAP, LDAPRight, [
        b"\x30\x04\x87\x02cn", b"\x30\x08\xa2\x06\x87\x04mail", b"\x30\x0c\xa0\x0a\x87\x02cn\x87\x04mail",
        b"\x30\x82\x00\x06\x87\x04fail",
    ]),
    Pair("json-rpc", 4, Calls, CallsRight, [
        b'{"jsonrpc": "2.0", "method": "count", "params": [1, 2], "id": 1}\n',
        b'{"jsonrpc": "2.0", "method": "count", "params": [[], {"a": [3]}], "id": "b"}\n',
        b'{"jsonrpc": "2.0", "method": "sum", "params": [], "id": 3}\n',
    ]),
    Pair("irc", 5, IRC, IRCRight, [b"NICK ada\r\n", b"PING 17\r\n", b"PONG irc.example\r\n", b"QUIT\r\n"]),
    Pair("stun", 5, STUN, STUNRight, [
        b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl", b"\x00\x01\x00\x00\x21\x12\xa4\x42mnopqrstuvwx",
        b"\x00\x01\x00\x08\x21\x12\xa4\x42abcdefghijkl\x80\x22\x00\x04test",
    ]),
    Pair("nntp", 5, NNTP, NNTPRight, [
        b"POST\r\n", b"Subject: one\r\n\r\ntext\r\n..\r\n.\r\n", b"DATE\r\n", b"POST\r\n", b".\r\n", b"QUIT\r\n",
    ]),
    Pair("graphite", 6, Graphite, GraphiteRight, [
        b"host.load 0.25 1700000000\n", b"host.load 1 1700000060\n", b"host.load\n", b"host.load -2 1700000120\n",
    ]),
    Pair("stomp", 6, STOMP, STOMPRight, [
        b"SEND\ndestination:/a\nreceipt:1\n\nhello\0", b"SEND\ndestination:/b\nreceipt:2\n\n\0",
        b"SEND\ndestination:/a\nreceipt:three\n\nbye\0",
    ]),
    Pair("modbus", 6, Modbus, ModbusRight, [
        b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x02", b"\x00\x02\x00\x00\x00\x06\x01\x03\x00\x10\x00\x01",
        b"\x00\x03\x00\x00\x00\x02\x01\x2b", b"\x00\x04\x00\x00\x00\x06\x01\x03\x00\x00\x00\x05",
    ]),
]  # fmt: skip
