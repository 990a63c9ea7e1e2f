"""Something new that holds a descriptor is one registration: a forked child has closed its copy."""

import os
import socket
import threading

import pytest

from handlers import Forked, StreamHandler
from reactor import ForkingTCPServer, Reactor, SelectTCPServer

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


class Holder:
    """Holds one descriptor, of a file that nothing else has open."""

    def __init__(self, path):
        self.number = os.open(path, os.O_RDWR | os.O_CREAT)
        self.inode = os.fstat(self.number).st_ino

    def close_copy(self, keep):
        os.close(self.number)


def is_open(number, inode):
    """Whether the descriptor is open. A child may have given its number to something else."""
    try:
        return os.fstat(number).st_ino == inode
    except OSError:
        return False


class InTheChildOfTheMode(StreamHandler):
    def handle(self):
        self.send(b"%d" % is_open(*self.server.held))


class InAForkedChild(StreamHandler):
    async def handle(self):
        self.send(b"%d" % await Forked(is_open, *self.server.held))


@pytest.mark.parametrize(
    ("kind", "handler"), [(ForkingTCPServer, InTheChildOfTheMode), (SelectTCPServer, InAForkedChild)]
)
@pytest.mark.parametrize(("registered", "answer"), [((True,), b"0"), ((), b"1"), ((True, False), b"1")])
def test_a_child_has_closed_what_is_registered_and_the_parent_has_not(kind, handler, registered, answer, tmp_path):
    holder = Holder(tmp_path / "file")
    with Reactor() as reactor:
        for is_held in registered:
            (reactor.descriptors.add if is_held else reactor.descriptors.discard)(holder)
        with kind(("127.0.0.1", 0), handler, reactor=reactor) as server:
            server.held = holder.number, holder.inode
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                with socket.create_connection(server.server_address, timeout=30) as client:
                    client.shutdown(socket.SHUT_WR)
                    assert client.recv(10) == answer
                    assert is_open(holder.number, holder.inode)
            finally:
                server.shutdown()
                thread.join()
    os.close(holder.number)
