"""Handlers for messages with header fields, each in a right and a broken version: HTTP, chunks, SIP, STOMP.

A broken class has one fault, which its docstring names. See `thirty` for the list.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from handlers import Exactly, StreamHandler, Until

if TYPE_CHECKING:
    from handlers import Step

HEAD = Until(b"\r\n\r\n", limit=2048)
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~]*(?:[ \t]+[!-~]+)*)[ \t]*")
MAX_BODY = 1000


class Malformed(Exception):
    """The client has sent what is no message of the protocol."""


def fields_of(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """The names and values of the header fields."""
    fields = []
    for line in lines:
        found = FIELD.fullmatch(line)
        if found is None:
            raise Malformed
        fields.append((found[1], found[2]))
    return fields


def size_of(values: list[bytes]) -> int:
    """The size that the only field of this name has, 0 if there is none."""
    if not values:
        return 0
    if len(values) > 1 or not values[0].isdigit() or len(values[0]) > 9 or int(values[0]) > MAX_BODY:
        raise Malformed
    return int(values[0])


class Chunks(StreamHandler):
    """Bodies in chunks, as in HTTP/1.1, each answered with its size and its checksum."""

    timeout = 30.0

    async def handle(self) -> None:
        try:
            while True:
                line, total, check = await Until(b"\r\n", limit=8), 0, 0
                while size := self.size(line):
                    data = await Exactly(size + 2)
                    self.check_end(data[-2:])
                    total, check = total + size, (check + sum(data[:-2])) & 0xFFFF
                    line = await Until(b"\r\n", limit=8)
                if await Exactly(2) != b"\r\n":
                    raise Malformed
                self.send(b"200 %d %04x\r\n" % (total & 0xFFFFFFFF, check))
        except Malformed:
            self.send(b"400 bad chunk\r\n")

    def size(self, line: bytes) -> int:
        if re.fullmatch(rb"[0-9A-Fa-f]{1,4}\r\n", line) is None:
            raise Malformed
        return int(line, 16)

    def check_end(self, end: bytes) -> None:
        if end != b"\r\n":
            raise Malformed


class ChunksUnchecked(Chunks):
    """The two bytes after a chunk are skipped, whatever they are (as in several proxies: request smuggling)."""

    def check_end(self, end: bytes) -> None:
        pass


class Web(StreamHandler):
    """HTTP with one resource, which echoes the body."""

    timeout = 30.0

    async def handle(self) -> None:
        while True:
            try:
                path, size = self.parse(await HEAD)
            except Malformed:
                self.reply(b"400 Bad Request", b"")
                return
            if path == b"/echo":
                self.reply(b"200 OK", await Exactly(size, limit=MAX_BODY))
            else:
                await self.skip(size)
                self.reply(b"404 Not Found", b"no such page\n")

    def parse(self, head: bytes) -> tuple[bytes, int]:
        first, *lines = head[:-4].split(b"\r\n")
        request = re.fullmatch(rb"(?:GET|POST) (/[!-~]*) HTTP/1\.1", first)
        fields = [(name.lower(), value) for name, value in fields_of(lines)]
        if request is None or any(name == b"transfer-encoding" for name, _ in fields):
            raise Malformed
        return request[1], size_of([value for name, value in fields if name == b"content-length"])

    async def skip(self, size: int) -> None:
        await Exactly(size, limit=MAX_BODY)

    def reply(self, status: bytes, body: bytes) -> None:
        self.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


class WebUnread(Web):
    """The body of a request that is refused is not read: it is taken for the next request."""

    async def skip(self, size: int) -> None:
        pass


class Redirect(StreamHandler):
    """HTTP that sends the client where its query says."""

    timeout = 30.0

    def handle(self) -> Step:
        return HEAD, self.request

    def request(self, head: bytes) -> Step:
        first, *lines = head[:-4].split(b"\r\n")
        found = re.fullmatch(rb"GET /go\?to=(/[!-~]*) HTTP/1\.1", first)
        try:
            fields = fields_of(lines)
        except Malformed:
            found = None
        if found is None or any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in fields):
            self.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return None
        place = unquote_to_bytes(found[1])
        if self.is_safe(place):
            self.send(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place)
        else:
            self.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return self.handle()

    def is_safe(self, place: bytes) -> bool:
        return re.fullmatch(rb"[!-~]+", place) is not None


class RedirectSplit(Redirect):
    """A decoded CR LF goes into the header of the response (response splitting)."""

    def is_safe(self, place: bytes) -> bool:
        return True


class Sip(StreamHandler):
    """Messages of SIP over TCP, each answered with its sequence number."""

    timeout = 60.0

    async def handle(self) -> None:
        while True:
            head = await HEAD
            try:
                number, size = self.parse(head)
            except Malformed:
                self.send(b"SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                return
            await Exactly(size, limit=MAX_BODY)
            self.send(b"SIP/2.0 200 OK\r\nCSeq: %b MESSAGE\r\nContent-Length: 0\r\n\r\n" % number)

    def parse(self, head: bytes) -> tuple[bytes, int]:
        first, *lines = head[:-4].split(b"\r\n")
        fields = [(self.name(name), value) for name, value in fields_of(lines)]
        numbers = [value for name, value in fields if name == self.name(b"CSeq")]
        if re.fullmatch(rb"MESSAGE sip:[a-z0-9.@]+ SIP/2\.0", first) is None or len(numbers) != 1:
            raise Malformed
        number = re.fullmatch(rb"(\d{1,9}) MESSAGE", numbers[0])
        if number is None:
            raise Malformed
        return number[1], size_of([value for name, value in fields if name == self.name(b"Content-Length")])

    def name(self, name: bytes) -> bytes:
        return name.lower()


class SipCase(Sip):
    """A field counts only in the case of the specification: of ``content-length`` the body is the next message."""

    def name(self, name: bytes) -> bytes:
        return name


class Stomp(StreamHandler):
    """Publish and subscribe in the frames of STOMP. The server has the subscribers, each with its topic."""

    timeout = 60.0
    server: Any

    def setup(self) -> None:
        self.topics: list[bytes] = []
        self.sent = 0

    async def handle(self) -> None:
        while True:
            frame = await Until(b"\0", limit=1024)
            head, empty, body = frame[:-1].partition(b"\n\n")
            verb, *lines = head.split(b"\n")
            fields = dict(line.split(b":", 1) for line in lines if re.fullmatch(rb"[a-z-]+:[!-9;-\[\]-~]*", line))
            if not empty or len(fields) != len(lines) or not self.frame(verb, fields, body):
                self.send(b"ERROR\nmessage:refused\n\n\0")
                return
            if b"receipt" in fields:
                self.send(b"RECEIPT\nreceipt-id:%b\n\n\0" % fields[b"receipt"])
            if verb == b"DISCONNECT":
                self.unsubscribe()
                return

    def frame(self, verb: bytes, fields: dict[bytes, bytes], body: bytes) -> bool:
        """Do what the frame says. Whether it could be done."""
        topic = fields.get(b"destination", b"")
        if verb == b"CONNECT":
            self.send(b"CONNECTED\nversion:1.2\n\n\0")
        elif verb == b"SUBSCRIBE" and topic and topic not in self.topics and len(self.topics) < 8:
            self.topics.append(topic)
            self.server.subscribers[topic, self] = None
        elif verb == b"SEND" and topic:
            for wanted, subscriber in [*self.server.subscribers]:
                if wanted == topic:
                    subscriber.message(topic, body)
        else:
            return verb == b"DISCONNECT"
        return True

    def message(self, topic: bytes, body: bytes) -> None:
        self.sent += 1
        self.send(b"MESSAGE\ndestination:%b\nmessage-id:%d\n\n%b\0" % (topic, self.sent, body))

    def unsubscribe(self) -> None:
        while self.topics:
            del self.server.subscribers[self.topics.pop(), self]

    def finish(self) -> None:
        self.unsubscribe()


class StompLeft(Stomp):
    """Who leaves without DISCONNECT stays a subscriber for ever."""

    def finish(self) -> None:
        pass
