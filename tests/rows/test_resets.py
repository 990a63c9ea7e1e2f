"""Connections that break while a row reads, writes or waits: the handler gets the cause."""

import errno
import os
import select
import socket
import sys
import threading

import pytest

from handlers import Delay, Flushed, Queue, Reset, Some, StreamHandler, Taken, Threaded, Until
from reactor.loop import selecting
from reactor.rows.hangup import hangup
from tests.support.bench import Noting, bench, broken
from tests.support.serving import PATIENCE, STREAMS, connect, reset, serving, wait_until

HANGUPS = [
    kind
    for name in ("PollSelector", "EpollSelector")
    if (kind := getattr(selecting, name, None)) is not None and kind.events & selecting.EVENT_HANGUP
]
"""The selectors that report a hang-up to a row that neither reads nor writes."""


def test_a_reset_while_the_row_reads_reaches_interrupted():
    class Reading(Noting):
        async def handle(self):
            await Until(b"\n")

    with bench(Reading) as here:
        reset(here.connect())
        row = here.row
        here.until(lambda: not len(here.table))
        cause = broken(Reading)
        assert isinstance(cause, Reset)
        assert isinstance(cause.error, ConnectionResetError)
        assert row.channel.reason is cause
        assert here.errors == []


def test_a_reset_while_the_row_only_writes_reaches_interrupted(place):
    class Writing(Noting):
        async def handle(self):
            while True:
                self.send(b"x" * 100_000)
                await Flushed()

    with bench(Writing, place) as here:
        reset(here.connect())
        here.until(lambda: not len(here.table))
        cause = broken(Writing)
        assert isinstance(cause, Reset)
        assert isinstance(cause.error, (BrokenPipeError, ConnectionResetError))
        assert here.errors == []


@pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH])
@pytest.mark.parametrize("call", ["recv", "send", "shutdown"])
def test_every_error_of_recv_send_and_shutdown_reaches_interrupted(call, number):
    """Whatever step the handler returns for it, the row ends."""

    class Stubborn(Noting):
        async def handle(self):
            self.send(await Some())
            self.send_eof()
            await Delay(1000)

        def interrupted(self, cause):
            self.causes.append(cause)
            self.send(b"you must hear this")
            return Delay(1000), self.interrupted

    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    with bench(Stubborn, wrap=type("Breaking", (socket.socket,), {call: fail})) as here:
        client = here.connect()
        client.sendall(b"word")
        here.until(lambda: not len(here.table))
        assert broken(Stubborn).error.errno == number
        assert here.errors == []


def test_input_before_the_end_of_the_stream_is_handled_even_if_the_answer_fails(place):
    class Upper(Noting):
        heard = []

        async def handle(self):
            while True:
                line = await Until(b"\n")
                self.heard.append(line)
                self.send(line)

    with bench(Upper, place) as here:
        client = here.connect()
        client.sendall(b"one\ntwo\n")
        client.close()
        here.until(lambda: not len(here.table))
        assert Upper.heard == [b"one\n", b"two\n"]
        assert here.errors == []


# While nothing is read


@pytest.mark.parametrize("kind", HANGUPS, ids=lambda kind: kind.__name__)
def test_a_reset_while_the_row_neither_reads_nor_writes_ends_it(kind, place):
    class Resting(Noting):
        async def handle(self):
            await Until(b"\n")
            await Delay(1000)

    with bench(Resting, place, selector=kind) as here:
        client = here.connect()
        client.sendall(b"\n")
        here.until(lambda: type(here.row.channel.wait) is Delay)
        here.rest()
        reset(client)
        here.until(lambda: not len(here.table))
        assert isinstance(broken(Resting), Reset)
        assert here.errors == []


