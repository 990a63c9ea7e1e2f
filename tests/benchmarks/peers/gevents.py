"""gevent: greenlets with blocking sockets."""

from __future__ import annotations

import socket

from .registry import serves


def serve(listener: socket.socket, handle) -> None:
    import gevent.server
    import gevent.socket

    gevent.server.StreamServer(gevent.socket.socket(fileno=listener.detach()), handle).serve_forever()


@serves("lines", "gevent", "gevent")
def lines(listener: socket.socket) -> None:
    def handle(sock, address):
        with sock.makefile("rb") as file:
            for line in file:
                sock.sendall(line)

    serve(listener, handle)


@serves("bytes", "gevent", "gevent")
def pieces(listener: socket.socket) -> None:
    def handle(sock, address):
        while data := sock.recv(65_536):
            sock.sendall(data)

    serve(listener, handle)


@serves("close", "gevent", "gevent")
def close(listener: socket.socket) -> None:
    def handle(sock, address):
        with sock.makefile("rb") as file:
            sock.sendall(file.readline())
        sock.close()

    serve(listener, handle)


@serves("datagrams", "gevent", "gevent")
def datagrams(listener: socket.socket) -> None:
    import gevent.server
    import gevent.socket

    class Echo(gevent.server.DatagramServer):
        def handle(self, data, address):
            self.socket.sendto(data, address)

    sock = gevent.socket.socket(socket.AF_INET, socket.SOCK_DGRAM, fileno=listener.detach())
    Echo(sock).serve_forever()
