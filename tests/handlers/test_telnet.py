"""Telnet (RFC 854): lines, commands, options that are refused, and the Synch that discards what was typed."""

import inspect
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import LimitPassed, StreamMachine, telnet
from handlers.telnet import AO, AYT, BRK, DM, DO, DONT, EC, EL, GA, IAC, IP, NOP, SB, SE, WILL, WONT, Telnet, TelnetEcho
from reactor.loop.selecting import EVENT_URGENT
from reactor.testing import check
from reactor.testing.reading.linter import lint
from tests.support.bench import bench
from tests.support.serving import MODES, connect, rest, serving
from tests.support.strategies import cuts
from tests.support.telnet import Job


def told(*codes):
    """The bytes of a command."""
    return bytes([IAC, *codes])


class Told(TelnetEcho):
    """Keeps a log of lines and of commands."""

    def __init__(self):
        self.log = []

    def line(self, line):
        self.log.append(line)
        return super().line(line)

    def command(self, code):
        self.log.append(code)


# Against a model


class Model:
    """The log and the output that a server must have for what a client has typed."""

    def __init__(self):
        self.log, self.sent, self.text = [], b"", b""

    def take(self, tokens, overtaken=False):
        for kind, value in tokens:
            if kind in ("text", "end", EC, EL) and overtaken:
                continue
            if kind == "text":
                self.text += value
            elif kind == "end":
                self.log.append(self.text)
                self.sent += self.text.replace(b"\xff", b"\xff\xff") + b"\r\n"
                self.text = b""
            elif kind in (DO, WILL):
                self.sent += told(WONT if kind == DO else DONT, value)
            elif kind == AYT:
                self.sent += b"[Yes]\r\n"
            elif kind == EC:
                self.text = self.text[:-1]
            elif kind == EL:
                self.text = b""
            elif kind in (IP, AO, BRK, GA):
                self.log.append(kind)


def written(tokens):
    """The tokens as the bytes that a client sends."""
    stream = b""
    for kind, value in tokens:
        if kind in ("text", "end"):
            stream += value.replace(b"\xff", b"\xff\xff")
        elif kind == SB:
            stream += told(SB, value[0]) + value[1:].replace(b"\xff", b"\xff\xff") + told(SE)
        else:
            stream += told(kind) + (b"" if value is None else bytes([value]))
    return stream


tokens = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.text("ab \r\0\xff", max_size=3).map(lambda text: text.encode("latin-1"))),
        st.tuples(st.just("end"), st.sampled_from([b"\r\n", b"\r\0", b"\n"])),
        st.tuples(st.sampled_from([DO, DONT, WILL, WONT]), st.integers(0, 255)),
        st.tuples(st.sampled_from([AYT, EC, EL, NOP, GA, IP, AO, BRK, DM]), st.none()),
        st.tuples(st.just(SB), st.binary(min_size=1, max_size=4).filter(lambda value: value[0] != IAC)),
    ),
    max_size=12,
).filter(lambda tokens: b"\r" not in b"".join(value for kind, value in tokens if kind == "text"))


@pytest.mark.slow
@given(tokens, st.data())
def test_lines_and_commands_match_the_model_however_the_input_is_cut(typed, data):
    model, machine = Model(), StreamMachine(Told())
    model.take(typed)
    for piece in data.draw(cuts(written(typed))):
        machine.feed(piece)
    assert (machine.handler.log, machine.read()) == (model.log, model.sent)


@pytest.mark.slow
@given(tokens, tokens, tokens, st.booleans(), st.data())
def test_a_synch_discards_text_and_keeps_commands(read, unread, typed, early, data):
    """``early``: the urgent byte is the IAC before the DM, as BSD clients send it; others mark the DM."""
    model, machine = Model(), StreamMachine(Told())
    model.take(read)
    model.text = b""
    model.take(unread, overtaken=True)
    model.take(typed)
    machine.feed(written(read))
    if early:
        machine.urgent(told(), written(unread))
        after = bytes([DM])
    else:
        machine.urgent(bytes([DM]), written(unread) + told())
        after = b""
    for piece in data.draw(cuts(after + written(typed))):
        machine.feed(piece)
    assert (machine.handler.log, machine.read()) == (model.log, model.sent)


@given(tokens)
def test_refusals_are_not_answered(typed):
    """Otherwise two sides that refuse everything would go on for ever (RFC 1143)."""
    ours, theirs = StreamMachine(Told()), StreamMachine(Told())
    ours.feed(written([token for token in typed if token[0] in (DO, DONT, WILL, WONT)]))
    theirs.feed(ours.read())
    assert theirs.read() == b""


# Single cases


def test_the_data_mark_of_a_synch_that_another_has_overtaken_has_no_effect():
    machine = StreamMachine(Told())
    machine.urgent(told(), b"one\r\n" + told(DM) + b"two")
    machine.feed(bytes([DM]) + b"three\r\n")
    assert machine.handler.log == [b"three"]


