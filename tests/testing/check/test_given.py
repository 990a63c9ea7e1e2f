"""`check` with a server of the user's, with a partial, and with handlers that block; what it says of errors."""

import gc
import re
import secrets
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from handlers import REFUSE, Filtered, StreamHandler, StreamRequestHandler, Threaded, Until, World
from reactor import testing as checks
from reactor.testing import check
from reactor.testing.running import watching
from reactor.testing.running.loopback import modes_here
from reactor.testing.running.report import CheckFailed
from reactor.testing.running.snippets import unlike_at
from reactor.tls import TLS
from tests import ROOT
from tests.support.serving import PATIENCE, wait_until

LINE = Until(b"\n", limit=80)


class Counts(StreamHandler):
    """Uses and changes attributes of its server."""

    async def handle(self):
        self.server.hits += 1
        self.server.log.append(self.server.prefix())
        self.send(b"%d %d " % (self.server.hits, len(self.server.log)))
        self.send(self.server.log[-1] + await LINE)


class Service:
    """An author's own server."""

    def __init__(self):
        self.hits, self.log = 3, []

    def prefix(self):
        return b"%d " % self.hits


def test_each_run_begins_with_the_server_as_it_was_given():
    server = Service()
    check(Counts, b"a\n", b"4 1 4 a\n", server=server, examples=5)
    assert vars(server) == {"hits": 3, "log": []}


class Board:
    """State of an author's own server."""

    def __init__(self):
        self.lines = []


class Posts(StreamHandler):
    async def handle(self):
        self.server.board.lines.append(await LINE)
        self.send(b"%d" % len(self.server.board.lines))


def test_what_is_in_objects_of_the_server_is_restored_too():
    server = SimpleNamespace(board=Board())
    check(Posts, b"a\n", b"1", server=server, modes=[], examples=5)
    assert server.board.lines == []


def test_the_server_of_the_world_is_the_one_that_was_given():
    server = Service()

    class Same(StreamHandler):
        async def handle(self):
            self.send(b"%d" % (self.server is server))

    check(Same, b"", b"1", server=server, modes=[], examples=5)
    check(Same, b"", b"1", world=World(server=server), modes=[], examples=5)


def test_a_server_is_given_once_and_is_no_class():
    with pytest.raises(TypeError, match="given twice"):
        check(Counts, b"a\n", server=Service(), world=World(server=Service()))
    with pytest.raises(TypeError, match=r"does not make one: <class .*Service"):
        check(Counts, b"a\n", server=Service)


class Hits(StreamHandler):
    """Works without a server."""

    async def handle(self):
        hits = self.server.hits if self.server is not None else 0
        self.send(b"%d %b" % (hits, await LINE))


class BlockingHits(StreamRequestHandler):
    request = LINE

    def handle(self):
        self.wfile.write(b"%d " % (self.server.hits if self.server else 0) + self.rfile.readline())


@pytest.mark.parametrize("mode", modes_here())
@pytest.mark.parametrize("kind", [Hits, BlockingHits])
def test_what_a_handler_raises_in_a_mode_is_told_with_its_place(mode, kind):
    with pytest.raises(CheckFailed) as caught:
        checks.same_in_every_mode(kind, b"a\n", modes=[mode])
    message = str(caught.value).partition("\n")[0]
    assert message.startswith(f"{kind.__name__}: in {mode} mode it raises AttributeError: ")
    assert f"has no attribute 'hits', raised in handle ({__file__}, line " in message
    assert message.endswith("give check() a server that has them (server=...)")


@pytest.mark.parametrize("kind", [Hits, BlockingHits])
def test_with_the_server_the_same_handlers_pass(kind):
    check(kind, b"a\n", b"7 a\n", server=SimpleNamespace(hits=7), examples=5)


def test_what_a_handler_raises_without_a_network_is_told_with_its_place():
    with pytest.raises(CheckFailed) as caught:
        check(Counts, b"a\n")
    message = str(caught.value).partition("\n")[0]
    assert "it raises AttributeError: 'NoneType' object has no attribute 'hits', raised in handle (" in message
    assert message.endswith("give check() a server that has them (server=...)")


