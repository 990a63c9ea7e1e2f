"""Parts of requests outside the loop: children, threads, connections of a row's own. What begins is ended.

Every test of this module must leave the process as it found it: no descriptor, no child, no zombie.
What runs outside waits at a `Gate`, never for a time to pass.
"""

import errno
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from selectors import DefaultSelector

import pytest

from handlers import (
    BaseRequestHandler,
    Cancelled,
    Connected,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Forked,
    Packet,
    Reset,
    Some,
    StreamHandler,
    Threaded,
    TimedOut,
    Until,
)
from handlers.services import Echo, EchoDatagram
from reactor import ForkingMixIn, ForkingTCPServer, Reactor, SelectUDPServer, ThreadingTCPServer, workers
from tests.process import Process
from tests.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    connect,
    made,
    peer,
    reset,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)
from tests.test_packets import Pair
from tests.test_reactor import descriptors, recording
from tests.test_stream import PATTERN, SMALL, Noting, bench

TCP, UNIX = STREAMS["tcp"], STREAMS["unix"]
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def nothing_left():
    """No test leaves a descriptor, a child or a zombie behind."""
    before = descriptors()
    yield
    left = []
    try:
        while True:  # so that what one test leaves is not the next one's failure
            left.append(os.waitid(os.P_ALL, 0, os.WEXITED))
    except ChildProcessError:
        pass
    assert left == []
    assert descriptors() == before


@pytest.fixture(params=["pidfd", "pipe"])
def ending(request, monkeypatch):
    """How the end of a child is heard: by a pidfd, and where there is none by a pipe."""
    if request.param == "pipe":
        monkeypatch.delattr(os, "pidfd_open", raising=False)


class Gate:
    """Holds what runs outside until it is opened, once for each; what waits tells so first, with its pid."""

    def __init__(self):
        self._told, self._tell = os.pipe()
        self._wait, self._open = os.pipe()
        os.set_blocking(self._told, False)
        self._pids = set()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.waiting()
        for pid in filter(is_there, self._pids - {os.getpid()}):
            os.kill(pid, signal.SIGKILL)  # only when the test has failed
        for descriptor in (self._told, self._tell, self._wait, self._open):
            os.close(descriptor)

    def wait(self, result=None):
        """Outside: tell who waits and for which result, wait until the gate is opened, return the result."""
        os.write(self._tell, f"{os.getpid()} {result}\n".encode())
        os.read(self._wait, 1)
        return result

    def open(self, number=1):
        os.write(self._open, b"x" * number)

    def waiting(self):
        """The ``(pid, result)`` of those that have come to wait since this was last asked."""
        try:
            lines = os.read(self._told, 65_536).decode().splitlines()
        except BlockingIOError:
            return []
        waiting = [(int(pid), result) for pid, result in map(str.split, lines)]
        self._pids.update(pid for pid, _ in waiting)
        return waiting


@pytest.fixture
def gate(nothing_left):
    with Gate() as gate:
        yield gate


def is_there(pid):
    """Whether the process exists, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Worker(StreamHandler):
    """Has the server's ``job(word)`` done elsewhere for each word, and answers with what came of it."""

    async def handle(self):
        while True:
            word = await Until(b"\n")
            try:
                result = await self.server.job(word[:-1].decode())
            except Failed as failed:
                self.send(f"{type(failed.error).__name__}: {failed.error}\n".encode())
            except TimedOut:
                self.send(b"timed out\n")
            else:
                self.send(f"{result!r}\n".encode())


@contextmanager
def workshop(job, **members):
    """A `bench` for `Worker`; ``members`` are those of its reactor's class."""
    with bench(Worker, reactor_class=type("Workshop", (Reactor,), members)) as here:
        here.server.job = job
        yield here


def ask(here, client, word="go"):
    """Send a word and return the line that answers it."""
    client.sendall(word.encode() + b"\n")
    return line(here, client)


def line(here, client):
    answer = b""
    while not answer.endswith(b"\n"):
        answer += here.take(client, 1)
    return answer[:-1].decode()


def answer_in(mode, job):
    """What `Worker` answers to one word in a server of that mode, which is taken and done with one call."""
    kind = server_class(mode, TCP, job=staticmethod(job), timeout=PATIENCE)
    with made(kind, TCP, Worker) as server, connect(server) as client:
        client.sendall(b"word\n")
        client.shutdown(socket.SHUT_WR)
        server.handle_request()
        return rest(client).decode().rstrip("\n")


# Forked and Threaded: results and failures


class Odd(Exception):
    """Pickles, and does not come back: its constructor wants more than it gets."""

    def __init__(self, one, two):
        super().__init__(one)


def odd():
    raise Odd(1, 2)


def die(number):
    os.kill(os.getpid(), number)


RESULTS = {
    "a number": (divmod, (17, 5), "(3, 2)"),
    "nothing": (print, (), "None"),
    "an exception": (divmod, (1, 0), "ZeroDivisionError: integer division or modulo by zero"),
    "an exit": (sys.exit, (3,), "SystemExit: 3"),
    "an exception that can't be unpickled": (odd, (), "Odd: 1"),
}


