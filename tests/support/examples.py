"""An example as a process, and clients of it."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests import ROOT

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
PATIENCE = 30  # seconds; after that a process is taken to hang
MIB = 1 << 20


class Example:
    """A running example: its process and its addresses."""

    def __init__(self, process: "subprocess.Popen[str]", listeners: int) -> None:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(listeners)]
        found = [re.fullmatch(r"listening on (\S+)\n", line) for line in lines]
        assert all(found), lines
        self.process = process
        self.addresses = [match[1] for match in found if match]

    def end(self) -> None:
        """End it as Ctrl-C does; it must exit with status 0 and without a message."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.stderr is not None
        assert (self.process.wait(PATIENCE), self.process.stderr.read()) == (0, "")

    def connect(self) -> socket.socket:
        return connect(self.addresses[0])

    def ask(self, question: bytes) -> bytes:
        """Send the question and half-close; returns the answer up to the end of the stream."""
        with self.connect() as client:
            client.sendall(question)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)


@contextmanager
def running(name: str, *arguments: str, listeners: int = 1, installed: bool = False) -> Iterator[Example]:
    """Run an example on a free port, and `Example.end` it. ``installed``: whether it needs installed packages."""
    path = str(ROOT / "examples" / f"{name}.py")
    command = [sys.executable, *([] if installed else ["-S"]), path, "0", *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.Popen(
        command, cwd="/", env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    watchdog = threading.Timer(2 * PATIENCE, process.kill)
    watchdog.start()
    with process:
        try:
            example = Example(process, listeners)
            yield example
            example.end()
        finally:
            watchdog.cancel()
            process.kill()


def connect(address: str) -> socket.socket:
    if address.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(address)
        return client
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def read_until(sock: socket.socket, end: bytes) -> bytes:
    """Read up to and including ``end``, or to the end of the stream; byte by byte, so that nothing beyond is read."""
    held = b""
    while not held.endswith(end) and (byte := sock.recv(1)):
        held += byte
    return held


def reset(sock: socket.socket) -> None:
    """Close the socket with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def send_until_held_back(sock: socket.socket, data: bytes) -> int:
    """Send until nothing more is taken, while nothing is read; returns how many bytes were taken.

    The data must be more than the buffers of the kernel take, a few mebibytes.
    """
    view, taken = memoryview(data), 0
    sock.settimeout(0.5)
    try:
        while taken < len(data):
            taken += sock.send(view[taken : taken + MIB])
    except TimeoutError:
        pass
    sock.settimeout(PATIENCE)
    assert taken < len(data), "all of it was taken"
    return taken
