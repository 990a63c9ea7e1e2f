"""`send_file`: a file in the output of a connection, in order, bounded, copied by the kernel or read in pieces."""

import gc
import io
import os
import random
import socket
import sys
from array import array
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import Failed, Flushed, LimitPassed, Reset, StreamHandler, StreamMachine, TimedOut, Until
from handlers.files import SMALL as SMALL_PART
from handlers.files import FilePart, Files
from handlers.filter import Filter, chain
from reactor.rows.copying import CHUNK, send_files
from reactor.testing import check
from tests.support.bench import PATTERN, SMALL, bench
from tests.support.resources import descriptors
from tests.support.serving import MODES, STREAMS, connect, receive, reset, rest, rest_of_cut, serving

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


class Xor(Filter):
    """Changes every byte, and has a window of its own."""

    window = 10_000

    def flow(self, data):
        self.put(bytes(byte ^ 1 for byte in data))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "pattern"
    path.write_bytes(PATTERN)
    return path


class Sending(StreamHandler):
    """Sends a head, the file of the server, and a tail."""

    async def handle(self):
        await Until(b"\n")
        self.send(b"head ")
        self.send_file(open(self.server.path, "rb"))  # noqa: SIM115
        self.send(b" tail")
        await Flushed()
        self.send(b" end")


@pytest.mark.parametrize("place", ["tcp", "unix"])
@pytest.mark.parametrize("mode", MODES)
def test_the_file_comes_in_order_with_other_output(mode, place, path):
    with serving(Sending, mode, STREAMS[place], path=path) as server, connect(server) as client:
        client.sendall(b"go\n")
        assert rest(client) == b"head " + PATTERN + b" tail end"


@pytest.mark.parametrize("mode", MODES)
def test_behind_a_filter_it_is_read_in_pieces(mode, tmp_path):
    data = PATTERN[:300_000]
    (tmp_path / "file").write_bytes(data)
    with serving(Sending, mode, path=tmp_path / "file", filters=[Xor]) as server, connect(server) as client:
        client.sendall(b"go\n")
        assert rest(client) == bytes(byte ^ 1 for byte in b"head " + data + b" tail end")


@pytest.mark.parametrize("how", ["no sendfile", "refused", "no descriptor", "passing"])
def test_where_the_kernel_can_not_copy_it_is_read(how, path, monkeypatch):
    class InMemory(Sending):
        max_descriptors = 1 if how == "passing" else 0

        async def handle(self):
            await Until(b"\n")
            self.send_file(io.BytesIO(PATTERN) if how == "no descriptor" else open(path, "rb"))  # noqa: SIM115

    def refuse(*arguments):
        raise OSError(22, "Invalid argument")

    if how == "no sendfile":
        monkeypatch.delattr(os, "sendfile")
    elif how == "refused":
        monkeypatch.setattr(os, "sendfile", refuse)
    with serving(InMemory, "select", STREAMS["unix"]) as server, connect(server) as client:
        client.sendall(b"go\n")
        assert rest(client) == PATTERN


def test_a_part_of_a_file(path):
    class Parts(StreamHandler):
        async def handle(self):
            for offset, count in ((100, 50), (0, 0), (len(PATTERN) - 10, None), (7, 1)):
                self.send_file(open(path, "rb"), offset, count)  # noqa: SIM115

    with serving(Parts, "select") as server, connect(server) as client:
        assert rest(client) == PATTERN[100:150] + PATTERN[-10:] + PATTERN[7:8]


# Bounds


def test_what_stands_behind_the_share_of_a_call_waits_for_the_next(path):
    ours, theirs = socket.socketpair()
    with ours, theirs, open(path, "rb") as file:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        ours.setblocking(False)
        outbox = Files(None)
        outbox.add(FilePart(file, 0, CHUNK))
        outbox += b"tail"
        counts = []
        while outbox:
            counts.append(send_files(ours, outbox))
            del outbox[: counts[-1]]
        assert counts == [CHUNK, 4]


def test_what_was_sent_before_a_file_that_is_too_short_is_told_first(path):
    ours, theirs = socket.socketpair()
    with ours, theirs, open(path, "rb") as file:
        outbox = Files(None)
        outbox += b"head"
        outbox.add(FilePart(file, len(PATTERN), 10))
        assert send_files(ours, outbox) == 4
        del outbox[:4]
        with pytest.raises(Failed):
            send_files(ours, outbox)


