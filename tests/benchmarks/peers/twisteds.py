"""Twisted."""

from __future__ import annotations

import socket

from tests.benchmarks.messages import PAGE, check

from .registry import serves


def serve(listener: socket.socket, protocol: type) -> None:
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory

    listener.setblocking(False)
    reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, Factory.forProtocol(protocol))
    reactor.run()


@serves("lines", "Twisted LineReceiver", "twisted")
def line_receiver(listener: socket.socket) -> None:
    from twisted.protocols.basic import LineReceiver

    class Lines(LineReceiver):
        delimiter = b"\n"

        def lineReceived(self, line):  # noqa: N802
            self.sendLine(line)

    serve(listener, Lines)


@serves("lines", "Twisted Protocol", "twisted")
@serves("bytes", "Twisted Protocol", "twisted")
def echo(listener: socket.socket) -> None:
    from twisted.internet.protocol import Protocol

    class Echo(Protocol):
        def dataReceived(self, data):  # noqa: N802
            self.transport.write(data)

    serve(listener, Echo)


@serves("frames", "Twisted Int32StringReceiver", "twisted")
def frames(listener: socket.socket) -> None:
    from twisted.protocols.basic import Int32StringReceiver

    class Frames(Int32StringReceiver):
        def stringReceived(self, string):  # noqa: N802
            self.sendString(string)

    serve(listener, Frames)


@serves("heads", "Twisted LineReceiver", "twisted")
def heads(listener: socket.socket) -> None:
    from twisted.protocols.basic import LineReceiver

    class Heads(LineReceiver):
        delimiter = b"\r\n\r\n"

        def lineReceived(self, line):  # noqa: N802
            check(line)
            self.transport.write(PAGE)

    serve(listener, Heads)


@serves("close", "Twisted LineReceiver", "twisted")
def close(listener: socket.socket) -> None:
    from twisted.protocols.basic import LineReceiver

    class Close(LineReceiver):
        delimiter = b"\n"

        def lineReceived(self, line):  # noqa: N802
            self.sendLine(line)
            self.transport.loseConnection()

    serve(listener, Close)


@serves("datagrams", "Twisted DatagramProtocol", "twisted")
def datagrams(listener: socket.socket) -> None:
    from twisted.internet import reactor
    from twisted.internet.protocol import DatagramProtocol

    class Echo(DatagramProtocol):
        def datagramReceived(self, datagram, address):  # noqa: N802
            self.transport.write(datagram, address)

    listener.setblocking(False)
    reactor.adoptDatagramPort(listener.fileno(), socket.AF_INET, Echo())
    reactor.run()


@serves("relay", "Twisted portforward", "twisted")
def relay(listener: socket.socket, port: int) -> None:
    from twisted.internet import reactor
    from twisted.protocols.portforward import ProxyFactory

    listener.setblocking(False)
    reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, ProxyFactory("127.0.0.1", port))
    reactor.run()