@pytest.mark.parametrize("kind", [Forked, Threaded])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", RESULTS)
def test_what_comes_of_work_elsewhere_in_every_mode(mode, kind, what):
    function, arguments, expected = RESULTS[what]
    answer = answer_in(mode, lambda word: kind(function, *arguments))
    assert answer.endswith(expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (die, (signal.SIGKILL,), "ChildProcessError: the child was killed by SIGKILL"),
        (os._exit, (3,), "ChildProcessError: the child exited with status 3"),
        (os._exit, (0,), "EOFError"),
        (lambda: lambda: None, (), "AttributeError: Can't"),
        (open, (os.devnull,), "TypeError: cannot pickle"),
    ],
    ids=["killed", "exited", "exited well", "a function", "a file"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_child_that_brings_no_result(mode, ending, function, arguments, expected):
    assert answer_in(mode, lambda word: Forked(function, *arguments)).startswith(expected)


@pytest.mark.parametrize("kind", [Forked, Threaded])
def test_a_result_may_be_big(kind, ending):
    class Big(StreamHandler):
        max_output = 100 << 20

        async def handle(self):
            await Some()
            self.send(await kind(lambda: PATTERN * 3))

    with bench(Big) as here:
        client = here.connect()
        client.sendall(b"go")
        assert here.take(client, len(PATTERN) * 3) == PATTERN * 3


def test_a_result_over_the_bound_is_a_failure(monkeypatch, ending):
    monkeypatch.setattr(workers, "MAX_RESULT", 100_000)
    with workshop(lambda word: Forked(bytes, int(word))) as here:
        client = here.connect()
        assert ask(here, client, "5000000") == "RuntimeError: the result is over 100000 bytes"
        assert ask(here, client, "3") == repr(bytes(3))


def test_the_child_has_the_process_as_it_was_and_changes_nothing_in_it(ending):
    things = {"word": "before"}

    def work():
        things["word"] += " and after"
        return os.getpid(), things["word"]

    with workshop(lambda word: Forked(work)) as here:
        pid, words = eval(ask(here, here.connect()))
        assert (words, things) == ("before and after", {"word": "before"})
        assert pid != os.getpid()
        here.until(lambda: not is_there(pid))


def test_one_row_may_have_work_done_again_and_again(ending):
    with workshop(lambda word: (Forked if len(word) % 2 else Threaded)(len, word)) as here:
        client = here.connect()
        for number in range(1, 10):
            assert ask(here, client, "x" * number) == str(number)


@pytest.mark.parametrize("kind", [Forked, Threaded])
def test_the_loop_serves_others_meanwhile(kind, gate, ending):
    with workshop(lambda word: kind(gate.wait, word) if word == "slow" else kind(str.upper, word)) as here:
        slow, quick = here.connect(), here.connect()
        slow.sendall(b"slow\n")
        here.until(gate.waiting)
        assert ask(here, quick, "quick") == "'QUICK'"
        slow_row, _ = here.table
        assert (slow_row.wait, here.interest(slow_row)) == (f"{kind.__name__}(Gate.wait)", 0)
        gate.open()
        assert line(here, slow) == "'slow'"


# The end of a wait for work elsewhere


def test_the_child_is_killed_when_the_time_is_over(gate, ending):
    with workshop(lambda word: Forked(gate.wait, timeout=0.2)) as here:
        client = here.connect()
        assert ask(here, client) == "timed out"
        ((pid, _),) = gate.waiting()
        here.until(lambda: not is_there(pid))
        assert len(here.reactor.children) == 0
        here.server.job = lambda word: Forked(len, word)
        assert ask(here, client, "four") == "4"


def close_row(here, client):
    next(iter(here.table)).machine.close()


def cancel_row(here, client):
    here.reactor.cancel(here.table)


def close_server(here, client):
    here.server.server_close()


def close_reactor(here, client):
    here.reactor.close()


@pytest.mark.parametrize("end", [close_row, cancel_row, close_server, close_reactor])
@pytest.mark.parametrize("kind", [Forked, Threaded])
def test_a_row_that_is_ended_gives_up_its_work(end, kind, gate, ending):
    with workshop(lambda word: kind(gate.wait)) as here:
        client = here.connect()
        client.sendall(b"go\n")
        here.until(lambda: here.row.wait.startswith(kind.__name__))
        waiting = here_until(here, gate.waiting)
        end(here, client)
        if end is not close_reactor:
            here.until(lambda: not len(here.table))
        assert here.last_words(client) == b"" if end is not close_reactor else client.recv(10) == b""
        if kind is Threaded:
            gate.open()
            wait_until(lambda: threading.active_count() == 1)
        elif end is not close_reactor:
            here.until(lambda: not is_there(waiting[0][0]))
        else:
            assert not is_there(waiting[0][0])


def here_until(here, condition):
    """Step until the condition is true, and return what it was."""
    results = []
    here.until(lambda: results.append(condition()) or results[-1])
    return results[-1]


def test_a_reset_kills_the_child_when_output_waits(gate, ending):
    """A row that waits for work and has nothing to send is deaf; one that has learns of the reset by it."""

    class Chatty(Noting):
        async def handle(self):
            await Some()
            self.send(PATTERN)
            self.send(await Forked(gate.wait))

    with bench(Chatty, sndbuf=SMALL) as here:
        client = here.connect(SMALL)
        client.sendall(b"go")
        ((pid, _),) = here_until(here, gate.waiting)
        reset(client)
        here.until(lambda: not len(here.table))
        here.until(lambda: not is_there(pid))
        (cause,) = Chatty.made[0].causes
        assert isinstance(cause, Reset)


def test_a_thread_whose_time_is_over_has_its_result_dropped(gate):
    with workshop(lambda word: Threaded(gate.wait, word, timeout=0.1 if word == "late" else None)) as here:
        client = here.connect()
        assert ask(here, client, "late") == "timed out"
        client.sendall(b"next\n")
        here.until(lambda: [result for _, result in gate.waiting() if result == "next"])
        gate.open(2)
        assert line(here, client) == "'next'"
        wait_until(lambda: threading.active_count() == 1)
        here.rest()
        assert here.row.held_out == here.row.held_in == 0


# Bounds


@pytest.mark.parametrize(("kind", "bound"), [(Forked, "max_children"), (Threaded, "max_threads")])
def test_what_is_over_the_bound_waits_its_turn_in_the_order_of_asking(kind, bound, gate, ending):
    with workshop(lambda word: kind(gate.wait, word), **{bound: 2}) as here:
        clients = [here.connect() for _ in range(6)]
        begun = []
        for number, client in enumerate(clients):
            client.sendall(b"%d\n" % number)
            here.until(lambda number=number: list(here.table)[number].wait)
            here.rest()
        here.until(lambda: begun.extend(gate.waiting()) or len(begun) == 2)
        assert len(here.table) == 6
        for number in range(2, 6):
            assert sorted(result for _, result in begun) == [str(done) for done in range(number)]
            gate.open()
            here.until(lambda number=number: begun.extend(gate.waiting()) or len(begun) == number + 1)
        gate.open(2)
        for number, client in enumerate(clients):
            assert line(here, client) == repr(str(number))


def test_one_that_gives_up_in_the_line_lets_the_others_pass(gate, ending):
    with workshop(lambda word: Forked(gate.wait, word), max_children=1) as here:
        clients = [here.connect() for _ in range(3)]
        for client in clients:
            client.sendall(b"%d\n" % clients.index(client))
            here.rest()
        here_until(here, gate.waiting)
        here.reactor.cancel([list(here.table)[1]])
        gate.open(2)
        assert [line(here, clients[0]), line(here, clients[2])] == ["'0'", "'2'"]
        assert [result for _, result in gate.waiting()] == ["2"]


def test_a_thread_that_is_given_up_keeps_its_place_until_it_is_done(gate):
    with workshop(lambda word: Threaded(gate.wait, word, timeout=0.1 if word == "0" else None), max_threads=1) as here:
        first, second = here.connect(), here.connect()
        assert ask(here, first, "0") == "timed out"
        second.sendall(b"1\n")
        here.rest()
        assert [result for _, result in gate.waiting()] == ["0"]
        gate.open(2)
        assert line(here, second) == "'1'"


def test_closing_begins_nothing_that_is_still_in_line(gate, ending):
    with workshop(lambda word: Forked(gate.wait, word), max_children=1) as here:
        for number in range(5):
            here.connect().sendall(b"%d\n" % number)
            here.rest()
        here_until(here, gate.waiting)
        pids = []
        here.reactor.children.fork = lambda *arguments, **more: pids.append(arguments)
        here.reactor.close()
        assert pids == []


@contextmanager
def no_descriptors_left():
    """The process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 3, hard))
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    try:
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class SlowEcho(DatagramHandler):
    """Takes its time, so that many are at it at once."""

    async def handle(self):
        packet = await Packet()
        await Delay(0.1)
        self.send(packet)


@pytest.mark.parametrize("mode", MODES)
def test_a_host_short_of_descriptors_answers_all_who_come_in_every_mode(mode):
    """What a request needs besides its connection is there when it is taken, or it can do without."""
    with (
        Process(mode, "tests.serving:Reverse", limit=24, request_queue_size=128) as process,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(socket.create_connection(process.address)) for _ in range(60)]
        for client in clients:
            client.sendall(b"5:he")
        if mode != "plain":  # which has one at a time
            wait_until(process.said)
        for client in clients:
            client.sendall(b"llo,")
            client.shutdown(socket.SHUT_WR)
        for client in clients:
            client.settimeout(PATIENCE)
            assert rest(client) == b"5:olleh,"
        assert len(process.said().splitlines()) == (mode != "plain")


@pytest.mark.parametrize("mode", MODES)
def test_a_host_short_of_descriptors_loses_no_packet(mode):
    with (
        Process(mode, "tests.test_outside:SlowEcho", packets=True, limit=24) as process,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(60)]
        for client in clients:
            client.settimeout(PATIENCE)
            client.connect(process.address)
            client.send(b"hello")
        for client in clients:
            assert client.recv(8) == b"hello"


def test_a_packet_for_which_no_child_can_be_had_waits_and_leaves_nothing_behind(monkeypatch):
    def fork():
        counts.append(descriptors())
        if len(counts) < 4:
            raise OSError(errno.EAGAIN, "no child")
        return real()

    counts, real = [], os.fork
    kind = server_class("fork", PACKETS["udp"])
    with made(kind, PACKETS["udp"], SlowEcho) as server, peer(server) as client:
        monkeypatch.setattr(os, "fork", fork)
        client.send(b"word")
        server.handle_request()
        assert len(counts) == 4
        assert all(count == counts[0] for count in counts)
        assert client.recv(8) == b"word"


def test_a_packet_waits_while_the_host_has_no_memory_to_hand_it_to_its_child(monkeypatch):
    class Short(socket.socket):
        def send(self, data):
            if data == b"\0two" and len(tries) < 3:
                tries.append(data)
                raise OSError(errno.ENOBUFS, "no memory")
            return super().send(data)

    def socketpair(*arguments):
        return tuple(Short(fileno=end.detach()) for end in real(*arguments))

    tries, real = [], socket.socketpair
    monkeypatch.setattr(socket, "socketpair", socketpair)
    with serving(Pair, "fork", PACKETS["udp"]) as server, peer(server) as client:
        client.send(b"one")
        wait_until(server.reactor.children.pids)
        client.send(b"two")
        assert client.recv(8) == b"onetwo"
        assert tries == [b"\0two"] * 3


def test_work_whose_result_can_not_be_watched_leaves_no_child_and_no_descriptor(ending):
    """The child has begun, and the selector takes no more: it must not wait for ever for a reader of its result."""
    with workshop(lambda word: Forked(bytes, 1 << 20)) as here:
        client = here.connect()
        here.rest()
        before, watch, refusals = descriptors(), here.reactor.watch, [OSError(errno.ENOSPC, "no room")]

        def refusing(*arguments):
            if refusals:
                raise refusals.pop()
            return watch(*arguments)

        here.reactor.watch = refusing
        assert ask(here, client).startswith("OSError: [Errno 28] no room")
        here_until(here, lambda: not here.reactor.children)
        assert descriptors() == before
        assert here.errors == []


def test_work_that_can_not_be_begun_for_want_of_descriptors_fails_at_once(ending):
    with workshop(lambda word: Forked(len, word)) as here:
        client = here.connect()
        with no_descriptors_left():
            assert ask(here, client).startswith("OSError: [Errno 24]")
        assert here.errors == []
        assert ask(here, client, "four") == "4"


def test_a_long_line_of_work_that_can_not_be_begun_fails_one_by_one(gate, ending):
    """However long it is: not by one call inside another."""
    with workshop(lambda word: Forked(gate.wait, word), max_children=1) as here:
        clients = [here.connect() for _ in range(300)]
        for client in clients:
            client.sendall(b"word\n")
        here_until(here, gate.waiting)
        here.rest()
        with no_descriptors_left():
            gate.open()
            for client in clients[1:]:
                assert line(here, client).startswith("OSError: [Errno 24]")
        assert line(here, clients[0]) == "'word'"
        assert here.errors == []


# What a child holds, and how its end is heard


def holdings():
    """What this process has open: for a socket ``socket:[inode]``, for others what the system calls them."""
    links = [f"/proc/self/fd/{descriptor}" for descriptor in os.listdir("/proc/self/fd")]
    return {os.readlink(link) for link in links if os.path.lexists(link)}  # that of the list itself is gone


def name(sock):
    return os.readlink(f"/proc/self/fd/{sock.fileno()}")


def test_a_child_holds_no_socket_no_selector_and_no_sibling(gate, ending):
    before = holdings()
    with workshop(lambda word: Forked(gate.wait) if word == "wait" else Forked(holdings)) as here:
        sibling, client, _ = (here.connect() for _ in range(3))
        sibling.sendall(b"wait\n")
        here_until(here, gate.waiting)
        new = eval(ask(here, client)) - before - {name(sock) for sock in here.clients}
        assert {what.partition(":")[0] for what in new} == {"pipe"}
        gate.open()
        assert line(here, sibling) == "None"


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_a_child_of_another_mode_holds_neither_the_listener_nor_any_client(mode, gate, ending):
    class Holding(Worker):
        async def handle(self):
            self.send(b"hello\n")
            await super().handle()

    kind = server_class(mode, TCP, job=staticmethod(lambda word: Forked(holdings)))
    with made(kind, TCP, Holding) as server, running(server), ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(3 if mode == "thread" else 1)]
        for client in clients:
            assert client.recv(6) == b"hello\n"
        clients[0].sendall(b"word\n")
        held = eval(clients[0].recv(1000))
        rows = [row for row in server.reactor.table if row.peer != clients[0].getsockname()]
        servers = {name(row.socket) for row in rows} | {name(server.socket)}
        assert not held & servers
        for client in clients:
            client.shutdown(socket.SHUT_WR)


class Busy(StreamHandler):
    """Waits as its line says; or tells what a child holds, its own where it has one."""

    async def handle(self):
        word = await Until(b"\n")
        if word == b"fork\n":
            await Forked(self.server.gate.wait)
        elif word == b"connect\n":
            await Connected(self.server.deaf, Echo())
        elif word == b"tell\n":
            self.send(await told(self.server))
        else:
            self.send(word)
            await Some()


class BusyWithPackets(DatagramHandler):
    async def handle(self):
        while True:
            self.send(await told(self.server) if await Packet() == b"tell\n" else b"rest")


async def told(server):
    """What a child of the server holds."""
    return repr(holdings() if isinstance(server, ForkingMixIn) else await Forked(holdings)).encode()


@contextmanager
def busy_house(gate):
    """Servers of all modes on one loop, with requests of any kind that holds something; and what was there before."""
    with deaf() as address, ExitStack() as stack:
        before = holdings()
        reactor = stack.enter_context(Reactor())
        places = {(mode, "tcp"): TCP for mode in ("select", "fork", "thread")}
        places |= {(mode, "udp"): PACKETS["udp"] for mode in ("select", "fork")}
        servers = {}
        for key, place in places.items():
            kind = server_class(key[0], place, gate=gate, deaf=address)
            servers[key] = stack.enter_context(made(kind, place, Busy if place is TCP else BusyWithPackets, reactor))
        stack.enter_context(running(servers["select", "tcp"]))
        for key, server in servers.items():
            for word in (b"fork", b"connect", b"rest") if key == ("select", "tcp") else (b"rest",):
                client = stack.enter_context(peer(server) if "udp" in key else connect(server))
                client.send(word + b"\n")
                if word == b"rest":
                    assert client.recv(9)
        wait_until(gate.waiting)
        wait_until(lambda: any(row.wait.startswith("Connected") for row in reactor.table))
        yield servers, before
        gate.open()


HELD = {
    ("select", "tcp"): [],
    ("select", "udp"): [],
    ("thread", "tcp"): [],
    ("fork", "tcp"): ["pipe", "pipe"],  # to give account, and to hear of the server's end
    ("fork", "udp"): ["pipe", "pipe", "socket", "socket"],  # besides, the server's, and its mail
}


@pytest.mark.parametrize(("mode", "place"), HELD)
def test_of_what_the_parent_goes_on_with_a_child_holds_only_what_it_needs(mode, place, gate, ending):
    with busy_house(gate) as (servers, before):
        server = servers[mode, place]
        with connect(server) if place == "tcp" else peer(server) as client:
            client.send(b"tell\n")
            shared = eval(client.recv(65_536)) & (holdings() - before)
            assert sorted(what.partition(":")[0] for what in shared) == HELD[mode, place]


def test_a_client_that_is_closed_sees_the_end_while_a_child_runs(gate, ending):
    """Without the loop's help: it closes the socket and does not shut it down, so any copy would keep it open."""
    with workshop(lambda word: Forked(gate.wait)) as here:
        here.server.shutdown_request = here.server.close_request
        busy, other = here.connect(), here.connect()
        busy.sendall(b"go\n")
        ((pid, _),) = here_until(here, gate.waiting)
        other.shutdown(socket.SHUT_WR)
        assert here.last_words(other) == b""
        assert is_there(pid)
        late = here.connect()
        assert len(here.table) == 2
        gate.open()
        assert line(here, busy) == "None"
        assert here.interest(here.row) != 0
        late.close()


def close_all_and_wait():
    os.closerange(3, 1000)
    time.sleep(0.3)
    os._exit(7)


def test_a_child_that_closes_all_its_descriptors_is_not_mistaken_for_dead(ending):
    with workshop(lambda word: Forked(close_all_and_wait)) as here:
        client, select, steps = here.connect(), here.selector.select, []
        here.selector.select = lambda timeout=None: steps.append(timeout) or select(timeout)
        assert ask(here, client) == "ChildProcessError: the child exited with status 7"
        assert len(steps) < 100, "it looks again and again"


def test_a_child_reaped_by_somebody_else_is_no_error(gate, ending):
    with workshop(lambda word: Forked(gate.wait, word)) as here:
        client = here.connect()
        client.sendall(b"word\n")
        ((pid, _),) = here_until(here, gate.waiting)
        gate.open()
        assert os.waitpid(pid, 0) == (pid, 0)
        assert line(here, client) == "'word'"


@pytest.mark.parametrize("end", [close_row, cancel_row, close_server, close_reactor])
def test_work_may_be_given_up_whose_child_somebody_else_has_reaped(end, gate, ending):
    with workshop(lambda word: Forked(gate.wait)) as here:
        client = here.connect()
        client.sendall(b"go\n")
        ((pid, _),) = here_until(here, gate.waiting)
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0) == (pid, signal.SIGKILL)
        end(here, client)
        if end is not close_reactor:
            here.until(lambda: not len(here.table))
        assert here.errors == []


