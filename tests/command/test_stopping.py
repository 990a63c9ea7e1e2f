"""How the command ends: signals, open requests, children, and Unix paths."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from reactor import DatagramRequestHandler, Reactor, UDPServer
from reactor.command.main import CUT
from reactor.command.stopping import Ending, Interruptible, Stopped, handle_signals
from tests import ROOT
from tests.support.command import (
    BLOCKING,
    LOCAL,
    MODES,
    PATIENCE,
    Command,
    Connect,
    Refused,
    Start,
    alive,
    assert_refused,
    receive,
    talk,
    to_end,
    until,
)
from tests.support.grids import grid
from tests.support.lines import at_each_line


def assert_cut(command: Command, number: int = signal.SIGTERM, requests: Sequence[int] = (1,)) -> None:
    """The command ends at the signal, says how many requests it has cut, and exits with the status for that."""
    assert command.stop(number) == CUT
    told = command.rest()
    assert told.startswith(tuple(f"{count} requests did not finish in " for count in requests)), told
    assert told.count("\n") == 1


@pytest.mark.slow
@grid(mode=MODES, number=[signal.SIGINT, signal.SIGTERM], together=1)
def test_stalled_clients_are_told_of_the_end_in_every_mode(
    start: Start, connect: Connect, specimens: Path, mode: str, number: int
) -> None:
    command = start("serve", "specimens:Lines", "--mode", mode, "--grace", "0.3", "--bind", LOCAL, cwd=specimens)
    (url,) = command.urls(1, mode)
    clients = [connect(url) for _ in range(1 if mode == "sync" else 3)]
    for client in clients:
        client.sendall(b"one\nha")
        assert receive(client, 4) == b"ONE\n"
    late = connect(url)
    late.sendall(b"ha")
    command.asleep()
    asked = len(clients)  # and the late client, if its first bytes have been read when the grace is over
    assert_cut(command, number, (asked,) if mode == "sync" else (asked, asked + 1))
    assert [to_end(client) for client in clients] == [b"Cancelled"] * len(clients)
    if mode == "sync":
        assert to_end(late) == b""  # the caller was busy and begins no other request


@pytest.mark.slow
@grid(mode=BLOCKING, number=[signal.SIGINT, signal.SIGTERM], together=1)
def test_a_handler_blocked_in_readline_does_not_delay_the_end(
    start: Start, connect: Connect, specimens: Path, mode: str, number: int
) -> None:
    options = ["--mode", mode, "--grace", "0.3", "--bind", LOCAL]
    command = start("serve", "specimens:BlockingLines", *options, cwd=specimens)
    client = connect(*command.urls(1, mode))
    client.sendall(b"one\nha")
    assert receive(client, 4) == b"ONE\n"
    command.asleep()
    assert_cut(command, number)
    assert to_end(client) == (b"" if mode == "thread" else b"finish")  # a thread can't be interrupted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "mode"), [*(("Lines", mode) for mode in MODES), *(("BlockingLines", mode) for mode in BLOCKING)]
)
def test_a_signal_to_the_process_group_ends_it_in_the_same_way(
    start: Start, connect: Connect, specimens: Path, handler: str, mode: str
) -> None:
    path = specimens / "socket"
    options = ["--mode", mode, "--grace", "0.3", "--bind", f"unix://{path}"]
    command = start("serve", f"specimens:{handler}", *options, cwd=specimens)
    client = connect(*command.urls(1, mode))
    assert talk(client, b"one\n") == b"ONE\n"
    command.asleep()
    os.killpg(command.process.pid, signal.SIGINT)  # as a terminal does
    is_known_to_be_idle = handler == "Lines"
    assert command.status() == (0 if is_known_to_be_idle else CUT)
    assert ("1 requests did not finish" in command.rest()) != is_known_to_be_idle
    if handler == "Lines":
        assert to_end(client) == b"Cancelled"
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("options", [*(["--mode", mode] for mode in MODES), ["--threads", "2"]])
def test_the_end_of_its_terminal_ends_it_as_sigterm_does(
    start: Start, connect: Connect, specimens: Path, options: list[str]
) -> None:
    path = specimens / "socket"
    command = start("serve", "specimens:Lines", *options, "--bind", f"unix://{path}", cwd=specimens)
    client = connect(*command.urls(1, options[1] if options[0] == "--mode" else "select"))
    assert talk(client, b"one\n") == b"ONE\n"
    command.asleep()
    os.killpg(command.process.pid, signal.SIGHUP)
    assert command.status() == 0
    assert to_end(client) == b"Cancelled"
    assert not path.exists()


def test_a_server_under_nohup_outlives_its_terminal(start: Start, connect: Connect, tmp_path: Path) -> None:
    ignoring = ("sh", "-c", 'trap "" HUP; exec "$0" "$@"', sys.executable, "-m", "reactor")
    command = start("serve", "--bind", LOCAL, cwd=tmp_path, python=ignoring)
    client = connect(*command.urls(1, "select"))
    os.killpg(command.process.pid, signal.SIGHUP)
    assert talk(client, b"one\n") == b"one\n"
    assert command.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_users_module_is_imported_ends_it_cleanly(start: Start, tmp_path: Path, number: int) -> None:
    (tmp_path / "slow.py").write_text("open('begun', 'w').close(); import time; time.sleep(60)")
    command = start("serve", "slow:Kind", cwd=tmp_path)
    until((tmp_path / "begun").exists)
    assert command.stop(number) == 0
    assert command.rest() == ""


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_it_ends_cleanly_when_the_reader_of_standard_error_has_gone(
    specimens: Path, connect: Connect, mode: str
) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_repeated_sigint_until_the_end_changes_nothing(start: Start, mode: str) -> None:
    command = start("serve", "--mode", mode, "--bind", LOCAL)
    command.urls(1, mode)
    deadline = time.monotonic() + PATIENCE
    while command.process.poll() is None and time.monotonic() < deadline:
        command.process.send_signal(signal.SIGINT)  # Python resets its signal handlers before the process has ended
        time.sleep(0.0005)
    assert command.status() == 0
    assert command.rest() == ""


SLOW = """
import time
from handlers import Delay, Exactly, StreamHandler, StreamRequestHandler, Until

