"""`works_linearly` tells work of functions in C, wherever what they go over is held.

The pairs are those of `pairs.growing`. The property measures processor time, and accuses where the last of many
messages cost several times as much as those before. In these pairs they cost at least twice what it takes to be
accused, so a busy machine does not matter.
"""

import re

import pytest

from handlers import DatagramHandler, Packet
from reactor.testing import works_linearly
from reactor.testing.running.report import CheckFailed
from tests.support.pairs.growing import LINES, PAIRS, Recent, Repeats
from tests.support.pasted import assert_red_then_green

pytestmark = pytest.mark.slow

RIGHT = {Recent: LINES, Repeats: LINES, **{pair.right: pair.conversation for pair in PAIRS}}


@pytest.mark.in_turn
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_work_of_functions_in_c_is_found_wherever_its_objects_are(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        works_linearly(pair.wrong, pair.conversation, examples=5)
    message, _, code = str(caught.value).partition("\n\n")
    # Where all messages come in one read, the handler runs more lines than any input may cost.
    told = (
        r"of \d+ pieces like b'.*' the last take it \d+ microseconds |four times as many bytes cost far more"
        r"|of four times as many bytes it copies \d+ times as many"
    )
    assert re.match(f"{pair.wrong.__name__}: ({told}|it does not return: over )", message)
    assert_red_then_green(code, pair.wrong, pair.right, tmp_path)


@pytest.mark.parametrize("right", RIGHT, ids=lambda right: right.__name__)
def test_a_right_handler_that_keeps_what_comes_is_not_accused(right):
    works_linearly(right, RIGHT[right], examples=5)


class Attributes(DatagramHandler):
    """Counts attributes, each with its length in front; one of the length 0 has no end."""

    is_right = False

    def handle(self):
        return Packet(), self.take

    def take(self, packet):
        place = count = 0
        while place < len(packet) and (packet[place] or not self.is_right):
            place += packet[place]
            count += 1
        self.send(b"%d" % count)
        return self.handle()


class AttributesRight(Attributes):
    is_right = True


def test_a_handler_that_does_not_return_is_ended_and_told(tmp_path):
    with pytest.raises(CheckFailed, match="it does not return") as caught:
        works_linearly(Attributes, [b"\2a\3bc\4def"], examples=2)
    works_linearly(AttributesRight, [b"\2a\3bc\4def"], examples=2)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], Attributes, AttributesRight, tmp_path)
