"""Pairs whose fault is recursion (kind 4), an end that only looks like one (10) or quadratic work (11)."""

import json
import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

from handlers import DatagramHandler, Exactly, Packet, Some, StreamHandler, Until
from tests.support.pairs.pair import Pair


class Unreadable(Exception):
    """The message can't be read."""


class Fluentd(StreamHandler):
    """Fluentd's forward protocol: ``[tag, time, record, option]`` in MessagePack; ``option`` asks for an answer."""

    timeout = 60
    max_depth = 1 << 30

    async def handle(self):
        while True:
            self.room = 600
            try:
                event = await self.value(0)
            except Unreadable:
                return
            if not isinstance(event, list) or len(event) != 4 or not isinstance(event[3], dict):
                return
            chunk = event[3].get(b"chunk")
            if isinstance(chunk, bytes) and len(chunk) < 32:
                self.send(b"\x81\xa3ack" + bytes([0xA0 | len(chunk)]) + chunk)

    async def value(self, depth):
        self.room -= 1
        kind = (await Exactly(1))[0]
        if self.room < 0 or depth > self.max_depth:
            raise Unreadable
        if kind < 0x80:
            return kind
        if kind < 0x90:
            pairs = [(await self.value(depth + 1), await self.value(depth + 1)) for _ in range(kind & 15)]
            return {key: value for key, value in pairs if isinstance(key, bytes)}
        if kind < 0xA0:
            return [await self.value(depth + 1) for _ in range(kind & 15)]
        if kind < 0xC0:
            return await Exactly(kind & 31)
        if kind not in (0xC0, 0xC2, 0xC3):
            raise Unreadable
        return {0xC0: None, 0xC2: False, 0xC3: True}[kind]


class FluentdRight(Fluentd):
    max_depth = 16


class Swank(StreamHandler):
    """SWANK, which SLIME speaks: six hexadecimal digits, then an S-expression of so many bytes."""

    timeout = 60
    max_depth = 1 << 30
    token = re.compile(rb'\s*(\(|\)|"[^"\\]*"|[^\s()"]+)')

    def handle(self):
        return Exactly(6), self.size

    def size(self, digits):
        if not re.fullmatch(rb"[0-9a-f]{6}", digits):
            return None
        return Exactly(int(digits, 16), limit=8192), self.form

    def form(self, text):
        try:
            found = self.token.match(text)
            form, _ = self.read(text, found, 0)
        except Unreadable:
            form = None
        if not isinstance(form, list) or len(form) < 2 or not re.fullmatch(rb"[0-9]{1,6}", form[-1] or b""):
            self.reply(b"(:reader-error)")
            return None
        self.reply(b"(:return (:ok %d) %b)" % (len(form), form[-1]))
        return self.handle()

    def read(self, text, found, depth):
        """The form that begins with the token ``found``, and its end; a list in a list counts as no atom."""
        if found is None or found[1] == b")" or depth > self.max_depth:
            raise Unreadable
        if found[1] != b"(":
            return found[1], found.end()
        form, place = [], found.end()
        while (found := self.token.match(text, place)) is not None and found[1] != b")":
            part, place = self.read(text, found, depth + 1)
            form.append(part if isinstance(part, bytes) else None)
        if found is None:
            raise Unreadable
        return form, found.end()

    def reply(self, text):
        self.send(b"%06x%b" % (len(text), text))


class SwankRight(Swank):
    max_depth = 40


def swank(text):
    return b"%06x%b" % (len(text), text)


def kasa(text, key=171):
    """The text in the cipher of TP-Link's plugs."""
    sealed = bytearray()
    for byte in text:
        key ^= byte
        sealed.append(key)
    return bytes(sealed)


def unsealed(data, key=171):
    return bytes(byte ^ before for byte, before in zip(data, bytes([key]) + data, strict=False))


class Kasa(DatagramHandler):
    """A plug of TP-Link: JSON in a cipher."""

    timeout = 30
    causes = (ValueError,)
    on = False

    async def handle(self):
        while True:
            packet = await Packet()
            try:
                system = json.loads(unsealed(packet))["system"]
                if "set_relay_state" in system:
                    self.on = system["set_relay_state"]["state"] == 1
                self.send(kasa(b'{"system":{"on":%d}}' % self.on))
            except (*self.causes, KeyError, TypeError, IndexError):
                self.send(kasa(b"{}"))


class KasaRight(Kasa):
    causes = (ValueError, RecursionError)


