"""Numbers: forms that the protocol does not have, and extremes."""

import re
from struct import Struct
from urllib.parse import quote
from zlib import crc32

from handlers import Exactly, StreamHandler, Until, UntilAny
from tests.support.pairs.pair import Malformed, Pair


class TitanUpload(StreamHandler):
    """The upload of a text to a Gemini server (Titan, the companion protocol of Gemini): one request for a connection.

    The request line is a URL of at most 1024 bytes with parameters behind its path, of which ``size`` says how many
    bytes follow. An upload of no byte deletes the page.
    """

    timeout = 30
    request_timeout = 120

    LARGEST = 65_536
    URL = re.compile(r"titan://capsule\.example(?::1965)?(/[^\x00-\x20\x7f-\x9f;?#]*)((?:;[^\x00-\x20\x7f-\x9f;?#]*)+)")
    PARAMETER = re.compile(r"(size|mime|token)=(.+)")
    SIZE = re.compile(r"(?!0.)\d{1,7}", re.ASCII)
    TYPES = ("text/gemini", "text/plain", "text/markdown")

    def handle(self):
        return Until(b"\r\n", limit=1026), self.request

    def request(self, line):
        try:
            url = self.URL.fullmatch(line[:-2].decode())
        except UnicodeDecodeError:
            url = None
        if url is None:
            return self.refuse(b"59 this is no Titan URL of this server")
        self.path, said = quote(url[1], safe="/%~").encode(), {}
        for parameter in url[2][1:].split(";"):
            matched = self.PARAMETER.fullmatch(parameter)
            if matched is None or matched[1] in said:
                return self.refuse(b"59 a parameter is unknown, empty, or there twice")
            said[matched[1]] = matched[2]
        if said.get("token") != "lantern":
            return self.refuse(b"60 a token is needed")
        self.type = said.get("mime", "text/gemini")
        if self.type not in self.TYPES:
            return self.refuse(b"59 this type is not taken")
        if self.SIZE.fullmatch(said.get("size", "")) is None:
            return self.refuse(b"59 the size is not a decimal number")
        size = int(said["size"])
        if size > self.LARGEST:
            return self.refuse(b"59 the text is too long")
        if size == 0:
            self.send(b"20 text/gemini\r\nDeleted %b\n" % self.path)
            return None
        return Exactly(size, limit=self.LARGEST), self.content

    def content(self, data):
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return self.refuse(b"59 the content is not UTF-8")
        said = text.count("\n") + (text[-1:] != "\n"), len(data), self.type.encode(), self.path
        self.send(b"20 text/gemini\r\nStored %d lines, %d bytes of %b at %b\n" % said)
        return None

    def refuse(self, answer):
        self.send(answer + b"\r\n")
        return


class TitanUploadAnyDigits(TitanUpload):
    r"""The pattern of the size has no ``re.ASCII``: ``\d`` matches the digits of all scripts, and ``int`` reads them.

    So a proxy in front and this server do not agree where the text ends.
    """

    SIZE = re.compile(r"(?!0.)\d{1,7}")


TITAN = [
    b"titan://capsule.example/notes/harbour.gmi;size=57;mime=text/gemini;token=lantern\r\n",
    b"# Harbour\nThe ferry goes at ten past nine.\n=> / Home page",
]

FILES = {
    b"M00/00/00/tide-table.txt": b"".join(b"day %02d high water %02d:%02d\n" % (n, n % 24, n + 7) for n in range(30)),
    b"M00/00/01/pier.svg": b"<svg><rect width='40' height='3'/></svg>",
}


class FastDfsStorage(StreamHandler):
    """Part of a storage server of FastDFS: whether it is alive, what is known of a file, and a part of a file.

    A message is a header of ten bytes, with the length of the body as a signed number of eight bytes, and the body. All
    numbers of the protocol are signed (``fdfs_proto.h``). A count of 0 asks for the rest of the file.
    """

    timeout = 60
    request_timeout = 30
    one_by_one = 0

    HEADER, SPAN, FACTS = Struct(">qBB"), Struct(">qq"), Struct(">qqq")
    RESPONSE, DOWNLOAD, QUERY, QUIT, ACTIVE = 100, 14, 22, 82, 111
    LONGEST = 16 + 16 + 128
    MISSING, INVALID = 2, 22
    GROUP = b"group1".ljust(16, b"\0")

    def handle(self):
        return Exactly(self.HEADER.size), self.header

    def header(self, data):
        length, self.command, status = self.HEADER.unpack(data)
        if not 0 <= length <= self.LONGEST or status:
            self.answer(self.INVALID)
            return None
        if self.command == self.QUIT:
            return None
        return Exactly(length, limit=self.LONGEST), self.body

    def body(self, data):
        if self.command == self.ACTIVE:
            self.answer(self.INVALID if data else 0)
        elif self.command == self.QUERY:
            self.query(data)
        elif self.command == self.DOWNLOAD:
            self.download(data)
        else:
            self.answer(self.INVALID)
        self.one_by_one += 1
        return self.handle()

    def query(self, data):
        content = self.found(data)
        if content is not None:
            self.answer(0, self.FACTS.pack(len(content), 1_600_000_000, crc32(content)) + b"192.0.2.7".ljust(16, b"\0"))

    def download(self, data):
        if len(data) <= self.SPAN.size:
            self.answer(self.INVALID)
            return
        offset, count = self.SPAN.unpack_from(data)
        content = self.found(data[self.SPAN.size :])
        if content is None:
            return
        if not self.fits(offset, count, len(content)):
            self.answer(self.INVALID)
            return
        self.answer(0, content[offset : offset + count if count else None])

    def fits(self, offset, count, size):
        """Whether the part lies in a file of ``size`` bytes."""
        return 0 <= offset <= size and 0 <= count <= size - offset

    def found(self, name):
        """The file that is named by a group of sixteen bytes and a path. It answers if there is none."""
        content = FILES.get(name[16:]) if name[:16] == self.GROUP else None
        if content is None:
            self.answer(self.MISSING)
        return content

    def answer(self, status, body=b""):
        self.send(self.HEADER.pack(len(body), self.RESPONSE, status) + body)


