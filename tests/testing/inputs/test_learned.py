"""`check` learns a conversation from recorded files, from several conversations and from rules: faults deep in it."""

import re
from functools import partial

import pytest
from hypothesis import strategies as st

from examples import resp
from handlers.services import Echo
from reactor.testing import CheckFailed, Conversation, Recording, check, rule, takes_plain_numbers_only
from reactor.testing.inputs.learned import conversations
from reactor.testing.running.recorded import HEAD
from tests.support import ledger
from tests.support.ledger import LONG, SESSION, SHORT, Bookkeeper
from tests.support.serving import connect, running, serving

quick = partial(check, modes=[], examples=5)


def failure(kind, conversation, **options):
    """The report, whose printed test fails."""
    with pytest.raises(CheckFailed) as caught:
        quick(kind, conversation, **options)
    report = str(caught.value)
    test = {}
    exec(report[report.index("\n\n") :], test)
    [function] = [value for name, value in test.items() if name.startswith("test_")]
    with pytest.raises((AssertionError, ValueError)):
        function()
    return report


def record(directory, server, messages):
    """A client has sent the messages, each after the answer to the one before it; returns the path of the file."""
    with connect(server) as client:
        for message in messages:
            client.sendall(message)
            if message != b"QUIT\r\n":
                assert client.recv(1_000)
    [path] = directory.iterdir()
    return path


# Recorded files


@pytest.fixture
def session(tmp_path):
    """A recorded session with a ledger."""
    with serving(ledger.Ledger, "select", filters=[partial(Recording, directory=tmp_path)]) as server:
        return record(tmp_path, server, LONG)


def only(name):
    """The properties other than this one, for ``meant``: each is tried elsewhere."""
    tried = []
    check(Echo, b"", modes=[], examples=1, progress=tried.append)
    return [other for line in tried if (other := line.rpartition(", ")[2]) != name]


@pytest.mark.slow
def test_a_recorded_session_leads_to_a_fault_that_all_of_it_at_once_hides(session):
    meant = only("takes_plain_numbers_only")
    quick(ledger.TakesAnyNumberLate, b"".join(LONG), meant=meant)
    report = failure(ledger.TakesAnyNumberLate, session, meant=meant)
    assert f"\n  conversation: {session}, message 34, b'ADD 10\\r\\n'\n" in report
    assert "machine.feed(b'ADD +10\\r\\n')" in report
    quick(ledger.Ledger, session, meant=meant)


def test_a_session_with_an_example_is_learned(tmp_path):
    class Server(resp.Server):
        filters = (partial(Recording, directory=tmp_path),)

    messages = [b"SET n 7\r\n", b"INCR n\r\n", b"RPUSH list a b\r\n", b"LRANGE list 0 -1\r\n"]
    with Server(("127.0.0.1", 0)) as server, running(server):
        path = record(tmp_path, server, messages)
    [told] = conversations(path, packets=False)
    assert told.messages == messages
    [(_, messages)] = conversations([tmp_path], packets=False)
    assert messages == told.messages


def test_each_line_of_a_recorded_file_is_a_packet_for_a_datagram_handler(tmp_path):
    path = tmp_path / "packets"
    packets = [b"ADD 1", b"ADD 2", b"ADD 3", b"ADD 4", b"SUM"]
    path.write_text("\n".join([HEAD, *(f"0.0 received {packet!r}" for packet in packets)]))
    [told] = conversations(path, packets=True)
    assert told.messages == packets
    failure(ledger.PacketRaisesDeep, path, meant=["answers_duplicates_once"])