class Snpp(StreamHandler):
    """SNPP (RFC 1861), which pages people: the text ends with a line that is a dot."""

    timeout = 60
    called = False

    def handle(self):
        self.send(b"220 SNPP gateway\r\n")
        return self.next()

    def next(self):
        return Until(b"\r\n", limit=128), self.command

    def command(self, line):
        verb = line[:4].upper()
        if verb == b"QUIT":
            self.send(b"221 bye\r\n")
            return None
        if verb == b"PAGE" and line[4:5] == b" ":
            self.called = True
            self.send(b"250 pager accepted\r\n")
        elif verb == b"DATA" and line[4:] == b"\r\n" and self.called:
            self.send(b"354 begin input\r\n")
            self.length = 0
            return Until(b"\n", limit=512), self.text
        elif verb == b"SEND" and self.called:
            self.called = False
            self.send(b"250 message sent\r\n")
        else:
            self.send(b"500 not here\r\n")
        return self.next()

    def text(self, line):
        if self.is_end(line):
            self.send(b"250 %d bytes\r\n" % self.length)
            return self.next()
        self.length += len(line) - line.startswith(b".")
        if self.length > 4096:
            self.send(b"421 too long\r\n")
            return None
        return Until(b"\n", limit=512), self.text

    def is_end(self, line):
        return line.strip() == b"."


class SnppRight(Snpp):
    before = b"\r\n"

    def is_end(self, line):
        ends = line == b".\r\n" and self.before.endswith(b"\r\n")
        self.before = b"\r\n" if ends else line
        return ends


class Squeezebox(StreamHandler):
    """The command line of the Squeezebox server: words in percent-encoding; the answer repeats them."""

    timeout = 300

    async def handle(self):
        volume = b"50"
        while (line := await Until(b"\n", limit=512)) != b"exit\n":
            words = [unquote_to_bytes(word) for word in line[:-1].split(b" ")]
            if words[1:3] == [b"mixer", b"volume"] and len(words) == 4:
                if re.fullmatch(rb"100|[0-9]{1,2}", words[3]):
                    volume = words[3]
                elif words[3] == b"?":
                    words[3] = volume
            self.send(b" ".join(map(self.word, words)) + b"\n")

    def word(self, word):
        return word


class SqueezeboxRight(Squeezebox):
    def word(self, word):
        return quote_from_bytes(word, safe="").encode()


def xpl(device, current):
    head = b"xpl-cmnd\n{\nhop=1\nsource=acme-lamp.den\ntarget=*\n}\n"
    return head + b"control.basic\n{\ndevice=%b\ncurrent=%b\n}\n" % (device, current)


class Xpl(DatagramHandler):
    """xPL, for homes: two blocks of lines ``key=value``; the answer tells what the device is at now."""

    timeout = 30

    async def handle(self):
        while True:
            packet = await Packet()
            lines = self.lines(packet.decode("latin-1"))
            if lines[:2] != ["xpl-cmnd", "{"] or lines.count("}") != 2 or "control.basic" not in lines:
                continue
            body = lines[lines.index("control.basic") :]
            values = dict(line.split("=", 1) for line in body if "=" in line)
            if "device" in values and "current" in values:
                text = f"xpl-stat\n{{\ndevice={values['device']}\ncurrent={values['current']}\n}}\n"
                self.send(text.encode("latin-1"))

    def lines(self, text):
        return text.splitlines()


class XplRight(Xpl):
    def lines(self, text):
        return text.removesuffix("\n").split("\n")


class OpenFlow(StreamHandler):
    """OpenFlow 1.3: hello, echo and what the switch can do."""

    timeout = 60
    request_timeout = 60  # for one message: `one_by_one`

    def handle(self):
        self.held = b""
        return Some(), self.data

    def data(self, data):
        self.held += data
        while len(self.held) >= 8:
            length = int.from_bytes(self.held[2:4], "big")
            if self.held[0] != 4 or not 8 <= length <= 1024:
                return None
            if len(self.held) < length:
                break
            self.message(self.held[:length])
            self.held = self.held[length:]
        return Some(), self.data

    def message(self, message):
        self.one_by_one += 1
        if message[1] == 2:
            self.send(b"\x04\x03" + message[2:])
        elif message[1] == 5:
            self.send(b"\x04\x06\x00\x10" + message[4:8] + bytes(8))


class OpenFlowRight(OpenFlow):
    def data(self, data):
        held, place = self.held + data, 0
        while len(held) - place >= 8:
            length = int.from_bytes(held[place + 2 : place + 4], "big")
            if held[place] != 4 or not 8 <= length <= 1024:
                return None
            if len(held) - place < length:
                break
            self.message(held[place : place + length])
            place += length
        self.held = held[place:]
        return Some(), self.data


