"""A name server over UDP and TCP (RFC 1035, RFC 7766) with a zone of its own, which forwards what it does not know.

python3 examples/nameserver.py [PORT [UPSTREAM [UPSTREAM_PORT]]]
                                     then, elsewhere: dig @127.0.0.1 -p 7053 here.example

A query is a request whether it has come alone or in a stream with others: the connection makes a call of it. It is
forwarded by a socket of its own (`Connected`), over TCP if it has come over TCP, with an ID of its own, so that an
answer is hard to forge (RFC 5452).
"""

from __future__ import annotations

import signal
import sys
from ipaddress import ip_address
from secrets import token_bytes
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Connected, DatagramHandler, Event, Exactly, Failed, Happened, Packet, StreamHandler, TimedOut
from reactor import Reactor, SelectTCPServer, SelectUDPServer

if TYPE_CHECKING:
    from typing import Any

A, AAAA, ANY, IN = 1, 28, 255, 1
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NOT_IMPLEMENTED = 0, 1, 2, 4
HEADER = 12
LIFETIME = 60
"""Seconds for which a record of the zone may be cached."""
PATIENCE = 2.0
"""Seconds in which the upstream must answer a query, over UDP each time that it is sent."""
TRIES = 2
STRAYS = 8
"""Packets that are no answer to the query, after which no other is looked at."""

ZONE = {
    "here.example": ["127.0.0.1", "::1"],
    "six.example": ["2001:db8::6"],
}


class Malformed(Exception):
    """The message can't be read: the answer is FORMERR."""


def question(message: bytes) -> tuple[str, int, int]:
    """The name and the type that the message asks for, and where its question ends. Raises `Malformed`."""
    if int.from_bytes(message[4:6], "big") != 1:
        raise Malformed
    labels, place = [], HEADER
    while size := message[place : place + 1]:
        if size[0] > 63:  # a pointer has no use in the first name of a message
            raise Malformed
        label = message[place + 1 : place + 1 + size[0]]
        place += 1 + size[0]
        if not size[0]:
            break
        labels.append(label.decode("ascii", "replace").lower())
    end = place + 4
    if end > len(message) or place - HEADER > 255:
        raise Malformed
    return ".".join(labels), int.from_bytes(message[place : place + 2], "big"), end


def reply(query: bytes, end: int, code: int, records: list[bytes]) -> bytes:
    """A reply to the query, whose question ends at ``end``."""
    flags = bytes([0x80 | (query[2] & 0x79) | (0x04 if records else 0), 0x80 | code])  # QR, AA, RD as asked, RA
    counts = bytes([0, end > HEADER, 0, len(records), 0, 0, 0, 0])
    return query[:2] + flags + counts + query[HEADER:end] + b"".join(records)


def record(address: str) -> bytes:
    """The record of an address, for the name of the question."""
    data = ip_address(address).packed
    kind = A if len(data) == 4 else AAAA
    fields = (b"\xc0\x0c", kind.to_bytes(2, "big"), IN.to_bytes(2, "big"), LIFETIME.to_bytes(4, "big"))
    return b"".join(fields) + len(data).to_bytes(2, "big") + data


def answers(query: bytes, answer: bytes) -> bool:
    """Whether ``answer`` is one to ``query``: the same ID and question."""
    end = question(query)[2]
    same = answer[:2] == query[:2] and answer[HEADER:end].lower() == query[HEADER:end].lower()
    return same and len(answer) >= end and bool(answer[2] & 0x80)


class Upstream:
    """A query to the upstream; ``answer`` is set to its answer, or to ``None``."""

    timeout: float | None = PATIENCE

    def __init__(self, query: bytes) -> None:
        self.query = token_bytes(2) + query[2:]
        self.answer = Event()

    def took(self, packet: bytes) -> bool:
        """Take a packet. Whether it is the answer."""
        if not answers(self.query, packet):
            return False
        self.answer.set(packet)
        return True

    def finish(self) -> None:
        if not self.answer.is_set:
            self.answer.set(None)


