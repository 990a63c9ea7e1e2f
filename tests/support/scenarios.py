"""The scenarios of `tests.proofs.soak`: handlers, their servers and clients.

A scenario is a function that makes servers and clients in the world of a schedule, and returns the check to make at
the end.
"""

from __future__ import annotations

from functools import partial
from math import inf
from ssl import TLSVersion

from handlers import (
    Connected,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Packet,
    Relayed,
    Some,
    StreamHandler,
    TimedOut,
    ToEnd,
    Until,
)
from handlers.services import Echo, EchoDatagram
from reactor import SelectTCPServer, SelectUDPServer, SelectUnixDatagramServer, SelectUnixStreamServer, TCPServer
from reactor.testing.kernel.faults import ABORTED, BROKEN, EXHAUSTED, FULL, JUMP, REFUSED
from reactor.testing.kernel.invariants import Invariant, Violation
from reactor.testing.peers.header import PROXY_HEADER, proxy
from reactor.testing.peers.tls import tls

ADDRESS = ("10.0.0.1", 7)
UPSTREAM = ("10.0.0.1", 8)
LETTERS = [b"%c" % letter for letter in b"abcdef"]
"""Each client has a letter of its own, of which its input consists."""


# The handlers and servers


class Hesitant(StreamHandler):
    """A handler with low water marks, which soon stops reading if its client does not read."""

    high_water, low_water = 20, 2


class Parrot(Hesitant, Echo):
    """Sends all input back."""


class Lines(Hesitant):
    """Sends each line back; as a coroutine."""

    async def handle(self):
        while True:
            self.send(await Until(b"\n", limit=2000))


class Shout(Hesitant):
    """Sends each line back in capitals, and the rest at the end unchanged; as states."""

    def handle(self):
        return Until(b"\n", limit=2000), self.line

    def line(self, line):
        self.send(line.upper())
        return Until(b"\n", limit=2000), self.line

    def interrupted(self, cause):
        if isinstance(cause, EndOfStream):
            self.send(cause.partial + b".")


class Burst(StreamHandler):
    """Answers every five bytes at length, and waits until the answer has been sent."""

    high_water, low_water = 120, 40

    async def handle(self):
        while True:
            digits = await Exactly(5)
            self.send(digits * 20)
            await Flushed()
            self.send(b"!")


class Slow(StreamHandler):
    """Delays the answer to every line, and half-closes before the client does."""

    async def handle(self):
        for _ in range(3):
            line = await Until(b"\n", limit=2000)
            await Delay(0.05)
            self.send(line)
        self.send_eof()
        while True:
            await Some(timeout=inf)


class Alarm(StreamHandler):
    """Answers every five bytes after one or two seconds, so that answers to later requests often come earlier."""

    async def handle(self):
        while True:
            digits = await Exactly(5)
            await Delay(1 + sum(digits) * 7 % 10 / 10)
            self.send(digits)


class Impatient(StreamHandler):
    """Answers lines; when one times out, the clauses up to a semicolon; and so in turn.

    Each answer takes so long that the waits of other rows expire meanwhile.
    """

    async def handle(self):
        self.chances = 9
        while self.chances > 0:
            for delimiter in b"\n", b";":
                while await self.answered(delimiter):
                    pass

    async def answered(self, delimiter):
        try:
            self.send(await Until(delimiter, limit=2000, timeout=0.1))
        except TimedOut:
            self.chances -= 1
            return False
        self.server.take_long()
        self.chances = 9
        return True

    def interrupted(self, cause):
        if isinstance(cause, EndOfStream):
            self.send(cause.partial)


class Flood(StreamHandler):
    """Sends much without waiting for the client to read, until the limit of the output ends it."""

    max_output = 500

    async def handle(self):
        while True:
            self.send(await Until(b"\n", limit=2000) * 6)


class Relay(Hesitant):
    """Sends its input to another server, and the answers of that back."""

    async def handle(self):
        await self.relay(await Connected(UPSTREAM, Target(self), timeout=30))

    async def relay(self, target):
        try:
            while True:
                await Flushed(target)
                target.send(await Some())
        except EndOfStream:
            target.send_eof()
            await Delay(inf)


