"""``python3 -m reactor serve`` as a user has it: a process with sockets, signals, a terminal and an exit status.

Every test runs the real command. It is the leader of a process group of its own, so that what it
leaves behind is seen: a group is gone when its last process is.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any

import pytest

from reactor import Reactor

ROOT = Path(__file__).resolve().parent.parent
MODES = ("select", "sync", "fork", "thread")
BLOCKING = ("sync", "fork", "thread")
PATIENCE = 20.0  # seconds that anything may take before it is found to hang
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


# A command and what a test does with it


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
        """All else that it, or a child of it, writes on standard error to its end."""
        while self._read():
            pass
        return self._said.decode()

    def urls(self, count: int, mode: str) -> list[str]:
        """The URLs on which it says that it listens."""
        urls = []
        for _ in range(count):
            words = self.line().split()
            assert words[:2] + words[3:] == ["listening", "on", f"({mode})"]
            urls.append(words[2])
        return urls

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it the signal; the exit status. Nothing is left of its process group."""
        self.process.send_signal(number)
        return self.status()

    def status(self) -> int:
        """Wait for its end; the exit status. Nothing is left of its process group."""
        status = self.process.wait(PATIENCE)
        until(lambda: not grouped(self.process.pid))  # a killed child of a thread is in it until init has waited
        return status

    def asleep(self) -> None:
        """Wait until it is blocked in the kernel, where the kernel tells."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if stat.exists():
            until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")

    def destroy(self) -> None:
        """End what is left of it."""
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


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command with arguments: in the checkout, or with ``cwd=`` elsewhere and the checkout on PYTHONPATH."""
    commands: list[Command] = []

    def start(
        *arguments: str,
        cwd: Path = ROOT,
        stderr: Any = subprocess.PIPE,
        python: Sequence[str] = (sys.executable, "-m", "reactor"),
        **environment: str,
    ) -> Command:
        path = {} if cwd == ROOT else {"PYTHONPATH": str(ROOT)}
        command = Command([*python, *arguments], cwd, stderr, {**path, **environment})
        commands.append(command)
        return command

    yield start
    for command in commands:
        command.destroy()


@pytest.fixture
def specimens(tmp_path: Path) -> Path:
    """A directory with the module ``specimens``."""
    (tmp_path / "specimens.py").write_text(SPECIMENS)
    return tmp_path


@pytest.fixture
def connect() -> Iterator[Callable[[str], socket.socket]]:
    """Connect to a URL; the sockets are closed at the end."""
    sockets: list[socket.socket] = []

    def connect(url: str) -> socket.socket:
        scheme, _, rest = url.partition("://")
        kind = socket.SOCK_DGRAM if scheme in ("udp", "udp6", "unix+dgram") else socket.SOCK_STREAM
        address: Any
        if scheme.startswith("unix"):
            family, address = socket.AF_UNIX, rest.replace("@", "\0")
        else:
            host, _, port = rest.rpartition(":")
            address = (host.strip("[]"), int(port))
            family = socket.AF_INET6 if scheme.endswith("6") else socket.AF_INET
        client = socket.socket(family, kind)
        sockets.append(client)
        client.settimeout(PATIENCE)
        if scheme == "unix+dgram":
            client.bind("")  # a name for the reply to go to
        client.connect(address)
        return client

    yield connect
    for each in sockets:
        each.close()


