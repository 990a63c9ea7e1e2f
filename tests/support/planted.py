"""Faults of programs on several hosts, each as a scenario for `explore`: with the fault, and mended.

``FAULTS`` has for each a function that makes the scenario (``make(mended)``), and a plan that shows the fault.
"""

import hashlib
from math import inf

from handlers import (
    Connected,
    DatagramHandler,
    Delay,
    Event,
    Failed,
    Flushed,
    Happened,
    Packet,
    StreamHandler,
    TimedOut,
    ToEnd,
    Until,
)
from reactor import SelectTCPServer, SelectUDPServer
from reactor.names import resolve
from reactor.testing import Crash, Cut, Slow, World

LATE = 3000.0
"""Seconds after which all faults are over that `explore` draws."""

PORT = 7
FIRST, SECOND = "10.0.1.1", "10.0.1.2"


# What the scenarios are made of


def program(run):
    """A class of handlers that do ``run(self)``: a program on a host (`Host.start`)."""
    return type("Program", (StreamHandler,), {"timeout": inf, "handle": run})


def lines(answer, patience=inf):
    """A class of handlers that answer each line with ``await answer(line)``, which has no line end."""

    class Lines(StreamHandler):
        timeout = patience

        async def handle(self):
            while True:
                self.send(await answer((await Until(b"\n"))[:-1]) + b"\n")

    return Lines


def run_for(world, seconds):
    world.at(seconds, lambda: None)
    world.run(until=lambda: world.clock.now >= seconds)


def serve(host, handler, server_class=SelectTCPServer):
    host.serve(server_class, (host.address, PORT), handler)


class Call(StreamHandler):
    """Sends one line; ``done`` is set to the line that is answered, or to ``None`` if none is."""

    def __init__(self, line, timeout):
        self.line = line
        self.timeout = timeout
        self.done = Event()

    async def handle(self):
        self.send(self.line + b"\n")
        self.done.set((await Until(b"\n"))[:-1])

    def interrupted(self, cause):
        return None

    def finish(self):
        if not self.done.is_set:
            self.done.set(None)


async def call(address, line, timeout=inf, kind=Call):
    """The answer of the server at the address; ``None`` if it can't be reached, or does not answer in time."""
    one = kind(line, timeout)
    try:
        await Connected((address, PORT), one, timeout=timeout)
    except (Failed, TimedOut):
        return None
    return await Happened(one.done)


# The faults


def half_open(mended):
    """A client that has no timeout waits for ever for the answer of a host that has crashed."""

    def half_open(world, hosts, clients):
        answers = []

        async def answer(line):
            await Delay(5)
            return line

        async def run(self):
            answers.append(await call(FIRST, b"x", timeout=60 if mended else inf))

        world.host(lambda host: serve(host, lines(answer)))
        world.host(lambda host: host.start(program(run)))
        world.run()
        assert answers

    return half_open


def no_reconnect(mended):
    """A client follows a feed, and does not connect again when the connection is lost."""

    class Feed(StreamHandler):
        async def handle(self):
            while True:
                self.send(b"tick\n")
                await Delay(100)

    def no_reconnect(world, hosts, clients):
        ticks = [0.0]

        class Follow(Call):
            async def handle(self):
                while True:
                    await Until(b"\n")
                    ticks.append(world.clock.now)

        async def run(self):
            while mended or len(ticks) == 1:  # it tries again until there is a first tick
                await call(FIRST, b"", timeout=150, kind=Follow)
                await Delay(10)

        world.host(lambda host: serve(host, Feed))
        world.host(lambda host: host.start(program(run)))
        run_for(world, LATE)
        assert world.clock.now - ticks[-1] < 500

    return no_reconnect


def applied_twice(mended):
    """A client repeats a request whose answer was lost, and the server does it again."""

    def applied_twice(world, hosts, clients):
        disk = []

        async def book(line):
            if not mended or line not in disk:
                disk.append(line)
            await Delay(1)
            return b"booked"

        async def run(self):
            pause = 1.0
            while await call(FIRST, b"booking 1", timeout=2) is None:
                await Delay(pause)
                pause = min(2 * pause, 100.0)

        world.host(lambda host: serve(host, lines(book)))
        world.host(lambda host: host.start(program(run)) if host.boots == 1 else None)
        world.run()
        assert len(disk) <= 1

    return applied_twice


