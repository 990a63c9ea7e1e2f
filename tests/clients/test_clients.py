"""Clients that this project did not write get right answers: socat, netcat, curl and telnet, in every mode.

Each server is a process of its own, started with the project's command; each client is the unchanged program. If a
program is missing, its tests are skipped; with ``REACTOR_REAL_CLIENTS=1`` they fail.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from handlers.services import daytime, time32
from tests import ROOT
from tests.support.programs import program

PATIENCE = 30  # seconds; after that a process is taken to hang
ALL_MODES = ["select", "sync", "fork", "thread"]
SPELLINGS = ["States", "Conversation", "Blocking"]
Serve = Callable[..., str]


@pytest.fixture(params=ALL_MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """``serve(class, mode, url)`` returns the address at which the class is served; it starts the process at first."""
    running: dict[tuple[str, str, str], tuple[subprocess.Popen[str], str]] = {}

    def served(kind: str, mode: str, url: str) -> str:
        key = kind, mode, url
        if key not in running:
            running[key] = start(kind, mode, url.format(folder=tmp_path_factory.mktemp("socket")))
        return running[key][1]

    yield served
    for process, _ in running.values():
        process.send_signal(signal.SIGTERM)
    ends = []
    for process, _ in running.values():
        with process, deadline(process):
            assert process.stderr is not None
            ends.append((process.stderr.read(), process.wait()))
    assert set(ends) <= {("", 0)}


def start(kind: str, mode: str, url: str) -> "tuple[subprocess.Popen[str], str]":
    """Serve a class with the project's command; returns the process, and its socket as ``HOST:PORT`` or path."""
    command = [sys.executable, "-m", "reactor", "serve", kind, "--mode", mode, "--bind", url]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with deadline(process):
        line = process.stderr.readline()
    found = re.fullmatch(rf"listening on [a-z+]+://(\S+) \({mode}\)\n", line)
    assert found, line
    return process, found[1]


