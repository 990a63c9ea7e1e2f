"""Faults of the real kernel: ``strace`` makes each system call fail with each errno, in every mode.

Each server is a process of its own, to which a tracer attaches while it serves (``strace -p``, which needs root or
``kernel.yama.ptrace_scope=0``). A call that is made to fail is not executed. So ``close()`` is left to the simulated
kernel: there, as in a real one, a ``close()`` that fails frees the descriptor all the same.
"""

import errno
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import pytest

from tests.support.errnos import ENDS, FAULTS, WHOLE, Fault
from tests.support.process import Process
from tests.support.programs import program, refuse
from tests.support.serving import MODES, PATIENCE, netstring, receive, rest, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux and its strace"),
]

SYSCALLS = {
    "accept": "accept4", "recv": "recvfrom", "send": "sendto", "recvfrom": "recvfrom", "sendto": "sendto",
    "recvmsg": "recvmsg", "sendmsg": "sendmsg", "shutdown": "shutdown", "register": "epoll_ctl", "modify": "epoll_ctl",
}  # fmt: skip
"""The system calls that Python makes for these, as ``strace -c`` shows."""

PACKETS = "packets", "wildcard"
"""The datagram servers. The second is bound to a wildcard and replies from the address that was called."""

MESSAGES = {"recvfrom": "recvmsg", "sendto": "sendmsg"}
"""The calls that receive and give that address."""

HOSTS = {
    "select": [
        Fault("epoll_wait", "EINTR", WHOLE, "epoll_wait(2)"),
        Fault("getsockname", "ENOBUFS", WHOLE, "getsockname(2)"),
    ],
    "plain": [
        Fault("poll", "EINTR", WHOLE, "poll(2)"),
    ],
    "fork": [
        Fault("poll", "EINTR", WHOLE, "poll(2)"),
        Fault("pipe2", "EMFILE ENFILE", WHOLE, "pipe(2)"),
        Fault("clone", "EAGAIN ENOMEM", WHOLE, "fork(2)"),
        Fault("pidfd_open", "EMFILE ENFILE ENODEV ENOMEM", WHOLE, "pidfd_open(2)"),
        Fault("epoll_ctl", "ENOMEM ENOSPC", WHOLE, "epoll_ctl(2)"),
        Fault("wait4", "EINTR", WHOLE, "wait(2)"),
    ],
    "thread": [
        Fault("poll", "EINTR", WHOLE, "poll(2)"),
        Fault("clone3", "EAGAIN", WHOLE, "pthread_create(3)"),
    ],
}
"""The calls that a mode makes besides."""

SPIN = 500
"""So many calls in one test mean that a loop spins, which makes thousands; a test has a tenth of this number."""

FEW = {"EAGAIN", "EINTR", "ECONNABORTED", "EMFILE", "ENOBUFS", "ECONNRESET", "EPIPE", "ECONNREFUSED"}
"""The calls whose faults every mode gets; select mode gets all of `FAULTS`."""


def cases():
    """Mode, fault and name of an errno: all cases but those that would befall every request.

    The tracer counts the calls of each thread and process separately, so in a mode that has one for each request it can
    not make the answer to one datagram fail and not the others. The rows are not in the selector there, either.
    """
    for mode in MODES:
        known = [fault for fault in FAULTS if fault.call in SYSCALLS and fault.scene in ("lines", "packets")]
        if mode == "select":
            known += [
                fault._replace(call=MESSAGES[fault.call], scene="wildcard") for fault in known if fault.call in MESSAGES
            ]
        for fault in known + HOSTS[mode]:
            if mode != "select" and fault.call in ("register", "modify"):
                continue
            if mode in ("fork", "thread") and fault.scene in PACKETS and fault.outcome is ENDS:
                continue
            for name in fault.errnos.split():
                if mode == "select" or name in FEW or fault not in known:
                    yield pytest.param(mode, fault, name, id=f"{mode}-{fault.scene}-{fault.call}-{name}")


class Servers:
    """One server for each mode and kind of socket, which serves during all its faults."""

    def __init__(self):
        self._idle = {}

    @contextmanager
    def lent(self, mode, scene):
        packets = scene in PACKETS
        handler = "handlers.services:EchoDatagram" if packets else "tests.support.serving:Reverse"
        process = self._idle.pop((mode, scene), None) or Process(
            mode, handler, packets=packets, wildcard=scene == "wildcard", send_buffer=16_384
        )
        try:
            yield process
        except BaseException:
            print(process.said())
            process.kill()
            raise
        self._idle[mode, scene] = process

    def close(self):
        for process in self._idle.values():
            process.close()


@pytest.fixture(scope="module")
def servers():
    servers = Servers()
    yield servers
    servers.close()


# The tracer


class Trace(NamedTuple):
    """The calls that the tracer has seen."""

    calls: int
    failed: int