def test_a_fork_server_with_a_child_at_work_does_not_poll(ending):
    selector = recording(DefaultSelector)
    with (
        closing(Reactor(selector)) as reactor,
        ForkingTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server,
        connect(server) as client,
    ):
        client.sendall(b"x")
        with running(server):
            assert client.recv(1) == b"x"
            wait_until(lambda: server.active_children)
            steps = len(selector.timeouts)
            time.sleep(0.5)
            assert len(selector.timeouts) - steps < 5
            assert len(reactor.timers) < 5
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            wait_until(lambda: not server.active_children)


# fork_request: the rest of a blocking handler's request in a child


class Half(BaseRequestHandler):
    """Does half of the request here and the other half in a child, which waits at the gate."""

    def handle(self):
        word = self.request.recv(100)
        if word == b"quick":
            self.request.sendall(b"quick")
            return
        if self.server.fork_request(self.request):
            self.server.after_fork()
            return
        self.server.gate.wait()
        self.request.sendall(b"from the child " + word)
        if word == b"fail":
            raise ZeroDivisionError


@contextmanager
def halves(mode, gate, after_fork=lambda: None, word=b"", reactor=None, **members):
    """A running server of `Half`, and a client that had sent ``word`` before the server began to run."""
    members.update(gate=gate, after_fork=staticmethod(after_fork), errors=[])
    members["handle_error"] = lambda self, request, client_address: self.errors.append(sys.exc_info()[1])
    with made(server_class(mode, TCP, **members), TCP, Half, reactor) as server, connect(server) as client:
        client.sendall(word)
        with running(server):
            yield server, client


