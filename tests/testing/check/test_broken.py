"""`check` finds the bug of each handler of `tests.support.pairs.broken`, and prints the smallest test that shows it.

The printed test is given here literally; it is also run, against the broken handler and a correct one.
"""

import re

import pytest

from handlers import DatagramHandler, Packet
from reactor import testing as checks
from reactor.testing import check
from reactor.testing.running.report import CheckFailed
from tests.support.pairs import broken
from tests.support.pairs.broken import CONVERSATION
from tests.support.pasted import assert_red_then_green

CAUGHT = {
    "SplitsCRLF": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(SplitsCRLF())
        whole.feed(b'one\r\n')
        machine = StreamMachine(SplitsCRLF())
        machine.feed(b'one\r')
        machine.feed(b'\n')
        assert machine.read() == whole.read()  # b'ONE\r\r\n', not b'ONE\r\n'
        """,
    ),
    "SearchesOneTooFar": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(SearchesOneTooFar())
        whole.feed(b'one\r\n')
        machine = StreamMachine(SearchesOneTooFar())
        machine.feed(b'one\r')
        machine.feed(b'\n')
        assert machine.read() == whole.read()  # b'', not b'ONE\r\n'
        """,
    ),
    "LosesRemainder": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(LosesRemainder())
        whole.feed(b'one\r\ntwo\r\n')
        machine = StreamMachine(LosesRemainder())
        machine.feed(b'one\r\nt')
        machine.feed(b'wo\r\n')
        assert machine.read() == whole.read()  # b'ONE\r\nWO\r\n', not b'ONE\r\nTWO\r\n'
        """,
    ),
    "RemembersOnePiece": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(RemembersOnePiece())
        whole.feed(b'one\r\n')
        machine = StreamMachine(RemembersOnePiece())
        machine.feed(b'one')
        machine.feed(b'\r')
        machine.feed(b'\n')
        assert machine.read() == whole.read()  # b'\r\n', not b'ONE\r\n'
        """,
    ),
    "Rescans": (
        "works_linearly",
        r"""
        short = work(Rescans, [b'a'] * 128 + [END])
        long = work(Rescans, [b'a'] * 512 + [END])
        assert long <= 6 * short
        """,
    ),
    "HoardsInput": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(HoardsInput())
        for _ in range(33):
            machine.feed(b'a' * 4096)
        assert held(machine) <= 135168
        """,
    ),
    "SwallowsTheEnd": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(SwallowsTheEnd())
        machine.feed(b'one\r\n')
        machine.end()  # RuntimeError: SwallowsTheEnd goes round in handle:LINE without taking …
        """,
    ),
    "WaitsOutTheEnd": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(WaitsOutTheEnd())
        machine.feed(b'o')
        machine.end()
        for _ in range(200):
            machine.expire()
        assert machine.finished
        """,
    ),
    "SharesItsBuffer": (
        "leaves_nothing_behind",
        r"""
        other = StreamMachine(SharesItsBuffer())
        other.feed(b'o')
        machine = StreamMachine(SharesItsBuffer())
        machine.feed(b'one\r\n')
        assert machine.read() == b'ONE\r\n'
        """,
    ),
    "HangsOnAnEmptyLine": (
        "survives_any_input",
        r"""
        machine = StreamMachine(HangsOnAnEmptyLine())
        with line_limit(200_100):
            machine.feed(b'\n')  # does not return
        """,
    ),
    "NeverTiresOfWaiting": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(NeverTiresOfWaiting())
        machine.advance()
        assert machine.patience <= 31_536_000  # a year
        """,
    ),
    "SulksForEver": (
        "survives_any_input",
        r"""
        machine = StreamMachine(SulksForEver())
        machine.feed(b'\n')
        for _ in range(200):
            machine.expire()
        assert machine.finished
        """,
    ),
    "TrustsTheLength": (
        "survives_any_input",
        r"""
        machine = StreamMachine(TrustsTheLength())
        machine.feed(b':')  # ValueError: invalid literal for int() with base 10: b''
        """,
    ),
    "CountsChunks": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(CountsChunks())
        whole.feed(b'on')
        machine = StreamMachine(CountsChunks())
        machine.feed(b'o')
        machine.feed(b'n')
        assert machine.read() == whole.read()  # b'1 1 ', not b'2 '
        """,
    ),
    "ReadsOn": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(buffered(ReadsOn, packets=False)(), World(peer=('127.0.0.1', 50000)))
        machine.feed(b'one\r\n')  # EOFError: ReadsOn reads 5 bytes, and 0 bytes are left of its …
        """,
    ),
    "ExpectsOrder": (
        "survives_any_input",
        r"""
        machine = DatagramMachine(ExpectsOrder())
        machine.feed(b'2')  # ValueError: the second part before the first
        """,
    ),
    "RescansALocalArray": (
        "works_linearly",
        r"""
        short = work(RescansALocalArray, [b'a'] * 128 + [END])
        long = work(RescansALocalArray, [b'a'] * 512 + [END])
        assert long <= 6 * short
        """,
    ),
    "RescansText": (
        "works_linearly",
        r"""
        short = work(RescansText, [b'a'] * 128 + [END])
        long = work(RescansText, [b'a'] * 512 + [END])
        assert long <= 6 * short
        """,
    ),
    "WaitsForEverLater": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(WaitsForEverLater())
        machine.feed(b'\n')
        assert machine.patience <= 31_536_000  # a year
        """,
    ),
    "TakesAnyLengthLater": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(TakesAnyLengthLater())
        machine.feed(b'\n')
        assert machine.wait.limit <= 16777216
        """,
    ),
    "SleepsAsLongAsToldTo": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(SleepsAsLongAsToldTo())
        machine.feed(b'99999999\n')
        assert machine.patience <= 31_536_000  # a year
        """,
    ),
    "SleepsForEver": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(SleepsForEver())
        machine.feed(b'one\r\n')
        machine.end()
        assert machine.finished
        """,
    ),
    "SwallowsTheTimeout": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(SwallowsTheTimeout())
        machine.advance()
        for _ in range(200):
            machine.expire()
        assert machine.finished
        """,
    ),
    "RaisesWhenMuchComes": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(RaisesWhenMuchComes())
        machine.feed(b'a' * 4096)  # ValueError: line too long
        """,
    ),
    "Recurses": (
        "works_linearly",
        r"""
        machine = StreamMachine(Recurses())
        for _ in range(2048):
            machine.feed(b'a')
        machine.end()  # RecursionError: maximum recursion depth exceeded
        """,
    ),
    "JudgesTheFirstChunk": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(JudgesTheFirstChunk())
        whole.feed(b'one\r\n')
        machine = StreamMachine(JudgesTheFirstChunk())
        machine.feed(b'o')
        machine.feed(b'ne\r\n')
        assert machine.read() == whole.read()  # b'', not b'ONE\r\n'
        """,
    ),
    "SharesADefault": (
        "leaves_nothing_behind",
        r"""
        other = StreamMachine(SharesADefault())
        other.feed(b'o')
        machine = StreamMachine(SharesADefault())
        machine.feed(b'one\r\n')
        assert machine.read() == b'ONE\r\n'
        """,
    ),
    "TellsTheTime": (
        "leaves_nothing_behind",
        r"""
        first = StreamMachine(TellsTheTime())
        first.feed(b'one\r\ntwo\r\n')
        again = StreamMachine(TellsTheTime())
        again.feed(b'one\r\ntwo\r\n')
        assert again.read() == first.read()  # NUMBERS
        """,
    ),
    "LosesCount": (
        "survives_any_input",
        r"""
        machine = DatagramMachine(LosesCount())
        machine.feed(b'x')  # ValueError: invalid literal for int() with base 10: b'x'
        """,
    ),
}
CONVERSATIONS = {"TrustsTheLength": b"5:hello,", "ExpectsOrder": [b"1 one", b"2 two"], "LosesCount": [b"1", b"x"]}


def test_every_broken_handler_has_an_expected_test():
    defined = {name for name, kind in vars(broken).items() if getattr(kind, "__module__", "") == broken.__name__}
    mended = {kind.__name__ for kind in (broken.Mended, *broken.MENDED.values())}
    assert defined == {*CAUGHT, *mended, broken.TooShort.__name__}


@pytest.mark.parametrize("name", CAUGHT)
@pytest.mark.slow
def test_a_broken_handler_is_caught_with_the_smallest_test(name, tmp_path):
    title, body = CAUGHT[name]
    kind = getattr(broken, name)
    with pytest.raises(CheckFailed) as caught:
        check(kind, CONVERSATIONS.get(name, CONVERSATION), examples=100)
    message, _, code = str(caught.value).partition("\n\n")
    assert message.startswith(f"{name}: ")
    head, _, printed = code.partition("():\n")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    assert head.endswith(f"\n\n\ndef test_{words}_{title}")
    printed = re.sub(r"handle:\d+", "handle:LINE", printed)
    assert re.sub(r"b'\d{5}.*, not .*", "NUMBERS", printed) == _indented(body)
    assert_red_then_green(code, kind, broken.MENDED.get(kind, broken.Mended), tmp_path)


def _indented(body):
    lines = body.strip("\n").rstrip().splitlines()
    return "".join(f"{line[4:]}\n" for line in lines)


def test_two_exchanges_that_share_state_are_printed_as_two_machines():
    class Once(DatagramHandler):
        answered = []

        async def handle(self):
            packet = await Packet()
            if packet not in self.answered:
                self.answered.append(packet)
                self.send(packet)

    with pytest.raises(CheckFailed) as caught:
        checks.leaves_nothing_behind(Once, [b"a"])
    assert Once.answered == []  # the attribute of the class was restored
    assert str(caught.value).partition("():\n")[2] == _indented("""
        other = DatagramMachine(Once())
        other.feed(b'a')
        machine = DatagramMachine(Once())
        machine.feed(b'a')
        assert list(iter(machine.read, None)) == [b'a']
    """)
