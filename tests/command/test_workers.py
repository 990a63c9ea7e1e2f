"""``--workers N``: several processes on one address, restarts, crashes, and the end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support.certificates import KEYS, NAME
from tests.support.command import (
    LOCAL,
    PATIENCE,
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
from tests.support.workers import (
    HANDLERS,
    Load,
    address_of,
    ask,
    assert_finished,
    connect_to_two,
    exchange,
    is_named,
    refuses,
    workers_of,
    write_handlers,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
WHO = ("serve", "crowd:Who", "--workers", "2", "--grace", "1")


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    write_handlers(tmp_path)
    return tmp_path


def test_two_workers_serve_all_addresses_at_once(start: Start, crowd: Path) -> None:
    path = crowd / "socket"
    binds = ["--bind", LOCAL, "--bind", "tcp6://[::1]:0", "--bind", f"unix://{path}"]
    command = start(*WHO, *binds, cwd=crowd)
    urls = command.urls(3, "select")
    workers = workers_of(command.process.pid)
    assert len(workers) == 2
    for url in urls:
        until(lambda url=url: {ask(address_of(url))[0] for _ in range(20)} <= set(workers))
    assert command.stop() == 0
    assert not path.exists()
    assert command.rest() == ""


def test_connections_that_stay_are_spread_over_the_workers(start: Start, connect: Connect, crowd: Path) -> None:
    command = start(*WHO, "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    connect_to_two(connect, url, 10)


def test_a_worker_that_is_killed_is_replaced_and_the_others_serve_on(start: Start, crowd: Path) -> None:
    command = start(*WHO, "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    pid = command.process.pid
    with Load(address_of(url)) as load:
        for _ in range(2):
            before = workers_of(pid)
            load.more(20)
            os.kill(before[0], signal.SIGKILL)
            until(lambda before=before: before[0] not in workers_of(pid) and len(workers_of(pid)) == 2)
            load.more(20)
    assert len(load.failures) <= 8  # the requests that the two killed workers had accepted
    assert not [failure for failure in load.failures if isinstance(failure, ConnectionRefusedError)]
    assert re.fullmatch(r"worker \d \(pid \d+\) was killed by SIGKILL; it is replaced in 0 s", command.line())
    assert command.stop() == 0


def test_a_worker_that_gets_sigterm_is_replaced_before_it_ends(start: Start, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "1", "--grace", "1", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    (pid,) = workers_of(command.process.pid)
    with Load(address_of(url)) as load:
        load.more(20)
        os.kill(pid, signal.SIGTERM)
        until(lambda: pid not in workers_of(command.process.pid))
        load.more(20)
    assert load.failures == []
    assert command.stop() == 0
    assert command.rest() == ""


def test_a_crash_loop_is_slowed_down_and_named_with_the_remedy(start: Start, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "1", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    delays = []
    for _ in range(5):
        with pytest.raises(ConnectionError):
            ask(address_of(url), b"exit")
        line = command.line()
        assert "exited with status 9; it is replaced in " in line
        delays.append(float(line.partition("replaced in ")[2].split()[0]))
    assert delays == [0, 0.1, 0.2, 0.4, 0.8]
    assert "It has died 5 times" in line
    assert "SIGHUP" in line
    command.process.send_signal(signal.SIGHUP)  # tries again at once
    assert ask(address_of(url))[1] == "one"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_sighup_replaces_the_workers_and_no_client_notices(start: Start, crowd: Path, scheme: str) -> None:
    url = LOCAL if scheme == "tcp" else f"unix://{crowd / 'socket'}"
    command = start(*WHO, "--bind", url, cwd=crowd)
    (url,) = command.urls(1, "select")
    pid = command.process.pid
    with Load(address_of(url)) as load:
        load.more(20)
        for version in "two", "three":
            before = set(workers_of(pid))
            write_handlers(crowd, version)
            command.process.send_signal(signal.SIGHUP)
            until(lambda before=before: not before & set(workers_of(pid)))
            load.more(40)
    assert load.failures == []
    assert load.answers[0][1] == "one"
    assert load.answers[-1][1] == "three"
    assert len(workers_of(pid)) == 2
    assert command.stop() == 0
    assert command.rest() == ""


@pytest.mark.slow
def test_ten_thousand_requests_through_rolling_restarts_without_a_failure(start: Start, crowd: Path) -> None:
    command = start(*WHO, "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    with Load(address_of(url), threads=8) as load:
        while len(load.answers) + len(load.failures) < 10_000:
            command.process.send_signal(signal.SIGHUP)
            load.more(1_000)
    assert load.failures == []
    assert len({pid for pid, _ in load.answers}) >= 6
    assert command.stop() == 0


def test_open_connections_of_old_workers_are_served_to_their_end(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "2", "--grace", "60", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    client = connect(url)
    client.sendall(b"wh")
    before = set(workers_of(command.process.pid))
    write_handlers(crowd, "two")
    until(lambda: ask(address_of(url))[1] == "one")
    command.process.send_signal(signal.SIGHUP)
    until(lambda: len(before & set(workers_of(command.process.pid))) <= 1)
    client.sendall(b"o\n")
    assert receive(client, 9).strip()
    client.close()
    until(lambda: not before & set(workers_of(command.process.pid)))
    assert ask(address_of(url))[1] == "two"
    assert command.stop() == 0


def test_code_that_can_not_be_imported_leaves_the_old_workers(start: Start, crowd: Path) -> None:
    command = start(*WHO, "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    before = workers_of(command.process.pid)
    write_handlers(crowd, "broken", HANDLERS + "\noops\n")
    command.process.send_signal(signal.SIGHUP)
    line = command.line()
    assert "NameError: name 'oops' is not defined" in line
    assert line.endswith("The workers from before go on")
    assert workers_of(command.process.pid) == before
    assert ask(address_of(url))[1] == "one"
    write_handlers(crowd, "mended")
    command.process.send_signal(signal.SIGHUP)
    until(lambda: ask(address_of(url))[1] == "mended")
    assert command.stop() == 0


def test_the_workers_of_a_parent_that_is_killed_end_by_themselves(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "2", "--grace", "0.3", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    client = connect(url)
    client.sendall(b"wh")
    workers = workers_of(command.process.pid)
    command.process.kill()
    command.process.wait(PATIENCE)
    until(lambda: not any(alive(pid) for pid in workers))
    assert to_end(client) == b""
    with pytest.raises(ConnectionRefusedError):
        ask(address_of(url))


def test_a_signal_has_the_workers_finish_what_is_open(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "2", "--grace", "60", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    clients = [connect(url) for _ in range(4)]
    assert_finished(command, url, clients)


def test_a_request_that_does_not_finish_is_cut_and_told(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "2", "--grace", "0.3", "--bind", LOCAL, cwd=crowd)
    client = connect(*command.urls(1, "select"))
    assert talk(client, b"who\n")
    client.sendall(b"wh")
    time.sleep(0.1)
    assert command.stop() == 3
    assert "1 requests did not finish in " in command.rest()


def test_a_second_signal_ends_it_at_once(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "2", "--grace", "3600", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    client = connect(url)
    client.sendall(b"wh")
    time.sleep(0.1)
    command.process.send_signal(signal.SIGTERM)
    until(lambda: refuses(url))
    assert command.stop() == 3
    assert "is killed" not in command.rest()


def test_a_signal_to_the_whole_process_group_drains_too(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "2", "--grace", "60", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    client = connect(url)
    client.sendall(b"wh")
    time.sleep(0.1)
    os.killpg(command.process.pid, signal.SIGTERM)  # as a manager of services does
    until(lambda: refuses(url))
    client.sendall(b"o\n")
    assert receive(client, 3)
    assert command.status() == 0


def test_one_table_over_all_workers(start: Start, connect: Connect, crowd: Path) -> None:
    command = start(*WHO, "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    clients = connect_to_two(connect, url, 4)
    command.process.send_signal(signal.SIGUSR1)
    heading, *rows = [command.line() for _ in range(1 + len(clients))]
    assert heading.startswith("worker  row  peer")
    assert {row.split()[0] for row in rows} == {"1", "2"}
    assert {row.split()[2] for row in rows} == {":".join(map(str, client.getsockname())) for client in clients}


@pytest.mark.slow
def test_a_worker_that_does_not_answer_is_named_and_not_waited_for(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Who", "--workers", "2", "--grace", "0.2", "--bind", LOCAL, cwd=crowd)
    (url,) = command.urls(1, "select")
    client = connect(url)
    client.sendall(b"who\n")
    blocked = int(receive(client, 1) + client.recv(100).split()[0])
    client.sendall(b"block\n")
    command.process.send_signal(signal.SIGUSR1)
    assert command.line().startswith("worker ")
    assert re.fullmatch(rf"worker \d \(pid {blocked}\) does not answer", command.line())
    assert ask(address_of(url))[0] != blocked
    assert command.stop() == 3
    assert "did not end in time, and is killed" in command.rest()


def test_packets_of_one_peer_reach_one_worker(start: Start, connect: Connect, crowd: Path) -> None:
    command = start("serve", "crowd:Ask", "--workers", "2", "--grace", "0.2", "--bind", "udp://127.0.0.1:0", cwd=crowd)
    (url,) = command.urls(1, "select")
    pids = {exchange(connect(url)) for _ in range(40)}
    assert pids == set(workers_of(command.process.pid))
    command.process.send_signal(signal.SIGHUP)
    until(lambda: not pids & set(workers_of(command.process.pid)))
    assert {exchange(connect(url)) for _ in range(40)} == set(workers_of(command.process.pid))
    assert command.stop() == 0


def test_unix_datagrams_all_reach_the_first_worker(start: Start, connect: Connect, crowd: Path) -> None:
    url = f"unix+dgram://{crowd / 'socket'}"
    command = start("serve", "crowd:Ask", "--workers", "2", "--grace", "0.2", "--bind", url, cwd=crowd)
    command.urls(1, "select")
    assert len({exchange(connect(url)) for _ in range(10)}) == 1
    assert command.stop() == 0


def test_an_address_that_another_server_has_is_refused(start: Start, crowd: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{other.getsockname()[1]}"
        assert_refused(start("serve", "crowd:Ask", "--workers", "2", "--bind", url, cwd=crowd), url, "another URL")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "0"], ["--workers", "from 1 to"]),
        (["--workers", "two"], ["--workers", "from 1 to"]),
        (["--workers", "2", "--mode", "thread"], ["--workers 2", "--mode thread"]),
        (["--workers", "2", "--rpcbind"], ["--rpcbind", "--workers"]),
    ],
)
def test_options_that_do_not_go_together_are_refused(refused: Refused, options: list[str], words: list[str]) -> None:
    refused("serve", *options, "--bind", LOCAL, words=words)


@pytest.mark.parametrize("text", ["oops", "import missing_module", "Who = 1"])
def test_code_that_can_not_be_served_from_the_start_is_refused(start: Start, crowd: Path, text: str) -> None:
    write_handlers(crowd, "broken", text)
    assert_refused(start(*WHO, "--bind", LOCAL, cwd=crowd), "crowd")


def test_a_host_that_can_not_fork_is_told_the_remedy(start: Start, crowd: Path) -> None:
    (crowd / "sitecustomize.py").write_text("import os\ndel os.fork\n")
    assert_refused(start(*WHO, "--bind", LOCAL, cwd=crowd, PYTHONPATH=f"{crowd}:{Path.cwd()}"), "--workers 2", "fork")


def test_sighup_before_the_workers_have_begun_does_not_end_it(start: Start, crowd: Path) -> None:
    (crowd / "sitecustomize.py").write_text("""if True:
        import os, signal, socket
        bind = socket.socket.bind
        def hang_up(sock, address):
            os.kill(os.getpid(), signal.SIGHUP)
            bind(sock, address)
        socket.socket.bind = hang_up
    """)
    command = start(*WHO, "--bind", LOCAL, cwd=crowd, PYTHONPATH=f"{crowd}:{Path.cwd()}")
    (url,) = command.urls(1, "select")
    assert ask(address_of(url))[1] == "one"
    assert command.stop() == 0


def test_sighup_reads_the_certificate_again(start: Start, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    shutil.copy(KEYS / "alice.pem", certificate)
    command = start("serve", "--workers", "2", "--bind", "tls://127.0.0.1:0", "--tls", str(certificate))
    (url,) = command.urls(1, "select")
    assert not is_named(url)
    shutil.copy(str(KEYS / f"{NAME}.pem"), certificate)
    command.process.send_signal(signal.SIGHUP)
    until(lambda: all(is_named(url) for _ in range(4)))
    assert command.stop() == 0
