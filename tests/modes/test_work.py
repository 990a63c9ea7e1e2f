"""`Forked` and `Threaded`: results, failures, bounds, and the end of the wait."""

import os
import signal
import sys
import threading

import pytest

from handlers import Cancelled, Forked, Reset, Some, StreamHandler, Threaded
from reactor import Reactor
from reactor.modes import jobs
from tests.support.bench import PATTERN, SMALL, Noting, bench
from tests.support.outside import (
    answer_in,
    ask_worker,
    cancel_row,
    close_reactor,
    close_row,
    close_server,
    here_until,
    is_there,
    line,
    workshop,
)
from tests.support.serving import MODES, PATIENCE, bounded, connect, reset, wait_until

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


# Forked and Threaded: results and failures


class Odd(Exception):
    """Can be pickled and not unpickled: its constructor needs an argument."""

    def __init__(self, one, two):
        super().__init__(one)


def odd():
    raise Odd(1, 2)


def die(number):
    os.kill(os.getpid(), number)


RESULTS = {
    "a number": (divmod, (17, 5), "(3, 2)"),
    "nothing": (print, (), "None"),
    "a cause": (Cancelled, ("a record",), "Cancelled('a record')"),
    "an exception": (divmod, (1, 0), "ZeroDivisionError: integer division or modulo by zero"),
    "an exit": (sys.exit, (3,), "SystemExit: 3"),
    "an exception that can't be unpickled": (odd, (), "Odd: 1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Forked, Threaded])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", RESULTS)
def test_results_and_failures_of_work_are_the_same_in_every_mode(mode, kind, what):
    function, arguments, expected = RESULTS[what]
    answer = answer_in(mode, lambda word: kind(function, *arguments))
    assert answer.endswith(expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (die, (signal.SIGKILL,), "ChildProcessError: the child was killed by SIGKILL"),
        (os._exit, (3,), "ChildProcessError: the child exited with status 3"),
        (os._exit, (0,), "ChildProcessError: the child exited with status 0 and sent no result"),
        (lambda: lambda: None, (), "AttributeError: Can't"),
        (open, (os.devnull,), "TypeError: cannot pickle"),
    ],
    ids=["killed", "exited", "exited well", "a function", "a file"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_child_without_a_result_is_a_failure(mode, ending, function, arguments, expected):
    assert answer_in(mode, lambda word: Forked(function, *arguments)).startswith(expected)


@pytest.mark.slow
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
    monkeypatch.setattr(jobs, "MAX_RESULT", 100_000)
    with workshop(lambda word: Forked(bytes, int(word))) as here:
        client = here.connect()
        assert ask_worker(here, client, "5000000") == "RuntimeError: the result is over 100000 bytes"
        assert ask_worker(here, client, "3") == repr(bytes(3))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="without a pidfd the end of the child is that of its pipe")
def test_a_result_does_not_wait_for_a_process_that_is_left_behind_with_the_pipe(gate):
    """The child has ended, and its own child keeps a copy of the pipe, so the pipe has no end."""

    def work():
        if os.fork() == 0:
            gate.wait()
            os._exit(0)
        return "done"

    with workshop(lambda word: Forked(work)) as here:
        assert ask_worker(here, here.connect()) == "'done'"
        [(pid, _)] = here_until(here, gate.waiting)
        assert is_there(pid)
        gate.open()


def test_the_child_has_the_process_as_it_was_and_changes_nothing_in_it(ending):
    things = {"word": "before"}

    def work():
        things["word"] += " and after"
        return os.getpid(), things["word"]

    with workshop(lambda word: Forked(work)) as here:
        pid, words = eval(ask_worker(here, here.connect()))
        assert (words, things) == ("before and after", {"word": "before"})
        assert pid != os.getpid()
        here.until(lambda: not is_there(pid))


def test_one_row_may_wait_for_work_again_and_again(ending):
    with workshop(lambda word: (Forked if len(word) % 2 else Threaded)(len, word)) as here:
        client = here.connect()
        for number in range(1, 10):
            assert ask_worker(here, client, "x" * number) == str(number)


@pytest.mark.parametrize("kind", [Forked, Threaded])
def test_the_loop_serves_others_meanwhile(kind, gate, ending):
    with workshop(lambda word: kind(gate.wait, word) if word == "slow" else kind(str.upper, word)) as here:
        slow, quick = here.connect(), here.connect()
        slow.sendall(b"slow\n")
        here.until(gate.waiting)
        assert ask_worker(here, quick, "quick") == "'QUICK'"
        slow_row, _ = here.table
        assert (slow_row.wait, here.interest(slow_row)) == (f"{kind.__name__}(Gate.wait)", 0)
        gate.open()
        assert line(here, slow) == "'slow'"


# The end of a wait for work elsewhere


def test_the_child_is_killed_when_the_time_is_over(gate, ending):
    with workshop(lambda word: Forked(gate.wait, timeout=0.2)) as here:
        client = here.connect()
        assert ask_worker(here, client) == "timed out"
        ((pid, _),) = gate.waiting()
        here.until(lambda: not is_there(pid))
        assert len(here.reactor.children) == 0
        here.server.job = lambda word: Forked(len, word)
        assert ask_worker(here, client, "four") == "4"


@pytest.mark.parametrize("end", [close_row, cancel_row, close_server, close_reactor])
@pytest.mark.parametrize("kind", [Forked, Threaded])
def test_the_work_of_a_row_ends_with_the_row(end, kind, gate, ending):
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


def test_a_reset_kills_the_child_when_output_waits(gate, ending):
    """A row that waits for work does not read; with output to send it notices the reset."""

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


def test_the_result_of_a_thread_that_timed_out_is_dropped(gate):
    with workshop(lambda word: Threaded(gate.wait, word, timeout=0.1 if word == "late" else None)) as here:
        client = here.connect()
        assert ask_worker(here, client, "late") == "timed out"
        client.sendall(b"next\n")
        here.until(lambda: [result for _, result in gate.waiting() if result == "next"])
        gate.open(2)
        assert line(here, client) == "'next'"
        wait_until(lambda: threading.active_count() == 1)
        here.rest()
        assert here.row.held_out == here.row.held_in == 0


# Bounds


@pytest.mark.parametrize(("kind", "bound"), [(Forked, "max_children"), (Threaded, "max_threads")])
def test_work_over_the_bound_begins_in_the_order_of_asking(kind, bound, gate, ending):
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


def test_work_that_is_cancelled_while_it_is_queued_does_not_block_the_queue(gate, ending):
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


def test_a_thread_that_timed_out_counts_until_it_ends(gate):
    with workshop(lambda word: Threaded(gate.wait, word, timeout=0.1 if word == "0" else None), max_threads=1) as here:
        first, second = here.connect(), here.connect()
        assert ask_worker(here, first, "0") == "timed out"
        threads = threading.active_count()
        second.sendall(b"1\n")
        here.rest()
        assert threading.active_count() == threads  # a second one might not have come to the gate yet
        assert [result for _, result in gate.waiting()] == ["0"]
        gate.open(2)
        assert line(here, second) == "'1'"


def test_closing_the_reactor_begins_no_queued_work(gate, ending):
    with workshop(lambda word: Forked(gate.wait, word), max_children=1) as here:
        for number in range(5):
            here.connect().sendall(b"%d\n" % number)
            here.rest()
        here_until(here, gate.waiting)
        pids = []
        here.reactor.children.fork = lambda *arguments, **more: pids.append(arguments)
        here.reactor.close()
        assert pids == []


def test_a_result_left_in_the_pipe_of_a_child_that_has_ended_is_not_lost():
    class Late(StreamHandler):
        async def handle(self):
            self.send(await Forked(bytes.upper, b"late"))

    def last_first(events):
        return sorted(events, key=lambda event: -event[0].fd)[:1]

    with bench(Late) as here:
        here.reactor.policy = last_first
        client = connect(here.server)
        here.clients.append(client)
        here.until(lambda: here.reactor.children.pids())
        watched = len(here.selector.get_map())
        here.until(lambda: len(here.selector.get_map()) > watched or not here.reactor.children.pids())
        bounded(lambda: os.waitid(os.P_PID, here.reactor.children.pids()[0], os.WEXITED | os.WNOWAIT))
        assert here.last_words(client) == b"LATE"


def test_queued_work_of_a_row_that_has_ended_never_begins():
    begun, let_go = [], threading.Event()

    class Patient(StreamHandler):
        async def handle(self):
            await Threaded(self.work)
            self.send(b"done")

        def work(self):
            begun.append(self)
            let_go.wait(PATIENCE)

    class Narrow(Reactor):
        max_threads = 1

    with bench(Patient, reactor_class=Narrow) as here:
        client = here.connect()
        here.until(lambda: begun)
        here.connect()
        here.row.lose(Reset(OSError("gone")))
        here.rest()
        let_go.set()
        assert here.last_words(client) == b"done"
    assert len(begun) == 1