def stale_name(mended):
    """A client looks a name up only once, and goes on with that address after the service has moved."""

    def stale_name(world, hosts, clients):
        world.names["service.example"] = FIRST
        answered = [0.0]

        async def answer(line):
            return line

        async def run(self):
            found = []
            while world.clock.now < LATE:
                try:
                    if mended or not found:
                        found = await resolve("service.example", PORT)
                except (Failed, TimedOut):
                    pass
                if found and await call(found[0][0], b"x", timeout=5) is not None:
                    answered.append(world.clock.now)
                await Delay(100)

        def first(host):
            if host.boots == 1:
                serve(host, lines(answer))
            else:
                world.names["service.example"] = SECOND  # it has moved for good

        world.host(first)
        world.host(lambda host: serve(host, lines(answer)))
        world.host(lambda host: host.start(program(run)))
        world.run()
        assert answered[-1] > LATE - 300

    return stale_name


def retry_storm(mended):
    """A client tries again at once, as often as it can, while the server can't be reached."""

    def retry_storm(world, hosts, clients):
        async def answer(line):
            return line

        async def run(self):
            attempts, pause = 1, 0.1
            while await call(FIRST, b"x", timeout=0.1) is None:
                attempts += 1
                assert attempts < 50, "a storm"
                if mended:
                    await Delay(pause)
                    pause = min(2 * pause, 100)

        world.host(lambda host: serve(host, lines(answer)))
        world.host(lambda host: host.start(program(run)))
        world.run()

    return retry_storm


def split_brain(mended):
    """The second of two hosts becomes the primary when it hears nothing, although the first one still is."""
    lease = 4.0 if mended else inf

    def split_brain(world, hosts, clients):
        primary_until = [0.0]
        heard = [0.0]

        async def beat(line):
            heard[0] = world.clock.now
            return b"heard"

        async def lead(self):
            while True:
                sent = world.clock.now
                if await call(SECOND, b"beat", timeout=2) is not None:
                    primary_until[0] = sent + lease
                await Delay(1)

        async def watch(self):
            heard[0] = world.clock.now
            while world.clock.now - heard[0] < 6:
                await Delay(1)
            assert not world.hosts[0].is_up or primary_until[0] <= world.clock.now, "two primaries"

        def follow(host):
            serve(host, lines(beat))
            host.start(program(watch))

        world.host(lambda host: host.start(program(lead)) if host.boots == 1 else primary_until.insert(0, 0.0))
        world.host(follow)
        run_for(world, 40)

    return split_brain


def silent_backend(mended):
    """A server accepts requests although its backend is down, and never ends them."""

    class Hopeful(Call):
        def finish(self):
            """Forgets to tell that no answer comes."""

    def silent_backend(world, hosts, clients):
        async def answer(line):
            await Delay(5)
            return line

        async def ask(line):
            return await call(FIRST, line, kind=Call if mended else Hopeful, timeout=30) or b"unavailable"

        world.host(lambda host: serve(host, lines(answer)))
        front = world.host(lambda host: serve(host, lines(ask, 100 if mended else inf)))
        for _ in range(clients):
            world.connect((front.address, PORT)).wait(1).send(b"x\n").shutdown()
        world.run()
        assert not front.rows

    return silent_backend


def half_close(mended):
    """A proxy has passed the end of a stream on, and waits for ever for the end that comes back."""

    class Backend(StreamHandler):
        async def handle(self):
            request = await ToEnd()
            await Delay(3)
            self.send(request.upper())

    class Relayed(Call):
        async def handle(self):
            self.send(self.line)
            self.send_eof()
            self.done.set(await ToEnd())

    class Proxy(StreamHandler):
        timeout = 100 if mended else inf

        async def handle(self):
            self.send(await call(FIRST, await ToEnd(), timeout=100 if mended else inf, kind=Relayed) or b"")

    def half_close(world, hosts, clients):
        world.host(lambda host: serve(host, Backend))
        proxy = world.host(lambda host: serve(host, Proxy))
        for _ in range(clients):
            world.connect((proxy.address, PORT)).send(b"x").wait(1).shutdown()
        world.run()
        assert not proxy.rows

    return half_close


