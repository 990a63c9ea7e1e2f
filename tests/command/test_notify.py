"""What the command tells the manager of services (sd_notify(3)): a Unix datagram socket is the manager."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.support.certificates import KEYS, NAME
from tests.support.command import (
    LOCAL,
    MODES,
    PATIENCE,
    Command,
    Connect,
    Refused,
    Start,
    receive,
    serves,
    talk,
    to_end,
    until,
)
from tests.support.programs import program

BLOCKING = """
import time
from handlers import StreamHandler, Until

class Blocks(StreamHandler):
    async def handle(self):
        self.send(await Until(b"\\n"))
        await Until(b"\\n")
        open("blocked", "w").close()
        time.sleep(1000)
"""


class Manager:
    """The socket of the manager, and what it has received."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)

    def next(self, *ignored: str) -> str:
        """The next message that begins with none of ``ignored``."""
        while (message := self.socket.recv(1000).decode()).startswith(ignored or ("STATUS=",)):
            pass
        return message


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{tmp_path}/manager" if request.param == "path" else f"@{tmp_path}/manager"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    manager = Manager(address)
    with manager.socket:
        yield manager


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_it_tells_when_it_listens_what_is_open_and_when_the_drain_begins(
    start: Start, connect: Connect, manager: Manager, address: str, mode: str
) -> None:
    command = start("serve", "--bind", LOCAL, "--mode", mode, NOTIFY_SOCKET=address)
    assert manager.next() == "READY=1"
    assert manager.next("WATCHDOG") == "STATUS=0 rows"
    (url,) = command.urls(1, mode)
    client = connect(url)
    assert talk(client, b"x") == b"x"
    if mode != "sync":  # whose loop waits for the request
        assert manager.next("WATCHDOG") == "STATUS=1 row"
    command.process.send_signal(signal.SIGTERM)
    assert manager.next() == "STOPPING=1"
    assert to_end(client) == b""
    assert command.status() == 0
    assert command.rest() == ""


