"""Worker processes: which there are, and clients that keep asking while workers come and go."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

from tests.support.certificates import NAME, client_context
from tests.support.command import Command, Connect, receive, until

PATIENCE = 20.0

HANDLERS = '''
import os
import signal
import time

from handlers import *

VERSION = "one"


class Who(StreamHandler):
    """Answers each line with its process and its version; some words are orders."""

    async def handle(self):
        while True:
            word = await Until(b"\\n")
            if word == b"exit\\n":
                os._exit(9)
            if word == b"block\\n":
                time.sleep(1000)
            self.send(b"%d %s\\n" % (os.getpid(), VERSION.encode()))


class Ask(DatagramHandler):
    """Two packets are one exchange: the answer has both, and the process."""

    async def handle(self):
        first = await Packet()
        self.send(b"more")
        second = await Packet()
        self.send(b"%s %s %d" % (first, second, os.getpid()))
'''


def workers_of(parent: int) -> list[int]:
    """The child processes of the parent that run."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if _runs(pid)]


def _runs(pid: str) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it was reaped meanwhile
        return False


def ask(address: Any, word: bytes = b"who", patience: float = PATIENCE) -> tuple[int, str]:
    """Connect, ask one line, return the process and the version that answer."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(patience)
        client.connect(address)
        return ask_on(client, word)


def ask_on(client: socket.socket, word: bytes = b"who") -> tuple[int, str]:
    """`ask` on a connection that is open."""
    client.sendall(word + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        piece = client.recv(100)
        if not piece:
            raise ConnectionResetError("no answer")
        answer += piece
    pid, _, version = answer.decode().strip().partition(" ")
    return int(pid), version


def connect_to_two(connect: Connect, url: str, least: int) -> list[socket.socket]:
    """Connections that stay, at least ``least`` with each of two workers, processes or threads.

    The host may be slow to run a worker that it has woken, and then another one takes what the first has left.
    """
    clients: list[socket.socket] = []
    takers: list[int] = []
    while len(set(takers)) < 2 or min(takers.count(taker) for taker in set(takers)) < least:
        clients.append(connect(url))
        takers.append(ask_on(clients[-1])[0])
        assert len(takers) < 200, takers
    assert len(set(takers)) == 2
    return clients


def address_of(url: str) -> Any:
    """What `ask` connects to for a URL."""
    rest = url.partition("://")[2]
    if url.startswith("unix"):
        return rest
    host, _, port = rest.rpartition(":")
    return host.strip("[]"), int(port)


def exchange(client: socket.socket) -> int:
    """An exchange of two packets with ``Ask``; the process that has answered."""
    client.send(b"a")
    assert client.recv(100) == b"more"
    client.send(b"b")
    first, second, pid = client.recv(100).split()
    assert (first, second) == (b"a", b"b")
    return int(pid)


def refuses(url: str) -> bool:
    """Whether the host refuses connections to the URL."""
    try:
        ask(address_of(url), patience=1)
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


def assert_finished(command: Command, url: str, clients: list[socket.socket]) -> None:
    """SIGTERM lets the clients, each of which has sent half a line, finish it; then the command ends in order."""
    for client in clients:
        client.sendall(b"wh")
    sleep(0.1)
    command.process.send_signal(signal.SIGTERM)
    until(lambda: refuses(url))
    for client in clients:
        client.sendall(b"o\n")
        assert receive(client, 3)
    assert command.status() == 0
    assert command.rest() == ""


def is_named(url: str) -> bool:
    """Whether Echo is served at the URL with the certificate of `NAME`."""
    try:
        with (
            socket.create_connection(address_of(url), PATIENCE) as plain,
            client_context().wrap_socket(plain, server_hostname=NAME) as client,
        ):
            client.sendall(b"hello")
            return client.recv(5) == b"hello"
    except ssl.SSLCertVerificationError:
        return False


class Load:
    """Threads that ask, one new connection after the other, until the end of the context."""

    def __init__(self, address: Any, threads: int = 4) -> None:
        self._address = address
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(threads)]
        self.answers: list[tuple[int, str]] = []
        self.failures: list[BaseException] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def more(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted, deadline = len(self.answers) + len(self.failures) + count, monotonic() + PATIENCE
        while len(self.answers) + len(self.failures) < wanted:
            assert monotonic() < deadline
            sleep(0.005)

    def _ask_on(self) -> None:
        while not self._is_over.is_set():
            self._ask()

    def _ask(self) -> None:
        try:
            self.answers.append(ask(self._address))
        except OSError as failure:
            self.failures.append(failure)


def write_handlers(directory: Path, version: str = "one", text: str = HANDLERS) -> None:
    """The module ``crowd`` of handlers, with a time that no compiled file of before has."""
    path = directory / "crowd.py"
    changed = path.stat().st_mtime + 2 if path.exists() else time()  # seconds; a compiled file has whole ones
    path.write_text(text.replace('"one"', f'"{version}"'))
    os.utime(path, (changed, changed))