class Slow(Sending):
    max_output = 100_000

    async def handle(self):
        self.send_file(open(self.server.path, "rb"))  # noqa: SIM115
        await Until(b"\n")
        self.send(b"answer")


def test_a_file_counts_for_the_water_marks_and_not_as_bytes_held(path):
    with bench(Slow, sndbuf=SMALL) as here:
        here.server.path = path
        client = here.connect(rcvbuf=SMALL)
        client.sendall(b"go\n")
        here.rest()
        row = here.row
        assert row.held_out == 0
        assert not here.interest(row) & 1  # it does not read before the file has drained
        assert here.last_words(client) == PATTERN + b"answer"
        assert not here.errors


def test_other_rows_write_behind_the_file_up_to_max_output(path):
    with bench(Slow, sndbuf=SMALL) as here:
        here.server.path = path
        client = here.connect(rcvbuf=SMALL)
        row = here.row
        handler = row.channel.handler
        handler.send(b"x" * 60_000)
        assert row.held_out == 60_000
        taken = here.take(client, len(PATTERN))
        assert taken == PATTERN
        assert here.take(client, 60_000) == b"x" * 60_000

        handler.send_file(open(path, "rb"))  # noqa: SIM115
        handler.send(b"x" * 100_001)
        here.rest()
        assert isinstance(row.reason, LimitPassed)
        assert row not in here.table


def test_small_files_that_a_client_does_not_take_hold_no_descriptors(path):
    class Pieces(StreamHandler):
        async def handle(self):
            while True:
                await Until(b"\n")
                self.send_file(open(path, "rb"), 0, 1_000)  # noqa: SIM115

    with bench(Pieces, sndbuf=SMALL) as here:
        client = here.connect(rcvbuf=SMALL)
        here.rest()
        before = descriptors()
        client.sendall(b"\n" * 1_000)
        here.until(lambda: here.row.held_out >= Pieces.high_water)
        here.rest()
        assert here.row.held_out > Pieces.low_water  # the kernel may have taken some meanwhile
        assert descriptors() == before


def test_a_client_that_is_too_slow_for_the_rate_is_ended(path):
    class Demanding(StreamHandler):
        timeout = 0.05
        min_rate = 1 << 30

        async def handle(self):
            self.send_file(open(path, "rb"))  # noqa: SIM115

    with bench(Demanding, sndbuf=SMALL) as here:
        here.connect(rcvbuf=SMALL)
        row = here.row
        here.until(lambda: not len(here.table))
        assert isinstance(row.reason, TimedOut)
        assert "min_rate" in str(row.reason)


def test_the_deadline_of_a_wait_applies_while_a_file_holds_it_back(path):
    class Waiting(Slow):
        timeout = 0.05

    with bench(Waiting, sndbuf=SMALL) as here:
        here.server.path = path
        here.connect(rcvbuf=SMALL)
        row = here.row
        here.until(lambda: not len(here.table))
        assert isinstance(row.reason, TimedOut)


def test_a_request_that_has_ended_gets_time_for_the_rest_of_a_file(path):
    class Brief(StreamHandler):
        timeout = 0.2

        async def handle(self):
            self.send_file(open(path, "rb"))  # noqa: SIM115

    with serving(Brief, "select") as server, connect(server) as client:
        assert rest(client) == PATTERN


# Failures


@pytest.mark.parametrize("filters", [[], [Xor]], ids=["copied", "read"])
@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_is_shorter_than_told_is_an_error(mode, filters, tmp_path, journal):
    (tmp_path / "file").write_bytes(bytes(100_000))

    class Short(StreamHandler):
        async def handle(self):
            await Until(b"\n")  # the reset may not come before the client's connect() has returned
            self.send_file(open(tmp_path / "file", "rb"), 0, 100_001)  # noqa: SIM115
            await Flushed()

        def finish(self):
            self.server.journal.write(type(self.reason).__name__, self.reason)

    with serving(Short, mode, filters=filters, journal=journal) as server, connect(server) as client:
        client.sendall(b"go\n")
        assert len(rest_of_cut(client)) <= 100_000
        [line] = journal.wait_for(1)
    assert line.endswith("EOFError: the file ends 1 bytes too early, at 100000")
    assert line.startswith(Failed.__name__)


