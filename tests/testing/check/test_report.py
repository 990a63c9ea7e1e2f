"""The report of each property: its form, its printed test, and that each can be tried alone and is tried by `check`."""

import operator
import re
import time
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handlers import Delay, StreamHandler, Until
from reactor import testing
from reactor import testing as checks
from reactor.testing import Conversation, Through, check, rule
from reactor.testing.running.report import CheckFailed, sentence_of
from reactor.testing.running.snippets import difference, literal
from tests.support import ledger
from tests.support.behind import FRAMED, XOR, FramedPeer, Lossy, Trusting, XorPeer
from tests.support.pairs import broken, kept, lapses, misread, nested, shipped, thirty, unseen
from tests.support.pairs.kinds import content
from tests.support.pairs.misread import LINES
from tests.support.pairs.thirty import binary, datagrams, http, lines
from tests.support.pasted import assert_red_then_green


class TellsItsServer(StreamHandler):
    async def handle(self):
        self.send(type(self.server).__name__.encode())


class TellsNoServer(StreamHandler):
    async def handle(self):
        self.send(b"NoneType")


class Forgets(StreamHandler):
    def handle(self):
        return Until(b"\n", limit=80), self.line

    def line(self, data):
        self.send(data)
        self.handle()


class Returns(Forgets):
    def line(self, data):
        self.send(data)
        return self.handle()


class Sleeps(StreamHandler):
    def handle(self):
        return Until(b"\n", limit=80), self.line

    def line(self, data):
        self.rest()
        self.send(data)
        return self.handle()

    def rest(self):
        time.sleep(0.1)


class Rests(Sleeps):
    def line(self, data):
        self.send(data)
        return Delay(0.1), self.handle


class TakesTheName(StreamHandler):
    names = {}

    async def handle(self):
        self.name = await Until(b"\n", limit=80)
        self.take()
        await Until(b"\n", limit=80)

    def take(self):
        self.names[self.name] = self

    def finish(self):
        if self.name:
            del self.names[self.name]

    name = b""


class LeavesTheName(TakesTheName):
    def take(self):
        if self.names.setdefault(self.name, self) is not self:
            self.name = b""


class AnswersAnything(StreamHandler):
    async def handle(self):
        while True:
            self.send(self.answer(await Until(b"\n", limit=80)))

    def answer(self, line):
        return line


class AnswersDigits(AnswersAnything):
    def answer(self, line):
        return line if line.strip().isdigit() else b"0\n"


class AsksForDigits(Conversation):
    @rule()
    def ask(self):
        return b"ten\n", re.compile(rb"[0-9]+\n")


class Broken(NamedTuple):
    """A property, a handler that breaks it, the mended handler, and their conversation.

    ``through`` are the filters in front of the two. If the fault is one of a filter, both have the same handler.
    """

    holds: Any
    wrong: type
    right: type
    conversation: Any = LINES
    """``None`` for a property that reads the source."""
    through: Any = ((), ())

    def tried(self, kind, through):
        self.holds(kind, *([] if self.conversation is None else [self.conversation]), *through)


def of_thirty(holds, wrong):
    """The row of the pair of `thirty` with this broken handler."""
    pair = next(pair for pair in thirty.PAIRS if pair.broken is wrong)
    return Broken(holds, wrong, pair.right, pair.conversation)


