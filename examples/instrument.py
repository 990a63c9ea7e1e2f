"""An instrument for VXI-11, with a portmapper for clients to find it by.

python3 examples/instrument.py [PORT [HOST]]      then, with PyVISA and PyVISA-py: pyvisa-shell -b py
    (visa) open TCPIP::127.0.0.1::INSTR           where there is no portmapper: TCPIP::127.0.0.1,PORT::INSTR
    (open) query *IDN?

It serves the portmapper too if it may have port 111 of HOST (127.0.0.1), or registers with the one that is there.
"""

import signal
import sys
from contextlib import ExitStack, closing

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from examples.vxi11.channels import Handler
from examples.vxi11.links import Device
from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.record import RPCStreamHandler
from handlers.sunrpc.rpcbind import PORT, TCP, Rpcbind
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from reactor.rpcbind import RegistrationError, registered


class Instrument(SelectTCPServer):
    """Knows the device."""

    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], reactor: Reactor) -> None:
        self.device = Device()
        super().__init__(address, Handler, reactor=reactor)


class Ports(Rpcbind):
    """The programs of this host."""


class PortsStream(RPCStreamHandler):
    versions = Ports.versions


class PortsDatagram(RPCDatagramHandler):
    versions = Ports.versions


class PortsServer(SelectTCPServer):
    allow_reuse_address = True


def tell_ports(stack: ExitStack, instrument: Instrument) -> str:
    """Serve the portmapper, or register with the one that there is. Returns the resource for VISA."""
    host, port = instrument.server_address
    try:
        stack.enter_context(PortsServer((host, PORT), PortsStream, reactor=instrument.reactor))
        stack.enter_context(SelectUDPServer((host, PORT), PortsDatagram, reactor=instrument.reactor))
    except OSError:
        try:
            stack.enter_context(registered(instrument))
        except RegistrationError:
            return f"TCPIP::{host},{port}::INSTR"
    for version in Handler.versions:
        Ports.mappings[version.program, version.version, TCP] = port
    return f"TCPIP::{host}::INSTR"


def main(port: str = "0", host: str = "127.0.0.1") -> None:
    with closing(Reactor()) as loop, ExitStack() as stack:
        instrument = stack.enter_context(Instrument((host, int(port)), loop))
        signal.signal(signal.SIGINT, lambda *_: loop.stop())
        print(tell_ports(stack, instrument), flush=True)
        print("listening on {}:{}".format(*instrument.server_address), file=sys.stderr, flush=True)
        loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
