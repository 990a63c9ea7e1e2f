"""What an idle connection takes, between lines and with one byte of a line; and what an import takes."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

from tests.benchmarks.alone import IMPORTS, measure_import
from tests.benchmarks.cases import OURS
from tests.benchmarks.measuring import Server, many_descriptors
from tests.benchmarks.messages import LINES

IDLE = 2_000  # connections; the memory of one is the average over them
AT_ONCE = 50  # no more than the backlog of any server takes
FIRST = 100  # connections that make what is made once
SHOWN = (
    *OURS, "asyncio Protocol", "asyncio streams", "uvloop Protocol", "uvloop streams", "Twisted LineReceiver",
    "Tornado IOStream", "gevent", "trio",
)  # fmt: skip


HELD = *OURS, "asyncio streams"
"""Those that hold a part of a line."""


class Clients:
    """Connections to a server of lines. Their cost does not matter, so they are Python's."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.address = "127.0.0.1", server.port
        self.stack = stack

    def open(self, count: int) -> list[socket.socket]:
        """Open so many, and have some lines answered on each."""
        opened: list[socket.socket] = []
        while len(opened) < count:
            new = [self.stack.enter_context(socket.create_connection(self.address, timeout=60)) for _ in range(AT_ONCE)]
            ask(new, 5)  # over 256 bytes: Python shares the integers up to that
            opened += new
        return opened


def ask(connections: list[socket.socket], number: int = 1) -> None:
    """Have ``number`` lines answered on each connection."""
    for connection in connections:
        connection.sendall(LINES.request * number)
    for connection in connections:
        missing = len(LINES.answer) * number
        while missing:
            received = len(connection.recv(missing))
            assert received, "the server closed the connection"
            missing -= received


def of_idle(command: list[str], held: bytes = b"", resident: bool = False) -> float:
    """The bytes that each idle connection takes: allocated by Python, or of resident memory."""
    with many_descriptors(), ExitStack() as stack:
        server = stack.enter_context(closing(Server(command)))
        clients = Clients(server, stack)
        witness = clients.open(FIRST)[:1]
        measure = server.resident if resident else server.allocated
        before = measure()
        for connection in clients.open(IDLE):
            connection.sendall(held)
        for _ in range(3 if held else 0):
            ask(witness)  # by then the server has read the bytes sent before
        return (measure() - before) / IDLE


def allocated(name: str, held: bytes = b"", python: str = sys.executable) -> float:
    """The bytes that Python allocates for each idle connection, with ``held`` bytes of the next line."""
    return of_idle([python, "-X", "tracemalloc", "-m", "tests.benchmarks.peers", "lines", name], held)


def rows(title: str, python: str, names: list[str], floor: list[str]) -> Iterator[tuple[object, ...]]:
    """A table of what idle connections take."""
    yield f"an idle connection, bytes; {title}", "allocated by Python", "with 1 byte of a line", "resident"
    for name in filter(SHOWN.__contains__, names):
        command = [python, "-m", "tests.benchmarks.peers", "lines", name]
        held = f"{allocated(name, b'x', python):,.0f}" if name in HELD else ""
        yield name, f"{allocated(name, python=python):,.0f}", held, f"{of_idle(command, resident=True):,.0f}"
    yield "C, epoll", "", "", f"{of_idle(floor, resident=True):,.0f}"


def import_rows(title: str, python: str) -> Iterator[tuple[object, ...]]:
    """A table of the resident memory that imports take."""
    yield f"an import; {title}", "MiB more than the first"
    pages = {name: measure_import(python, name)[1] for name in IMPORTS}
    least = next(iter(pages.values()))
    for name, of in pages.items():
        yield name, f"{(of - least) * resource.getpagesize() / 2**20:.2f}"
