"""Handlers that parse what may be nested: Subversion's protocol, a mining pool, the distributed hash table."""

from __future__ import annotations

import json
import re

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until, UntilAny
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handlers import Step

SVN_TOKEN = UntilAny(b" ", b"\n", b":", limit=64)
SVN_MESSAGE = 4_096  # bytes
SVN_DEPTH = 12
SVN_NUMBER = re.compile(rb"[0-9]{1,9}")
SVN_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9-]*")
SVN_URL = b"svn://svn.example.org/project"
SVN_UUID = b"13f79535-47bb-0310-9956-ffa450edef68"
SVN_PATHS = {b"": b"dir", b"trunk": b"dir", b"trunk/README": b"file"}
SVN_HELLO = b"( success ( 2 2 ( ANONYMOUS ) ( edit-pipeline svndiff1 ) ) ) "
SVN_AUTH = b"( success ( ( ANONYMOUS ) 7:project ) ) "
SVN_NO_AUTH = b"( success ( ( ) 0: ) ) "


def svn_string(text: bytes) -> bytes:
    """``text`` as a string of the protocol."""
    return b"%d:%b " % (len(text), text)


class Subversion(StreamHandler):
    """A repository with one revision: a part of Subversion's protocol (libsvn_ra_svn/protocol)."""

    timeout = 60
    request_timeout = 60

    async def handle(self) -> None:
        self.send(SVN_HELLO)
        match await self.message():
            case [2, [*_], bytes(url), *_] if url.startswith(SVN_URL):
                self.send(SVN_AUTH)
            case _:
                raise Malformed("no client of version 2 for this repository")
        match await self.message():
            case ["ANONYMOUS", [*_]]:
                self.send(b"( success ( ) ) ( success ( %b%b( ) ) ) " % (svn_string(SVN_UUID), svn_string(SVN_URL)))
            case _:
                raise Malformed("no mechanism that was offered")
        self.opened()
        while True:
            self.one_by_one += 1
            self.send(self.answer(await self.message()))

    def answer(self, command: list[Any]) -> bytes:
        """The answer to a command."""
        match command:
            case ["get-latest-rev", []]:
                return SVN_NO_AUTH + b"( success ( 1 ) ) "
            case ["check-path", [bytes(path), []]] | ["check-path", [bytes(path), [1]]]:
                return SVN_NO_AUTH + b"( success ( %b ) ) " % SVN_PATHS.get(path, b"none")
            case ["reparent", [bytes(url)]] if url.startswith(SVN_URL):
                return SVN_NO_AUTH + b"( success ( ) ) "
        return b"( failure ( ( 210001 %b0: 0 ) ) ) " % svn_string(b"Unknown or malformed command")

    async def message(self) -> list[Any]:
        """The next list of the client."""
        self.left = SVN_MESSAGE
        if await self.token() != b"(":
            raise Malformed("no list")
        return await self.elements(1)

    async def elements(self, depth: int) -> list[Any]:
        """The items of a list whose parenthesis has come."""
        found: list[Any] = []
        while (token := await self.token()) != b")":
            found.append(await self.item(token, depth))
        return found

    async def item(self, token: bytes, depth: int) -> Any:
        """The item that begins with ``token``, in a list of this depth."""
        if token == b"(":
            return await self.elements(depth + 1)
        if token.endswith(b":"):
            return await self.string(token[:-1])
        if SVN_NUMBER.fullmatch(token):
            return int(token)
        if SVN_WORD.fullmatch(token):
            return token.decode("ascii")
        raise Malformed("no item")

    async def string(self, digits: bytes) -> bytes:
        """The string of that length, and the space behind it."""
        if SVN_NUMBER.fullmatch(digits) is None:
            raise Malformed("no length of a string")
        self.take(int(digits) + 1)
        data = await Exactly(int(digits) + 1)
        if data[-1:] not in (b" ", b"\n"):
            raise Malformed("no space behind a string")
        return data[:-1]

    async def token(self) -> bytes:
        """What comes up to a space, or up to the colon of a string, with it."""
        while True:
            token = await SVN_TOKEN
            self.take(len(token))
            if token not in (b" ", b"\n"):
                return token if token.endswith(b":") else token[:-1]

    def take(self, count: int) -> None:
        """Count the bytes of the message."""
        self.left -= count
        if self.left < 0:
            raise Malformed("a message that is too long")


