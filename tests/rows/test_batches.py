"""Rows that end each other, or use a descriptor again, inside one batch of events."""

import os
import socket
from selectors import EVENT_READ

import pytest

from handlers import Cancelled, Some, StreamHandler, ToEnd, Until
from tests.support.bench import PATTERN, SMALL, Counting, Noting, bench, in_order
from tests.support.serving import connect


class Murderous(StreamHandler):
    """Closes all other rows at the word ``kill``; keeps its input."""

    everybody: list
    heard: list

    async def handle(self):
        self.everybody.append(self)
        while True:
            word = await Some()
            self.heard.append((self.everybody.index(self), word))
            if word == b"kill":
                for other in self.everybody:
                    if other is not self:
                        other.close()


def test_a_row_closed_in_a_batch_gets_no_event_of_that_batch(place):
    Murderous.everybody, Murderous.heard = [], []
    with bench(Murderous, place, Counting) as here:
        here.reactor.policy = in_order
        clients = [here.connect() for _ in range(3)]
        rows = list(here.table)
        clients[1].sendall(b"kill")
        clients[0].sendall(b"early")
        clients[2].sendall(b"late")
        here.reactor.step()
        assert Murderous.heard == [(0, b"early"), (1, b"kill")]
        assert [row.socket.recvs for row in rows[1:]] == [1, 0]
        assert list(here.table) == [rows[1]]
        for client in clients[::2]:
            assert here.last_words(client) == b""


def test_a_server_that_is_stopped_in_a_batch_takes_no_arrival_of_that_batch(place):
    class Stopping(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            self.server.stop_serving()
            await Until(b"\n")

    def rows_first(events):
        return sorted(events, key=lambda event: not hasattr(event[0].data, "serial"))

    with bench(Stopping, place) as here:
        here.reactor.policy = rows_first
        here.connect().sendall(b"stop\n")
        here.clients.append(connect(here.server))
        here.reactor.step()
        assert len(here.table) == 1


def test_an_event_of_a_descriptor_that_was_reused_in_the_batch_is_ignored(place):
    """A state closes the socket of another row, and a pipe with input gets the same descriptor."""
    Murderous.everybody, Murderous.heard = [], []

    class Reusing(Murderous):
        async def handle(self):
            self.everybody.append(self)
            word = await Some()
            self.heard.append((self.everybody.index(self), word))
            number = rows[1].descriptor
            here.reactor.cancel([rows[1]])
            pipe.extend(os.pipe())
            assert number in pipe
            os.write(pipe[1], b"of the pipe")
            told.append(here.reactor.watch(pipe[0], EVENT_READ, lambda events: told.append(os.read(pipe[0], 100))))
            await Some()

    pipe, told = [], []
    with bench(Reusing, place, Counting) as here:
        here.reactor.policy = in_order
        clients = [here.connect() for _ in range(2)]
        rows = list(here.table)
        for client in clients:
            client.sendall(b"word")
        here.reactor.step()
        assert Reusing.heard == [(0, b"word")]
        assert (rows[1].socket.recvs, rows[1].mask, len(told)) == (0, 0, 1)
        assert rows[1].socket.shutdowns == 1, "it was shut down twice"
        here.until(lambda: len(told) == 2)
        assert told[1] == b"of the pipe"
        assert list(here.table) == [rows[0]]
        told[0].cancel()
        os.close(pipe[0])
        os.close(pipe[1])


@pytest.mark.parametrize("close", [
    lambda server: server.reactor.cancel(server.reactor.table),
    lambda server: server.server_close(),
])  # fmt: skip
def test_a_row_that_its_own_state_cancels_ends_when_the_state_has_returned(close, place):
    class Ending(Noting):
        async def handle(self):
            await Until(b"\n")
            close(self.server)
            self.send(b"the last line\n")
            await Until(b"\n")

        def finish(self):
            self.finished = self.reason

    with bench(Ending, place) as here:
        clients = [here.connect() for _ in range(3)]
        clients[1].sendall(b"end\n")
        assert here.last_words(clients[1]) == b"the last line\n"
        here.until(lambda: not here.table)
        assert [type(made.finished) for made in Ending.made] == [Cancelled] * 3
        assert here.table.ends == {"Cancelled": 3}


def test_a_peer_that_ends_its_side_is_still_answered(place):
    class Whole(StreamHandler):
        async def handle(self):
            data = await ToEnd(limit=10_000_000)
            self.send(data[::-1])

    with bench(Whole, place) as here:
        client = here.connect()
        here.give(client, PATTERN)
        client.shutdown(socket.SHUT_WR)
        assert here.last_words(client) == PATTERN[::-1]


@pytest.mark.parametrize(("member", "reason"), [({"timeout": "30"}, "Failed"), ({"max_output": None}, "TypeError")])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_row_whose_class_says_nonsense_ends_and_is_told_of(member, reason, at_once, place):
    class Nonsense(StreamHandler):
        async def handle(self):
            self.send(PATTERN)
            if not at_once:
                await Until(b"\n")

    with bench(type("Nonsense", (Nonsense,), member), place, sndbuf=SMALL) as here:
        client = connect(here.server)
        here.clients.append(client)
        here.until(lambda: here.table.closed)
        assert here.table.closed[0]["reason"].startswith(f"{reason}: ")
        assert isinstance(here.server.errors[0], TypeError)


class Once(StreamHandler):
    async def handle(self):
        self.send(await Until(b"\n"))


def test_after_a_short_connection_the_next_may_end_in_the_batch_in_which_it_comes(place):
    with bench(Once, place) as here:
        left = []
        for _ in range(3):
            with connect(here.server) as client:
                client.sendall(b"line\n")
                client.shutdown(socket.SHUT_WR)
                here.reactor.step(1)
                left.append(len(here.table))
                assert here.last_words(client) == b"line\n"
        assert left == [1, 0, 0]


def test_after_a_silent_connection_the_next_is_not_read_before_the_selector_tells(place):
    with bench(Once, place, Counting) as here:
        for silent in (False, True, True):
            client = here.connect()
            if not silent:
                client.sendall(b"line\n")
                assert here.last_words(client) == b"line\n"
        assert here.row.socket.recvs == 0