class Parses(StreamHandler):
    async def handle(self):
        self.send(b"%d" % number(await LINE))


def number(data):
    return int(data)


def test_the_remedy_is_only_for_what_the_server_lacks():
    with pytest.raises(CheckFailed) as caught:
        checks.answers(Parses, b"a\n", b"1")
    message = str(caught.value).partition("\n")[0]
    assert "it raises ValueError: invalid literal for int() with base 10: b'a\\n', raised in number (" in message
    assert "server" not in message.replace(__file__, "")


# A partial of a handler class


class Greets(StreamHandler):
    def __init__(self, word, end=b"!"):
        self.word, self.end = word, end

    async def handle(self):
        self.send(self.word + await LINE + self.end)


class GreetsBlocking(StreamRequestHandler):
    request = LINE

    def __init__(self, *given, word):
        self.word = word
        super().__init__(*given)

    def handle(self):
        self.wfile.write(self.word + self.rfile.readline() + b"!")


@pytest.mark.parametrize(
    "kind", [partial(Greets, b"w"), partial(GreetsBlocking, word=b"w")], ids=["states", "blocking"]
)
def test_a_partial_is_checked_like_a_class(kind):
    check(kind, b"a\n", b"wa\n!", examples=5)


class Named(StreamHandler):
    def __init__(self, name):
        self.name = name

    async def handle(self):
        self.send(await Until(b"\n", limit=80))


@pytest.mark.parametrize("word", [object(), [len], float("inf"), Path("/w")], ids=lambda word: type(word).__name__)
def test_an_argument_that_has_no_source_text_is_left_to_the_reader(word):
    with pytest.raises(CheckFailed, match=r"StreamMachine\(partial\(Named, \.\.\.\)\(\)\)"):
        checks.answers(partial(Named, word), b"a\n", b"other")


def test_an_argument_that_can_be_imported_is_printed():
    with pytest.raises(CheckFailed) as caught:
        checks.answers(partial(Named, Until(b"w", limit=9)), b"a\n", b"other")
    assert "partial(Named, Until(b'w', limit=9))" in str(caught.value)
    assert "from reactor.handlers import StreamMachine, Until\n" in str(caught.value)


def test_a_printed_test_makes_the_partial():
    with pytest.raises(CheckFailed) as caught:
        checks.answers(partial(Greets, b"w", end=b"?"), b"a\n", b"other")
    assert "machine = StreamMachine(partial(Greets, b'w', end=b'?')())" in str(caught.value)
    assert "from functools import partial\n" in str(caught.value)


# Handlers that block


def rest():
    """Blocks where the source of the handler does not show it."""
    time.sleep(0.002)


class Sleeps(StreamHandler):
    def handle(self):
        return Until(b":", limit=80), self.key

    def key(self, data):
        return LINE, self.value

    def value(self, data):
        rest()
        self.send(data)
        return self.handle()


class Fetches(StreamHandler):
    async def handle(self):
        self.send(await Threaded(time.sleep, 0.002) or await LINE)


def test_a_state_that_blocks_ends_the_check_and_is_named(monkeypatch):
    monkeypatch.setattr(watching, "SECONDS", 0.2)
    with pytest.raises(CheckFailed, match=r"Sleeps\.value blocks: .* for 0\.2 seconds of real time .*Threaded"):
        check(Sleeps, b"a:b\n", b"b\n")


class SleepsBlocking(StreamRequestHandler):
    request = LINE

    def handle(self):
        rest()
        self.wfile.write(self.rfile.readline())


def test_a_blocking_handler_that_sleeps_is_named_by_its_handle(monkeypatch):
    monkeypatch.setattr(watching, "SECONDS", 0.1)
    with pytest.raises(CheckFailed, match=r"^SleepsBlocking\.handle blocks"):
        check(SleepsBlocking, b"a\n", b"a\n")


def test_a_property_alone_ends_too(monkeypatch):
    monkeypatch.setattr(watching, "SECONDS", 0.1)
    with pytest.raises(CheckFailed, match=r"Sleeps\.value blocks"):
        checks.survives_any_input(Sleeps, b"a:b\n")


