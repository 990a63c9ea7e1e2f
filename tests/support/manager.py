"""A manager of services: binds sockets and passes them to the command, as systemd does (sd_listen_fds(3)).

``python3 -m tests.support.manager SOCKET[,SOCKET...] ARGUMENT ...`` becomes ``python3 -m reactor ARGUMENT ...``. A
socket is ``tcp``, ``tcp6``, ``udp``, ``udp6``, ``unix:PATH`` or ``unix+dgram:PATH``; to be refused there are
``seqpacket:PATH``, ``pipe``, ``unbound``, and ``closed``. Variables that are set already stay as they are; ``-``
removes one.
"""

import os
import socket
import sys

FIRST = 3
FAMILIES = {"tcp": socket.AF_INET, "udp": socket.AF_INET, "unbound": socket.AF_INET}
FAMILIES |= {"tcp6": socket.AF_INET6, "udp6": socket.AF_INET6}
KINDS = {"udp": socket.SOCK_DGRAM, "udp6": socket.SOCK_DGRAM, "unix+dgram": socket.SOCK_DGRAM}
KINDS |= {"seqpacket": socket.SOCK_SEQPACKET}


def opened(what):
    """A descriptor of the kind that ``what`` names; ``None`` for a closed one."""
    name, _, path = what.partition(":")
    if name in ("pipe", "closed"):
        return os.pipe()[0] if name == "pipe" else None
    sock = socket.socket(FAMILIES.get(name, socket.AF_UNIX), KINDS.get(name, socket.SOCK_STREAM))
    if name != "unbound":
        sock.bind(path or ("127.0.0.1" if sock.family == socket.AF_INET else "::1", 0))
        if sock.type != socket.SOCK_DGRAM:
            sock.listen()
    return sock.detach()


def passed(wanted):
    """Open the sockets as a manager passes them; returns the variables of whoever gets them."""
    descriptors = [None if one is None else os.dup2(one, 100 + place, False)
                   for place, one in enumerate(map(opened, wanted.split(",")))]  # fmt: skip
    os.closerange(FIRST, 100)
    for place, descriptor in enumerate(descriptors):
        if descriptor is not None:
            os.dup2(descriptor, FIRST + place)
    said = {"LISTEN_FDS": str(len(descriptors)), "LISTEN_PID": str(os.getpid()), **os.environ}
    return {name: value for name, value in said.items() if value != "-"}


def main(wanted, *arguments):
    """Pass the sockets and become the command."""
    environment = passed(wanted)
    os.execve(sys.executable, [sys.executable, "-m", "reactor", *arguments], environment)


if __name__ == "__main__":
    main(*sys.argv[1:])
