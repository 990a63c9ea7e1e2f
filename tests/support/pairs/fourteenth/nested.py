"""Recursion as deep as the message."""

import json
import re

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

INTEGER = re.compile(rb"(0|-?[1-9][0-9]{0,17})e")
LENGTH = re.compile(rb"(0|[1-9][0-9]{0,4}):")


class Bencoded:
    """The value of a bencoded text, which has bytes, integers, lists, and dictionaries with sorted keys."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def whole(self):
        value = self.value()
        if self.at != len(self.text):
            raise Malformed("more than a value")
        return value

    def value(self):
        mark = self.text[self.at : self.at + 1]
        if mark == b"i":
            self.at += 1
            return int(self.matched(INTEGER)[1])
        if mark in (b"l", b"d"):
            self.at += 1
            items = self.items()
            return items if mark == b"l" else self.dictionary(items)
        end = int(self.matched(LENGTH)[1]) + self.at
        if end > len(self.text):
            raise Malformed("a long string")
        start, self.at = self.at, end
        return self.text[start:end]

    def items(self):
        items = []
        while self.text[self.at : self.at + 1] != b"e":
            items.append(self.value())
        self.at += 1
        return items

    def matched(self, pattern):
        matched = pattern.match(self.text, self.at)
        if matched is None:
            raise Malformed("no value")
        self.at = matched.end()
        return matched

    def dictionary(self, items):
        names = items[::2]
        if len(items) % 2 or not all(isinstance(name, bytes) for name in names) or sorted(set(names)) != names:
            raise Malformed("no dictionary")
        return dict(zip(names, items[1::2], strict=True))


class ShallowBencoded(Bencoded):
    depth = 0

    def items(self):
        self.depth += 1
        if self.depth > 8:
            raise Malformed("too deep")
        items = super().items()
        self.depth -= 1
        return items


class Node(DatagramHandler):
    """A node of the distributed hash table of BitTorrent (KRPC, BEP 5), which knows one other node and no peers."""

    timeout = 30
    request_timeout = 30
    decoder = Bencoded
    identity = b"mnopqrstuvwxyz123456"
    known = b"abcdefghij0123456789\x7f\0\0\x01\x1a\xe1"

    async def handle(self):
        while True:
            self.one_by_one += 1
            packet = await Packet()
            query = self.decoder(packet).whole()
            if not isinstance(query, dict) or query.get(b"y") != b"q":
                raise Malformed("no query")
            number, method, named = query.get(b"t"), query.get(b"q"), query.get(b"a")
            if not isinstance(number, bytes) or not 1 <= len(number) <= 8 or not isinstance(method, bytes):
                raise Malformed("no query")
            if not self.is_complete(method, named):
                self.send(b"d1:eli203e14:Protocol Errore1:t%d:%b1:y1:ee" % (len(number), number))
                return
            self.send(self.answer(number, method))

    def is_complete(self, method, named):
        needed = {b"find_node": [b"id", b"target"], b"get_peers": [b"id", b"info_hash"]}.get(method, [b"id"])
        found = [named.get(name) for name in needed] if isinstance(named, dict) else [None]
        return all(isinstance(value, bytes) and len(value) == 20 for value in found)

    def answer(self, number, method):
        found = b""
        if method == b"find_node":
            found = b"5:nodes26:" + self.known
        elif method == b"get_peers":
            found = b"5:nodes26:%b5:token8:aoeusnth" % self.known
        elif method != b"ping":
            return b"d1:eli204e14:Method Unknowne1:t%d:%b1:y1:ee" % (len(number), number)
        return b"d1:rd2:id20:%b%be1:t%d:%b1:y1:re" % (self.identity, found, len(number), number)


class RightNode(Node):
    decoder = ShallowBencoded


SIZE = re.compile(rb"0|[1-9][0-9]{0,4}")
WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")
WORD = re.compile(r"\w+", re.ASCII)


def _whole(text):
    if WHOLE.fullmatch(text) is None:
        raise ValueError("no whole number")
    return int(text)


def _refused(text):
    raise ValueError(text)


def _object(members):
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name twice")
    return found


class Language(StreamHandler):
    """A language server: JSON-RPC after heads with a length. It keeps four open documents and tells their words."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.documents, self.is_shut = {}, False

    async def handle(self):
        while True:
            self.one_by_one += 1
            head = await Until(b"\r\n\r\n", limit=256)
            found = fields(head[:-4].split(b"\r\n"))
            size = found.get(b"content-length", b"")
            if SIZE.fullmatch(size) is None or int(size) > 16_384 or b"transfer-encoding" in found:
                raise Malformed("length")
            body = await Exactly(int(size))
            try:
                message = self.parse(body.decode())
            except ValueError:
                self.error(None, -32700, "Parse error")
                return
            if not self.is_message(message):
                self.error(None, -32600, "Invalid Request")
                return
            if message["method"] == "exit":
                return
            self.dispatch(message)

    def parse(self, text):
        return json.loads(
            text, object_pairs_hook=_object, parse_int=_whole, parse_float=_refused, parse_constant=_refused
        )

    def is_message(self, message):
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return False
        number, params = message.get("id", 0), message.get("params", {})
        return type(number) is int and isinstance(params, dict) and isinstance(message.get("method"), str)

    def dispatch(self, message):
        method, params, number = message["method"], message.get("params", {}), message.get("id")
        document = params.get("textDocument")
        uri = document.get("uri") if isinstance(document, dict) else None
        if number is None:
            if method == "textDocument/didOpen" and isinstance(uri, str) and isinstance(document.get("text"), str):
                if len(uri) <= 256 and len(document["text"]) <= 2048 and len(self.documents | {uri: 0}) <= 4:
                    self.documents[uri] = document["text"]
            elif method == "textDocument/didClose" and isinstance(uri, str):
                self.documents.pop(uri, None)
        elif method == "initialize":
            self.result(number, {"capabilities": {"hoverProvider": True}})
        elif method == "shutdown":
            self.is_shut = True
            self.result(number, None)
        elif self.is_shut or method != "textDocument/hover":
            self.error(number, -32601, "Method not found")
        else:
            self.result(number, self.word(self.documents.get(uri, ""), params.get("position")))

    def word(self, text, position):
        lines = text.split("\n")
        place = position if isinstance(position, dict) else {}
        line, character = place.get("line"), place.get("character")
        if type(line) is int and type(character) is int and line < len(lines):
            for matched in WORD.finditer(lines[line]):
                if matched.start() <= character < matched.end():
                    return {"contents": matched[0]}
        return None

    def result(self, number, value):
        self.put({"jsonrpc": "2.0", "id": number, "result": value})

    def error(self, number, code, text):
        self.put({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}})

    def put(self, message):
        body = json.dumps(message).encode()
        self.send(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))