def openflow(kind, number, data=b""):
    return bytes([4, kind]) + (8 + len(data)).to_bytes(2, "big") + number.to_bytes(4, "big") + data


class Collectd(DatagramHandler):
    """The binary protocol of collectd, at a gateway that answers how many different names a packet has."""

    timeout = 30
    made_by = list

    async def handle(self):
        while True:
            packet = await Packet()
            names, place = self.made_by(), 0
            while place + 4 <= len(packet):
                length = int.from_bytes(packet[place + 2 : place + 4], "big")
                if length < 4 or place + length > len(packet):
                    break
                self.add(names, packet[place + 4 : place + length])
                place += length
            self.send(len(names).to_bytes(2, "big"))

    def add(self, names, name):
        if name not in names:
            names.append(name)


class CollectdRight(Collectd):
    made_by = set

    def add(self, names, name):
        names.add(name)


def part(kind, text):
    return kind.to_bytes(2, "big") + (5 + len(text)).to_bytes(2, "big") + text + b"\0"


UEL = b"\x1b%-12345X"


class Jetdirect(StreamHandler):
    """A printer at port 9100: a job ends with the universal exit language; PJL asks what the printer is."""

    timeout = 60

    def handle(self):
        self.job = b""
        return Some(), self.data

    def data(self, data):
        self.job += data
        while UEL in self.job:
            job, self.job = self.job.split(UEL, 1)
            self.done(job)
        if len(self.job) > 60_000:
            return None
        return Some(), self.data

    def done(self, job):
        if job.startswith(b"@PJL INFO ID"):
            self.send(b'@PJL INFO ID\r\n"LaserJet"\r\n\x0c')
        elif job:
            self.send(b"@PJL USTATUS JOB\r\nEND\r\nBYTES=%d\r\n\x0c" % len(job))


class JetdirectRight(Jetdirect):
    def handle(self):
        return Until(UEL, limit=60_000), self.ended

    def ended(self, data):
        self.done(data.removesuffix(UEL))
        return self.handle()


def forwarded(text):
    return b"\x94\xa3app\x07\x81\xa1m" + bytes([0xA0 | len(text)]) + text + b"\x81\xa5chunk\xa2p" + text[:1]


PAIRS = [
    Pair("fluentd", 4, Fluentd, FluentdRight, [forwarded(b"one"), forwarded(b"two"), forwarded(b"three")]),
    Pair(
        "swank", 4, Swank, SwankRight,
        [swank(b"(:emacs-rex (swank:connection-info) nil t 1)"), swank(b'(:emacs-rex (swank:eval "(+ 1 2)") nil t 2)'),
         swank(b"(:emacs-pong 1 3)")],
    ),
    Pair(
        "kasa", 4, Kasa, KasaRight,
        [kasa(b'{"system":{"get_sysinfo":{}}}'), kasa(b'{"system":{"set_relay_state":{"state":1}}}'),
         kasa(b'{"system":{"get_sysinfo":{}}}')],
    ),
    Pair(
        "snpp", 10, Snpp, SnppRight,
        [b"PAGE 5551234\r\n", b"DATA\r\n", b"call home\r\n..now\r\n", b".\r\n", b"SEND\r\n", b"QUIT\r\n"],
    ),
    Pair(
        "squeezebox", 10, Squeezebox, SqueezeboxRight,
        [b"kitchen mixer volume ?\n", b"kitchen mixer volume 70\n", b"kitchen mixer volume ?\n", b"exit\n"],
    ),
    Pair("xpl", 10, Xpl, XplRight, [xpl(b"lamp", b"on"), xpl(b"fan", b"50"), xpl(b"lamp", b"off")]),
    Pair(
        "openflow", 11, OpenFlow, OpenFlowRight,
        [openflow(0, 1), openflow(2, 2, b"ping"), openflow(5, 3), openflow(2, 4)],
    ),
    Pair(
        "collectd", 11, Collectd, CollectdRight,
        [part(0, b"host1") + part(2, b"cpu"), part(0, b"host2"), part(0, b"host1") + part(0, b"host1")],
    ),
    Pair(
        "jetdirect", 11, Jetdirect, JetdirectRight,
        [UEL + b"@PJL INFO ID\r\n", UEL, b"Hello, paper\r\n", b"and the end\x0c" + UEL],
    ),
]  # fmt: skip
