"""The MAC of datagrams: only what is authentic is taken, and each packet at most once."""

import os
import tempfile
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramHandler, DatagramMachine, Packet, World
from handlers.filter import chain
from reactor.mac import NotAuthentic, PacketMAC, ReplayWindows, Seal

KEYS = {"ada": bytes(range(16)), "bob": bytes(range(1, 33)), "n" * 255: b"k" * 20}
NOW = 1e9


class Echo(DatagramHandler):
    """Sends each packet back."""

    async def handle(self):
        while True:
            self.send(await Packet())


def clock():
    return NOW


def fresh():
    return ReplayWindows(senders=8, size=4, since=NOW - 1)


def client_of(name="ada", key=None):
    return Seal(name, key or KEYS[name], fresh(), now=clock)


def server_of(windows, name="ada"):
    return Seal(name, KEYS[name], windows, is_server=True, now=clock)


def request(windows=None, keys=KEYS):
    """A request of a server, and the world that drives it."""
    world = World(("192.0.2.7", 4711), now=clock)
    machine = DatagramMachine(Echo(), world)
    return chain(machine, [lambda inner: PacketMAC(inner, keys, fresh() if windows is None else windows)]), world


# ReplayWindows


@given(counters=st.lists(st.integers(1, 12), max_size=40), size=st.integers(1, 6))
def test_each_counter_is_taken_at_most_once_and_only_old_ones_are_lost(counters, size):
    windows = ReplayWindows(senders=2, size=size, since=0)
    taken = []
    for counter in counters:
        newest = sorted(taken)[-size:]
        expected = counter not in taken and not (len(newest) == size and counter < newest[0])
        assert windows.take("ada", counter) == expected
        if expected:
            taken.append(counter)
    assert len(taken) == len(set(taken))


@given(order=st.permutations(range(1, 9)))
def test_packets_that_overtake_few_others_are_all_taken(order):
    windows = ReplayWindows(senders=1, size=8, since=0)
    assert all(windows.take("ada", counter) for counter in order)


def test_nothing_from_before_the_start_is_taken():
    windows = ReplayWindows(since=NOW)
    assert not windows.take("ada", int(NOW * 1e6))
    assert windows.take("ada", int(NOW * 1e6) + 1)


def test_senders_have_windows_of_their_own_and_there_is_room_for_so_many():
    windows = ReplayWindows(senders=3, since=0)
    assert [windows.take(name, 1) for name in "abcd"] == [True, True, True, False]
    assert [windows.take(name, 1) for name in "abc"] == [False, False, False]
    assert windows.issue("a", 0) == 1
    with pytest.raises(OverflowError):
        windows.issue("d", 0)


def test_the_memory_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert ReplayWindows(since=0).take("ada", 1)
    assert list(tmp_path.iterdir()) == []


def test_counters_that_are_issued_grow_whatever_the_clock_does():
    windows = fresh()
    issued = [windows.issue("ada", now) for now in (NOW, NOW, NOW - 5, NOW + 1, NOW)]
    assert issued == sorted(set(issued))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the host has no fork")
@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
def test_children_and_threads_take_each_packet_once_between_them():
    windows = ReplayWindows(size=2000, since=0)
    reader, writer = os.pipe()

    def take():
        for counter in range(1, 400):
            if windows.take("ada", counter):
                os.write(writer, counter.to_bytes(4, "big"))

    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            take()
            os._exit(0)
        children.append(child)
    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    os.close(writer)
    with open(reader, "rb") as stream:
        data = stream.read()
    taken = [int.from_bytes(data[place : place + 4], "big") for place in range(0, len(data), 4)]
    assert sorted(taken) == list(range(1, 400))


# Seals


@given(payload=st.binary(max_size=100), name=st.sampled_from(sorted(KEYS)))
def test_what_one_end_seals_the_other_opens_once(payload, name):
    client, server = client_of(name), server_of(fresh(), name)
    packet = client.seal(payload)
    assert server.open(packet) == payload
    assert server.open(packet) is None
    answer = server.seal(payload)
    assert client.open(answer) == payload
    assert client.open(answer) is None