@pytest.mark.parametrize("mode", ["plain", "thread"])
@pytest.mark.parametrize("word", [b"go", b"fail"])
def test_fork_request_lets_the_parent_go_on_and_the_child_answer(mode, word, gate, ending):
    with halves(mode, gate, word=word) as (server, client), connect(server) as other:
        ((pid, _),) = wait_until(gate.waiting)
        other.sendall(b"quick")
        assert rest(other) == b"quick"
        table = server.reactor.table
        wait_until(lambda: [(row.driver, row.handler) for row in table] == [(f"child {pid}", "Half")])
        assert is_there(pid)
        gate.open()
        assert rest(client) == b"from the child " + word
        wait_until(lambda: not len(table))
        wait_until(lambda: not is_there(pid))
        assert server.errors == []


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_several_requests_may_be_with_children_at_once(mode, gate, ending):
    with halves(mode, gate, word=b"0") as (server, first), ExitStack() as stack:
        clients = [first, *(stack.enter_context(connect(server)) for _ in range(3))]
        for number, client in enumerate(clients[1:], 1):
            client.sendall(b"%d" % number)
        pids = []
        wait_until(lambda: pids.extend(gate.waiting()) or len(pids) == 4)
        gate.open(4)
        assert [rest(client) for client in clients] == [b"from the child %d" % number for number in range(4)]
        wait_until(lambda: not len(server.reactor.table))
        wait_until(lambda: not any(is_there(pid) for pid, _ in pids))


