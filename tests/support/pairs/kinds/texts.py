"""Pairs of handlers, broken and right: smuggling, quadratic work, and slips in states (kinds 10 to 12 of `kinds`)."""

import re
import time
from urllib.parse import quote, unquote_to_bytes

from handlers import DatagramHandler, Delay, Exactly, Packet, StreamHandler, Until, UntilAny
from tests.support.pairs.pair import Malformed, Pair, fields

LINE = Until(b"\r\n", limit=512)

# 10: smuggling


class SMTP(StreamHandler):
    """Takes mail. Fault: a dot between two line feeds ends the mail too."""

    timeout = 60
    text = UntilAny(b"\r\n", b"\n", limit=1000)

    def handle(self):
        self.size = 0
        self.send(b"220 mail.example\r\n")
        self.opened()
        return LINE, self.command

    def command(self, line):
        if line == b"QUIT\r\n":
            self.send(b"221 bye\r\n")
            return None
        if line == b"DATA\r\n":
            self.size = 0
            self.send(b"354 end with a dot\r\n")
            return self.text, self.text_line
        self.send(b"250 OK\r\n" if re.fullmatch(rb"(HELO|MAIL|RCPT) [!-~]+\r\n", line) else b"500 what?\r\n")
        return LINE, self.command

    def text_line(self, line):
        if self.is_dot(line):
            self.send(b"250 %d bytes\r\n" % self.size)
            return LINE, self.command
        self.size += len(line)
        return self.text, self.text_line

    def is_dot(self, line):
        return line.rstrip(b"\r\n") == b"."


class SMTPRight(SMTP):
    text = Until(b"\r\n", limit=1000)

    def is_dot(self, line):
        if b"\r" in line[:-2] or b"\n" in line[:-2]:
            self.send(b"550 a bare CR or LF\r\n")
            raise Malformed("a bare CR or LF")
        return line == b".\r\n"


