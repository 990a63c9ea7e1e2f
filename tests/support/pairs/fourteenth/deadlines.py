"""Deadlines that start anew, or are missing."""

import re
from hmac import compare_digest

from handlers import Exactly, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

ANY = Some()
FRAME = re.compile(rb"([1-9][0-9]{0,8}) ([a-z]{1,32}) (0|[1-9][0-9]{0,4})([ \n])")
MOST_HEAD, MOST_DATA = 49, 16_384


class Relp(StreamHandler):
    """RELP, with which rsyslog sends events: each is acknowledged by its number."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.buffer = bytearray()
        self.expected, self.is_open = 1, False

    def handle(self):
        self.one_by_one += 1
        return ANY, self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.buffer += data
        taken = 0
        while (frame := self.frame()) is not None:
            taken += 1
            if not self.answer(*frame):
                return None
        self.count(taken)
        return ANY, self.more if self.buffer else self.first

    def count(self, taken):
        self.one_by_one += 1

    def frame(self):
        """The next frame in the buffer, if it is whole."""
        head = FRAME.match(self.buffer)
        if head is None:
            if len(self.buffer) >= MOST_HEAD or b"\n" in self.buffer:
                raise Malformed("no head of a frame")
            return None
        size = int(head[3])
        if size > MOST_DATA or (head[4] == b"\n") != (size == 0):
            raise Malformed("no length")
        end = head.end() + size + (size > 0)
        if len(self.buffer) < end:
            return None
        if self.buffer[end - 1] != ord("\n"):
            raise Malformed("no end of the frame")
        found = int(head[1]), head[2], bytes(self.buffer[head.end() : head.end() + size])
        del self.buffer[:end]
        return found

    def answer(self, number, command, data):
        """Answer a frame. Whether more may follow."""
        if number != self.expected:
            raise Malformed("frames are numbered one after another")
        self.expected = number % 999_999_999 + 1
        if command == b"open" and not self.is_open and data.startswith(b"relp_version=0\n"):
            self.is_open = True
            self.respond(number, b"200 OK\nrelp_version=0\nrelp_software=pairs,1\ncommands=syslog")
        elif command == b"syslog" and self.is_open and data.startswith(b"<"):
            self.respond(number, b"200 OK")
        elif command == b"close" and self.is_open and not data:
            self.send(b"%d rsp 0\n0 serverclose 0\n" % number)
            return False
        else:
            self.respond(number, b"500 not now")
            return False
        return True

    def respond(self, number, text):
        self.send(b"%d rsp %d %b\n" % (number, len(text), text))


class RightRelp(Relp):
    def count(self, taken):
        self.one_by_one += taken


class Manager(StreamHandler):
    """The manager interface of Asterisk: actions of fields, and a login."""

    timeout = 30
    request_timeout = 30
    users = {b"ops": b"s3cret", b"monitor": b"watch"}

    async def handle(self):
        self.user = b""
        self.send(b"Asterisk Call Manager/5.0.1\r\n")
        while True:
            self.one_by_one += 1
            lines = (await Until(b"\r\n\r\n", limit=8_192))[:-4].split(b"\r\n")
            found = fields(lines)
            if lines[0][:7].lower() != b"action:":
                raise Malformed("an action comes first")
            if not self.act(found[b"action"].lower(), found):
                return

    def act(self, action, found):
        """Answer an action. Whether more may follow."""
        if action == b"login":
            return self.login(found)
        if action == b"ping":
            self.respond(found, b"Success", b"Ping: Pong")
        elif action == b"logoff":
            self.respond(found, b"Goodbye", b"Message: Thanks for all the fish.")
            return False
        elif not self.user:
            self.respond(found, b"Error", b"Message: Permission denied")
        elif action == b"listcommands":
            self.respond(found, b"Success", b"Ping: Keepalive command.", b"CoreStatus: Show the status.")
        elif action == b"corestatus":
            self.respond(found, b"Success", b"CoreStartupTime: 08:00:00", b"CoreCurrentCalls: 0")
        else:
            self.respond(found, b"Error", b"Message: Invalid/unknown command")
            return False
        return True

    def login(self, found):
        secret = self.users.get(found.get(b"username", b""))
        if self.user or secret is None or not compare_digest(secret, found.get(b"secret", b"")):
            self.respond(found, b"Error", b"Message: Authentication failed")
            return False
        self.user = found[b"username"]
        self.respond(found, b"Success", b"Message: Authentication accepted")
        self.stay()
        return True

    def stay(self):
        self.timeout = self.request_timeout = None  # a manager stays connected for days

    def respond(self, found, what, *lines):
        number = found.get(b"actionid")
        head = [b"Response: " + what] + ([b"ActionID: " + number] if number else [])
        self.send(b"\r\n".join([*head, *lines, b"", b""]))


class RightManager(Manager):
    def stay(self):
        self.timeout = 300  # between two actions; a manager pings


LINE = Until(b"\r\n", limit=1_024)
REQUEST = re.compile(rb"([A-Z_]{1,16}) (\*|rtsp://[!-~]+) RTSP/1\.0")
LENGTH = re.compile(rb"0|[1-9][0-9]{0,3}")
NUMBER = re.compile(rb"0|[1-9][0-9]{0,8}")


class Rtsp(StreamHandler):
    """RTSP for one stream: a head of lines, and perhaps a body."""

    timeout = 20
    request_timeout = 20
    methods = {
        b"OPTIONS": b"Public: OPTIONS, DESCRIBE, SETUP, PLAY, SET_PARAMETER, TEARDOWN\r\n",
        b"DESCRIBE": b"Content-Type: application/sdp\r\n",
        b"SETUP": b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 12345678\r\n",
        b"PLAY": b"Session: 12345678\r\nRange: npt=0.000-\r\n",
        b"SET_PARAMETER": b"",
        b"TEARDOWN": b"",
    }

    def setup(self):
        self.has_session = False

    def handle(self):
        return self.line(self.request_line)

    def line(self, state):
        """The wait for a line of the head."""
        self.one_by_one += 1
        return LINE, state

    def request_line(self, line):
        request = REQUEST.fullmatch(line[:-2])
        if request is None or request[1] not in self.methods:
            return self.refuse(b"400 Bad Request")
        self.method, self.head, self.size = request[1], [], 0
        return self.line(self.header)

    def header(self, line):
        if line != b"\r\n":
            self.head.append(line[:-2])
            self.size += len(line)
            return self.line(self.header) if self.size <= 8_192 else self.refuse(b"400 Bad Request")
        try:
            self.found = fields(self.head)
        except Malformed:
            return self.refuse(b"400 Bad Request")
        length = self.found.get(b"content-length", b"0")
        if LENGTH.fullmatch(length) is None or NUMBER.fullmatch(self.found.get(b"cseq", b"")) is None:
            return self.refuse(b"400 Bad Request")
        if length != b"0" and self.method != b"SET_PARAMETER":
            return self.refuse(b"400 Bad Request")
        return Exactly(int(length)), self.body

    def body(self, data):
        has_named = self.found.get(b"session") == b"12345678"
        if self.method in (b"PLAY", b"TEARDOWN") and not (self.has_session and has_named):
            self.respond(b"454 Session Not Found", b"")
        else:
            if self.method in (b"SETUP", b"TEARDOWN"):
                self.has_session = self.method == b"SETUP"
            content = b"v=0\r\ns=one\r\nm=video 0 RTP/AVP 96\r\n" if self.method == b"DESCRIBE" else b""
            self.respond(b"200 OK", self.methods[self.method], content)
        return self.handle()

    def respond(self, status, head, content=b""):
        head += b"Content-Length: %d\r\n" % len(content) if content else b""
        self.send(b"RTSP/1.0 %b\r\nCSeq: %b\r\n%b\r\n%b" % (status, self.found[b"cseq"], head, content))

    def refuse(self, status):
        self.send(b"RTSP/1.0 %b\r\n\r\n" % status)


class RightRtsp(Rtsp):
    def handle(self):
        self.one_by_one += 1
        return self.line(self.request_line)

    def line(self, state):
        return LINE, state


OPEN = b"relp_version=0\nrelp_software=librelp,1.2.13\ncommands=syslog"
EVENTS = b"<34>Oct 11 22:14:15 web su: 'su root' failed", b"<13>Oct 11 22:14:16 web cron: two\nlines"
SESSION = b"Session: 12345678\r\n"
URL = b"rtsp://cam.example/one"

PAIRS = [
    # Fault: each read counts as a message, so that the time for a message begins anew with each byte.
    Pair(
        "relp-reads",
        7,
        Relp,
        RightRelp,
        [
            b"1 open %d %b\n" % (len(OPEN), OPEN),
            b"2 syslog %d %b\n" % (len(EVENTS[0]), EVENTS[0]),
            b"3 syslog %d %b\n" % (len(EVENTS[1]), EVENTS[1]),
            b"4 close 0\n",
        ],
    ),
    # Fault: a login takes both deadlines away, so that half an action holds the connection for ever.
    Pair(
        "asterisk-manager",
        7,
        Manager,
        RightManager,
        [
            b"Action: Ping\r\nActionID: 1\r\n\r\n",
            b"Action: Login\r\nActionID: 2\r\nUsername: ops\r\nSecret: s3cret\r\n\r\n",
            b"Action: ListCommands\r\nActionID: 3\r\n\r\n",
            b"Action: CoreStatus\r\nActionID: 4\r\n\r\n",
            b"Action: Ping\r\n\r\n",
            b"Action: Logoff\r\nActionID: 6\r\n\r\n",
        ],
        {"kept": 1_024},
    ),
    # Fault: each line of a head counts as a message, so that the time for a request begins anew with each line.
    Pair(
        "rtsp-lines",
        7,
        Rtsp,
        RightRtsp,
        [
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: vlc\r\n\r\n",
            b"DESCRIBE %b RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n" % URL,
            b"SETUP %b RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n" % URL,
            b"PLAY %b RTSP/1.0\r\nCSeq: 4\r\n%bRange: npt=0.000-\r\n\r\n" % (URL, SESSION),
            b"SET_PARAMETER %b RTSP/1.0\r\nCSeq: 5\r\n%bContent-Length: 12\r\n\r\nvolume: 10\r\n" % (URL, SESSION),
            b"TEARDOWN %b RTSP/1.0\r\nCSeq: 6\r\n%b\r\n" % (URL, SESSION),
        ],
        {"kept": 16_384},
    ),
]
