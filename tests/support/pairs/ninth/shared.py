"""Pairs of the ninth set: what requests share."""

from __future__ import annotations

import hmac
import ipaddress
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers.handler import Step

USERS = {
    (b"ada", b"example.org"): sha256(b"lovelace").digest(),
    (b"ada", b"example.net"): sha256(b"analytical").digest(),
    (b"grace", b"example.org"): sha256(b"hopper").digest(),
}


def counted(*strings: bytes) -> bytes:
    """Strings, each after its length."""
    return b"".join(len(string).to_bytes(2, "big") + string for string in strings)


class Saslauthd(StreamHandler):
    """The daemon of Cyrus SASL that checks passwords (saslauthd(8)): login, password, service, realm; then OK or NO.

    One question comes with each connection.
    """

    timeout = 10.0
    request_timeout = 15.0
    services = (b"imap", b"smtp", b"sieve")

    def is_right(self, login: bytes, password: bytes, service: bytes, realm: bytes) -> bool:
        known = USERS.get((login, realm), bytes(32))
        return hmac.compare_digest(known, sha256(password).digest()) and service in self.services

    async def handle(self) -> None:
        strings = []
        for _ in range(4):
            size = int.from_bytes(await Exactly(2), "big")
            strings.append(await Exactly(size, limit=256))
        login, password, service, realm = strings
        if not login or not password or b"\x00" in b"".join(strings):
            self.send(counted(b"NO malformed"))
        elif self.is_right(login, password, service, realm or b"example.org"):
            self.send(counted(b"OK"))
        else:
            self.send(counted(b"NO"))


class SaslauthdCaches(Saslauthd):
    """Remembers the last logins that were right, as ``saslauthd -c`` does."""

    cache: ClassVar[dict[bytes, bytes]] = {}

    def is_right(self, login: bytes, password: bytes, service: bytes, realm: bytes) -> bool:
        key, digest = login + b"\x00" + service, sha256(password).digest()
        if hmac.compare_digest(self.cache.get(key, b""), digest):
            return True
        if not super().is_right(login, password, service, realm):
            return False
        if len(self.cache) >= 64:
            self.cache.clear()
        self.cache[key] = digest
        return True


def new_session() -> dict[str, Any]:
    """What a session of `Rwhois` begins with."""
    return {"limit": 20, "switches": {b"holdconnect": b"off", b"forward": b"off"}}


SESSION = new_session()
DOMAINS = (
    (b"example.net", b"Example Networks", b"192.0.2.0/24"),
    (b"example.org", b"Example Foundation", b"198.51.100.0/24"),
    (b"example.com", b"Example Networks", b"203.0.113.0/24"),
)


class Rwhois(StreamHandler):
    """A server of Referral Whois (RFC 2167): directives that set a session, its status, and queries for a domain."""

    timeout = 60.0
    request_timeout = 30.0
    banner = b"%rwhois V-1.5:002090:00 rwhois.example.net (by tests)\r\n"

    def setup(self) -> None:
        self.session = SESSION.copy()

    def handle(self) -> Step:
        self.send(self.banner)
        return self.following()

    def following(self) -> Step:
        self.one_by_one += 1
        return Until(b"\r\n", limit=256), self.line

    def line(self, data: bytes) -> Step:
        if not re.fullmatch(rb"[!-~](?:[ -~]*[!-~])?", data[:-2]):
            self.send(b"%error 350 Invalid Query Syntax\r\n")
            return self.following()
        if not data.startswith(b"-"):
            return self.query(data[:-2].lower())
        name, *given = data[1:-2].split(b" ")
        name = name.lower()
        if name == b"quit" and not given:
            self.send(b"%ok\r\n")
            return None
        self.send(self.directive(name, given))
        return self.following()

    def directive(self, name: bytes, given: list[bytes]) -> bytes:
        switches = self.session["switches"]
        if name == b"rwhois" and given and given[0].split(b":")[0] == b"V-1.5":
            return self.banner + b"%ok\r\n"
        if name in switches and len(given) == 1 and given[0].lower() in (b"on", b"off"):
            switches[name] = given[0].lower()
            return b"%ok\r\n"
        if name == b"limit" and len(given) == 1:
            if not re.fullmatch(rb"[1-9][0-9]{0,2}", given[0]) or int(given[0]) > 256:
                return b"%error 331 Invalid Limit\r\n"
            self.session["limit"] = int(given[0])
            return b"%ok\r\n"
        if name == b"status" and not given:
            lines = [b"limit:%d" % self.session["limit"], *(b"%b:%b" % pair for pair in switches.items())]
            return b"".join(b"%%status %b\r\n" % line for line in lines) + b"%ok\r\n"
        if name in (b"rwhois", b"limit", b"status", b"quit", *switches):
            return b"%error 338 Invalid Directive Syntax\r\n"
        return b"%error 400 Directive Not Available\r\n"

    def query(self, text: bytes) -> Step:
        found = [domain for domain in DOMAINS if text in (domain[0], domain[1].lower())]
        for name, holder, network in found[: self.session["limit"]]:
            self.send(b"domain:Domain-Name:%b\r\ndomain:Org-Name:%b\r\ndomain:Network:%b\r\n" % (name, holder, network))
            self.send(b"\r\n")
        if not found:
            self.send(b"%error 230 No Objects Found\r\n")
        elif len(found) > self.session["limit"]:
            self.send(b"%error 330 Exceeded Maximum Objects\r\n")
        else:
            self.send(b"%ok\r\n")
        return self.following() if self.session["switches"][b"holdconnect"] == b"on" else None


