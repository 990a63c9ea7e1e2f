"""Answers of one batch are sent together: not many, not late, and none is lost when the batch ends early."""

import os
import socket
import time
from contextlib import contextmanager
from selectors import EVENT_READ

import pytest

from handlers import StreamHandler, Until
from reactor.loop.loop import PROMPT, TOGETHER
from reactor.rows.stream import SMALL
from tests.support.bench import bench, in_order
from tests.support.loops import Clock
from tests.support.serving import PATIENCE, STREAMS

MANY = 2 * TOGETHER + 5
LINE = b"line\n"


class Sent(socket.socket):
    """A socket; `sends` counts what all of them send."""

    sends = 0

    def send(self, data, flags=0):
        type(self).sends += 1
        return super().send(data, flags)


class Answering(StreamHandler):
    """Answers each line; notes how many answers of its batch were given and not sent before."""

    answer = LINE
    waited: list
    given = 0

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.waited.append(self.given - Sent.sends)
        self.give()
        return self.handle()

    def give(self):
        type(self).given += 1
        self.send(self.answer)


@contextmanager
def batch(handler, number=MANY, clock=None):
    """A bench, and clients; the next step finds a line of each."""
    handler.waited, handler.given = [], 0
    with bench(handler, STREAMS["tcp"], Sent, clock=clock or Clock()) as here:
        here.reactor.policy = in_order
        clients = [here.connect() for _ in range(number)]
        for client in clients:
            client.sendall(LINE)
        arrived(here, number)
        Sent.sends = 0
        yield here, clients


def arrived(here, number):
    """Wait until so many connections have a line that the loop has not taken."""
    end = time.monotonic() + PATIENCE
    while len(here.selector.select(0)) < number:
        assert time.monotonic() < end, "a line has not come"


def taken(clients):
    """What each client has received; ``None`` for nothing, or a reset."""
    answers = []
    for client in clients:
        client.setblocking(False)
        try:
            answers.append(client.recv(1 << 20))
        except (BlockingIOError, ConnectionResetError):
            answers.append(None)
    return answers


def test_an_answer_waits_for_few_others_and_leaves_in_its_batch():
    with batch(Answering) as (here, clients):
        here.reactor.step(0)
        assert Answering.waited == [number % TOGETHER for number in range(MANY)]
        assert Sent.sends == MANY
        assert here.reactor.timeout() != 0
        assert taken(clients) == [LINE] * MANY


def test_an_answer_of_a_handler_that_takes_long_waits_for_no_other():
    clock = Clock()

    class Slow(Answering):
        def give(self):
            clock.seconds += PROMPT / 3
            super().give()

    with batch(Slow, clock=clock) as (here, clients):
        here.reactor.step(0)
        assert Slow.waited == [0, 1, 2] + [0] * (MANY - 3)
        assert taken(clients) == [LINE] * MANY


def test_a_large_answer_waits_for_no_other():
    class Large(Answering):
        answer = bytes(SMALL + 1)

    with batch(Large) as (here, _):
        here.reactor.step(0)
        assert Large.waited == [0] * MANY


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_loop_in_a_batch_loses_no_answer(error):
    class Ending(Answering):
        def give(self):
            if self.given == 3:
                raise error
            super().give()

    with batch(Ending, 5) as (here, clients):
        with pytest.raises(error):
            here.reactor.step(0)
        assert taken(clients) == [LINE] * 3 + [None] * 2


@pytest.mark.parametrize("error", [SystemExit, ValueError])
def test_a_child_that_is_forked_in_a_batch_sends_no_answer_of_its_parent(error):
    class Forking(Answering):
        def give(self):
            if self.given == 3:
                child = os.fork()
                if not child:
                    raise error
                os.waitpid(child, 0)
            super().give()

    parent = os.getpid()
    with batch(Forking, 5) as (here, clients):
        try:
            here.reactor.step(0)
        finally:
            if os.getpid() != parent:
                os._exit(0)
        assert taken(clients)[:3] == [LINE] * 3


def test_a_handler_that_raises_takes_no_answer_with_it():
    class Raising(Answering):
        def give(self):
            super().give()
            if self.given == 3:
                raise ArithmeticError("on purpose")

    with batch(Raising, 5) as (here, clients):
        here.reactor.step(0)
        assert [type(error) for error in here.errors] == [ArithmeticError]
        assert [answer for number, answer in enumerate(taken(clients)) if number != 2] == [LINE] * 4


def test_a_connection_that_another_one_closes_still_sends_its_answer():
    class Closing(Answering):
        kept: list = []

        def give(self):
            super().give()
            self.kept.append(self)
            if self.given == 3:
                self.kept[0].close()

    with batch(Closing, 3) as (here, clients):
        here.reactor.step(0)
        assert taken(clients) == [LINE] * 3


def test_a_connection_that_can_not_send_ends_alone():
    class Broken(Sent):
        def send(self, data, flags=0):
            if self.is_broken:
                raise ConnectionResetError("on purpose")
            return super().send(data, flags)

    with batch(Answering, 5) as (here, clients):
        rows = list(here.table)
        for row in rows:
            row.socket.__class__ = Broken
            row.socket.is_broken = row is rows[2]
        here.reactor.step(0)
        assert taken(clients) == [LINE, LINE, None, LINE, LINE]
        assert here.reactor.stats()["ended"] == {"Reset": 1}


def test_what_the_kernel_does_not_take_is_sent_later():
    class Full(Sent):
        full = True

        def send(self, data, flags=0):
            if self.full:
                raise BlockingIOError
            return super().send(data, flags)

    with batch(Answering, 3) as (here, clients):
        rows = list(here.table)
        rows[1].socket.__class__ = Full
        here.reactor.step(0)
        assert taken(clients) == [LINE, None, LINE]
        assert here.reactor.stats()["held"] == len(LINE)
        rows[1].socket.full = False
        here.rest()
        assert taken(clients) == [None, LINE, None]
        assert here.reactor.stats()["held"] == 0


def test_a_row_that_is_settled_while_its_answer_waits_watches_for_writing_no_longer_than_it_has_output():
    class Short(Sent):
        def send(self, data, flags=0):
            return super().send(data[:3], flags)

    with batch(Answering, 1) as (here, clients):
        [row] = here.table
        row.socket.__class__ = Short
        here.reactor.policy = lambda events: [*events, *events]  # the second event finds nothing to read
        here.reactor.step(0)
        assert taken(clients) == [LINE]
        assert here.interest(row) == EVENT_READ


def test_what_is_called_at_the_end_of_a_batch_finds_its_answers_sent():
    with batch(Answering, 3) as (here, clients):
        found = []
        here.reactor.call_soon(lambda: found.extend(taken(clients)))
        here.reactor.step(0)
        assert found == [LINE] * 3


class Idle(Answering):
    ends_when_idle = True


def test_a_drain_ends_a_connection_as_soon_as_it_has_answered_what_had_come():
    steps = []

    def count(events):
        steps.append(events)
        if len(steps) == 20:
            here.reactor.stop()
        return events

    with batch(Idle, 1) as (here, clients):
        here.rest()
        assert taken(clients) == [LINE]
        clients[0].sendall(LINE)
        arrived(here, 1)
        here.reactor.policy = count
        assert here.reactor.drain(1) == []
        assert taken(clients) == [LINE]