def test_the_file_is_closed_when_the_client_resets(path):
    files = []

    class Keeping(StreamHandler):
        async def handle(self):
            files.append(open(path, "rb"))  # noqa: SIM115
            self.send_file(files[0])
            await Flushed()

    with bench(Keeping, sndbuf=SMALL) as here:
        client = here.connect(rcvbuf=SMALL)
        row = here.row
        here.rest()
        assert not files[0].closed
        reset(client)
        here.until(lambda: not len(here.table))
        assert isinstance(row.reason, Reset)
        assert files[0].closed


@pytest.mark.parametrize("when", ["ended", "eof"])
def test_a_file_that_can_not_be_sent_is_closed_at_once(when, path):
    machine = StreamMachine(handler := StreamHandler())
    if when == "ended":
        machine.discard(TimedOut(Flushed()))
    else:
        handler.send_eof()
    file = open(path, "rb")  # noqa: SIM115
    handler.send_file(file)
    assert file.closed
    assert machine.held_out == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((io.StringIO("text"),), "binary"), (("name",), "binary"), ((io.BytesIO(b"abc"), -1), "offset and count"),
     ((io.BytesIO(b"abc"), 4), "offset and count"), ((io.BytesIO(b"abc"), 0, -1), "offset and count")],
)  # fmt: skip
def test_a_wrong_argument_is_refused(arguments, named):
    StreamMachine(handler := StreamHandler())
    with pytest.raises((TypeError, ValueError), match=named):
        handler.send_file(*arguments)


# In a machine without a row


@given(st.lists(st.one_of(st.binary(max_size=9), st.binary(max_size=9).map(io.BytesIO)), max_size=9), st.data())
@settings(max_examples=50)
def test_bytes_and_files_come_out_in_order_whatever_the_sizes_read(parts, data):
    class Scripted(StreamHandler):
        def handle(self):
            for part in parts:
                if isinstance(part, bytes):
                    self.send(part)
                else:
                    self.send_file(part)
            return Flushed(), lambda _: None

    expected = b"".join(part if isinstance(part, bytes) else part.getvalue() for part in parts)
    machine = chain(StreamMachine(Scripted()), data.draw(st.sampled_from([[], [Filter]])))
    with patch("handlers.files.SMALL", data.draw(st.sampled_from([0, 4, SMALL_PART]))):
        machine.advance()
    sizes = st.one_of(st.none(), st.integers(1, 12))
    out = []
    while piece := machine.read(data.draw(sizes)):
        out.append(piece)
    assert b"".join(out) == expected
    assert all(isinstance(part, bytes) or part.closed for part in parts)
    machine.advance()
    assert machine.finished
    assert machine.held_out == 0


@pytest.fixture
def no_small_part(monkeypatch):
    """A part of any size stays a file until it is sent."""
    monkeypatch.setattr("handlers.files.SMALL", 0)


class Framing(StreamHandler):
    """Sends a file between a head and a tail."""

    def __init__(self, file, count=None):
        self.file, self.count = file, count

    def handle(self):
        self.send(b"head ")
        self.send_file(self.file, 0, self.count)
        self.send(b" tail")


def test_read_gives_the_bytes_of_files_too(path):
    machine = StreamMachine(Framing(open(path, "rb")))  # noqa: SIM115
    machine.advance()
    assert machine.read(9) == b"head " + PATTERN[:4]
    assert machine.held_out == len(b" tail")
    assert machine.read() == PATTERN[4:] + b" tail"
    assert machine.read() == b""
    assert machine.handler.file.closed


def test_read_ends_a_request_whose_file_is_too_short_after_the_bytes_that_there_are():
    machine = StreamMachine(Framing(io.BytesIO(b"file"), 5))
    machine.advance()
    assert [machine.read(), machine.read(), machine.read()] == [b"head file", b"", b""]
    assert machine.handler.file.closed
    assert isinstance(machine.reason, Failed)