def test_text_is_discarded_until_the_data_mark_comes():
    """RFC 854: "continue the special handling of the data stream until the DM is found"."""
    machine = StreamMachine(Told())
    machine.urgent(b"x", b"one")
    machine.feed(b"two\r\n" + told(SB, 24) + b"three\r\n" + told(SE) + b"four" + told(AYT))
    assert machine.read() == b"[Yes]\r\n"
    machine.feed(told(DM) + b"five\r\n")
    assert machine.handler.log == [b"five"]


@pytest.mark.parametrize("option", [0, 10, 13, IAC])
def test_any_byte_may_be_an_option_even_within_a_synch(option):
    machine = StreamMachine(Told())
    machine.urgent(bytes([DM]), told(DO, option) + told())
    machine.feed(told(WILL, option) + b"one\r\n")
    assert machine.read() == told(WONT, option) + told(DONT, option) + b"one\r\n"


def test_a_command_may_begin_before_the_synch():
    machine = StreamMachine(Told())
    machine.urgent(bytes([DO]), told())
    machine.feed(bytes([1]) + told(DM))
    assert machine.read() == told(WONT, 1)


def test_an_unfinished_subnegotiation_ends_with_the_next_command():
    machine = StreamMachine(Told())
    machine.feed(told(SB, 24) + b"lost\r\n" + told(AYT) + b"line\r\n")
    assert machine.handler.log == [b"line"]
    assert machine.read() == b"[Yes]\r\nline\r\n"


@pytest.mark.parametrize("ending", [told(NOP), b"\r\n"])
@pytest.mark.parametrize("between", [b"", told(NOP), told(IAC)])
def test_a_line_has_a_limit_whatever_it_contains(between, ending):
    machine, half = StreamMachine(Told()), b"x" * (Telnet.nvt_piece.limit // 2)
    machine.feed(half + between + half + between + b"x" + ending)
    assert isinstance(machine.reason, LimitPassed)
    assert machine.handler.log == []


def test_a_subclass_must_define_line():
    machine = StreamMachine(Telnet())
    with pytest.raises(NotImplementedError, match=r"Telnet must define line\(\)"):
        machine.feed(b"\r\n")


@pytest.mark.slow
def test_telnet_echo_passes_check():
    typed = told(DO, 1) + b"ab\r\ncd" + told(EC) + b"\r\0" + told(SB, 24, 0) + b"\n" + told(SE, IAC, AYT) + b"e\n"
    check(TelnetEcho, typed, told(WONT, 1) + b"ab\r\nc\r\n[Yes]\r\ne\r\n", modes=["select"], examples=25)
    assert lint(TelnetEcho) == []


def test_the_codes_are_those_of_the_rfc():
    codes = {name: code for name, code in vars(telnet).items() if name.isupper() and type(code) is int}
    assert codes == {
        "SE": 240, "NOP": 241, "DM": 242, "BRK": 243, "IP": 244, "AO": 245, "AYT": 246, "EC": 247, "EL": 248,
        "GA": 249, "SB": 250, "WILL": 251, "WONT": 252, "DO": 253, "DONT": 254, "IAC": 255,
    }  # fmt: skip


def test_every_public_name_has_a_docstring():
    own = [thing for thing in vars(telnet).values() if getattr(thing, "__module__", "") == telnet.__name__]
    assert {telnet.Piece, Telnet, TelnetEcho} <= set(own)
    assert [thing for thing in own if not inspect.getdoc(thing)] == []


# Over sockets


SYNCHS = {"the IAC is marked": (told(), bytes([DM])), "the DM is marked": (told(DM), b"")}
"""The bytes that are sent with ``MSG_OOB``, the last of which is urgent, and the bytes behind them."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("synch", SYNCHS.values(), ids=SYNCHS)
def test_a_synch_discards_what_was_typed_in_every_mode(mode, synch):
    out_of_band, after = synch
    with serving(TelnetEcho, mode) as server, connect(server) as client:
        client.sendall(b"one")
        client.send(out_of_band, socket.MSG_OOB)
        client.sendall(after + b"two\r\n")
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b"two\r\n"


@pytest.mark.parametrize("synch", SYNCHS.values(), ids=SYNCHS)
def test_interrupt_process_ends_work_that_is_under_way(synch):
    out_of_band, after = synch
    with bench(Job) as here:
        client = here.connect()
        client.sendall(b"work\r\n")
        here.rest()
        assert here.interest(here.row) == EVENT_URGENT
        client.sendall(b"typed\r\nin vain" + told(IP) + told(AYT))
        client.send(out_of_band, socket.MSG_OOB)
        client.sendall(after)
        assert here.take(client, 20) == b"interrupted\r\n[Yes]\r\n"
        assert here.row.state == "nvt_received"
        client.sendall(b"more\r\n")
        here.rest()
        assert here.row.as_dict()["wait"] == "Delay(60)"
