"""`check` with filters in front of the handler: what it accepts, and the faults of filters that it finds."""

import ssl
from functools import partial
from types import SimpleNamespace

import pytest

from handlers import (
    DatagramHandler,
    EndOfStream,
    Exactly,
    Packet,
    StreamHandler,
    StreamRequestHandler,
    ToEnd,
    Until,
    World,
)
from handlers.filter import Filter
from handlers.packet_filter import PacketFilter
from handlers.services import Echo, EchoDatagram
from reactor.rows.filters.chaos import Chaos
from reactor.rows.filters.tls import TLS, Truncated
from reactor.testing import (
    END,
    RESET,
    CheckFailed,
    Peer,
    Take,
    Through,
    check,
    ends_at_any_byte_of_the_wire,
    play_through,
    proxy,
    same_through_filters,
    tls,
)
from tests.handlers.rows import Identity
from tests.support.behind import BROKEN, FRAMED, NUMBERED, XOR, Forgetful, FramedPeer, Numbered, NumberedPeer
from tests.support.pasted import assert_red_then_green

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
every_version = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


class Lines(StreamHandler):
    """Echoes lines after words about the connection, and says what is left at the end."""

    async def handle(self):
        self.send(f"{self.peer[0]} {self.secured} ".encode())
        try:
            while True:
                self.send(await Until(b"\n", limit=80))
        except EndOfStream as cause:
            self.send(b"rest: " + cause.partial)


class BlockingLines(StreamRequestHandler):
    request = Until(b"\n", limit=80)

    def handle(self):
        self.wfile.write(self.rfile.readline()[::-1])


class Whole(StreamHandler):
    """Answers at the end."""

    async def handle(self):
        self.send((await ToEnd(limit=1 << 16))[::-1])


class Long(StreamHandler):
    """Answers much to little, and half-closes."""

    async def handle(self):
        self.send(await Exactly(2) * 12_000)
        self.send_eof()
        await ToEnd(limit=1 << 16)


GOOD = {
    "tls": tls(),
    "tls 1.2": tls(VERSIONS[0]),
    "proxy": proxy(),
    "proxy and tls": [proxy(), tls()],
    "tls in tls": [tls(), tls()],
    "a tap": Through(Identity),
    "xor": XOR,
    "framed": FRAMED,
    "chaos in front of tls": [Through(partial(Chaos, seed=1)), tls()],
}


AGAIN = {"tls 1.2", "proxy and tls", "tls in tls"}
"""What repeats the mechanism of others."""


@pytest.mark.parametrize(
    "through",
    [pytest.param(GOOD[name], id=name, marks=[pytest.mark.slow] if name in AGAIN else []) for name in GOOD],
)
def test_the_plain_text_is_the_same_behind_every_filter(through):
    same_through_filters(Lines, b"one\ntwo", through, examples=8)


@pytest.mark.parametrize("kind", [BlockingLines, Whole, pytest.param(Long, marks=pytest.mark.slow)])
def test_the_plain_text_of_every_kind_of_handler_is_the_same_behind_tls(kind):
    same_through_filters(kind, b"one\ntwo", tls(), examples=8)


@pytest.mark.slow
@pytest.mark.parametrize("through", GOOD.values(), ids=GOOD)
def test_no_end_of_the_wire_passes_for_an_end_of_the_conversation(through):
    for kind in Lines, Whole:
        ends_at_any_byte_of_the_wire(kind, b"one\ntwo", through)


@pytest.mark.slow
@every_version
@pytest.mark.parametrize("ending", [END, RESET])
def test_a_handshake_that_is_cut_after_any_byte_has_a_cause(version, ending):
    whole = play_through(Echo, [b"hello", END], tls(version))
    assert (whole.output, whole.finished, whole.reason) == (b"hello", True, None)
    for place in range(whole.wire_in):
        run = play_through(Echo, [b"hello", END], tls(version), stop=place, ending=ending)
        assert run.finished
        assert type(run.reason) is Truncated or ending is RESET
        assert run.output in (b"", b"hello")


