"""Quadratic work: requests of ZooKeeper, articles of NNTP, and blocks of SSDB."""

import re
import struct

from handlers import StreamHandler, Until
from tests.support.pairs.pair import ANY, Malformed, Pair

LARGEST = 0xFFFFF  # jute.maxbuffer
QUOTA = 1 << 20
NODE = re.compile(rb"/|(?:/[A-Za-z0-9._-]{1,64}){1,8}")
NO_NODE, NODE_EXISTS, NOT_EMPTY, BAD_VERSION, BAD_ARGUMENTS, MARSHALLING = -101, -110, -111, -103, -8, -5


class Fields:
    """The fields of a request, one after another."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if not 0 <= size <= len(self.data) - self.at:
            raise Malformed("a field is longer than its request")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self):
        return int.from_bytes(self.take(4), "big", signed=True)

    def string(self):
        return self.take(self.number())

    def end(self):
        if self.at != len(self.data):
            raise Malformed("a request is longer than its fields")


class Keeper(StreamHandler):
    """ZooKeeper for one client: a tree of nodes with data and versions."""

    timeout = 30
    request_timeout = 60
    most_nodes = 256

    def setup(self):
        self.one_by_one = self.zxid = self.held = 0
        self.buffer, self.pieces, self.has_rest = bytearray(), [], False
        self.nodes = {b"/": [b"", 0]}
        self.opened_session = False

    def handle(self):
        return ANY, self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        for request in self.requests(data):
            self.one_by_one += 1
            if not self.request(request):
                return None
        return ANY, self.more if self.has_rest else self.first

    def requests(self, data):
        """The requests that are whole, now that ``data`` has come."""
        self.buffer += data
        while (size := self.size_of(self.buffer)) is not None and len(self.buffer) >= 4 + size:
            request = bytes(self.buffer[4 : 4 + size])
            del self.buffer[: 4 + size]
            yield request
        self.has_rest = bool(self.buffer)

    def size_of(self, held):
        """The size of the request with which ``held`` begins; `None` if it has not come yet."""
        if len(held) < 4:
            return None
        size = int.from_bytes(held[:4], "big")
        if not 8 <= size <= LARGEST:
            raise Malformed("no request has that size")
        return size

    def reply(self, data):
        self.send(len(data).to_bytes(4, "big") + data)

    def request(self, request):
        """Answer a request. Whether more may follow."""
        fields = Fields(request)
        if not self.opened_session:
            _, _, timeout = struct.unpack(">iqi", fields.take(16))
            fields.take(8)
            if len(fields.string()) != 16 or request[fields.at :] not in (b"", b"\0", b"\1") or timeout < 1:
                raise Malformed("no request for a session")
            self.opened_session = True
            timeout = min(max(timeout, 4000), 40_000)
            self.reply(struct.pack(">iiqi16s?", 0, timeout, 0x1000, 16, bytes(16), False))
            return True
        xid, kind = fields.number(), fields.number()
        if kind == -11 or (kind == 11 and xid == -2):
            fields.end()
            error, body = 0, b""
        elif kind in (1, 2, 3, 4, 5):
            path = fields.string()
            call = (self.create, self.delete, self.exists, self.get_data, self.set_data)[kind - 1]
            error, body = call(path, fields)
        else:
            raise Malformed("no such request")
        self.reply(struct.pack(">iqi", xid, self.zxid, error) + (body if not error else b""))
        return kind != -11

    def stat(self, path):
        data, version = self.nodes[path]
        return struct.pack(">qqqqiiiqiiq", 1, self.zxid, 0, 0, version, 0, 0, 0, len(data), 0, 1)

    def create(self, path, fields):
        data = fields.string()
        for _ in range(self.count(fields)):  # the access control list is not kept
            fields.number()
            fields.string()
            fields.string()
        flags = fields.number()
        fields.end()
        if NODE.fullmatch(path) is None or flags:
            return BAD_ARGUMENTS, b""
        if path in self.nodes:
            return NODE_EXISTS, b""
        if (path.rpartition(b"/")[0] or b"/") not in self.nodes:
            return NO_NODE, b""
        if len(self.nodes) >= self.most_nodes or self.held + len(data) > QUOTA:
            return MARSHALLING, b""
        self.held += len(data)
        self.zxid += 1
        self.nodes[path] = [data, 0]
        return 0, len(path).to_bytes(4, "big") + path

    def count(self, fields):
        count = fields.number()
        if not 0 <= count <= 16:
            raise Malformed("no list")
        return count

    def delete(self, path, fields):
        version = fields.number()
        fields.end()
        if path not in self.nodes or path == b"/":
            return NO_NODE, b""
        if version not in (-1, self.nodes[path][1]):
            return BAD_VERSION, b""
        if any(node.startswith(path + b"/") for node in self.nodes):
            return NOT_EMPTY, b""
        self.held -= len(self.nodes.pop(path)[0])
        self.zxid += 1
        return 0, b""

    def watch(self, fields):
        if fields.take(1) != b"\0":
            raise Malformed("there are no watches here")
        fields.end()

    def exists(self, path, fields):
        self.watch(fields)
        return (0, self.stat(path)) if path in self.nodes else (NO_NODE, b"")

    def get_data(self, path, fields):
        self.watch(fields)
        if path not in self.nodes:
            return NO_NODE, b""
        data = self.nodes[path][0]
        return 0, len(data).to_bytes(4, "big") + data + self.stat(path)

    def set_data(self, path, fields):
        data, version = fields.string(), fields.number()
        fields.end()
        if path not in self.nodes:
            return NO_NODE, b""
        node = self.nodes[path]
        if version not in (-1, node[1]):
            return BAD_VERSION, b""
        if self.held + len(data) - len(node[0]) > QUOTA:
            return MARSHALLING, b""
        self.held += len(data) - len(node[0])
        self.zxid += 1
        node[:] = data, node[1] + 1
        return 0, self.stat(path)


class JoiningKeeper(Keeper):
    """ZooKeeper for one client, whose requests may come in pieces."""

    def requests(self, data):
        self.pieces.append(data)
        held, at = b"".join(self.pieces), 0
        while (size := self.size_of(held[at : at + 4])) is not None and len(held) >= at + 4 + size:
            yield held[at + 4 : at + 4 + size]
            at += 4 + size
        if at:
            self.pieces = [held[at:]]
        self.has_rest = at < len(held)


LINE = Until(b"\r\n", limit=512)
TEXT = Until(b"\r\n", limit=1000)
ARTICLE, HEAD = 1 << 20, 16_384
NUMBERED = re.compile(rb"(ARTICLE|HEAD|STAT) (?:([1-9][0-9]{0,3})|(<[!-;=?-~]{1,248}>))", re.IGNORECASE)
HEADER = re.compile(rb"([!-9;-~]+): ?([^\r\n]*)")


class News(StreamHandler):
    """NNTP: one group, to which one client posts."""

    timeout = 60
    request_timeout = 600
    most_articles = 100

    def setup(self):
        self.one_by_one = self.held = 0
        self.articles = []

    async def handle(self):
        self.send(b"200 news.example.org ready\r\n")
        while True:
            self.one_by_one += 1
            line = (await LINE)[:-2]
            command = line.upper()
            matched = NUMBERED.fullmatch(line)
            if command == b"POST":
                self.send(b"340 Send the article\r\n")
                self.post(await self.text())
            elif matched:
                self.show(*matched.groups())
            elif command == b"MODE READER":
                self.send(b"200 Posting allowed\r\n")
            elif command == b"GROUP LOCAL.TEST":
                count = len(self.articles)
                self.send(b"211 %d %d %d local.test\r\n" % (count, count and 1, count))
            elif command == b"QUIT":
                self.send(b"205 Bye\r\n")
                return
            else:
                self.send(b"500 Unknown command, closing\r\n")
                return

    def empty(self):
        return bytearray()

    async def text(self):
        """The lines up to that with a dot alone."""
        text = self.empty()
        while (line := await TEXT) != b".\r\n":
            if b"\0" in line or b"\n" in line[:-2] or b"\r" in line[:-2]:
                raise Malformed("no line of an article")
            text += line[1:] if line.startswith(b".") else line
            if len(text) > ARTICLE:
                raise Malformed("the article is too large")
        return text

    def post(self, text):
        head, blank, _ = bytes(text).partition(b"\r\n\r\n")
        names = {}
        if len(head) > HEAD:
            self.send(b"441 The header is too large\r\n")
            return
        for line in head.split(b"\r\n"):
            matched = HEADER.fullmatch(line)
            if matched is None or matched[1].lower() in names:
                self.send(b"441 Wrong header\r\n")
                return
            names[matched[1].lower()] = matched[2]
        identifier = names.get(b"message-id", b"")
        if not blank or names.get(b"newsgroups") != b"local.test" or not names.get(b"from"):
            self.send(b"441 Not for this server\r\n")
        elif re.fullmatch(rb"<[!-;=?-~]{1,248}>", identifier) is None:
            self.send(b"441 No Message-ID\r\n")
        elif any(identifier == known for known, _ in self.articles):
            self.send(b"441 Known already\r\n")
        elif len(self.articles) >= self.most_articles or self.held + len(text) > ARTICLE:
            self.send(b"441 No room\r\n")
        else:
            self.held += len(text)
            self.articles.append((identifier, bytes(text)))
            self.send(b"240 Article received\r\n")

    def show(self, command, number, identifier):
        found = 0
        if number is not None:
            found = int(number) if int(number) <= len(self.articles) else 0
        else:
            found = next((place for place, (known, _) in enumerate(self.articles, 1) if known == identifier), 0)
        if not found:
            self.send(b"423 No such number\r\n" if number is not None else b"430 No such article\r\n")
            return
        identifier, text = self.articles[found - 1]
        command = command.upper()
        code = {b"ARTICLE": 220, b"HEAD": 221, b"STAT": 223}[command]
        self.send(b"%d %d %b\r\n" % (code, found if number is not None else 0, identifier))
        if command == b"HEAD":
            text = text[: text.find(b"\r\n\r\n") + 2]
        if command != b"STAT":
            self.send((b"\r\n" + text).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")


class GrowingNews(News):
    """NNTP: one group, to which one client posts articles as they grow."""

    def empty(self):
        return b""


SIZE = re.compile(rb"0|[1-9][0-9]{0,4}")
REQUEST, MOST = 262_144, 8192
VALUE = 512


class Store(StreamHandler):
    """SSDB for one client: requests and answers are blocks, each with its length, and an empty line after the last."""

    timeout = 30
    request_timeout = 60
    most_keys = 1024

    def setup(self):
        self.one_by_one = 0
        self.buffer, self.blocks, self.at = bytearray(), [], 0
        self.store = {}

    def handle(self):
        return ANY, self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.buffer += data
        while (request := self.request()) is not None:
            self.one_by_one += 1
            if not self.answer(*request):
                return None
        return ANY, self.more if self.buffer else self.first

    def request(self):
        """The blocks of a request; `None` if it has not come as a whole."""
        is_whole, self.at = self.parse(self.blocks, self.at)
        if not is_whole:
            return None
        return self.take(self.blocks)

    def take(self, blocks):
        del self.buffer[: self.at]
        self.blocks, self.at = [], 0
        return blocks

    def parse(self, blocks, at):
        """Append to ``blocks`` those from ``at`` on. Whether they are all, and where the last of them ends."""
        while True:
            end = self.buffer.find(b"\n", at, at + 6)
            if end < 0:
                if len(self.buffer) >= at + 6:
                    raise Malformed("no length")
                return False, at
            if end == at and blocks:
                return True, at + 1
            digits = bytes(self.buffer[at:end])
            if SIZE.fullmatch(digits) is None or len(blocks) >= MOST:
                raise Malformed("no length, or too many blocks")
            begin, size = end + 1, int(digits)
            if begin + size >= REQUEST:
                raise Malformed("the request is too large")
            if len(self.buffer) <= begin + size:
                return False, at
            if self.buffer[begin + size] != 10:
                raise Malformed("a block has another length")
            blocks.append(bytes(self.buffer[begin : begin + size]))
            at = begin + size + 1

    def say(self, *blocks):
        self.send(b"".join(b"%d\n%b\n" % (len(block), block) for block in blocks) + b"\n")

    def answer(self, command, *blocks):
        """Answer a request. Whether more may follow."""
        if command == b"ping" and not blocks:
            self.say(b"ok")
        elif command == b"get" and len(blocks) == 1:
            found = self.store.get(blocks[0])
            self.say(*((b"not_found",) if found is None else (b"ok", found)))
        elif command == b"exists" and len(blocks) == 1:
            self.say(b"ok", b"%d" % (blocks[0] in self.store))
        elif (command == b"set" and len(blocks) == 2) or (command == b"multi_set" and blocks and len(blocks) % 2 == 0):
            self.set(command, blocks)
        elif command in (b"del", b"multi_del") and blocks and (len(blocks) == 1 or command == b"multi_del"):
            count = sum(self.store.pop(key, None) is not None for key in blocks)
            self.say(b"ok", b"%d" % count if command == b"multi_del" else b"1")
        elif command == b"multi_get" and blocks:
            keys = [key for key in dict.fromkeys(blocks) if key in self.store]
            self.say(b"ok", *(block for key in keys for block in (key, self.store[key])))
        else:
            self.say(b"client_error", b"wrong number of arguments or unknown command")
            return False
        return True

    def set(self, command, blocks):
        pairs = dict(zip(blocks[::2], blocks[1::2], strict=True))
        if any(len(key) > 200 or len(value) > VALUE for key, value in pairs.items()):
            self.say(b"error", b"a key or value is too long")
        elif len(self.store) + sum(key not in self.store for key in pairs) > self.most_keys:
            self.say(b"error", b"too many keys")
        else:
            self.store.update(pairs)
            self.say(b"ok", b"%d" % (len(pairs) if command == b"multi_set" else 1))


class PlainStore(Store):
    """SSDB for one client: a request is looked at when it has come."""

    def request(self):
        blocks = []
        is_whole, self.at = self.parse(blocks, 0)
        return self.take(blocks) if is_whole else None


def jute(*fields):
    data = b"".join(
        field.to_bytes(4, "big", signed=True) if isinstance(field, int) else len(field).to_bytes(4, "big") + field
        for field in fields
    )
    return len(data).to_bytes(4, "big") + data


def watched(xid, kind, path):
    return (13 + len(path)).to_bytes(4, "big") + jute(xid, kind, path)[4:] + b"\0"


def blocks(*all_of_them):
    return b"".join(b"%d\n%b\n" % (len(each), each) for each in all_of_them) + b"\n"


ZOOKEEPER = [
    jute(0, 0, 0, 30_000, 0, 0, bytes(16)),
    jute(1, 1, b"/app", b"", 1, 31, b"world", b"anyone", 0),
    jute(2, 1, b"/app/leader", b"host-1:7007", 1, 31, b"world", b"anyone", 0),
    watched(3, 4, b"/app/leader"),
    jute(4, 5, b"/app/leader", b"host-2:7007", 0),
    jute(-2, 11),
    watched(5, 3, b"/app/config"),
    jute(6, 2, b"/app", -1),
    jute(7, 2, b"/app/leader", 1),
    watched(8, 3, b"/app"),
    jute(9, -11),
]
POST = [
    b"MODE READER\r\n",
    b"GROUP local.test\r\n",
    (
        b"POST\r\nFrom: ada@example.org\r\nNewsgroups: local.test\r\nSubject: engines\r\n"
        b"Message-ID: <1@example.org>\r\n\r\nThey weave.\r\n..and they count.\r\n\r\nAda\r\n.\r\n"
    ),
    b"STAT 1\r\n",
    b"ARTICLE 1\r\n",
    b"HEAD <1@example.org>\r\n",
    b"POST\r\nFrom: ada@example.org\r\nNewsgroups: other.test\r\n\r\nLost?\r\n.\r\n",
    b"ARTICLE 2\r\n",
    b"group local.test\r\n",
    b"QUIT\r\n",
]
SSDB = [
    blocks(b"ping"),
    blocks(b"set", b"lamp", b"19.90"),
    blocks(b"get", b"lamp"),
    blocks(b"multi_set", b"desk", b"149.00", b"chair", b"a line\nand another"),
    blocks(b"multi_get", b"desk", b"sofa", b"chair"),
    blocks(b"exists", b"sofa"),
    blocks(b"del", b"lamp"),
    blocks(b"multi_del", b"lamp", b"desk"),
    blocks(b"get", b"lamp"),
]

PAIRS = [
    # Fault: all that has come of a request is joined at each read, to see whether it is whole.
    Pair("zookeeper-joined-request", 11, JoiningKeeper, Keeper, ZOOKEEPER, {"kept": 4 << 20}),
    # Fault: the article is `bytes`, so each line copies all lines before it.
    Pair("nntp-growing-article", 11, GrowingNews, News, POST, {"kept": 4 << 20}),
    # Fault: at each read the blocks of a request are parsed from its beginning.
    Pair("ssdb-parsed-again", 11, PlainStore, Store, SSDB, {"kept": 2 << 20}),
]
