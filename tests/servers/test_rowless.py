"""Connections whose request ends in its first turn need no row, and nobody can tell."""

import errno
import gc
import io
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import (
    DatagramHandler,
    Delay,
    Flushed,
    LimitPassed,
    Packet,
    Queue,
    StreamHandler,
    Taken,
    Threaded,
    Until,
)
from reactor import Reactor, SelectTCPServer, SelectUnixStreamServer
from reactor.watchdog import Watchdog
from tests.support.bench import drain
from tests.support.looking import looking, outcomes
from tests.support.serving import connect, reset

BIG = 3_000_000


class Server(SelectTCPServer):
    def __init__(self, handler, reactor):
        self.errors = []
        super().__init__(("127.0.0.1", 0), handler, reactor=reactor)

    def handle_error(self, request, client_address):
        row = self.row_of(request)
        self.errors.append((repr(sys.exc_info()[1]), client_address[0], row.record()["reason"]))


class Played:
    """A server of ``handler`` that the test steps. Its next connection needs no row, if ``rowless``, and can be."""

    def __init__(self, handler, rowless=True, server=Server, reactor=None):
        self.reactor = reactor or Reactor()
        self.server = server(handler, self.reactor)
        self.clients = []
        if rowless:  # a connection that was short: the next is expected to be
            assert self.talk(b"\n") is not None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()
        self.server.server_close()
        self.reactor.close()

    def connect(self, data=b"", end=False):
        client = connect(self.server)
        self.clients.append(client)
        client.sendall(data)
        if end:
            client.shutdown(socket.SHUT_WR)
        client.setblocking(False)
        return client

    def talk(self, data, then=b"", end=False):
        """Connect with ``data``, send ``then`` when it is worked off, and return all that comes until the end."""
        client = self.connect(data, end)
        for _ in range(4 if then else 0):
            self.reactor.step(0.01)
        with suppress(ConnectionError):  # the connection has ended
            client.sendall(then)
        return self.rest(client)

    def rest(self, client):
        taken = bytearray()
        limit = time.monotonic() + 20
        while not drain(client, taken, sys.maxsize):
            assert time.monotonic() < limit, bytes(taken[:100])
            self.reactor.step(0.001)
        client.close()  # the server would linger for it
        while self.reactor.table:
            self.reactor.step(0.001)
        return bytes(taken)


class Inner(DatagramHandler):
    async def handle(self):
        self.send((await Packet()).upper())


class Every(StreamHandler):
    """Does what its line says; ``noted`` is what has happened."""

    noted: list

    def setup(self):
        self.noted.append("setup")

    async def handle(self):
        line = await Until(b"\n")
        for letter in line.decode().strip():
            await self.do(letter)

    async def do(self, letter):  # noqa: C901
        if letter == "s":
            self.send(b"sent")
        elif letter == "b":
            self.send(b"b" * BIG)
        elif letter == "w":
            self.send(b"<" + await Until(b"\n") + b">")
        elif letter == "d":
            await Delay(0)
        elif letter == "f":
            await Flushed()
        elif letter == "h":
            self.noted.append(await Threaded(len, b"four"))
        elif letter == "e":
            raise ArithmeticError("on purpose")
        elif letter == "l":
            raise LimitPassed(None, what="on purpose")
        elif letter == "t":
            [row] = self.server.reactor.table
            self.noted.append((row.state[:2], row.stage.value, row.total_in > 0, str(row.driven_by)))
        elif letter == "p":
            self.principal = "ada"
            self.noted.append((self.principal, self.peer[0], self.secured, self.descriptors, self.credentials))
        elif letter == "c":
            answers = Queue()
            self.call(Inner(), b"call", answers.put)
            self.send(await Taken(answers))
        elif letter == "x":
            self.send_eof()
        elif letter == "i":
            self.send_file(io.FileIO(os.dup(self.server.file)))

    def finish(self):
        self.noted.append(f"finish {self.reason!r}")
        self.send(b"finish")


class WithFile(Server):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.place = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self.place.write(b"file" * 30_000)
        self.place.flush()
        self.file = self.place.fileno()

    def server_close(self):
        super().server_close()
        self.place.close()


