"""Connections that break while a row reads, writes or waits: the handler gets the cause."""

import errno
import os
import socket

import pytest

from handlers import Delay, Flushed, Reset, Some, Until
from tests.support.bench import Noting, bench, broken
from tests.support.serving import reset


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