class Caller(Relay):
    """A relay that reports when it can not connect to its server, or not in time."""

    async def handle(self):
        try:
            target = await Connected(self.server.upstream, Target(self), timeout=self.server.patience)
        except (Failed, TimedOut):
            self.send(b"?")
            await ToEnd()
        else:
            await self.relay(target)


class Target(Hesitant):
    """The connection that the relay opens. When its stream ends, both rows end."""

    def __init__(self, relay):
        self.relay = relay

    async def handle(self):
        while True:
            await Flushed(self.relay)
            self.relay.send(await Some())

    def finish(self):
        self.relay.close()


class Passing(Relay):
    """The same without a look at the bytes, in both directions."""

    async def handle(self):
        target = await Connected(UPSTREAM, PassingTarget(self), timeout=30)
        await Relayed(target)
        target.send_eof()
        await Delay(inf)


class PassingTarget(Target):
    """The connection that it opens."""

    async def handle(self):
        await Relayed(self.relay)


class Named(Hesitant):
    """Says who its client is and what secures the connection, then sends each line back."""

    async def handle(self):
        self.send(f"{self.peer[0]} {self.secured}\n".encode())
        while True:
            self.send(await Until(b"\n", limit=2000))


class Room(Hesitant):
    """Sends every line to all others in the room."""

    def setup(self):
        self.server.room.append(self)

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=2000)
            for other in self.server.room:
                if other is not self:
                    other.send(line)

    def finish(self):
        self.server.room.remove(self)


class Pair(DatagramHandler):
    """Answers two packets of one peer with one."""

    timeout = 5.0

    async def handle(self):
        self.send(await Packet() + await Packet())


class Once:
    """A server that checks that every request is closed once."""

    def close_request(self, request):
        assert request.fileno() >= 0, "a request is closed twice"
        super().close_request(request)


class OnceTCPServer(Once, SelectTCPServer):
    """TCP."""


class OncePlainServer(Once, TCPServer):
    """TCP, one client after another, each in an inner loop."""


class OnceUnixServer(Once, SelectUnixStreamServer):
    """Unix stream sockets."""


class FewTCPServer(OnceTCPServer):
    """A server with a low `max_requests`."""

    max_requests = 2
    request_queue_size = 2


class ProxiedServer(OnceTCPServer):
    """A server behind a proxy, whose header has more time than the clock of a schedule ever jumps."""

    filters = (partial(proxy().filter, timeout=300),)


class NarrowTCPServer(OnceTCPServer):
    """A server with a short backlog."""

    request_queue_size = 0


class NarrowUnixServer(OnceUnixServer):
    """The same over Unix sockets, where connecting to a full backlog fails at once."""

    request_queue_size = 0


class Bounds(Invariant):
    """An invariant: a server has at most `max_requests` requests."""

    def check(self, world):
        rows = world.rows
        if len(rows) > FewTCPServer.max_requests and isinstance(rows[0].server, FewTCPServer):
            raise Violation(f"{len(rows)} requests are open")


# The scenarios


def one_kind(kind, text, server_class=OnceTCPServer, address=ADDRESS):
    """A server of one stream handler."""

    def scenario(schedule):
        schedule.world.serve(server_class, address, kind)
        clients = schedule.streams(address, text)
        return lambda: schedule.judge(clients, kind)

    return scenario


def encrypted(schedule):
    """A server of one of the handlers behind filters."""
    kind, text, schedule.through, facts = BEHIND[schedule.pick(len(BEHIND))]
    schedule.world.wire.capacity *= 8  # a handshake has hundreds of bytes
    server_class = type("Filtered", (OnceTCPServer,), {"filters": [one.filter for one in schedule.through]})
    server = schedule.world.serve(server_class, ADDRESS, kind)
    clients = schedule.streams(ADDRESS, text)

    def judge():
        in_order = schedule.judge_behind_filters(clients, kind, **facts)
        checks = [
            row for row in server.reactor.table.closed if row["in_front"].startswith("proxy") and not row["total_in"]
        ]
        finished = [row for row in server.reactor.table.closed if not row["reason"] and row not in checks]
        assert len(finished) <= in_order, f"{len(finished)} requests have finished, and {in_order} streams have ended"

    return judge


