"""Deadlines: the idle time of a session of FTP, requests of FastCGI, and the end of an association of DICOM."""

import hashlib
import hmac
import posixpath
import re
import struct

from handlers import EndOfStream, Exactly, LimitPassed, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair

COMMAND = Until(b"\r\n", limit=512)
LINE = re.compile(rb"([A-Za-z]{3,4})(?: ([!-~](?:[ -~]*[!-~])?))?")
IDLE = re.compile(rb"[Ii][Dd][Ll][Ee] (0|[1-9][0-9]{0,4})")
USERS = {b"anonymous": b"", b"ada": b"correct horse"}
DIRECTORIES = {b"/", b"/pub", b"/pub/notes", b"/incoming"}


class Control(StreamHandler):
    """FTP, the control connection: logins, directories, and the time for which a session may be idle."""

    timeout = 60
    request_timeout = 60
    shortest_idle, longest_idle = 30, 900
    most_attempts = 3

    def setup(self):
        self.one_by_one = self.attempts = 0
        self.user, self.is_known, self.directory = None, False, b"/"

    def handle(self):
        self.send(b"220 files.example.org FTP server ready.\r\n")
        return self.following()

    def following(self):
        self.one_by_one += 1
        return COMMAND, self.command

    def command(self, line):
        matched = LINE.fullmatch(line[:-2])
        if matched is None:
            return self.reply(b"500 Syntax error, command unrecognized.")
        name, text = matched[1].upper(), matched[2] or b""
        if name == b"QUIT":
            self.send(b"221 Goodbye.\r\n")
            return None
        if name == b"NOOP":
            return self.reply(b"200 NOOP command successful.")
        if name == b"SYST":
            return self.reply(b"215 UNIX Type: L8")
        if name == b"USER" and text:
            self.user, self.is_known = text, False
            return self.reply(b"331 Password required.")
        if name == b"PASS" and not self.is_known:
            return self.log_in(text)
        if not self.is_known:
            return self.reply(b"530 Please login with USER and PASS.")
        if name == b"PWD":
            return self.reply(b'257 "%b" is the current directory.' % self.directory)
        if name == b"CWD" and text:
            return self.go_to(text)
        if name == b"SITE" and text:
            return self.site(text)
        return self.reply(b"502 Command not implemented.")

    def log_in(self, password):
        if self.user is None:
            return self.reply(b"503 Login with USER first.")
        known, user, self.user = USERS.get(self.user), self.user, None
        if user == b"anonymous" or (known is not None and hmac.compare_digest(known, password)):
            self.is_known = True
            return self.reply(b"230 User logged in.")
        self.attempts += 1
        if self.attempts < self.most_attempts:
            return self.reply(b"530 Login incorrect.")
        self.send(b"421 Too many attempts.\r\n")
        return None

    def go_to(self, path):
        there = posixpath.normpath(posixpath.join(self.directory, path)).replace(b"//", b"/")
        if there not in DIRECTORIES:
            return self.reply(b"550 No such directory.")
        self.directory = there
        return self.reply(b"250 CWD command successful.")

    def site(self, text):
        if text.upper() == b"IDLE":
            return self.reply(b"200 Current IDLE time limit is %d seconds." % (self.timeout or 0))
        matched = IDLE.fullmatch(text)
        if matched is None:
            return self.reply(b"500 SITE command not understood.")
        return self.set_idle(int(matched[1]))

    def set_idle(self, seconds):
        if not self.shortest_idle <= seconds <= self.longest_idle:
            return self.reply(b"501 IDLE time must be between %d and %d." % (self.shortest_idle, self.longest_idle))
        self.timeout = seconds
        return self.reply(b"200 IDLE time set to %d seconds." % seconds)

    def reply(self, text):
        self.send(text + b"\r\n")
        return self.following()

    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            self.send(b"421 Timeout, closing control connection.\r\n")
        elif isinstance(cause, LimitPassed) and cause.wait == COMMAND:
            self.send(b"500 Command line too long.\r\n")


class UnlimitedControl(Control):
    """FTP, the control connection; an idle time of 0 is one without a limit, as it is elsewhere."""

    def set_idle(self, seconds):
        if seconds:
            return super().set_idle(seconds)
        self.timeout = None
        return self.reply(b"200 IDLE time limit is off.")


BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, GET_VALUES, VALUES, UNKNOWN = 1, 2, 3, 4, 5, 6, 9, 10, 11
KNOWN = {b"FCGI_MAX_CONNS": b"64", b"FCGI_MAX_REQS": b"64", b"FCGI_MPXS_CONNS": b"0"}


def length_at(data, at):
    """The length that begins at ``at``, of one byte or four, and where it ends."""
    if data[at : at + 1] < b"\x80":
        return int.from_bytes(data[at : at + 1], "big"), at + 1
    return int.from_bytes(data[at : at + 4], "big") & 0x7FFF_FFFF, at + 4


def pairs_in(data):
    """The names and values in ``data``. Raises `Malformed`."""
    found, at = {}, 0
    while at < len(data):
        name, at = length_at(data, at)
        value, at = length_at(data, at)
        if at + name + value > len(data) or not name:
            raise Malformed("a name or a value has not all come")
        found[data[at : at + name]] = data[at + name : at + name + value]
        at += name + value
    return found


class Responder(StreamHandler):
    """FastCGI, an application: one request at a time on a connection, and questions about the application itself."""

    timeout = 20
    request_timeout = 60
    longest_params, longest_stdin = 8192, 1 << 20

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            kind, number, content = await self.record()
            if not number:
                self.manage(kind, content)
            elif kind == BEGIN and len(content) == 8:
                role, flags = int.from_bytes(content[:2], "big"), content[2]
                if role != 1:
                    self.end_request(number, status=3)
                elif not await self.respond(number):
                    continue
                if not flags & 1:
                    return
            elif kind == BEGIN:
                raise Malformed("a request begins with 8 bytes")

    async def record(self):
        head = await Exactly(8)
        version, kind, number, length, padding, _ = struct.unpack(">BBHHBB", head)
        if version != 1:
            raise Malformed("another version")
        return kind, number, (await Exactly(length + padding))[:length]

    def manage(self, kind, content):
        """Answer a record that belongs to no request."""
        if kind == GET_VALUES:
            known = [(name, KNOWN[name]) for name in pairs_in(content) if name in KNOWN]
            said = (bytes((len(name), len(value))) + name + value for name, value in known)
            self.put(VALUES, 0, b"".join(said))
        else:
            self.put(UNKNOWN, 0, bytes((kind, 0, 0, 0, 0, 0, 0, 0)))

    async def respond(self, number):
        """Take the rest of a request, and answer it. False if the web server has aborted it."""
        params, size, digest, wanted = bytearray(), 0, hashlib.sha256(), PARAMS
        while wanted:
            kind, its, content = await self.record()
            if not its:
                self.manage(kind, content)
            elif its != number:
                if kind == BEGIN:
                    self.end_request(its, status=1)
            elif kind == ABORT:
                self.end_request(number)
                return False
            elif kind != wanted:
                raise Malformed("a record is out of order")
            elif kind == PARAMS:
                params += content
                wanted = PARAMS if content else STDIN
            else:
                size += len(content)
                digest.update(content)
                wanted = STDIN if content else 0
            if len(params) > self.longest_params or size > self.longest_stdin:
                self.end_request(number, status=2)
                raise Malformed("a request is too long")
        names = pairs_in(bytes(params))
        if names.get(b"CONTENT_LENGTH", b"") in (b"", b"%d" % size):
            page = b"Content-Type: text/plain\r\n\r\n%d names, %d bytes, %b\n"
            self.put(STDOUT, number, page % (len(names), size, digest.hexdigest()[:16].encode()))
        else:
            self.put(STDOUT, number, b"Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nwrong length\n")
        self.put(STDOUT, number)
        self.end_request(number)
        return True

    def end_request(self, number, status=0):
        self.put(END, number, bytes((0, 0, 0, 0, status, 0, 0, 0)))

    def put(self, kind, number, content=b""):
        self.send(record(kind, number, content))


class BusyResponder(Responder):
    """FastCGI, an application; a question about it is a message of its own, whenever it comes."""

    def manage(self, kind, content):
        super().manage(kind, content)
        self.one_by_one += 1


def record(kind, number, content=b""):
    padding = -len(content) % 8
    return struct.pack(">BBHHBB", 1, kind, number, len(content), padding, 0) + content + bytes(padding)


