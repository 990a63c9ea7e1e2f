"""Pairs of handlers, one that trips over duplicates or timeouts, and one that does not."""

from handlers import DatagramHandler, Packet, StreamHandler, TimedOut, Until
from tests.support.pairs.misread import LINES, Pair

READ = [b"read", b"ack 1", b"ack 2", b"ack 3"]


class SendsAgain(DatagramHandler):
    """Sends a file of four blocks; sends the block again for any packet that does not acknowledge it."""

    timeout = 5
    answers_all = True

    async def handle(self):
        await Packet()
        for number in range(1, 5):
            self.send(b"block %d" % number)
            while (packet := await Packet()) != b"ack %d" % number:
                if self.answers_all or packet == b"again":
                    self.send(b"block %d" % number)


class SendsOnce(SendsAgain):
    answers_all = False


class CountsAllTimeouts(DatagramHandler):
    """Sends a block again up to three times, and the count is that of the whole exchange."""

    timeout = 5
    resets = False

    async def handle(self):
        await Packet()
        number, count = 1, 0
        self.send(b"block 1")
        while number < 5:
            try:
                is_next = await Packet() == b"ack %d" % number
            except TimedOut:
                count += 1
                if count > 3:
                    return
            else:
                if not is_next:
                    continue
                number += 1
                count = 0 if self.resets else count
            self.send(b"block %d" % number)


class CountsTimeoutsInARow(CountsAllTimeouts):
    resets = True


class MissesBeats(StreamHandler):
    """Asks a quiet client whether it is alive, twice in the whole session."""

    timeout = 5
    resets = False

    async def handle(self):
        missed = 0
        while missed < 3:
            try:
                self.send((await Until(b"\n", limit=80)).upper())
            except TimedOut:  # noqa: PERF203  # each line may time out
                missed += 1
                self.send(b"alive?\r\n")
            else:
                missed = 0 if self.resets else missed


class MissesBeatsInARow(MissesBeats):
    resets = True


class AnswersAnswers(DatagramHandler):
    """Tells what it knows of a name: a kind, a name, and behind that a value. Takes an answer for a question."""

    kinds = b"\1\2"

    def handle(self):
        return Packet(), self.packet

    def packet(self, packet):
        if packet[:1] and packet[:1] in self.kinds and packet[1:2] == b"/":
            name, _, value = packet[1:].partition(b"=")
            self.send(b"\2" + name + b"=" + (b"known" if value else b"unknown"))


class AnswersQuestions(AnswersAnswers):
    kinds = b"\1"


class Answers(DatagramHandler):
    """Answers anything that has a number, its own answers too: it has nothing to tell them by."""

    async def handle(self):
        packet = await Packet()
        if len(packet) > 2:
            self.send(packet[:2] + packet[:1:-1] + b"!")


ASKED = [b"\1/a", b"\1/b"]
TWICE = "answers_duplicates_once", "it answers a packet that comes twice with the next packet twice"
ROUND = "answers_no_answer", "it answers its own answer, and the answer to that, and so on"
QUIET = "forgives_timeouts", "it bears {} timeouts in a row, but not as many again"

PAIRS = [
    Pair(SendsAgain, SendsOnce, READ, *TWICE),
    Pair(AnswersAnswers, AnswersQuestions, ASKED, *ROUND),
    Pair(CountsAllTimeouts, CountsTimeoutsInARow, READ, QUIET[0], QUIET[1].format(3)),
    Pair(MissesBeats, MissesBeatsInARow, LINES, QUIET[0], QUIET[1].format(2)),
]