class Redirect(StreamHandler):
    """Sends clients of HTTP to another host. Fault: the path is decoded, and is sent as it is then."""

    timeout = 10

    async def handle(self):
        while True:
            line, *lines = (await Until(b"\r\n\r\n", limit=4096))[:-4].split(b"\r\n")
            head, asked = fields(lines), re.fullmatch(rb"GET (/[!-~]*) HTTP/1\.1", line)
            if asked is None or b"host" not in head or b"content-length" in head or b"transfer-encoding" in head:
                self.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            place = b"https://www.example" + self.path(asked[1])
            self.send(b"HTTP/1.1 301 Moved Permanently\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place)

    def path(self, path):
        return unquote_to_bytes(path)


class RedirectRight(Redirect):
    def path(self, path):
        return quote(unquote_to_bytes(path), safe="/").encode()


class SIP(DatagramHandler):
    """Answers OPTIONS of SIP over UDP. Fault: splitlines() knows more ends of a line than the protocol."""

    timeout = 5
    needed = ("via", "from", "to", "call-id", "cseq")

    async def handle(self):
        packet = await Packet()
        try:
            head, end, _ = packet.decode().partition("\r\n\r\n")
        except UnicodeDecodeError:
            return
        start, *lines = self.lines(head) or [""]
        found = {}
        for line in lines:
            name, colon, value = line.partition(": ")
            if not colon or not line.isprintable():
                return
            found[name.lower()] = value
        if not end or not re.fullmatch("OPTIONS sips?:[!-~]+ SIP/2.0", start) or not found.keys() >= {*self.needed}:
            return
        said = [f"{name.title()}: {found[name]}" for name in self.needed]
        self.send("\r\n".join(["SIP/2.0 200 OK", *said, "Content-Length: 0", "", ""]).encode())

    def lines(self, head):
        return head.splitlines()


class SIPRight(SIP):
    def lines(self, head):
        return head.split("\r\n")


# 11: quadratic work


class IMAP(StreamHandler):
    """Fetches messages by their numbers. Fault: each number is looked for among all before it."""

    timeout = 60

    def handle(self):
        return Until(b"\r\n", limit=65_536), self.command

    def command(self, line):
        asked = re.fullmatch(rb"(\w{1,8}) FETCH ([1-9]\d{0,8}(?:,[1-9]\d{0,8})*)\r\n", line)
        if asked:
            numbers = self.different(asked[2].split(b","))
            self.send(b"%b OK %d of %d messages\r\n" % (asked[1], sum(int(n) <= 50 for n in numbers), len(numbers)))
        elif re.fullmatch(rb"\w{1,8} LOGOUT\r\n", line):
            self.send(b"* BYE\r\n")
            return None
        else:
            self.send(b"* BAD\r\n")
        return self.handle()

    def different(self, numbers):
        found = []
        for number in numbers:
            if number not in found:
                found.append(number)
        return found


class IMAPRight(IMAP):
    def different(self, numbers):
        return list(dict.fromkeys(numbers))


class Whois(StreamHandler):
    """Knows two domains. Fault: the pattern for space at the end begins anew at each space."""

    timeout = 30
    domains = {b"here.example": b"Ada", b"there.example": b"Bob"}

    async def handle(self):
        while True:
            name = self.stripped(await Until(b"\r\n")).lower()
            if not name:
                return
            owner = self.domains.get(name)
            self.send(b"No match\r\n" if owner is None else b"Domain: %b\r\nOwner: %b\r\n" % (name, owner))

    def stripped(self, line):
        return re.sub(rb"[ \t\r\n]+$", b"", line)


class WhoisRight(Whois):
    def stripped(self, line):
        return line.rstrip(b" \t\r\n")


class WebSocket(StreamHandler):
    """The size of each message, whose fragments come in frames. Fault: each fragment copies all before it."""

    timeout = 60
    max_message = 1 << 18
    empty = b""

    def setup(self):
        self.message = None

    def handle(self):
        return Exactly(2), self.head

    def head(self, head):
        kind, size = head
        begins = kind in (0x02, 0x82)
        if kind == 0x88 and size <= 125:
            return self.close()
        if size > 125 or not (begins or kind in (0x00, 0x80)) or begins == (self.message is not None):
            return self.close(b"\x03\xea")
        if begins:
            self.message = type(self.empty)()
        self.last = kind & 0x80
        return Exactly(size), self.fragment

    def fragment(self, data):
        self.message += data
        if len(self.message) > self.max_message:
            return self.close(b"\x03\xf1")
        if self.last:
            text, self.message = b"%d" % len(self.message), None
            self.send(bytes([0x81, len(text)]) + text)
        return self.handle()

    def close(self, code=b""):
        self.send(bytes([0x88, len(code)]) + code)


class WebSocketRight(WebSocket):
    empty = bytearray()


# 12: slips in states


class Postgres(StreamHandler):
    """The start of a session of PostgreSQL, and queries that select 1. Fault: a forgotten "return"."""

    timeout = 30
    ssl, version = 80_877_103, 196_608

    def handle(self):
        return Exactly(8), self.start

    def start(self, data):
        size, code = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
        if size == 8 and code == self.ssl:
            return self.no_ssl()
        if code != self.version or not 9 <= size <= 1024:
            self.send(b"E\x00\x00\x00\x0cC08P01\x00\x00")
            return None
        return Exactly(size - 8), self.parameters

    def no_ssl(self):
        self.send(b"N")
        self.handle()

    def parameters(self, data):
        if not data.startswith(b"user\0") or not data.endswith(b"\0\0"):
            self.send(b"E\x00\x00\x00\x0cC28000\x00\x00")
            return None
        self.send(b"R\x00\x00\x00\x08\x00\x00\x00\x00")
        self.opened()
        return self.ready()

    def ready(self):
        self.send(b"Z\x00\x00\x00\x05I")
        return Exactly(5), self.message

    def message(self, head):
        size = int.from_bytes(head[1:], "big")
        if head == b"X\x00\x00\x00\x04" or head[:1] != b"Q" or not 5 <= size <= 8192:
            return None
        return Exactly(size - 4), self.query

    def query(self, data):
        if data[-1:] != b"\0":
            return None
        if data != b"\0":
            self.send(b"C\x00\x00\x00\x0dSELECT 1\x00")
        else:
            self.send(b"I\x00\x00\x00\x04")
        return self.ready()


class PostgresRight(Postgres):
    def no_ssl(self):
        self.send(b"N")
        return self.handle()


class RADIUS(DatagramHandler):
    """Accepts one user, and rejects others a second later. Fault: nobody awaits the rejection."""

    timeout = 5
    users = {b"ada": b"sesame"}

    async def handle(self):
        packet = await Packet()
        if not 20 <= len(packet) <= 4096 or packet[0] != 1 or int.from_bytes(packet[2:4], "big") != len(packet):
            return
        found, place = {}, 20
        while place < len(packet):
            size = packet[place + 1] if place + 1 < len(packet) else 0
            if size < 2 or place + size > len(packet):
                return
            found[packet[place]] = packet[place + 2 : place + size]
            place += size
        user = found.get(1)
        if user in self.users and self.users[user] == found.get(2):
            self.send(b"\x02" + packet[1:2] + b"\x00\x14" + packet[4:20])
        else:
            await self.refuse(packet)

    async def refuse(self, packet):
        self.reject(packet)

    async def reject(self, packet):
        await Delay(1)
        self.send(b"\x03" + packet[1:2] + b"\x00\x14" + packet[4:20])


class RADIUSRight(RADIUS):
    async def refuse(self, packet):
        await self.reject(packet)


class FTP(StreamHandler):
    """The login of FTP. Fault: after a wrong password all clients wait."""

    timeout = 60
    users = {b"ada": b"sesame"}

    async def handle(self):
        self.send(b"220 ftp.example\r\n")
        self.opened()
        user, is_in, failed = b"", False, 0
        while failed < 3:
            verb, _, rest = (await LINE)[:-2].partition(b" ")
            if verb == b"QUIT":
                self.send(b"221 bye\r\n")
                return
            if verb == b"USER":
                user, is_in = rest, False
                self.send(b"331 password?\r\n")
            elif verb == b"PASS" and user in self.users and rest == self.users[user]:
                is_in = True
                self.send(b"230 logged in\r\n")
            elif verb == b"PASS":
                failed += 1
                await self.penalty()
                self.send(b"530 wrong\r\n")
            elif verb == b"PWD" and is_in:
                self.send(b'257 "/"\r\n')
            else:
                self.send(b"502 not here\r\n" if is_in else b"530 log in\r\n")

    async def penalty(self):
        time.sleep(3)


class FTPRight(FTP):
    async def penalty(self):
        await Delay(3)


PAIRS = [
    Pair("smtp", 10, SMTP, SMTPRight, [
        b"HELO client.example\r\n", b"MAIL FROM:<a@b.example>\r\n", b"DATA\r\n",
        b"Subject: hello\r\n\r\n..dot\r\n.\r\n", b"QUIT\r\n",
    ]),
    Pair("redirect", 10, Redirect, RedirectRight, [
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"GET /a/b HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n",
        b"GET /%7Eada/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ]),
    Pair("sip", 10, SIP, SIPRight, [
        b"OPTIONS sip:a@b.example SIP/2.0\r\nVia: SIP/2.0/UDP c.example;branch=z9hG4bK%d\r\nFrom: <sip:c@d.example>\r\n"
        b"To: <sip:a@b.example>\r\nCall-ID: call%d\r\nCSeq: %d OPTIONS\r\nSubject: hello\r\n\r\n" % (n, n, n)
        for n in (1, 2, 3)
    ]),
    Pair("imap", 11, IMAP, IMAPRight, [
        b"a1 FETCH 1,2,3\r\n", b"a2 FETCH 7,7,100\r\n", b"a3 FETCH 5\r\n", b"a4 LOGOUT\r\n",
    ]),
    Pair("whois", 11, Whois, WhoisRight, [b"here.example\r\n", b"There.Example \r\n", b"nowhere.example\r\n", b"\r\n"]),
    Pair("websocket", 11, WebSocket, WebSocketRight, [
        b"\x82\x05hello", b"\x02\x03abc\x00\x03def\x80\x01g", b"\x82\x00", b"\x88\x00",
    ], {"kept": 1 << 19}),
    Pair("postgresql", 12, Postgres, PostgresRight, [
        b"\x00\x00\x00\x12\x00\x03\x00\x00user\0ada\0\0", b"Q\x00\x00\x00\x0dSELECT 1\0", b"Q\x00\x00\x00\x05\0",
        b"X\x00\x00\x00\x04",
    ]),
    Pair("radius", 12, RADIUS, RADIUSRight, [
        b"\x01%b\x00\x21abcdefghijklmnop\x01\x05ada\x02\x08sesame" % n for n in (b"\x01", b"\x02", b"\x03")
    ]),
    Pair("ftp", 12, FTP, FTPRight, [
        b"USER ada\r\n", b"PASS sesame\r\n", b"PWD\r\n", b"NOOP\r\n", b"QUIT\r\n",
    ]),
]  # fmt: skip
