"""What the command serves: every kind of socket, every mode, and the user's handlers."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from reactor.command.places import parse_url, url_of
from tests.support.command import BLOCKING, LOCAL, MODES, Connect, Start, echoes, serves, talk, to_end, until


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_it_serves_every_kind_of_stream_socket(start: Start, connect: Connect, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "socket"
    binds = [LOCAL, "tcp6://[::1]:0", f"unix://{path}", f"unix://@{tmp_path}"]
    command = start("serve", "--mode", mode, *(f"--bind={url}" for url in binds))
    urls = command.urls(4, mode)
    assert [url.rpartition(":")[0] for url in urls[:2]] == ["tcp://127.0.0.1", "tcp6://[::1]"]
    assert urls[2:] == binds[2:]
    for url in urls:
        assert echoes(connect(url))
    assert command.stop() == 0
    assert command.rest() == ""
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_it_serves_every_kind_of_datagram_socket(start: Start, connect: Connect, tmp_path: Path, mode: str) -> None:
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
            pass  # another process has the port, which serves as well
        command = start("serve")
        assert command.line().startswith("python3 -m reactor serve: tcp://127.0.0.1:7007: ")
        assert command.status() == 2


def test_it_serves_all_interfaces_and_ipv4_clients_on_an_ipv6_socket(start: Start, connect: Connect) -> None:
    command = start("serve", "--bind", "tcp6://[::]:0", "--bind", "tcp://0.0.0.0:0")
    for url, host in zip(command.urls(2, "select"), ("[::]", "0.0.0.0"), strict=True):
        assert url.rpartition("://")[2].rpartition(":")[0] == host
        assert talk(connect(f"tcp://127.0.0.1:{url.rpartition(':')[2]}"), b"hello") == b"hello"


def test_it_binds_to_a_host_by_name(start: Start, connect: Connect) -> None:
    command = start("serve", "--bind", "tcp://localhost:0")
    (url,) = command.urls(1, "select")
    assert talk(connect(url), b"hello") == b"hello"


def test_it_binds_to_an_address_in_the_zone_of_an_interface(start: Start, connect: Connect) -> None:
    command = start("serve", "--bind", "tcp6://[::1%lo]:0")
    (url,) = command.urls(1, "select")
    assert talk(connect(url), b"hello") == b"hello"


@pytest.mark.parametrize(("index", "name"), socket.if_nameindex())
def test_a_link_local_address_keeps_its_interface(index: int, name: str) -> None:
    address = ("fe80::1", 7, 0, index)
    assert parse_url(f"tcp6://[fe80::1%{name}]:7").address == address
    assert url_of("tcp6", address) == f"tcp6://[fe80::1%{name}]:7"


@pytest.mark.parametrize("mode", BLOCKING)
def test_it_serves_a_blocking_handler_of_the_current_directory(
    start: Start, connect: Connect, specimens: Path, mode: str
) -> None:
    command = start("serve", "specimens:BlockingLines", "--mode", mode, "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, mode))
    client.sendall(b"one\ntwo\n")
    client.shutdown(socket.SHUT_WR)
    assert to_end(client) == b"ONE\nTWO\nfinish"


def test_it_serves_a_blocking_handler_with_a_framing_in_select_mode(
    start: Start, connect: Connect, specimens: Path
) -> None:
    command = start("serve", "specimens:Whole", "--bind", LOCAL, cwd=specimens)
    client = connect(*command.urls(1, "select"))
    client.sendall(b"one\n")
    assert to_end(client) == b"ONE\nfinish"


STANDARD = """
from socketserver import BaseRequestHandler, StreamRequestHandler


class Plain(StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


class Counting(BaseRequestHandler):
    served = 0

    def __init__(self, request, client_address, server):
        request.sendall(request.recv(80).upper())
        super().__init__(request, client_address, server)

    @classmethod
    def handle(cls):
        cls.served += 1
"""


@pytest.mark.parametrize("name", ["Plain", "Counting"])
def test_it_serves_a_handler_of_socketserver(start: Start, connect: Connect, tmp_path: Path, name: str) -> None:
    (tmp_path / "standard.py").write_text(STANDARD)
    command = start("serve", f"standard:{name}", "--mode", "thread", "--bind", LOCAL, cwd=tmp_path)
    client = connect(*command.urls(1, "thread"))
    client.sendall(b"one\n")
    assert to_end(client) == b"ONE\n"


MADE = """
from functools import partial

from handlers import StreamHandler, Until


class Greets(StreamHandler):
    def __init__(self, word):
        self.word = word

    async def handle(self):
        self.send(self.word + await Until(b"\\n"))


by_partial = partial(Greets, b"hello ")


def by_function() -> Greets:
    return Greets(b"hello ")
"""


@pytest.mark.parametrize("name", ["by_partial", "by_function"])
def test_it_serves_a_handler_that_is_made_with_arguments(
    start: Start, connect: Connect, tmp_path: Path, name: str
) -> None:
    (tmp_path / "made.py").write_text(MADE)
    command = start("serve", f"made:{name}", "--bind", LOCAL, cwd=tmp_path)
    client = connect(*command.urls(1, "select"))
    client.sendall(b"you\n")
    assert to_end(client) == b"hello you\n"


@pytest.mark.parametrize("mode", BLOCKING)
def test_it_serves_a_blocking_handler_of_datagrams(start: Start, connect: Connect, specimens: Path, mode: str) -> None:
    command = start("serve", "specimens:Packets", "--mode", mode, "--bind=udp://127.0.0.1:0", cwd=specimens)
    client = connect(*command.urls(1, mode))
    assert talk(client, b"one") == b"ONE"
    assert command.stop() == 0
    assert command.rest() == ""


def test_the_current_directory_is_searched_even_with_a_safe_path(start: Start, specimens: Path) -> None:
    command = start("serve", "specimens:Lines", "--bind", LOCAL, cwd=specimens, PYTHONSAFEPATH="1")
    command.urls(1, "select")


def test_clients_of_the_plain_mode_wait_in_the_backlog(start: Start, connect: Connect) -> None:
    command = start("serve", "--mode", "sync", "--bind", LOCAL)
    (url,) = command.urls(1, "sync")
    clients = [connect(url) for _ in range(100)]
    assert talk(clients[0], b"hello") == b"hello"
    for client in clients[:-1]:
        client.close()
    assert talk(clients[-1], b"hello") == b"hello"


def test_it_serves_with_standard_error_closed(start: Start, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    shell = ("/bin/sh", "-c", 'exec "$0" -m reactor "$@" 2>&-', sys.executable)
    command = start("serve", "--bind", f"unix://{path}", python=shell)
    until(path.exists)
    until(lambda: serves(connect, f"unix://{path}"))
    assert command.stop() == 0


def test_it_serves_when_nothing_reads_its_standard_error(start: Start, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    reader, writer = os.pipe()
    os.close(reader)
    command = start("serve", "--bind", f"unix://{path}", stderr=writer)
    os.close(writer)
    until(path.exists)
    until(lambda: serves(connect, f"unix://{path}"))
    assert command.stop() == 0