class SubversionRight(Subversion):
    """A repository with one revision: a part of Subversion's protocol (libsvn_ra_svn/protocol)."""

    async def elements(self, depth: int) -> list[Any]:
        if depth > SVN_DEPTH:
            raise Malformed("lists within too many lists")
        return await super().elements(depth)


STRATUM_LINE = Until(b"\n", limit=16_384)
STRATUM_DEPTH = 8
STRATUM_ID = 1 << 53
STRATUM_WORKER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
STRATUM_HEX = re.compile(r"[0-9a-f]{8}")
STRATUM_JOB = re.compile(r"[0-9a-f]{1,16}")


class MiningPool(StreamHandler):
    """A mining pool that takes each share: a part of Stratum, version 1 (JSON, a line for each message)."""

    timeout = 600

    def setup(self) -> None:
        self.worker = ""
        self.is_subscribed = False

    def handle(self) -> Step:
        return STRATUM_LINE, self.line

    def line(self, line: bytes) -> Step:
        try:
            request = self.parse(line.decode())
        except ValueError:
            raise Malformed("no JSON") from None
        if not isinstance(request, dict):
            raise Malformed("no request")
        number, params = request.get("id"), request.get("params")
        if type(number) is not int or not 0 <= number < STRATUM_ID or not isinstance(params, list):
            raise Malformed("no request")
        result, error = self.call(request.get("method"), params)
        answer = json.dumps({"id": number, "result": result, "error": error}, separators=(",", ":"))
        self.send(answer.encode() + b"\n")
        return self.handle()

    def parse(self, text: str) -> Any:
        """The value of a line. Raises `ValueError`."""
        return json.loads(text)

    def call(self, method: Any, params: list[Any]) -> tuple[Any, Any]:
        """The result and the error of a method."""
        if method == "mining.subscribe":
            self.is_subscribed = True
            return [[["mining.set_difficulty", "1"], ["mining.notify", "ae6812eb"]], "08000002", 4], None
        if method == "mining.authorize":
            worker = params[0] if params else None
            if not isinstance(worker, str) or STRATUM_WORKER.fullmatch(worker) is None:
                return None, [20, "Other/Unknown", None]
            self.worker = worker
            return True, None
        if method != "mining.submit":
            return None, [-3, "Method not found", None]
        if not self.is_subscribed:
            return None, [25, "Not subscribed", None]
        if len(params) != 5 or not all(isinstance(param, str) for param in params):
            return None, [20, "Other/Unknown", None]
        if not self.worker or params[0] != self.worker:
            return None, [24, "Unauthorized worker", None]
        if STRATUM_JOB.fullmatch(params[1]) is None or not all(map(STRATUM_HEX.fullmatch, params[2:])):
            return None, [20, "Other/Unknown", None]
        return True, None


class MiningPoolRight(MiningPool):
    """A mining pool that takes each share: a part of Stratum, version 1 (JSON, a line for each message)."""

    def parse(self, text: str) -> Any:
        depth, in_string, is_escaped = 0, False, False
        for character in text:
            if in_string:
                in_string = is_escaped or character != '"'
                is_escaped = character == "\\" and not is_escaped
            elif character == '"':
                in_string = True
            elif character in "[{":
                depth += 1
                if depth > STRATUM_DEPTH:
                    raise ValueError("nested too deep")
            elif character in "]}":
                depth -= 1
        return json.loads(text)


KRPC_PACKET = Packet()
KRPC_LENGTH = 2_048
KRPC_DEPTH = 6
BENCODED_NUMBER = re.compile(rb"i(0|-?[1-9][0-9]{0,18})e")
BENCODED_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,3}):")
KRPC_ID = b"mnopqrstuvwxyz123456"
KRPC_NODES = b"abcdefghij0123456789\xc0\x00\x02\x0a\x1a\xe1"  # the compact form of one node


def bencoded(text: bytes) -> bytes:
    """``text`` as a string of bencoding."""
    return b"%d:%b" % (len(text), text)


