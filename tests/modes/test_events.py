"""Events, queues, and waits for one of several things, in servers of every mode."""

import os
import socket
import threading
import time

import pytest

from handlers import (
    Connected,
    Delay,
    EndOfStream,
    Event,
    FirstOf,
    Forked,
    Happened,
    Queue,
    StreamHandler,
    Taken,
    Threaded,
    Until,
    WhileConnected,
)
from tests.support.bench import bench
from tests.support.outside import is_there
from tests.support.serving import MODES, PATIENCE, connect, receive_lines, reset, rest, serving, wait_until

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
LINE = Until(b"\n", limit=512)
one_process = pytest.mark.parametrize("mode", ["select", "thread"])


class Subscriber(StreamHandler):
    """Sends what is published to it; publishes each of its lines to all others."""

    def setup(self):
        self.news = Queue(limit=1_000)
        self.server.subscribers.append(self)

    async def handle(self):
        self.send(b"welcome\n")
        first = FirstOf(LINE, Taken(self.news))
        while True:
            wait, text = await first
            if wait is LINE:
                for subscriber in self.server.subscribers:
                    if subscriber is not self:
                        subscriber.news.put(text)
            else:
                self.send(text)


@one_process
def test_what_one_request_publishes_all_others_get_in_order(mode):
    lines = [b"%d\n" % number for number in range(500)]
    with serving(Subscriber, mode, subscribers=[]) as server, connect(server) as one, connect(server) as other:
        assert receive_lines(one, 1) == receive_lines(other, 1) == [b"welcome\n"]
        one.sendall(b"".join(lines))
        other.sendall(b"from the other\n")
        assert receive_lines(other, 500) == lines
        assert receive_lines(one, 1) == [b"from the other\n"]


class Blocking(StreamHandler):
    """PUSH and BLPOP of a list of all clients."""

    async def handle(self):
        while True:
            verb, _, item = (await LINE).rstrip().partition(b" ")
            if verb == b"PUSH":
                self.server.queue.put(item)
            else:
                self.send(b"%s\n" % await Taken(self.server.queue))


@one_process
def test_each_item_goes_to_one_of_those_that_block_for_it(mode):
    with serving(Blocking, mode, queue=Queue(limit=100), request_queue_size=50) as server:
        poppers = [connect(server) for _ in range(20)]
        for popper in poppers:
            popper.sendall(b"BLPOP\n")
        wait_until(lambda: server.queue.waiting == 20)
        poppers.pop().close()  # its wait goes on: an end of the stream is no cause of this wait
        with connect(server) as pusher:
            pusher.sendall(b"".join(b"PUSH %d\n" % number for number in range(20)))
            answers = [receive_lines(popper, 1)[0] for popper in poppers]
        assert len(set(answers)) == 19
        for popper in poppers:
            popper.close()


@one_process
def test_a_thread_may_set_an_event_that_rows_wait_for(mode):
    class Poll(StreamHandler):
        async def handle(self):
            if await LINE == b"set\n":
                await Threaded(self.server.event.set, b"happened\n")
            else:
                self.send(await Happened(self.server.event))

    with serving(Poll, mode, event=Event()) as server, connect(server) as one, connect(server) as other:
        one.sendall(b"wait\n")
        wait_until(lambda: server.event.waiting == 1)
        other.sendall(b"set\n")
        assert rest(one) == b"happened\n"


# A client that goes away meanwhile


class Working(StreamHandler):
    """Does the work of the server's ``job``, and writes down for what cause it has ended."""

    idle_timeout = 60.0

    async def handle(self):
        await LINE
        try:
            self.send(b"%d\n" % await WhileConnected(self.server.job()))
        finally:
            self.server.journal.write("broken off")

    def finish(self):
        self.server.journal.write(type(self.reason).__name__)


JOBS = {
    "delay": lambda gate: Delay(60),
    "event": lambda gate: Happened(Event()),
    "threaded": lambda gate: Threaded(gate.wait, 1),
    "forked": lambda gate: Forked(gate.wait, 1),
}


@pytest.mark.parametrize("leave", [lambda client: client.close(), reset], ids=["close", "reset"])
@pytest.mark.parametrize("what", JOBS)
@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_goes_away_is_noticed_and_its_child_is_killed(mode, what, leave, gate, journal):
    def job():
        return JOBS[what](gate)

    with serving(Working, mode, journal=journal, job=staticmethod(job)) as server:
        client = connect(server)
        client.sendall(b"go\nthe next request\n")
        if what in ("threaded", "forked"):
            [(pid, _)] = wait_until(gate.waiting)
        else:
            time.sleep(0.02)  # so that it is probably under way; if not, the test still holds
        leave(client)
        lines = journal.wait_for(2)
        assert lines[0] == "broken off"
        assert lines[1] in (["EndOfStream"] if leave is not reset else ["Reset", "EndOfStream"])
        if what == "forked":
            wait_until(lambda: not is_there(pid))
        if what == "threaded":
            gate.open()


