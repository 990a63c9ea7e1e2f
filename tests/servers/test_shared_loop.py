"""Servers of every kind and mode that share one loop."""

from contextlib import ExitStack
from threading import Thread, get_ident

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
        bounded(reactor.run)  # it waits for nothing: not for arrivals at the socket that was closed either


@pytest.mark.parametrize("place", [STREAMS["tcp"], PACKETS["udp"]])
def test_a_server_that_is_closed_leaves_nothing_in_the_loop(place):
    with Reactor() as reactor:
        handler = Reverse if place is STREAMS["tcp"] else EchoDatagram
        with made(server_class("select", place), place, handler, reactor) as server:
            server.start_serving()
            assert reactor.sources
        assert not reactor.sources
        assert not reactor.busy


def test_a_server_is_closed_by_the_thread_that_runs_its_loop():
    """Else the rows would be cancelled in one thread while another drives them."""
    ended = []

    class Ends(Reverse):
        def finish(self):
            ended.append(get_ident())

    with (
        Reactor() as reactor,
        made(server_class("select", STREAMS["tcp"]), STREAMS["tcp"], Ends, reactor) as server,
        made(server_class("select", STREAMS["tcp"]), STREAMS["tcp"], Reverse, reactor) as other,
    ):
        server.start_serving()
        other.start_serving()
        loop = Thread(target=reactor.run, daemon=True)
        loop.start()
        with connect(server) as client:
            wait_until(lambda: len(reactor.table) == 1)
            server.server_close()
            assert client.recv(1) == b""
        assert (ended, len(reactor.table)) == ([loop.ident], 0)
        assert ask(other, b"5:hello,") == b"5:olleh,"
        bounded(reactor.stop)
        loop.join(PATIENCE)
        assert not loop.is_alive()


def test_what_a_call_raises_in_the_thread_of_the_loop_is_raised_to_its_caller():
    with Reactor() as reactor, made(server_class("select", STREAMS["tcp"]), STREAMS["tcp"], Reverse, reactor) as server:
        server.start_serving()
        loop = Thread(target=reactor.run, daemon=True)
        loop.start()
        assert ask(server, b"5:hello,") == b"5:olleh,"
        with pytest.raises(ZeroDivisionError):
            reactor.call_there(lambda: 1 // 0)
        assert ask(server, b"5:hello,") == b"5:olleh,"
        bounded(reactor.stop)
        loop.join(PATIENCE)
        here = []
        reactor.call_there(lambda: here.append(get_ident()))
        assert here == [get_ident()]
