"""Thirty pairs of handlers, a broken one and a right one: each fault is of a kind that has shipped in services."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

from tests.support.pairs.thirty import binary, datagrams, http, lines


class Pair(NamedTuple):
    """Two handlers that differ in one fault, what a client says to them, and what else `check` is told of them."""

    name: str
    kind: str
    broken: Any
    right: Any
    conversation: list[bytes]
    options: dict[str, Any]


def stream(name: str, broken: Any, right: Any, *conversation: bytes, **options: Any) -> Pair:
    return Pair(name, "stream", broken, right, list(conversation), options)


def datagram(name: str, broken: Any, right: Any, *conversation: bytes, **options: Any) -> Pair:
    return Pair(name, "datagram", broken, right, list(conversation), options)


HOST = b"Host: a.example\r\n"
SIP = b"MESSAGE sip:ada@a.example SIP/2.0\r\nCSeq: %d MESSAGE\r\nContent-Length: %d\r\n\r\n%b"
QUESTION = b"\x12\x34\x01\x00\x00%c\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01"
SHORT_QUESTION = b"\x04mail\xc0\x10\x00\x01\x00\x01"
FRAME = b"\x00%c\x01\x00%c%b"
ACCESS = b"\x01%c\x00%c0123456789abcdef\x01\x05ada\x02%c%b"
CHUNK = b"\x1e\x0f12345678%c\x02%b"


PAIRS = [
    stream("netstrings: lax numbers", binary.NetstringsLax, binary.Netstrings, b"5:hello,", b"0:,", b"3:abc,"),
    stream(
        "chunks: the end is not checked", http.ChunksUnchecked, http.Chunks,
        b"5\r\nhello\r\n", b"a\r\n0123456789\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n",
    ),
    stream(
        "http: the body of a refused request is not read", http.WebUnread, http.Web,
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
        b"GET /missing HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    ),
    stream(
        "smtp: recipients are kept", lines.SmtpKept, lines.Smtp,
        b"HELO a.example\r\n", b"MAIL FROM:<ada@a.example>\r\n", b"RCPT TO:<grace@b.example>\r\n", b"DATA\r\n",
        b"Subject: hello\r\n\r\nhello\r\n.\r\n", b"QUIT\r\n",
    ),
    stream(
        "socks: an address in one read", binary.SocksOneRead, binary.Socks,
        b"\x05\x02\x00\x02", b"\x05\x01\x00\x03\x0bexample.org\x00\x50",
    ),
    stream(
        "http: a response is split", http.RedirectSplit, http.Redirect,
        b"GET /go?to=/home HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /go?to=/%7Eada HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    stream(
        "stomp: a subscriber is kept", http.StompLeft, http.Stomp,
        b"CONNECT\naccept-version:1.2\n\n\0", b"SUBSCRIBE\nid:0\ndestination:/news\nreceipt:1\n\n\0",
        b"SEND\ndestination:/news\n\nhello\0", b"DISCONNECT\nreceipt:2\n\n\0",
        server=SimpleNamespace(subscribers={}),
    ),
    stream(
        "mqtt: an endless length", binary.MqttEndless, binary.Mqtt,
        b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03ada", b"\xc0\x00", b"\x32\x0c\x00\x04news\x00\x07hell",
        b"\xe0\x00",
    ),
    stream(
        "relp: no reply to what is unknown", lines.RelpSilent, lines.Relp,
        b"1 open 14 relp_version=0\n", b"2 syslog 5 hello\n", b"3 close 0\n",
    ),
    stream(
        "memcached: causes are swallowed", lines.MemcachedSwallows, lines.Memcached,
        b"set greeting 0 0 5\r\nhello\r\n", b"get greeting\r\n", b"get other\r\n",
    ),
    stream(
        "sip: the case of a name counts", http.SipCase, http.Sip,
        SIP % (1, 5, b"hello"), SIP % (2, 0, b""), SIP % (3, 3, b"bye"),
    ),
    stream(
        "beanstalkd: a bound is off by two", lines.BeanstalkdBound, lines.Beanstalkd,
        b"put 0 0 60 5\r\nhello\r\n", b"reserve-with-timeout 0\r\n", b"reserve-with-timeout 0\r\n", b"quit\r\n",
    ),
    stream(
        "chat: a name is stolen", lines.ChatStolen, lines.Chat, b"NICK ada\r\n", b"SAY hello\r\n", b"QUIT\r\n",
        server=SimpleNamespace(people={}),
    ),
    stream(
        "dns: a pointer to itself", binary.DnsLoop, binary.Dns,
        b"\x00\x1d" + QUESTION % 1, b"\x00\x28" + QUESTION % 2 + SHORT_QUESTION,
    ),
    stream(
        "pop3: the deadline begins anew", lines.Pop3Restarts, lines.Pop3,
        b"USER ada\r\n", b"PASS sesame\r\n", b"STAT\r\n", b"QUIT\r\n",
    ),
    stream(
        "heartbeat: bleeds", binary.HeartbeatBleed, binary.Heartbeat,
        FRAME % (20, 16, b"a secret of mine" + b"\0"), FRAME % (9, 5, b"hello" + b"\0"),
    ),
    stream(
        "redis: answers out of order", lines.RedisUnordered, lines.Redis,
        b"PING\r\n", b"GET one\r\n", b"GET two\r\n",
    ),
    stream(
        "whois: a half-close is a disconnect", lines.WhoisHalfClosed, lines.Whois,
        b"example.org\r\n", b"example.net\r\n",
    ),
    stream(
        "syslog: an expression backtracks", lines.SyslogBacktracks, lines.Syslog,
        b"<34>su: root has failed\n", b"<13>session-manager daemon: closed\n", b"<7>no colon\n",
    ),
    stream(
        "ftp: a delay that blocks", lines.FtpBlocks, lines.Ftp,
        b"USER anonymous\r\n", b"PASS ada@a.example\r\n", b"NOOP\r\n", b"QUIT\r\n",
    ),
    datagram(
        "tftp: the sorcerer's apprentice", datagrams.TftpApprentice, datagrams.Tftp,
        b"\0\1welcome-message.txt\0octet\0", b"\0\4\0\1", b"\0\4\0\2", b"\0\4\0\3",
    ),
    datagram(
        "ntp: an answer is answered", datagrams.NtpLoop, datagrams.Ntp,
        b"\x23\x00\x06\xec" + bytes(36) + b"\xe1\x00\x00\x01\x80\x00\x00\x00",
        b"\x1b\x00\x06\xec" + bytes(36) + b"\xe1\x00\x00\x02\x40\x00\x00\x00",
    ),
    datagram(
        "coap: a short message", datagrams.CoapShort, datagrams.Coap,
        b"\x42\x01\x00\x01ab\xb4time", b"\x40\x01\x00\x02\xbd\x02temperature-red",
    ),
    datagram(
        "radius: an attribute of length zero", datagrams.RadiusZero, datagrams.Radius,
        ACCESS % (1, 33, 8, b"sesame"), ACCESS % (2, 30, 5, b"abc"),
    ),
    datagram(
        "statsd: names without a bound", datagrams.StatsdNames, datagrams.Statsd,
        b"web.requests:1|c", b"web.requests:2|c\nweb.errors:1|c", b"web.errors",
    ),
    datagram(
        "game: a short question, a long answer", datagrams.GameAmplifies, datagrams.Game,
        b"\xff\xff\xff\xffgetinfo".ljust(260, b"\0"), b"\xff\xff\xff\xffgetstatus".ljust(260, b"\0"),
    ),
    datagram(
        "gelf: chunks of all peers in one table", datagrams.GelfShared, datagrams.Gelf,
        CHUNK % (0, b'{"message":'), CHUNK % (1, b'"hello"}'),
    ),
    datagram(
        "upload: a packet counts twice", datagrams.UploadTwice, datagrams.Upload,
        b"\0\0hello ", b"\1\0world, ", b"\2\1good bye",
    ),
    datagram(
        "invite: sent again for ever", datagrams.InviteForever, datagrams.Invite,
        b"INVITE 0123abcd", b"ACK 0123abcd",
    ),
    datagram(
        "resolver: a key that raises", datagrams.ResolverKey, datagrams.Resolver,
        b"\x00\x01name.example", b"\x00\x02other.example",
    ),
]  # fmt: skip
