"""Slow clients made by slowhttptest: each of its attacks ends at the bounds that the handler declares."""

import subprocess

import pytest

from handlers import Exactly, StreamHandler, Until
from tests.support.programs import program
from tests.support.serving import connect, serving, wait_until

HEAD = Until(b"\r\n\r\n", limit=8192)
REPLY = bytes(4 << 20)


class Web(StreamHandler):
    """As much of HTTP (RFC 9112) as these attacks need: a head, a body of the length that it gives, a long reply."""

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


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["select", "thread"])
@pytest.mark.parametrize(
    "attack", ["-H -x 10", "-B -x 4 -s 4096", "-X -w 1 -y 64 -z 5 -k 1"], ids=["head", "body", "read"]
)
def test_a_slow_attack_ends_at_the_bounds_while_other_clients_are_served(mode, attack):
    crowd = 50
    with serving(Web, mode, request_queue_size=crowd) as server:
        loop = server.reactor
        host, port = server.server_address
        command = (
            f"{program('slowhttptest')} {attack} -c {crowd} -r {crowd} -i 1 -n 1 -l 8 -p 5 -u http://{host}:{port}/"
        )
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
