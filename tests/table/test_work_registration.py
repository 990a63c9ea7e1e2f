"""A new wait that needs work outside the loop is one class and one registration."""

import socket
import threading

import pytest

from handlers import Failed, Outside, StreamHandler, TimedOut
from reactor import Reactor, SelectTCPServer, TCPServer, ThreadingTCPServer
from reactor.table import work


class FileRead(Outside):
    """The content of a file."""

    __slots__ = ("path",)

    def __init__(self, path, timeout=None):
        super().__init__(timeout)
        self.path = path

    def _said(self):
        return (self.path,)


class Reading:
    """Reads the file in a thread, which the test may hold back."""

    go_on = threading.Event()
    cancelled = threading.Event()

    def __init__(self, row, wait):
        self.row, self.wait = row, wait

    def start(self):
        self.row.reactor.make_wakeup()
        threading.Thread(target=self._read, daemon=True).start()

    def cancel(self):
        self.cancelled.set()

    def close_copy(self):
        pass

    def _read(self):
        self.go_on.wait(60)
        try:
            with open(self.wait.path, "rb") as file:
                result = file.read()
        except OSError as error:
            result = Failed(self.wait, error)
        self.row.reactor.work.finish(self.row, self, result)


class Sender(StreamHandler):
    async def handle(self):
        try:
            self.send(await FileRead(self.server.path, self.server.patience))
        except (Failed, TimedOut) as cause:
            self.send(type(cause).__name__.encode())


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(work, "_makers", dict(work._makers))
    work.does(FileRead)(Reading)
    Reading.go_on.set()
    Reading.cancelled.clear()
    yield
    Reading.go_on.set()


def answer(kind, path, patience=30.0):
    with kind(("127.0.0.1", 0), Sender) as server:
        server.path, server.patience = path, patience
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with socket.create_connection(server.server_address, timeout=30) as client:
                client.shutdown(socket.SHUT_WR)
                return client.recv(100)
        finally:
            server.shutdown()
            thread.join()


KINDS = pytest.mark.parametrize("kind", [SelectTCPServer, TCPServer, ThreadingTCPServer])


@KINDS
def test_the_result(registered, kind, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert answer(kind, tmp_path / "file") == b"content"


@KINDS
def test_a_failure(registered, kind, tmp_path):
    assert answer(kind, tmp_path / "missing") == b"Failed"


@KINDS
def test_a_timeout_cancels_the_work(registered, kind, tmp_path):
    Reading.go_on.clear()
    assert answer(kind, tmp_path / "missing", 0.05) == b"TimedOut"
    assert Reading.cancelled.is_set()


def test_a_cancelled_row_cancels_the_work(registered, tmp_path):
    Reading.go_on.clear()
    with Reactor() as reactor, SelectTCPServer(("127.0.0.1", 0), Sender, reactor=reactor) as server:
        server.path, server.patience = tmp_path / "missing", 30.0
        with socket.create_connection(server.server_address, timeout=30):
            while not reactor.work.jobs:
                reactor.step(0.05)
            reactor.cancel(list(reactor.table))
            assert Reading.cancelled.is_set()
