"""Diagrams: every step that is observed is in the written diagram; output as text, for Graphviz and for Mermaid."""

from contextlib import suppress
from functools import partial, partialmethod, wraps

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import Delay, EndOfStream, Exactly, Flushed, Some, StreamHandler, Until, services
from reactor.testing.reading.diagram import LAST, Diagram, Edge, observed, written
from reactor.testing.reading.steps import UNKNOWN
from tests.support.pairs import broken
from tests.testing.reading.specimens.drawn import Finger, Password, Reverse, Secure, Two, Winding


def traced(function):
    @wraps(function)
    def traced(*arguments):
        return function(*arguments)

    return traced


LINE = Until(b"\n")


def farewell(data):
    return None


class Spelled(StreamHandler):
    """States, waits and steps that are named, returned by helpers, or wrapped."""

    handle = lambda self: self.expect(self.text)  # noqa: E731

    def expect(self, state, /, *, wait=LINE):
        return wait, state

    def text(this, data):  # noqa: N805
        this.send(b"""
a line that begins at the margin
""")
        self = this
        step = self.expect(self.chosen, wait=LINE)
        return step  # noqa: RET504

    @traced
    def chosen(self, data):
        state = self.tabled if data else self.text
        wait = Some(1) if self.peer is None else LINE
        return wait, state

    def tabled(self, data):
        states = {b"one\n": self._text, b"two\n": self.__private}
        return LINE, states[b"two\n"]

    _text = text

    def __private(self, data):
        again = partial(self.counted, 1)
        return LINE, again if data == b"again\n" else self.second

    def counted(self, number, data):
        return LINE, self.state()

    def state(self):
        return lambda data: (LINE, StaticState.state)

    second = partialmethod(counted, 2)


class StaticState:
    @staticmethod
    def state(data):
        return None


class Parent(StreamHandler):
    def handle(self):
        return Until(b"\n", 82), self.check

    def check(self, data):
        return Until(b"\n", 83), farewell


class Derived(Parent):
    def handle(self):
        return Parent.handle(self)

    def check(self, data):
        if data:
            return super(Derived, self).check(data)  # noqa: UP008
        return Until(b"\n", 84), super().check


class First:
    """A coroutine as a mix-in, in front of a mix-in made of states."""

    async def handle(self):
        if await Until(b"\n", 80):
            return await self.ask() or super().handle()
        return None

    async def ask(self):
        await Flushed()


class InFront(First, Password, Derived):
    pass


class Generating(StreamHandler):
    """A coroutine that awaits in comprehensions, in generators and in contexts."""

    async def lines(self, count):
        for _ in range(count):
            yield await LINE

    async def __aenter__(self):
        await Some(1)

    async def __aexit__(self, *error):
        await Some(1)

    async def handle(self):
        async for line in self.lines(2):
            self.send(line)
        async with self:
            self.send(await LINE)
        pairs = {
            await LINE: await Some(1)
            for _ in range(2)
        }  # fmt: skip
        more = [line async for line in self.lines(2)]
        with suppress(EndOfStream):
            while True:
                self.send(await Exactly(3))
        await Flushed()
        self.send(b"".join([*pairs, *more]))


class Finally(StreamHandler):
    """A coroutine that waits when it leaves."""

    async def handle(self):
        for _ in range(3):
            try:
                if await Some(1) == b"x":
                    return
                if await Some(1) == b"x":
                    break
                await Some(1)
            except EndOfStream:
                await Delay(1)
            finally:
                await Flushed()
        await Delay(2)


class NamedLikeTheEnd(StreamHandler):
    def handle(self):
        return Until(b"\n"), self.finished

    def finished(self, data):
        return Until(b"\n"), Called()


class Called:
    def __call__(self, data):
        return None


# Observed and written diagrams


def pairs(diagram):
    """The steps without their waits, whose values are known only at run time."""
    return {(edge.state, edge.to) for edge in diagram.edges if edge.to not in (LAST, "interrupted")}


@pytest.mark.parametrize(
    ("kind", "conversation"),
    [
        (services.Echo, b"hello"),
        (services.Daytime, b""),
        (services.CharGen, b""),
        (services.EchoDatagram, [b"one", b"two"]),
        (Reverse, b"5:hello,3:abc,"),
        (Secure, b"sesame\n5:hello,"),
        (Secure, b"wrong\n"),
        (Two, [b"a", b"b"]),
        (Finger, b"ada\n"),
        (Spelled, b"1\n2\n3\n4\n5\n6\n7\n8\n"),
        (Spelled, b"1\n2\n3\n4\nagain\n6\n7\n"),
        (Derived, b"1\n2\n"),
        (InFront, b"1\nsesame\n2\n3\n"),
        (Generating, b"1\n2\n-3\n-4\n.5\n.6\n7\n123123"),
        (Finally, b"123456789"),
        (Finally, b"x"),
        (Finally, b"1x"),
        (Finally, b"12"),
        (broken.SwallowsTheEnd, b"one\ntwo\n"),
        (broken.WaitsOutTheEnd, b"one\ntwo"),
    ],
)
def test_every_observed_step_is_in_the_written_diagram(kind, conversation):
    assert pairs(observed(kind, conversation)) <= pairs(written(kind))