def reordered(mended):
    """A receiver of datagrams takes the one that comes last for the latest."""

    def reordered(world, hosts, clients):
        values = [0]

        class Sensor(DatagramHandler):
            timeout = inf

            async def handle(self):
                while world.clock.now < 30:
                    self.send(b"%09d" % (1000 * world.clock.now))
                    await Delay(1)

        class Receiver(DatagramHandler):
            async def handle(self):
                value = int(await Packet())
                if value > values[-1] or not mended:
                    values.append(value)

        async def run(self):
            await Connected((FIRST, PORT), Sensor())

        world.host(lambda host: serve(host, Receiver, SelectUDPServer))
        world.host(lambda host: host.start(program(run)))
        world.run()
        assert values == sorted(values)

    return reordered


def amnesia(mended):
    """A client goes on with an upload at a server that has restarted meanwhile, and lost its beginning."""
    whole = b"abcdefgh"

    def amnesia(world, hosts, clients):
        stored = {}

        async def store(line):
            offset, data = line.split()
            if not mended or int(offset) == len(stored["data"]):
                stored["data"] += data
            return b"%d" % len(stored["data"])

        async def run(self):
            offset = 0
            while offset < len(whole):
                await Delay(2)
                answer = await call(FIRST, b"%d %b" % (offset, whole[offset : offset + 2]), timeout=1000)
                if answer is not None:
                    offset = int(answer) if mended else offset + 2
            assert stored["data"] == whole

        def boot(host):
            stored["data"] = b""
            serve(host, lines(store))

        world.host(boot)
        world.host(lambda host: host.start(program(run)) if host.boots == 1 else None)
        world.run()

    return amnesia


class Ship(StreamHandler):
    """Sends lines, and forgets each when the kernel has taken it; ``waits``: when the other host has."""

    def __init__(self, lines, waits):
        self.lines, self.waits = lines, waits
        self.timeout = 60 if waits else inf
        self.ended = Event()

    async def handle(self):
        while self.lines:
            self.send(self.lines[0])
            await Flushed()
            if self.waits:
                await Until(b"\n")
            del self.lines[0]
            await Delay(3)
        await ToEnd(timeout=inf)  # there may be more to send later

    def finish(self):
        self.ended.set(None)


def late_error(mended):
    """A client forgets what the kernel has taken. That it never arrives, the kernel says a quarter of an hour later."""

    def late_error(world, hosts, clients):
        numbers = [b"%d\n" % number for number in range(5)]
        to_send, stored = list(numbers), set()  # files, which a crash leaves

        async def store(line):
            stored.add(line + b"\n")
            return line

        async def run(self):
            while to_send:
                ship = Ship(to_send, waits=mended)
                try:
                    await Connected((FIRST, PORT), ship, timeout=60)
                except (Failed, TimedOut):
                    await Delay(10)
                else:
                    await Happened(ship.ended)

        world.host(lambda host: serve(host, lines(store)))
        world.host(lambda host: host.start(program(run)))
        run_for(world, LATE)
        assert stored == set(numbers)

    return late_error


FAULTS = {
    "half_open": (half_open, [Crash(0, at=1.0)]),
    "no_reconnect": (no_reconnect, [Crash(0, at=1.0)]),
    "applied_twice": (applied_twice, [Crash(0, at=0.5)]),
    "stale_name": (stale_name, [Crash(0, at=1.0)]),
    "retry_storm": (retry_storm, [Cut(0, 1, seconds=10.0)]),
    "split_brain": (split_brain, [Cut(0, 1, at=5.0, seconds=10.0)]),
    "silent_backend": (silent_backend, [Crash(0, at=2.0)]),
    "half_close": (half_close, [Cut(0, 1, at=2.0, seconds=2000.0, one_way=True)]),
    "reordered": (reordered, [Slow(0, 1, delay=10.0)]),
    "amnesia": (amnesia, [Crash(0, at=3.0)]),
    "late_error": (late_error, [Cut(0, 1, at=2.0, seconds=2000.0)]),
}


def digest():
    """A digest of all system calls of all hosts, in each scenario with the plan that shows the fault."""
    told = hashlib.sha256()
    for make, plan in FAULTS.values():
        with World(plan) as world:
            make(True)(world, 1, 1)
        for host in world.hosts:
            told.update("\n".join(host.trace).encode())
    return told.hexdigest()
