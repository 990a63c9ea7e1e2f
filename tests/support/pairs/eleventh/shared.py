"""Handlers that keep something for a connection: a music player, a speech server, a mail filter."""

from __future__ import annotations

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

MPD_LINE = Until(b"\n", limit=1_024)
MPD_COMMAND = re.compile(rb"([a-z_]{1,32})(?: (?:\"([^\"\\]*)\"|([^ \"\\]+)))?")
MPD_VOLUME = re.compile(rb"[0-9]{1,3}")
MPD_PASSWORDS = {b"sesame": {b"control"}}
MPD_NEEDS = {b"status": b"read", b"setvol": b"control", b"play": b"control", b"stop": b"control"}
MPD_PASSWORD, MPD_ARGUMENT, MPD_PERMISSION, MPD_UNKNOWN = 3, 2, 4, 5


class MusicPlayer(StreamHandler):
    """A player with an output for each client: a part of MPD's protocol, with its permissions (MPD 0.23)."""

    timeout = 60
    permissions = {b"read"}  # default_permissions of mpd.conf

    def setup(self) -> None:
        self.volume, self.state = 100, b"stop"

    def handle(self) -> Step:
        self.send(b"OK MPD 0.23.5\n")
        return MPD_LINE, self.line

    def line(self, line: bytes) -> Step:
        matched = MPD_COMMAND.fullmatch(line[:-1])
        if matched is None:
            self.failed(MPD_UNKNOWN, b"", b"No command given")
            return MPD_LINE, self.line
        name, argument = matched[1], matched[2] or matched[3] or b""
        if name == b"close":
            return None
        if name in MPD_NEEDS and MPD_NEEDS[name] not in self.permissions:
            self.failed(MPD_PERMISSION, name, b'you don\'t have permission for "%b"' % name)
        else:
            self.command(name, argument)
        return MPD_LINE, self.line

    def command(self, name: bytes, argument: bytes) -> None:
        """Do a command that the client may give."""
        if name == b"password":
            if argument not in MPD_PASSWORDS:
                self.failed(MPD_PASSWORD, name, b"incorrect password")
                return
            self.permissions |= MPD_PASSWORDS[argument]
        elif name == b"setvol":
            if MPD_VOLUME.fullmatch(argument) is None or int(argument) > 100:
                self.failed(MPD_ARGUMENT, name, b"Integer between 0 and 100 expected")
                return
            self.volume = int(argument)
        elif name in (b"play", b"stop"):
            self.state = name
        elif name == b"status":
            self.send(b"volume: %d\nstate: %b\n" % (self.volume, self.state))
        elif name != b"ping":
            self.failed(MPD_UNKNOWN, b"", b'unknown command "%b"' % name)
            return
        self.send(b"OK\n")

    def failed(self, code: int, name: bytes, text: bytes) -> None:
        """Say why a command was not done."""
        self.send(b"ACK [%d@0] {%b} %b\n" % (code, name, text))


class MusicPlayerRight(MusicPlayer):
    """A player with an output for each client: a part of MPD's protocol, with its permissions (MPD 0.23)."""

    permissions = frozenset({b"read"})  # type: ignore[assignment]


SSIP_LINE = Until(b"\r\n", limit=512)
SSIP_NAME = re.compile(rb"[A-Za-z0-9_-]+:[A-Za-z0-9_-]+:[A-Za-z0-9_-]+")
SSIP_VOICES = {  # name, language, variant, by output module
    b"espeak-ng": (
        (b"English (Great Britain)", b"en", b"none"),
        (b"English (America)", b"en", b"none"),
        (b"German", b"de", b"none"),
        (b"Czech", b"cs", b"none"),
    ),
    b"festival": ((b"kal_diphone", b"en", b"none"), (b"czech_ph", b"cs", b"none")),
}
SSIP_LANGUAGES = (b"en", b"de", b"cs")


