"""Several hosts in one world, each with its own addresses and ports; and crashes, partitions and slow links."""

import errno
import socket
from math import inf

import pytest

from handlers import Connected, DatagramHandler, Delay, Failed, Packet, StreamHandler, TimedOut, Until
from handlers.services import Echo, EchoDatagram
from reactor import SelectTCPServer, SelectUDPServer, SelectUnixStreamServer
from reactor.names import resolve
from reactor.testing import Crash, Cut, Slow, World
from reactor.testing.kernel.events import EVENTS
from reactor.testing.kernel.wire import NAME_SERVER
from tests.support.worlds import Upper
from tests.support.zone import NameServer

PORT = 7


def serving(handler, server_class=SelectTCPServer):
    """What boots a host with one server."""
    return lambda host: host.serve(server_class, (host.address, PORT), handler)


# Hosts


def test_each_host_has_its_own_ports():
    """The wildcard address, localhost and Unix paths are those of the host."""

    def boot(host):
        host.serve(SelectTCPServer, ("0.0.0.0", PORT), Upper)
        host.serve(SelectTCPServer, ("127.0.0.1", PORT + 1), Upper)
        host.serve(SelectUnixStreamServer, "/run/service", Upper)

    with World() as world:
        hosts = [world.host(boot) for _ in range(3)]
        clients = [world.connect((host.address, PORT)).send(b"x\n").expect(b"X\n").shutdown() for host in hosts]
        hidden = world.connect((hosts[0].address, PORT + 1))
        world.run()
        assert all(client.done for client in clients)
        assert hidden.error.errno == errno.ECONNREFUSED
        assert [host.address for host in hosts] == ["10.0.1.1", "10.0.1.2", "10.0.1.3"]


def test_an_address_belongs_to_one_host():
    with World() as world:
        first = world.host(lambda host: None, "10.0.1.1", "2001:db8::1")
        with pytest.raises(ValueError, match=r"host 0 has the address 2001:db8::1 already"):
            world.host(lambda host: None, "2001:db8::1")
        with pytest.raises(OSError, match="Cannot assign"):
            world.serve(SelectTCPServer, (first.address, PORT), Echo)


def test_a_world_may_have_a_process_of_its_own_beside_its_hosts():
    with World() as world:
        host = world.host(serving(Upper))
        world.serve(SelectTCPServer, ("10.0.0.1", PORT), Echo)
        shouts, says = (world.connect((name, PORT)).send(b"x\n").shutdown() for name in (host.address, "10.0.0.1"))
        world.run()
        assert (shouts.received, says.received) == (b"X\n", b"x\n")


class Asker(StreamHandler):
    """Asks the first host for one line, and notes the answer, or why there is none, with the time."""

    answers: list
    address = "10.0.1.1"
    patience = 1e6

    async def handle(self):
        try:
            await Connected((self.address, PORT), Asked(self))
        except Failed as failed:
            self.answers.append(failed.error.errno)


class Asked(StreamHandler):
    def __init__(self, asker):
        self.asker = asker
        self.timeout = asker.patience

    async def handle(self):
        self.send(b"one\n")
        self.asker.answers.append(await Until(b"\n"))

    def interrupted(self, cause):
        self.asker.answers.append(cause)


def asking(**attributes):
    """A class of handlers that ask, and the list of what they are answered."""
    answers = []
    return type("Asking", (Asker,), {"answers": answers, **attributes}), answers


def test_a_handler_on_one_host_asks_another():
    kind, answers = asking()
    with World(latency=0.01) as world:
        world.host(serving(Upper))
        asks = world.host(lambda host: host.start(kind))
        world.run()
        assert answers == [b"ONE\n"]
        assert asks.boots == 1


# Crashes


def test_who_connects_to_a_host_that_is_down_is_told():
    kind, answers = asking()
    with World([Crash(0, at=0, seconds=20)]) as world:
        world.host(serving(Upper))
        world.host(lambda host: world.at(1, lambda: host.start(kind)))
        world.run(until=lambda: answers)
        assert answers == [errno.EHOSTUNREACH]
        assert 3.9 < world.clock.now < 4.1


@pytest.mark.parametrize("silent", [True, False])
def test_a_crash_tells_nobody(silent):
    """Its peer sees a reset only when it sends, and the host has restarted."""
    with World([Crash(0, at=1, seconds=1)]) as world:
        host = world.host(serving(Upper))
        client = world.connect((host.address, PORT)).send(b"one\n").expect(b"ONE\n").wait(1.5)
        if not silent:
            client.send(b"two\n")
        world.run()
        assert host.boots == 2
        assert (client.error and client.error.errno) == (None if silent else errno.ECONNRESET)
        assert not client.ended


def test_who_sends_to_a_host_that_stays_down_gives_up_after_a_quarter_of_an_hour():
    with World([Crash(0, at=1, seconds=inf)]) as world:
        host = world.host(serving(Upper))
        client = world.connect((host.address, PORT)).wait(2).send(b"one\n").expect(b"ONE\n")
        world.run()
        assert client.error.errno == errno.EHOSTUNREACH
        assert 900 < world.clock.now < 1100