mended = broken.Mended
in_a_thread = partial(checks.same_in_every_mode, modes=["thread"])
upper = partial(checks.answers, expected=LINES.upper())
through_filters = partial(checks.same_through_filters, examples=10)
TABLE = [
    Broken(checks.drops_no_step, Forgets, Returns, None),
    Broken(checks.calls_nothing_that_blocks, Sleeps, Rests, None),
    Broken(upper, broken.CountsChunks, mended),
    Broken(checks.leaves_nothing_behind, misread.LogsInAll, misread.LogsInOne, misread.LOGIN),
    Broken(checks.leaves_the_process_as_it_was, content.Calculator, content.CalculatorRight, b"PREC 12\nDIV 1 3\n"),
    Broken(checks.bears_two_at_once, TakesTheName, LeavesTheName),
    Broken(checks.same_for_any_chunking, broken.SplitsCRLF, mended),
    Broken(checks.ends_at_any_byte, broken.SwallowsTheEnd, mended),
    Broken(checks.survives_any_input, broken.TrustsTheLength, broken.MendedNetstrings, b"5:hello,"),
    Broken(partial(checks.stays_in_bounds, examples=5), broken.HoardsInput, mended),
    Broken(partial(checks.works_linearly, examples=10), broken.Rescans, mended),
    Broken(checks.same_for_any_chunking_of_faults, misread.LimitsTheRead, misread.LimitsTheLine),
    Broken(checks.same_at_its_limits, misread.AnswersOneMore, misread.AnswersWhatFits, b"\5hello"),
    Broken(checks.stays_in_bounds_when_repeated, kept.KeepsSessions, kept.EndsSessions, kept.GREETED),
    Broken(checks.bears_any_nesting, nested.Documents, nested.DocumentsOfAnyDepth, b'{"a": [1]}\n'),
    Broken(checks.bears_any_bomb, shipped.Inflates, shipped.InflatesLittle, shipped.PACKED),
    Broken(checks.answers_duplicates_once, lapses.SendsAgain, lapses.SendsOnce, lapses.READ),
    Broken(checks.answers_no_answer, lapses.AnswersAnswers, lapses.AnswersQuestions, lapses.ASKED),
    Broken(checks.forgives_timeouts, lapses.MissesBeats, lapses.MissesBeatsInARow),
    Broken(checks.takes_causes_for_ends, misread.AnswersEachCause, misread.AnswersMistakes),
    Broken(checks.ends_if_it_drips, misread.StartsAnewWithEachByte, misread.BoundsTheRate),
    Broken(checks.takes_plain_numbers_only, misread.TakesSigns, misread.TakesDigits, b"5:hello,"),
    Broken(checks.takes_exact_ends_only, misread.TakesAnyDot, misread.TakesTheDot, misread.MAIL),
    Broken(checks.takes_one_length_only, shipped.LastLengthWins, shipped.OneLengthOnly, shipped.POST),
    Broken(checks.bears_any_number, unseen.OneRegisterTooMany, unseen.RegistersAsSpecified, unseen.MODBUS),
    Broken(checks.takes_true_lengths_only, unseen.BelievesTheLengths, unseen.ComparesTheLengths, unseen.PARAMS),
    Broken(checks.skips_what_it_refuses, unseen.ReadsTheRefused, unseen.SkipsTheRefused, unseen.MEMCACHED),
    Broken(checks.matches_in_time, unseen.ChallengesBacktrack, unseen.ChallengesAtOnce, unseen.CHALLENGE),
    Broken(in_a_thread, TellsItsServer, TellsNoServer, b""),
    Broken(through_filters, broken.CountsChunks, mended, LINES, ([XOR], [XOR])),
    Broken(through_filters, mended, mended, b"\0ne\n", ([Through(Lossy, XorPeer)], [XOR])),
    Broken(checks.ends_at_any_byte_of_the_wire, broken.WaitsOutTheEnd, mended, LINES, ([XOR], [XOR])),
    Broken(checks.ends_at_any_byte_of_the_wire, mended, mended, LINES, ([Through(Trusting, FramedPeer)], [FRAMED])),
    Broken(checks.answers_as_told, ledger.Miscounts, ledger.Ledger, ledger.Bookkeeper),
    Broken(checks.answers_as_told, AnswersAnything, AnswersDigits, AsksForDigits),
    of_thirty(checks.bears_any_number, binary.DnsLoop),
    of_thirty(checks.takes_true_lengths_only, binary.HeartbeatBleed),
    of_thirty(checks.takes_exact_ends_only, http.ChunksUnchecked),
    of_thirty(checks.stays_in_bounds_when_repeated, binary.MqttEndless),
    of_thirty(checks.stays_in_bounds_when_repeated, datagrams.StatsdNames),
    of_thirty(checks.same_at_its_limits, lines.BeanstalkdBound),
    of_thirty(checks.answers_duplicates_once, datagrams.UploadTwice),
    of_thirty(checks.has_a_key_for_any_packet, datagrams.ResolverKey),
    of_thirty(checks.splits_no_answer, http.RedirectSplit),
    of_thirty(checks.takes_names_in_any_case, http.SipCase),
]
each_property = pytest.mark.parametrize("row", TABLE, ids=lambda row: function_of(row.holds).__name__)
TWO_ANSWERS = {
    "answers",
    "answers_as_told",
    "ends_at_any_byte_of_the_wire",
    "leaves_nothing_behind",
    "same_for_any_chunking",
    "same_for_any_chunking_of_faults",
    "same_in_every_mode",
    "same_through_filters",
    "takes_names_in_any_case",
}
"""The properties whose fault in ``TABLE`` is the difference of two answers, or of two ends of a request."""


def function_of(holds):
    return holds.func if isinstance(holds, partial) else holds


def test_check_tries_each_property_and_each_is_public():
    tried = set()
    for conversation, expected in (AsksForDigits, None), (LINES, LINES.upper()):
        with pytest.raises(ValueError, match="'none' is not one of") as caught:
            check(mended, conversation, expected, through=XOR, meant=["none"])
        tried.update(re.findall(r"'(\w+)'", str(caught.value).partition("is not one of")[2]))
    assert tried == {function_of(row.holds).__name__ for row in TABLE}
    assert tried < set(testing.__all__)


