"""`examples/balanced.py` without HAProxy: its notice before it stops. `tests.hosts.test_balanced` has the rest."""

import signal
import socket

from tests.support.examples import PATIENCE, read_until, running

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n"
HEALTH_CHECK = b"PROXY UNKNOWN\r\nGET /ready HTTP/1.0\r\n\r\n"


def ask(client, path):
    client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    return read_until(client, b"\r\n\r\n")


def status(example):
    """The answer to a health check."""
    with example.connect() as client:
        client.sendall(HEALTH_CHECK)
        return read_until(client, b"\r\n").split()[1]


def test_it_serves_on_while_its_health_check_fails_and_then_ends():
    with running("balanced", "127.0.0.1", "127.0.0.1", "1") as example:
        assert status(example) == b"200"
        with example.connect() as client, example.connect() as idle:
            client.sendall(HEADER)
            assert b" 200 " in ask(client, b"/")
            assert b"192.0.2.7" in read_until(client, b"\n")
            idle.sendall(HEADER)
            example.process.send_signal(signal.SIGTERM)
            while status(example) == b"200":
                pass
            assert status(example) == b"404"
            assert b" 200 " in ask(client, b"/")
            with example.connect() as late:
                late.sendall(HEADER)
                assert b" 200 " in ask(late, b"/")
            assert example.process.wait(PATIENCE) == 0
            client.settimeout(PATIENCE)
            assert read_until(client, b"\n") == b"127.0.0.1 answers 192.0.2.7\n"
            assert client.recv(1) == b""


def test_a_second_sigterm_changes_nothing():
    with running("balanced", "127.0.0.1", "127.0.0.1", "0.2") as example:
        example.process.send_signal(signal.SIGTERM)
        example.process.send_signal(signal.SIGTERM)
        assert example.process.wait(PATIENCE) == 0
        host, _, port = example.addresses[0].rpartition(":")
        with socket.socket() as client:
            assert client.connect_ex((host, int(port)))
