"""``--threads N``: several loops in threads, on one address, with one table."""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support.certificates import KEYS, NAME
from tests.support.command import LOCAL, Connect, Start, assert_refused, to_end, until
from tests.support.workers import Load, address_of, assert_finished, connect_to_two, exchange, is_named

HANDLERS = '''
import threading

from handlers import *


class Who(StreamHandler):
    """Answers each line with its thread; "stop" is a failure of the server."""

    async def handle(self):
        while True:
            word = await Until(b"\\n")
            self.send(b"%d one\\n" % threading.get_native_id())


class Ask(DatagramHandler):
    async def handle(self):
        first = await Packet()
        self.send(b"more")
        self.send(b"%s %s %d" % (first, await Packet(), threading.get_native_id()))
'''
WHO = ("serve", "crowd:Who", "--threads", "2", "--grace", "60")


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    (tmp_path / "crowd.py").write_text(HANDLERS)
    return tmp_path


def test_two_threads_serve_all_addresses_at_once(start: Start, crowd: Path) -> None:
    path = crowd / "socket"
    command = start(*WHO, "--bind", LOCAL, "--bind", "tcp6://[::1]:0", "--bind", f"unix://{path}", cwd=crowd)
    for url in command.urls(3, "select"):
        with Load(address_of(url)) as load:
            until(lambda load=load: len({thread for thread, _ in load.answers}) == 2)
        assert load.failures == []
    assert command.stop() == 0
    assert not path.exists()
    assert command.rest() == ""


def test_connections_that_stay_are_spread_and_in_one_table(start: Start, connect: Connect, crowd: Path) -> None:
    command = start(*WHO, "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    clients = connect_to_two(connect, url, 10)
    command.process.send_signal(signal.SIGUSR1)
    heading, *rows = [command.line() for _ in range(1 + len(clients))]
    assert heading.startswith("row  peer")
    assert {row.split()[1] for row in rows} == {":".join(map(str, client.getsockname())) for client in clients}
    assert command.stop() == 0  # all are between messages


def test_a_signal_has_all_threads_finish_what_is_open(start: Start, connect: Connect, crowd: Path) -> None:
    command = start(*WHO, "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    clients = [connect(url) for _ in range(8)]
    assert_finished(command, url, clients)


def test_a_second_signal_ends_all_threads_at_once(start: Start, connect: Connect, crowd: Path) -> None:
    command = start(*WHO, "--bind", LOCAL, cwd=crowd)
    clients = [connect(url) for url in command.urls(1, "select") for _ in range(4)]
    for client in clients:
        client.sendall(b"wh")
    time.sleep(0.1)
    command.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    assert command.stop() == 3
    assert sum(map(int, re.findall(r"(\d+) requests did not finish", command.rest()))) == 4
    assert [to_end(client) for client in clients] == [b""] * 4


def test_packets_of_one_peer_reach_one_thread(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Ask", "--threads", "2", "--grace", "10", "--bind", "udp://127.0.0.1:0", cwd=crowd)
    (url,) = command.urls(1, "select")
    assert len({exchange(connect(url)) for _ in range(40)}) == 2
    assert command.stop() == 0


def test_the_limit_for_one_peer_counts_the_rows_of_all_threads(start: Start, connect: Connect, crowd: Path) -> None:
    bound = "from reactor import BaseServer\nBaseServer.max_per_peer = 5\nfrom crowd import *\n"
    (crowd / "bounded.py").write_text(bound)
    command = start("serve", "bounded:Who", "--threads", "2", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    assert [is_answered(connect(url)) for _ in range(9)] == [True] * 5 + [False] * 4
    assert command.stop() == 0


def is_answered(client: socket.socket) -> bool:
    try:
        client.sendall(b"who\n")
        return client.recv(99) != b""
    except ConnectionError:
        return False


def test_sighup_reads_the_certificate_again_for_all_threads(start: Start, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes((KEYS / "alice.pem").read_bytes())
    command = start("serve", "--threads", "2", "--bind", "tls://127.0.0.1:0", "--tls", str(certificate))
    (url,) = command.urls(1, "select")
    assert not is_named(url)
    certificate.write_bytes((KEYS / f"{NAME}.pem").read_bytes())
    command.process.send_signal(signal.SIGHUP)
    until(lambda: all(is_named(url) for _ in range(4)))
    assert command.stop() == 0


def test_threads_and_workers_are_not_for_one_command(start: Start) -> None:
    assert_refused(start("serve", "--threads", "2", "--workers", "2", "--bind", LOCAL), "--workers 2", "--threads 2")


@pytest.mark.slow
def test_code_that_can_not_be_served_is_refused(start: Start, crowd: Path) -> None:
    (crowd / "crowd.py").write_text("oops")
    assert_refused(start(*WHO, "--bind", LOCAL, cwd=crowd), "crowd can't be imported")


@pytest.mark.slow
def test_a_handler_that_blocks_its_thread_does_not_keep_the_process(
    start: Start, connect: Connect, crowd: Path
) -> None:
    (crowd / "crowd.py").write_text(
        "import time\nfrom handlers import *\nclass Who(StreamHandler):\n"
        "    async def handle(self):\n        await Some()\n        self.send(b'x')\n"
        "        open('blocked', 'w').close()\n        time.sleep(1000)\n"
    )
    command = start("serve", "crowd:Who", "--threads", "2", "--grace", "0.2", "--bind", LOCAL, cwd=crowd)
    client = connect(*command.urls(1, "select"))
    client.sendall(b"x")
    until((crowd / "blocked").exists)
    assert command.stop() == 3
    assert "a handler blocks its thread; the process ends" in command.rest()
