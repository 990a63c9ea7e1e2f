"""The filter `TLS` without a network: what it holds, what it says when it fails, and the turns of its steps."""

import ssl
from collections import Counter
from functools import partial

import pytest

import handlers
from handlers import StreamHandler, StreamMachine, Until
from handlers.filter import chain
from handlers.services import Echo
from reactor import SelectTCPServer
from reactor.rows.filters.tls import TLS, TLSFailed
from reactor.table.steps import STEPS
from reactor.testing import World, tls
from reactor.testing.peers.tls import TLSPeer
from reactor.testing.running.filtered import SteppingDriver
from tests.support.certificates import NAME, client_context, server_context
from tests.support.worlds import ADDRESS

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
every_version = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


class Lines(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Until(b"\n", limit=80))


def opened(through):
    """A channel behind the filter and its peer, between which the handshake is done."""
    channel, peer = chain(StreamMachine(Lines()), [through.filter]), through.peer()
    channel.advance()
    while channel.opening or not peer.is_open:
        channel.feed(peer.send(b""))
        peer.received(channel.read())
    return channel, peer


def test_what_waits_for_a_step_is_held_and_counted_and_no_more_is_taken():
    driver = SteppingDriver(handlers.World())
    channel, peer = chain(StreamMachine(Lines(), driver), [tls().filter]), tls().peer()
    channel.advance()
    hello = peer.send(b"")
    assert channel.wants_input
    channel.feed(hello)
    assert channel.held_in == len(hello)
    assert not channel.wants_input
    driver.steps.popleft()()
    assert channel.held_in == 0
    assert channel.wants_input


@every_version
def test_the_peer_is_told_by_an_alert_why_the_handshake_fails(version):
    channel = chain(StreamMachine(Lines()), [partial(TLS, context=server_context(ask_client=True))])
    peer = TLSPeer(client_context(version), NAME)
    channel.advance()

    def talk():
        while not channel.finished:
            channel.feed(peer.send(b""))
            peer.received(channel.read())

    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        talk()
    assert type(channel.reason) is TLSFailed


@every_version
def test_the_peer_is_told_by_an_alert_that_a_record_is_wrong(version):
    channel, peer = opened(tls(version))
    record = peer.send(b"one\n")
    channel.feed(record[:-1] + bytes([record[-1] ^ 1]))
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.*bad.record"):
        peer.received(channel.read())
    assert type(channel.reason) is TLSFailed


def test_a_batch_does_a_few_steps_of_handshakes_and_no_more():
    """Forty clients say hello at once."""
    done = Counter()

    class Counting(TLS):
        def step(self):
            done[world.steps] += 1
            super().step()

    with World() as world:
        through = tls()._replace(filter=partial(Counting, **tls().filter.keywords))
        world.serve(type("Secure", (SelectTCPServer,), {"filters": (through.filter,)}), ADDRESS, Echo)
        clients = [world.connect(ADDRESS, peer=through.peer()).send(b"one").shutdown() for _ in range(40)]
        world.run()
        assert {client.received for client in clients} == {b"one"}
    assert max(done.values()) == STEPS
    assert sum(done.values()) == 2 * len(clients)


def test_steps_that_wait_are_done_after_one_has_ended_the_program():
    """``serve_forever()`` may be called again after a ``KeyboardInterrupt``."""
    begun = []

    class Interrupted(TLS):
        def step(self):
            begun.append(self)
            if len(begun) == 20:  # others have had their turn in this batch, and others wait
                raise KeyboardInterrupt
            super().step()

    with World() as world:
        through = tls()._replace(filter=partial(Interrupted, **tls().filter.keywords))
        world.serve(type("Secure", (SelectTCPServer,), {"filters": (through.filter,)}), ADDRESS, Echo)
        clients = [world.connect(ADDRESS, peer=through.peer()).send(b"one").shutdown() for _ in range(40)]
        with pytest.raises(KeyboardInterrupt):
            world.run()
        world.run()
        assert sum(client.received == b"one" for client in clients) == len(clients) - 1
