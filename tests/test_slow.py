"""Clients that drip, as slowhttptest makes them: each of its attacks ends at the bounds that the handler declares."""

import os
import shutil
import subprocess

import pytest

from handlers import Exactly, StreamHandler, Until
from tests.serving import connect, serving, wait_until

HEAD = Until(b"\r\n\r\n", limit=8192)
REPLY = bytes(4 << 20)


class Web(StreamHandler):
    """As much of HTTP (RFC 9112) as these attacks need: a head, a body of the length that it says, a long reply."""

    timeout = 2
    request_timeout = 3
    min_rate = 500

    async def handle(self):
        head = await HEAD
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await Exactly(int(line.partition(b":")[2]))
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(REPLY))
        self.send(REPLY)


@pytest.fixture
def slowhttptest():
    path = shutil.which("slowhttptest")
    if path is None:
        (pytest.fail if os.environ.get("REACTOR_REAL_CLIENTS") == "1" else pytest.skip)("slowhttptest is not installed")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["select", "thread"])
@pytest.mark.parametrize(
    "attack", ["-H -x 10", "-B -x 4 -s 4096", "-X -w 1 -y 64 -z 5 -k 1"], ids=["head", "body", "read"]
)
def test_a_slow_attack_is_over_at_the_bounds_and_meanwhile_others_are_served(slowhttptest, mode, attack):
    crowd = 50
    with serving(Web, mode, request_queue_size=crowd) as server:
        loop = server.reactor
        host, port = server.server_address
        command = f"{slowhttptest} {attack} -c {crowd} -r {crowd} -i 1 -n 1 -l 8 -p 5 -u http://{host}:{port}/"
        attacker = subprocess.Popen(command.split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: len(loop.table) >= crowd // 2)
            with connect(server) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                client.settimeout(10)
                assert client.makefile("rb").read().endswith(REPLY)
            wait_until(lambda: loop.table.ends.get("TimedOut", 0) >= crowd)
        finally:
            attacker.kill()
            attacker.wait()
