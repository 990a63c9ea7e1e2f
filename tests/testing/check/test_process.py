"""`leaves_the_process_as_it_was`: what belongs to the whole process is no place for what one request says."""

import decimal
import gc
import locale
import os
import signal
import socket
import sys

import pytest

from handlers import DatagramHandler, Packet, StreamHandler, Until
from reactor.testing import changed, check, leaves_the_process_as_it_was
from reactor.testing.running.report import CheckFailed
from reactor.testing.running.surroundings import Surroundings
from tests.support.pasted import assert_red_then_green

LINES = b"first 1\nsecond 2\n"


class Lines(StreamHandler):
    """Answers each line, and does something for those that begin with "second"."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            if line.startswith(b"second"):
                self.act(line)
            self.send(line.upper())

    def act(self, line):
        """Nothing."""


def doing(action):
    """A class that does ``action`` for such lines; it has the name that a printed test imports."""
    return type("Acts", (Lines,), {"act": lambda self, line: action(), "__module__": __name__, "__qualname__": "Acts"})


class Acts(Lines):
    """The printed test has another one in its place."""


CHANGES = {
    "decimal.getcontext()": lambda: setattr(decimal.getcontext(), "rounding", decimal.ROUND_UP),
    "os.environ": lambda: os.environ.update(SECOND="2"),
    "os.getcwd()": lambda: os.chdir("/"),
    "os.umask()": lambda: os.umask(0o123),
    "locale.setlocale(locale.LC_ALL)": lambda: locale.setlocale(locale.LC_CTYPE, "C"),
    "socket.getdefaulttimeout()": lambda: socket.setdefaulttimeout(5),
    "sys.getrecursionlimit()": lambda: sys.setrecursionlimit(5_000),
    "gc.isenabled()": gc.disable,
    "gc.get_threshold()": lambda: gc.set_threshold(5),
    "signal.getsignal()": lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
}


@pytest.fixture(autouse=True)
def _restored():
    """What a printed test changes is put back; the locale is not C before."""
    before = Surroundings()
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    yield
    before.restore()


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_request_changes_is_told(name, tmp_path):
    before, acts = Surroundings(), doing(CHANGES[name])
    with pytest.raises(CheckFailed, match="belongs to the whole process") as caught:
        leaves_the_process_as_it_was(acts, LINES)
    report, _, code = str(caught.value).partition("\n\n")
    assert report.startswith(f"Acts: it changes {name}, ")
    assert before.changed() == []
    assert "assert changed(Acts, [b'second 2\\n']) == []" in code
    tmp_path.joinpath("acts.py").write_text("")
    sys.modules[__name__].Acts = acts
    assert_red_then_green(code, acts, Lines, tmp_path)


def test_flags_of_a_context_and_what_is_put_back_at_once_are_no_changes():
    def compute():
        with decimal.localcontext() as context:
            context.prec = 5
            decimal.Decimal(1) / decimal.Decimal(3)
        decimal.Decimal(1) / decimal.Decimal(3)

    decimal.getcontext().clear_flags()
    assert changed(doing(compute), [LINES]) == []


class KeepsAContextOpen(StreamHandler):
    async def handle(self):
        with decimal.localcontext() as context:
            context.prec = 5
            self.send(await Until(b"\n", limit=80))


def test_what_is_put_back_only_later_is_a_change():
    assert changed(KeepsAContextOpen, [b"1\n"]) == ["decimal.getcontext()"]


class ChangesForAPacket(DatagramHandler):
    async def handle(self):
        if (packet := await Packet()) == b"two":
            os.environ["PACKET"] = "two"
        self.send(packet + os.environ.get("PACKET", "").encode())


def test_a_packet_changes_something():
    with pytest.raises(CheckFailed, match=r"changed\(ChangesForAPacket, \[b'two'\]\) == \[\]"):
        leaves_the_process_as_it_was(ChangesForAPacket, [b"one", b"two"])


@pytest.mark.slow
def test_changes_that_are_meant_do_not_outlast_a_run():
    before = Surroundings()
    check(ChangesForAPacket, [b"one", b"two"], modes=[], examples=2, meant=["leaves_the_process_as_it_was"])
    assert before.changed() == []
