"""``--bind systemd:``: sockets that a manager of services has bound and passes to the command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.certificates import KEYS, NAME, client_context
from tests.support.command import (
    MODES,
    PATIENCE,
    Connect,
    Refused,
    Start,
    assert_refused,
    echoes,
    serves,
    talk,
    to_end,
    until,
)
from tests.support.programs import program

MANAGER = (sys.executable, "-m", "tests.support.manager")
ECHO = "handlers.services:Echo"
DATAGRAMS = "handlers.services:EchoDatagram"

TELLING = '''
import json, os, subprocess, sys
from handlers import StreamHandler

PROGRAM = """
import json, os
sockets = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if int(number) > 2
           and os.path.exists(f"/proc/self/fd/{number}")]
print(json.dumps([sorted(name for name in os.environ if name.startswith(("LISTEN", "NOTIFY", "WATCHDOG"))),
                  [name for name in sockets if name.startswith("socket")]]))
"""

class Tells(StreamHandler):
    """Says which variables and sockets a program has that the service executes."""

    def handle(self):
        self.send(subprocess.run([sys.executable, "-c", PROGRAM], close_fds=False, stdout=subprocess.PIPE).stdout)
'''


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_it_serves_every_kind_of_stream_socket(start: Start, connect: Connect, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "socket"
    command = start(f"tcp,tcp6,unix:{path}", "serve", "--bind=systemd:", "--mode", mode, python=MANAGER)
    urls = command.urls(3, mode)
    assert [url.rpartition(":")[0] for url in urls] == ["tcp://127.0.0.1", "tcp6://[::1]", "unix"]
    assert urls[2] == f"unix://{path}"
    for url in urls:
        assert echoes(connect(url))
    assert command.stop() == 0
    assert command.rest() == ""
    assert path.is_socket()  # it is the manager's


@pytest.mark.slow
@pytest.mark.parametrize("many", ["--workers=2", "--threads=2"])
def test_several_loops_serve_the_sockets_that_were_passed(
    start: Start, connect: Connect, tmp_path: Path, many: str
) -> None:
    path = tmp_path / "socket"
    command = start(f"tcp,unix:{path}", "serve", "--bind=systemd:", many, python=MANAGER)
    for url in command.urls(2, "select"):
        assert all(echoes(connect(url)) for _ in range(6))
    assert command.stop() == 0
    command = start("udp", "serve", DATAGRAMS, "--bind=systemd:", many, python=MANAGER)
    (url,) = command.urls(1, "select")
    assert all(talk(connect(url), b"x") == b"x" for _ in range(6))
    assert command.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_it_serves_every_kind_of_datagram_socket(start: Start, connect: Connect, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "socket"
    passed = f"udp,udp6,unix+dgram:{path}"
    command = start(passed, "serve", DATAGRAMS, "--bind=systemd:", "--mode", mode, python=MANAGER)
    urls = command.urls(3, mode)
    assert [url.partition(":")[0] for url in urls] == ["udp", "udp6", "unix+dgram"]
    assert all(serves(connect, url) for url in urls)
    assert command.stop() == 0
    assert command.rest() == ""
    assert path.is_socket()


def test_sockets_are_taken_by_name_and_served_beside_others(start: Start, connect: Connect) -> None:
    certificate = ["--tls", str(KEYS / f"{NAME}.pem")]
    binds = ["--bind=systemd:", "--bind=systemd+tls:https", "--bind=tcp://127.0.0.1:0"]
    command = start("tcp,tcp,tcp6", "serve", *binds, *certificate, python=MANAGER, LISTEN_FDNAMES="http:https:http")
    plain, secure, first, second = command.urls(4, "select")
    assert [plain[:6], secure[:6], first[:6], second[:6]] == ["tcp://", "tls://", "tcp://", "tcp6:/"]
    assert all(serves(connect, url) for url in (plain, first, second))
    with client_context().wrap_socket(connect(secure), server_hostname=NAME) as client:
        assert talk(client, b"hello") == b"hello"
    assert command.stop() == 0


def test_a_program_that_it_executes_gets_neither_the_sockets_nor_the_variables(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "telling.py").write_text(TELLING)
    command = start(
        "tcp,tcp", "serve", "telling:Tells", "--bind=systemd:tcp", python=MANAGER, PYTHONPATH=str(tmp_path),
        LISTEN_FDNAMES="tcp:tcp", NOTIFY_SOCKET=f"{tmp_path}/none", WATCHDOG_USEC="9000000", WATCHDOG_PID="1",
    )  # fmt: skip
    url, _ = command.urls(2, "select")
    assert json.loads(to_end(connect(url))) == [[], []]
    assert command.stop() == 0


REFUSED = {
    "no variable": ("tcp", {"LISTEN_FDS": "-"}, ["LISTEN_FDS is not set", "systemd-socket-activate"]),
    "no number": ("tcp", {"LISTEN_FDS": "one"}, ["LISTEN_FDS is 'one'", "no number"]),
    "a superscript": ("tcp", {"LISTEN_FDS": "²"}, ["LISTEN_FDS is '²'", "no number"]),
    "no descriptors": ("tcp", {"LISTEN_FDS": "0"}, ["LISTEN_FDS is '0'", "from 1"]),
    "a negative number": ("tcp", {"LISTEN_FDS": "-1"}, ["LISTEN_FDS is '-1'", "no number"]),
    "a vast number": ("tcp", {"LISTEN_FDS": "9" * 5000}, ["LISTEN_FDS is '999", "no number"]),
    "too many": ("tcp", {"LISTEN_FDS": "999999999"}, ["LISTEN_FDS is 999999999", "descriptor 4", "Bad file"]),
    "another process": ("tcp", {"LISTEN_PID": "1"}, ["LISTEN_PID is '1'", "this is process", "exec"]),
    "no process": ("tcp", {"LISTEN_PID": "-"}, ["LISTEN_PID is not set", "exec"]),
    "too few names": ("tcp,tcp", {"LISTEN_FDNAMES": "a"}, ["LISTEN_FDNAMES has 1 name", "LISTEN_FDS is 2"]),
    "a pipe": ("tcp,pipe", {}, ["descriptor 4 is no socket", "LISTEN_FDS is 2", "ListenFIFO="]),
    "a closed descriptor": ("closed", {}, ["descriptor 3", "Bad file descriptor"]),
    "an unbound socket": ("unbound", {}, ["descriptor 3 is a socket without an address"]),
    "packets in sequence": ("seqpacket:{}/socket", {}, ["3 is of AF_UNIX and SOCK_SEQPACKET", "ListenStream="]),
    "datagrams": ("udp", {}, [f"{ECHO} is for streams", "udp://127.0.0.1:", "name a datagram handler"]),
}  # fmt: skip


@pytest.mark.parametrize(("passed", "variables", "words"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_served_is_refused_with_the_variable_and_the_remedy(
    refused: Refused, tmp_path: Path, passed: str, variables: dict[str, str], words: list[str]
) -> None:
    refused("serve", ECHO, "--bind=systemd:", words=words, passed=passed.format(tmp_path), **variables)


MISNAMED = {
    "no such name": (["--bind=systemd:c"], ["systemd:c: no socket of this name", "a, b", "LISTEN_FDNAMES"]),
    "none is left": (["--bind=systemd:", "--bind=systemd:"], ["systemd:: no socket of this name is left"]),
    "one is left": (["--bind=systemd:a"], ["a socket named b was passed", "--bind systemd:"]),
    "no certificate": (["--bind=systemd+tls:"], ["tls://127.0.0.1:", "--tls CERT"]),
    "a URL": (["--bind=systemd://a"], ["'systemd://a'", "systemd:"]),
}


@pytest.mark.parametrize(("binds", "words"), MISNAMED.values(), ids=MISNAMED)
def test_names_that_do_not_fit_are_refused(refused: Refused, binds: list[str], words: list[str]) -> None:
    refused("serve", *binds, words=words, passed="tcp,tcp", LISTEN_FDNAMES="a:b")


def test_tls_is_refused_for_a_unix_socket(start: Start, tmp_path: Path) -> None:
    command = start(f"unix:{tmp_path}/socket", "serve", "--bind=systemd+tls:", "--tls=x", python=MANAGER)
    assert_refused(command, f"unix://{tmp_path}/socket can't have TLS", "--bind systemd:")


# systemd's own manager


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def activated(start: Start, options: list[str], *arguments: str) -> Iterator[str]:
    """systemd-socket-activate(1) with the options and the command. Yields ``host:port``, where it listens."""
    address = f"127.0.0.1:{free_port(socket.SOCK_DGRAM if '-d' in options else socket.SOCK_STREAM)}"
    command = [program("systemd-socket-activate"), *options, "-l", address, sys.executable, "-m", "reactor", "serve"]
    manager = start("--bind=systemd:", *arguments, python=command)
    while "Listening on" not in manager.line():
        pass
    try:
        yield address
    finally:
        manager.process.send_signal(signal.SIGTERM)
        manager.process.wait(PATIENCE)


def test_systemd_starts_it_when_a_client_comes(start: Start, connect: Connect) -> None:
    with activated(start, ["--fdname=web"], "--bind=tcp://127.0.0.1:0") as address:
        client, second = connect(f"tcp://{address}"), connect(f"tcp://{address}")
        assert talk(client, b"first") == b"first"
        assert talk(second, b"second") == b"second"


def test_systemd_passes_the_socket_of_the_manager_too(start: Start, connect: Connect, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{tmp_path}/manager")
        manager.settimeout(PATIENCE)
        with activated(start, ["-E", f"NOTIFY_SOCKET={tmp_path}/manager"]) as address:
            assert talk(connect(f"tcp://{address}"), b"hello") == b"hello"
            assert manager.recv(100) == b"READY=1"


def test_systemd_starts_it_when_a_datagram_comes_and_that_is_answered(start: Start, connect: Connect) -> None:
    with activated(start, ["-d"], DATAGRAMS) as address:
        client = connect(f"udp://{address}")
        assert talk(client, b"first") == b"first"
        assert talk(client, b"second") == b"second"


@pytest.mark.parametrize("mode", MODES)
def test_a_process_serves_the_one_connection_that_systemd_has_accepted(
    start: Start, connect: Connect, mode: str
) -> None:
    with activated(start, ["--accept"], "--mode", mode) as address:
        clients = [connect(f"tcp://{address}") for _ in range(2)]
        assert all(echoes(client) for client in clients)


PASSED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "reactor", "serve", *sys.argv[2:]])
"""