class SpeechDispatcher(StreamHandler):
    """The settings of a client of Speech Dispatcher: a part of SSIP (Speech Synthesis Interface Protocol 0.11)."""

    timeout = 300
    listings: dict[object, bytes] = {}  # all clients ask for the same

    def setup(self) -> None:
        self.module, self.language = b"espeak-ng", b"en"
        self.name = b"unknown:unknown:unknown"

    def handle(self) -> Step:
        return SSIP_LINE, self.line

    def line(self, line: bytes) -> Step:
        words = line[:-2].split(b" ")
        upper = [word.upper() for word in words]
        if upper == [b"QUIT"]:
            self.send(b"231 HAPPY HACKING\r\n")
            return None
        if upper[:2] == [b"SET", b"SELF"] and len(words) == 4:
            self.send(self.set(upper[2], words[3]))
        elif upper == [b"LIST", b"OUTPUT_MODULES"]:
            self.send(b"".join(b"250-%b\r\n" % module for module in SSIP_VOICES) + b"250 OK MODULE LIST SENT\r\n")
        elif upper == [b"LIST", b"SYNTHESIS_VOICES"]:
            self.send(self.voices())
        elif upper == [b"GET", b"LANGUAGE"]:
            self.send(b"251-%b\r\n251 OK GET RETURNED\r\n" % self.language)
        else:
            self.send(b"500 ERR INVALID COMMAND\r\n")
        return self.handle()

    def set(self, name: bytes, value: bytes) -> bytes:
        """Change a setting. Returns the answer."""
        if name == b"CLIENT_NAME":
            if SSIP_NAME.fullmatch(value) is None:
                return b"409 ERR INVALID CLIENT NAME\r\n"
            self.name = value
            return b"208 OK CLIENT NAME SET\r\n"
        if name == b"LANGUAGE":
            if value not in SSIP_LANGUAGES:
                return b"409 ERR COULDNT SET LANGUAGE\r\n"
            self.language = value
            return b"201 OK LANGUAGE SET\r\n"
        if name == b"OUTPUT_MODULE":
            if value not in SSIP_VOICES:
                return b"312 ERR COULDNT SET OUTPUT MODULE\r\n"
            self.module = value
            return b"216 OK OUTPUT MODULE SET\r\n"
        return b"513 ERR PARAMETER INVALID\r\n"

    def voices(self) -> bytes:
        """The voices of the output module that speak the language."""
        key = self.listed_by()
        if key not in self.listings:
            lines = [b"249-%b\t%b\t%b\r\n" % voice for voice in SSIP_VOICES[self.module] if voice[1] == self.language]
            self.listings[key] = b"".join(lines) + b"249 OK VOICE LIST SENT\r\n"
        return self.listings[key]

    def listed_by(self) -> object:
        """The key of a list of voices."""
        return self.module


class SpeechDispatcherRight(SpeechDispatcher):
    """The settings of a client of Speech Dispatcher: a part of SSIP (Speech Synthesis Interface Protocol 0.11)."""

    listings: dict[object, bytes] = {}  # all clients ask for the same

    def listed_by(self) -> object:
        return self.module, self.language


MILTER_LENGTH = Exactly(4)
MILTER_PACKET = 8_192
MILTER_VERSION, MILTER_ACTIONS = 6, 0
MILTER_NOTHING_ELSE = 0x01 | 0x02 | 0x10 | 0x20 | 0x40  # no connection, HELO, body, header, end of headers
MILTER_MACROS = (b"{auth_authen}", b"i")
MILTER_DOMAIN = b"@example.org>"
MILTER_OPTIONS = b"O%b%b%b" % tuple(
    number.to_bytes(4, "big") for number in (MILTER_VERSION, MILTER_ACTIONS, MILTER_NOTHING_ELSE)
)
CONTINUE, ACCEPT, DENIED = b"c", b"a", b"y550 5.7.1 Relaying denied\0"