class Slow(StreamHandler):
    async def handle(self):
        line = await Until(b"\\n")
        await Delay(0.3)
        self.send(line)

class Blocking(StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        time.sleep(0.3)
        self.wfile.write(line)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "mode"), [*(("Slow", mode) for mode in MODES), *(("Blocking", mode) for mode in BLOCKING)]
)
def test_requests_that_have_been_sent_are_answered_after_the_signal(
    start: Start, connect: Connect, tmp_path: Path, handler: str, mode: str
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    command = start("serve", f"slow:{handler}", "--mode", mode, "--grace", "15", "--bind", LOCAL, cwd=tmp_path)
    (url,) = command.urls(1, mode)
    clients = [connect(url) for _ in range(3)]
    for client in clients:
        client.sendall(b"word\n")
    os.killpg(command.process.pid, signal.SIGINT)  # while the requests are accepted
    assert [to_end(client) for client in clients] == [b"word\n"] * 3
    assert command.status() == 0
    assert command.rest() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "mode"), [*(("Lines", mode) for mode in MODES), *(("BlockingLines", mode) for mode in BLOCKING)]
)
def test_a_second_signal_ends_it_at_once(
    start: Start, connect: Connect, specimens: Path, handler: str, mode: str
) -> None:
    options = ["--mode", mode, "--grace", "1000", "--bind", LOCAL]
    command = start("serve", f"specimens:{handler}", *options, cwd=specimens)
    (url,) = command.urls(1, mode)
    client = connect(url)
    client.sendall(b"one\nha")
    assert receive(client, 4) == b"ONE\n"
    command.asleep()
    command.process.send_signal(signal.SIGINT)  # two pending signals of one number would be one
    assert_cut(command)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_idle_connections_do_not_delay_the_end(start: Start, connect: Connect, mode: str) -> None:
    command = start("serve", "--grace", "1000", "--mode", mode, "--bind", LOCAL)
    client = connect(*command.urls(1, mode))
    assert talk(client, b"hello") == b"hello"
    assert command.stop() == 0
    assert command.rest() == ""
    assert to_end(client) == b""


