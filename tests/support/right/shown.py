"""The handlers of the examples, with a conversation each."""

import struct
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from examples import (
    auth,
    balanced,
    chat,
    echo,
    embed,
    everywhere,
    files,
    forked,
    https,
    instrument,
    login,
    mutual,
    nameserver,
    nfs_server,
    proxy,
    resp,
    smtp,
    upper,
    websocket,
)
from examples.vxi11 import channels
from examples.vxi11.links import Device
from handlers import Until

from . import Right

LINES = b"one\r\ntwo\r\n"
MAIL = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n..x\r\n.\r\nQUIT\r\n"
MAIL_TLS = MAIL.replace(b"EHLO a\r\n", b"EHLO a\r\nSTARTTLS\r\nEHLO a\r\n")
LOGIN = b"a CAPABILITY\r\nb WHO\r\nc LOGOUT\r\n"
LOGIN_TLS = b"a CAPABILITY\r\nb STARTTLS\r\nc CAPABILITY\r\nd WHO\r\ne LOGOUT\r\n"
GET = b"GET /__init__.py HTTP/1.1\r\nHost: a\r\n\r\nHEAD /none HTTP/1.1\r\nHost: a\r\n\r\n"
QUERY = b"\0\7\1\0\0\1\0\0\0\0\0\0\4here\7example\0\0\1\0\1"
OTHER = QUERY.replace(b"\0\7", b"\0\10", 1).replace(b"here", b"gone")
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def call(number, program, version, procedure, arguments=b""):
    """A call of ONC RPC without credentials (RFC 5531, section 9)."""
    return struct.pack("!IIIIIIIIII", number, 0, 2, program, version, procedure, 0, 0, 0, 0) + arguments


def mark(message):
    """The message as one fragment on a stream (RFC 5531, section 11)."""
    return struct.pack("!I", 0x80000000 | len(message)) + message


def framed(message):
    """The message on a stream, with its length in front (RFC 1035, section 4.2.2)."""
    return struct.pack("!H", len(message)) + message


NULL, UNKNOWN = call(1, 100_000, 2, 0), call(2, 99, 1, 0)
COMMANDS = b"*1\r\n$4\r\nPING\r\nSET a 1\r\nGET a\r\n"
DEVICE = SimpleNamespace(device=Device())
DEVICE.device.open(("127.0.0.1", 1))  # its number is 1
POST = SimpleNamespace(context=None, deliver=lambda *_: None)

PAGES = b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"


ABORT = [
    mark(call(1, 395_184, 1, 1, (1).to_bytes(4, "big"))),
    mark(call(2, 395_184, 1, 1, (2).to_bytes(4, "big"))),
    mark(call(3, 395_183, 1, 23, (1).to_bytes(4, "big"))),
]
"""VXI-11: abort what a link waits for, then what one that is not there; destroy the link of another connection."""


class Factors(forked.Blocking):
    """With a framing, so that it is known what a request is. The parent is tried: a child may compute for long."""

    request = Until(b"\n", forked.LIMIT)


CORPUS = [
    Right(auth.SecretEcho, b"sesame\nlet me in\n"),
    Right(auth.SecretUpper, b"guess\nsesame\nlet me in\n"),
    Right(balanced.Page, PAGES, {"server": SimpleNamespace(here="127.0.0.1", is_leaving=False)}),
    Right(chat.Chat, b"ann\nhello\n", {"meant": ["leaves_nothing_behind"]}),
    Right(echo.Echo, LINES),
    Right(embed.Upper, LINES),
    Right(everywhere.Upper, LINES),
    Right(everywhere.UpperDatagram, [b"one", b"two"]),
    Right(partial(files.Store, str(Path(files.__file__).parent.parent / "handlers" / "auth")), GET),
    Right(forked.States, b"91\n"),
    Right(forked.Conversation, b"word\n"),
    Right(Factors, b"91\n", {"server": SimpleNamespace(fork_request=lambda _: 1), "modes": []}),
    Right(instrument.PortsStream, mark(NULL) + mark(UNKNOWN)),
    Right(instrument.PortsDatagram, [NULL, UNKNOWN]),
    Right(channels.Handler, mark(call(1, 395_183, 1, 0)) + mark(UNKNOWN), {"server": SimpleNamespace(device=Device())}),
    Right(channels.Handler, b"".join(ABORT), {"server": DEVICE}),
    Right(login.Service, LOGIN, {"server": SimpleNamespace(context=None)}),
    Right(login.Service, LOGIN_TLS, {"server": SimpleNamespace(context=None)}),
    Right(mutual.Echo, LINES),
    Right(nameserver.Query, [QUERY], {"server": SimpleNamespace(upstream=("127.0.0.1", 9))}),
    Right(nameserver.Stream, framed(QUERY) + framed(OTHER), {"server": SimpleNamespace(upstream=("127.0.0.1", 9))}),
    Right(proxy.Client, LINES),
    Right(resp.Session, COMMANDS, {"server": SimpleNamespace(store=resp.Store()), "meant": ["stays_in_bounds"]}),
    Right(smtp.Receiver, MAIL, {"server": POST}),
    Right(smtp.Receiver, MAIL_TLS, {"server": POST}),
    Right(upper.States, LINES),
    Right(upper.Conversation, LINES),
    Right(upper.Blocking, LINES),
    Right(websocket.Echo, HANDSHAKE, {"meant": ["ends_if_it_drips", "same_at_its_limits"]}),  # the limit is h11's
]
ELSEWHERE = {
    https.Files: "test_a_handler_behind_tls_is_not_accused",
    nameserver.DatagramUpstream: "it asks another server; tests/examples/test_nameserver.py",
    nameserver.StreamQuery: "a Stream makes calls of it",
    nameserver.StreamUpstream: "it asks another server; tests/examples/test_nameserver.py",
    nfs_server.Handler: "test_the_nfs_server_is_not_accused",
    proxy.Target: "it is the other side of a Client; tests/examples/test_proxy.py",
    **dict.fromkeys(nfs_server.Handler.versions, "test_the_nfs_server_is_not_accused"),
}
"""The handlers of the examples that are not in ``CORPUS``, and why, or what tries them."""