def test_a_thread_that_takes_its_time_after_the_fork_leaves_the_connection_to_the_child(gate, ending):
    """And so does the loop, which goes on when the thread has forked and is not done."""
    forked, go_on = threading.Event(), threading.Event()

    def after_fork():
        forked.set()
        go_on.wait(PATIENCE)

    def process_request(self, request, client_address):
        ThreadingTCPServer.process_request(self, request, client_address)
        forked.wait(PATIENCE)

    with halves("thread", gate, after_fork, b"go", process_request=process_request) as (server, client):
        wait_until(gate.waiting)
        with connect(server) as other:  # the loop has done with the first by the time it has served another
            other.sendall(b"quick")
            assert rest(other) == b"quick"
        go_on.set()
        wait_until(lambda: threading.active_count() == 2)  # this one, and the server's
        gate.open()
        assert rest(client) == b"from the child go"
        wait_until(lambda: not len(server.reactor.table))


@pytest.mark.skipif(not hasattr(selectors, "PollSelector"), reason="no poll() on this system")
def test_a_thread_that_forks_makes_a_selector_look_that_does_not_see_new_descriptors_by_itself(gate, ending):
    with closing(Reactor(selectors.PollSelector())) as reactor, halves("thread", gate, reactor=reactor) as (_, client):
        wait_until(lambda: len(reactor.table) == 1)
        client.sendall(b"go")
        ((pid, _),) = wait_until(gate.waiting)
        wait_until(lambda: threading.active_count() == 2)
        gate.open()
        assert rest(client) == b"from the child go"
        wait_until(lambda: not len(reactor.table))
        wait_until(lambda: not is_there(pid))


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_a_child_of_a_handler_holds_neither_the_listener_nor_any_other_client(mode, ending):
    class Telling(BaseRequestHandler):
        def handle(self):
            self.request.sendall(b"hello")
            if self.request.recv(100) == b"fork" and not self.server.fork_request(self.request):
                self.request.sendall(repr(holdings()).encode())

    accepted = []

    def verify_request(self, request, client_address):
        accepted.append(request)
        return True

    kind = server_class(mode, TCP, verify_request=verify_request)
    with made(kind, TCP, Telling) as server, running(server), ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(3 if mode == "thread" else 1)]
        for client in clients:
            assert client.recv(5) == b"hello"
        others = {name(sock) for sock in accepted[:-1]} | {name(server.socket)}
        own = name(accepted[-1])
        clients[-1].sendall(b"fork")
        held = eval(rest(clients[-1]))
        assert own in held
        assert not held & others
        for client in clients[:-1]:
            client.sendall(b"end")
        wait_until(lambda: not len(server.reactor.table))
        accepted.clear()


