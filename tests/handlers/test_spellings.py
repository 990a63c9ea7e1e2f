"""A protocol as states, as a coroutine and as a blocking handler gives the same output, however the input is cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import EndOfStream, LimitPassed, StreamHandler, StreamMachine, Until
from handlers.blocking.buffered import buffered
from tests.support.blocking import REQUEST, Finger, answer
from tests.support.strategies import converse, netstrings, pieces


def written(texts):
    return b"".join(b"%d:%b," % (len(text), text) for text in texts)


def outcome(kind, fed):
    """The output of a conversation, its log, and the reason of its end."""
    machine = StreamMachine(kind())
    try:
        output = converse(machine, fed)
    except ValueError:  # an invalid length
        output = machine.read()
    return output, machine.handler.log, machine.finished, type(machine.reason)


in_every_spelling = pytest.mark.parametrize("kind", netstrings)


@pytest.mark.slow
@in_every_spelling
@settings(max_examples=40)
@given(texts=st.lists(st.binary(max_size=12), max_size=4), data=st.data())
def test_every_spelling_gives_the_same_bytes_however_the_input_was_cut(kind, texts, data):
    fed = data.draw(pieces(st.just(written(texts))))
    expected = written(text[::-1] for text in texts)
    assert outcome(kind, fed) == (expected, ["setup", "finish"], True, type(None))


@pytest.mark.slow
@in_every_spelling
@settings(max_examples=40)
@given(fed=pieces(st.text("0123:,ax-", max_size=24).map(str.encode)))
def test_every_spelling_ends_for_the_same_reason(kind, fed):
    assert outcome(kind, fed) == outcome(netstrings[0], [b"".join(fed)])


class Password:
    """A mix-in as states."""

    def handle(self):
        return Until(b"\n", limit=9), self.check

    def check(self, line):
        self.send(b"hello ")
        return super().handle() if line == b"sesame\n" else None


class Asking:
    """The same mix-in as a coroutine."""

    async def handle(self):
        line = await Until(b"\n", limit=9)
        self.send(b"hello ")
        return super().handle() if line == b"sesame\n" else None


@pytest.mark.slow
@in_every_spelling
@pytest.mark.parametrize("mixin", [Password, Asking])
@settings(max_examples=20)
@given(data=st.data())
def test_a_mix_in_goes_first_in_every_spelling(mixin, kind, data):
    class Secured(mixin, kind):
        pass

    fed = data.draw(pieces(st.just(b"sesame\n3:abc,")))
    assert outcome(Secured, fed)[0] == b"hello 3:cba,"
    assert outcome(Secured, [b"other\n", *fed]) == (b"hello ", ["setup", "finish"], True, type(None))
    passed = (LimitPassed, b"opensesam")
    assert outcome(Secured, [b"open", *fed]) == (b"", ["setup", passed, "finish"], True, LimitPassed)


class FingerStates(StreamHandler):
    """The same as states."""

    def handle(self):
        return REQUEST, self.answer

    def answer(self, line):
        self.send(answer(line))


class FingerConversation(StreamHandler):
    """The same as a coroutine."""

    async def handle(self):
        self.send(answer(await REQUEST))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [buffered(Finger, packets=False), FingerStates, FingerConversation])
@given(fed=pieces(st.text("ab\r\n", max_size=20).map(str.encode)))
def test_three_spellings_give_the_same_answer_however_the_input_was_cut(kind, fed):
    machine = StreamMachine(kind())
    output = converse(machine, fed)
    question, found, _ = (data := b"".join(fed)).partition(b"\r\n")
    if found and len(question) <= 10:
        assert (output, machine.reason) == (answer(question + b"\r\n"), None)
    else:
        assert output == b""
        assert type(machine.reason) is (LimitPassed if len(data) >= 12 else EndOfStream if data else type(None))
