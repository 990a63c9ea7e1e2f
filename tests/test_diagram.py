"""What is observed of a handler's states is a part of what is written; the linter warns of what is amiss."""

from collections import deque
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import (
    Connected,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Flushed,
    Packet,
    Some,
    StreamHandler,
    StreamRequestHandler,
    TimedOut,
    ToEnd,
    Until,
    services,
)
from reactor.testing.diagram import LAST, Diagram, Edge, observed, written
from reactor.testing.linter import lint
from tests import broken


class Reverse(StreamHandler):
    def handle(self):
        return Until(b":", limit=7), self.length

    def length(self, digits):
        return Exactly(int(digits[:-1]) + 1), self.payload

    def payload(self, data):
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
        return self.handle()


class Password:
    """A mix-in that goes first."""

    prompt = Until(b"\n", limit=80)

    def handle(self):
        self.send(b"password? ")
        return self.prompt, self.check

    def check(self, line):
        return super().handle() if line == b"sesame\n" else None

    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            return Delay(1), lambda _: self.handle()
        return super().interrupted(cause)


class Secure(Password, Reverse):
    pass


class Winding(StreamHandler):
    """A coroutine with every kind of statement around its awaits."""

    async def handle(self):
        while True:
            kind = await Some(limit=1)
            match kind:
                case b"l":
                    for _ in range(2):
                        if await Exactly(1) == b"!":
                            break
                        await Flushed()
                    else:
                        await Delay(1)
                case b"t":
                    try:
                        await Until(b"\n", limit=3)
                    except ValueError:
                        return None
                    except EndOfStream:
                        await Flushed()
                        raise
                    finally:
                        self.send(b"tried")
                case b"h":
                    await self.help(2)
                case b"c":
                    if (await Exactly(1)) + (await Exactly(1)) == b"ab":
                        continue
                    return Until(b";", limit=9), self.after
                case b"q":
                    break
            with memoryview(kind):
                self.send(await Exactly(1) if kind == b"w" else kind)
        return await self.help(1)

    async def help(self, times):
        for _ in range(times):
            await Exactly(1)

    def after(self, data):
        def further(data):
            self.send(data)
            return Some(), partial(self.last, data)

        return Flushed(), further

    def last(self, data, more):
        return None if more == b"." else self.handle()


class Two(DatagramHandler):
    timeout = 5

    async def handle(self):
        self.send(await Packet())
        self.send(await Packet())


class Finger(StreamRequestHandler):
    request = Until(b"\n", limit=80)

    def handle(self):
        self.wfile.write(self.rfile.readline())


# What is observed and what is written


def pairs(diagram):
    """The steps without their waits, whose values only a run can tell; a cause ends any state."""
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
        (broken.SwallowsTheEnd, b"one\ntwo\n"),
        (broken.WaitsOutTheEnd, b"one\ntwo"),
    ],
)
def test_what_is_observed_is_written(kind, conversation):
    assert pairs(observed(kind, conversation)) <= pairs(written(kind))


@settings(deadline=None)
@given(st.text("lthcqw!ab.;\n", max_size=20))
def test_what_is_observed_of_a_winding_coroutine_is_written(text):
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
        Edge("<lambda>", "Until(b'\\n', limit=80)", "check"),
        Edge("interrupted", "Delay(1)", "<lambda>"),
        Edge("interrupted", "", "finished"),
    ]
    assert Edge("check", "EndOfStream", "interrupted") in observed(Secure, b"sesa").edges


def test_the_states_of_a_coroutine_are_its_lines():
    first = Two.handle.__code__.co_firstlineno + 1
    assert written(Two).states == ["handle", f"handle:{first}", f"handle:{first + 1}"]
    assert observed(Two, [b"a"]).edges[-1] == Edge(f"handle:{first + 1}", "TimedOut", "finished")


def test_a_step_that_is_not_written_as_one_is_shown_as_it_stands():
    class Table(StreamHandler):
        steps = {}

        def handle(self):
            return self.steps["first"]

    assert written(Table).edges == [Edge("handle", "self.steps['first']", "?")]


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


# The linter