@pytest.mark.parametrize("kind", [Spelled, Derived, InFront, Generating, Finally])
def test_no_step_is_unknown(kind):
    assert UNKNOWN not in written(kind).states


@given(st.text("lthcqw!ab.;\n", max_size=20))
def test_every_observed_step_of_a_complex_coroutine_is_in_the_written_diagram(text):
    assert pairs(observed(Winding, text.encode())) <= WINDING


WINDING = pairs(written(Winding))


def test_the_text_has_a_line_for_each_step():
    assert written(Reverse).text().splitlines() == [
        "Reverse",
        "  handle   Until(b':', limit=7)           -> length",
        "  length   Exactly(int(digits[:-1]) + 1)  -> payload",
        "  payload  Until(b':', limit=7)           -> length",
    ]
    assert str(observed(Reverse, b"5:hello,3:a")).splitlines() == [
        "Reverse",
        "  handle   Until(b':', limit=7)  -> length",
        "  length   Exactly(6)            -> payload",
        "  length   Exactly(4)            -> payload",
        "  payload  Until(b':', limit=7)  -> length",
        "  payload  EndOfStream           -> finished",
    ]


def test_a_mix_in_goes_before_what_it_is_mixed_into():
    assert written(Secure).edges == [
        Edge("handle", "Until(b'\\n', limit=80)", "check"),
        Edge("check", "Until(b':', limit=7)", "length"),
        Edge("check", "", "finished"),
        Edge("length", "Exactly(int(digits[:-1]) + 1)", "payload"),
        Edge("payload", "Until(b'\\n', limit=80)", "check"),
        Edge("interrupted", "Delay(1)", "<lambda>"),
        Edge("interrupted", "", "finished"),
        Edge("<lambda>", "Until(b'\\n', limit=80)", "check"),
    ]
    assert Edge("check", "EndOfStream", "interrupted") in observed(Secure, b"sesa").edges


def test_the_states_of_a_coroutine_are_its_lines():
    first = Two.handle.__code__.co_firstlineno + 1
    assert written(Two).states == ["handle", f"handle:{first}", f"handle:{first + 1}"]
    assert observed(Two, [b"a"]).edges[-1] == Edge(f"handle:{first + 1}", "TimedOut", "finished")


def test_a_step_that_is_an_expression_is_shown_as_source():
    class Table(StreamHandler):
        steps = {}

        def handle(self):
            return self.steps["first"]

    assert written(Table).edges == [Edge("handle", "self.steps['first']", "?")]


def test_a_state_named_like_the_end_is_distinct_from_it():
    assert written(NamedLikeTheEnd).edges == [
        Edge("handle", "Until(b'\\n')", "finished()"),
        Edge("finished()", "Until(b'\\n')", UNKNOWN),
    ]
    assert observed(NamedLikeTheEnd, b"1\n2\n").edges == [
        Edge("handle", repr(LINE), "finished()"),
        Edge("finished()", repr(LINE), "Called"),
        Edge("Called", "", "finished"),
    ]


def test_a_partial_state_has_the_name_of_its_function():
    assert "counted" in observed(Spelled, b"1\n2\n3\n4\nagain\n").states


def test_a_state_without_source_leads_to_unknown():
    class Prints(StreamHandler):
        def handle(self):
            return LINE, print

    assert written(Prints).edges == [Edge("print", "", UNKNOWN), Edge("handle", repr(LINE), "print")]


def test_the_graph_for_graphviz():
    assert Diagram("One", [Edge("handle", "Until(b'\"\\n')", "rest"), Edge("rest", "", "finished")]).dot() == (
        'digraph "One" {\n'
        "    rankdir=LR;\n"
        "    node [shape=box, style=rounded];\n"
        '    "handle";\n'
        '    "rest";\n'
        '    "finished" [shape=doublecircle, label=""];\n'
        '    "handle" -> "rest" [label="Until(b\'\\"\\\\n\')"];\n'
        '    "rest" -> "finished" [label=""];\n'
        "}"
    )


def test_names_that_graphviz_reserves_are_quoted():
    assert 'label="Until(b\'&amp;lt;\\\\n\\"\')"' in Diagram("One", [Edge("handle", "Until(b'&lt;\\n\"')", "x")]).dot()


def test_characters_that_mermaid_reserves_are_given_by_number():
    text = Diagram("One", [Edge("handle", "Until(b'-->%%#;direction LR{')", "x")]).mermaid()
    assert "Until(b'--#62;#37;#37;#35;#59;#100;irection LR#123;')" in text


def test_the_graph_for_mermaid():
    assert Diagram(
        "One", [Edge("handle", "Until(b':')", "handle:12"), Edge("handle:12", "", "finished")]
    ).mermaid() == (
        "stateDiagram-v2\n"
        "    s0: handle\n"
        "    s1: handle#58;12\n"
        "    [*] --> s0\n"
        "    s0 --> s1: Until(b'#58;')\n"
        "    s1 --> [*]"
    )