Connect = Callable[[str], socket.socket]


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is not just its corpse."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def grouped(number: int) -> bool:
    """Whether a process is in this process group."""
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], object]) -> None:
    """Wait for the condition, bounded."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, "it does not come about"
        sleep(0.005)


def talk(client: socket.socket, data: bytes) -> bytes:
    """Send data, receive as much."""
    client.sendall(data)
    return receive(client, len(data))


def receive(client: socket.socket, count: int) -> bytes:
    """Receive so many bytes, fewer only if the stream ends."""
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data


def to_end(client: socket.socket) -> bytes:
    """Receive to the end of the stream, be it a reset."""
    data = b""
    try:
        while piece := client.recv(65_536):
            data += piece
    except ConnectionError:
        pass
    return data


# It serves


@pytest.mark.parametrize("mode", MODES)
def test_streams_of_every_kind(start: Start, connect: Connect, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "socket"
    binds = [LOCAL, "tcp6://[::1]:0", f"unix://{path}", f"unix://@{tmp_path}"]
    command = start("serve", "--mode", mode, *(f"--bind={url}" for url in binds))
    urls = command.urls(4, mode)
    assert [url.rpartition(":")[0] for url in urls[:2]] == ["tcp://127.0.0.1", "tcp6://[::1]"]
    assert urls[2:] == binds[2:]
    for url in urls:
        client = connect(url)
        assert talk(client, b"hello") == b"hello"
        client.shutdown(socket.SHUT_WR)
        assert to_end(client) == b""
    assert command.stop() == 0
    assert command.rest() == ""
    assert not path.exists()


@pytest.mark.parametrize("mode", MODES)
def test_datagrams_of_every_kind(start: Start, connect: Connect, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "socket"
    binds = ["udp://127.0.0.1:0", "udp6://[::1]:0", f"unix+dgram://{path}", f"unix+dgram://@{tmp_path}"]
    command = start("serve", "handlers.services:EchoDatagram", "--mode", mode, *(f"--bind={url}" for url in binds))
    for url in command.urls(4, mode):
        assert talk(connect(url), b"hello") == b"hello"
    assert command.stop(signal.SIGINT) == 0
    assert command.rest() == ""
    assert not path.exists()


def test_echo_at_port_7007_is_the_default(start: Start) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", 7007))
            holder.listen()
        except OSError:
            pass  # somebody else has the port, which is all that is wanted
        command = start("serve")
        assert command.line().startswith("python3 -m reactor serve: tcp://127.0.0.1:7007: ")
        assert command.status() == 2


def test_all_interfaces_and_ipv4_through_ipv6(start: Start, connect: Connect) -> None:
    command = start("serve", "--bind", "tcp6://[::]:0", "--bind", "tcp://0.0.0.0:0")
    for url, host in zip(command.urls(2, "select"), ("[::]", "0.0.0.0"), strict=True):
        assert url.rpartition("://")[2].rpartition(":")[0] == host
        assert talk(connect(f"tcp://127.0.0.1:{url.rpartition(':')[2]}"), b"hello") == b"hello"


def test_a_host_by_name(start: Start, connect: Connect) -> None:
    command = start("serve", "--bind", "tcp://localhost:0")
    (url,) = command.urls(1, "select")
    assert talk(connect(url), b"hello") == b"hello"


@pytest.mark.parametrize("mode", BLOCKING)
def test_a_blocking_handler_of_the_current_directory(
    start: Start, connect: Connect, specimens: Path, mode: str
) -> None:
    command = start("serve", "specimens:BlockingLines", "--mode", mode, "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, mode))
    client.sendall(b"one\ntwo\n")
    client.shutdown(socket.SHUT_WR)
    assert to_end(client) == b"ONE\nTWO\nfinish"


def test_a_blocking_handler_that_says_when_a_request_is_here(start: Start, connect: Connect, specimens: Path) -> None:
    command = start("serve", "specimens:Whole", "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, "select"))
    client.sendall(b"one\n")
    assert to_end(client) == b"ONE\nfinish"


@pytest.mark.parametrize("mode", BLOCKING)
def test_a_blocking_handler_of_datagrams(start: Start, connect: Connect, specimens: Path, mode: str) -> None:
    command = start("serve", "specimens:Packets", "--mode", mode, "--bind=udp://127.0.0.1:0", cwd=specimens)
    client = connect(*command.urls(1, mode))
    assert talk(client, b"one") == b"ONE"
    assert command.stop() == 0
    assert command.rest() == ""


def test_the_current_directory_counts_even_where_python_leaves_it_out(start: Start, specimens: Path) -> None:
    command = start("serve", "specimens:Lines", "--bind", LOCAL, cwd=specimens, PYTHONSAFEPATH="1")
    command.urls(1, "select")


def test_a_stalled_caller_refuses_nobody(start: Start, connect: Connect) -> None:
    command = start("serve", "--mode", "sync", "--bind", LOCAL)
    (url,) = command.urls(1, "sync")
    clients = [connect(url) for _ in range(100)]
    assert talk(clients[0], b"hello") == b"hello"
    for client in clients[:-1]:
        client.close()
    assert talk(clients[-1], b"hello") == b"hello"


def test_nobody_to_tell(start: Start, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    shell = ("/bin/sh", "-c", 'exec "$0" -m reactor "$@" 2>&-', sys.executable)
    command = start("serve", "--bind", f"unix://{path}", python=shell)
    until(path.exists)
    until(lambda: serves(connect, f"unix://{path}"))
    assert command.stop() == 0


def test_nobody_reads_what_it_says(start: Start, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    reader, writer = os.pipe()
    os.close(reader)
    command = start("serve", "--bind", f"unix://{path}", stderr=writer)
    os.close(writer)
    until(path.exists)
    until(lambda: serves(connect, f"unix://{path}"))
    assert command.stop() == 0


def serves(connect: Connect, url: str) -> bool:
    """Whether an echo is served there."""
    try:
        return talk(connect(url), b"hello") == b"hello"
    except ConnectionRefusedError:
        return False


# It stops


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", MODES)
def test_stalled_clients_hear_the_end_in_every_mode(
    start: Start, connect: Connect, specimens: Path, mode: str, number: int
) -> None:
    command = start("serve", "specimens:Lines", "--mode", mode, "--bind", LOCAL, cwd=specimens)
    (url,) = command.urls(1, mode)
    clients = [connect(url) for _ in range(1 if mode == "sync" else 3)]
    for client in clients:
        client.sendall(b"one\nha")
        assert receive(client, 4) == b"ONE\n"
    late = connect(url)
    late.sendall(b"ha")
    command.asleep()
    assert command.stop(number) == 0
    assert command.rest() == ""
    assert [to_end(client) for client in clients] == [b"Cancelled"] * len(clients)
    if mode == "sync":
        assert to_end(late) == b""  # the caller was busy, and does not begin another request now


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", BLOCKING)
def test_a_handler_blocked_in_readline_holds_nothing_up(
    start: Start, connect: Connect, specimens: Path, mode: str, number: int
) -> None:
    command = start("serve", "specimens:BlockingLines", "--mode", mode, "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, mode))
    client.sendall(b"one\nha")
    assert receive(client, 4) == b"ONE\n"
    command.asleep()
    assert command.stop(number) == 0
    assert command.rest() == ""
    assert to_end(client) == (b"" if mode == "thread" else b"finish")  # a thread can't be interrupted


@pytest.mark.parametrize(
    ("handler", "mode"), [*(("Lines", mode) for mode in MODES), *(("BlockingLines", mode) for mode in BLOCKING)]
)
def test_a_signal_to_all_of_the_group_ends_it_in_the_same_way(
    start: Start, connect: Connect, specimens: Path, handler: str, mode: str
) -> None:
    path = specimens / "socket"
    command = start("serve", f"specimens:{handler}", "--mode", mode, "--bind", f"unix://{path}", cwd=specimens)
    client = connect(*command.urls(1, mode))
    assert talk(client, b"one\n") == b"ONE\n"
    command.asleep()
    os.killpg(command.process.pid, signal.SIGINT)  # what a terminal does
    assert command.status() == 0
    assert command.rest() == ""
    if handler == "Lines":
        assert to_end(client) == b"Cancelled"
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_users_module_is_imported_ends_it_cleanly(start: Start, tmp_path: Path, number: int) -> None:
    (tmp_path / "slow.py").write_text("open('begun', 'w').close(); import time; time.sleep(60)")
    command = start("serve", "slow:Kind", cwd=tmp_path)
    until((tmp_path / "begun").exists)
    assert command.stop(number) == 0
    assert command.rest() == ""


@pytest.mark.parametrize("mode", MODES)
def test_who_reads_standard_error_may_go(specimens: Path, connect: Connect, mode: str) -> None:
    (specimens / "raising.py").write_text(
        "from handlers import *\nclass Raises(StreamHandler):\n"
        "    async def handle(self):\n        raise ArithmeticError(await Some())\n"
    )
    options = ["serve", "raising:Raises", "--mode", mode, "--bind", LOCAL]
    process = subprocess.Popen(
        [sys.executable, "-m", "reactor", *options], cwd=specimens, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    url = process.stderr.readline().split()[2].decode()
    process.stderr.close()
    try:
        for _ in range(3):
            client = connect(url)
            client.sendall(b"x")
            to_end(client)
        assert process.poll() is None
    finally:
        process.terminate()
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("mode", MODES)
def test_signals_that_go_on_until_the_very_end_change_nothing(start: Start, mode: str) -> None:
    command = start("serve", "--mode", mode, "--bind", LOCAL)
    command.urls(1, mode)
    deadline = time.monotonic() + PATIENCE
    while command.process.poll() is None and time.monotonic() < deadline:
        command.process.send_signal(signal.SIGINT)  # Python takes its own handlers away before it has ended
        time.sleep(0.0005)
    assert command.status() == 0
    assert command.rest() == ""


def test_a_child_is_deaf_to_nothing(start: Start, connect: Connect, specimens: Path) -> None:
    at_work = specimens / "at work"
    command = start("serve", "specimens:Worker", "--bind", LOCAL, cwd=specimens)
    (url,) = command.urls(1, "select")
    client = connect(url)
    client.sendall(f"{at_work}\n".encode())
    until(at_work.exists)
    os.kill(int(at_work.read_text()), signal.SIGTERM)  # it has no handler of its own, nor its parent's
    assert to_end(client) == b""
    connect(url)
    assert command.stop() == 0


def test_other_signals_are_a_modules_own(start: Start, connect: Connect, specimens: Path) -> None:
    command = start("serve", "specimens:Lines", "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, "select"))
    assert talk(client, b"one\n") == b"ONE\n"
    command.process.send_signal(signal.SIGUSR1)
    assert command.line() == "USR1"
    command.asleep()  # and not awake for ever
    assert talk(client, b"two\n") == b"TWO\n"


@pytest.mark.parametrize(
    ("handler", "mode"),
    [
        *(("Worker", mode) for mode in MODES),
        ("HandsOver", "sync"),
        ("HandsOver", "thread"),
        ("HandsOverAndDawdles", "thread"),
    ],
)
def test_no_child_of_a_handler_is_left_behind(
    start: Start, connect: Connect, specimens: Path, handler: str, mode: str
) -> None:
    at_work = specimens / "at work"
    options = {"PYTHONWARNINGS": "ignore"}  # a fork in a thread is what this asks for
    command = start("serve", f"specimens:{handler}", "--mode", mode, "--bind", LOCAL, cwd=specimens, **options)
    connect(*command.urls(1, mode)).sendall(f"{at_work}\n".encode())
    until(at_work.exists)
    command.asleep()
    assert command.stop() == 0
    assert command.rest() == ""
    until(lambda: not alive(int(at_work.read_text())))  # nobody has waited for a child of a thread: init will


def test_a_child_that_will_not_end_is_ended(start: Start, connect: Connect, specimens: Path) -> None:
    command = start("serve", "specimens:Stubborn", "--mode", "fork", "--bind", LOCAL, cwd=specimens)
    assert receive(connect(*command.urls(1, "fork")), 5) == b"ready"
    assert command.stop() == 0
    assert command.rest() == ""


def test_a_state_that_blocks_is_interrupted(start: Start, connect: Connect, specimens: Path) -> None:
    command = start("serve", "specimens:Sleeper", "--mode", "sync", "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, "sync"))
    assert talk(client, b"one") == b"one"
    client.sendall(b"two")
    command.asleep()
    assert command.stop() == 0
    assert command.rest() == ""


@pytest.mark.parametrize("mode", BLOCKING)
def test_a_reply_that_nobody_reads_holds_nothing_up(start: Start, connect: Connect, specimens: Path, mode: str) -> None:
    command = start("serve", "specimens:Flood", "--mode", mode, "--bind", LOCAL, cwd=specimens)
    assert receive(connect(*command.urls(1, mode)), 5) == b"xxxxx"
    command.asleep()
    assert command.stop() == 0
    assert command.rest() == ""


def test_a_restart_at_the_same_port(start: Start, connect: Connect) -> None:
    first = start("serve", "--bind", LOCAL)
    (url,) = first.urls(1, "select")
    assert talk(connect(url), b"hello") == b"hello"
    assert first.stop() == 0
    second = start("serve", "--bind", url)
    assert second.urls(1, "select") == [url]
    assert talk(connect(url), b"hello") == b"hello"


def test_a_path_that_is_somebody_elses_by_now_stays(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = start("serve", "--bind", f"unix://{path}")
    first.urls(1, "select")
    path.unlink()
    second = start("serve", "--bind", f"unix://{path}")
    second.urls(1, "select")
    assert first.stop() == 0
    assert path.is_socket()
    assert second.stop() == 0
    assert not path.exists()


def test_a_path_that_nobody_serves_any_more_is_taken_over(start: Start, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = start("serve", "--bind", f"unix://{path}")
    first.urls(1, "select")
    first.process.kill()
    first.process.wait(PATIENCE)
    assert path.is_socket()
    second = start("serve", "--bind", f"unix://{path}")
    (url,) = second.urls(1, "select")
    assert talk(connect(url), b"hello") == b"hello"
    assert second.stop() == 0
    assert not path.exists()


def test_a_file_that_is_no_socket_stays(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_text("dear ada")
    assert_refused(start("serve", "--bind", f"unix://{path}"), str(path), "no socket", "remove it yourself")
    assert path.read_text() == "dear ada"


def test_a_thread_that_ends_last_may_wake_a_reactor_that_closes() -> None:
    raised: list[BaseException] = []

    class Reader(socket.socket):
        def close(self) -> None:
            super().close()
            thread = threading.Thread(target=wake)
            thread.start()
            thread.join(PATIENCE)

    def socketpair() -> tuple[socket.socket, socket.socket]:
        reader, writer = socket.socketpair()
        return Reader(fileno=reader.detach()), writer

    def wake() -> None:
        try:
            reactor.call_soon(print)
        except BaseException as error:
            raised.append(error)

    reactor = Reactor(network=SimpleNamespace(**{**vars(socket), "socketpair": socketpair}))
    reactor.make_wakeup()
    reactor.close()
    assert raised == []


# It refuses

BROKEN = {
    "broken.py": "import os\n\nos.no_such_thing\n",
    "misspelt.py": "def f(:\n",
    "needy.py": "import no_such_library\n",
    "quitter.py": "raise SystemExit('enough\\nof it')\n",
    "bare.py": "from handlers.services import Echo as _\n",
}

REFUSED = {
    "no module": (["nope:Echo"], ["nope", "write it as Python imports it"]),
    "no submodule": (["handlers.nope:Echo"], ["handlers.nope"]),
    "a file": (["specimens.py:Lines"], ["specimens.py", "write it as Python imports it"]),
    "a path": (["./specimens:Lines"], ["./specimens:Lines", "MODULE:CLASS"]),
    "no class named": (["specimens"], ["specimens", "MODULE:CLASS"]),
    "nothing named": ([":"], ["MODULE:CLASS"]),
    "no such class": (["specimens:Line"], ["specimens has no Line", "Lines", "BlockingLines"]),
    "no class": (["specimens:number"], ["specimens:number is no handler class", "Lines"]),
    "no handler": (["os:PathLike"], ["os:PathLike is no handler class", "StreamHandler"]),
    "half a handler": (["handlers:Handler"], ["handlers:Handler is no handler class"]),
    "no handlers": (["bare:Echo"], ["bare has no Echo", "derive"]),
    "an error inside": (["broken:Echo"], ["broken can't be imported", "AttributeError", "no_such_thing", "line 3"]),
    "a syntax error": (["misspelt:Echo"], ["misspelt can't be imported", "SyntaxError", "line 1"]),
    "a library missing": (["needy:Echo"], ["needy can't be imported", "no_such_library", "needy.py, line 1"]),
    "an exit inside": (["quitter:Echo"], ["quitter can't be imported", "SystemExit: enough of it"]),
    "a stream handler": (
        ["handlers.services:Echo", "--bind=udp://127.0.0.1:0"],
        ["handlers.services:Echo is for streams", "udp://127.0.0.1:0", "datagram handler", "tcp://"],
    ),
    "a blocking stream handler": (
        ["specimens:BlockingLines", "--mode=sync", "--bind=udp://127.0.0.1:0"],
        ["specimens:BlockingLines is for streams", "udp://127.0.0.1:0"],
    ),
    "a datagram handler": (
        ["handlers.services:EchoDatagram"],
        ["handlers.services:EchoDatagram is for datagrams", "tcp://127.0.0.1:7007", "udp://"],
    ),
    "a handler that blocks": (
        ["specimens:BlockingLines", f"--bind={LOCAL}"],
        ["specimens:BlockingLines", "request =", "--mode sync, fork or thread"],
    ),
    "a datagram handler that blocks": (
        ["specimens:Packets", "--bind=udp://127.0.0.1:0"],
        ["specimens:Packets", "request = Packet()", "--mode sync, fork or thread"],
    ),
    "no such mode": (["--mode=asyncio"], ["--mode", "asyncio", "select", "fork"]),
    "no URL": (["--bind=7007"], ["'7007'", "tcp://", "unix+dgram://"]),
    "no such scheme": (["--bind=http://127.0.0.1:0"], ["'http://127.0.0.1:0'", "tcp://"]),
    "no port": (["--bind=tcp://127.0.0.1"], ["'tcp://127.0.0.1'", "tcp://HOST:PORT"]),
    "no number": (["--bind=tcp://127.0.0.1:echo"], ["'tcp://127.0.0.1:echo'", "tcp://HOST:PORT"]),
    "no such port": (["--bind=tcp://127.0.0.1:65536"], ["65535"]),
    "no host": (["--bind=udp://:0"], ["'udp://:0'", "udp://HOST:PORT"]),
    "IPv6 in IPv4": (["--bind=udp://[::1]:0"], ["'udp://[::1]:0'", "udp6://[::1]:0"]),
    "no brackets": (["--bind=tcp6://::1:0"], ["'tcp6://::1:0'", "tcp6://[::1]:0"]),
    "no absolute path": (["--bind=unix://run/socket"], ["'unix://run/socket'", "unix:///absolute/path"]),
    "a directory": (["--bind=unix:///"], ["'unix:///'", "unix:///absolute/path"]),
    "no such directory": (["--bind=unix:///nowhere/socket"], ["unix:///nowhere/socket", "make the directory"]),
    "a long path": ([f"--bind=unix:///{'x' * 200}"], ["xxx", "too long"]),
    "a foreign address": (["--bind=tcp://192.0.2.1:0"], ["tcp://192.0.2.1:0", "127.0.0.1"]),
    "no address": (["--bind=tcp://host.invalid:0"], ["tcp://host.invalid:0"]),
    "no name": (["--bind=tcp://é..b:0"], ["tcp://é..b:0", "host name"]),
}


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with good modules and bad ones."""
    place = tmp_path_factory.mktemp("modules")
    for name, text in {**BROKEN, "specimens.py": SPECIMENS}.items():
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_and_what_to_do_in_one_line(
    start: Start, modules: Path, arguments: list[str], words: list[str]
) -> None:
    assert_refused(start("serve", *arguments, cwd=modules), *words)