def is_health_check(row):
    """Whether the proxy has sent nothing and gone, which is no error."""
    return row["in_front"].startswith("proxy") and not row["total_in"]


def proxied(schedule):
    """Clients behind a proxy with a good header or with a bad one, and one from elsewhere that says it is a proxy."""
    schedule.world.serve(ProxiedServer, ADDRESS, Named)
    schedule.through = [proxy(CHECKED)]
    clients = schedule.streams(ADDRESS, sentence)
    schedule.through = [proxy(CHECKED.replace(b"1234", b"4321"))]
    liar = schedule.stream(ADDRESS, b"x", sentence)
    stranger = schedule.world.connect(ADDRESS, (STRANGER, 0)).send(PROXY_HEADER + b"x\n")
    schedule.goodbye(stranger)

    def judge():
        schedule.judge_behind_filters(clients, Named, peer=("192.0.2.1", 56324))
        schedule.judge_behind_filters([stranger], Named, peer=(STRANGER, 0))
        assert liar.received == b"", f"{liar.name} was served, and its header has a wrong checksum"

    return judge


def relayed(schedule):
    """A server that is a client of another server in the same loop."""
    schedule.world.serve(OnceTCPServer, UPSTREAM, Echo)
    schedule.world.serve(OnceTCPServer, ADDRESS, (Relay, Passing)[schedule.pick(2)])
    clients = schedule.streams(ADDRESS, sentence)

    def judge():
        broken = schedule.injected(BROKEN, ABORTED, REFUSED, EXHAUSTED, JUMP)
        for client in clients:
            end = client.socket.peer
            if end is not None:
                schedule.compare(client, client.sent[: end.total_in], whole=not broken)

    return judge


def called(server_class=None, upstream=UPSTREAM, latency=0.0, patience=(0.5, inf)):
    """A server that is a client of another server, which is missing, far away, or busy for a while."""

    def scenario(schedule):
        world = schedule.world
        world.wire.latency = latency
        server = world.serve(OnceTCPServer, ADDRESS, Caller)
        server.upstream, server.patience = upstream, patience[schedule.pick(len(patience))]
        if server_class is not None:
            busy = world.serve(server_class, upstream, Echo)
            if busy.request_queue_size == 0:
                busy.stop_serving()
                world.reactor().call_later((1 + schedule.pick(4)) / 4, busy.start_serving)
                world.connect(upstream).shutdown().expect_end()
        clients = schedule.streams(ADDRESS, sentence)

        def judge():
            broken = schedule.injected(BROKEN, ABORTED, REFUSED, EXHAUSTED, JUMP)
            for client in clients:
                end = client.socket.peer
                if end is not None:
                    refused = server_class is None or end.sent[:1] == b"?"
                    schedule.compare(client, b"?" if refused else client.sent[: end.total_in], whole=not broken)

        return judge

    return scenario


def impatient(schedule):
    """The waits of the handler depend on the time of its input; its output does not."""
    clock = schedule.world.clock
    server = schedule.world.serve(OnceTCPServer, ADDRESS, Impatient)
    server.take_long = lambda: clock.pass_to(clock.now + 0.06)
    clients = [schedule.world.connect(ADDRESS) for _ in range(2 + schedule.pick(2))]
    for letter, client in zip(LETTERS, clients, strict=False):
        for number in range(1 + schedule.pick(3)):
            line = clauses(letter, number)
            pause = 1 + schedule.pick(len(line) - 1)
            client.send(line[:pause]).wait(schedule.pick(4) / 10).send(line[pause:])
        schedule.goodbye(client)

    def judge():
        for client in clients:
            end = client.socket.peer
            if end is not None:
                schedule.compare(client, client.sent[: end.total_in], whole=end.read_end)

    return judge


def flooded(schedule):
    """Clients that are sent more than they read."""
    server = schedule.world.serve(OnceTCPServer, ADDRESS, Flood)
    server.reactor.max_held = (1 << 20, 250)[schedule.pick(2)]
    if not schedule.calm:
        schedule.world.wire.capacity = 100
    clients = [schedule.world.connect(ADDRESS).read_slowly(0, 0) for _ in range(1 + schedule.pick(3))]
    for letter, client in zip(LETTERS, clients, strict=False):
        for number in range(3 + schedule.pick(4)):
            client.send(sentence(letter, number))
        client.wait(schedule.pick(3) / 10).read_slowly(500, 0)
        schedule.goodbye(client)

    def judge():
        schedule.judge(clients, Flood, whole="LimitPassed" not in server.reactor.table.ends)

    return judge