@given(place=st.integers(0, 60), change=st.integers(1, 255))
def test_a_packet_that_was_changed_is_not_opened(place, change):
    server = server_of(fresh())
    packet = bytearray(client_of().seal(b"hello"))
    place %= len(packet)
    packet[place] ^= change
    assert server.open(bytes(packet)) is None
    packet[place] ^= change
    assert server.open(bytes(packet)) == b"hello"


def test_a_packet_that_was_cut_or_sent_back_is_not_opened():
    client, server = client_of(), server_of(fresh())
    packet = client.seal(b"hello")
    assert all(server.open(packet[:end]) is None for end in range(len(packet)))
    assert client.open(packet) is None
    assert server.open(server.seal(b"hello")) is None


@given(key=st.binary(min_size=16, max_size=40).filter(lambda key: key.rstrip(b"\0") != KEYS["ada"].rstrip(b"\0")))
def test_another_key_opens_nothing(key):
    assert server_of(fresh()).open(client_of(key=key).seal(b"hello")) is None


@pytest.mark.parametrize(
    ("name", "key"), [("", bytes(16)), ("n" * 256, bytes(16)), ("ä" * 128, bytes(16)), ("a", bytes(15))]
)
def test_a_name_or_a_key_that_can_not_be_is_an_error(name, key):
    with pytest.raises(ValueError, match="has"):
        Seal(name, key, fresh())


# The filter


def test_a_request_begins_with_an_authentic_packet_and_its_answers_are_sealed():
    client = client_of()
    channel, world = request()
    assert channel.feed(client.seal(b"hello"))
    assert world.principal == "ada"
    assert client.open(channel.read()) == b"hello"
    channel.feed(client.seal(b""))
    assert client.open(channel.read()) == b""


@given(packet=st.one_of(st.binary(max_size=80), st.builds(lambda tail: b"C\x03ada" + tail, st.binary(max_size=60))))
def test_a_request_that_begins_with_anything_else_ends(packet):
    channel, world = request()
    channel.feed(packet)
    assert isinstance(channel.reason, NotAuthentic)
    assert world.principal is None
    assert channel.read() is None


@pytest.mark.parametrize("seal", [client_of("ada", bytes(16)), Seal("nobody", bytes(16), fresh(), now=clock)])
def test_a_wrong_key_and_an_unknown_name_are_refused_alike(seal):
    channel, _ = request()
    channel.feed(seal.seal(b"hello"))
    assert str(channel.reason) == "the packet has a wrong MAC, or is a replay"


def test_a_packet_that_comes_again_begins_no_request():
    windows = fresh()
    packet = client_of().seal(b"hello")
    for reason in (type(None), NotAuthentic):
        channel, _ = request(windows)
        channel.feed(packet)
        assert type(channel.reason) is reason


def test_what_is_not_authentic_does_no_harm_to_a_request_that_has_begun():
    client = client_of()
    channel, world = request()
    first = client.seal(b"one")
    channel.feed(first)
    assert client.open(channel.read()) == b"one"
    for packet in (b"", b"garbage", first, client_of("bob").seal(b"other"), client.seal(b"x")[:-1]):
        assert channel.feed(packet)
        assert channel.read() is None
    channel.feed(client.seal(b"two"))
    assert client.open(channel.read()) == b"two"
    assert world.principal == "ada"


@pytest.mark.slow
@given(order=st.lists(st.integers(0, 7), max_size=30), split=st.lists(st.booleans(), min_size=30, max_size=30))
def test_however_packets_come_again_each_is_taken_at_most_once_by_all_requests_together(order, split):
    client, windows = client_of(), ReplayWindows(senders=8, size=3, since=NOW - 1)
    packets = [client.seal(b"%d" % number) for number in range(8)]
    taken, channel = [], None
    for place, begins in zip(order, split, strict=False):
        if channel is None or channel.finished or begins:
            channel, _ = request(windows)
        channel.feed(packets[place])
        while (answer := channel.read()) is not None:
            taken.append(client.open(answer))
    assert len(taken) == len(set(taken))
    assert set(taken) <= {b"%d" % number for number in range(8)}


def test_a_key_that_is_too_short_is_an_error_of_the_server():
    channel, _ = request(keys={"ada": b"short"})
    with pytest.raises(ValueError, match="16 bytes"):
        channel.feed(client_of().seal(b"hello"))