SERVICES = [name for name, kind in vars(services).items() if getattr(kind, "__module__", "") == services.__name__]
SERVICES = [name for name in SERVICES if isinstance(getattr(services, name), type)]


def test_the_services_are_all_here():
    assert len(SERVICES) == 10


@pytest.mark.parametrize("name", SERVICES)
def test_there_is_no_false_alarm_in_the_services(name):
    assert lint(getattr(services, name)) == []


@pytest.mark.parametrize("kind", [Reverse, Secure, Winding, Two, Finger, broken.Mended])
def test_there_is_no_false_alarm_in_what_is_right(kind):
    assert lint(kind) == []


class NoTimeOut(StreamHandler):
    timeout = None

    def handle(self):
        return Until(b";", limit=9), self.handle  # here

    def other(self, data):
        return Until(b";", limit=9, timeout=3), self.handle


class ForEver(StreamHandler):
    async def handle(self):
        await Some(timeout=float("inf"))
        await Exactly(3, timeout=INFINITE)  # here


INFINITE = float("inf")


class NoLimit(StreamHandler):
    def handle(self):
        return ToEnd(limit=1 << 40), self.handle  # here


class Grows(StreamHandler):
    def __init__(self):
        self.lines = deque()
        self.held = b""

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.lines.append(data)  # here
        return self.handle()


class Swallows(StreamHandler):
    async def handle(self):
        while True:
            try:
                self.send(await Some())
            except EndOfStream:  # noqa: PERF203  # here
                self.send(b"?")


class Returns(StreamHandler):
    def handle(self):
        return Some(), self.handle

    def interrupted(self, cause):
        return Some(), self.handle  # here


class Opens(StreamHandler):
    async def handle(self):
        file = open(await Until(b"\n"))  # noqa: SIM115  # here
        self.send(await Some() + file.read())


class Connects(StreamHandler):
    async def handle(self):
        other = await Connected(("127.0.0.1", 7), services.Echo())  # here
        other.send(await Some())


class Enters(StreamHandler):
    def handle(self):
        self.server.members.add(self)  # here
        return Some(), self.handle


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NoTimeOut, "waits for Until(b';', limit=9) without a time out"),
        (ForEver, "waits for Exactly(3, timeout=INFINITE) without a time out"),
        (NoLimit, "waits for ToEnd(limit=1 << 40) without a limit to speak of"),
        (Grows, "self.lines grows, and nothing cuts or measures it"),
        (Swallows, "catches the end of the stream and goes on, when nothing can come"),
        (Returns, "returns a step whatever the cause, even when nothing can come any more"),
        (Opens, "what open(await Until(b'\\n')) gives is left behind if the request is cut short"),
        (
            Connects,
            "what Connected(('127.0.0.1', 7), services.Echo()) gives is left behind if the request is cut short",
        ),
        (Enters, "is left in self.server.members when it has ended"),
    ],
)
def test_what_is_amiss_is_warned_of_where_it_stands(kind, message):
    with open(__file__) as file:
        lines = file.read().splitlines()
    [finding] = lint(kind)
    assert finding.message == message
    assert lines[finding.line - 1].endswith("# here")
    assert str(finding) == f"{finding.method}, line {finding.line}: {message}"


class Bounded(Grows):
    def line(self, data):
        self.lines.append(data)
        return self.handle() if len(self.lines) < 10 else None


class Leaves(StreamHandler):
    async def handle(self):
        going_on = True
        while going_on:
            try:
                await Some()
            except TimedOut:  # noqa: PERF203  # a wait in a loop may be cut short, and the loop go on
                continue
            except EndOfStream:
                going_on = False


class Decides(Returns):
    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            return Some(), self.handle
        return None


class Closes(StreamHandler):
    async def handle(self):
        with open(await Until(b"\n")) as file:
            self.send(await Some() + file.read())


class Quits(Enters):
    def finish(self):
        self.server.members.discard(self)


@pytest.mark.parametrize("kind", [Bounded, Leaves, Decides, Closes, Quits])
def test_what_has_been_mended_is_not_warned_of(kind):
    assert lint(kind) == []