class RwhoisRight(Rwhois):
    def setup(self) -> None:
        self.session = new_session()


MAGIC = bytes.fromhex("00ffff00fefefefefdfdfdfd12345678")
SERVER = bytes.fromhex("00000000c0ffee01")


def address(peer: object) -> bytes:
    """The address of a peer, as RakNet writes it: of IPv4, inverted; zeros for another."""
    host, port = peer[:2] if isinstance(peer, tuple) else ("", 0)
    try:
        packed = ipaddress.IPv4Address(host).packed
    except ValueError:
        packed, port = bytes(4), 0
    return b"\x04" + bytes(255 - byte for byte in packed) + port.to_bytes(2, "big")


class Raknet(DatagramHandler):
    """The opening of RakNet, before there is a connection: a ping, then two requests that agree on an MTU.

    The second request may ask for no more than the first has shown to come through.
    """

    timeout = 10.0
    status = b"MCPE;test;11"

    def setup(self) -> None:
        self.shown = {"mtu": 0}

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            kind, size = packet[:1], len(packet)
            if kind == b"\x01" and size == 33 and packet[9:25] == MAGIC:
                said = len(self.status).to_bytes(2, "big") + self.status
                self.send(b"\x1c" + packet[1:9] + SERVER + MAGIC + said)
            elif kind == b"\x05" and 400 <= size + 28 <= 1492 and packet[1:17] == MAGIC and not any(packet[18:]):
                if packet[17] != 11:
                    self.send(b"\x19\x0b" + MAGIC + SERVER)
                    continue
                self.shown["mtu"] = size + 28
                self.send(b"\x06" + MAGIC + SERVER + b"\x00" + (size + 28).to_bytes(2, "big"))
            elif kind == b"\x07" and size == 34 and packet[1:17] == MAGIC and packet[17] == 4:
                mtu = min(int.from_bytes(packet[24:26], "big"), self.shown["mtu"])
                if mtu >= 400:
                    self.send(b"\x08" + MAGIC + SERVER + address(self.peer) + mtu.to_bytes(2, "big") + b"\x00")


class RaknetForAll(Raknet):
    shown: ClassVar[dict[str, int]] = {"mtu": 0}

    def setup(self) -> None:
        """There is nothing to set up."""


def first_request(mtu: int) -> bytes:
    return (b"\x05" + MAGIC + b"\x0b").ljust(mtu - 28, b"\x00")


def second_request(mtu: int) -> bytes:
    return (
        b"\x07" + MAGIC + b"\x04\x3f\xff\xfd\xf8\x4a\xbc" + mtu.to_bytes(2, "big") + b"\x01\x02\x03\x04\x05\x06\x07\x08"
    )


PAIRS = [
    Pair("saslauthd", 3, SaslauthdCaches, Saslauthd, [counted(b"ada", b"lovelace", b"imap", b"example.org")]),
    Pair(
        "rwhois", 3, Rwhois, RwhoisRight,
        [
            b"-rwhois V-1.5 test\r\n", b"-holdconnect on\r\n", b"example.org\r\n", b"-limit 1\r\n",
            b"Example Networks\r\n", b"-status\r\n", b"-limit 0\r\n", b"-xfer all\r\n", b"-quit\r\n",
        ],
    ),
    Pair(
        "raknet", 3, RaknetForAll, Raknet,
        [
            b"\x01\x00\x00\x00\x00\x00\x00\x04\xd2" + MAGIC + b"\x01\x02\x03\x04\x05\x06\x07\x08", first_request(1492),
            first_request(1200), second_request(1400),
        ],
    ),
]  # fmt: skip