class HashTable(DatagramHandler):
    """A node of BitTorrent's distributed hash table: ping and find_node of KRPC (BEP 5)."""

    timeout = 10

    async def handle(self) -> None:
        packet = await KRPC_PACKET
        if len(packet) > KRPC_LENGTH:
            raise Malformed("a packet that is too long")
        message, end = self.value(packet, 0, 0)
        if end != len(packet) or not isinstance(message, dict):
            raise Malformed("no message")
        transaction = message.get(b"t")
        if message.get(b"y") != b"q" or not isinstance(transaction, bytes) or not 0 < len(transaction) <= 16:
            return
        self.send(self.answer(message.get(b"q"), message.get(b"a"), bencoded(transaction)))

    def answer(self, query: Any, arguments: Any, transaction: bytes) -> bytes:
        """The answer to a query."""
        if query not in (b"ping", b"find_node"):
            return b"d1:eli204e14:Method Unknowne1:t%b1:y1:ee" % transaction
        needed = (b"id",) if query == b"ping" else (b"id", b"target")
        if not isinstance(arguments, dict) or not all(self.is_id(arguments.get(name)) for name in needed):
            return b"d1:eli203e14:Protocol Errore1:t%b1:y1:ee" % transaction
        nodes = b"" if query == b"ping" else b"5:nodes" + bencoded(KRPC_NODES)
        return b"d1:rd2:id%b%be1:t%b1:y1:re" % (bencoded(KRPC_ID), nodes, transaction)

    def is_id(self, value: Any) -> bool:
        """Whether ``value`` is the identifier of a node."""
        return isinstance(value, bytes) and len(value) == 20

    def value(self, data: bytes, at: int, depth: int) -> tuple[Any, int]:
        """The bencoded value that begins at ``at``, within so many others, and its end."""
        kind = data[at : at + 1]
        if kind == b"l":
            items = []
            at += 1
            while data[at : at + 1] != b"e":
                item, at = self.value(data, at, depth + 1)
                items.append(item)
            return items, at + 1
        if kind == b"d":
            return self.dictionary(data, at + 1, depth)
        if number := BENCODED_NUMBER.match(data, at):
            return int(number[1]), number.end()
        length = BENCODED_LENGTH.match(data, at)
        if length is None or length.end() + int(length[1]) > len(data):
            raise Malformed("no bencoded value")
        end = length.end() + int(length[1])
        return data[length.end() : end], end

    def dictionary(self, data: bytes, at: int, depth: int) -> tuple[dict[bytes, Any], int]:
        """The dictionary whose first key begins at ``at``, and its end."""
        found: dict[bytes, Any] = {}
        last = None
        while data[at : at + 1] != b"e":
            key, at = self.value(data, at, depth + 1)
            if not isinstance(key, bytes) or (last is not None and key <= last):
                raise Malformed("no key of a dictionary")
            found[key], at = self.value(data, at, depth + 1)
            last = key
        return found, at + 1


class HashTableRight(HashTable):
    """A node of BitTorrent's distributed hash table: ping and find_node of KRPC (BEP 5)."""

    def value(self, data: bytes, at: int, depth: int) -> tuple[Any, int]:
        if depth > KRPC_DEPTH:
            raise Malformed("values within too many values")
        return super().value(data, at, depth)


PAIRS = [
    Pair(
        "svn", 4, Subversion, SubversionRight,
        [
            (b"( 2 ( edit-pipeline svndiff1 absent-entries depth mergeinfo ) 29:svn://svn.example.org/project "
            b"28:SVN/1.14.2 (x86_64-linux-gnu ( ) ) "),
            b"( ANONYMOUS ( 0: ) ) ",
            b"( get-latest-rev ( ) ) ",
            b"( check-path ( 5:trunk ( 1 ) ) ) ",
            b"( reparent ( 35:svn://svn.example.org/project/trunk ) ) ",
            b"( check-path ( 12:trunk/README ( ) ) ) ",
            b"( check-path ( 8:branches ( 1 ) ) ) ",
        ],
    ),
    Pair(
        "stratum-pool", 4, MiningPool, MiningPoolRight,
        [
            b'{"id":1,"method":"mining.subscribe","params":["cgminer/4.10.0"]}\n',
            b'{"id":2,"method":"mining.authorize","params":["ada.rig1","x"]}\n',
            b'{"id":3,"method":"mining.submit","params":["ada.rig1","bf","00000001","504e86ed","b2957c02"]}\n',
            b'{"id":4,"method":"mining.submit","params":["ada.rig1","c0","00000002","504e86f5","1f0a33e8"]}\n',
        ],
    ),
    Pair(
        "krpc", 4, HashTable, HashTableRight,
        [
            b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:ab1:y1:qe",
            b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:ac1:v4:UT\x3a\x7f1:y1:qe",
        ],
    ),
]  # fmt: skip
