"""Pairs of the kind 7: how long a message may take."""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING

from handlers import Exactly, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Step

# Policy delegation

ATTRIBUTE = Until(b"\n", limit=1024)
NAME_AND_VALUE = re.compile(rb"([a-z_]{1,64})=([^\0\r\n]*)\n")
MAX_ATTRIBUTES = 40
OF_USE = (b"request", b"protocol_state", b"sender", b"recipient", b"client_address")
BLOCKED_DOMAIN = b"@spam.example"
LOCAL_DOMAIN = b"@example.org"


class Policy(StreamHandler):
    """Access policy delegation (Postfix, SMTPD_POLICY_README): attributes up to an empty line, then an action."""

    timeout = 30

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            asked = await self.attributes(await ATTRIBUTE)
            if asked.get(b"request") != b"smtpd_access_policy":
                raise Malformed("another request")
            self.send(b"action=%b\n\n" % self.action(asked))

    async def attributes(self, line: bytes) -> dict[bytes, bytes]:
        """The attributes of use of the request that begins with ``line``."""
        found: dict[bytes, bytes] = {}
        for _ in range(MAX_ATTRIBUTES + 1):
            if line == b"\n":
                return found
            matched = NAME_AND_VALUE.fullmatch(line)
            if matched is None or matched[1] in found:
                raise Malformed("no attribute")
            if matched[1] in OF_USE:
                found[matched[1]] = matched[2]
            line = await ATTRIBUTE
        raise Malformed("too many attributes")

    def action(self, asked: dict[bytes, bytes]) -> bytes:
        if asked.get(b"sender", b"").lower().endswith(BLOCKED_DOMAIN):
            return b"REJECT 5.7.1 sender not welcome"
        if asked.get(b"protocol_state") == b"RCPT" and not asked.get(b"recipient", b"").lower().endswith(LOCAL_DOMAIN):
            return b"DEFER_IF_PERMIT 4.7.1 try later"
        return b"DUNNO"


class PolicyRight(Policy):
    """Access policy delegation (Postfix, SMTPD_POLICY_README): attributes up to an empty line, then an action."""

    request_timeout = 30


# Zabbix

HEAD_SIZE = 13
ZABBIX_MAGIC = b"ZBXD\x01"
MAX_BODY = 16_384
HEAD = Exactly(HEAD_SIZE)


class Zabbix(StreamHandler):
    """Zabbix sender (Zabbix Manual, "Header and data length"): a head with the length, then JSON."""

    timeout = 20
    request_timeout = 60

    def handle(self) -> Step:
        return self.expect(HEAD, self.head)

    def expect(self, wait, state) -> Step:
        """Begin a wait, and let the request go on after it."""
        self.one_by_one += 1
        return wait, state

    def head(self, data: bytes) -> Step:
        magic, size, reserved = struct.unpack("<5sII", data)
        if magic != ZABBIX_MAGIC or reserved or not 0 < size <= MAX_BODY:
            raise Malformed("no head")
        self.size, self.body = size, bytearray()
        return self.expect(Some(limit=size), self.piece)

    def piece(self, data: bytes) -> Step:
        self.body += data
        left = self.size - len(self.body)
        if left:
            return self.expect(Some(limit=left), self.piece)
        self.answer(self.values(bytes(self.body)))
        return self.handle()

    def values(self, body: bytes) -> list[object]:
        """The values that the client has sent."""
        try:
            message = json.loads(body.decode())
        except (ValueError, RecursionError):
            raise Malformed("no JSON") from None
        if not isinstance(message, dict) or message.get("request") != "sender data":
            raise Malformed("another request")
        values = message.get("data")
        if not isinstance(values, list):
            raise Malformed("no values")
        return values

    def answer(self, values: list[object]) -> None:
        good = sum(
            isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("host", "key", "value"))
            for value in values
        )
        info = f"processed: {good}; failed: {len(values) - good}; total: {len(values)}"
        body = json.dumps({"response": "success", "info": info}).encode()
        self.send(ZABBIX_MAGIC + struct.pack("<II", len(body), 0) + body)


class ZabbixRight(Zabbix):
    """Zabbix sender (Zabbix Manual, "Header and data length"): a head with the length, then JSON."""

    def handle(self) -> Step:
        self.one_by_one += 1
        return self.expect(HEAD, self.head)

    def expect(self, wait, state) -> Step:
        """Begin a wait, and let the request go on after it."""
        return wait, state


# NMDC

