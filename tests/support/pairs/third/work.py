"""Pairs of handlers, broken and right: work that grows, that is forgotten, or that blocks."""

from __future__ import annotations

import json
import re
import struct
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from handlers import DatagramHandler, Delay, Exactly, Flushed, Packet, Some, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers import Step

# 11: work that grows with the square of what is held

END = b"]]>]]>"
LARGEST = 1 << 18
LONGEST = 1 << 15


class ManagedBroken(StreamHandler):
    """NETCONF 1.0 (RFC 6242): messages that end with a mark of six bytes."""

    def setup(self) -> None:
        self.held = b""

    def handle(self) -> Step:
        self.send(b"<hello/>" + END)
        return Some(), self.more

    def more(self, data: bytes) -> Step:
        self.held += data
        while END in self.held:
            message, self.held = self.held.split(END, 1)
            if not self.answer(message):
                return None
        return (Some(), self.more) if len(self.held) < LARGEST else None

    def answer(self, message: bytes) -> bool:
        """Answer a message. Whether the session goes on."""
        number = re.search(rb'<rpc message-id="([0-9A-Za-z]{1,32})">', message)
        if number:
            self.send(b'<rpc-reply message-id="%b"><ok/></rpc-reply>' % number[1] + END)
        return b"<close-session/>" not in message


class ManagedRight(ManagedBroken):
    def handle(self) -> Step:
        self.send(b"<hello/>" + END)
        return Until(END, limit=LARGEST), self.message

    def message(self, data: bytes) -> Step:
        return (Until(END, limit=LARGEST), self.message) if self.answer(data[: -len(END)]) else None


class ScannerBroken(StreamHandler):
    """The daemon of ClamAV: PING, and INSTREAM, whose data comes in chunks."""

    async def handle(self) -> None:
        while True:
            command = await Until(b"\0", limit=64)
            if command == b"zPING\0":
                self.send(b"PONG\0")
            elif command == b"zINSTREAM\0":
                data = await self.stream()
                if data is None:
                    self.send(b"INSTREAM size limit exceeded. ERROR\0")
                    return
                self.send(b"stream: Eicar-Test-Signature FOUND\0" if b"EICAR" in data else b"stream: OK\0")
            else:
                self.send(b"UNKNOWN COMMAND\0")
                return

    async def stream(self) -> bytes | bytearray | None:
        data = b""
        while size := int.from_bytes(await Exactly(4), "big"):
            if len(data) + size > LARGEST:
                return None
            data = data + await Exactly(size)
        return data


class ScannerRight(ScannerBroken):
    async def stream(self) -> bytes | bytearray | None:
        data = bytearray()
        while size := int.from_bytes(await Exactly(4), "big"):
            if len(data) + size > LARGEST:
                return None
            data += await Exactly(size)
        return data


class DatabaseBroken(StreamHandler):
    """OVSDB (RFC 7047): JSON-RPC, one object after another without a mark between them."""

    def setup(self) -> None:
        self.text = ""

    def handle(self) -> Step:
        return Some(), self.more

    def more(self, data: bytes) -> Step:
        self.text = (self.text + data.decode("latin-1")).lstrip(" \t\r\n")
        while self.text:
            try:
                request, end = json.JSONDecoder().raw_decode(self.text)
            except ValueError:
                return (Some(), self.more) if len(self.text) <= LONGEST and self.text[0] == "{" else None
            except RecursionError:
                return None
            self.text = self.text[end:].lstrip(" \t\r\n")
            if end > LONGEST or not self.answer(request):
                return None
        return Some(), self.more

    def answer(self, request: Any) -> bool:
        """Answer a request. Whether it was one."""
        if not isinstance(request, dict) or not {"id", "method", "params"} <= request.keys():
            return False
        result = {"echo": request["params"], "list_dbs": ["Open_vSwitch"]}.get(str(request["method"]))
        error = None if result is not None else "unknown method"
        try:
            answer = json.dumps({"id": request["id"], "result": result, "error": error}, allow_nan=False)
        except (ValueError, RecursionError):
            return False
        self.send(answer.encode())
        return True


class DatabaseRight(DatabaseBroken):
    def setup(self) -> None:
        self.held = bytearray()
        self.opened_by = 0  # brackets that are open
        self.quoted = self.escaped = False

    def more(self, data: bytes) -> Step:
        for byte in data:
            if self.opened_by or byte not in b" \t\r\n":
                self.held.append(byte)
                self.follow(byte)
                if len(self.held) > LONGEST or not 0 <= self.opened_by <= 32 or self.held[0] != 0x7B:
                    return None
                if not self.opened_by and not self.whole():
                    return None
        return Some(), self.more

    def follow(self, byte: int) -> None:
        """Count the brackets that are open outside of strings."""
        if self.quoted:
            self.quoted = self.escaped or byte != 0x22
            self.escaped = byte == 0x5C and not self.escaped
        elif byte == 0x22:
            self.quoted = True
        else:
            self.opened_by += (byte in b"[{") - (byte in b"]}")

    def whole(self) -> bool:
        text, self.held = self.held, bytearray()
        try:
            return self.answer(json.loads(text.decode("latin-1")))
        except ValueError:
            return False


# 12: a return or an await that is forgotten, and a handler that blocks