@pytest.mark.parametrize("kind", HANGUPS, ids=lambda kind: kind.__name__)
def test_a_handler_that_ends_its_output_after_a_hang_up_has_the_input_from_before(kind):
    gate, heard = Queue(1), []

    class Late(Noting):
        async def handle(self):
            await Until(b"\n")
            await Taken(gate)
            self.send_eof()
            await Taken(gate)
            heard.append(await Some())

    with bench(Late, STREAMS["unix"], selector=kind) as here:
        client = here.connect()
        client.sendall(b"\n")
        here.rest()
        client.sendall(b"more")
        client.close()
        for _ in range(2):
            here.rest()
            gate.put(None)
        here.until(lambda: not len(here.table))
        assert heard == [b"more"]
        assert here.errors == []


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels drop the input when the reset comes")
@pytest.mark.parametrize("kind", HANGUPS, ids=lambda kind: kind.__name__)
def test_a_handler_that_rests_while_its_client_resets_has_the_input_from_before(kind):
    gate = Queue(1)

    class Late(Noting):
        async def handle(self):
            await Until(b"\n")
            await Taken(gate)
            heard.append(await Until(b"\n"))
            await Some()

    heard = []
    with bench(Late, selector=kind) as here:
        client = here.connect()
        client.sendall(b"\n")
        here.rest()
        client.sendall(b"more\n")
        reset(client)
        here.rest()
        assert len(here.table) == 1
        gate.put(None)
        here.until(lambda: not len(here.table))
        assert heard == [b"more\n"]
        assert isinstance(broken(Late), Reset)
        assert here.errors == []


@pytest.mark.parametrize("kind", HANGUPS, ids=lambda kind: kind.__name__)
def test_a_reset_while_the_row_waits_for_the_output_of_another_ends_it(kind, place):
    hub = []

    class Following(Noting):
        async def handle(self):
            if await Until(b"\n") == b"hub\n":
                hub.append(self)
                self.send(bytes(8_000_000))
                await Flushed()
            await Flushed(hub[0])

    with bench(Following, place, selector=kind) as here:
        here.connect().sendall(b"hub\n")
        here.until(lambda: hub)
        client = here.connect()
        row = here.row
        client.sendall(b"\n")
        here.until(lambda: type(row.channel.wait) is Flushed)
        here.rest()
        reset(client)
        here.until(lambda: row not in here.table)
        assert isinstance(row.reason, Reset)
        assert not hub[0]._machine.followers


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("mode", ["select", "thread", "plain"])
def test_a_reset_while_a_thread_works_ends_the_row_in_the_loop_of_every_mode(mode, place):
    """The loop inside of a thread, or of the caller, has a selector of its own."""
    gate = threading.Event()

    class Working(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            self.server.works = True
            await Threaded(gate.wait, PATIENCE)

    with serving(Working, mode, place, works=False) as server:
        client = connect(server)
        client.sendall(b"\n")
        wait_until(lambda: server.works)
        reset(client)
        wait_until(lambda: server.reactor.table.closed)
        assert not gate.is_set()
        gate.set()
        assert server.reactor.table.closed[0]["reason"].startswith("Reset")


every_age = pytest.mark.parametrize("has_begun", [True, False])


@every_age
@pytest.mark.parametrize("pending", [False, True])
def test_a_hang_up_has_the_error_of_the_socket_or_that_of_a_reset(pending, has_begun):
    with socket.create_server(("127.0.0.1", 0)) as listener, connect_to(listener) as client:
        accepted, _ = listener.accept()
        with accepted:
            (reset if pending else socket.socket.close)(client)
            wait_until(lambda: select.select([accepted], [], [], 0)[0])
            error = hangup(accepted, has_begun)
        assert (type(error), error.errno) == (ConnectionResetError, errno.ECONNRESET)


@every_age
def test_a_hang_up_of_a_socket_that_a_hook_has_closed_has_the_error_of_that(has_begun):
    with socket.socket() as closed:
        closed.close()
        assert hangup(closed, has_begun).errno == errno.EBADF


@every_age
def test_a_connection_that_has_not_hung_up_says_so(has_begun):
    with socket.create_server(("127.0.0.1", 0)) as listener, connect_to(listener):
        accepted, _ = listener.accept()
        with accepted, pytest.raises(BlockingIOError):
            hangup(accepted, has_begun)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels drop the input when the reset comes")
def test_input_from_before_a_reset_is_left_to_a_request_that_has_begun_and_to_no_other():
    with socket.create_server(("127.0.0.1", 0)) as listener, connect_to(listener) as client:
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"input")
            reset(client)
            assert hangup(accepted, True) is None
            assert hangup(accepted, False).errno == errno.ECONNRESET


def connect_to(listener):
    return socket.create_connection(listener.getsockname(), PATIENCE)