def outcome(rowless, data, then, end):
    """What can be seen of one connection."""
    Every.noted = []
    with Played(Every, rowless, WithFile) as played:
        before = dict(played.reactor.stats()["ended"])
        Every.noted.clear()
        output = played.talk(data, then, end)
        stats = played.reactor.stats()
        record = played.reactor.table.closed[-1]
        told = {key: record[key] for key in ("handler", "driven_by", "principal", "total_out", "reason")}
        ended = {key: number - before.get(key, 0) for key, number in stats["ended"].items()}
        return output, Every.noted, played.server.errors, told, {key: n for key, n in ended.items() if n}, stats["held"]


@settings(max_examples=40)
@given(st.text("sbwdfheltpcxi", max_size=4), st.sampled_from([b"", b"more", b"more\n"]), st.booleans())
def test_a_connection_gives_the_same_with_and_without_a_row(letters, then, end):
    data = letters.encode() + b"\n"
    then = b"more\n" * letters.count("w") + then  # what the handler waits for, and something behind it
    if end:
        data, then = data + then, b""
    assert outcome(True, data, then, end) == outcome(False, data, then, end)


def test_many_short_connections_are_counted_and_keep_no_descriptor():
    Every.noted = []
    with Played(Every) as played:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(40):
            assert played.talk(b"s\n") == b"sentfinish"
        assert len(os.listdir("/proc/self/fd")) == before
        stats = played.reactor.stats()
        assert stats["ended"] == {"": 41}
        assert (stats["open"], stats["total_in"], stats["total_out"]) == (0, 1 + 40 * 2, 6 + 40 * 10)
        assert [record["serial"] for record in played.reactor.table.closed] == list(range(1, 42))


class InStates(Every):
    def handle(self):
        return Until(b"\n"), self.answer

    def answer(self, line):
        self.send(line)


@pytest.mark.parametrize("kind", [Every, InStates])
def test_a_signal_handler_may_look_at_the_table_at_any_time(kind):
    def play(point):
        Every.noted = []
        with Played(kind) as played:
            before = played.reactor.stats()
            Every.noted.clear()
            with looking(played.reactor.table, point) as look:
                output = played.talk(b"ss\n")
            after = played.reactor.stats()
            counted = [after[key] - before[key] for key in ("total_in", "total_out")]
            return look.has_looked, (output, Every.noted, counted, after["ended"], after["open"])

    found, points = outcomes(play)
    output = b"sentsentfinish" if kind is Every else b"ss\nfinish"
    assert found == [(output, ["setup", "finish None"], [3, len(output)], {"": 2}, 0)]
    assert points > 40


def test_a_connection_without_a_row_is_not_registered_with_the_selector():
    registered = []

    class Noting(type(Reactor()._selector)):
        def register(self, fileobj, events, data=None):
            registered.append(type(data).__name__)
            return super().register(fileobj, events, data)

    Every.noted = []
    with Played(Every, reactor=Reactor(Noting())) as played:
        registered.clear()
        assert played.talk(b"s\n") == b"sentfinish"
        assert registered == []
        assert played.talk(b"", b"s\n") == b"sentfinish"  # this one waits
        assert registered == ["StreamRow"]


@pytest.mark.parametrize("error", [BlockingIOError(errno.EAGAIN, "full"), ConnectionResetError(errno.ECONNRESET, "x")])
def test_output_that_the_kernel_does_not_take_is_sent_by_the_row(error, monkeypatch):
    Every.noted = []
    with Played(Every) as played:
        send, failures = socket.socket.send, [error]

        class Full(socket.socket):
            def send(self, *arguments):
                if failures:
                    raise failures.pop()
                return send(self, *arguments)

        monkeypatch.setattr(socket.socket, "send", Full.send)
        client = played.connect()
        send(client, b"s\n")
        output = played.rest(client)
        if isinstance(error, BlockingIOError):
            assert output == b"sentfinish"
            assert played.reactor.table.closed[-1]["reason"] == ""
            assert played.reactor.stats()["ended"] == {"": 2}
        else:
            assert output == b""
            assert played.reactor.table.closed[-1]["reason"].startswith("Reset")
            assert played.reactor.stats()["ended"] == {"": 1, "Reset": 1}


def test_output_that_the_kernel_takes_only_a_part_of_is_finished_by_the_row(tmp_path):
    """A Unix socket does not tell that there is output which a close would lose."""

    def at_path(handler, reactor):
        return SelectUnixStreamServer(str(tmp_path / "socket"), handler, reactor=reactor)

    Every.noted = []
    with Played(Every, server=at_path) as played:
        assert played.talk(b"b\n") == b"b" * BIG + b"finish"