MESSAGE = Until(b"|", limit=1024)
KEY = re.compile(rb"\$Key [^\0\r\n ]{1,64}")
VALIDATE_NICK = re.compile(rb"\$ValidateNick ([!#%-;=?-{}~]{1,32})")
MY_INFO = re.compile(rb"\$MyINFO \$ALL ([^ |]{1,32}) [^\0\r\n]{1,256}")
CHAT = re.compile(rb"<([^ >|]{1,32})> [^\0]{1,512}")
HUB = b"quiet hub"


class Nmdc(StreamHandler):
    """A hub of Direct Connect (NMDC protocol, version 1.3): messages that end with a bar; an empty one keeps alive."""

    timeout = 120
    request_timeout = 60

    def setup(self) -> None:
        self.nick = b""
        self.is_in = False

    def handle(self) -> Step:
        self.send(b"$Lock EXTENDEDPROTOCOLhub Pk=hub1.3|")
        return MESSAGE, self.message

    def message(self, data: bytes) -> Step:
        said = data[:-1]
        if not said:
            return self.alive()
        return self.talk(said) if self.is_in else self.login(said)

    def alive(self) -> Step:
        """The client is there."""
        self.one_by_one += 1
        return MESSAGE, self.message

    def login(self, said: bytes) -> Step:
        if matched := VALIDATE_NICK.fullmatch(said):
            self.nick = matched[1]
            self.send(b"$HubName %b|$Hello %b|" % (HUB, self.nick))
        elif (matched := MY_INFO.fullmatch(said)) and self.nick and matched[1] == self.nick:
            self.is_in = True
            self.send(said + b"|")
            self.opened()
            self.one_by_one += 1
        elif said == b"$Version 1,0091":
            pass
        elif not KEY.fullmatch(said):
            raise Malformed("not before the login")
        return MESSAGE, self.message

    def talk(self, said: bytes) -> Step:
        matched = CHAT.fullmatch(said)
        if matched is not None and matched[1] == self.nick:
            self.send(said + b"|")
        elif said == b"$GetNickList":
            self.send(b"$NickList %b$$|$OpList $$|" % self.nick)
        elif said.startswith(b"$MyINFO ") and (matched := MY_INFO.fullmatch(said)) and matched[1] == self.nick:
            self.send(said + b"|")
        else:
            raise Malformed("no message of the hub")
        self.one_by_one += 1
        return MESSAGE, self.message


class NmdcRight(Nmdc):
    """A hub of Direct Connect (NMDC protocol, version 1.3): messages that end with a bar; an empty one keeps alive."""

    def alive(self) -> Step:
        """The client is there."""
        if self.is_in:
            self.one_by_one += 1
        return MESSAGE, self.message


def sender_data(*values: tuple[str, str, str]) -> bytes:
    """What zabbix_sender sends."""
    data = [dict(zip(("host", "key", "value"), value, strict=True)) for value in values]
    body = json.dumps({"request": "sender data", "data": data}).encode()
    return ZABBIX_MAGIC + struct.pack("<II", len(body), 0) + body


PAIRS = [
    Pair("policy-postfix", 7, Policy, PolicyRight, [
        (b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.7\n"
        b"client_name=mx.example.net\nhelo_name=mx.example.net\nsender=ada@example.net\n"
        b"recipient=bob@example.org\nrecipient_count=0\nqueue_id=\ninstance=1a2b.66f0.0\nsize=1201\n\n"),
        (b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=SMTP\nclient_address=198.51.100.9\n"
        b"client_name=unknown\nhelo_name=pc\nsender=win@spam.example\nrecipient=bob@example.org\nsize=400\n\n"),
        (b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.7\nsender=ada@example.net\n"
        b"recipient=eve@example.com\n\n"),
    ]),
    Pair("zabbix-sender", 7, Zabbix, ZabbixRight, [
        sender_data(("web1", "system.cpu.load", "0.42"), ("web1", "vm.memory.free", "812302336")),
        sender_data(("web2", "net.if.in[eth0]", "99120034")),
        sender_data(("db1", "backup.age", "3600"), ("db1", "backup.size", "48211"), ("db2", "backup.age", "120")),
    ]),
    Pair("nmdc-hub", 7, Nmdc, NmdcRight, [
        b"$Key 4%A%A0%0%0%0|",
        b"$ValidateNick ada|",
        b"$Version 1,0091|",
        b"$MyINFO $ALL ada from a train<++ V:0.868,M:A,H:1/0/0,S:3>$ $DSL\x01$ada@example.org$1048576$|",
        b"$GetNickList|",
        b"<ada> hello, is anybody here?|",
        b"|",
        b"<ada> I have the new kernel image|",
        b"$MyINFO $ALL ada at home<++ V:0.868,M:A,H:1/0/0,S:3>$ $DSL\x02$ada@example.org$2097152$|",
        b"|",
    ]),
]  # fmt: skip