@pytest.mark.parametrize("grace", ["x", "-1", "nan", "inf"])
def test_a_grace_that_is_no_number_of_seconds_is_refused(refused: Refused, grace: str) -> None:
    refused("serve", f"--grace={grace}", words=["--grace", "seconds"])


def test_a_child_of_a_handler_ends_at_sigterm(start: Start, connect: Connect, specimens: Path) -> None:
    at_work = specimens / "at work"
    command = start("serve", "specimens:Worker", "--bind", LOCAL, cwd=specimens)
    (url,) = command.urls(1, "select")
    client = connect(url)
    client.sendall(f"{at_work}\n".encode())
    until(at_work.exists)
    os.kill(int(at_work.read_text()), signal.SIGTERM)  # it has no handler of its own and none of its parent's
    assert to_end(client) == b""
    connect(url)
    assert command.stop() == 0


def test_a_users_module_may_handle_other_signals(start: Start, connect: Connect, specimens: Path) -> None:
    command = start("serve", "specimens:Lines", "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, "select"))
    assert talk(client, b"one\n") == b"ONE\n"
    command.process.send_signal(signal.SIGUSR1)
    assert command.line() == "USR1"
    command.asleep()  # the signal leaves nothing that wakes the loop again and again
    assert talk(client, b"two\n") == b"TWO\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "mode"),
    [
        *(("Worker", mode) for mode in MODES),
        ("HandsOver", "sync"),
        ("HandsOver", "thread"),
        ("HandsOverAndDawdles", "thread"),
    ],
)
def test_no_child_of_a_handler_outlives_the_command(
    start: Start, connect: Connect, specimens: Path, handler: str, mode: str
) -> None:
    at_work = specimens / "at work"
    options = {"PYTHONWARNINGS": "ignore"}  # these handlers fork in a thread
    command = start(
        "serve", f"specimens:{handler}", "--mode", mode, "--grace", "0.3", "--bind", LOCAL, cwd=specimens, **options
    )
    connect(*command.urls(1, mode)).sendall(f"{at_work}\n".encode())
    until(at_work.exists)
    command.asleep()
    assert_cut(command)
    until(lambda: not alive(int(at_work.read_text())))  # a child of a thread has not been waited for: init will


@pytest.mark.slow
def test_a_child_that_does_not_end_is_killed(start: Start, connect: Connect, specimens: Path) -> None:
    command = start("serve", "specimens:Stubborn", "--mode", "fork", "--grace", "0.3", "--bind", LOCAL, cwd=specimens)
    assert receive(connect(*command.urls(1, "fork")), 5) == b"ready"
    assert_cut(command)


