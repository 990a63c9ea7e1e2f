"""What the kernel's errors and sockets mean."""

import os
import socket
from types import SimpleNamespace

import pytest

from reactor.loop.kernel import close, is_tcp


@pytest.mark.parametrize(
    ("family", "kind", "expected"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, True),
        (socket.AF_INET6, socket.SOCK_STREAM, True),
        (socket.AF_INET, socket.SOCK_DGRAM, False),
        (socket.AF_UNIX, socket.SOCK_STREAM, False),
    ],
)
def test_a_tcp_socket_is_known_also_of_a_class_that_has_replaced_socket(family, kind, expected, monkeypatch):
    with socket.socket(family, kind) as plain:
        assert is_tcp(plain) is expected
    replaced = type("Replaced", (SimpleNamespace,), {})  # gevent's class is not derived from `_socket.socket`
    monkeypatch.setattr(socket, "socket", replaced)
    assert is_tcp(replaced(family=family, type=kind)) is expected
    assert not is_tcp(SimpleNamespace(family=family, type=kind))


def test_a_socket_is_closed_whatever_close_reports():
    sock = socket.socket()
    os.close(sock.fileno())
    close(sock)
    assert sock.fileno() == -1