@contextmanager
def deadline(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> Iterator[None]:
    """Kill a process that takes too long, so that reading from it ends."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        yield
        assert timer.is_alive(), f"{process.args} took too long"
    finally:
        timer.cancel()


def whole(*command: str, question: bytes = b"") -> bytes:
    """Run a client with ``question`` and the end of file as its input; returns its output. It must succeed."""
    result = subprocess.run([program(command[0]), *command[1:]], input=question, capture_output=True, timeout=PATIENCE)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout


def open_ended(*command: str, question: bytes = b"", size: int) -> bytes:
    """Run a client with ``question`` as its input, which stays open; returns ``size`` bytes of its output."""
    process = subprocess.Popen([program(command[0]), *command[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process, deadline(process):
        process.stdin.write(question)
        process.stdin.flush()
        answer = process.stdout.read(size)
        process.kill()
    return answer


def port(address: str) -> list[str]:
    """The address as netcat wants it."""
    return address.split(":")


# Streams


def test_socat_half_closes_and_receives_the_whole_echo(serve: Serve, mode: str) -> None:
    where = serve("handlers.services:Echo", mode, "tcp://127.0.0.1:0")
    question = os.urandom(300_000)
    assert whole("socat", "-t5", "-", f"TCP:{where}", question=question) == question


def test_socat_on_a_unix_socket(serve: Serve, mode: str) -> None:
    where = serve("handlers.services:Echo", mode, "unix://{folder}/echo")
    question = os.urandom(300_000)
    assert whole("socat", "-t5", "-", f"UNIX-CONNECT:{where}", question=question) == question


def test_netcat_half_closes_and_receives_the_whole_echo(serve: Serve, mode: str) -> None:
    where = serve("handlers.services:Echo", mode, "tcp://127.0.0.1:0")
    question = os.urandom(300_000)
    assert whole("nc", "-N", *port(where), question=question) == question


def test_netcat_on_a_unix_socket(serve: Serve, mode: str) -> None:
    where = serve("handlers.services:Echo", mode, "unix://{folder}/echo")
    question = os.urandom(300_000)
    assert whole("nc", "-N", "-U", where, question=question) == question


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_socat_sends_lines_that_end_with_crlf(serve: Serve, mode: str, spelling: str) -> None:
    where = serve(f"examples.upper:{spelling}", mode, "tcp://127.0.0.1:0")
    assert whole("socat", "-t5", "-", f"TCP:{where},crnl", question=b"hello\n") == b"HELLO\n"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_netcat_receives_one_answer_and_the_server_closes(serve: Serve, mode: str, spelling: str) -> None:
    where = serve(f"examples.upper:{spelling}", mode, "tcp://127.0.0.1:0")
    assert whole("nc", *port(where), question=b"hello\n") == b"HELLO\n"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_curl_receives_one_answer(serve: Serve, mode: str, spelling: str) -> None:
    where = serve(f"examples.upper:{spelling}", mode, "tcp://127.0.0.1:0")
    assert open_ended("curl", "-sN", f"telnet://{where}", question=b"hello\n", size=6) == b"HELLO\n"


@contextmanager
def telnet(*options: str) -> "Iterator[Session]":
    """The session of a telnet client that begins with these commands, the last of which opens a connection."""
    process = subprocess.Popen(
        [program("inetutils-telnet"), "--no-rc", "--escape=^]"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process, deadline(process):
        session = Session(process)
        session.type("\n".join(options) + "\n")
        session.until("Escape character is '^]'.\n")
        yield session
        session.command("quit")
        session.until("Connection closed.\n")
        assert process.wait() == 0


class Session:
    """A telnet client: what is typed and what it shows. It reads ahead, so each command is awaited by its effect."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.shown = ""
        self._process = process

    def type(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def command(self, line: str, typed: str = "") -> None:
        """Type ``typed``, then a command."""
        self.type(f"{typed}\x1d{line}\n")

    def until(self, text: str) -> None:
        """Read the output up to and including ``text``."""
        assert self._process.stdout is not None
        before = len(self.shown)
        while text not in self.shown[before:]:
            piece = os.read(self._process.stdout.fileno(), 4096)
            assert piece, self.shown
            self.shown += piece.decode()


def test_telnet_send_synch_discards_what_was_typed(serve: Serve, mode: str) -> None:
    """``send synch`` of this client sends an urgent IAC and then a data mark."""
    host, number = port(serve("handlers.telnet:TelnetEcho", mode, "tcp://127.0.0.1:0"))
    with telnet(f"open {host} {number}") as session:
        session.type("one\n")
        session.until("one\n")
        session.command("send synch ayt", typed="in vain")
        session.until("[Yes]\n")
        session.type("two\n")
        session.until("two\n")
    assert "in vain" not in session.shown


def test_telnet_goes_on_when_all_its_options_are_refused(serve: Serve, mode: str) -> None:
    """With a minus before the port this client asks for all its options at once."""
    host, number = port(serve("handlers.telnet:TelnetEcho", mode, "tcp://127.0.0.1:0"))
    with telnet("toggle options", f"open {host} -{number}") as session:
        session.type("hello\n")
        session.until("hello\n")
    asked = re.findall(r"SENT (DO|WILL) (.+)", session.shown)
    assert len(asked) > 5
    told = [(f"{refusal}T", option.strip()) for refusal, option in re.findall(r"RCVD (DON|WON)T (.+)", session.shown)]
    assert told == [("WONT" if verb == "DO" else "DONT", option.strip()) for verb, option in asked]


def test_every_client_receives_the_time(serve: Serve, mode: str) -> None:
    where = serve("handlers.services:Daytime", mode, "tcp://127.0.0.1:0")
    before = time.time()
    answers = {
        whole("nc", *port(where)),
        whole("socat", "-t5", "-", f"TCP:{where}"),
        open_ended("curl", "-sN", f"telnet://{where}", size=len(daytime(before))),
    }
    assert answers <= set(map(daytime, seconds_since(before)))


def seconds_since(before: float) -> range:
    return range(int(before), int(time.time()) + 1)


# Datagrams


def test_netcat_sends_datagrams(serve: Serve, mode: str) -> None:
    where = serve("handlers.services:EchoDatagram", mode, "udp://127.0.0.1:0")
    for question in b"hello", os.urandom(8_000):
        assert open_ended("nc", "-u", *port(where), question=question, size=len(question)) == question


def test_netcat_sends_datagrams_to_a_unix_socket(serve: Serve, mode: str, tmp_path: Path) -> None:
    where = serve("handlers.services:EchoDatagram", mode, "unix+dgram://{folder}/echo")
    own = str(tmp_path / "nc")  # else it makes a path in /tmp, which it leaves there when it is killed
    assert open_ended("nc", "-uU", "-s", own, where, question=b"hello", size=5) == b"hello"


def test_socat_sends_datagrams(serve: Serve, mode: str) -> None:
    where = serve("handlers.services:EchoDatagram", mode, "udp://127.0.0.1:0")
    assert open_ended("socat", "-", f"UDP:{where}", question=b"hello", size=5) == b"hello"


@pytest.mark.slow
def test_netcat_receives_the_time_in_a_datagram(serve: Serve, mode: str) -> None:
    where = serve("handlers.services:TimeDatagram", mode, "udp://127.0.0.1:0")
    before = time.time()
    assert open_ended("nc", "-u", *port(where), question=b"\n", size=4) in map(time32, seconds_since(before))
