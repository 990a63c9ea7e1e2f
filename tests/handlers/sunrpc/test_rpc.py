"""RPC at the level of bytes: each arm of a reply, authentication, record marking, datagrams. No network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramMachine, LimitPassed, StreamMachine, World
from handlers.sunrpc.message import Refused, read_call
from handlers.sunrpc.record import mark
from reactor.testing import check
from tests.support.rpc import (
    OTHER,
    Calculator,
    Datagram,
    Stream,
    auth,
    auth_sys,
    call,
    datagram,
    finish_calls,
    records,
    run,
    streamed,
    words,
    world,
)

PLAIN = {
    "null": (call(1, 0), words(1, 1, 0, 0, 0, 0)),
    "null of the other version": (call(1, 0, version=3), words(1, 1, 0, 0, 0, 0)),
    "null, declared nowhere": (call(1, 0, version=2, program=OTHER), words(1, 1, 0, 0, 0, 0)),
    "add": (call(0xFFFFFFFF, 1, words(2, 3)), words(0xFFFFFFFF, 1, 0, 0, 0, 0, 5)),
    "add of the other version": (call(2, 1, words(0, 2, 1, 0), version=3), words(2, 1, 0, 0, 0, 0, 1, 2)),
    "another program": (call(3, 1, words(2), version=2, program=OTHER), words(3, 1, 0, 0, 0, 0, -2)),
    "RPC_MISMATCH": (call(4, 1, words(2, 3), rpc_version=3), words(4, 1, 1, 0, 2, 2)),
    "RPC_MISMATCH, and nothing more": (call(4, 1, rpc_version=1)[:12], words(4, 1, 1, 0, 2, 2)),
    "PROG_UNAVAIL": (call(5, 1, program=7), words(5, 1, 0, 0, 0, 1)),
    "PROG_MISMATCH": (call(6, 1, version=2), words(6, 1, 0, 0, 0, 2, 1, 3)),
    "PROG_MISMATCH for procedure 0": (call(6, 0, version=0xFFFFFFFF), words(6, 1, 0, 0, 0, 2, 1, 3)),
    "PROC_UNAVAIL": (call(7, 99), words(7, 1, 0, 0, 0, 3)),
    "PROC_UNAVAIL, not defined": (call(7, 5, words(1)), words(7, 1, 0, 0, 0, 3)),
    "GARBAGE_ARGS, too few": (call(8, 1, words(2)), words(8, 1, 0, 0, 0, 4)),
    "GARBAGE_ARGS, too many": (call(8, 1, words(2, 3, 4)), words(8, 1, 0, 0, 0, 4)),
    "GARBAGE_ARGS, no header": (call(8, 1)[:8], words(8, 1, 0, 0, 0, 4)),
    "GARBAGE_ARGS, no credential": (call(8, 1)[:24], words(8, 1, 0, 0, 0, 4)),
    "GARBAGE_ARGS, part of a credential": (call(8, 1, credential=auth(1, bytes(20), 400)), words(8, 1, 0, 0, 0, 4)),
    "GARBAGE_ARGS, no verifier": (call(8, 1)[:-8], words(8, 1, 0, 0, 0, 4)),
    "AUTH_SYS": (call(9, 7, credential=auth_sys(501, range(16))), words(9, 1, 0, 0, 0, 0, 501)),
    "AUTH_SYS, longest name": (
        call(9, 7, credential=auth_sys(501, name=b"n" * 255)),
        words(9, 1, 0, 0, 0, 0, 501),
    ),
    "AUTH_NONE with a body": (call(9, 1, words(2, 3), credential=auth(0, b"12345")), words(9, 1, 0, 0, 0, 0, 5)),
    "AUTH_TOOWEAK": (call(10, 7), words(10, 1, 1, 1, 5)),
    "AUTH_BADCRED, 17 groups": (call(11, 7, credential=auth_sys(501, range(17))), words(11, 1, 1, 1, 1)),
    "AUTH_BADCRED, name of 256": (call(11, 7, credential=auth_sys(1, name=b"n" * 256)), words(11, 1, 1, 1, 1)),
    "AUTH_BADCRED, cut": (call(11, 7, credential=auth(1, words(1, 2))), words(11, 1, 1, 1, 1)),
    "AUTH_BADCRED, bytes after it": (call(11, 7, credential=auth(1, auth_sys()[8:] + words(1))), words(11, 1, 1, 1, 1)),
    "AUTH_BADCRED, 401 bytes": (call(11, 1, credential=auth(0, bytes(401))), words(11, 1, 1, 1, 1)),
    "AUTH_BADCRED, 4 GiB": (call(11, 1, credential=auth(0, b"", 0xFFFFFFFF)), words(11, 1, 1, 1, 1)),
    "AUTH_BADCRED, length not that of its parts": (
        call(11, 1, credential=auth(1, auth_sys()[8:], len(auth_sys()) - 9)),
        words(11, 1, 1, 1, 1),
    ),
    "AUTH_BADCRED, padding": (call(11, 1, credential=auth(0, b"abcd", 3)), words(11, 1, 1, 1, 1)),
    "AUTH_BADVERF, padding": (call(12, 1, verifier=auth(0, b"abcd", 1)), words(12, 1, 1, 1, 3)),
    "AUTH_BADCRED, unknown flavour": (call(11, 1, credential=auth(77, b"")), words(11, 1, 1, 1, 1)),
    "AUTH_BADVERF, flavour": (call(12, 1, verifier=auth(1, b"")), words(12, 1, 1, 1, 3)),
    "AUTH_BADVERF, 401 bytes": (call(12, 1, verifier=auth(0, bytes(401))), words(12, 1, 1, 1, 3)),
    "verifier of 400 bytes": (call(12, 1, words(2, 3), verifier=auth(0, bytes(400))), words(12, 1, 0, 0, 0, 0, 5)),
    "SYSTEM_ERR, a cause": (call(13, 4, words(1)), words(13, 1, 0, 0, 0, 5)),
    "AUTH_REJECTEDCRED of a procedure": (call(13, 4, words(2)), words(13, 1, 1, 1, 2)),
    "no reply": (call(14, 6, words(2)), None),
    "a reply": (words(15, 1, 0, 0, 0, 0), None),
    "a reply that looks like a call": (call(15, 1, words(2, 3), kind=1), None),
    "neither call nor reply": (call(15, 0, kind=2), None),
    "seven bytes": (call(16, 0)[:7], None),
    "three bytes": (b"abc", None),
    "no bytes": (b"", None),
}
cases = pytest.mark.parametrize(("request_", "reply"), PLAIN.values(), ids=PLAIN)


@cases
def test_stream(request_, reply):
    machine, answered = streamed(mark(request_) + mark(call(99, 1, words(4, 5))))
    replies = [] if reply is None else [reply]
    assert sorted(answered) == sorted([*replies, words(99, 1, 0, 0, 0, 0, 9)])  # it is usable after each
    assert not machine.finished


@cases
def test_datagram(request_, reply):
    assert datagram(request_) == ([] if reply is None else [reply])


def test_an_exception_is_answered_and_raised():
    for when, error in ((0, "on purpose"), (3, "on purpose, later")):
        outside = world()
        machine = StreamMachine(Stream(), outside)
        machine.feed(mark(call(1, 4, words(when))))
        [(handler, packet, answer)] = outside.calls
        made = DatagramMachine(handler, world())
        with pytest.raises(ArithmeticError, match=error):
            run(made, packet)
        answer(made.read())
        assert records(machine.read()) == [words(1, 1, 0, 0, 0, 5)]
        machine = DatagramMachine(Datagram(), world())
        with pytest.raises(ArithmeticError, match=error):
            run(machine, call(when, 4, words(when)))
        assert machine.read() == words(when, 1, 0, 0, 0, 5)


def test_a_result_that_has_no_encoding_is_an_exception():
    machine = DatagramMachine(Datagram(), world())
    with pytest.raises(Exception, match="format requires"):
        machine.feed(call(1, 1, words(0x7FFFFFFF, 1)))
    assert machine.read() == words(1, 1, 0, 0, 0, 5)


def test_two_classes_for_one_version_are_refused():
    with pytest.raises(ValueError, match="two classes serve version 1 of program 536871203"):
        type("Both", (Stream,), {"versions": (Calculator, type("Again", (Calculator,), {}))})


def test_the_table_shows_the_state_of_a_procedure():
    machine = DatagramMachine(Datagram(), world())
    machine.feed(call(20, 2, words(1) + b"a\0\0\0" + words(1)))
    assert machine.state_name == "<lambda>"
    assert (machine.handler.procedures if hasattr(machine.handler, "procedures") else None) is None


# Record marking


def fragments(record, *sizes):
    """The record in fragments of these sizes and a last one with the rest."""
    data, start = b"", 0
    for size in sizes:
        size = min(size, len(record) - start)
        data += size.to_bytes(4, "big") + record[start : start + size]
        start += size
    return data + mark(record[start:])


ADD = call(1, 1, words(2, 3))
SUM = words(1, 1, 0, 0, 0, 0, 5)


@pytest.mark.parametrize("sizes", [(1,), (0,), (0, 0, 5), (len(ADD),), (1,) * len(ADD), (7, 0, 13), (0,) * 1023])
def test_a_record_in_fragments(sizes):
    assert streamed(fragments(ADD, *sizes) * 2)[1] == [SUM, SUM]


@given(st.lists(st.integers(0, 9), max_size=12), st.lists(st.integers(1, 60), max_size=8))
def test_any_fragments_in_any_pieces(sizes, cuts):
    data = fragments(ADD, *sizes) + mark(call(2, 99)) + fragments(ADD, 3)
    outside = world()
    machine, output, start = StreamMachine(Stream(), outside), b"", 0
    for cut in [*cuts, len(data)]:
        machine.feed(data[start : start + cut])
        output += machine.read() + finish_calls(machine, outside)
        start += cut
    assert sorted(records(output)) == sorted([SUM, SUM, words(2, 1, 0, 0, 0, 3)])


class Small(Stream):
    max_record = len(ADD)
    max_fragments = 5


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        mark(ADD + bytes(1)),
        fragments(ADD + bytes(1), 1),
        fragments(ADD + bytes(1), len(ADD)),
        bytes(4) * 5,
        bytes(4 * 100_000),
        fragments(ADD, 1, 1, 1, 1, 1),
    ],
)
def test_a_record_past_a_bound_ends_the_connection(data):
    machine, answered = streamed(fragments(ADD, 1, 1, 1, 1) + data, Small)
    assert isinstance(machine.reason, LimitPassed)
    assert answered in ([SUM], [])


def test_a_record_at_its_bounds():
    machine, answered = streamed(fragments(ADD, 1, 1, 1, len(ADD) - 3) + mark(ADD), Small)
    assert answered == [SUM, SUM]
    assert not machine.finished


@pytest.mark.parametrize("cut", [1, 4, 5, 4 + 7, 4 + 7 + 2])
def test_an_end_within_a_record_is_an_error(cut):
    machine = StreamMachine(Stream(), world())
    machine.feed(fragments(ADD, 7)[:cut])
    machine.end()
    assert machine.reason is not None


# Duplicate requests


def test_a_call_that_comes_again_is_answered_with_the_same_bytes():
    again, other = call(30, 9), call(31, 9)
    first = datagram(again)
    assert datagram(again) == first
    assert datagram(other) != first
    assert datagram(call(30, 9, credential=auth_sys())) != first


def test_another_peer_or_the_same_later_makes_the_call_again():
    request = call(40, 9)
    [first] = datagram(request)
    replies = [first]
    for peer, now in ((("127.0.0.1", 2), 1000), (("127.0.0.1", 1), 1061), (("127.0.0.1", 1), 1121.5)):
        replies += datagram(request, outside=World(peer, now=lambda now=now: float(now)))
    assert len(set(replies)) == 4


def test_a_reply_from_before_the_clock_was_set_back_keeps_no_other_reply_longer():
    datagram(call(41, 9), outside=World(("127.0.0.1", 1), now=lambda: 2e9))
    request = call(42, 9)
    replies = [datagram(request, outside=World(("127.0.0.1", 1), now=lambda now=now: now))[0] for now in (1e3, 1061.0)]
    assert len(set(replies)) == 2


def test_a_call_that_comes_again_while_it_is_made_is_dropped():
    request = call(50, 3, words(5))
    made = DatagramMachine(Datagram(), world())
    made.feed(request)
    assert datagram(request) == []
    made.expire()
    assert made.read() == words(50, 1, 0, 0, 0, 0, 5)
    assert datagram(request) == [words(50, 1, 0, 0, 0, 0, 5)]


def test_the_age_of_a_reply_is_counted_from_the_answer():
    times, request = iter((1000.0, 1100.0, 1130.0, 1170.0)), call(51, 3, words(5))
    made = DatagramMachine(Datagram(), World(("127.0.0.1", 1), now=lambda: next(times)))
    made.feed(request)
    made.expire()
    for is_kept in (True, False):
        again = DatagramMachine(Datagram(), World(("127.0.0.1", 1), now=lambda: next(times)))
        again.feed(request)
        assert again.finished == is_kept


def test_a_call_that_ended_without_a_reply_is_made_again():
    class Quiet(Calculator):
        def setup(self):
            self.begun.append(self.called.xid)

    Quiet.begun = []
    kind = type("Quiets", (Datagram,), {"versions": (Quiet,)})
    for _ in range(2):
        assert datagram(call(60, 6, words(1)), kind) == []
    assert Quiet.begun == [60, 60]


def test_the_cache_is_bounded_and_can_be_turned_off():
    few = type("Few", (Datagram,), {"max_replies": 3})
    firsts = [datagram(call(xid, 9), few) for xid in range(5)]
    assert len(few._replies) == 3
    assert [datagram(call(xid, 9), few) for xid in (2, 3, 4)] == firsts[2:]
    assert datagram(call(0, 9), few) != firsts[0]
    none = type("None_", (Datagram,), {"max_replies": 0})
    assert datagram(call(0, 9), none) != datagram(call(0, 9), none)


def test_a_reply_that_no_datagram_holds_is_an_error():
    most = 65_504 - 28
    [reply] = datagram(call(70, 8, words(most)))
    assert len(reply) == 65_504
    machine = DatagramMachine(Datagram(), world())
    with pytest.raises(ValueError, match="does not fit in a datagram"):
        machine.feed(call(71, 8, words(most + 1)))
    assert machine.read() == words(71, 1, 0, 0, 0, 5)


# Anything


@given(st.binary(max_size=200))
def test_any_bytes_are_a_call_or_refused(data):
    try:
        reply = read_call(data) and None
    except Refused as refused:
        reply = refused.reply
    assert reply is None or reply[:8] == data[:4] + words(1)


ALL = [request for request, _ in PLAIN.values()]


@given(
    st.sampled_from(ALL), st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4),
    st.integers(0, 200), st.binary(max_size=12),
)  # fmt: skip
def test_mutated_calls_raise_nothing_but_what_the_procedures_raise(request_, changes, cut, tail):
    data = bytearray(request_[:cut] + tail)
    for place, byte in changes:
        if place < len(data):
            data[place] = byte
    if data[20:24] in (words(4), words(8)):  # FAIL raises; FILL may make much
        data[23] = 1
    for answers in (streamed(mark(bytes(data)))[1], datagram(bytes(data))):
        assert len(answers) <= 1
        assert all(answer[:8] == data[:4] + words(1) for answer in answers)


AT_ONCE = {"RPC_MISMATCH", "PROG_UNAVAIL", "PROG_MISMATCH", "AUTH_BADCRED", "AUTH_BADVERF", "a reply", "three bytes"}
ALONE = [request for name, (request, _) in PLAIN.items() if name.split(",")[0] in AT_ONCE]


@pytest.mark.slow
def test_check_finds_nothing():
    check(Stream, b"".join(map(mark, ALL[:9])), examples=5)  # those that end at once: check makes no calls of a handler
    check(Datagram, ALONE, examples=5)
