"""``python3 -m tests.proofs.secure``: what TLS costs a server, ours and asyncio's, in processor time and memory.

Each server is a process of its own. The rounds of the servers are interleaved; the figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import signal
import socket
import ssl
import sys
import time
from contextlib import ExitStack, contextmanager
from statistics import median

from handlers import Some, StreamHandler
from reactor import SelectTCPServer
from reactor.tls import TLSMixIn
from tests.support.certificates import KEYS, NAME
from tests.support.tables import table

PATIENCE = 30
ROUNDS = 5
CONNECTIONS = 50
IDLE = 200


# The servers


class Echo(StreamHandler):
    """What comes goes back, as soon as it comes."""

    timeout = None
    piece = Some()

    def handle(self):
        return self.piece, self.echo

    def echo(self, data):
        self.send(data)
        return self.piece, self.echo


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(KEYS / "p256.pem")
    return made


def serve_ours(tell):
    class Server(TLSMixIn, SelectTCPServer):
        request_queue_size = 1024

    with Server(("127.0.0.1", 0), Echo, context=context()) as server:
        tell(server.server_address[1])
        server.serve_forever()


class Protocol(asyncio.Protocol):
    """The same for asyncio."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


def serve_asyncio(tell):
    async def main():
        server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0, ssl=context(), backlog=1024)
        tell(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def serve_uvloop(tell):
    import uvloop

    uvloop.install()
    serve_asyncio(tell)


SERVERS = {"ours": serve_ours, "asyncio": serve_asyncio, "uvloop": serve_uvloop}


class Served:
    """A server in a child process."""

    def __init__(self, serve):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            try:
                serve(lambda port: os.write(writer, b"%d\n" % port))
            finally:
                os._exit(1)
        os.close(writer)
        with open(reader) as told:
            self.port = int(told.readline())

    def spent(self):
        """Seconds of processor time until now."""
        with open(f"/proc/{self.pid}/schedstat") as stat:
            return int(stat.read().split()[0]) / 1e9

    def resident(self):
        """Bytes of resident memory."""
        with open(f"/proc/{self.pid}/statm") as stat:
            return int(stat.read().split()[1]) * resource.getpagesize()

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


# The clients


def client_context():
    made = ssl.create_default_context(cafile=KEYS / "p256.pem")
    made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)  # it is its own authority
    return made


@contextmanager
def connected(server, made, session=None):
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with made.wrap_socket(plain, server_hostname=NAME, session=session) as client:
            yield client


def echo(client, data):
    client.sendall(data)
    heard = 0
    while heard < len(data):
        piece = client.recv(1 << 16)
        assert piece, "the server has ended the connection"
        heard += len(piece)


def handshakes(server, number=100):
    made = client_context()
    before = server.spent()
    for _ in range(number):
        with connected(server, made) as client:
            echo(client, b"x")
    return (server.spent() - before) / number


def small(server, number=40):
    made = client_context()
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server, made)) for _ in range(CONNECTIONS)]
        before = server.spent()
        for _ in range(number):
            for client in clients:
                client.sendall(b"x" * 64)
            for client in clients:
                assert len(client.recv(64)) == 64
        return (server.spent() - before) / number / CONNECTIONS


def large(server, number=10):
    with connected(server, client_context()) as client:
        client.settimeout(PATIENCE)
        before = server.spent()
        for _ in range(number):
            for _ in range(16):
                echo(client, bytes(1 << 16))
        return (server.spent() - before) / number


def memory(server, prepare):
    """KiB for each connection that ``prepare`` has brought into its state."""
    made = client_context()
    with ExitStack() as stack:
        for _ in range(20):
            prepare(stack, server, made)
        before = server.resident()
        for _ in range(IDLE):
            prepare(stack, server, made)
        time.sleep(0.2)
        return (server.resident() - before) / IDLE / 1024


def silent(stack, server, made):
    stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))


def idle(stack, server, made):
    echo(stack.enter_context(connected(server, made)), b"x" * 64)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.proofs.secure", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each measurement (default: %(default)s)")
    rounds = parser.parse_args().rounds
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, {os.cpu_count()} cores; TLS 1.3, P-256.\n")
    costs = {"connection with a handshake and 1 byte": handshakes, "64 bytes, echoed": small, "1 MiB, echoed": large}
    names = list(SERVERS)
    rows = []
    for title, measure in costs.items():
        told = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                server = Served(SERVERS[name])
                try:
                    measure(server)
                    told[name].append(measure(server))
                finally:
                    server.end()
        middle = {name: median(seconds) for name, seconds in told.items()}
        rows.append(
            (title, *(f"{middle[name] * 1e6:,.1f} µs" for name in names), f"{middle['ours'] / middle['asyncio']:.2f}")
        )
    table(("processor time of the server", *names, "ours of asyncio's"), *rows)
    rows = []
    for title, prepare in {"silent": silent, "idle after 64 bytes": idle}.items():
        kib = []
        for name in names:
            server = Served(SERVERS[name])
            try:
                kib.append(memory(server, prepare))
            finally:
                server.end()
        rows.append((title, *(f"{size:,.1f} KiB" for size in kib), f"{kib[0] / kib[1]:.2f}"))
    table(("resident memory of a connection", *names, "ours of asyncio's"), *rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
