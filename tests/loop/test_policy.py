"""`policy`: which of what is ready is worked on next."""

import os
from selectors import EVENT_READ

import pytest

from handlers import Some, StreamHandler, Until
from reactor import Request, SelectTCPServer
from tests.support.loops import until
from tests.support.serving import connect


def test_the_policy_decides_the_order(reactor):
    pipes = [os.pipe() for _ in range(4)]
    called = []
    reactor.policy = lambda events: sorted(events, key=lambda event: -event[0].fd)
    for reader, writer in pipes:
        reactor.watch(reader, EVENT_READ, lambda events, reader=reader: called.append(reader))
        os.write(writer, b"x")
    reactor.step(0)
    assert called == sorted(called, reverse=True)
    assert len(called) == 4
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)


def test_rows_that_the_policy_leaves_out_are_ready_again(reactor):
    class Lines(StreamHandler):
        async def handle(self):
            while True:
                self.send(await Until(b"\n"))

    reactor.policy = lambda events: [*events][:1]
    with SelectTCPServer(("127.0.0.1", 0), Lines, reactor=reactor) as server:
        clients = [connect(server) for _ in range(5)]
        for client in clients:
            client.sendall(b"line\n")
        until(reactor, lambda: sum(row.total_out for row in reactor.table) == 25)
        for client in clients:
            assert client.recv(100) == b"line\n"
            client.close()


@pytest.mark.parametrize("first", ["rows", "arrivals"])
def test_the_policy_may_put_rows_before_or_after_arrivals(reactor, first):
    happened = []

    class Noting(StreamHandler):
        async def handle(self):
            happened.append("arrival")
            while True:
                await Some()
                happened.append("row")

    def policy(events):
        return sorted(events, key=lambda event: isinstance(event[0].data, Request) == (first == "arrivals"))

    with SelectTCPServer(("127.0.0.1", 0), Noting, reactor=reactor) as server:
        old = connect(server)
        until(reactor, lambda: happened)
        reactor.step(0)
        reactor.policy = policy
        old.send(b"x")
        new = connect(server)
        until(reactor, lambda: len(happened) == 3)
        assert happened[1:] == (["row", "arrival"] if first == "rows" else ["arrival", "row"])
        old.close()
        new.close()