@pytest.mark.parametrize("mode", MODES)
def test_the_next_request_is_kept_for_later(mode):
    class Counting(StreamHandler):
        async def handle(self):
            while True:
                line = await LINE
                self.send(b"%d %s" % (await WhileConnected(Threaded(len, line)), line))

    with serving(Counting, mode) as server, connect(server) as client:
        client.sendall(b"one\nthree\n")
        assert receive_lines(client, 2) == [b"4 one\n", b"6 three\n"]


def test_a_client_that_waits_for_the_server_is_not_idle():
    class Idle(StreamHandler):
        idle_timeout = 0.3

        async def handle(self):
            await LINE
            await WhileConnected(Delay(0.5))
            self.send(b"done\n")

    with serving(Idle, "select") as server, connect(server) as client:
        client.sendall(b"go\n")
        assert rest(client) == b"done\n"


# Work outside as one of several waits


@pytest.mark.parametrize("kind", [Forked, Threaded])
@pytest.mark.parametrize("mode", MODES)
def test_input_that_comes_before_the_work_is_done_breaks_it_off(mode, kind, gate):
    class Impatient(StreamHandler):
        async def handle(self):
            await LINE
            work = kind(gate.wait, 1)
            wait, result = await FirstOf(LINE, work, timeout=PATIENCE)
            self.send(b"%r %r\n" % (wait is work, result))
            wait, result = await FirstOf(LINE, kind(len, "four"), timeout=PATIENCE)
            self.send(b"%r %r\n" % (wait is LINE, result))

    with serving(Impatient, mode) as server, connect(server) as client:
        client.sendall(b"go\n")
        [(pid, _)] = wait_until(gate.waiting)
        client.sendall(b"stop\n")
        assert rest(client) == b"False b'stop\\n'\nFalse 4\n"
        if kind is Forked:
            wait_until(lambda: not is_there(pid))
        else:
            gate.open()


@pytest.mark.parametrize("mode", MODES)
def test_the_first_of_two_pieces_of_work_is_taken_and_the_other_broken_off(mode, gate):
    class Race(StreamHandler):
        async def handle(self):
            quick, slow = Forked(len, "four"), Forked(gate.wait, 1)
            wait, result = await FirstOf(slow, quick)
            self.send(b"%r %d\n" % (wait is quick, result))

        def interrupted(self, cause):
            assert not isinstance(cause, EndOfStream)

    with serving(Race, mode) as server, connect(server) as client:
        assert rest(client) == b"True 4\n"


# Two results in one batch


class Names(StreamHandler):
    """Sends the name of the first of two results, then each line with its number of bytes."""

    parts: tuple

    async def handle(self):
        wait, _ = await FirstOf(*self.parts)
        self.send(b"%d" % self.parts.index(wait))
        while True:
            line = await LINE
            self.send(b" %d" % len(line) + line)


class Listens(StreamHandler):
    async def handle(self):
        await LINE


def test_of_two_results_of_threads_in_one_batch_the_handler_gets_one():
    may_end = threading.Event()

    class Works(Names):
        parts = Threaded(may_end.wait, PATIENCE), Threaded(may_end.wait, PATIENCE)

    before = threading.active_count()
    with bench(Works) as here:
        client = here.connect()
        wait_until(lambda: threading.active_count() == before + 2)
        may_end.set()
        wait_until(lambda: threading.active_count() == before)
        here.rest()
        client.sendall(b"one\n")
        assert here.take(client, 7) in (b"0 4one\n", b"1 4one\n")
        assert not here.errors


def test_of_two_connections_that_open_in_one_batch_the_handler_gets_one_and_the_other_is_closed():
    class Opens(Names):
        def setup(self):
            self.parts = tuple(Connected(upstream.getsockname(), Listens()) for _ in range(2))

    with socket.create_server(("127.0.0.1", 0)) as upstream, bench(Opens) as here:
        client = here.connect()
        client.sendall(b"one\n")
        assert here.take(client, 7) == b"0 4one\n"
        upstream.settimeout(PATIENCE)
        pair = [upstream.accept()[0] for _ in range(2)]
        here.rest()
        for end in pair:
            end.settimeout(0)
        ended = []
        for end in pair:
            try:
                ended.append(end.recv(1))
            except BlockingIOError:
                ended.append(None)
            end.close()
        assert ended == [None, b""]
        assert not here.errors
