"""The services against their RFCs: 862 (echo), 863 (discard), 864 (chargen), 867 (daytime) and 868 (time)."""

import string
from datetime import datetime, timedelta, timezone
from itertools import islice, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handlers import DatagramMachine, StreamMachine, World, services
from tests.support.strategies import converse, pieces

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
moments = st.integers(0, int((datetime(2400, 12, 31, 23, 59, 59, tzinfo=timezone.utc) - EPOCH).total_seconds()))
"""Seconds since 1970-01-01, up to the end of the year 2400."""


def machine_at(kind, seconds=0):
    """The machine of the service at this time of day."""
    machine = StreamMachine if issubclass(kind, services.StreamHandler) else DatagramMachine
    return machine(kind(), World(now=lambda: seconds))


def answers(kind, packet, seconds=0):
    """The packets that answer one packet; the exchange must be over then."""
    machine = machine_at(kind, seconds)
    assert machine.feed(packet)
    assert (machine.finished, machine.reason) == (True, None)
    return list(iter(machine.read, None))


# Echo and discard


@given(pieces(st.binary(max_size=200)))
def test_echo_sends_back_all_input_until_the_end_of_the_stream(fed):
    machine = machine_at(services.Echo)
    for piece in fed:
        machine.feed(piece)
        assert machine.read() == piece
    machine.end()
    assert (machine.finished, machine.reason) == (True, None)


@given(st.binary(max_size=200))
def test_echo_sends_each_datagram_back(packet):
    assert answers(services.EchoDatagram, packet) == [packet]


@given(pieces(st.binary(max_size=200)))
def test_discard_sends_nothing_and_holds_nothing(fed):
    machine = machine_at(services.Discard)
    for piece in fed:
        machine.feed(piece)
        assert machine.held_in == 0
        assert not machine.finished
    assert converse(machine, []) == b""
    assert (machine.finished, machine.reason) == (True, None)


@given(st.binary(max_size=200))
def test_discard_answers_no_datagram(packet):
    assert answers(services.DiscardDatagram, packet) == []


# Daytime and time


def calendar(seconds):
    """The line of RFC 867, by the standard library's calendar."""
    moment = EPOCH + timedelta(seconds=seconds)
    return f"{moment:%A, %B} {moment.day}, {moment.year} {moment:%H:%M:%S}-UTC\r\n".encode()


@given(moments)
@example(0)
@example(int((datetime(2000, 2, 29, 23, 59, 59, tzinfo=timezone.utc) - EPOCH).total_seconds()))
@example(int((datetime(2100, 2, 28, 23, 59, 59, tzinfo=timezone.utc) - EPOCH).total_seconds()))
@example(int((datetime(2100, 3, 1, tzinfo=timezone.utc) - EPOCH).total_seconds()))
@example(int((datetime(2400, 2, 29, tzinfo=timezone.utc) - EPOCH).total_seconds()))
def test_daytime_gives_the_date_of_the_calendar(seconds):
    assert services.daytime(seconds) == calendar(seconds)


def test_daytime_is_right_around_the_end_of_every_month():
    for year in range(1970, 2401):
        for month in range(1, 13):
            first = int((datetime(year, month, 1, tzinfo=timezone.utc) - EPOCH).total_seconds())
            assert services.daytime(first) == calendar(first)
            assert services.daytime(first + 31 * 86_400 - 1) == calendar(first + 31 * 86_400 - 1)


@given(st.floats(0, 1e10))
def test_daytime_drops_fractions_of_a_second(seconds):
    assert services.daytime(seconds) == calendar(int(seconds))


def test_daytime_is_written_as_the_rfc_suggests():
    """Weekday, month, day, year, time, zone (RFC 867)."""
    assert services.daytime(383_276_263) == b"Tuesday, February 23, 1982 01:37:43-UTC\r\n"


@given(moments)
def test_time_counts_seconds_since_1900_in_32_bits(seconds):
    since_1900 = EPOCH + timedelta(seconds=seconds) - datetime(1900, 1, 1, tzinfo=timezone.utc)
    assert int.from_bytes(services.time32(seconds), "big") == since_1900.total_seconds() % 2**32
    assert len(services.time32(seconds)) == 4
    assert services.time32(seconds + 0.75) == services.time32(seconds)