def assert_refused(command: Command, *words: str) -> None:
    """The command says what is wrong in one line with these words in it, and exits with status 2."""
    said = command.rest()
    assert command.status() == 2
    assert said.startswith("python3 -m reactor")
    assert said.count("\n") == 1
    assert said.endswith("\n")
    assert not [word for word in words if word not in said], said


@pytest.mark.parametrize("arguments", [[], ["server"], ["serve", "--fast"]])
def test_a_wrong_command_line(start: Start, arguments: list[str]) -> None:
    assert_refused(start(*arguments), "--help")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scheme", ["tcp", "udp", "unix"])
def test_an_address_that_is_taken(
    start: Start, connect: Connect, modules: Path, tmp_path: Path, scheme: str, mode: str
) -> None:
    handler = "handlers.services:EchoDatagram" if scheme == "udp" else "handlers.services:Echo"
    bind = f"unix://{tmp_path}/socket" if scheme == "unix" else f"{scheme}://127.0.0.1:0"
    first = start("serve", handler, "--bind", bind)
    (url,) = first.urls(1, "select")
    other = f"unix://{tmp_path}/other" if scheme == "unix" else bind
    assert_refused(start("serve", handler, "--mode", mode, "--bind", other, "--bind", url), url, "stop what serves")
    assert talk(connect(url), b"hello") == b"hello"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("missing", "arguments", "words"),
    [
        ("os.fork", ["--mode=fork"], ["--mode fork", "can't fork", "--mode select or sync"]),
        ("socket.AF_UNIX", ["--bind=unix:///tmp/socket"], ["unix:///tmp/socket", "no Unix sockets", "tcp://"]),
    ],
)
def test_what_the_host_lacks(start: Start, missing: str, arguments: list[str], words: list[str]) -> None:
    lacking = textwrap.dedent(f"""\
        import functools, os, runpy, socket
        socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)  # a host that lacks it has another
        del {missing}
        runpy.run_module("reactor", run_name="__main__")
    """)
    assert_refused(start("serve", *arguments, python=(sys.executable, "-c", lacking)), *words)


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"]])
def test_help(start: Start, arguments: list[str]) -> None:
    command = start(*arguments)
    assert command.process.stdout is not None
    said = command.process.stdout.read().decode()
    assert command.status() == 0
    assert command.rest() == ""
    assert said.startswith("usage: python3 -m reactor")
    assert "serve" in said
    if "serve" in arguments:
        for word in ("MODULE:CLASS", "--mode", "unix+dgram:///PATH", "tcp://127.0.0.1:7007", "handlers.services:Echo"):
            assert word in said


