"""Simulated schedules without end: a server, a few clients and their faults, for every seed another.

``python3 -m tests.soak`` runs the schedules of the seeds 0 to 99,999, in about three minutes on one core, and
says how many faults they took and how many bytes were lost of the streams that ended in order: none. The long
run is that of a million, ``python3 -m tests.soak 1000000``, in half an hour. A schedule that fails ends the run,
and is told with its seed and the fewest faults with which it still fails. Needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
import time
from math import inf
from random import Random

from handlers import (
    Connected,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Flushed,
    Packet,
    Some,
    StreamHandler,
    StreamMachine,
    Until,
)
from handlers.services import Echo, EchoDatagram
from reactor import SelectTCPServer, SelectUDPServer, SelectUnixDatagramServer, SelectUnixStreamServer, TCPServer
from reactor.testing.faults import ABORTED, BROKEN, EXHAUSTED, JUMP, REFUSED, fewest
from reactor.testing.invariants import INVARIANTS, Invariant, Violation
from reactor.testing.network import Stalled
from reactor.testing.world import World

ADDRESS = ("10.0.0.1", 7)
UPSTREAM = ("10.0.0.1", 8)


# What is served


class Hesitant(StreamHandler):
    """A handler that is soon held up where nobody listens."""

    high_water, low_water = 40, 10


class Parrot(Hesitant, Echo):
    """Whatever comes, comes back."""


class Lines(Hesitant):
    """Each line comes back, in a conversation."""

    async def handle(self):
        while True:
            self.send(await Until(b"\n", limit=2000))


class Shout(Hesitant):
    """Each line comes back in capitals, in states; what is left at the end comes back as it is."""

    def handle(self):
        return Until(b"\n", limit=2000), self.line

    def line(self, line):
        self.send(line.upper())
        return Until(b"\n", limit=2000), self.line

    def interrupted(self, cause):
        if isinstance(cause, EndOfStream):
            self.send(cause.partial + b".")


class Burst(StreamHandler):
    """A long answer to every five bytes, and a wait for all of it to leave."""

    high_water, low_water = 120, 40

    async def handle(self):
        while True:
            digits = await Exactly(5)
            self.send(digits * 40)
            await Flushed()
            self.send(b"!")


class Slow(StreamHandler):
    """Takes its time over every line, and ends its own stream before the client does."""

    async def handle(self):
        for _ in range(3):
            line = await Until(b"\n", limit=2000)
            await Delay(0.05)
            self.send(line)
        self.send_eof()
        while True:
            await Some()


class Relay(Hesitant):
    """Hands what comes to a server of its own, and its answers back."""

    async def handle(self):
        target = await Connected(UPSTREAM, Target(self), timeout=30)
        try:
            while True:
                await Flushed(target)
                target.send(await Some())
        except EndOfStream:
            target.send_eof()
            await Delay(inf)


class Target(Hesitant):
    """The relay's other connection. When its stream ends, both do."""

    def __init__(self, relay):
        self.relay = relay

    async def handle(self):
        while True:
            await Flushed(self.relay)
            self.relay.send(await Some())

    def finish(self):
        self.relay.close()


class Room(Hesitant):
    """Every line is told to everybody else in the room."""

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
    """Two packets of one peer are answered with one."""

    timeout = 5.0

    async def handle(self):
        self.send(await Packet() + await Packet())


class Once:
    """A server that closes every request just once."""

    def close_request(self, request):
        assert request.fileno() >= 0, "a request is closed twice"
        super().close_request(request)


class OnceTCPServer(Once, SelectTCPServer):
    """TCP."""


class OncePlainServer(Once, TCPServer):
    """TCP, one client after another: each is served by a loop inside the loop."""


class OnceUnixServer(Once, SelectUnixStreamServer):
    """Unix stream sockets."""


class FewTCPServer(OnceTCPServer):
    """A server with little room."""

    max_requests = 2
    request_queue_size = 2


class Bounds(Invariant):
    """A server has no more requests than it may."""

    def check(self, world):
        rows = world.rows
        if len(rows) > FewTCPServer.max_requests and isinstance(rows[0].server, FewTCPServer):
            raise Violation(f"{len(rows)} requests are open")


# The schedules