def test_a_handler_that_is_kept_still_tells_and_sends_nothing():
    kept = []

    class Keeping(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\n"))
            kept.append((self, self.peer))
            with pytest.raises(RuntimeError, match="by returning None"):
                self.close()

    with Played(Keeping) as played:
        assert played.talk(b"word\n") == b"word\n"
        handler, peer = kept[-1]
        handler.send(b"y")
        handler.close()
        handler.call(Inner(), b"call", handler.send)
        told = handler.peer, handler.server, handler.principal, handler.secured, handler.reason, handler.alpn
        assert told == (peer, played.server, None, None, None, None)
        assert (handler.credentials, handler.descriptors, handler.channel_binding("tls-unique")) == (None, [], None)
        assert abs(handler.now() - time.time()) < 60
        handler.principal = "ada"
        assert handler.principal == "ada"
        assert not played.reactor.table
        freed = weakref.ref(handler)
        del handler
        kept.clear()
        gc.disable()
        try:
            assert freed() is None
        finally:
            gc.enable()


def test_a_handler_that_can_not_be_made_is_reported_and_others_are_served():
    class Unmade(Every):
        made = 0

        def __init__(self):
            type(self).made += 1
            if self.made == 2:
                raise ArithmeticError("not made")

    Every.noted = []
    with Played(Unmade) as played:
        assert played.talk(b"s\n") == b""
        assert [error[0] for error in played.server.errors] == ["ArithmeticError('not made')"]
        assert played.talk(b"s\n") == b"sentfinish"
        assert played.reactor.stats()["ended"] == {"": 2, "ArithmeticError": 1}


@pytest.mark.parametrize("rowless", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_leaves_the_loop_and_the_request_in_the_table(error, rowless):
    class Ending(Every):
        async def do(self, letter):
            raise error

    Every.noted = []
    with Played(Ending, rowless) as played:
        before = played.reactor.stats()["ended"]
        client = played.connect(b"s\n")
        with pytest.raises(error):
            played.reactor.run()
        [row] = played.reactor.table
        assert row.state == "finished"
        assert played.rest(client) == b"finish"
        assert played.reactor.stats()["ended"] == {**before, error.__name__: 1}


def test_a_state_that_blocks_is_named_by_the_watchdog(caplog):
    class Blocking(Every):
        async def do(self, letter):
            time.sleep(0.3)

    Every.noted = []
    with Played(Blocking, reactor=Reactor(Watchdog(seconds=0.05))) as played:
        assert played.talk(b"s\n") == b"finish"
        assert played.reactor.table.closed[-1]["reason"] == ""
    [record] = caplog.records
    assert "Blocking.handle:" in record.getMessage()
    assert record.row["handler"] == "Blocking"


def test_a_client_that_has_ended_or_reset_the_connection_before_it_is_read():
    Every.noted = []
    with Played(Every) as played:
        played.server.errors.clear()
        assert played.talk(b"", end=True) == b"finish"
        client = played.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        for _ in range(5):
            played.reactor.step(0.01)
        ended = played.reactor.stats()["ended"]
        assert ended.pop("Reset", 1) == 1  # or Linux has not let the connection be accepted
        assert ended == {"": 2}


def test_the_last_answer_arrives_whole_whatever_the_client_still_sends():
    Every.noted = []
    with Played(Every) as played:
        client = played.connect(b"s\n" + bytes(300_000))  # more than is read at once
        for _ in range(5):
            played.reactor.step(0.01)
        assert client.recv(100) == b"sentfinish"
        assert client.recv(100) == b""  # and no reset
        client.shutdown(socket.SHUT_WR)
        assert played.rest(client) == b""
        assert played.reactor.stats()["ended"] == {"": 2}


class Long(StreamHandler):
    """Answers with more than the window of a client that has little room, and less than the server's kernel takes."""

    answer = b"q\n" * 15_000

    async def handle(self):
        await Until(b"\n")
        self.send(self.answer)


def test_an_answer_that_the_client_has_not_acknowledged_arrives_whole_if_it_sends_more():
    with Played(Long) as played, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        client.connect(played.server.server_address)
        client.sendall(b"go\n")
        for _ in range(5):
            played.reactor.step(0.01)
        client.sendall(b"more")  # a close would have been a reset now
        client.setblocking(False)
        assert played.rest(client) == Long.answer
        assert played.reactor.stats()["ended"] == {"": 2}


def test_a_client_that_resets_when_it_has_the_answer_is_no_error(monkeypatch):
    Every.noted = []
    with Played(Every) as played:
        client, send = played.connect(b"s\n"), socket.socket.send

        class Answered(socket.socket):
            def send(self, *arguments):
                count = send(self, *arguments)
                reset(client)
                return count

        monkeypatch.setattr(socket.socket, "send", Answered.send)
        for _ in range(5):
            played.reactor.step(0.01)
        assert played.reactor.stats()["ended"] == {"": 2}


IMPORTS_NOTHING = """
import socket, sys
from handlers import StreamHandler, Until
from reactor import Reactor, SelectTCPServer, SelectUnixStreamServer
class Echo(StreamHandler):
    async def handle(self):
        self.send(await Until(b"\\n"))
with Reactor() as loop, SelectTCPServer(("127.0.0.1", 0), Echo, reactor=loop) as server:
    before = set(sys.modules)
    for _ in range(3):
        with socket.socket() as client:
            client.connect(server.server_address)
            client.sendall(b"word\\n")
            loop.step(1)
            while loop.table:
                loop.step(1)
            assert client.recv(10) == b"word\\n"
    assert loop.stats()["ended"] == {"": 3}
    print(sorted(set(sys.modules) - before))
"""


def test_serving_imports_no_module_for_which_the_host_may_have_no_descriptor():
    run = subprocess.run([sys.executable, "-c", IMPORTS_NOTHING], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("[]\n", "")


LOOKS_AT_THE_TABLE = """
import socket
from handlers import DatagramHandler, Packet, StreamHandler, Until
from reactor import Reactor, SelectTCPServer, SelectUDPServer

class Echo(StreamHandler):
    async def handle(self):
        self.send(await Until(b"\\n"))
        print(len(self.server.reactor.table))

class EchoPacket(DatagramHandler):
    async def handle(self):
        self.send(await Packet())
        print(len(self.server.reactor.table))

for server_class, handler, kind in (
    (SelectTCPServer, Echo, socket.SOCK_STREAM), (SelectUDPServer, EchoPacket, socket.SOCK_DGRAM)
):
    with Reactor() as loop, server_class(("127.0.0.1", 0), handler, reactor=loop) as server:
        for _ in range(3):
            with socket.socket(type=kind) as client:
                client.connect(server.server_address)
                client.sendall(b"word\\n")
                loop.step(1)
                while loop.table:
                    loop.step(1)
                if client.recv(10) != b"word\\n":
                    raise SystemExit("no answer")
"""


@pytest.mark.parametrize("options", [[], ["-O"]])
def test_a_running_request_is_in_the_table_where_assertions_are_left_out(options):
    command = [sys.executable, *options, "-c", LOOKS_AT_THE_TABLE]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("1\n" * 6, "")


ENDS_THE_PROGRAM = """
import socket
from handlers import StreamHandler, Until
from reactor import Reactor, SelectTCPServer

class Ending(StreamHandler):
    async def handle(self):
        if await Until(b"\\n") == b"end\\n":
            raise SystemExit

with Reactor() as loop, SelectTCPServer(("127.0.0.1", 0), Ending, reactor=loop) as server:
    for line in b"brief\\n", b"end\\n":
        with socket.create_connection(server.server_address) as client:
            client.sendall(line)
            try:
                loop.step(1)
                while loop.table:
                    loop.step(1)
            except SystemExit:
                print([row.handler for row in loop.table])
"""


@pytest.mark.parametrize("options", [[], ["-O"]])
def test_what_ends_the_program_leaves_the_request_in_the_table_where_assertions_are_left_out(options):
    command = [sys.executable, *options, "-c", ENDS_THE_PROGRAM]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stdout == "['Ending']\n", run.stderr


def test_descriptors_for_a_request_that_has_ended_without_a_row_are_closed():
    class Kept(StreamHandler):
        async def handle(self):
            ended.append(self)
            await Until(b"\n")

    ended = []
    reader, writer = os.pipe()
    with Played(Kept) as play:
        play.talk(b"\n")
        ended[-1].send_descriptors(b"!", [reader])
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(reader)
    os.close(writer)
