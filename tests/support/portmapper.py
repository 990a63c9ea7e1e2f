"""Servers of RPC in a network namespace, on one loop: our rpcbind on its port, and the calculator."""

from contextlib import ExitStack, contextmanager
from threading import Thread

from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.record import RPCStreamHandler
from handlers.sunrpc.rpcbind import PORT, Rpcbind
from reactor import Reactor, SelectTCPServer, SelectUDPServer, SelectUnixStreamServer
from reactor.servers.rpcbind import PATH
from tests.support.rpc import Datagram, Stream

SCRIPT = """\
set -e
ip link set lo up
exec unshare --mount sh -c 'mount -t tmpfs tmpfs /run; exec "$@"' sh "$@"
"""
"""A script in a namespace: hides the sockets of the host's rpcbind, if it has one, and runs its arguments."""


class Addresses(Rpcbind):
    """The addresses of this host."""


class AddressesStream(RPCStreamHandler):
    versions = Addresses.versions


class AddressesDatagram(RPCDatagramHandler):
    versions = Addresses.versions


RPCBINDS = (
    (SelectTCPServer, ("127.0.0.1", PORT), AddressesStream),
    (SelectUDPServer, ("127.0.0.1", PORT), AddressesDatagram),
    (SelectUnixStreamServer, PATH, AddressesStream),
)
CALCULATORS = (SelectTCPServer, ("0.0.0.0", 2000), Stream), (SelectUDPServer, ("127.0.0.1", 2001), Datagram)


@contextmanager
def running(*places):
    """Servers on one loop, in a thread; each place is the class, the address and the handler of one."""
    with ExitStack() as stack:
        loop = Reactor()
        stack.callback(loop.close)
        servers = [stack.enter_context(kind(address, handler, reactor=loop)) for kind, address, handler in places]
        thread = Thread(target=loop.run)
        thread.start()
        try:
            yield servers
        finally:
            loop.stop()
            thread.join()