class RelayFilter(StreamHandler):
    """A filter that lets only users of the mail server relay: a part of the milter protocol (libmilter, version 6)."""

    timeout = 300
    request_timeout = 60

    def __init__(self, macros: dict[bytes, bytes] = {}) -> None:  # noqa: B006
        self.macros = macros

    def setup(self) -> None:
        self.sender = b""

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            length = int.from_bytes(await MILTER_LENGTH, "big")
            if not 0 < length <= MILTER_PACKET:
                raise Malformed("no length of a packet")
            packet = await Exactly(length)
            if packet == b"Q":
                return
            answer = self.answer(packet[:1], packet[1:])
            if answer:
                self.send(len(answer).to_bytes(4, "big") + answer)

    def answer(self, command: bytes, data: bytes) -> bytes:
        """The answer to a packet; ``b""`` for none."""
        if command == b"O" and len(data) == 12:
            return MILTER_OPTIONS
        if command == b"D" and data:
            self.define(data[1:])
            return b""
        if command == b"A" and not data:
            self.sender = b""
            return b""
        if command == b"M" and data.endswith(b"\0"):
            self.sender = data.split(b"\0", 1)[0]
            return CONTINUE
        if command == b"R" and data.endswith(b"\0") and self.sender:
            recipient = data.split(b"\0", 1)[0].lower()
            return CONTINUE if recipient.endswith(MILTER_DOMAIN) or self.macros.get(b"{auth_authen}") else DENIED
        if command == b"E" and self.sender:
            self.sender = b""
            return ACCEPT
        raise Malformed("no packet that was agreed on")

    def define(self, data: bytes) -> None:
        """Take macros: names and values, each with a zero byte at its end."""
        texts = data.split(b"\0")
        if texts.pop() or len(texts) % 2:
            raise Malformed("no macros")
        for name, value in zip(texts[::2], texts[1::2], strict=True):
            if name in MILTER_MACROS:
                self.macros[name] = value


class RelayFilterRight(RelayFilter):
    """A filter that lets only users of the mail server relay: a part of the milter protocol (libmilter, version 6)."""

    def __init__(self, macros: dict[bytes, bytes] | None = None) -> None:
        self.macros = {} if macros is None else macros


def milter(packet: bytes) -> bytes:
    """The packet with its length."""
    return len(packet).to_bytes(4, "big") + packet


PAIRS = [
    Pair(
        "mpd-outputs", 3, MusicPlayer, MusicPlayerRight,
        [
            b"ping\n", b'password "sesame"\n', b"status\n", b'setvol "60"\n', b"play\n", b"status\n", b'setvol "35"\n',
            b"stop\n", b"status\n", b"close\n",
        ],
    ),
    Pair(
        "ssip-voices", 3, SpeechDispatcher, SpeechDispatcherRight,
        [
            b"SET SELF CLIENT_NAME ada:emacs:main\r\n",
            b"LIST OUTPUT_MODULES\r\n",
            b"SET SELF OUTPUT_MODULE espeak-ng\r\n",
            b"SET SELF LANGUAGE en\r\n",
            b"LIST SYNTHESIS_VOICES\r\n",
            b"GET LANGUAGE\r\n",
            b"SET SELF OUTPUT_MODULE festival\r\n",
            b"LIST SYNTHESIS_VOICES\r\n",
            b"QUIT\r\n",
        ],
    ),
    Pair(
        "milter-relay", 3, RelayFilter, RelayFilterRight,
        [
            milter(b"O" + bytes.fromhex("00000006 000001ff 001fffff")),
            milter(b"DM" + b"i\x004Bxw1c2qRnz3jtX\0{mail_mailer}\0smtp\0{auth_authen}\0ada\0{auth_type}\0PLAIN\0"),
            milter(b"M<ada@example.org>\0SIZE=1024\0"),
            milter(b"DR" + b"{rcpt_mailer}\0smtp\0{rcpt_host}\0mail.example.com\0"),
            milter(b"R<bob@example.com>\0"),
            milter(b"R<eve@example.org>\0"),
            milter(b"DE" + b"i\x004Bxw1c2qRnz3jtX\0"),
            milter(b"E"),
            milter(b"M<ada@example.org>\0"),
            milter(b"R<bob@example.com>\0"),
            milter(b"A"),
            milter(b"Q"),
        ],
    ),
]  # fmt: skip