ASSOCIATE, ACCEPT, REJECT, DATA, RELEASE, RELEASED, ABORTED = range(1, 8)
CONTEXT, VERIFICATION, IMPLICIT = b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.1.1", b"1.2.840.10008.1.2"
MINE = b"1.2.826.0.1.3680043.9.9999.1"
TITLE = re.compile(rb"(?=[ -~]{16})[ ]{0,15}[!-~][ -~]*")


def item(kind, value):
    return struct.pack(">BBH", kind, 0, len(value)) + value


def items_in(data):
    """The items in ``data``, each its kind and value. Raises `Malformed`."""
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 4 + length > len(data):
            raise Malformed("an item has not all come")
        found.append((data[at], data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def element(number, value):
    return struct.pack("<HHI", 0, number, len(value)) + value


def command_of(data):
    """The elements of a command by their numbers. Raises `Malformed`."""
    if data[:12] != element(0, struct.pack("<I", max(0, len(data) - 12))):
        raise Malformed("another length")
    found, at = {}, 0
    while at < len(data):
        if len(data) - at < 8:
            raise Malformed("an element has not all come")
        group, number, length = struct.unpack_from("<HHI", data, at)
        if group or number in found or at + 8 + length > len(data):
            raise Malformed("no element of a command")
        found[number] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return found


class Verification(StreamHandler):
    """DICOM's upper layer, an acceptor with the verification service: it answers C-ECHO."""

    timeout = 30
    request_timeout = 30  # also ARTIM: the time that a client has to close when all is said
    longest, longest_command = 16_384, 512

    def setup(self):
        self.one_by_one = 1
        self.contexts, self.command, self.is_aborted = set(), bytearray(), False

    async def handle(self):
        try:
            is_open = self.associate(*await self.pdu())
            while is_open:
                if not self.command:
                    self.one_by_one += 1
                is_open = self.take(*await self.pdu())
        except Malformed:
            self.put(ABORTED, b"\0\0\x02\x06")
        if not self.is_aborted:
            await self.closing()

    async def closing(self):
        """The client is to close now. What it still sends is dropped, until ARTIM expires."""
        self.one_by_one += 1
        try:
            while True:
                await Some()
        except EndOfStream:
            return

    async def pdu(self):
        kind, _, length = struct.unpack(">BBI", await Exactly(6))
        if not ASSOCIATE <= kind <= ABORTED or length > self.longest:
            raise Malformed("no unit that is known")
        return kind, await Exactly(length)

    def associate(self, kind, content):
        """Answer a request for an association. Whether there is one."""
        if kind != ASSOCIATE or len(content) < 68 or not content[1] & 1:
            raise Malformed("no request for an association")
        if TITLE.fullmatch(content[4:20]) is None or TITLE.fullmatch(content[20:36]) is None:
            raise Malformed("no titles")
        items = items_in(content[68:])
        if [value for kind, value in items if kind == 0x10] != [CONTEXT]:
            self.put(REJECT, b"\0\x01\x01\x02")
            return False
        if [kind for kind, _ in items].count(0x50) != 1 or 0x20 not in [kind for kind, _ in items]:
            raise Malformed("an item is missing")
        seen, answers = set(), [item(0x10, CONTEXT)]
        for value in (value for kind, value in items if kind == 0x20):
            inner = items_in(value[4:])
            if len(value) < 4 or not value[0] & 1 or value[0] in seen or [kind for kind, _ in inner].count(0x30) != 1:
                raise Malformed("no presentation context")
            seen.add(value[0])
            result = 3 if (0x30, VERIFICATION) not in inner else 4 if (0x40, IMPLICIT) not in inner else 0
            if not result:
                self.contexts.add(value[0])
            answers.append(item(0x21, bytes((value[0], 0, result, 0)) + item(0x40, IMPLICIT)))
        answers.append(item(0x50, item(0x51, self.longest.to_bytes(4, "big")) + item(0x52, MINE)))
        self.put(ACCEPT, b"\0\x01\0\0" + content[4:68] + b"".join(answers))
        return True

    def take(self, kind, content):
        """Take a unit within the association. Whether it goes on."""
        if kind == RELEASE and len(content) == 4 and not self.command:
            self.put(RELEASED, bytes(4))
            return False
        if kind == ABORTED:
            self.is_aborted = True
            return False
        if kind != DATA or not content:
            raise Malformed("a unit is not expected")
        at = 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 4], "big")
            value = content[at + 4 : at + 4 + length]
            at += 4 + length
            if length < 3 or at > len(content) or value[0] not in self.contexts or not value[1] & 1:
                raise Malformed("no fragment of a command")
            self.command += value[2:]
            if len(self.command) > self.longest_command:
                raise Malformed("a command is too long")
            if value[1] & 2:
                self.echo(value[0], command_of(bytes(self.command)))
                self.command.clear()
        return True

    def echo(self, context, command):
        number = command.get(0x110, b"")
        if command.get(0x02) != VERIFICATION + b"\0" or command.get(0x100) != b"\x30\0":
            raise Malformed("another service")
        if command.get(0x800) != b"\x01\x01" or len(number) != 2:
            raise Malformed("another command")
        said = element(0x02, VERIFICATION + b"\0") + element(0x100, b"\x30\x80") + element(0x120, number)
        said += element(0x800, b"\x01\x01") + element(0x900, b"\0\0")
        said = element(0, struct.pack("<I", len(said))) + said
        self.put(DATA, struct.pack(">IBB", len(said) + 2, context, 3) + said)

    def put(self, kind, content):
        self.send(unit(kind, content))