@pytest.mark.slow
@pytest.mark.usefixtures("no_small_part")
def test_check_sees_the_bytes_of_files_and_closes_all_of_them(path):
    class Answers(StreamHandler):
        timeout = 5

        async def handle(self):
            while True:
                await Until(b"\n", limit=9)
                self.send_file(open(path, "rb"), 0, 9)  # noqa: SIM115
                await Flushed()  # thousands of lines may come at once, and a process may open a thousand files

    check(Answers, b"go\ngo\n", PATTERN[:9] * 2, examples=10)
    gc.collect()  # a file that is left open is a ResourceWarning, which fails the test


@pytest.mark.slow
def test_two_hundred_at_once(path):
    class Piece(StreamHandler):
        async def handle(self):
            number = int(await Until(b"\n"))
            self.send_file(open(path, "rb"), number * 1_000, 10_000)  # noqa: SIM115

    with serving(Piece, "select", request_queue_size=256) as server:
        clients = [(number, connect(server)) for number in random.sample(range(200), 200)]
        for number, client in clients:
            client.sendall(b"%d\n" % number)
        for number, client in clients:
            assert receive(client, 20_000) == PATTERN[number * 1_000 :][:10_000]
            client.shutdown(socket.SHUT_RDWR)
            client.close()


def test_what_is_sent_behind_a_file_counts_by_its_bytes():
    """The items of a memoryview may have more than one."""
    machine, numbers = StreamMachine(Sending()), array("I", range(1_000))
    machine.handler.send_file(io.BytesIO(PATTERN))
    for _ in range(2):
        machine.handler.send(memoryview(numbers))
    assert machine.read() == PATTERN + numbers.tobytes() * 2
    assert machine.held_out == 0


class Unclosable(io.BytesIO):
    """A file whose ``close()`` raises."""

    def __init__(self, error):
        super().__init__(PATTERN)
        self.error = error

    def close(self):
        super().close()
        raise self.error


class Serves(StreamHandler):
    """Sends a file whose ``close()`` raises the error of the server, to the byte ``server.count``."""

    async def handle(self):
        if await Until(b"\n") == b"go\n":
            self.send_file(Unclosable(self.server.error), 0, self.server.count)
        self.send(b"tail")


def serves_closing(error, count, errors, mode, handler=Serves):
    """A server whose file raises ``error``; what is reported is added to ``errors``."""
    report = {"handle_error": lambda self, request, peer: errors.append(sys.exc_info()[1])}
    return serving(handler, mode, error=error, count=count, **report)


SHORT, LONG = len(PATTERN), len(PATTERN) + 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [SHORT, LONG], ids=["whole", "too short"])
def test_an_error_of_close_loses_nothing(mode, count):
    errors = []
    with serves_closing(OSError(5, "Input/output error"), count, errors, mode) as server:
        with connect(server) as client:
            client.sendall(b"go\n")
            if count == LONG:
                assert PATTERN.startswith(rest_of_cut(client))
            else:
                assert rest(client) == PATTERN + b"tail"
        with connect(server) as client:
            client.sendall(b"no\n")
            assert rest(client) == b"tail"
    assert errors == []


@pytest.mark.parametrize("count", [SHORT, LONG], ids=["whole", "too short"])
def test_any_other_error_of_close_ends_one_request(count):
    error, errors = ValueError("of the file"), []
    with serves_closing(error, count, errors, "select") as server:
        with connect(server) as client:
            client.sendall(b"go\n")
            (rest_of_cut if count == LONG else rest)(client)
        with connect(server) as client:
            client.sendall(b"no\n")
            assert rest(client) == b"tail"
    assert errors == [error]


def test_so_does_that_of_a_file_whose_output_is_too_much():
    class Overflows(Serves):
        max_output = 100

        async def handle(self):
            if await Until(b"\n") == b"go\n":
                self.send_file(Unclosable(self.server.error), 0, self.server.count)
                self.send(bytes(200))
            self.send(b"tail")

    error, errors = ValueError("of the file"), []
    with serves_closing(error, SHORT, errors, "select", Overflows) as server:
        with connect(server) as client:
            client.sendall(b"go\n")
            rest_of_cut(client)
        with connect(server) as client:
            client.sendall(b"no\n")
            assert rest(client) == b"tail"
    assert errors == [error]