class DatagramUpstream(Upstream, DatagramHandler):
    async def handle(self) -> None:
        for _ in range(TRIES):
            self.send(self.query)
            try:
                for _ in range(STRAYS):
                    if self.took(await Packet()):
                        return
            except TimedOut:
                pass


class StreamUpstream(Upstream, StreamHandler):
    async def handle(self) -> None:
        self.send(len(self.query).to_bytes(2, "big") + self.query)
        self.took(await Exactly(int.from_bytes(await Exactly(2), "big")))


class Query(DatagramHandler):
    """One query: alone in a datagram, or one of several in a stream."""

    upstream: type[DatagramUpstream | StreamUpstream] = DatagramUpstream
    server: Any

    @staticmethod
    def key(packet: bytes) -> bytes:
        """Queries with different IDs have different rows, also if they come from one port."""
        return packet[:2]

    async def handle(self) -> None:
        query = await Packet()
        if len(query) >= HEADER and not query[2] & 0x80:  # an answer must not be answered
            self.send(await self.reply(query))

    async def reply(self, query: bytes) -> bytes:
        if query[2] & 0x78:
            return reply(query, HEADER, NOT_IMPLEMENTED, [])
        try:
            name, kind, end = question(query)
        except Malformed:
            return reply(query, HEADER, FORMAT_ERROR, [])
        if name in ZONE:
            records = [record(address) for address in ZONE[name]]
            return reply(query, end, NO_ERROR, [found for found in records if kind in (found[3], ANY)])
        answer = await self.forward(query)
        return reply(query, end, SERVER_FAILURE, []) if answer is None else query[:2] + answer[2:]

    async def forward(self, query: bytes) -> bytes | None:
        """The upstream's answer; ``None`` if it gives none."""
        upstream = self.upstream(query)
        try:
            await Connected(self.server.upstream, upstream, timeout=PATIENCE)
        except (Failed, TimedOut):
            return None
        answer: bytes | None = await Happened(upstream.answer)
        return answer


class StreamQuery(Query):
    upstream = StreamUpstream


class Stream(StreamHandler):
    """A connection; its queries are answered in the order in which the answers come (RFC 7766, section 6.2.1.1)."""

    timeout = 10.0

    async def handle(self) -> None:
        while True:
            query = await Exactly(int.from_bytes(await Exactly(2), "big"))
            self.call(StreamQuery(), query, self.answer)

    def answer(self, message: bytes) -> None:
        self.send(len(message).to_bytes(2, "big") + message)


class UDPServer(SelectUDPServer):
    max_packet_size = 65_535
    upstream: tuple[str, int]


class TCPServer(SelectTCPServer):
    allow_reuse_address = True
    upstream: tuple[str, int]


def serve(loop: Reactor, address: tuple[str, int], upstream: tuple[str, int]) -> tuple[UDPServer, TCPServer]:
    """The two servers, at one port. If it is 0, a port that is free for both is searched."""
    for attempt in range(20):
        udp = UDPServer(address, Query, reactor=loop)
        try:
            tcp = TCPServer(udp.server_address, Stream, reactor=loop)
        except OSError:
            udp.server_close()
            if address[1] or attempt == 19:
                raise
        else:
            udp.upstream = tcp.upstream = upstream
            return udp, tcp
    raise AssertionError("unreachable")


def main(port: str = "7053", host: str = "127.0.0.53", upstream_port: str = "53") -> None:
    with Reactor() as loop:
        udp, tcp = serve(loop, ("127.0.0.1", int(port)), (host, int(upstream_port)))
        with udp, tcp:
            signal.signal(signal.SIGINT, lambda *_: loop.stop())
            print("listening on {}:{}".format(*tcp.server_address), file=sys.stderr, flush=True)
            loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
