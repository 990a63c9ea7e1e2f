"""`check` tells the handler that trips over duplicates or timeouts from the one that does not, in each pair."""

import pytest

from handlers import DatagramHandler, Packet, StreamHandler, TimedOut, Until
from reactor import testing
from reactor.testing import answers_duplicates_once, answers_no_answer, check, forgives_timeouts
from reactor.testing.running.report import CheckFailed
from tests.support.pairs.lapses import PAIRS, Answers
from tests.support.pasted import assert_red_then_green, assert_told


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        getattr(testing, pair.title)(pair.wrong, pair.conversation)
    assert_told(caught, pair, tmp_path)


@pytest.mark.slow
@pytest.mark.in_turn
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_check_tries_it(pair):
    with pytest.raises(CheckFailed, match=pair.told.partition(" in a row")[0]):
        check(pair.wrong, pair.conversation, modes=[], examples=5)


class Session(DatagramHandler):
    """Answers questions of a client that has said hello, as often as they come."""

    async def handle(self):
        if await Packet() != b"hello":
            return
        while True:
            self.send(b"the answer to " + await Packet())


class Receives(DatagramHandler):
    """Acknowledges each block, also one that comes again: its acknowledgement may have been lost."""

    async def handle(self):
        while (block := await Packet()) != b"last":
            self.send(b"ack" + block[:1])


@pytest.mark.parametrize(
    ("kind", "packets"),
    [(Session, [b"hello", b"a", b"b", b"c"]), (Receives, [b"1 one", b"2 two", b"3 three", b"last"])],
)
def test_questions_and_blocks_may_come_twice(kind, packets):
    answers_duplicates_once(kind, packets)
    forgives_timeouts(kind, packets)


class Blocks(DatagramHandler):
    """Sends three blocks, each four times at most until it is acknowledged. What acknowledges another one is late."""

    timeout = 3

    async def handle(self):
        await Packet()
        for block in b"123":
            if not await self.sent(bytes([block])):
                return

    async def sent(self, block):
        for _ in range(4):
            self.send(block)
            try:
                while await Packet() != block:
                    pass
            except TimedOut:
                continue
            return True
        return False


def test_a_packet_that_comes_late_is_no_progress():
    """The count of timeouts goes on where an old acknowledgement comes again: else who repeats it is never given up."""
    forgives_timeouts(Blocks, [b"all", b"1", b"1", b"2", b"3"])


def test_a_handler_that_answers_anything_has_nothing_to_tell_answers_by():
    answers_no_answer(Answers, [b"1-one", b"2-two"])


class Letters(StreamHandler):
    """Takes letters of forty addresses at most; ``again`` begins the next one."""

    most = 40

    def setup(self):
        self.addresses = 0

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            if line == b"again\n":
                self.begin()
                self.send(b"ok\n")
            elif self.addresses < self.most:
                self.add(line)
                self.send(b"ok\n")
            elif not self.refuse():
                return

    def begin(self):
        """The next letter begins, and the addresses are those of all letters."""

    def add(self, line):
        self.addresses += 1

    def refuse(self):
        self.send(b"too many\n")
        return True


class BeginsAnew(Letters):
    def begin(self):
        self.addresses = 0


class KeepsThem(Letters):
    def setup(self):
        super().setup()
        self.kept = []

    def add(self, line):
        super().add(line)
        self.kept.append(line)


class HangsUp(Letters):
    def refuse(self):
        self.send(b"too many\n")
        return False


def test_a_count_that_is_not_set_back_refuses_what_was_answered_before(tmp_path):
    conversation = b"ada\nbob\nagain\n"
    with pytest.raises(CheckFailed, match="is answered alike 20 times, and otherwise ever after") as caught:
        forgives_timeouts(Letters, conversation)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], Letters, BeginsAnew, tmp_path)
    for right in BeginsAnew, KeepsThem, HangsUp:
        forgives_timeouts(right, conversation)