class FastDfsStorageSigned(FastDfsStorage):
    """An offset and a count are compared with the size only: they are signed, so those below 0 pass.

    A negative offset then counts from the end of the file.
    """

    def fits(self, offset, count, size):
        return offset <= size and count <= size - offset


def fdfs(command, body=b""):
    """A message for a `FastDfsStorage`."""
    return FastDfsStorage.HEADER.pack(len(body), command, 0) + body


TIDES, PIER = (FastDfsStorage.GROUP + name for name in FILES)
FASTDFS = [
    fdfs(111),
    fdfs(22, TIDES),
    fdfs(14, FastDfsStorage.SPAN.pack(0, 300) + TIDES),
    fdfs(14, FastDfsStorage.SPAN.pack(300, 300) + TIDES),
    fdfs(14, FastDfsStorage.SPAN.pack(0, 0) + PIER),
    fdfs(22, FastDfsStorage.GROUP + b"M00/00/02/none.txt"),
    fdfs(82),
]

ROUTES = {
    b"\x44\x16\xbb": (23028, b"US", b"TEAM-CYMRU, US"),
    b"\xd8\x5a\x6c": (23028, b"US", b"TEAM-CYMRU, US"),
    b"\xc0\x00\x02": (64500, b"ZZ", b"DOCUMENTATION-1"),
    b"\x0a\x08\x00": (64501, b"ZZ", b"INSIDE"),
}
NAMES = {number: (country, name) for number, country, name in ROUTES.values()}


class OriginWhois(StreamHandler):
    """The whois service that maps IPv4 addresses to autonomous systems, as Team Cymru's: one query, or ``begin``.

    After ``begin`` each line is an address, an AS number or an option, and ``end`` ends it. The address in an answer is
    made from the four numbers. An octet has no leading zeros, because some programs take those for octal (RFC 6943,
    section 3.1.1).
    """

    timeout = 60
    request_timeout = 300

    LINE = UntilAny(b"\r\n", b"\n", limit=64)
    MOST = 200
    ADDRESS = re.compile(rb"[0-9.]+")
    OCTET = re.compile(rb"0|[1-9][0-9]{0,2}")
    SYSTEM = re.compile(rb"AS([1-9][0-9]{0,9})", re.IGNORECASE)

    def handle(self):
        self.verbose, self.count = False, 0
        return self.LINE, self.first

    def first(self, line):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if line.lower() == b"begin":
            self.send(b"Bulk mode; whois.example\n")
            return self.LINE, self.bulk
        self.query(line)
        return None

    def bulk(self, line):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        word = line.lower()
        if word == b"end":
            return None
        self.count += 1
        if self.count > self.MOST:
            self.send(b"Error: more than %d lines.\n" % self.MOST)
            raise Malformed("too many lines")
        if word in (b"verbose", b"noverbose"):
            self.verbose = word == b"verbose"
        else:
            self.query(line)
        return self.LINE, self.bulk

    def query(self, word):
        system = self.SYSTEM.fullmatch(word)
        if system is not None and int(system[1]) < 1 << 32:
            country, name = NAMES.get(int(system[1]), (b"", b"NO_NAME"))
            self.send(b"%-7d | %-2b | %b\n" % (int(system[1]), country, name) if name != b"NO_NAME" else b"NO_NAME\n")
            return
        octets = self.octets(word)
        if octets is None:
            self.send(b"Error: no ASN or IP match on line %d.\n" % self.count)
            return
        number, country, name = ROUTES.get(octets[:3], (None, b"", b"NA"))
        told = b"NA" if number is None else b"%d" % number
        row = [b"%-7b" % told, b"%-16b" % b".".join(b"%d" % octet for octet in octets)]
        self.send(b" | ".join([*row, country, name] if self.verbose else [*row, name]) + b"\n")

    def octets(self, word):
        """The four bytes of an address, or ``None``."""
        parts = word.split(b".") if self.ADDRESS.fullmatch(word) else []
        if len(parts) != 4 or not all(map(self.OCTET.fullmatch, parts)) or max(map(int, parts)) > 255:
            return None
        return bytes(map(int, parts))


class OriginWhoisZeros(OriginWhois):
    """An octet may have leading zeros, and is decimal all the same (as in CVE-2021-29921)."""

    OCTET = re.compile(rb"[0-9]{1,3}")


WHOIS = [
    b"begin\n",
    b"verbose\n",
    b"68.22.187.5\n",
    b"10.8.0.21\n",
    b"192.0.2.130\n",
    b"AS23028\n",
    b"8.8.4.4\n",
    b"end\n",
]

PAIRS = [
    Pair("titan-size", 1, TitanUploadAnyDigits, TitanUpload, TITAN),
    Pair("fastdfs-download", 1, FastDfsStorageSigned, FastDfsStorage, FASTDFS),
    Pair("origin-whois-octets", 1, OriginWhoisZeros, OriginWhois, WHOIS),
]
