"""The handlers of the package `handlers`, with a conversation each. A mix-in is in front of a handler, as in a server.

What a class needs of its user is given here: a store, a directory, procedures. A nonce has to be the same in each run:
see `CHANCE`.
"""

import hmac
from base64 import b64encode
from functools import partial
from pathlib import Path
from struct import pack
from types import SimpleNamespace

import handlers
from handlers import Packet, Until, World, services
from handlers.auth import Attempts
from handlers.auth.challenge import Answer, Challenge
from handlers.auth.sasl import External, Plain
from handlers.auth.unix import UnixPeer
from handlers.blocking import DatagramRequestHandler, StreamRequestHandler
from handlers.blocking.face import Passive
from handlers.http import HTTPHandler
from handlers.http.files import Files
from handlers.http.websocket import WebSocketHandler
from handlers.http.wsgi import handler_of
from handlers.sunrpc.calling import DatagramCaller, StreamCaller
from handlers.sunrpc.client import Records
from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.program import Unmade
from handlers.sunrpc.record import RPCStreamHandler
from handlers.sunrpc.rpcbind import Rpcbind
from handlers.sunrpc.tls import PROBE, StartTLS
from handlers.telnet import TelnetEcho
from reactor.rows.filters.tls import TLS
from tests.support import certificates
from tests.support.authentication import DUMMY, KEY, USERS, Login
from tests.support.conversations import Bare

from . import Right
from .shown import GET, HANDSHAKE, LINES, call, mark

PACKETS = [b"one", b"two", b"three"]
MANY = Attempts(failures=1 << 30)
"""As many as a check makes."""

CHANCE = "handlers.auth.challenge.token_bytes"
"""What makes the nonces, for a test to replace it by ``bytes``."""


def world(secured=None, **options):
    """A world whose clock stands still."""
    made = World(("127.0.0.1", 50_000), now=lambda: 0.0, **options)
    made.secured = secured
    return made


# Authentication


class Users(UnixPeer, services.Echo):
    users = {1000}


class Challenging(Challenge, services.Echo):
    store, attempts = USERS, MANY


class Answering(Answer, services.Echo):
    name, key = "ada", KEY


class Named(Login, services.Echo):
    attempts, dummy = MANY, DUMMY
    mechanisms = (Plain(), External())


def proof(role):
    """The proof of a peer that has the key; both nonces are zeros."""
    return hmac.digest(KEY, b"AUTH1 " + role + bytes(64) + b"ada", "sha256").hex().encode()


ZEROS = b"00" * 32
PLAIN = b"AUTH PLAIN " + b64encode(b"\0ada\0sesame") + b"\r\nhello"
EXTERNAL = b"AUTH EXTERNAL =\r\nhello"
CREDENTIALS = 4711, 1000, 100
"""The process, the user and the group of a client."""


# HTTP


class Measuring(HTTPHandler):
    """Answers with the length of the content."""

    async def respond(self, request, response):
        length = 0
        while piece := await request.read():
            length += len(piece)
        response.reply(200, b"%d" % length)


class Speaking(WebSocketHandler):
    async def converse(self, socket, request):
        while True:
            await socket.send(await socket.receive())


def application(environ, start_response):
    """Answers with the content in capitals."""
    content = environ["wsgi.input"].read().upper()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))])
    return [content]


class Application(handler_of(application)):
    """The handler of the application."""


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
HELLO = b"\x81\x85\0\0\0\0hello"
"""The text "hello" as a frame of WebSocket, masked with zeros (RFC 6455, section 5.2)."""


# RPC


class Ports(Rpcbind):
    """The programs of a host."""


class PortsStream(RPCStreamHandler):
    versions = Ports.versions


class PortsDatagram(RPCDatagramHandler):
    versions = Ports.versions


class Protected(StartTLS):
    versions = Ports.versions

    def make_tls(self, inner):
        return TLS(inner, context=certificates.server_context())


class Calling(StreamCaller):
    timeout = 60