def test_a_child_of_a_thread_may_ask_for_the_end_of_a_server_that_serves_in_the_parent():
    class Ending(BaseRequestHandler):
        def handle(self):
            if not self.server.fork_request(self.request):
                self.server.shutdown()
                self.request.sendall(b"done")

    kind = server_class("thread", TCP)
    with made(kind, TCP, Ending) as server, running(server), connect(server) as client:
        assert rest(client) == b"done"
        wait_until(lambda: not server.reactor.table)


def test_fork_request_in_select_mode_is_a_clear_error():
    with bench(Echo) as here:
        here.connect()
        with pytest.raises(RuntimeError, match="Forked"):
            here.server.fork_request(here.row.socket)


# Connected


class Far(Noting):
    """The other side: sends what it hears to the near side, no faster than that takes it."""

    def __init__(self, near):
        self.near = near

    async def handle(self):
        while True:
            self.near.send(await Some())
            await Flushed(of=self.near)

    def finish(self):
        super().finish()
        self.near.close()


class Near(Noting):
    """A proxy to the server's ``target``; says what failed."""

    async def handle(self):
        target = self.server.target
        try:
            far = await Connected(target, Far(self), timeout=self.server.patience)
        except Failed as failed:
            self.send(f"{type(failed.error).__name__}: {failed.error}".encode())
            return
        except TimedOut:
            self.send(b"timed out")
            return
        try:
            while True:
                far.send(await Some())
                await Flushed(of=far)
        except EndOfStream:
            far.send_eof()
            await Delay(PATIENCE)  # until the far side ends


