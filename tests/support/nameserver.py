"""`examples/nameserver.py` in a thread, and an upstream for it."""

import threading
from contextlib import contextmanager

from examples import nameserver
from examples.nameserver import Query, Stream, TCPServer, UDPServer, question, record, reply
from reactor import Reactor
from tests.support.serving import PATIENCE, bounded

HERE = ("127.0.0.1", 0)


class Known(Query):
    """Answers every query itself; the first label of the name says how."""

    async def reply(self, query):
        name, _, end = question(query)
        answer = reply(query, end, 0, [record("192.0.2.77")])
        if name.startswith("forged"):
            self.send(bytes([query[0] ^ 1]) + answer[1:])
            self.send(answer[:12] + answer[12:].replace(b"forged", b"danger"))
            self.send(b"")
            self.send(query)
        return b"" if name.startswith("nonsense") else answer


class KnownStream(Stream):
    async def handle(self):
        return await super().handle()

    def call(self, handler, packet, answer):
        super().call(Known(), packet, answer)


@contextmanager
def looping(make):
    """What ``make(loop)`` returns, on a loop that runs in a thread."""
    with Reactor() as loop:
        udp, tcp = make(loop)
        with udp, tcp:
            thread = threading.Thread(target=loop.run, daemon=True)
            thread.start()
            try:
                yield udp.server_address
            finally:
                bounded(loop.stop)
                thread.join(PATIENCE)


def naming(upstream=("127.0.0.1", 9)):
    """A running name server; yields its address."""
    return looping(lambda loop: nameserver.serve(loop, HERE, upstream))


def upstream():
    """A running upstream that knows every name; yields its address."""

    def make(loop):
        for attempt in range(20):
            udp = UDPServer(HERE, Known, reactor=loop)
            try:
                return udp, TCPServer(udp.server_address, KnownStream, reactor=loop)
            except OSError:
                udp.server_close()
                if attempt == 19:
                    raise
        return None

    return looping(make)