class ClockBroken(DatagramHandler):
    """NTP (RFC 5905): the time for clients. Other packets are counted."""

    server: Any

    def handle(self) -> Step:
        return Packet(), self.packet

    def packet(self, packet: bytes) -> Step:
        if len(packet) != 48 or packet[0] >> 3 & 7 not in (3, 4):
            return None
        if packet[0] & 7 != 3:
            self.server.strays += 1
        return self.tell(packet)

    def tell(self, packet: bytes) -> Step:
        now = int((self.now() + 2_208_988_800) * 65_536) << 16 & (1 << 64) - 1
        head = bytes([packet[0] & 0x38 | 4, 2, packet[2], 0xEC]) + struct.pack(">II4sQ", 0, 0, b"\x7f\0\0\1", now)
        self.send(head + packet[40:] + struct.pack(">QQ", now, now))
        return None


class ClockRight(ClockBroken):
    def packet(self, packet: bytes) -> Step:
        if len(packet) != 48 or packet[0] >> 3 & 7 not in (3, 4):
            return None
        if packet[0] & 7 != 3:
            self.server.strays += 1
            return None
        return self.tell(packet)


class SocksBroken(StreamHandler):
    """SOCKS 5 (RFC 1928) in front of a service that returns what it gets."""

    async def handle(self) -> None:
        version, count = await Exactly(2)
        if version != 5 or b"\0" not in await Exactly(count):
            self.send(b"\x05\xff")
            return
        self.send(b"\x05\0")
        version, word, _, kind = await Exactly(4)
        if version != 5 or kind not in (1, 3, 4):
            await self.refuse(8)
            return
        await Exactly({1: 4, 4: 16}.get(kind) or (await Exactly(1))[0])
        await Exactly(2)
        if word != 1:
            await self.refuse_command()
            return
        self.send(b"\x05\0\0\x01\x7f\0\0\x01\0\x07")
        self.opened()
        while True:
            self.send(await Some())

    async def refuse(self, why: int) -> None:
        self.send(bytes([5, why, 0, 1, 0, 0, 0, 0, 0, 0]))
        await Flushed()

    async def refuse_command(self) -> None:
        self.refuse(7)  # type: ignore[unused-coroutine]


class SocksRight(SocksBroken):
    async def refuse_command(self) -> None:
        await self.refuse(7)


class ManagerBroken(StreamHandler):
    """The manager interface of Asterisk: Login, Ping and Logoff. A wrong secret costs three seconds."""

    async def handle(self) -> None:
        self.send(b"Asterisk Call Manager/5\r\n")
        is_in = False
        while True:
            lines = (await Until(b"\r\n\r\n", limit=1024))[:-4].split(b"\r\n")
            headers = {line.partition(b": ")[0].lower(): line.partition(b": ")[2] for line in lines}
            action = headers.get(b"action", b"").lower()
            if action == b"login" and headers.get(b"secret") == b"sesame":
                is_in = True
                self.send(b"Response: Success\r\nMessage: Authentication accepted\r\n\r\n")
            elif action == b"login":
                await self.punish()
                self.send(b"Response: Error\r\nMessage: Authentication failed\r\n\r\n")
                return
            elif action == b"ping" and is_in:
                self.send(b"Response: Success\r\nPing: Pong\r\n\r\n")
            elif action == b"logoff":
                self.send(b"Response: Goodbye\r\n\r\n")
                return
            else:
                self.send(b"Response: Error\r\nMessage: Permission denied\r\n\r\n")

    async def punish(self) -> None:
        time.sleep(3)


class ManagerRight(ManagerBroken):
    async def punish(self) -> None:
        await Delay(3)


PAIRS = [
    Pair(
        "managed", 11, ManagedBroken, ManagedRight,
        [b"<hello/>]]>]]>", b'<rpc message-id="1"><get/></rpc>]]>]]>',
         b'<rpc message-id="2"><close-session/></rpc>]]>]]>'],
        {"kept": 1 << 19},
    ),
    Pair(
        "scanner", 11, ScannerBroken, ScannerRight,
        [b"zPING\0", b"zINSTREAM\0\0\0\0\x05hello\0\0\0\x03you\0\0\0\0", b"zPING\0"],
        {"kept": 1 << 19},
    ),
    Pair(
        "database", 11, DatabaseBroken, DatabaseRight,
        [b'{"method": "list_dbs", "params": [], "id": 0}', b'{"method":"echo","params":["a]"],"id":"echo"}',
         b'{"id": 2, "method": "list_dbs", "params": []}'],
    ),
    Pair(
        "clock", 12, ClockBroken, ClockRight,
        [b"\x1b" + bytes(46) + b"\1", b"\x23" + bytes(46) + b"\2", b"\x23\0\6" + bytes(44) + b"\3"],
        {"server": SimpleNamespace(strays=0)},
    ),
    Pair(
        "socks", 12, SocksBroken, SocksRight,
        [b"\x05\x01\0", b"\x05\x01\0\x03\x09localhost\0\x07", b"hello", b"you"],
    ),
    Pair(
        "manager", 12, ManagerBroken, ManagerRight,
        [b"Action: Login\r\nUsername: ada\r\nSecret: sesame\r\n\r\n", b"Action: Ping\r\n\r\n",
         b"Action: Logoff\r\n\r\n"],
    ),
]  # fmt: skip