class SleepsForEver(StreamHandler):
    async def handle(self):
        await LINE
        for_ever()


def for_ever():
    time.sleep(1_000)


class Backtracks(StreamHandler):
    """Asks a regular expression that tries every way to divide a word."""

    async def handle(self):
        while True:
            line = await LINE
            self.send(b"a word" if re.fullmatch(rb"([a-z]+)*!", line.strip()) else b"none")


@pytest.mark.slow
def test_a_state_that_never_returns_is_interrupted(monkeypatch):
    monkeypatch.setattr(watching, "SECONDS", 0.3)
    with pytest.raises(CheckFailed, match=r"SleepsForEver\.handle:\d+ blocks: it has not returned for 0\.3 seconds"):
        check(SleepsForEver, b"a\n")


@pytest.mark.slow
def test_a_call_in_c_that_computes_without_end_is_interrupted(monkeypatch):
    monkeypatch.setattr(watching, "COMPUTING", 1)
    with pytest.raises(CheckFailed, match=r"Backtracks\.handle:\d+ does not return: .* can match .* in many ways"):
        check(Backtracks, b"a" * 60 + b"\n")


def test_the_timer_of_the_caller_goes_on(monkeypatch):
    came = []
    before = signal.signal(signal.SIGALRM, lambda *_: came.append("due"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        check(Hits, b"a\n", modes=[], examples=2)
        time.sleep(0.2)
        assert came == ["due"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_timer_of_the_caller_is_not_lost_where_it_is_due_as_the_check_begins(monkeypatch):
    came = []

    def set_late(*arguments, real=signal.signal):
        before = real(*arguments)
        time.sleep(0.05)
        return before

    before = signal.signal(signal.SIGALRM, lambda *_: came.append("due"))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(signal, "signal", set_late)
            signal.setitimer(signal.ITIMER_REAL, 0.03)
            check(Hits, b"a\n", modes=[], examples=2)
        wait_until(lambda: came)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_check_has_a_deadline_and_says_what_it_was_trying():
    with pytest.raises(CheckFailed, match=r"^the check is not done after the 0\.2 seconds of .*: it was trying"):
        check(Hits, b"a\n" * 20, modes=[], examples=1_000, deadline=0.2)


def test_a_check_is_not_interrupted_in_a_callback_of_the_garbage_collector(monkeypatch):
    class Collects(StreamHandler):
        async def handle(self):
            sum(range(300_000))
            gc.collect(0)
            self.send(await LINE)

    def alarm(phase, info):
        if callable(signal.getsignal(signal.SIGALRM)):  # not behind the check, where it would end this process
            signal.raise_signal(signal.SIGALRM)

    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    gc.callbacks.append(alarm)
    try:
        with pytest.raises(CheckFailed, match=r"^the check is not done after the 0\.3 seconds of its deadline"):
            check(Collects, b"a\n", modes=[], examples=1_000, deadline=0.3)
    finally:
        gc.callbacks.remove(alarm)
    assert [unraisable.exc_value for unraisable in dropped] == []


def test_a_check_says_how_far_it_is():
    lines = []
    check(Hits, b"a\n", modes=[], examples=2, progress=lines.append)
    assert lines[0].endswith(f" seconds: 1 of {len(lines)}, drops_no_step")
    assert lines[-1].endswith(f" seconds: {len(lines)} of {len(lines)}, same_in_every_mode")


def test_work_outside_the_loop_that_takes_too_long_ends_the_check(monkeypatch):
    monkeypatch.setattr(watching, "OUTSIDE", 0.1)
    with pytest.raises(CheckFailed, match=r"the function of Threaded\(sleep\) takes too long .* answers at once"):
        check(Fetches, b"a\n")


def test_a_handler_that_only_computes_is_not_said_to_block(monkeypatch):
    monkeypatch.setattr(watching, "SECONDS", 0.02)

    class Computes(StreamHandler):
        async def handle(self):
            self.send(b"%d" % sum(range(20_000)))
            await LINE

    checks.ends_at_any_byte(Computes, b"a\n", examples=20)


COMPUTES = """
from handlers import StreamHandler, Until
from reactor import testing

class Computes(StreamHandler):
    async def handle(self):
        print("it runs", flush=True)
        self.send(b"%d" % sum(range(3_000_000)))
        await Until(b"\\n", limit=80)

testing.ends_at_any_byte(Computes, b"a\\n", examples=1)
"""


def test_the_time_in_which_the_process_is_stopped_is_not_taken_for_blocking():
    process = subprocess.Popen([sys.executable, "-c", COMPUTES], stdout=subprocess.PIPE, cwd=ROOT)
    with process:
        assert process.stdout.readline() == b"it runs\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(watching.SECONDS + 2 * watching.LOOKS)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


# Steps that are dropped, and answers that differ


def test_a_dropped_step_fails_the_check():
    class Forgets(StreamHandler):
        def handle(self):
            return LINE, self.line

        def line(self, data):
            self.send(data)
            LINE, self.line  # noqa: B018

    with pytest.raises(CheckFailed, match=r"Forgets: the step \(LINE, self.line\) is dropped: return it \(line, "):
        check(Forgets, b"a\n", b"a\n")


def test_a_coroutine_that_is_not_awaited_fails_the_check():
    class Keeps(StreamHandler):
        async def handle(self):
            helping = self.helper()
            self.send(await LINE)
            del helping

        async def helper(self):
            await LINE

    with pytest.raises(CheckFailed, match=r"coroutine .*Keeps\.helper' was never awaited, so it never ran: await it"):
        check(Keeps, b"a\n")


def test_long_answers_are_shown_from_their_first_difference_on():
    long = b"0123456789" * 9
    assert unlike_at(long + b"a", long + b"b") == "at byte 90: b'a', not b'b'"
    assert unlike_at(long, long + b"b") == "at byte 90: b'', not b'b'"
    assert unlike_at([b"x", long + b"a"], [b"x", long + b"b"]) == "packet 1: at byte 90: b'a', not b'b'"
    assert unlike_at([long + b"a"], [long + b"a", b"y"]) == "at packet 1: [], not [b'y']"
    assert unlike_at(b"a", b"b") == "b'a', not b'b'"
    assert unlike_at(None, long + b"b").startswith("None, not b'0123")


class Mail(StreamHandler):
    """Knows STARTTLS (RFC 3207)."""

    timeout = 30

    async def handle(self):
        while True:
            verb = (await Until(b"\r\n", limit=80))[:-2]
            if verb == b"STARTTLS" and not self.secured:
                self.send(b"220 go ahead\r\n")
                await Filtered(partial(TLS, context=self.server.context), held=REFUSE)
            else:
                self.send(b"250 secured\r\n" if self.secured else b"250 plain\r\n")


class MailForgets(Mail):
    """What comes in one read with STARTTLS is lost."""

    async def handle(self):
        while True:
            verb = (await Until(b"\r\n", limit=80))[:-2]
            self.send(b"250 secured\r\n" if self.secured else b"250 plain\r\n")
            if verb == b"STARTTLS" and not self.secured:
                self.take_held()
                await Filtered(partial(TLS, context=self.server.context), held=REFUSE)


STARTTLS = [b"NOOP\r\n", b"STARTTLS\r\n", b"NOOP\r\n", b"STARTTLS\r\n"]


@pytest.mark.slow
def test_a_handler_that_puts_tls_in_front_of_itself_is_tried_in_plain_text():
    server = SimpleNamespace(context=None)
    answer = b"250 plain\r\n220 go ahead\r\n250 secured\r\n250 secured\r\n"
    check(Mail, STARTTLS, answer, server=server, examples=2)
    with pytest.raises(CheckFailed, match="World\\(server=server, plain=True\\)"):
        checks.same_for_any_chunking(MailForgets, STARTTLS, world=World(server=server), examples=5)


class Challenges(StreamHandler):
    """Answers what it does not know with a random number."""

    timeout = 30

    async def handle(self):
        while True:
            line = await LINE
            self.send(line if line == b"get\n" else secrets.token_bytes(8))


def test_random_numbers_in_the_answer_to_a_damaged_conversation_show_nothing():
    checks.same_for_any_chunking_of_faults(Challenges, b"get\nget\n", examples=5)
