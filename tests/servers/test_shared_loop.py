"""Servers of every kind and mode that share one loop."""

from contextlib import ExitStack
from threading import Thread

import pytest

from handlers.services import EchoDatagram
from reactor import Reactor
from tests.support.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    Reverse,
    ask,
    bounded,
    connect,
    exchange,
    made,
    running,
    server_class,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are


def test_servers_of_all_kinds_and_modes_share_one_loop():
    places = [(place, Reverse, ask, b"5:olleh,") for place in STREAMS.values()]
    places += [(place, EchoDatagram, exchange, [b"5:hello,"]) for place in PACKETS.values()]
    with ExitStack() as stack:
        reactor = Reactor()
        stack.callback(reactor.close)
        servers = [
            (stack.enter_context(made(server_class(mode, place), place, handler, reactor)), client, answer)
            for mode in MODES
            for place, handler, client, answer in places
        ]
        assert len(servers) == 40
        loop = Thread(target=reactor.run, daemon=True)
        loop.start()
        for _ in range(2):
            for server, client, answer in servers:
                assert client(server, b"5:hello,") == answer
        with connect(servers[0][0]), connect(servers[1][0]):  # of servers in select mode: rows of one table
            wait_until(lambda: {row.server for row in reactor.table} == {servers[0][0], servers[1][0]})
            servers[0][0].stop_serving()
            assert ask(servers[1][0], b"5:hello,") == b"5:olleh,"
            bounded(reactor.stop)
            loop.join(PATIENCE)
            assert not loop.is_alive()


@pytest.mark.parametrize(("place", "handler", "client", "answer"), [
    (STREAMS["tcp"], Reverse, ask, b"5:olleh,"), (PACKETS["udp"], EchoDatagram, exchange, [b"5:hello,"]),
])  # fmt: skip
def test_the_number_of_a_socket_that_was_closed_unnoticed_is_served_for_its_new_server(place, handler, client, answer):
    kind = server_class("select", place)
    with Reactor() as reactor, made(kind, place, handler, reactor) as old:
        old.start_serving()
        number = old.fileno()
        old.socket.close()
        with made(kind, place, handler, reactor) as server, running(server):
            assert server.fileno() == number
            assert client(server, b"5:hello,") == answer


@pytest.mark.parametrize("place", [STREAMS["tcp"], PACKETS["udp"]])
def test_a_server_that_is_closed_leaves_nothing_in_the_loop(place):
    with Reactor() as reactor:
        handler = Reverse if place is STREAMS["tcp"] else EchoDatagram
        with made(server_class("select", place), place, handler, reactor) as server:
            server.start_serving()
            assert reactor.sources
        assert not reactor.sources
        assert not reactor.busy


def test_a_server_can_not_be_closed_while_another_thread_runs_its_loop():
    with Reactor() as reactor, made(server_class("select", STREAMS["tcp"]), STREAMS["tcp"], Reverse, reactor) as server:
        server.start_serving()
        loop = Thread(target=reactor.run, daemon=True)
        loop.start()
        assert ask(server, b"5:hello,") == b"5:olleh,"
        with pytest.raises(RuntimeError, match=r"server_close\(\) while the loop runs: stop\(\) it"):
            server.server_close()
        assert ask(server, b"5:hello,") == b"5:olleh,"
        reactor.call_soon(server.server_close)  # the thread of the loop may close it
        loop.join(PATIENCE)
        assert not loop.is_alive()