class CallingDatagram(DatagramCaller):
    timeout = 1  # it goes by in real time, too


def text(data):
    return pack("!I", len(data)) + data + bytes(-len(data) % 4)


RPCB = pack("!II", 100_003, 3) + text(b"tcp") + text(b"127.0.0.1.8.1") + text(b"ada")
MAPPING = pack("!IIII", 100_003, 3, 6, 2049)
CALLS = [
    call(1, 100_000, 2, 0),
    call(2, 100_000, 2, 3, MAPPING),
    call(3, 100_000, 2, 4),
    call(4, 100_000, 3, 3, RPCB),
    call(5, 100_000, 4, 11, RPCB),
    call(6, 100_000, 5, 0),
    call(7, 99, 1, 0),
]
REPLY = pack("!6I", 1, 1, 0, 0, 0, 0)
PROBING = call(8, 100_000, 2, 0)[:24] + PROBE


# Handlers of the kind of socketserver


class Finger(StreamRequestHandler):
    request = Until(b"\r\n", limit=80)

    def handle(self):
        self.wfile.write(b"no plan for " + self.rfile.readline())


async def lines(row):
    """A framing: a digit in a line, and as many lines as it says."""
    number = await Until(b"\n", limit=2)
    for _ in range(int(number) if number.strip().isdigit() else 0):
        await Until(b"\n", limit=80)


class Paragraphs(StreamRequestHandler):
    """Is asked again and again over one connection."""

    request = lines
    close_connection = False

    def handle(self):
        self.wfile.write(self.rfile.read().upper())


class FingerPacket(DatagramRequestHandler):
    request = Packet()

    def handle(self):
        self.wfile.write(b"no plan for " + self.rfile.readline())


HERE = Path(handlers.__file__).parent / "auth"
CORPUS = [
    *(Right(kind, LINES) for kind in (services.Echo, services.Discard, services.Daytime, services.Time)),
    Right(services.CharGen, LINES),
    *(Right(kind, PACKETS) for kind in (services.EchoDatagram, services.DiscardDatagram, services.DaytimeDatagram)),
    *(Right(kind, PACKETS) for kind in (services.TimeDatagram, services.CharGenDatagram)),
    Right(TelnetEcho, LINES),
    Right(Users, LINES, {"world": world(credentials=CREDENTIALS), "modes": []}),
    Right(Challenging, b"ada " + ZEROS + b" " + proof(b"client") + b"\nhello"),
    Right(Answering, b"AUTH1 " + ZEROS + b"\nOK " + proof(b"server") + b"\nhello"),
    Right(Named, PLAIN, {"world": world("tls1.3"), "modes": []}),
    Right(Named, EXTERNAL, {"world": world(credentials=CREDENTIALS), "modes": []}),
    Right(Measuring, POST + CHUNKED),
    Right(partial(Files, HERE), GET),
    Right(Speaking, HANDSHAKE + HELLO),
    Right(Application, POST + CHUNKED, {"server": SimpleNamespace(server_address=("127.0.0.1", 80))}),
    Right(PortsStream, b"".join(map(mark, CALLS))),
    Right(PortsDatagram, CALLS),
    # What comes behind a probe in one read ends the connection (RFC 9289, section 4.1), and later it is for TLS.
    Right(Protected, mark(CALLS[0]) + mark(PROBING), {"meant": ["same_for_any_chunking_of_faults"]}),
    Right(Calling, mark(REPLY)),
    Right(CallingDatagram, [REPLY]),
    Right(Finger, b"ada\r\n"),
    Right(Paragraphs, b"2\nab\nc\n0\n1\nd\n"),
    Right(FingerPacket, PACKETS),
    Right(Bare, b"question"),
]
WITHOUT = {
    Passive: "it is driven by a thread, or a child, that blocks",
    Records: "it keeps what it reads for a client that blocks",
    Unmade: "it stands for a version whose class raises, which is an error of the program",
}
"""The handlers that have no conversation, and why."""