@pytest.mark.slow
def test_check_tries_a_handler_behind_its_filters():
    check(Echo, b"hello", b"hello", through=[proxy(), XOR], modes=[], examples=5)


def test_the_run_without_filters_has_the_facts_that_the_filters_have_found():
    run = play_through(Lines, [b"one\n", END], [proxy(), tls()])
    assert run.output == b"192.0.2.1 tls1.3 one\n"
    assert play_through(Lines, [b"one\n", END], proxy()).output == b"192.0.2.1 None one\n"


def test_a_schedule_may_take_output_slowly_let_time_pass_and_reset():
    run = play_through(Long, [b"ab", Take(100), Take(0), 3.0, Take(7), RESET], tls(), sizes=[1])
    assert b"ab" * 12_000 != run.output == b"ab" * (len(run.output) // 2)
    assert type(run.reason).__name__ == "Reset"


# Filters with faults


@pytest.mark.slow
@pytest.mark.parametrize(("through", "right", "told"), BROKEN.values(), ids=BROKEN)
def test_a_fault_of_a_filter_is_found_with_a_test_that_its_mending_passes(through, right, told, tmp_path):
    def tried():
        same_through_filters(Lines, b"\0ne\ntwo", through, examples=20)
        ends_at_any_byte_of_the_wire(Lines, b"\0ne\ntwo", through)

    with pytest.raises(CheckFailed, match=told) as failed:
        tried()
    code = str(failed.value).partition("\n\n")[2]
    assert_red_then_green(code, Lines, Lines, tmp_path, given=[through], right=[right])


class Named(StreamHandler):
    """Answers with a name that its server has."""

    async def handle(self):
        self.send(self.server.name + await Until(b"\n", limit=80))


def test_a_printed_test_takes_the_server_that_the_handler_needs(tmp_path):
    server = SimpleNamespace(name=b"ann ")
    with pytest.raises(CheckFailed, match="behind the filters") as failed:
        same_through_filters(Named, b"one\n", Through(Forgetful, FramedPeer), world=World(server=server), examples=5)
    code = str(failed.value).partition("\n\n")[2]
    assert "(server, through):" in code
    given, right = [server, Through(Forgetful, FramedPeer)], [server, FRAMED]
    assert_red_then_green(code, Named, Named, tmp_path, given, right)


@pytest.mark.slow
def test_a_peer_that_answers_without_end_is_an_error():
    class Endless(Peer):
        def send(self, plain):
            return plain or b"x"

    with pytest.raises(CheckFailed, match="the peer answers without end"):
        same_through_filters(Echo, b"hello", Through(Filter, Endless), examples=1)


# Datagrams


class Pair(DatagramHandler):
    async def handle(self):
        self.send(await Packet() + await Packet())


class Swallowing(Numbered):
    def flow(self, packet):
        self.put(b"!" + packet[:2])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EchoDatagram, Pair])
def test_packets_are_the_same_behind_a_filter(kind):
    check(kind, [b"one", b"", b"three", b"four"], through=[Through(PacketFilter), NUMBERED], modes=[], examples=3)


def test_a_fault_of_a_packet_filter_is_found():
    with pytest.raises(CheckFailed, match="the output is different"):
        same_through_filters(EchoDatagram, [b"one", b"two"], Through(Swallowing, NumberedPeer))


# Arguments


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match=r"through is a Through\(filter, peer\), or a list of them, not"):
        check(Echo, b"", through=TLS)
    with pytest.raises(TypeError, match="through is a Through"):
        same_through_filters(Echo, b"", [])
    with pytest.raises(ValueError, match="sizes are numbers of bytes > 0"):
        play_through(Echo, [], tls(), sizes=[0])
    with pytest.raises(TypeError, match="ending is END or RESET"):
        play_through(Echo, [], tls(), stop=1, ending=1.0)
