"""The TLS filter, without a socket: how the records are cut into reads changes nothing."""

import ssl
from functools import partial
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import Delay, Some, StreamHandler, StreamMachine, ToEnd, World
from handlers.filter import chain
from reactor.rows.filters.tls import LENIENT, TOGETHER, TURN, TLSFailed
from reactor.testing.peers.tls import TLSPeer
from reactor.testing.running.filtered import SteppingDriver
from reactor.tls import TLS
from tests.support.certificates import NAME, client_context, server_context
from tests.support.tls import attempt

every_version = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
cuts = st.lists(st.integers(1, 40_000), min_size=1, max_size=5)


class Echo(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Some())


class Lasting(StreamHandler):
    """Goes on when its input has ended."""

    async def handle(self):
        await ToEnd()
        await Delay(60)


class Client:
    """A client whose output is fed to ``channel`` in pieces of the given sizes."""

    def __init__(self, version, sizes, handler=Echo):
        self.channel = chain(StreamMachine(handler()), [partial(TLS, context=server_context())])
        self.channel.advance()
        self.sizes = cycle(sizes)
        self.coming, self.going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client_context(version).wrap_bio(self.coming, self.going, server_hostname=NAME)
        while attempt(self.tls.do_handshake) is None:
            self.exchange()

    def exchange(self):
        """Feed what the client has written, and have the client take what the channel has written."""
        data = self.going.read()
        while data:
            size = next(self.sizes)
            self.channel.feed(data[:size])
            data = data[size:]
            self.take()
        self.take()

    def take(self):
        while output := self.channel.read():
            self.coming.write(output)

    def read(self):
        """All plain text that has come."""
        text = b""
        while (piece := attempt(lambda: self.tls.read(20_000))) is not None:
            text += piece
        return text


@pytest.mark.slow
@every_version
@settings(deadline=None, max_examples=40)
@given(sizes=cuts, lengths=st.lists(st.integers(1, 50_000), min_size=1, max_size=4))
def test_plain_text_comes_whole_however_its_records_are_cut(version, sizes, lengths):
    client = Client(version, sizes)
    sent = b""
    for number, length in enumerate(lengths):
        text = bytes([65 + number]) * length
        client.tls.write(text)  # the first of it comes in one piece with the end of the handshake
        sent += text
    client.exchange()
    assert client.read() == sent


@every_version
def test_what_comes_in_one_read_with_the_end_of_the_handshake_is_delivered(version):
    client = Client(version, [1_000_000])
    client.tls.write(b"a" * 50_000)
    data = client.going.read()
    client.channel.feed(data[:-1])
    client.take()
    assert client.read() == b"a" * (3 * 16_384)
    client.channel.feed(data[-1:])
    client.take()
    assert client.read() == b"a" * (50_000 - 3 * 16_384)


def test_a_record_that_comes_byte_by_byte_is_searched_once_for_each_byte():
    client = Client(ssl.TLSVersion.TLSv1_3, [1_000_000])
    client.exchange()
    client.tls.write(b"a" * 16_000)
    held = []
    for byte in client.going.read():
        client.channel.feed(bytes([byte]))
        held.append(client.channel.held_in)
    client.take()
    assert client.read() == b"a" * 16_000
    assert held[:-1] == list(range(1, len(held)))


@every_version
def test_many_small_records_are_taken_in_turns(version):
    """A record costs its bytes and a fixed amount, which for one with a new key is that of 20 KiB."""
    client = Client(version, [1_000_000])
    client.exchange()
    for _ in range(2_000):
        client.tls.write(b"a")
    client.channel.feed(client.going.read())
    turns = 0
    while client.channel.held_in:
        assert client.channel.blocked
        client.channel.advance()
        turns += 1
    client.take()
    assert client.read() == b"a" * 2_000
    assert turns >= 2_000 // (TURN * TOGETHER) - 1


@every_version
def test_a_close_notify_that_comes_alone_ends_the_input(version):
    client = Client(version, [1_000_000])
    client.exchange()
    attempt(client.tls.unwrap)
    client.exchange()
    assert (client.channel.finished, client.channel.reason) == (True, None)


@every_version
def test_a_record_that_comes_alone_is_no_record_behind_a_part_of_another(version):
    client = Client(version, [1_000_000])
    client.exchange()
    part = b"\x17\x03\x03\x01\x00" + bytes(20)
    client.channel.feed(part)
    client.tls.write(b"word")
    client.exchange()
    assert client.read() == b""
    assert client.channel.held_in > len(part)
    client.channel.feed(bytes(256))
    assert type(client.channel.reason) is TLSFailed


@pytest.mark.parametrize("kind", [ssl.SSLContext, type("Context", (ssl.SSLContext,), {})])
def test_a_context_that_takes_any_end_for_one_in_order_is_made_strict(kind):
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    for _ in range(2):
        context.options |= LENIENT
        TLS(StreamMachine(Echo()), context)
        assert not context.options & LENIENT


@every_version
def test_what_comes_behind_a_close_notify_is_not_held(version):
    client = Client(version, [1_000_000], Lasting)
    client.exchange()
    attempt(client.tls.unwrap)
    client.channel.feed(client.going.read() + b"\x17\x03\x03\x40\x00" + bytes(16_384) + b"\x17\x03\x03" + bytes(9))
    assert not client.channel.finished
    assert client.channel.held_in == 0


@every_version
def test_a_hello_in_many_small_records_is_taken_in_steps(version):
    driver = SteppingDriver(World())
    channel = chain(StreamMachine(Echo(), driver), [partial(TLS, context=server_context())])
    channel.advance()
    peer = TLSPeer(client_context(version), NAME)
    hello = peer.send(b"")
    pieces = [hello[at : at + 5] for at in range(5, len(hello), 5)]
    channel.feed(b"".join(hello[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces))
    steps = 0
    while driver.steps:
        assert not channel.wants_input
        driver.steps.popleft()()
        steps += 1
    assert steps == -(-len(pieces) // TOGETHER)
    while channel.opening:
        peer.received(channel.read())
        channel.feed(peer.send(b""))
        while driver.steps:
            driver.steps.popleft()()
    assert channel.held_in == 0


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x17\x03\x03\xff\xff", b"\x17\x04\x03\x00\x10"])
def test_what_can_not_be_a_record_is_refused_at_once(data):
    client = Client(ssl.TLSVersion.TLSv1_3, [1_000_000])
    client.exchange()
    client.channel.feed(data)
    assert client.channel.finished
    assert type(client.channel.reason).__name__ == "TLSFailed"
