"""`check` tells the handler that keeps ever more from the one that does not, in each pair of `pairs.kept`."""

import os
from collections import OrderedDict, deque
from functools import partial
from types import SimpleNamespace
from weakref import WeakSet

import pytest

from handlers import StreamHandler, Until, World
from reactor.testing import END, check, remains, stays_in_bounds_when_repeated, work, works_linearly
from reactor.testing.running.report import CheckFailed
from tests.support.pairs.kept import GREETED, JOINS, PAIRS, EndsSessions, KeepsSessions, LeavesOpen
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
@pytest.mark.in_turn
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        check(pair.wrong, pair.conversation, modes=[], examples=5, meant=["leaves_nothing_behind"])
    assert_told(caught, pair, tmp_path)


def test_what_requests_leave_behind_is_counted_and_restored():
    assert remains(KeepsSessions, [GREETED, END], 3).items == 3
    assert remains(EndsSessions, [GREETED, END], 3) == (0, 0, 0, 0)
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


@pytest.mark.slow
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


class Rooms:
    """The rooms of a server, with the handlers in them."""

    def __init__(self):
        self.members = {}


class Joins(StreamHandler):
    """Joins a room of its server, and leaves it if its client says so."""

    async def handle(self):
        self.room = (await Until(b"\n", limit=80)).removeprefix(b"JOIN ")
        self.join()
        while await Until(b"\n", limit=80) != b"QUIT\n":
            self.send(b"ok\n")
        self.leave()

    def join(self):
        self.server.rooms.members[self.room] = [self.send]

    def leave(self):
        self.server.rooms.members.pop(self.room, None)


class JoinsAndLeaves(Joins):
    def finish(self):
        if self.room:
            self.leave()

    room = b""


class JoinsASet(Joins):
    def join(self):
        self.server.everybody.add((self.room, self))

    def leave(self):
        self.server.everybody.discard((self.room, self))


class LeavesTheSet(JoinsAndLeaves, JoinsASet):
    pass


class StaysInTheEnd(JoinsAndLeaves):
    """It is in another container when it has ended."""

    def finish(self):
        super().finish()
        self.server.ended.append(partial(Joins.leave, self))


class StaysInAFunction(JoinsAndLeaves):
    """A function that the server's class has knows it."""

    def finish(self):
        super().finish()
        type(self.server).functions.append(lambda: self.leave())


class Remembered(JoinsAndLeaves):
    """The server has the last ones that have ended."""

    def finish(self):
        super().finish()
        self.server.last = self
        self.server.latest.append(self)
        self.server.weak.add(self)
        self.server.named[self.room] = self
        if len(self.server.named) > 100:
            self.server.named.popitem(last=False)


class ClearsUp(Joins):
    """Who joins takes out those that have ended."""

    def join(self):
        for room, member in list(self.server.everybody):
            if member.ended:
                self.server.everybody.discard((room, member))
        self.server.everybody.add((self.room, self))

    def leave(self):
        self.server.everybody.discard((self.room, self))

    def finish(self):
        self.ended = True

    ended = False


class ClearsUpInTheEnd(ClearsUp):
    """Those that have ended are taken out by who leaves."""

    def join(self):
        self.server.everybody.add((self.room, self))

    def leave(self):
        self.server.everybody = {one for one in self.server.everybody if one[1] is not self and not one[1].ended}


slow = partial(pytest.param, marks=pytest.mark.slow)
JOINED = b"JOIN garden\nhello\nQUIT\n"


class House:
    """A server with rooms, and with other containers of handlers."""

    functions = []

    def __init__(self):
        self.rooms, self.everybody, self.ended = Rooms(), set(), []
        self.latest, self.weak, self.named = deque(maxlen=50), WeakSet(), OrderedDict()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (Joins, JoinsAndLeaves),
        (JoinsASet, LeavesTheSet),
        (StaysInTheEnd, JoinsAndLeaves),
        (StaysInAFunction, JoinsAndLeaves),
    ],
)
def test_who_has_ended_is_in_no_container_of_the_server(wrong, right, tmp_path):
    server = House()
    with pytest.raises(CheckFailed, match="has ended is still in a container of the server") as caught:
        stays_in_bounds_when_repeated(wrong, JOINED, world=World(server=server))
    code = str(caught.value).partition("\n\n")[2]
    assert_red_then_green(code, wrong, right, tmp_path, [server], [server])


@pytest.mark.parametrize("right", [JoinsAndLeaves, LeavesTheSet, ClearsUp, *map(slow, [Remembered, ClearsUpInTheEnd])])
def test_some_that_have_ended_may_be_in_a_container_of_the_server(right):
    stays_in_bounds_when_repeated(right, JOINED, world=World(server=House()))