class PatientVerification(Verification):
    """DICOM's upper layer, an acceptor; ARTIM begins anew when a client that is to close still sends."""

    async def closing(self):
        try:
            while True:
                self.one_by_one += 1
                await Some()
        except EndOfStream:
            return


def unit(kind, content):
    return struct.pack(">BBI", kind, 0, len(content)) + content


def echo_request(number):
    said = element(0x02, VERIFICATION + b"\0") + element(0x100, b"\x30\0")
    said += element(0x110, struct.pack("<H", number)) + element(0x800, b"\x01\x01")
    said = element(0, struct.pack("<I", len(said))) + said
    return unit(DATA, struct.pack(">IBB", len(said) + 2, 1, 3) + said)


SESSION = [
    b"USER ada\r\n",
    b"PASS correct horse\r\n",
    b"SYST\r\n",
    b"SITE IDLE\r\n",
    b"SITE IDLE 120\r\n",
    b"CWD pub\r\n",
    b"PWD\r\n",
    b"SITE IDLE 5\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
]
REQUESTS = [
    record(GET_VALUES, 0, b"\x0e\0FCGI_MAX_CONNS\x0f\0FCGI_MPXS_CONNS"),
    record(BEGIN, 1, b"\0\x01\x01\0\0\0\0\0")
    + record(PARAMS, 1, b"\x0e\x03REQUEST_METHODGET\x0c\x05QUERY_STRINGq=ink")
    + record(PARAMS, 1)
    + record(STDIN, 1),
    record(BEGIN, 1, b"\0\x01\0\0\0\0\0\0")
    + record(PARAMS, 1, b"\x0e\x04REQUEST_METHODPOST\x0e\x02CONTENT_LENGTH11")
    + record(PARAMS, 1)
    + record(STDIN, 1, b"name=ada&")
    + record(GET_VALUES, 0, b"\x0d\0FCGI_MAX_REQS")
    + record(STDIN, 1, b"x=")
    + record(STDIN, 1),
]
ECHOES = [
    unit(
        ASSOCIATE,
        b"\0\x01\0\0ARCHIVE         SCANNER1        "
        + bytes(32)
        + item(0x10, CONTEXT)
        + item(0x20, b"\x01\0\0\0" + item(0x30, VERIFICATION) + item(0x40, IMPLICIT))
        + item(0x50, item(0x51, b"\0\0\x80\0") + item(0x52, b"1.2.826.0.1.3680043.9.9999.2")),
    ),
    echo_request(1),
    echo_request(2),
    unit(RELEASE, bytes(4)),
]

PAIRS = [
    # Fault: a client may set its idle time to 0, which switches the deadline off: a silent session never ends.
    Pair("ftp-site-idle", 7, UnlimitedControl, Control, SESSION),
    # Fault: a question about the application within a request counts as a new message: `request_timeout` starts anew.
    Pair("fastcgi-values-meanwhile", 7, BusyResponder, Responder, REQUESTS, {"kept": 65_536}),
    # Fault: after the release, the time that a client has to close begins anew with each piece that it still sends.
    Pair("dicom-release-artim", 7, PatientVerification, Verification, ECHOES),
]