class Schedule:
    """What happens for one seed. ``plan`` is a list of faults to have instead of the seed's own."""

    def __init__(self, seed, calm=False, plan=None, trace=False):
        self.seed = seed
        self.dice = Random(seed).random
        self.calm = calm
        capacity = 1 << 20 if calm else (64, 300, 1000, 5000)[self.pick(4)]
        faults = [] if calm else seed if plan is None else plan
        self.world = World(faults, capacity=capacity, trace=trace, invariants=(*INVARIANTS, Bounds))
        self.carried = 0
        """Bytes that clients have heard whose streams ended in order."""
        self.lost = 0
        """Bytes that they should have heard, too."""

    def pick(self, most):
        """A number from 0 to ``most - 1``."""
        return int(self.dice() * most)

    def run(self):
        with self.world as world:
            judge = SCENARIOS[self.seed % len(SCENARIOS)](self)
            world.run(steps=20_000)
            judge()
        return self

    # Clients

    def streams(self, address, text, least=1, most=3):
        """A few clients, each of which says its own: what ``text(letter, number)`` gives for its numbers."""
        letters = [b"abcdef"[place : place + 1] for place in range(least + self.pick(most - least + 1))]
        return [self.stream(address, letter, text) for letter in letters]

    def stream(self, address, letter, text):
        client = self.world.connect(address)
        if self.pick(2):
            client.wait(self.pick(30) / 100)
        if not self.calm and not self.pick(4):
            client.read_slowly(1 + self.pick(200), self.pick(20) / 1000)
        whole = b"".join(text(letter, number) for number in range(1 + self.pick(4)))
        while whole:
            size = 1 + self.pick(min(len(whole), 200))
            client.send(whole[:size])
            whole = whole[size:]
            if not self.pick(3):
                client.wait(self.pick(20) / 100)
        self.goodbye(client)
        return client

    def goodbye(self, client):
        """How it ends: in order, mostly; in a hurry, by a reset, or not at all until it times out."""
        ending = 7 if self.calm else self.pick(8)
        if ending == 0:
            client.wait(self.pick(30) / 100).close()
        elif ending == 1:
            client.wait(self.pick(30) / 100).reset()
        elif ending > 2:
            client.shutdown().expect_end()

    def correspondents(self, address, sources=(None, None, None)):
        """A few who send datagrams, every byte of which is the sender's own letter."""
        actors = []
        for place, source in enumerate(sources):
            actor = self.world.correspond(address, source)
            for _ in range(2 + self.pick(6)):
                actor.send(b"abcdefgh"[place : place + 1] * (1 + self.pick(40)))
                actor.wait(self.pick(10) / 100)
            actors.append(actor)
        return actors

    # What must have come of it

    def judge(self, clients, kind, whole=True):
        """Each stream must be what the handler says with no network at all; with ``whole``, all of it."""
        for client in clients:
            end = client.socket.peer
            if end is not None:
                answer = spoken(kind(), client.sent[: end.heard], end.heard_end)
                self.compare(client, answer, whole)

    def compare(self, client, answer, whole):
        received, said = client.received, bytes(client.socket.peer.said)
        assert answer.startswith(said), f"{client.name} was told {said!r}, and should have been told {answer!r}"
        assert said.startswith(received), f"{client.name} has heard {received!r} of {said!r}"
        if client.error is None and client.ended and whole:
            self.carried += len(received)
            self.lost += len(answer) - len(received)
            assert not self.lost, f"{client.name} has heard {received!r}, and not all of {answer!r}"

    def injected(self, *kinds):
        """Whether there was a fault of one of these kinds."""
        return any(fault.kind in kinds for fault in self.world.plan.injected)


def spoken(handler, heard, ended):
    """All that the handler says to these bytes, with no network in between."""
    machine = StreamMachine(handler)
    machine.feed(heard)
    said = bytearray()
    for _ in range(1000):  # a Delay ends, output drains
        if type(machine.wait) is Delay and machine.wait.seconds < inf:
            machine.expire()
        piece = machine.read()
        if not piece and ended and not machine.ended:
            machine.end()
        elif not piece and type(machine.wait) is not Delay:
            break
        said += piece
    return bytes(said)


# The scenarios: each sets the stage and returns what is to be checked when all is over


def one_kind(kind, text, server_class=OnceTCPServer, address=ADDRESS):
    """A server of one stream handler."""

    def scenario(schedule):
        schedule.world.serve(server_class, address, kind)
        clients = schedule.streams(address, text)
        return lambda: schedule.judge(clients, kind)

    return scenario


def relayed(schedule):
    """A server that is a client of another in the same loop."""
    schedule.world.serve(OnceTCPServer, UPSTREAM, Echo)
    schedule.world.serve(OnceTCPServer, ADDRESS, Relay)
    clients = schedule.streams(ADDRESS, sentence, most=2)

    def judge():
        broken = schedule.injected(BROKEN, ABORTED, REFUSED, EXHAUSTED, JUMP)
        for client in clients:
            end = client.socket.peer
            if end is not None:
                schedule.compare(client, client.sent[: end.heard], whole=not broken)

    return judge