class RightLanguage(Language):
    def parse(self, text):
        depth, in_string, escaped = 0, False, False
        for sign in text:
            if escaped:
                escaped = False
            elif in_string:
                in_string, escaped = sign != '"', sign == "\\"
            elif sign == '"':
                in_string = True
            elif sign in "[{":
                depth += 1
                if depth > 16:
                    raise ValueError("too deep")
            elif sign in "]}":
                depth -= 1
        return super().parse(text)


ZONE = {
    (b"www", b"example", b"org"): b"\xc0\0\x02\x01",
    (b"mail", b"example", b"org"): b"\xc0\0\x02\x19",
}
A, ANY, IN = 1, 255, 1


class Names(StreamHandler):
    """DNS over TCP: the addresses of a small zone."""

    timeout = 30
    request_timeout = 30

    def handle(self):
        self.one_by_one += 1
        return Exactly(2), self.length

    def length(self, data):
        length = int.from_bytes(data, "big")
        if not 12 <= length <= 4096:
            raise Malformed("length")
        return Exactly(length), self.message

    def message(self, data):
        flags = int.from_bytes(data[2:4], "big")
        if flags & 0x8000:
            raise Malformed("no query")
        opcode = flags & 0x7800
        try:
            counts = [int.from_bytes(data[at : at + 2], "big") for at in (4, 6, 8, 10)]
            if counts[:3] != [1, 0, 0] or counts[3] > 4:
                raise Malformed("counts")
            labels, end = self.name(data, 12)
            kind, group = (int.from_bytes(data[at : at + 2], "big") for at in (end, end + 2))
            at = question_end = end + 4
            for _ in range(counts[3]):
                at = self.record(data, at)
            if at != len(data):
                raise Malformed("end")
        except Malformed:
            self.put(data[:2] + (flags & 0x7900 | 0x8001).to_bytes(2, "big") + bytes(8))
            return None
        name = tuple(label.lower() for label in labels)
        address = ZONE.get(name) if (group, opcode) == (IN, 0) and kind in (A, ANY) else None
        code = 4 if opcode else 0 if name in ZONE else 3
        head = data[:2] + (flags & 0x7900 | 0x8400 | code).to_bytes(2, "big") + b"\0\x01"
        if address is None:
            self.put(head + bytes(6) + self.encoded(labels) + data[question_end - 4 : question_end])
        else:
            answer = b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04" + address
            question = self.encoded(labels) + data[question_end - 4 : question_end]
            self.put(head + b"\0\x01" + bytes(4) + question + answer)
        return self.handle()

    def record(self, data, at):
        """Where a record that begins at ``at`` ends."""
        _, at = self.name(data, at)
        if at + 10 > len(data):
            raise Malformed("record")
        end = at + 10 + int.from_bytes(data[at + 8 : at + 10], "big")
        if end > len(data):
            raise Malformed("record")
        return end

    def name(self, data, at):
        """The labels of the name at ``at``, and where it ends. A pointer points to what is before it."""
        labels, start = [], at
        while True:
            size = data[at] if at < len(data) else 0x40
            if size >= 0xC0 and at + 1 < len(data):
                target = (size & 0x3F) << 8 | data[at + 1]
                if not 12 <= target < start:
                    raise Malformed("pointer")
                labels += self.name(data, target)[0]
                at += 1
                break
            if size >= 0x40 or at + size + 1 > len(data):
                raise Malformed("label")
            if not size:
                break
            labels.append(data[at + 1 : at + 1 + size])
            at += 1 + size
        if sum(map(len, labels)) + len(labels) > 254:
            raise Malformed("a long name")
        return labels, at + 1

    def encoded(self, labels):
        return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"

    def put(self, message):
        self.send(len(message).to_bytes(2, "big") + message)