def test_a_path_that_has_gone_in_the_meantime_is_no_trouble(start: Start, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    command = start("serve", "--bind", f"unix://{tmp_path}/place/socket")
    command.urls(1, "select")
    (tmp_path / "place").rename(tmp_path / "elsewhere")
    assert command.stop() == 0
    assert command.rest() == ""


# The terminal


class Terminal:
    """A terminal of as many columns, and what is to be seen on it."""

    def __init__(self, columns: int) -> None:
        import fcntl
        import struct
        import termios

        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._lines = [""]
        self._column = 0
        self._columns = columns

    def wait_for(self, text: str) -> str:
        """Wait until the text is to be seen in a line; that line."""
        deadline = monotonic() + PATIENCE
        while True:
            for line in self._lines:
                if text in line:
                    return line
            assert monotonic() < deadline, self._lines
            self._read()

    def wait_until(self, last_line: str) -> None:
        """Wait until the last line reads so."""
        deadline = monotonic() + PATIENCE
        while self._lines[-1].rstrip() != last_line:
            assert monotonic() < deadline, self._lines
            self._read()

    def close(self) -> None:
        os.close(self._master)
        os.close(self.slave)

    def _read(self) -> None:
        if not select.select([self._master], [], [], 0.1)[0]:
            return
        for character in os.read(self._master, 65_536).decode():
            if character == "\r":
                self._column = 0
            elif character == "\n":
                self._lines.append("")
            else:
                line = self._lines[-1]
                self._lines[-1] = line[: self._column] + character + line[self._column + 1 :]
                self._column += 1
                assert self._column < self._columns, "a line that wraps can't be overwritten"


@pytest.mark.parametrize("columns", [20, 100])
def test_the_line_on_a_terminal(start: Start, connect: Connect, columns: int) -> None:
    terminal = Terminal(columns + len("listening on tcp://127.0.0.1:12345 (select)"))
    try:
        command = start("serve", "--bind", LOCAL, stderr=terminal.slave)
        url = terminal.wait_for("(select)").split()[2]
        terminal.wait_for("rows 0, bytes in 0, out 0, oldest 0 s")
        client = connect(url)
        assert talk(client, b"hello") == b"hello"
        terminal.wait_for("rows 1, bytes in 5, out 5, oldest 1 s")
        assert command.stop(signal.SIGINT) == 0
        terminal.wait_until("")
    finally:
        terminal.close()


def test_a_terminal_that_is_closed_ends_nothing(start: Start, connect: Connect) -> None:
    terminal = Terminal(100)
    command = start("serve", "--bind", LOCAL, stderr=terminal.slave)
    url = terminal.wait_for("(select)").split()[2]
    terminal.close()
    assert talk(connect(url), b"hello") == b"hello"
    assert command.stop() == 0


def test_no_line_where_there_is_no_terminal(start: Start, connect: Connect) -> None:
    command = start("serve", "--bind", LOCAL)
    assert talk(connect(*command.urls(1, "select")), b"hello") == b"hello"
    assert command.stop() == 0
    assert command.rest() == ""
