"""`check` tells the handler that keeps ever more from the one that does not, in each pair of `tests.support.kept`."""

import os
from types import SimpleNamespace

import pytest

from handlers import StreamHandler, Until, World
from reactor.testing import END, remains, stays_in_bounds_when_repeated, work, works_linearly
from reactor.testing.check.properties import check
from reactor.testing.check.report import CheckFailed
from tests.support.kept import GREETED, JOINS, PAIRS, EndsSessions, KeepsSessions, LeavesOpen
from tests.support.pasted import assert_red_then_green, assert_told
from tests.support.resources import descriptors, named


@pytest.fixture(autouse=True)
def _descriptors_that_a_wrong_handler_leaves():
    """Close them: `LeavesOpen` leaves a thousand, and select(2) takes no descriptor above 1,023."""
    before = descriptors()
    yield
    for left, path in named(descriptors() - before).items():
        if path == os.devnull:  # not the listing itself
            os.close(left)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        check(pair.wrong, pair.conversation, modes=[], examples=5, meant=["leaves_nothing_behind"])
    assert_told(caught, pair, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.right.__name__)
def test_a_right_handler_is_not_accused(pair):
    check(pair.right, pair.conversation, modes=[], examples=5, meant=["leaves_nothing_behind"])


def test_what_requests_leave_behind_is_counted_and_restored():
    assert remains(KeepsSessions, [GREETED, END], 3).items == 3
    assert remains(EndsSessions, [GREETED, END], 3) == (0, 0)
    assert remains(LeavesOpen, [GREETED], 3).descriptors == 3
    assert KeepsSessions.sessions == {}


class KeepsGreetings(StreamHandler):
    """Adds to a list of its class, and removes nothing."""

    greetings = []

    async def handle(self):
        self.greetings.append(self.server.name + await Until(b"\n", limit=80))


class EndsGreetings(KeepsGreetings):
    def finish(self):
        self.greetings.clear()


def test_a_printed_test_of_what_requests_leave_behind_takes_the_server(tmp_path):
    server = SimpleNamespace(name=b"hello ")
    with pytest.raises(CheckFailed, match="each request that has ended leaves items behind") as caught:
        stays_in_bounds_when_repeated(KeepsGreetings, b"ann\n", world=World(server=server))
    code = str(caught.value).partition("\n\n")[2]
    assert "(server):" in code
    assert_red_then_green(code, KeepsGreetings, EndsGreetings, tmp_path, [server], [server])


@pytest.mark.parametrize("pair", JOINS, ids=lambda pair: pair.wrong.__name__)
def test_a_join_of_all_that_is_held_costs_more_and_more(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        works_linearly(pair.wrong, pair.conversation, examples=10)
    message, _, code = str(caught.value).partition("\n\n")
    assert message.splitlines()[0] == f"{pair.wrong.__name__}: {pair.told}"
    assert_red_then_green(code, pair.wrong, pair.right, tmp_path)
    works_linearly(pair.right, pair.conversation, examples=10)


def test_a_join_counts_only_the_lists_that_its_call_names():
    class Joins(StreamHandler):
        async def handle(self):
            held, few = [b"a" * 10_000], [b"a"]
            self.send(b"".join(few))
            await Until(b";", limit=9)
            if self.all:
                self.send(b"".join(held))

        all = False

    class JoinsAll(Joins):
        all = True

    assert 10_000 <= work(JoinsAll, [b";"]) - work(Joins, [b";"]) < 10_100