def test_a_host_that_restarts_has_lost_its_state():
    def boot(host):
        host.serve(SelectTCPServer, (host.address, PORT), type("Counter", (Counter,), {"count": 0}))

    class Counter(StreamHandler):
        async def handle(self):
            type(self).count += 1
            self.send(b"%d\n" % self.count)

    with World([Crash(0, at=1, seconds=1)]) as world:
        host = world.host(boot)
        clients = []
        for second in (0.1, 0.2, 3):
            world.at(second, lambda: clients.append(world.connect((host.address, PORT)).expect_end()))
        world.run()
        assert [client.received for client in clients] == [b"1\n", b"2\n", b"1\n"]


def test_nothing_of_a_process_that_has_crashed_runs():
    told = []

    class Patient(StreamHandler):
        async def handle(self):
            try:
                await Delay(5)
                told.append("went on")
            finally:
                told.append("tidied up")

        def finish(self):
            told.append("finished")

    with World([Crash(0, at=1, seconds=1)]) as world:
        world.host(lambda host: host.start(Patient) if host.boots == 1 else None)
        world.run()
        world.at(20, lambda: None)
        world.run()
        assert told == []


# Partitions


def test_a_partition_that_heals_loses_nothing():
    with World([Cut(0, "10.0.0.2", at=1, seconds=5)]) as world:
        host = world.host(serving(Upper))
        client = world.connect((host.address, PORT)).wait(2).send(b"one\n").send(b"two\n").expect(b"ONE\nTWO\n")
        world.run(until=lambda: client.done)
        assert 6 < world.clock.now < 13


def test_who_connects_through_a_partition_gives_up_after_two_minutes():
    with World([Cut(0, "10.0.0.2", seconds=inf)]) as world:
        host = world.host(serving(Upper))
        clients = []
        world.at(1, lambda: clients.append(world.connect((host.address, PORT)).expect(b"x")))
        world.run()
        assert clients[0].error.errno == errno.ETIMEDOUT
        assert 120 < world.clock.now < 130


@pytest.mark.parametrize("back", [True, False])
def test_a_partition_in_one_direction(back):
    """What is sent with the stream arrives; what is sent against it does not."""
    ends = (0, "10.0.0.2") if back else ("10.0.0.2", 0)
    with World([Cut(*ends, at=1, seconds=inf, one_way=True)]) as world:
        heard = []

        class Ear(StreamHandler):
            timeout = inf

            async def handle(self):
                self.send(b"hello\n")
                heard.append(await Until(b"\n"))
                self.send(b"thanks\n")

        host = world.host(serving(Ear))
        client = world.connect((host.address, PORT)).expect(b"hello\n").wait(2).send(b"one\n")
        world.run(until=lambda: world.clock.now > 60)
        assert (heard, client.received) == ([b"one\n"] if back else [], b"hello\n")
        world.run()
        assert client.error.errno == errno.ETIMEDOUT


def test_both_ends_give_up_alone_and_learn_nothing_of_the_other():
    """A server that only reads keeps the connection of a client that is cut off for ever: it needs a timeout."""

    class Keeper(StreamHandler):
        timeout = inf

        async def handle(self):
            await Until(b"\n")

    with World([Cut(0, "10.0.0.2", at=1, seconds=inf)]) as world:
        host = world.host(serving(Keeper))
        client = world.connect((host.address, PORT)).wait(2).send(b"one")
        world.run()
        assert client.error.errno == errno.ETIMEDOUT
        assert len(host.rows) == 1


# Slow and lossy links


def test_a_slow_link_reorders_datagrams():
    with World([Slow(0, "10.0.0.2", at=0.5, seconds=1, delay=2.0)]) as world:
        host = world.host(serving(EchoDatagram, SelectUDPServer))
        actor = world.correspond((host.address, PORT)).wait(1).send(b"early").wait(1).send(b"late")
        world.run()
        assert actor.received == [b"late", b"early"]


def test_a_lossy_link_loses_datagrams_and_delays_streams():
    def boot(host):
        host.serve(SelectUDPServer, (host.address, PORT), EchoDatagram)
        host.serve(SelectTCPServer, (host.address, PORT), Echo)

    with World() as world:
        host = world.host(boot)
        world.lose(host, "10.0.0.2", 0.3)
        actor = world.correspond((host.address, PORT))
        for number in range(100):
            actor.send(b"%d" % number)
        client = world.connect((host.address, PORT)).send(b"x" * 1000).expect(b"x" * 1000)
        world.run()
        assert 20 < len(actor.received) < 80
        assert client.done


class Ping(DatagramHandler):
    """Sends one packet, and notes the answer or the cause."""

    def __init__(self, answers):
        self.answers = answers
        self.timeout = 3.0

    async def handle(self):
        self.send(b"ping")
        self.answers.append(await Packet())

    def interrupted(self, cause):
        self.answers.append(type(cause).__name__)