@contextmanager
def failing(process, call, name, when, file):
    """Make ``call`` fail in the process and its children; in a datagram server, on its own socket only.

    Yields a function that returns the `Trace` so far.
    """
    syscall = SYSCALLS.get(call, call)
    command = [
        program("strace"), "-f", "-p", str(process.pid), "-o", str(file),
        "-e", f"trace={syscall},accept4,epoll_wait,poll", "-e", f"inject={syscall}:error={name}:when={when}",
    ]  # fmt: skip
    if process.packets:
        command += ["-P", process.socket()]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            line = tracer.stderr.readline()
            if "attached" not in line:
                refuse(f"strace can't trace here: {line.strip()}; be root, or set kernel.yama.ptrace_scope=0")
            yield
            # Not within a call: a call that was cancelled and has not failed yet would give ENOSYS.
            wait_until(lambda: process.ask("stats")["open"] == 0)
            wait_until(process.waits)
        finally:
            tracer.terminate()
            tracer.communicate(timeout=PATIENCE)


def seen(file):
    """The `Trace` that the tracer has written to the file."""
    text = file.read_text()
    return Trace(len(re.findall(r"\b\w+\(", text)), text.count("(INJECTED)"))


# The clients


def converse(process, number, lines):
    """Ask for so many netstrings one by one; returns the expected and the received bytes."""
    words = [b"%d of client %d" % (line, number) * 100 for line in range(lines)]
    heard = bytearray()
    with (
        socket.create_connection(process.address, timeout=PATIENCE) as client,
        suppress(ConnectionError),  # what was received until then counts
    ):
        for word in words:
            client.sendall(netstring(word))
            answer = receive(client, len(netstring(word)))
            heard += answer
            if len(answer) < len(netstring(word)):
                break
        else:
            client.shutdown(socket.SHUT_WR)
            heard += rest(client)
    return b"".join(netstring(word[::-1]) for word in words), bytes(heard)


def hoard(process, number, lines):
    """The same, but ask for much before reading: the server has to wait until it can write."""
    words = [b"%d of client %d" % (line, number) * 20_000 for line in range(lines)]
    heard = b""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect(process.address)
        with suppress(ConnectionError):
            client.sendall(b"".join(map(netstring, words)))
            client.shutdown(socket.SHUT_WR)
            heard = rest(client)
    return b"".join(netstring(word[::-1]) for word in words), heard


def exchange(process, number, packets, again=PATIENCE):
    """Send so many packets, each again after ``again`` seconds without an answer; returns the same."""
    sent = [b"%d of client %d" % (packet, number) for packet in range(packets)]
    heard = [b""]
    deadline = time.monotonic() + PATIENCE
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.connect(process.address)
        client.settimeout(again)
        for packet in sent:
            client.send(packet)
            while (answer := received(client)) in (None, heard[-1]):  # no answer, or an answer that comes twice
                assert time.monotonic() < deadline, f"{packet!r} is not answered"
                if answer is None:
                    client.send(packet)
            heard.append(answer)
    return sent, heard[1:]


def received(client):
    try:
        return client.recv(100)
    except TimeoutError:
        return None


# The test


class Talk(NamedTuple):
    """What four clients do, how many of them at a time, and which call fails where one client may be lost."""

    client: Callable[..., Any]
    at_a_time: int = 4
    nth: int = 4


def talk(fault):
    if fault.call == "modify":
        return Talk(hoard, at_a_time=1, nth=2)
    if fault.scene in PACKETS:
        return Talk(exchange if fault.outcome is WHOLE else partial(exchange, again=0.3))
    return Talk(converse)


@pytest.mark.parametrize(("mode", "fault", "name"), list(cases()))
def test_a_failed_call_loses_only_what_the_kernel_has_taken(mode, fault, name, servers, tmp_path):
    client, at_a_time, nth = talk(fault)
    when = "1+3" if fault.outcome is WHOLE else nth
    with servers.lent(mode, fault.scene) as process, ThreadPoolExecutor(at_a_time) as pool:
        client(process, 0, 1)
        held, last = settled(process), process.ask("closed")[-1]["serial"]
        with failing(process, fault.call, name, when, tmp_path / "trace"):
            told = list(pool.map(client, [process] * 4, range(4), [1, 6, 6, 1]))
        expected, heard = client(process, 9, 1)
        assert heard == expected
        assert settled(process) == held
        reasons = [row["reason"] for row in process.ask("closed") if row["serial"] > last]
    trace = seen(tmp_path / "trace")
    broken = sum(heard != expected for expected, heard in told)
    assert trace.failed > 0
    assert trace.calls < SPIN
    assert all(is_part(heard, expected) for expected, heard in told)
    if fault.outcome is WHOLE:
        assert broken == 0
        return
    assert broken <= min(3, trace.failed)
    if mode != "fork":  # in fork mode only the child has the reason
        blamed = [reason for reason in reasons if reason]
        assert broken <= len(blamed) <= trace.failed
        if fault.call in SYSCALLS:
            assert all(f"[Errno {getattr(errno, name)}]" in reason for reason in blamed)


def settled(process):
    """What the process holds when no request, no thread and no child is left."""
    wait_until(lambda: process.ask("stats")["open"] == 0 and process.held()[1:] == (1, 0))
    return process.held()


def is_part(heard, expected):
    """Whether nothing was invented or sent twice: a stream has a prefix, datagrams have all."""
    return heard == expected if isinstance(heard, list) else expected.startswith(heard)
