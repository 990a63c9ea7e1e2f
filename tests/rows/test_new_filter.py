"""A new filter touches one file: this one, with nothing registered anywhere."""

import socket
import threading

import pytest

from handlers import StreamHandler, Until
from handlers.filter import Filter
from reactor import SelectTCPServer, ThreadingTCPServer


class Upper(Filter):
    """Letters are upper case for the handler, and output is as it is."""

    def received(self, data):
        self.deliver(data.upper())


class Echo(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Until(b"\n", limit=80))


@pytest.mark.parametrize("kind", [SelectTCPServer, ThreadingTCPServer])
@pytest.mark.parametrize(("chain", "answer"), [([Upper], b"ONE\nTWO\n"), ([], b"one\nTwo\n")])
def test_a_filter_of_ones_own(kind, chain, answer):
    server_class = type("Server", (kind,), {"filters": chain})
    with server_class(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with socket.create_connection(server.server_address, timeout=30) as client:
                client.sendall(b"one\nTwo\n")
                client.shutdown(socket.SHUT_WR)
                with client.makefile("rb") as stream:
                    assert stream.read() == answer
        finally:
            server.shutdown()
            thread.join()