@pytest.mark.parametrize(
    ("events", "port", "answer"),
    [([], PORT, b"ping"), ([], PORT + 1, "Reset"), ([Cut(0, 1)], PORT, "TimedOut"), ([Crash(0)], PORT, "TimedOut")],
)
def test_a_connected_datagram_socket(events, port, answer):
    answers = []

    class Start(StreamHandler):
        async def handle(self):
            await Delay(0.5)
            await Connected(("10.0.1.1", port), Ping(answers))

    with World(events) as world:
        world.host(serving(EchoDatagram, SelectUDPServer))
        world.host(lambda host: host.start(Start))
        world.run()
        assert answers == [answer]


# The events themselves


@pytest.mark.parametrize("number", [1, -1])
def test_an_event_on_a_host_that_is_not_there_is_refused(number):
    for event in (Crash(number), Cut(0, number), Slow(0, number)):
        with World([event]) as world:
            world.host(lambda host: None)
            with pytest.raises(ValueError, match=f"there is no host {number}; there are 1"):
                world.run()


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_loss_outside_0_to_1_is_refused(share):
    with World() as world, pytest.raises(ValueError, match="from 0 to 1"):
        world.lose("10.0.0.1", "10.0.0.2", share)


def test_the_events_of_a_list_are_as_they_are_printed():
    for event in (Crash(1, 2.0, 3.0), Cut(0, "10.0.0.2", one_way=True), Slow(1, 2, 3)):
        assert eval(repr(event), {kind.__name__: kind for kind in EVENTS}) == event


# Names


class Looker(StreamHandler):
    """Looks a name up every 10 seconds, and notes the hosts that it finds, or the error, and the time that it took."""

    found: list
    timeout = 60.0

    async def handle(self):
        for _ in range(3):
            begun = self.now()
            try:
                answer = [host for host, _ in await resolve("db.example", PORT, timeout=self.timeout)]
            except Failed as failed:
                answer = failed.error.errno
            except TimedOut:
                answer = "timed out"
            self.found.append((answer, round(self.now() - begun)))
            await Delay(10)


def looked_up(change, **attributes):
    """What a host finds in a world that ``change(world)`` has changed."""
    found = []
    with World() as world:
        world.names["db.example"] = "10.0.1.1"
        change(world)
        world.host(lambda host: host.start(type("Looking", (Looker,), {"found": found, **attributes})))
        world.run()
    return found


def test_names_come_from_the_hosts_file_and_then_from_the_name_server():
    assert looked_up(lambda world: None) == [(["10.0.1.1"], 0)] * 3
    assert looked_up(lambda world: world.wire.names.update({"db.example": "10.9.9.9"})) == [(["10.9.9.9"], 0)] * 3


def test_an_answer_of_the_name_server_changes():
    def change(world):
        world.at(5, lambda: world.names.update({"db.example": ["10.0.1.2", "10.0.1.3"]}))
        world.at(15, lambda: world.names.pop("db.example"))

    changed = [(["10.0.1.1"], 0), (["10.0.1.2", "10.0.1.3"], 0), (socket.EAI_NONAME, 0)]
    assert looked_up(change) == changed


def test_a_name_server_that_does_not_answer_is_asked_twice():
    for change in (
        lambda world: world.names.update({"db.example": None}),
        lambda world: world.cut("10.0.1.1", NAME_SERVER, one_way=True),
        lambda world: world.cut(NAME_SERVER, "10.0.1.1", one_way=True),
    ):
        assert looked_up(change) == [(socket.EAI_AGAIN, 10)] * 3


def test_a_lookup_that_takes_too_long_is_given_up():
    assert looked_up(lambda world: world.names.update({"db.example": None}), timeout=3.0) == [("timed out", 3)] * 3


def test_a_blocking_lookup_holds_the_whole_process_up():
    with World() as world:
        world.names["db.example"] = None
        kind, answers = asking(address="db.example")
        host = world.host(lambda host: host.start(kind))
        host.serve(SelectTCPServer, (host.address, PORT), Upper)
        client = world.connect((host.address, PORT)).wait(1).send(b"one\n").expect(b"ONE\n")
        world.run(until=lambda: client.done)
        assert answers == [socket.EAI_AGAIN]
        assert 10 < world.clock.now < 11


def test_name_servers_that_are_hosts_are_asked_over_udp():
    found = []

    class Start(StreamHandler):
        async def handle(self):
            found.extend(await resolve("both.example", PORT, servers=["10.0.1.1", "10.0.1.2"], timeout=2.0))

    with World([Cut(0, 2, seconds=60)]) as world:
        for _ in range(2):
            world.host(lambda host: host.serve(SelectUDPServer, (host.address, 53), NameServer))
        world.host(lambda host: world.at(1, lambda: host.start(Start)))
        world.run()
        assert found == [("192.0.2.1", PORT), ("2001:db8::1", PORT)]
        assert world.clock.now > 3