def served_connection(connection: socket.socket, *arguments: str) -> subprocess.Popen[bytes]:
    """The command, with a connection as the only descriptor that is passed."""
    number = connection.fileno()
    command = [sys.executable, "-c", PASSED, str(number), "--bind=systemd:", *arguments]
    return subprocess.Popen(command, cwd=ROOT, pass_fds=[number], stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_the_process_ends_with_its_connection(mode: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, served_connection(theirs, "--mode", mode) as process:
        theirs.close()
        ours.settimeout(PATIENCE)
        assert talk(ours, b"hello") == b"hello"
        assert process.poll() is None
        ours.shutdown(socket.SHUT_WR)
        assert to_end(ours) == b""
        assert process.communicate(timeout=PATIENCE)[1] == b""
        assert process.returncode == 0


def test_a_signal_ends_the_connection_of_the_process() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, served_connection(theirs, "--grace=0") as process:
        theirs.close()
        ours.settimeout(PATIENCE)
        assert talk(ours, b"hello") == b"hello"
        process.terminate()
        assert to_end(ours) == b""
        assert process.wait(PATIENCE) == 0


def test_a_connection_whose_client_has_left_before_the_process_started_is_told_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()  # resets it
        until(lambda: not is_connected(connection))
    with connection, served_connection(connection) as process:
        said = process.communicate(timeout=PATIENCE)[1]
    assert b"neither listens nor is connected any more" in said
    assert process.returncode == 0


def is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