class RightNames(Names):
    def name(self, data, at):
        labels, start, end, size, pointers = [], at, None, 0, 0
        while True:
            length = data[at] if at < len(data) else 0x40
            if length >= 0xC0 and at + 1 < len(data):
                target = (length & 0x3F) << 8 | data[at + 1]
                pointers += 1
                if not 12 <= target < start or pointers > 16:
                    raise Malformed("pointer")
                end = end or at + 2
                at = start = target
                continue
            if length >= 0x40 or at + length + 1 > len(data):
                raise Malformed("label")
            if not length:
                return labels, end or at + 1
            labels.append(data[at + 1 : at + 1 + length])
            size += 1 + length
            if size > 254:
                raise Malformed("a long name")
            at += 1 + length


def _rpc(body):
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _dns(number, name, kind, *records):
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b".")) + b"\0"
    head = number + b"\x01\0\0\x01\0\0\0\0" + len(records).to_bytes(2, "big")
    message = head + labels + bytes([0, kind, 0, 1]) + b"".join(records)
    return len(message).to_bytes(2, "big") + message


PAIRS = [
    # Fault: the decoder calls itself for each list in a list.
    Pair(
        "krpc-node", 4, Node, RightNode,
        [
            b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:ab1:y1:qe",
            (
                b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee"
                b"1:q9:get_peers1:t2:ac1:v4:UT011:y1:qe"
            ),
            b"d1:ad2:id20:abcdefghij01234567894:porti6881ee1:q4:vote1:t2:ad1:y1:qe",
        ],
    ),
    # Fault: json.loads() recurses for each array in an array, and raises RecursionError, which is no ValueError.
    Pair(
        "language-server", 4, Language, RightLanguage,
        [
            _rpc(b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"processId": 4711, "trace": "off"}}'),
            _rpc(b'{"jsonrpc": "2.0", "method": "initialized", "params": {}}'),
            _rpc(
                b'{"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": {'
                b'"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "import sys\\nprint(sys)\\n"}}}'
            ),
            _rpc(
                b'{"jsonrpc": "2.0", "id": 2, "method": "textDocument/hover", "params": {"textDocument": '
                b'{"uri": "file:///a.py"}, "position": {"line": 1, "character": 7}}}'
            ),
            _rpc(
                b'{"jsonrpc": "2.0", "method": "textDocument/didClose", "params": {"textDocument": '
                b'{"uri": "file:///a.py"}}}'
            ),
            _rpc(b'{"jsonrpc": "2.0", "id": 3, "method": "shutdown"}'),
            _rpc(b'{"jsonrpc": "2.0", "method": "exit"}'),
        ],
        {"kept": 65_536},
    ),
    # Fault: a name that is a pointer is read by a call for what it points to, which may be a pointer.
    Pair(
        "dns-pointers", 4, Names, RightNames,
        [
            _dns(b"\x12\x34", b"www.example.org", 1),
            _dns(b"\x12\x35", b"mail.Example.ORG", 255, b"\0\0\x29\x10\0\0\0\0\0\0\0"),
            _dns(b"\x12\x36", b"www.example.org", 28),
            _dns(b"\x12\x37", b"nowhere.example.org", 1, b"\xc0\x0c\0\x19\0\xff\0\0\0\0\0\x04\0\0\x03\x08"),
        ],
    ),
]  # fmt: skip