def crowded(schedule):
    """More clients than the server takes at once."""
    schedule.world.serve(FewTCPServer, ADDRESS, Lines)
    clients = schedule.streams(ADDRESS, sentence, least=3, most=5)
    return lambda: schedule.judge(clients, Lines)


def chatting(schedule):
    """Rows that write to each other."""
    schedule.world.serve(OnceTCPServer, ADDRESS, Room).room = []
    clients = schedule.streams(ADDRESS, sentence, least=2)

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
                if kind is EchoDatagram and (schedule.calm or (sources[0] and not schedule.injected(JUMP))):
                    # Nothing is lost on the way from a Unix socket to another.
                    assert actor.received == actor.sent, f"{actor.name} has heard {actor.received!r} to {actor.sent!r}"

        return judge

    return scenario


def sentence(letter, number):
    """A line of a client's own letter."""
    return letter * (1 + number * 17 % 60) + b"%d\n" % number


def digits(letter, number):
    """Five bytes of a client's own."""
    return b"%s%04d" % (letter, number)


UNIX_PEERS = ("/run/a", "/run/b", "/run/c")
SCENARIOS = [
    one_kind(Parrot, sentence),
    one_kind(Lines, sentence),
    one_kind(Shout, sentence),
    one_kind(Burst, digits),
    one_kind(Slow, sentence),
    one_kind(Lines, sentence, OnceUnixServer, "/run/service"),
    one_kind(Shout, sentence, OncePlainServer),
    relayed,
    crowded,
    chatting,
    exchanges(EchoDatagram),
    exchanges(Pair),
    exchanges(Pair, SelectUnixDatagramServer, "/run/service", UNIX_PEERS),
    exchanges(EchoDatagram, SelectUnixDatagramServer, "/run/service", UNIX_PEERS),
]


# The command


class Failure(AssertionError):
    """A schedule that did not end as it must."""

    def __init__(self, schedule, error):
        super().__init__(f"seed {schedule.seed} fails: {type(error).__name__}: {error}")
        self.schedule = schedule


def run(seed, calm=False, plan=None, trace=False):
    """The schedule of a seed, when it is over. Raises `Failure`."""
    schedule = Schedule(seed, calm, plan, trace)
    try:
        return schedule.run()
    except (Exception, Stalled) as error:
        raise Failure(schedule, error) from error


def explain(failure):
    """Say with how few of its faults a schedule fails."""

    def fails(plan):
        try:
            run(failure.schedule.seed, plan=plan)
        except Failure:
            return True
        return False

    faults = failure.schedule.world.plan.injected
    print(f"the fewest of its {len(faults)} faults with which it does so: {fewest(faults, fails)}")


def digest(seeds):
    """A digest of the traces of these seeds."""
    told = hashlib.sha256()
    for seed in seeds:
        told.update("\n".join(run(seed, trace=True).world.trace).encode())
    return told.hexdigest()


def soak(seeds, calm):
    """Run the schedules of the seeds and say what came of it."""
    faults = carried = lost = 0
    begun = time.process_time()
    for seed in seeds:
        schedule = run(seed, calm)
        faults += len(schedule.world.plan.injected)
        carried += schedule.carried
        lost += schedule.lost
    seconds = time.process_time() - begun
    print(
        f"{len(seeds):,} schedules, {faults:,} faults injected, lost bytes: {lost} of {carried:,}; {seconds:.1f} s "
        f"of one core, {len(seeds) / seconds:,.0f} schedules and {faults / seconds:,.0f} faults a second"
    )


def main(arguments=None):
    """The command; its exit status is 1 if a schedule fails."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.soak", description="Run simulated schedules.")
    parser.add_argument("schedules", type=int, nargs="?", default=100_000, help="how many (100,000)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (0)")
    parser.add_argument("--calm", action="store_true", help="without any fault")
    parser.add_argument("--brief", action="store_true", help="if one fails, do not look for the fewest faults")
    options = parser.parse_args(arguments)
    try:
        soak(range(options.first, options.first + options.schedules), options.calm)
    except Failure as failure:
        print(failure)
        if not options.brief and not options.calm:
            explain(failure)
        return 1
    return 0


if __name__ == "__main__":
    logging.getLogger("reactor").setLevel(logging.ERROR)  # a host that runs short is what is wanted here
    sys.exit(main())
