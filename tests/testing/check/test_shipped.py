"""A property tells the handler with a fault of production code from the one without it, in each pair of `shipped`."""

import gzip
import zlib

import pytest

from handlers import Exactly, StreamHandler, Until
from reactor import testing as checks
from reactor.testing import bears_any_bomb
from reactor.testing.running.report import CheckFailed
from tests.support.pairs.shipped import PAIRS, assert_told_apart
from tests.support.pasted import assert_red_then_green


@pytest.mark.slow
@pytest.mark.in_turn
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    assert_told_apart(pair, tmp_path)


class Unpacks(StreamHandler):
    """Takes a body that is compressed with gzip, as HTTP has it."""

    most = 0

    async def handle(self):
        head = await Until(b"\n", limit=20)
        tool = zlib.decompressobj(31)
        try:
            body = tool.decompress(await Exactly(int(head)), self.most)
        except zlib.error:
            return
        self.send(b"%d" % len(body))


class UnpacksLittle(Unpacks):
    most = 10_000


def test_a_bomb_has_its_length_in_digits_too(tmp_path):
    packed = gzip.compress(b"hello", mtime=0)
    conversation = b"%d\n" % len(packed) + packed
    with pytest.raises(CheckFailed, match=r"16\d+ bytes, some of which are compressed, make it use \d\d MiB") as caught:
        bears_any_bomb(Unpacks, conversation)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], Unpacks, UnpacksLittle, tmp_path)
    bears_any_bomb(UnpacksLittle, conversation)


QUICK = "takes_one_length_only", "takes_exact_ends_only", "leaves_nothing_behind"


@pytest.mark.slow
@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.holds in QUICK], ids=lambda pair: pair.wrong.__name__)
def test_the_property_alone_tells_them_apart(pair):
    holds = getattr(checks, pair.holds)
    with pytest.raises(CheckFailed, match=f"  property {pair.holds}: "):
        holds(pair.wrong, pair.conversation)
    holds(pair.right, pair.conversation)