@contextmanager
def proxy(target, patience=None, **options):
    Near.made.clear()
    Far.made.clear()
    with bench(Near, **options) as here:
        here.server.target = target
        here.server.patience = patience
        yield here


@contextmanager
def listening(backlog=5):
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        listener.settimeout(PATIENCE)
        yield listener


def accept(here, listener):
    """The far end of the connection that the row has opened, once its row is in the table."""
    here.until(lambda: [row for row in here.table if row.handler == "Far"])
    sock, _ = listener.accept()
    here.clients.append(sock)
    return sock


@pytest.fixture
def closed_port():
    """The address of a port that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


def test_two_rows_feed_each_other():
    with listening() as listener, proxy(listener.getsockname()) as here:
        client = here.connect()
        upstream = accept(here, listener)
        for words in (b"there", b"and there again"):
            client.sendall(words)
            assert here.take(upstream, len(words)) == words
            upstream.sendall(words[::-1])
            assert here.take(client, len(words)) == words[::-1]
        near, far = here.table
        assert [row.serial for row in (near, far)] == [1, 2]
        assert [row.handler for row in (near, far)] == ["Near", "Far"]
        assert far.as_dict()["peer"] == "{}:{}".format(*listener.getsockname())
        assert far.driver == "loop"
        assert far.server is here.server
        client.shutdown(socket.SHUT_WR)
        assert here.last_words(upstream) == b""
        upstream.sendall(b"last words")
        upstream.close()
        assert here.last_words(client) == b"last words"
        here.until(lambda: not len(here.table))
        assert here.errors == []


def test_a_side_that_does_not_read_holds_back_the_other():
    with listening() as listener, proxy(listener.getsockname()) as here:
        client = here.connect()
        upstream = accept(here, listener)
        near, far = here.table
        sent = here.flood(client)
        assert near.total_in < len(sent)
        assert far.held_out <= 65_536
        assert here.interest(near) == 0
        assert here.take(upstream, len(sent)) == sent
        client.sendall(b"more")
        assert here.take(upstream, 4) == b"more"
        back = here.flood(upstream)
        assert near.held_out <= 65_536
        assert here.take(client, len(back)) == back


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_is_opened_in_every_mode(mode):
    class Deliver(StreamHandler):
        async def handle(self):
            word = await Some()
            far = await Connected(self.server.target, Quiet())
            far.send(b"delivered: " + word)
            self.send(b"done")

    class Quiet(StreamHandler):
        async def handle(self):
            await Delay(0)

    with listening() as listener:
        kind = server_class(mode, TCP, target=listener.getsockname(), timeout=PATIENCE)
        with made(kind, TCP, Deliver) as server, connect(server) as client:
            client.sendall(b"word")
            server.handle_request()
            assert rest(client) == b"done"
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(PATIENCE)
            assert rest(sock) == b"delivered: word"


@pytest.mark.parametrize("mode", MODES)
def test_a_refused_connection_is_a_failure_in_every_mode(mode, closed_port):
    kind = server_class(mode, TCP, target=closed_port, patience=None, timeout=PATIENCE)
    with made(kind, TCP, Near) as server, connect(server) as client:
        server.handle_request()
        assert rest(client).startswith(b"ConnectionRefusedError")


def test_a_name_is_tried_in_all_its_addresses():
    with listening() as listener, proxy(("localhost", listener.getsockname()[1])) as here:
        client = here.connect()
        upstream = accept(here, listener)
        client.sendall(b"word")
        assert here.take(upstream, 4) == b"word"


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("/nowhere/to/be/found", b"FileNotFoundError"),
        ("/" + "x" * 300, b"OSError"),
        (("name.invalid", 80), b"gaierror"),
        (("é..invalid", 80), b""),
        (("x" * 100 + ".invalid", 80), b""),
        (["127.0.0.1", 80], b"TypeError"),
    ],
    ids=["no path", "long path", "unknown name", "no name", "long name", "no address"],
)
def test_a_connection_that_can_not_be_had_is_a_failure(address, error):
    with proxy(address) as here:
        client = connect(here.server)
        here.clients.append(client)
        words = here.last_words(client)
        assert words.startswith(error)
        assert words
        assert here.errors == []


@contextmanager
def deaf():
    """The address of a listener whose queue is full: connections to it neither succeed nor fail."""
    with listening(backlog=0) as listener, ExitStack() as stack:
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()


def test_a_connection_may_take_only_so_long():
    with deaf() as address, proxy(address, patience=0.1) as here:
        client = connect(here.server)
        here.clients.append(client)
        assert here.last_words(client) == b"timed out"
        assert Far.made == []
        assert here.errors == []


@pytest.mark.parametrize("end", [close_row, cancel_row, close_server])
def test_a_connection_that_is_being_opened_is_given_up_with_its_row(end):
    with deaf() as address, proxy(address) as here:
        client = here.connect()
        before = len(descriptors())
        end(here, client)
        here.until(lambda: not len(here.table))
        assert here.last_words(client) == b""
        assert before - len(descriptors()) == (3 if end is close_server else 2)
        assert Near.made[0].causes == ([] if end is close_row else Near.made[0].causes[:1])
        assert all(isinstance(cause, Cancelled) for cause in Near.made[0].causes)
        assert Far.made == []
        assert not here.reactor.watches


def test_a_full_queue_at_a_unix_path_is_waited_for_without_spinning(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, proxy(path) as here, ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        queued = 0
        while True:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.setblocking(False)
            if sock.connect_ex(path):
                break
            queued += 1
        client = here.connect()
        steps = 0
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            here.reactor.step(0.5)
            steps += 1
        assert steps < 50
        for _ in range(queued):
            listener.accept()[0].close()
        listener.settimeout(PATIENCE)
        upstream = accept(here, listener)
        client.sendall(b"word")
        assert here.take(upstream, 4) == b"word"


@pytest.mark.parametrize("method", ["setup", "handle", "finish"])
def test_the_failure_of_an_opened_row_is_reported_and_is_its_own(method):
    class Mishap(Exception):
        pass

    def fail(self):
        raise Mishap

    class Opening(StreamHandler):
        async def handle(self):
            await Connected(self.server.target, broken())
            while True:
                self.send(await Exactly(4))

    broken = type("Broken", (Echo,), {method: fail})
    with listening() as listener, bench(Opening) as here:
        here.server.target = listener.getsockname()
        client = here.connect()
        upstream, _ = listener.accept()
        upstream.shutdown(socket.SHUT_WR)
        assert here.last_words(upstream) == b""
        upstream.close()
        here.until(lambda: len(here.errors) == 1)
        assert isinstance(here.errors[0], Mishap)
        client.sendall(b"word")
        assert here.take(client, 4) == b"word"
        assert [row.handler for row in here.table] == ["Opening"]


def test_the_end_of_the_server_is_the_end_of_the_rows_it_opened():
    with listening() as listener, proxy(listener.getsockname()) as here:
        client = here.connect()
        upstream = accept(here, listener)
        here.server.server_close()
        assert len(here.table) == 0
        assert client.recv(10) == upstream.recv(10) == b""
        assert {type(cause) for handler in Near.made + Far.made for cause in handler.causes} == {Cancelled}


def called(number):
    """What the kernel calls an open socket or pipe."""
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:  # the directory itself, as it was listed
        return ""


def named():
    """Those that this process has open."""
    return {called(number) for number in descriptors() if called(number).startswith(("socket:", "pipe:"))}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="nothing tells what a descriptor is")
def test_a_child_of_forked_holds_nothing_but_its_pipes():
    class Busy(StreamHandler):
        async def handle(self):
            if await Exactly(1) == b"s":
                await Forked(time.sleep, 1000)
            others = before | {called(client.fileno()) for client in clients}
            self.send(b"%d" % len(await Forked(lambda: named() - others)))

    before = named()
    with bench(Busy) as here, made(SelectUDPServer, PACKETS["udp"], EchoDatagram, here.reactor) as packets:
        packets.start_serving()
        clients = [here.connect() for _ in range(3)]
        clients[0].sendall(b"s")
        here.rest()
        clients[2].sendall(b"n")
        assert here.take(clients[2], 1) == b"2"  # for its result, and for its last words