def test_an_unusable_file_is_named_with_its_line_and_the_remedy(tmp_path):
    path = tmp_path / "bad"
    path.write_text(f"{HEAD}\n0.0 received b'a'\n0.1 got b'b'\n")
    with pytest.raises(ValueError, match=r"bad, line 3: \"0\.1 got b'b'\" is no event; write SECONDS, then received"):
        quick(Echo, path)
    path.write_text(f"{HEAD}\n0.0 sent b'a'\n")
    with pytest.raises(ValueError, match=r"bad: the client sends nothing in it; write lines such as 0\.0 received"):
        quick(Echo, path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        quick(Echo, path)
    with pytest.raises(ValueError, match=r"there is none in .*; filters=\[partial\(Recording, \.\.\.\)\] records some"):
        quick(Echo, tmp_path)


def test_a_raw_file_is_what_the_client_sends(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(b"one\r\n")
    [told] = conversations(path, packets=False)
    assert told.messages == [b"one\r\n"]


# Several conversations


@pytest.mark.slow
def test_the_report_names_the_conversation():
    quick(ledger.RaisesDeep, b"".join(SHORT))
    report = failure(ledger.RaisesDeep, {"short": b"".join(SHORT), "long": SESSION})
    assert "\n  conversation: long\n" in report
    assert "\n  conversation: conversation 2\n" in failure(ledger.RaisesDeep, [[b"QUIT\r\n"], SESSION])


def test_what_is_no_conversation_is_refused():
    for given in "text", 7, [b"a", "b"], {"a": "text"}, Path:
        with pytest.raises(TypeError, match="conversation is bytes, or a list of bytes"):
            quick(Echo, given)
    with pytest.raises(TypeError, match="expected is the output for one conversation"):
        quick(Echo, [[b"a"], [b"b"]], b"a")
    with pytest.raises(ValueError, match=r"there is none in \{\}"):
        quick(Echo, {})


class Path:
    """A class, but no conversation."""


# Rules


@pytest.mark.slow
def test_rules_lead_to_a_fault_that_a_short_conversation_hides():
    quick(ledger.TakesAnyNumber, b"".join(SHORT))
    report = failure(ledger.TakesAnyNumber, Bookkeeper)
    assert "property takes_plain_numbers_only" in report
    assert "COMMIT" not in report


@pytest.mark.slow
def test_an_answer_that_is_not_that_of_the_rule_is_told_with_the_fewest_messages():
    report = failure(ledger.Miscounts, Bookkeeper)
    assert "it answers b'ok 0\\n' to the message b'COMMIT\\r\\n' of the rule commit, not b'ok 30\\n'" in report
    assert report.count("ADD") == 1
    assert "for _ in range(3):" in report


@pytest.mark.slow
@pytest.mark.parametrize("conversation", [SESSION, Bookkeeper, {"a": SHORT, "b": SESSION}])
def test_a_right_handler_is_not_accused(conversation):
    quick(ledger.Ledger, conversation)


@pytest.mark.slow
def test_a_strategy_of_messages_is_a_conversation():
    amounts = st.lists(st.sampled_from([b"ADD 10\n", b"ADD 200\n"]), max_size=5)
    quick(ledger.FramedLedger, amounts)
    report = failure(ledger.FramedTakesAnyNumber, amounts)
    assert "property takes_plain_numbers_only" in report


@pytest.mark.slow
def test_packets_of_rules():
    class Adds(Conversation):
        @rule(amount=st.integers(1, 9))
        def add(self, amount):
            return b"ADD %d" % amount, re.compile(rb"o.")

    quick(ledger.PacketLedger, Adds, meant=["answers_duplicates_once"])
    failure(ledger.PacketRaisesDeep, Adds, meant=["answers_duplicates_once"])


def test_wrong_rules_are_refused():
    class Wrong(Conversation):
        @rule()
        def say(self):
            return "text"

    with pytest.raises(TypeError, match=r"Wrong\.say returns a message \(bytes\), or a tuple of it and its answer"):
        quick(Echo, Wrong)
    with pytest.raises(TypeError, match="Conversation has no rule: mark a method"):
        quick(Echo, Conversation)
    with pytest.raises(TypeError, match="word is a strategy of Hypothesis"):
        rule(word=b"a")
    with pytest.raises(TypeError, match="when is a function"):
        rule(when=True)


# A message with those before it


@pytest.mark.slow
def test_the_messages_before_a_message_that_do_not_matter_are_left_out():
    messages = [*LONG[:2], *[b"NOOP\r\n"] * 3, *LONG[2:]]
    report = failure(ledger.TakesAnyNumberLate, messages, meant=only("takes_plain_numbers_only"))
    assert "NOOP" not in report


def test_a_property_alone_takes_a_conversation_as_before():
    takes_plain_numbers_only(ledger.Ledger, b"".join(SHORT))
