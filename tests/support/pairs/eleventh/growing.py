"""Handlers that gather what comes in small pieces: Asterisk's manager, clamd, MGCP."""

from __future__ import annotations

import re
from hmac import compare_digest

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

AMI_LINE = Until(b"\r\n", limit=256)
AMI_FIELD = re.compile(rb"([A-Za-z0-9-]+): ?([ -~\x80-\xff]*)")
AMI_FIELDS = 32
AMI_USERS = {b"monitor": b"sesame"}


class AsteriskManager(StreamHandler):
    """A part of the Asterisk Manager Interface (AMI 5): a login, and what a monitor asks."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.user = b""

    def handle(self) -> Step:
        self.send(b"Asterisk Call Manager/5.0.2\r\n")
        return self.next_action()

    def next_action(self) -> Step:
        """Wait for the first line of an action."""
        self.one_by_one += 1
        self.fields: list[tuple[bytes, bytes]] = []
        return AMI_LINE, self.line

    def line(self, line: bytes) -> Step:
        if line == b"\r\n":
            return self.action()
        matched = AMI_FIELD.fullmatch(line[:-2])
        if matched is None:
            raise Malformed("no header of an action")
        self.add(matched[1].lower(), matched[2])
        return AMI_LINE, self.further

    def further(self, line: bytes) -> Step:
        return self.line(line)

    def add(self, name: bytes, value: bytes) -> None:
        """Take a header of the action."""
        self.fields.append((name, value))

    def get(self, name: bytes) -> bytes:
        """The value of the first header with that name."""
        return next((value for known, value in self.fields if known == name), b"")

    def action(self) -> Step:
        """All headers have come: answer."""
        name = self.get(b"action").lower()
        if name == b"login":
            secret = AMI_USERS.get(self.get(b"username"), b"")
            if not secret or not compare_digest(secret, self.get(b"secret")):
                self.respond(b"Error", b"Message: Authentication failed")
                return None
            self.user = self.get(b"username")
            self.respond(b"Success", b"Message: Authentication accepted")
        elif name == b"logoff":
            self.respond(b"Goodbye", b"Message: Thanks for all the fish.")
            return None
        elif not self.user:
            self.respond(b"Error", b"Message: Permission denied")
        elif name == b"ping":
            self.respond(b"Success", b"Ping: Pong")
        elif name == b"events":
            is_on = self.get(b"eventmask").lower() in (b"on", b"system", b"call")
            self.respond(b"Success", b"Events: On" if is_on else b"Events: Off")
        elif name == b"corestatus":
            self.respond(b"Success", b"CoreReloadDate: 2024-03-01\r\nCoreCurrentCalls: 0")
        else:
            text = b"Invalid/unknown command" if name else b"Missing action in request"
            self.respond(b"Error", b"Message: " + text)
        return self.next_action()

    def respond(self, response: bytes, text: bytes) -> None:
        """Send a response, with the client's ActionID."""
        identifier = self.get(b"actionid")
        lines = b"ActionID: %b\r\n" % identifier if identifier else b""
        self.send(b"Response: %b\r\n%b%b\r\n\r\n" % (response, lines, text))


class AsteriskManagerRight(AsteriskManager):
    """A part of the Asterisk Manager Interface (AMI 5): a login, and what a monitor asks."""

    def add(self, name: bytes, value: bytes) -> None:
        if len(self.fields) >= AMI_FIELDS:
            raise Malformed("too many headers")
        self.fields.append((name, value))


CLAMD_COMMAND = Until(b"\0", limit=64)
CLAMD_LENGTH = Exactly(4)
CLAMD_CHUNK = 8_192
CLAMD_STREAM = 32_768  # StreamMaxLength of clamd.conf
CLAMD_SIGNATURE = b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE"


class Clamd(StreamHandler):
    """The part of clamd's protocol that scans a stream, in a session (clamd(8), commands with the prefix z)."""

    timeout = 30
    request_timeout = 60

    async def handle(self) -> None:
        if await CLAMD_COMMAND != b"zIDSESSION\0":
            self.send(b"UNKNOWN COMMAND\0")
            return
        self.opened()
        while True:
            self.one_by_one += 1
            command = await CLAMD_COMMAND
            if command == b"zPING\0":
                self.reply(b"PONG")
            elif command == b"zVERSION\0":
                self.reply(b"ClamAV 1.0.3/27100/Fri Dec  1 09:38:37 2023")
            elif command == b"zINSTREAM\0":
                if not await self.scan():
                    return
            elif command == b"zEND\0":
                return
            else:
                self.reply(b"UNKNOWN COMMAND")
                return

    def reply(self, text: bytes) -> None:
        """Answer the command with this number."""
        self.send(b"%d: %b\0" % (self.one_by_one, text))

    async def scan(self) -> bool:
        """Take the chunks of a stream and say what is in it. Whether another command may follow."""
        content = bytearray()
        while length := int.from_bytes(await CLAMD_LENGTH, "big"):
            if not self.fits(len(content), length):
                self.reply(b"INSTREAM size limit exceeded. ERROR")
                return False
            content += await Exactly(length)
        self.reply(b"stream: Eicar-Test-Signature FOUND" if CLAMD_SIGNATURE in content else b"stream: OK")
        return True

    def fits(self, taken: int, length: int) -> bool:
        """Whether a chunk of ``length`` bytes may come after ``taken`` bytes."""
        return length <= CLAMD_CHUNK


