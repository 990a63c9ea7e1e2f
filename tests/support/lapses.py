"""Pairs of handlers, one that trips over duplicates or timeouts, and one that does not."""

from handlers import DatagramHandler, Packet, StreamHandler, TimedOut, Until

from .misread import LINES, Pair

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


TWICE = "answers_duplicates_once", "it answers a packet that comes twice with the next packet twice"
QUIET = "forgives_timeouts", "it bears {} timeouts in a row, but not as many again"

PAIRS = [
    Pair(SendsAgain, SendsOnce, READ, *TWICE),
    Pair(CountsAllTimeouts, CountsTimeoutsInARow, READ, QUIET[0], QUIET[1].format(3)),
    Pair(MissesBeats, MissesBeatsInARow, LINES, QUIET[0], QUIET[1].format(2)),
]
