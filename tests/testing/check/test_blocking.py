"""Calls that block are found in the source of the states and of what they call, and nothing else is accused."""

import queue
import socket
import socketserver
import subprocess
import threading
import time
import urllib.request

import pytest

from handlers import Delay, StreamHandler, StreamRequestHandler, Threaded, Until
from reactor.testing import calls_nothing_that_blocks
from reactor.testing.running.report import CheckFailed

LINE = Until(b"\n", limit=80)
JOBS = queue.Queue()


class Asks(StreamHandler):
    async def handle(self):
        await LINE
        self.send(input().encode())


class Fetches(StreamHandler):
    async def handle(self):
        with urllib.request.urlopen("http://127.0.0.1/") as page:
            self.send(page.read())
        await LINE


class Runs(StreamHandler):
    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.send(subprocess.run(["true"], check=True, capture_output=True).stdout)


class Receives(StreamHandler):
    async def handle(self):
        upstream = socket.socket()
        upstream.connect(("127.0.0.1", 9))
        upstream.sendall(await LINE)


class ReceivesLater(StreamHandler):
    def setup(self):
        self.upstream = socket.create_connection(("127.0.0.1", 9))

    async def handle(self):
        await LINE
        self.send(self.upstream.recv(80))


class TakesJobs(StreamHandler):
    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.send(JOBS.get())
        return self.handle()


class WaitsForAThread(StreamHandler):
    async def handle(self):
        done = threading.Event()
        threading.Thread(target=done.set).start()
        done.wait()
        await LINE


class ImportsInside(StreamHandler):
    async def handle(self):
        from time import sleep

        sleep(0.1)
        await LINE


WRONG = [Asks, Fetches, Runs, Receives, ReceivesLater, TakesJobs, WaitsForAThread, ImportsInside]


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_a_call_that_blocks_is_told_from_the_source(kind):
    with pytest.raises(CheckFailed, match=rf"^{kind.__name__}: .* blocks every other request: wait for .*, line \d+\)"):
        calls_nothing_that_blocks(kind)


class Looks(StreamHandler):
    async def handle(self):
        upstream = socket.socket()
        upstream.setblocking(False)
        upstream.connect_ex(("127.0.0.1", 9))
        self.send(upstream.recv(80))
        self.send(JOBS.get(block=False))
        time.sleep(0)
        await Threaded(self.work, timeout=5)

    def work(self):
        time.sleep(1)


class ServesAThread(StreamRequestHandler):
    request = LINE

    def handle(self):
        time.sleep(0.1)


class OfOld(socketserver.StreamRequestHandler):
    request = LINE

    def handle(self):
        self.wfile.write(self.rfile.readline())
        time.sleep(0.1)


class Own(StreamHandler):
    """Has methods of its own with these names."""

    def sleep(self, seconds):
        return seconds

    async def handle(self):
        await Delay(self.sleep(1))


@pytest.mark.parametrize("kind", [Looks, ServesAThread, OfOld, Own], ids=lambda kind: kind.__name__)
def test_what_does_not_block_the_loop_is_not_accused(kind):
    calls_nothing_that_blocks(kind)