def test_the_drain_goes_on_after_it_is_told(start: Start, connect: Connect, specimens: Path, tmp_path: Path) -> None:
    with Manager(f"{tmp_path}/manager").socket as sock:
        environment = {"NOTIFY_SOCKET": f"{tmp_path}/manager", "WATCHDOG_USEC": "100000"}
        command = start("serve", "specimens:Lines", "--bind", LOCAL, "--grace=20", cwd=specimens, **environment)
        (url,) = command.urls(1, "select")
        client = connect(url)
        client.sendall(b"half a")
        command.process.send_signal(signal.SIGTERM)
        while sock.recv(100) != b"STOPPING=1":
            pass
        assert [sock.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3  # the loop still runs
        client.sendall(b" line\n")
        assert receive(client, 11) == b"HALF A LINE"
        client.close()
        assert command.status() == 0


@pytest.mark.slow
@pytest.mark.parametrize("is_good", [True, False])
def test_a_reload_begins_and_ends(start: Start, manager: Manager, address: str, tmp_path: Path, is_good: bool) -> None:
    certificate = tmp_path / "certificate.pem"
    shutil.copy(KEYS / f"{NAME}.pem", certificate)
    arguments = ["--bind", LOCAL.replace("tcp", "tls"), "--tls", str(certificate)]
    command = start("serve", *arguments, NOTIFY_SOCKET=address)
    assert manager.next() == "READY=1"
    if not is_good:
        certificate.write_text("nothing")
    before = monotonic()
    command.process.send_signal(signal.SIGHUP)
    name, _, time = manager.next().rpartition("=")
    assert name == "RELOADING=1\nMONOTONIC_USEC"
    assert before <= int(time) / 1e6 + 1e-6 <= monotonic()
    assert manager.next() == "READY=1"
    command.stop()
    assert manager.next() == "STOPPING=1"


@pytest.mark.slow
@pytest.mark.parametrize("many", [["--workers", "2"], ["--threads", "2"]])
def test_several_loops_are_one_service(
    start: Start, connect: Connect, manager: Manager, address: str, many: list[str]
) -> None:
    command = start("serve", "--bind", LOCAL, *many, NOTIFY_SOCKET=address)
    assert manager.next() == "READY=1"
    clients = [connect(url) for url in command.urls(1, "select") for _ in range(4)]
    assert [talk(client, b"x") for client in clients] == [b"x"] * 4
    while manager.next("WATCHDOG") != "STATUS=4 rows":
        pass
    if many[0] == "--workers":
        command.process.send_signal(signal.SIGHUP)
        assert manager.next().startswith("RELOADING=1\nMONOTONIC_USEC")
        assert manager.next() == "READY=1"
    command.process.send_signal(signal.SIGTERM)
    assert manager.next() == "STOPPING=1"
    assert command.status() == 0


@pytest.mark.slow
def test_the_watchdog_hears_of_the_loop_until_that_is_blocked(start: Start, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING)
    manager = Manager(f"{tmp_path}/manager")
    with manager.socket:
        environment = {"NOTIFY_SOCKET": f"{tmp_path}/manager", "WATCHDOG_USEC": "400000", "WATCHDOG_PID": "-"}
        command = start(
            "udp", "serve", "blocking:Blocks", "--bind", LOCAL, cwd=tmp_path, python=in_manager(), **environment
        )
        assert manager.next() == "READY=1"
        times = []
        for _ in range(4):
            assert manager.next() == "WATCHDOG=1"
            times.append(monotonic())
        assert times[3] - times[0] > 0.35  # and no busy loop
        (url,) = command.urls(1, "select")
        client = connect(url)
        assert talk(client, b"\n") == b"\n"
        client.sendall(b"\n")
        manager.socket.settimeout(0)
        while not (tmp_path / "blocked").exists():
            drain(manager)
        drain(manager)
        manager.socket.settimeout(1.0)  # more than twice the time that the manager allows
        with pytest.raises(TimeoutError):
            manager.next()
        command.destroy()


def in_manager() -> tuple[str, ...]:
    """The command under a manager, whose variables can be removed."""
    return sys.executable, "-m", "tests.support.manager"


def drain(manager: Manager) -> None:
    try:
        while True:
            manager.socket.recv(1000)
    except BlockingIOError:
        pass


def test_another_process_has_the_watchdog(start: Start, manager: Manager, address: str) -> None:
    start("serve", "--bind", LOCAL, NOTIFY_SOCKET=address, WATCHDOG_USEC="20000", WATCHDOG_PID="1")
    assert manager.next() == "READY=1"
    manager.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        manager.next()


def test_a_manager_whose_socket_is_full_is_told_later(start: Start, connect: Connect, tmp_path: Path) -> None:
    manager = Manager(f"{tmp_path}/manager")
    with manager.socket, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        fill(other, f"{tmp_path}/manager")
        environment = {"NOTIFY_SOCKET": f"{tmp_path}/manager", "WATCHDOG_USEC": "20000"}
        command = start("serve", "--bind", LOCAL, **environment)
        (url,) = command.urls(1, "select")
        assert serves(connect, url)
        assert manager.next("full") == "READY=1"
        assert manager.next() == "WATCHDOG=1"
        fill(other, f"{tmp_path}/manager")
        assert command.stop() == 0


def fill(sock: socket.socket, address: str) -> None:
    sock.setblocking(False)
    try:
        while True:
            sock.sendto(b"full", address)
    except BlockingIOError:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("address", ["/nowhere/at/all", "@nobody", "/" + "x" * 500, "@", "/"])
def test_a_manager_that_is_not_there_does_not_hurt(start: Start, connect: Connect, address: str) -> None:
    command = start("serve", "--bind", LOCAL, NOTIFY_SOCKET=address, WATCHDOG_USEC="1000")
    (url,) = command.urls(1, "select")
    assert serves(connect, url)
    assert command.stop() == 0
    assert command.rest() == ""


REFUSED = {
    "no Unix socket": ({"NOTIFY_SOCKET": "vsock:2:9999"}, ["NOTIFY_SOCKET is 'vsock:2:9999'", "unset it"]),
    "no number": ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1s"}, ["WATCHDOG_USEC is '1s'", "microseconds", "unset"]),
    "no time": ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "0"}, ["WATCHDOG_USEC is '0'", "unset"]),
}


@pytest.mark.parametrize(("variables", "words"), REFUSED.values(), ids=REFUSED)
def test_variables_that_can_not_be_right_are_refused(
    refused: Refused, variables: dict[str, str], words: list[str]
) -> None:
    refused("serve", "--bind", LOCAL, words=words, **variables)


def test_a_child_does_not_keep_the_socket(start: Start, connect: Connect, tmp_path: Path) -> None:
    with Manager(f"{tmp_path}/manager").socket:
        command = start("serve", "--bind", LOCAL, "--mode=fork", NOTIFY_SOCKET=f"{tmp_path}/manager")
        (url,) = command.urls(1, "fork")
        client = connect(url)
        assert talk(client, b"x") == b"x"
        pid = command.process.pid
        [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert sockets(child)
        until(lambda: not sockets(child) & sockets(pid))  # the parent closes its copy of the connection
        client.close()
        assert command.stop() == 0


def sockets(pid: str | int) -> set[str]:
    return {name for name in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()) if name.startswith("socket:")}


def test_systemd_notify_is_understood_the_same(start: Start, manager: Manager, address: str) -> None:
    """The manager of these tests receives what systemd's own program sends."""
    command = Command([program("systemd-notify"), "--ready"], Path("/"), None, {"NOTIFY_SOCKET": address})
    assert manager.next() == "READY=1"
    command.destroy()