@pytest.mark.slow
def test_a_state_that_blocks_is_interrupted(start: Start, connect: Connect, specimens: Path) -> None:
    command = start("serve", "specimens:Sleeper", "--mode", "sync", "--grace", "0.3", "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, "sync"))
    assert talk(client, b"one") == b"one"
    client.sendall(b"two")
    command.asleep()
    assert_cut(command)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "said", "answer", "is_idle"), [
    *((mode, b"one\n", b"ONE\n", True) for mode in MODES),
    *((mode, b"one\nha", b"ONE\n", False) for mode in MODES),
    *((mode, b"sleep\n", b"SLEEP\n", False) for mode in BLOCKING),  # in select mode the loop would sleep
])  # fmt: skip
def test_a_connection_that_a_blocking_handler_keeps_does_not_delay_the_end(
    start: Start, connect: Connect, specimens: Path, mode: str, said: bytes, answer: bytes, is_idle: bool
) -> None:
    command = start("serve", "specimens:Kept", "--mode", mode, "--grace", "0.3", "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, mode))
    client.sendall(said)
    assert receive(client, len(answer)) == answer
    command.asleep()
    if is_idle:
        assert command.stop(signal.SIGTERM) == 0
        assert command.rest() == ""
    else:
        assert_cut(command)


@pytest.mark.slow
@pytest.mark.parametrize("mode", BLOCKING)
def test_a_reply_that_the_client_does_not_read_does_not_delay_the_end(
    start: Start, connect: Connect, specimens: Path, mode: str
) -> None:
    command = start("serve", "specimens:Flood", "--mode", mode, "--grace", "0.3", "--bind", LOCAL, cwd=specimens)
    assert receive(connect(*command.urls(1, mode)), 5) == b"xxxxx"
    command.asleep()
    assert_cut(command)


def test_it_can_be_restarted_at_the_same_port(start: Start, connect: Connect) -> None:
    first = start("serve", "--bind", LOCAL)
    (url,) = first.urls(1, "select")
    assert talk(connect(url), b"hello") == b"hello"
    assert first.stop() == 0
    second = start("serve", "--bind", url)
    assert second.urls(1, "select") == [url]
    assert talk(connect(url), b"hello") == b"hello"


def test_a_path_that_another_server_has_taken_over_is_not_removed(start: Start, tmp_path: Path) -> None:
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


def test_a_path_without_a_server_is_taken_over(start: Start, connect: Connect, tmp_path: Path) -> None:
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


def test_a_file_that_is_not_a_socket_is_not_removed(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_text("dear ada")
    assert_refused(start("serve", "--bind", f"unix://{path}"), str(path), "is not a socket", "remove this one")
    assert path.read_text() == "dear ada"


def test_a_thread_that_ends_last_may_wake_a_reactor_that_is_closing() -> None:
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


def test_a_path_that_was_removed_meanwhile_is_no_error(start: Start, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    command = start("serve", "--bind", f"unix://{tmp_path}/place/socket")
    command.urls(1, "select")
    (tmp_path / "place").rename(tmp_path / "elsewhere")
    assert command.stop() == 0
    assert command.rest() == ""


@pytest.mark.slow
def test_children_are_told_of_the_end_where_the_parent_ignores_their_signal(
    start: Start, connect: Connect, specimens: Path
) -> None:
    """A kernel that is told to ignore SIGCHLD reaps the children, and their pids may be another's."""
    ignoring = ("sh", "-c", 'trap "" CHLD; exec "$0" "$@"', sys.executable, "-m", "reactor")
    command = start("serve", "specimens:Lines", "--mode", "fork", "--bind", LOCAL, cwd=specimens, python=ignoring)
    (url,) = command.urls(1, "fork")
    clients = [connect(url) for _ in range(6)]
    for client in clients:
        client.sendall(b"one\n")
        assert receive(client, 4) == b"ONE\n"
    for client in clients[3:]:
        client.sendall(b"ha")
    for client in clients[:3]:  # these children end at about the time of the signal
        client.close()
    assert_cut(command, requests=(3,))
    assert [to_end(client) for client in clients[3:]] == [b"Cancelled"] * 3


def test_a_second_signal_that_comes_in_the_handler_of_the_first_ends_it_at_once() -> None:
    """Whatever line it comes at."""
    for interruption in at_each_line(lambda code: code.co_name in ("signalled", "begin", "is_first")):
        seconds: list[None] = []
        with Reactor() as loop:
            ending = Ending(loop, 1_000, lambda: None)
            with interruption.by(lambda: (seconds.append(None), ending.signalled(signal.SIGTERM, None))):  # noqa: B023
                ending.signalled(signal.SIGINT, None)
            assert ending.is_insisted == bool(seconds)
    assert interruption.lines > 4


@pytest.fixture
def handlers_of_signals() -> Iterator[None]:
    """The test may change the handlers of these signals."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
    before = [signal.getsignal(number) for number in numbers]
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers_of_signals")
def test_a_signal_that_comes_as_a_request_begins_or_ends_leaves_no_timer() -> None:
    """Whatever line it comes at. The timer's SIGALRM would end the process as Python ends."""

    class Server(Interruptible, UDPServer):
        pass

    class Upper(DatagramRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.read().upper())

    for interruption in at_each_line(lambda code: code.co_name in ("_interruptible", "_leave", "handle_signals")):
        with Server(("127.0.0.1", 0), Upper) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
            server.ending = Ending(server.reactor, 1_000, lambda: None)
            handle_signals(server.ending.signalled)
            client.connect(server.server_address)
            client.send(b"one")
            with suppress(Stopped), interruption.by(lambda: signal.raise_signal(signal.SIGTERM)):
                server.handle_request()
            assert signal.getitimer(signal.ITIMER_REAL) == (0, 0), interruption.lines
    assert interruption.lines > 10
