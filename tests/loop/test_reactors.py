"""Several reactors in one process, and the end of one."""

import socket
from selectors import EVENT_READ

import pytest

from handlers.services import Echo
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from tests.support.loops import SELECTORS, Slowly, in_thread, until
from tests.support.packets import PairConversation
from tests.support.resources import descriptors
from tests.support.serving import PATIENCE, connect


def test_two_reactors_side_by_side():
    """Each runs in a thread of its own, with two servers."""
    threads, clients, reactors, servers = [], [], [Reactor(), Reactor()], []
    for reactor in reactors:
        servers += [
            SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor),
            SelectTCPServer(("127.0.0.1", 0), Slowly, reactor=reactor),
        ]
        threads.append(in_thread(reactor.run))
    for server, answer in zip(servers, [b"word", b"WORD"] * 2, strict=True):
        client = connect(server)
        client.sendall(b"word")
        assert client.recv(10) == answer
        clients.append(client)
    assert [len(reactor.table) for reactor in reactors] == [2, 2]
    for reactor, thread in zip(reactors, threads, strict=True):
        reactor.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    for thing in servers:
        thing.server_close()
    for thing in clients + reactors:
        thing.close()


@pytest.mark.parametrize("kind", SELECTORS)
def test_close_releases_every_descriptor_and_may_be_called_again(kind, pipe):
    before = descriptors()
    reactor = Reactor(kind())
    streams = SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor)
    packets = SelectUDPServer(("127.0.0.1", 0), PairConversation, reactor=reactor)
    client = connect(streams)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"word", packets.server_address)
    watch = reactor.watch(pipe[0], EVENT_READ, print)
    reactor.call_later(50, print)
    until(reactor, lambda: len(reactor.table) == 2)
    reactor.call_soon(reactor.stop)
    reactor.run()  # makes the descriptor that wakes it
    reactor.close()
    reactor.close()
    watch.cancel()
    assert len(reactor.table) == 0
    assert client.recv(10) == b""
    client.close()
    sender.close()
    streams.server_close()
    packets.server_close()
    assert descriptors() == before
