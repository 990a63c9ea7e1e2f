"""Every example runs as a process of its own, from a checkout, and is used over real sockets.

Each is ended as by a terminal, with SIGINT to its process group; it must exit with status 0 and without a message,
whatever is open then.
"""

import os
import re
import runpy
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from handlers.services import daytime, time32
from tests import ROOT
from tests.support.examples import EXAMPLES, PATIENCE, connect, read_all, read_until, running

SLOW = b"29999999999987\n"  # a prime: the answer is the same line, after five million divisions


# Every example


IMPORTING = """
import os, sys, threading
from importlib import import_module

path = sys.path[:]
for name in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        try:
            import_module(name)
            assert sys.path == path and threading.active_count() == 1
        except BaseException as error:
            print(name, repr(error), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""


@pytest.mark.slow
def test_importing_an_example_has_no_effect() -> None:
    names = [f"examples.{name}" for name in EXAMPLES]
    result = subprocess.run(
        [sys.executable, "-c", IMPORTING, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_docstring_of_an_example_says_how_to_run_it(name: str) -> None:
    head = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["__doc__"]
    assert re.search(rf"\npython3 examples/{name}\.py (DIRECTORY )?\[PORT", head)
    assert len(head.splitlines()) <= 10


# echo


def test_echo_answers_many_clients_at_once() -> None:
    with running("echo") as example:
        clients = [example.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendall(b"%d;" % number)
        for number, client in reversed(list(enumerate(clients))):
            assert read_until(client, b";") == b"%d;" % number
        for client in clients:
            client.close()
        question = os.urandom(100_000)
        assert example.ask(question) == question


def test_echo_ends_with_clients_connected() -> None:
    with running("echo") as example, example.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        example.end()
        assert client.recv(1) == b""


# upper


@pytest.mark.parametrize("spelling", ["states", "conversation", "blocking"])
def test_upper_gives_the_same_in_every_spelling(spelling: str) -> None:
    with running("upper", spelling) as example:
        assert example.ask(b"hello\n") == b"HELLO\n"
        assert example.ask(b"\r\n") == b"\r\n"
        assert example.ask(b"one\ntwo\n") == b"ONE\n"
        assert example.ask(b"x" * 511 + b"\n") == b"X" * 511 + b"\n"
        assert example.ask(b"x" * 512 + b"\n") == b""
        assert example.ask(b"no end of line") == b""
        with example.connect() as slow, example.connect() as quick:
            slow.sendall(b"on")
            quick.sendall(b"quick\n")
            assert read_all(quick) == b"QUICK\n"
            slow.sendall(b"e\n")
            assert read_all(slow) == b"ONE\n"


# forked


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["states", "conversation", "blocking"])
def test_forked_answers_others_while_it_computes(spelling: str) -> None:
    with running("forked", spelling) as example:
        assert example.ask(b"1001\n") == b"7 11 13\n"
        assert example.ask(b"0\r\n") == b"0\n"
        assert example.ask(b"eleven\n") == b"a number of at most 15 digits, please\n"
        assert example.ask(b"1234567890123456\n") == b"a number of at most 15 digits, please\n"
        with example.connect() as slow:
            slow.sendall(SLOW)
            assert [example.ask(b"%d\n" % number) for number in (6, 35)] == [b"2 3\n", b"5 7\n"]
            slow.setblocking(False)
            with pytest.raises(BlockingIOError):
                slow.recv(1)
            slow.settimeout(PATIENCE)
            assert read_all(slow) == SLOW


@pytest.mark.parametrize("spelling", ["states", "conversation", "blocking"])
def test_forked_ends_in_the_middle_of_a_computation(spelling: str) -> None:
    with running("forked", spelling) as example, example.connect() as client:
        client.sendall(SLOW)
        assert example.ask(b"6\n") == b"2 3\n"
        example.end()
        answer = (
            SLOW if spelling == "blocking" else b""
        )  # this child must be killed here; the others are killed by the server
        assert read_all(client) == answer


# timeserver


def test_timeserver_gives_the_same_time_on_every_socket() -> None:
    with running("timeserver", listeners=3) as example:
        tcp, udp, unix = example.addresses
        for _ in range(3):
            before = int(time.time())
            with connect(tcp) as client:
                text = read_all(client)
            with connect(unix) as client:
                number = read_all(client)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                host, _, port = udp.rpartition(":")
                client.connect((host, int(port)))
                client.send(b"")
                packet = client.recv(100)
            seconds = range(before, int(time.time()) + 1)
            assert text in map(daytime, seconds)
            assert number in map(time32, seconds)
            assert packet in map(time32, seconds)
    assert not Path(unix).exists()


# auth


@pytest.mark.parametrize(("spelling", "answer"), [("states", b"hello\n"), ("conversation", b"HELLO\n")])
def test_auth_serves_a_client_that_knows_the_password(spelling: str, answer: bytes) -> None:
    with running("auth", spelling) as example:
        assert example.ask(b"sesame\nhello\n") == b"Password: " + answer
        assert example.ask(b"sesam\n\nsesame\r\nhello\nhello\n") == b"Password: " * 3 + 2 * answer
        assert example.ask(b"hello\nhello\nhello\nsesame\nhello\n") == b"Password: " * 3 + b"Goodbye.\n"
        assert example.ask(b"sesame") == b"Password: "
        with example.connect() as client:
            for word in b"guess\n", b"sesame\n":
                assert read_until(client, b" ") == b"Password: "
                client.sendall(word)
            for _ in range(2):
                client.sendall(b"hello\n")
                assert read_until(client, b"\n") == answer
