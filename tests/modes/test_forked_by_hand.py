"""A child that a handler has forked by ``os.fork()``: what it raises changes nothing of its parent's."""

import os
import signal
import time

import pytest

from handlers import StreamHandler, StreamRequestHandler, Until
from reactor import Reactor
from tests.support.serving import MODES, PATIENCE, connect, serving, wait_until

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def answer_to(line):
    """The line; for ``fork`` and ``return``, whether a child that raises, or that returns, has ended."""
    if line not in (b"fork\n", b"return\n"):
        return line
    child = os.fork()
    if child == 0:
        if line == b"return\n":
            return b""
        raise ZeroDivisionError("on purpose")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return b"ended\n"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return b"it ran on\n"


class Forks(StreamHandler):
    async def handle(self):
        while True:
            self.send(answer_to(await Until(b"\n")))


class ForksWhole(StreamRequestHandler):
    request = Until(b"\n")
    close_connection = False

    def handle(self):
        self.wfile.write(answer_to(self.rfile.readline()))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("handler", [Forks, ForksWhole])
def test_a_child_that_raises_ends_and_its_parent_serves_on(handler, mode):
    with serving(handler, mode) as server:
        with connect(server) as client:
            for line, answer in ((b"fork\n", b"ended\n"), (b"more\n", b"more\n")):
                client.sendall(line)
                assert client.recv(100) == answer
        wait_until(lambda: server.reactor.table.closed)
        assert [row["reason"] for row in server.reactor.table.closed] == [""]


@pytest.mark.parametrize("line", [b"fork\n", b"return\n"])
def test_a_child_that_goes_on_takes_nothing_of_other_connections(line):
    with serving(Forks, "select") as server, connect(server) as client, connect(server) as other:
        client.sendall(line)
        assert client.recv(100) == b"ended\n"
        for _ in range(10):
            other.sendall(b"more\n")
            assert other.recv(100) == b"more\n"


def test_a_child_that_has_closed_all_and_opened_other_files_loses_none_at_a_fork():
    told = []
    with Reactor() as reactor:
        if not reactor.children.fork(lambda status, words: told.append(status)):
            os.closerange(3, 100)
            files = [os.open(os.devnull, os.O_RDONLY) for _ in range(90)]
            child = os.fork()
            if not child:
                try:
                    for file in files:
                        os.fstat(file)
                except OSError:
                    os._exit(1)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        wait_until(lambda: reactor.step(0.1) or told)
    assert told == [0]