@pytest.mark.parametrize(
    ("moment", "value"),
    [
        (datetime(1970, 1, 1, tzinfo=timezone.utc), 2_208_988_800),  # the examples of RFC 868
        (datetime(1976, 1, 1, tzinfo=timezone.utc), 2_398_291_200),
        (datetime(1980, 1, 1, tzinfo=timezone.utc), 2_524_521_600),
        (datetime(1983, 5, 1, tzinfo=timezone.utc), 2_629_584_000),
        (datetime(2036, 2, 7, 6, 28, 15, tzinfo=timezone.utc), 0xFFFF_FFFF),  # the last second before it wraps
        (datetime(2036, 2, 7, 6, 28, 16, tzinfo=timezone.utc), 0),
    ],
    ids=str,
)
def test_time_matches_the_examples_of_the_rfc(moment, value):
    assert services.time32((moment - EPOCH).total_seconds()) == value.to_bytes(4, "big")


@given(moments, pieces(st.binary(max_size=9)))
def test_both_send_the_time_of_the_world_and_close_whatever_the_client_sends(seconds, fed):
    for kind, expected in (services.Daytime, services.daytime(seconds)), (services.Time, services.time32(seconds)):
        machine = machine_at(kind, seconds)
        machine.advance()
        assert (machine.finished, machine.reason) == (True, None)
        assert converse(machine, fed) == expected


@given(moments, st.binary(max_size=9))
def test_both_answer_each_datagram_with_the_time_of_the_world(seconds, packet):
    assert answers(services.DaytimeDatagram, packet, seconds) == [services.daytime(seconds)]
    assert answers(services.TimeDatagram, packet, seconds) == [services.time32(seconds)]


# Character generator

RING = "".join(sorted(string.digits + string.ascii_letters + string.punctuation + " "))
"""The 95 printing characters of ASCII in order (RFC 864's "ordered ring")."""


def generated(machine):
    """The first bytes that a client gets that reads without end."""
    machine.advance()
    while True:
        yield machine.read()


def test_chargen_sends_lines_of_72_characters_each_rotated_by_one():
    lines = b"".join(islice(generated(machine_at(services.CharGen)), 4)).decode("ascii").split("\r\n")
    assert lines.pop() == ""
    assert len(lines) > 2 * len(RING)
    for number, line in enumerate(lines):
        assert line == "".join(RING[(number + column) % len(RING)] for column in range(72))


def test_every_character_of_the_ring_appears_in_every_column():
    lines = next(generated(machine_at(services.CharGen))).decode("ascii").split("\r\n")[:-1]
    assert len(lines) % len(RING) == 0
    assert all(set(column) == set(RING) for column in zip(*lines, strict=True))
    assert all(after.startswith(before[1:]) for before, after in pairwise(lines))


def test_chargen_generates_no_more_than_the_client_takes():
    machine = machine_at(services.CharGen)
    machine.advance()
    first = machine.held_out
    assert 0 < first <= machine.handler.high_water
    for _ in range(100):
        machine.feed(b"never read")
        machine.advance()
    assert machine.held_out == first
    assert not machine.wants_input
    machine.read(first - 1)
    assert machine.held_out == 1
    machine.read(1)
    assert machine.held_out == first


@given(st.integers(1, 10_000))
def test_the_pattern_does_not_depend_on_how_much_the_client_takes_at_once(size):
    whole = b"".join(islice(generated(machine_at(services.CharGen)), 3))
    machine = machine_at(services.CharGen)
    machine.advance()
    taken = b""
    while len(taken) < len(whole):
        taken += machine.read(size)
    assert taken[: len(whole)] == whole


@given(st.floats(0, 1e10), st.binary(max_size=9))
def test_chargen_answers_each_datagram_with_up_to_512_characters_of_the_pattern(seconds, packet):
    [answer] = answers(services.CharGenDatagram, packet, seconds)
    assert len(answer) <= 512
    assert next(generated(machine_at(services.CharGen))).startswith(answer)


def test_a_datagram_of_chargen_has_from_0_to_512_characters():
    """RFC 864: "a random number (between 0 and 512) of characters"; here it comes from the microseconds."""
    lengths = {len(answers(services.CharGenDatagram, b"", micro / 1_000_000)[0]) for micro in range(2_000)}
    assert lengths == set(range(513))
