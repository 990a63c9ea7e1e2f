"""What `tests.proofs.instructions` counts; it runs under callgrind.

A server in select mode and its clients are in one process and one thread. Only what the server does in the steps of its
loop is counted. Each work is done for some messages and for twice as many, and the difference is counted. So what a
step costs without messages is left out.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import socket
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import Context
from functools import partial
from typing import Any

from handlers import StreamHandler
from reactor import Reactor, SelectTCPServer, SelectUDPServer, StreamRequestHandler, TCPServer, ThreadingTCPServer
from reactor.loop.selecting import DefaultSelector
from tests.benchmarks.messages import FRAMES, LINE, LINES, REDIS, Exchange
from tests.benchmarks.peers import ours, redis
from tests.support.loops import Clock
from tests.support.serving import PATIENCE, STREAMS, Place, made

MESSAGES = 16
TIMES = 8

TCP, UDP = STREAMS["tcp"], Place("UDPServer", socket.AF_INET, "127.0.0.1")


class Counter:
    """Counts while it is told to, in a process under callgrind."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        self._library.begin()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """What is done meanwhile is counted."""
        self._library.toggle()
        try:
            yield
        finally:
            self._library.toggle()

    def write_down(self, name: str) -> None:
        """Write down what was counted since the last time, under this name."""
        self._library.write_down(name.encode())


class Served:
    """A server and its clients. The loop has a clock that stands still."""

    def __init__(self, counter: Counter, kind: type, place: Place, handler: type, stack: ExitStack) -> None:
        self.counter, self.stack, self.place = counter, stack, place
        self.selector = DefaultSelector()
        self.reactor = stack.enter_context(Reactor(self.selector, Clock()))
        self.server = stack.enter_context(made(kind, place, handler, self.reactor))

    def connect(self) -> socket.socket:
        """A client."""
        kind = socket.SOCK_DGRAM if self.place is UDP else socket.SOCK_STREAM
        client = self.stack.enter_context(socket.socket(socket.AF_INET, kind))
        client.settimeout(PATIENCE)
        client.connect(self.server.server_address)
        return client

    def send(self, clients: list[socket.socket], message: bytes) -> None:
        """Send the message on each; the kernel has passed it on when this returns."""
        for client in clients:
            client.sendall(message)
        for client in clients:
            self.wait(partial(delivered, client))

    def step(self, until: Callable[[], bool], counts: bool = True) -> None:
        """Do all that there is to do, and more as it comes until the condition holds; what the loop does is counted."""
        while True:
            while self.reactor.timeout() == 0 or self.selector.select(0):
                with self.counter.counting() if counts else nullcontext():
                    self.reactor.step(0)
            if until():
                return
            self.wait(lambda: bool(self.selector.select(0)))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for the kernel."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited in vain; the table:\n{self.reactor.table}"
            time.sleep(0.001)


def delivered(client: socket.socket) -> bool:
    """Whether the kernel has passed on to the peer all that was sent."""
    return not any(fcntl.ioctl(client, termios.TIOCOUTQ, b"\0\0\0\0"))


# What is counted


def messages(
    handler: type[StreamHandler], exchange: Exchange = LINES, at_once: int = 1
) -> Callable[[Counter, int], None]:
    """Messages on connections that are open, ``at_once`` on each."""

    def work(counter: Counter, number: int) -> None:
        with ExitStack() as stack:
            served = Served(counter, SelectTCPServer, TCP, handler, stack)
            clients = [served.connect() for _ in range(number)]
            served.step(lambda: len(served.reactor.table) == number, counts=False)
            request, answer = exchange.request * at_once, exchange.answer * at_once
            for _ in range(TIMES):
                served.send(clients, request)
                served.step(lambda: True)
                for client in clients:
                    assert client.recv(len(answer), socket.MSG_WAITALL) == answer

    return work


def datagrams(together: int | None = None) -> Callable[[Counter, int], None]:
    """Datagrams, each of another client, so many in one batch, or all of them."""

    def work(counter: Counter, number: int) -> None:
        with ExitStack() as stack:
            served = Served(counter, SelectUDPServer, UDP, ours.DatagramsStates, stack)
            clients = [served.connect() for _ in range(number)]
            size = together or number
            for _ in range(TIMES):
                for first in range(0, number, size):
                    batch = clients[first : first + size]
                    served.send(batch, LINE)
                    served.step(lambda: True)
                    for client in batch:
                        assert client.recv(len(LINE)) == LINE

    return work


class OneLine(StreamRequestHandler):
    """A blocking handler: one line, as it came."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


class InOneThread(ThreadingTCPServer):
    """Thread mode without the threads: the work of the thread that answers is done, and counted, in the loop's."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        mode: Any = self._srv.mode
        mode.in_thread = lambda work: Context().run(work)


def connections(kind: type, handler: type) -> Callable[[Counter, int], None]:
    """Connections, each with one line; the server ends them."""

    def work(counter: Counter, number: int) -> None:
        with ExitStack() as stack:
            served = Served(counter, kind, TCP, handler, stack)
            served.server.socket.listen(4 * MESSAGES)
            for _ in range(TIMES):
                clients = [served.connect() for _ in range(number)]
                served.send(clients, LINE)
                served.step(lambda: True)
                for client in clients:
                    assert client.recv(len(LINE) + 1, socket.MSG_WAITALL) == LINE
                    client.close()
                served.step(lambda: not served.reactor.table)

    return work


class Reference:
    """Python's own cost: what other works are measured by. Calls, attributes, bytes, tuples."""

    def __init__(self) -> None:
        self.held = b""
        self.answers: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self.held += data
        end = self.held.find(b"\n")
        if end >= 0:
            line, self.held = self.held[: end + 1], self.held[end + 1 :]
            self.wait, self.state = self.line(line)

    def line(self, data: bytes) -> tuple[bytes, Callable[[bytes], object]]:
        self.answers.append(data)
        if len(self.answers) > 4:
            self.answers.clear()
        return b"\n", self.line


def reference(counter: Counter, number: int) -> None:
    """A loop in pure Python, which nobody changes."""
    made = Reference()
    for _ in range(TIMES):
        with counter.counting():
            for _ in range(number):
                made.feed(LINE)


WORKS: dict[str, Callable[[Counter, int], None]] = {
    "reference": reference,
    "a line, states": messages(ours.LinesStates),
    "a line, states, one wait": messages(ours.LinesOneWait),
    "a line, coroutine": messages(ours.LinesCoroutine),
    "16 lines, states": messages(ours.LinesStates, at_once=16),
    "a frame, states": messages(ours.FramesStates, FRAMES),
    "16 commands of Redis, states": messages(redis.States, REDIS, 16),
    "a datagram": datagrams(),
    "a datagram alone": datagrams(1),
    "a connection": connections(SelectTCPServer, ours.CloseStates),
    "a connection, plain mode": connections(TCPServer, OneLine),
    "a connection, thread mode": connections(InOneThread, OneLine),
}


def main(library: str) -> None:
    gc.disable()
    counter = Counter(library)
    for name, work in WORKS.items():
        work(counter, MESSAGES)  # makes what is made once
        counter.write_down("")
        for factor in (1, 2):
            work(counter, factor * MESSAGES)
            counter.write_down(f"{factor} {name}")


if __name__ == "__main__":
    main(sys.argv[1])