@pytest.mark.slow
@each_property
def test_a_property_alone_prints_a_test_that_is_red_on_the_fault_and_green_on_its_mending(row, tmp_path):
    given, right = row.through
    with pytest.raises(CheckFailed) as caught:
        row.tried(row.wrong, given)
    report, _, code = str(caught.value).partition("\n\n")
    holds = function_of(row.holds)
    fault, told, *compared, meant = report.split("\n")
    assert fault.startswith(f"{row.wrong.__name__}: ")
    assert told == f"  property {holds.__name__}: {sentence_of(holds)}"
    assert sentence_of(holds).endswith(".")
    if holds.__name__ in TWO_ANSWERS:
        first, got, expected = compared
        assert first.startswith("  first difference")
        assert got.removeprefix("    got      ") != expected.removeprefix("    expected ")
    else:
        assert compared == []
    assert meant.startswith("  if it is meant: ")
    assert meant.endswith(f"check(..., meant=['{holds.__name__}'])")
    assert_red_then_green(code, row.wrong, row.right, tmp_path, given, right)
    row.tried(row.right, right)


def test_two_answers_are_shown_about_their_first_difference():
    class Wrong(StreamHandler):
        async def handle(self):
            self.send(b"0123456789" * 8 + b" ends here, and not there" * 2)

    with pytest.raises(CheckFailed) as caught:
        checks.answers(Wrong, b"", b"0123456789" * 8 + b" ends there")
    assert str(caught.value).partition("\n\n")[0].split("\n")[2:5] == [
        "  first difference at byte 86:",
        "    got      … b'4567890123456789 ends ' b'here, and not there en' …",
        "    expected … b'4567890123456789 ends ' b'there'",
    ]


LETTERS = st.sampled_from([b"a", b"ab", b":"])
RUNS = st.tuples(LETTERS, st.one_of(st.integers(0, 3), st.integers(46, 50), st.integers(95, 99)))
RUNS_OF_BYTES = st.lists(RUNS, max_size=3).map(lambda runs: b"".join(letters * times for letters, times in runs))


@given(st.one_of(RUNS_OF_BYTES, st.builds(operator.mul, st.lists(RUNS_OF_BYTES, max_size=2), st.integers(0, 60))))
def test_source_text_of_bytes_and_lists_has_their_value(value):
    assert eval(literal(value)) == value


@example(47)
@example(48)
@example(49)
@given(st.integers(1, 10_000))
def test_a_run_of_any_length_has_source_text(times):
    for value in (b"a" * times, b"1:" + b"a" * times + b","):
        assert eval(literal(value)) == value
        assert len(literal(value)) < 80


def test_what_differs_may_be_packets_or_how_a_request_has_ended():
    long = b"0123456789" * 3
    assert difference([b"a", long + b"b"], [b"a", long + b"c"])[0] == " in packet 1, at byte 30"
    assert difference([b"a"], [b"a", b"b"]) == (" in packet 1", "no packet", "b'b'")
    assert difference("the request is open", "the request has ended normally")[0] == ""


@pytest.mark.slow
def test_the_report_says_what_to_declare():
    with pytest.raises(CheckFailed, match=r"if it is meant: kept=\d+ \(bytes\), or check"):
        checks.stays_in_bounds(broken.HoardsInput, LINES, examples=5)
    with pytest.raises(CheckFailed, match=r"if it is meant: modes=\[\.\.\.\], or check"):
        in_a_thread(TellsItsServer, b"")
    with pytest.raises(CheckFailed, match=r"if it is meant: has_end = False \(of the Peer\), or check"):
        checks.ends_at_any_byte_of_the_wire(mended, LINES, Through(Trusting, FramedPeer))
    with pytest.raises(CheckFailed, match=r"if it is meant: the rule ask returns only its message, or check"):
        checks.answers_as_told(AnswersAnything, AsksForDigits)


@pytest.mark.slow
def test_what_a_report_says_to_write_is_taken():
    check(misread.LogsInAll, misread.LOGIN, modes=[], examples=5, meant=["leaves_nothing_behind"])


class EndlessPeer(FramedPeer):
    has_end = False


@pytest.mark.slow
def test_what_a_report_says_of_filters_and_rules_is_taken():
    class Asks(Conversation):
        @rule()
        def ask(self):
            return b"ten\n"

    checks.ends_at_any_byte_of_the_wire(mended, LINES, Through(Trusting, EndlessPeer))
    checks.answers_as_told(AnswersAnything, Asks)
    meant = ["answers_as_told", "same_through_filters", "ends_at_any_byte_of_the_wire"]
    check(AnswersAnything, AsksForDigits, through=Through(Lossy, FramedPeer), modes=[], examples=2, meant=meant)


class EndsOnPurpose(Returns):
    """Has the answer of the base class, and ends."""

    def line(self, data):
        super().line(data)
        return


def test_a_step_that_a_return_stands_behind_is_dropped_on_purpose():
    with pytest.raises(CheckFailed, match="or write `return None` behind it to end"):
        checks.drops_no_step(Forgets)
    checks.drops_no_step(EndsOnPurpose)
