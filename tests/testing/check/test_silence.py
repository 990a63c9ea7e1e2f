"""What a handler makes of silence: it may ask and count, but not take the end of the stream for silence."""

import pytest

from handlers import EndOfStream, Exactly, StreamHandler, TimedOut, Until
from reactor.testing import forgives_timeouts, takes_causes_for_ends
from reactor.testing.running.report import CheckFailed


class Asks(StreamHandler):
    """Adds up lines. A quiet client is asked twice whether it is there."""

    timeout = 5
    silence: tuple[type[Exception], ...] = (TimedOut, EndOfStream)

    async def handle(self):
        asked, lines = 0, 0
        while asked < 3:
            try:
                await Until(b"\n", limit=80)
            except self.silence:  # noqa: PERF203  # each line may time out
                asked += 1
                self.send(self.told(lines))
                lines = 0
            else:
                lines += 1

    def told(self, lines):
        return b"are you there?\n"


class AsksTheSilent(Asks):
    silence = (TimedOut,)


class Reports(Asks):
    """Tells how many lines have come since the last time: what is held must be told at the end too."""

    def told(self, lines):
        return b"%d lines\n" % lines if lines else b""


def test_the_end_of_the_stream_is_no_silence():
    with pytest.raises(CheckFailed, match="answers the end of the stream as it answers silence"):
        takes_causes_for_ends(Asks, b"one\ntwo\n")


@pytest.mark.parametrize("kind", [AsksTheSilent, Reports])
def test_the_silent_may_be_asked_and_what_is_held_may_be_told_at_the_end(kind):
    takes_causes_for_ends(kind, b"one\ntwo\n")


class Beats(StreamHandler):
    """Answers numbers of two bytes. Of a session it forgives two silences."""

    timeout = 5
    resets = False

    async def handle(self):
        missed = 0
        while missed < 3:
            try:
                self.send(await Exactly(2))
            except TimedOut:  # noqa: PERF203  # each number may time out
                missed += 1
            else:
                missed = 0 if self.resets else missed


class BeatsAnew(Beats):
    resets = True


def test_messages_without_lines_may_have_silences_between_them():
    with pytest.raises(CheckFailed, match="it bears 2 timeouts in a row, but not as many again"):
        forgives_timeouts(Beats, b"\0\1\0\2\0\3")
    forgives_timeouts(BeatsAnew, b"\0\1\0\2\0\3")