class ClamdRight(Clamd):
    """The part of clamd's protocol that scans a stream, in a session (clamd(8), commands with the prefix z)."""

    def fits(self, taken: int, length: int) -> bool:
        return length <= CLAMD_CHUNK and taken + length <= CLAMD_STREAM


MGCP_PACKET = Packet()
MGCP_LENGTH = 1_472
MGCP_KEPT = 32
MGCP_COMMAND = re.compile(rb"([A-Za-z]{4}) ([1-9][0-9]{0,8}) ([!-?A-~]+@[!-?A-~]+) MGCP 1\.0")
MGCP_PARAMETER = re.compile(rb"([A-Za-z]{1,2}):[ \t]*([ -~]*)")
MGCP_REQUEST = re.compile(rb"[0-9A-Fa-f]{1,32}")
MGCP_ENDPOINTS = (b"aaln/1@rgw.example.net", b"aaln/2@rgw.example.net")


class MediaGateway(DatagramHandler):
    """The commands of a call agent to a residential gateway: a part of MGCP 1.0 (RFC 3435)."""

    timeout = 30

    def setup(self) -> None:
        self.requests: dict[bytes, bytes] = {}  # the identifier of the last RQNT, by endpoint
        self.responses: dict[bytes, bytes] = {}  # by transaction, for commands that come again (section 3.5.1)

    def handle(self) -> Step:
        return MGCP_PACKET, self.packet

    def packet(self, packet: bytes) -> Step:
        head, *lines = packet.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
        command = MGCP_COMMAND.fullmatch(head)
        if command is None or len(packet) > MGCP_LENGTH:  # a response, or nothing of MGCP
            return self.handle()
        transaction = command[2]
        if transaction not in self.responses:
            code, *more = self.execute(command[1].upper(), command[3].lower(), lines)
            self.remember(transaction, b"%b %b %b\r\n%b" % (code[:3], transaction, code[4:], b"".join(more)))
        self.send(self.responses[transaction])
        return self.handle()

    def remember(self, transaction: bytes, response: bytes) -> None:
        """Keep the response to a transaction."""
        self.responses[transaction] = response

    def execute(self, verb: bytes, endpoint: bytes, lines: list[bytes]) -> tuple[bytes, ...]:
        """Do a command. Returns the code with its text, and lines of parameters."""
        parameters: dict[bytes, bytes] = {}
        for line in lines:
            matched = MGCP_PARAMETER.fullmatch(line)
            if matched is None or matched[1].upper() in parameters:
                return (b"510 Protocol error",)
            parameters[matched[1].upper()] = matched[2]
        if verb not in (b"AUEP", b"EPCF", b"RQNT"):
            return (b"504 Unknown or unsupported command",)
        if endpoint not in MGCP_ENDPOINTS:
            return (b"500 Endpoint unknown",)
        if verb == b"AUEP":
            request = self.requests.get(endpoint, b"0")
            return b"200 OK", b"X: %b\r\n" % request, b"A: a:PCMU, p:10-40, v:L\r\n"
        if verb == b"EPCF":
            return (b"200 OK",) if parameters.get(b"B") in (b"e:mu", b"e:A") else (b"538 Parameter error",)
        request = parameters.get(b"X", b"")
        if MGCP_REQUEST.fullmatch(request) is None:
            return (b"538 Parameter error",)
        self.requests[endpoint] = request
        return (b"200 OK",)


class MediaGatewayRight(MediaGateway):
    """The commands of a call agent to a residential gateway: a part of MGCP 1.0 (RFC 3435)."""

    def remember(self, transaction: bytes, response: bytes) -> None:
        if len(self.responses) >= MGCP_KEPT:
            del self.responses[next(iter(self.responses))]
        self.responses[transaction] = response


PAIRS = [
    Pair(
        "asterisk", 2, AsteriskManager, AsteriskManagerRight,
        [
            b"Action: Login\r\nActionID: 1\r\nUsername: monitor\r\nSecret: sesame\r\n\r\n",
            b"Action: Events\r\nActionID: 2\r\nEventMask: off\r\n\r\n",
            b"Action: Ping\r\nActionID: 3\r\n\r\n",
            b"Action: CoreStatus\r\nActionID: 4\r\n\r\n",
            b"Action: Ping\r\nActionID: 5\r\n\r\n",
            b"Action: Logoff\r\nActionID: 6\r\n\r\n",
        ],
    ),
    Pair(
        "clamd-stream", 2, Clamd, ClamdRight,
        [
            b"zIDSESSION\0",
            b"zPING\0",
            b"zVERSION\0",
            b"zINSTREAM\0" + b"\0\0\0\x1aSubject: the minutes\r\n\r\nHi" + b"\0\0\0\x06, ada." + b"\0\0\0\0",
            b"zINSTREAM\0" + b"\0\0\0\x28$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H" + b"\0\0\0\0",
            b"zEND\0",
        ],
    ),
    Pair(
        "mgcp-gateway", 2, MediaGateway, MediaGatewayRight,
        [
            b"AUEP 1200 aaln/1@rgw.example.net MGCP 1.0\r\n",
            b"EPCF 1201 aaln/1@rgw.example.net MGCP 1.0\r\nB: e:mu\r\n",
            b"RQNT 1202 aaln/1@rgw.example.net MGCP 1.0\r\nX: 0123456789AC\r\nR: L/hd(N)\r\n",
            b"AUEP 1203 aaln/1@rgw.example.net MGCP 1.0\r\nF: X, A\r\n",
            b"RQNT 1204 aaln/2@rgw.example.net MGCP 1.0\r\nX: 0123456789AD\r\nR: L/hu(N)\r\n",
        ],
    ),
]  # fmt: skip
