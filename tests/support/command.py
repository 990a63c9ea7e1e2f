"""The command ``python3 -m reactor`` as a process, and clients of it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

MODES = ("select", "sync", "fork", "thread")
BLOCKING = ("sync", "fork", "thread")
PATIENCE = 20.0  # seconds; after that a process is taken to hang
LOCAL = "tcp://127.0.0.1:0"

SPECIMENS = '''
import os
import signal
import time

from handlers import BaseRequestHandler, Forked, Some, StreamHandler, StreamRequestHandler, Until


class Lines(StreamHandler):
    """Lines in upper case; says goodbye."""

    def handle(self):
        return Until(b"\\n"), self.line

    def line(self, data):
        self.send(data.upper())
        return self.handle()

    def interrupted(self, cause):
        self.send(type(cause).__name__.encode())


class BlockingLines(StreamRequestHandler):
    """The same, blocked in readline() until the client says something."""

    def handle(self):
        while line := self.rfile.readline():
            self.wfile.write(line.upper())

    def finish(self):
        self.wfile.write(b"finish")
        super().finish()


class Whole(BlockingLines):
    """The same, made ready for the loop."""

    request = Until(b"\\n")


class Kept(Whole):
    """The same, for one request after the other; "sleep" blocks."""

    close_connection = False

    def handle(self):
        line = self.rfile.readline()
        self.wfile.write(line.upper())
        if line == b"sleep\\n":
            time.sleep(60)


class Packets(BaseRequestHandler):
    """A blocking handler of datagrams that says so nowhere but here."""

    def handle(self):
        packet, sock = self.request
        sock.sendto(packet.upper(), self.client_address)


def work(path):
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path)
    time.sleep(1000)


class Worker(StreamHandler):
    """Has a child of its own at work, for ever."""

    async def handle(self):
        path = await Until(b"\\n")
        await Forked(work, path.decode().strip())


class HandsOver(BaseRequestHandler):
    """Forks by itself and leaves the request to the child, which takes for ever."""

    def handle(self):
        if not self.server.fork_request(self.request):
            work(self.request.recv(1000).decode().strip())


class HandsOverAndDawdles(HandsOver):
    """The same; what forks is slow to learn of its child, which is at work by then."""

    def handle(self):
        real = os.set_blocking
        os.set_blocking = lambda *arguments: (time.sleep(0.5), real(*arguments))
        super().handle()


class Stubborn(BaseRequestHandler):
    """A child that does not want to end."""

    def handle(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.request.sendall(b"ready")
        time.sleep(1000)


class Sleeper(StreamHandler):
    """Blocks in a state, which it should not."""

    async def handle(self):
        self.send(await Some())
        await Some()
        time.sleep(1000)


class Flood(StreamRequestHandler):
    """Has more to say than any client reads, in a buffer that finish() flushes."""

    wbufsize = 1 << 16

    def handle(self):
        while True:
            self.wfile.write(b"x" * (1 << 15))


signal.signal(signal.SIGUSR1, lambda number, frame: os.write(2, b"USR1\\n"))
number = 12
'''


class Command:
    """The command, running."""

    def __init__(self, argv: Sequence[str], cwd: Path, stderr: Any, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        self._said = b""

    def line(self) -> str:
        """The next line that it writes on standard error."""
        while b"\n" not in self._said:
            piece = self._read()
            assert piece, f"no more lines: {self._said!r}"
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def rest(self) -> str:
        """The rest of what it and its children write on standard error."""
        while self._read():
            pass
        return self._said.decode()

    def urls(self, count: int, mode: str) -> list[str]:
        """The URLs that it says it listens on."""
        urls = []
        for _ in range(count):
            words = self.line().split()
            assert words[:2] + words[3:] == ["listening", "on", f"({mode})"]
            urls.append(words[2])
        return urls

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; returns the exit status. No process of its group is left then."""
        self.process.send_signal(number)
        return self.status()

    def status(self) -> int:
        """Wait for its end; returns the exit status. No process of its group is left then."""
        status = self.process.wait(PATIENCE)
        until(
            lambda: not grouped(self.process.pid)
        )  # a killed child of a thread is in the group until init has waited for it
        return status

    def asleep(self) -> None:
        """Wait until it sleeps in the kernel, on hosts with ``/proc``."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if stat.exists():
            until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")

    def destroy(self) -> None:
        """Kill its process group."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> bytes:
        assert self.process.stderr is not None
        descriptor = self.process.stderr.fileno()
        readable, _, _ = select.select([descriptor], [], [], PATIENCE)
        assert readable, f"silent, after {self._said!r}"
        piece = os.read(descriptor, 65_536)
        self._said += piece
        return piece


Start = Callable[..., Command]
Refused = Callable[..., None]
Connect = Callable[[str], socket.socket]


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def grouped(number: int) -> bool:
    """Whether the process group has a process."""
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], object]) -> None:
    """Wait for the condition, at most `PATIENCE` seconds."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, "the condition did not become true"
        sleep(0.005)


def talk(client: socket.socket, data: bytes) -> bytes:
    """Send the data and receive as many bytes."""
    client.sendall(data)
    return receive(client, len(data))


def receive(client: socket.socket, count: int) -> bytes:
    """Receive ``count`` bytes, or fewer if the stream ends."""
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data


def to_end(client: socket.socket) -> bytes:
    """Receive until the end of the stream or a reset."""
    data = b""
    try:
        while piece := client.recv(65_536):
            data += piece
    except ConnectionError:
        pass
    return data


def serves(connect: Connect, url: str) -> bool:
    """Whether Echo is served at the URL."""
    try:
        return talk(connect(url), b"hello") == b"hello"
    except ConnectionRefusedError:
        return False


def echoes(client: socket.socket) -> bool:
    """Whether the connection is served by Echo, up to its end."""
    heard = talk(client, b"hello")
    client.shutdown(socket.SHUT_WR)
    return heard + to_end(client) == b"hello"


def assert_refused(command: Command, *words: str) -> None:
    """The command prints one line that has these words, and exits with status 2."""
    said = command.rest()
    assert_refusal(command.status(), said, words)


def assert_refusal(status: int, said: str, words: Sequence[str]) -> None:
    """The command has printed one line that has these words, and exited with status 2."""
    assert status == 2
    assert said.startswith("python3 -m reactor")
    assert said.count("\n") == 1
    assert said.endswith("\n")
    assert not [word for word in words if word not in said], said