def crowded(schedule):
    """More clients than the server takes at once."""
    schedule.world.serve(FewTCPServer, ADDRESS, Lines)
    clients = schedule.streams(ADDRESS, sentence, least=3, most=3)
    return lambda: schedule.judge(clients, Lines)


def chatting(schedule):
    """Rows that send to each other."""
    schedule.world.serve(OnceTCPServer, ADDRESS, Room).room = []
    clients = schedule.streams(ADDRESS, sentence, least=2, most=3)

    def judge():
        said = {bytes(client.sent[:1]): client.sent.split(b"\n") for client in clients}
        for client in clients:
            heard: dict = {}
            for line in client.received.split(b"\n")[:-1]:
                heard.setdefault(line[:1], []).append(line)
            for letter, lines in heard.items():
                first = said[letter].index(lines[0])
                assert said[letter][first : first + len(lines)] == lines, f"{client.name} has heard {lines!r}"
                assert letter != client.sent[:1]

    return judge


def exchanges(kind, server_class=SelectUDPServer, address=ADDRESS, sources=(None, None, None)):
    """A server of one datagram handler."""

    def scenario(schedule):
        schedule.world.serve(server_class, address, kind)
        actors = schedule.correspondents(address, sources)

        def judge():
            for actor in actors:
                letter = actor.sent[0][0]
                for packet in actor.received:
                    assert set(packet) <= {letter}, f"{actor.name} was told {packet!r}, which is another's"
                if kind is EchoDatagram and (schedule.calm or (sources[0] and not schedule.injected(FULL, JUMP))):
                    # Unix sockets lose no packet.
                    assert actor.received == actor.sent, f"{actor.name} has heard {actor.received!r} to {actor.sent!r}"

        return judge

    return scenario


def sentence(letter, number):
    """A line of the letter."""
    return letter * (1 + number * 17 % 60) + b"%d\n" % number


def digits(letter, number):
    """Five bytes of the letter."""
    return b"%s%04d" % (letter, number)


def clauses(letter, number):
    """Short lines of the letter, and one of several clauses."""
    return (letter * 9 + b"\n") * 4 + letter * 20 + b";%d;" % number + letter * 9 + b"\n"


BEHIND = [
    (Shout, sentence, [tls()], {}),
    (Burst, digits, [tls(TLSVersion.TLSv1_2)], {}),
    (Named, sentence, [proxy(), tls()], {"peer": ("192.0.2.1", 56324), "secured": "tls1.3"}),
]
"""Handlers behind filters: their input, the filters and what these find."""

STRANGER = "172.16.0.9"
"""The host of a client that no server trusts."""

CHECKED = (
    bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 001a c0000201 c6336401 dc04 01bb 03 0004 2f726d1f 05 0004") + b"1234"
)
"""A header of version 2 with a checksum and a unique id."""

UNIX_PEERS = ("/run/a", "/run/b", "/run/c")
SCENARIOS = [
    one_kind(Parrot, sentence),
    one_kind(Lines, sentence),
    one_kind(Shout, sentence),
    one_kind(Burst, digits),
    one_kind(Slow, sentence),
    one_kind(Lines, sentence, OnceUnixServer, "/run/service"),
    one_kind(Shout, sentence, OncePlainServer),
    one_kind(Alarm, digits),
    impatient,
    flooded,
    relayed,
    called(),
    called(OnceTCPServer, latency=0.1),
    called(NarrowTCPServer, patience=(0.5,)),
    called(NarrowUnixServer, "/run/upstream"),
    crowded,
    chatting,
    exchanges(EchoDatagram),
    exchanges(Pair),
    exchanges(Pair, SelectUnixDatagramServer, "/run/service", UNIX_PEERS),
    exchanges(EchoDatagram, SelectUnixDatagramServer, "/run/service", UNIX_PEERS),
    encrypted,
    proxied,
]
