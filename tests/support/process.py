"""A server in a process of its own, which answers questions on standard input and is observed from outside.

``python3 -m tests.support.process OPTIONS`` serves as the JSON says, prints its port, answers the question in each
line, and ends in order when standard input does. It does all this in one loop: no thread of the tests disturbs its
memory, its forks or its system calls.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import tracemalloc
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from selectors import EVENT_READ
from typing import NamedTuple

from tests import ROOT
from tests.support.resources import children_of
from tests.support.serving import PACKETS, PATIENCE, STREAMS, server_class


class Held(NamedTuple):
    """What a process holds now."""

    descriptors: int
    threads: int
    children: int


class Process:
    """A server of ``handler`` (``"module:Class"``) in ``mode``, and observations of its process.

    With ``wildcard`` it is bound to all addresses. ``handler_members`` and ``members`` are members of the two classes,
    ``limit`` is the maximum of its descriptors, ``send_buffer`` the ``SO_SNDBUF`` of its sockets, ``options`` are those
    of the interpreter, and ``environment`` is added to its environment. ``beside`` maps kinds of datagram sockets
    (keys of `PACKETS`) to the handlers of more servers on the same loop; ``ask("addresses")`` tells their addresses.
    """

    def __init__(
        self, mode, handler, *options, environment=(), packets=False, wildcard=False, limit=None, send_buffer=None,
        handler_members=(), beside=(), **members,
    ):  # fmt: skip
        told = {"mode": mode, "handler": handler, "packets": packets, "wildcard": wildcard, "beside": dict(beside)}
        told |= {
            "limit": limit,
            "send_buffer": send_buffer,
            "handler_members": dict(handler_members),
            "members": members,
        }
        self.mode, self.packets = mode, packets
        with ExitStack() as stack:
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                [sys.executable, *options, "-m", "tests.support.process", json.dumps(told)],
                cwd=ROOT, env={**os.environ, **dict(environment)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            )  # fmt: skip
            stack.callback(self._end)
            self.pid = self._process.pid
            self.address = ("127.0.0.1", int(self._line()))
            self._stack = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        if kind is None:
            self.close()
        else:
            print(self.said(), file=sys.stderr)
            self.kill()

    def close(self):
        """End it in order; it must end in time and without an error. A second call does nothing."""
        with self._stack:
            self._process.communicate(timeout=PATIENCE)
            assert self._process.returncode == 0, self.said()

    def kill(self):
        """End it at once."""
        self._stack.close()

    def _end(self):
        self._process.kill()
        self._process.communicate()

    @property
    def running(self):
        """Whether it has not ended."""
        return self._process.poll() is None

    def said(self):
        """What it has written on standard error."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode()

    def ask(self, question):
        """``stats``: `Reactor.stats`; ``closed``: `RequestTable.closed`; ``memory``: the bytes allocated by Python.

        ``collect``: how many objects the garbage collector finds; then free memory is given back to the system.
        """
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def held(self):
        """Its descriptors, threads and children, zombies included."""
        place = Path(f"/proc/{self.pid}")
        return Held(len(os.listdir(place / "fd")), len(os.listdir(place / "task")), len(children_of(self.pid)))

    def waits(self):
        """Whether its main thread sleeps in the kernel, neither running nor stopped by a tracer."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    def socket(self):
        """The name of the server's socket in ``/proc``; it is the first descriptor that the process opened."""
        return os.readlink(f"/proc/{self.pid}/fd/3")

    def resident(self):
        """Bytes of its resident memory. (``statm`` is inexact by some hundred KiB since Linux 6.2.)"""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) << 10
        raise AssertionError("no Rss in smaps_rollup")

    def cpu(self):
        """Seconds of processor time of its main thread."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def _line(self):
        line = self._process.stdout.readline()
        assert line, f"the server has ended: {self.said()}"
        return line


# In that process


def answer(question, reactor, addresses):
    """The answer to one question, as plain data."""
    if question == "stats":
        return reactor.stats()
    if question == "closed":
        return list(reactor.table.closed)
    if question == "addresses":
        return addresses
    if question == "collect":
        found = gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return found
    assert question == "memory"
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def handler_class(name, members):
    """The class called ``"module:Class"``, extended by members."""
    module, _, name = name.partition(":")
    return type(name, (getattr(import_module(module), name),), members)


@contextmanager
def beside(told, reactor):
    """The servers of `Process`'s ``beside`` on this loop; yields their addresses."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        addresses = {}
        for name, handler in told["beside"].items():
            place = PACKETS[name]
            address = place.host.format(directory=directory)
            kind = server_class(told["mode"], place, **told["members"])
            server = kind(
                address if place.family == socket.AF_UNIX else (address, 0),
                handler_class(handler, told["handler_members"]), reactor=reactor,
            )  # fmt: skip
            addresses[name] = stack.enter_context(server).server_address
        yield addresses


def main(told):
    if told["limit"]:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (told["limit"], told["limit"]))
    place = PACKETS["udp"] if told["packets"] else STREAMS["tcp"]
    host = "0.0.0.0" if told["wildcard"] else "127.0.0.1"
    handler = handler_class(told["handler"], told["handler_members"])
    with server_class(told["mode"], place, **told["members"])((host, 0), handler) as server:
        if told["send_buffer"]:  # its connections inherit it
            server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, told["send_buffer"])
        with beside(told, server.reactor) as addresses:
            serve(server, addresses)


def serve(server, addresses):
    """Serve, and answer questions, until the end of standard input."""
    reactor = server.reactor

    def asked(events):
        question = os.read(0, 4096).decode().strip()
        if question:
            print(json.dumps(answer(question, reactor, addresses)), flush=True)
        else:
            server.shutdown()

    watch = reactor.watch(0, EVENT_READ, asked)
    print(server.server_address[1], flush=True)
    server.serve_forever()
    watch.cancel()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
