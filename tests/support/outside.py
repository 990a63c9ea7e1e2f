"""Work that a handler has done in a child or a thread, and a gate at which that work waits."""

import os
import signal
import socket
from contextlib import ExitStack, contextmanager

from handlers import Failed, StreamHandler, TimedOut, Until
from reactor import Reactor
from tests.support.bench import bench
from tests.support.serving import PATIENCE, STREAMS, connect, made, rest, server_class

TCP = STREAMS["tcp"]


class Gate:
    """Where outside work waits until the test opens the gate for it; each reports its pid first."""

    def __init__(self):
        self._told, self._tell = os.pipe()
        self._wait, self._open = os.pipe()
        os.set_blocking(self._told, False)
        self._pids = set()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.waiting()
        for pid in filter(is_there, self._pids - {os.getpid()}):
            os.kill(pid, signal.SIGKILL)  # only if the test has failed
        for descriptor in (self._told, self._tell, self._wait, self._open):
            os.close(descriptor)

    def wait(self, result=None):
        """In outside work: report the pid and the result, wait until the gate is opened, and return the result."""
        os.write(self._tell, f"{os.getpid()} {result}\n".encode())
        os.read(self._wait, 1)
        return result

    def open(self, number=1):
        os.write(self._open, b"x" * number)

    def waiting(self):
        """The ``(pid, result)`` of the work that has begun to wait since the last call."""
        try:
            lines = os.read(self._told, 65_536).decode().splitlines()
        except BlockingIOError:
            return []
        waiting = [(int(pid), result) for pid, result in map(str.split, lines)]
        self._pids.update(pid for pid, _ in waiting)
        return waiting


def is_there(pid):
    """Whether the process exists, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Worker(StreamHandler):
    """For each line waits for the server's ``job(word)``, and answers with its result or failure."""

    async def handle(self):
        while True:
            word = await Until(b"\n")
            try:
                result = await self.server.job(word[:-1].decode())
            except Failed as failed:
                self.send(f"{type(failed.error).__name__}: {failed.error}\n".encode())
            except TimedOut:
                self.send(b"timed out\n")
            else:
                self.send(f"{result!r}\n".encode())


@contextmanager
def workshop(job, **members):
    """A `bench` for `Worker`; ``members`` are those of its reactor's class."""
    with bench(Worker, reactor_class=type("Workshop", (Reactor,), members)) as here:
        here.server.job = job
        yield here


def ask_worker(here, client, word="go"):
    """Send a word and return the line that answers it."""
    client.sendall(word.encode() + b"\n")
    return line(here, client)


def line(here, client):
    answer = b""
    while not answer.endswith(b"\n"):
        answer += here.take(client, 1)
    return answer[:-1].decode()


def answer_in(mode, job):
    """The answer of `Worker` to one word, in a server of this mode that serves by one ``handle_request()``."""
    kind = server_class(mode, TCP, job=staticmethod(job), timeout=PATIENCE)
    with made(kind, TCP, Worker) as server, connect(server) as client:
        client.sendall(b"word\n")
        client.shutdown(socket.SHUT_WR)
        server.handle_request()
        return rest(client).decode().rstrip("\n")


def here_until(here, condition):
    """Step until the condition is true; returns its value."""
    results = []
    here.until(lambda: results.append(condition()) or results[-1])
    return results[-1]


def close_row(here, client):
    next(iter(here.table)).channel.close()


def cancel_row(here, client):
    here.reactor.cancel(here.table)


def close_server(here, client):
    here.server.server_close()


def close_reactor(here, client):
    here.reactor.close()


@contextmanager
def listening(backlog=5):
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        listener.settimeout(PATIENCE)
        yield listener


@contextmanager
def deaf():
    """The address of a listener whose backlog is full: connections to it neither succeed nor fail."""
    with listening(backlog=0) as listener, ExitStack() as stack:
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()
