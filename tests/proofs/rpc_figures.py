"""``python3 -m tests.proofs.rpc_figures``: processor time that servers need for a call of RPC, beside other servers.

Each server runs in a process of its own; the kernel counts its processor time in nanoseconds. Rounds go over all
servers, and the best one counts. The peers are the package ``sunrpc`` of PyPI, if it is installed, and a C server that
``rpcgen`` makes from the same file, if that and ``libtirpc-dev`` are installed. Needs Linux.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from importlib.util import find_spec
from math import inf
from pathlib import Path
from struct import pack
from typing import Any

from handlers.sunrpc.datagram import RPCDatagramHandler
from handlers.sunrpc.record import RPCStreamHandler, mark
from reactor import SelectTCPServer, SelectUDPServer
from tests import ROOT
from tests.support import rpcgen
from tests.support.rpc import FILE, PROGRAM, auth_sys, call, words, x

ROUNDS, CALLS = 4, 1_000
WINDOWS = 1, 16, 200
"""Calls that are outstanding."""

CASES = {
    "NULL": (0, b"", call(0, 0)[24:32]),
    "ADD": (1, words(2, 3), call(0, 0)[24:32]),
    "ADD with AUTH_SYS": (1, words(2, 3), auth_sys(1000, range(4))),
}
"""The procedure of each case, its arguments and its credential."""


class Calculator(x.CALCULATOR_1):
    def NOTHING(self) -> None:  # noqa: N802
        pass

    def ADD(self, first: int, second: int) -> int:  # noqa: N802
        return first + second


class Stream(RPCStreamHandler):
    versions = (Calculator,)


class Datagram(RPCDatagramHandler):
    versions = (Calculator,)


def serve_ours(kind: str) -> None:
    handler = {"tcp": Stream, "udp": Datagram}[kind]
    with (SelectTCPServer if kind == "tcp" else SelectUDPServer)(("127.0.0.1", 0), handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def serve_sunrpc(kind: str) -> None:
    import sunrpc  # type: ignore[import-not-found, unused-ignore]
    from sunrpc.server import TCPServer, UDPServer  # type: ignore[import-not-found, unused-ignore]

    def add(packer: Any, unpacker: Any) -> None:
        first, second = unpacker.unpack_int(), unpacker.unpack_int()
        server.turn_around(packer, unpacker)
        packer.pack_int(first + second)

    server = (TCPServer if kind == "tcp" else UDPServer)("127.0.0.1", 0, PROGRAM, 1)
    server.add_method(1, add)
    server.bind()
    assert sunrpc
    print(server.port, flush=True)
    server.listen()


class Server:
    """A server in a process of its own, and a connection to it. ``command`` says its port."""

    def __init__(self, kind: str, *command: str | Path) -> None:
        self.is_stream = kind == "tcp"
        self._xid = 0
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert self.process.stdout is not None
            self.socket = connected(int(self.process.stdout.readline()), self.is_stream)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.communicate()

    def used(self) -> int:
        """Nanoseconds of processor time that the server has used."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0])

    def cost(self, case: str, window: int) -> float:
        """Microseconds of processor time for a call, while ``window`` calls are outstanding."""
        rest = call(0, *CASES[case][:2], credential=CASES[case][2])[4:]
        before, made = self.used(), 0
        while made < CALLS:
            calls = [pack(">I", self._xid + number & 0xFFFFFFFF) + rest for number in range(window)]
            self._xid += window
            made += window
            if self.is_stream:
                self.socket.sendall(b"".join(map(mark, calls)))
                left = window * (4 + 24 + 4 * (case != "NULL"))  # each reply has its mark
                while left:
                    left -= len(self.socket.recv(left))
            else:
                for data in calls:
                    self.socket.send(data)
                for _ in calls:
                    self.socket.recv(1000)
        return (self.used() - before) / made / 1000


def connected(port: int, is_stream: bool) -> socket.socket:
    """A socket that is connected to the port; a server may say it before it listens."""
    for _ in range(100):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM)
        sock.settimeout(10)
        try:
            sock.connect(("127.0.0.1", port))
        except ConnectionRefusedError:
            sock.close()
            time.sleep(0.05)
        else:
            if is_stream:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise ConnectionRefusedError(f"nobody listens at port {port}")


def commands(folder: Path) -> dict[str, tuple[str, tuple[str | Path, ...]]]:
    """Each server: the kind of its socket, and what starts it. Those that are not installed are left out."""
    us = (sys.executable, "-m", "tests.proofs.rpc_figures")
    found: dict[str, tuple[str, tuple[str | Path, ...]]] = {}
    for kind in ("tcp", "udp"):
        found[f"ours, {kind}"] = kind, (*us, "ours", kind)
        if find_spec("sunrpc") is not None:
            found[f"sunrpc, {kind}"] = kind, (*us, "sunrpc", kind)
    if shutil.which("rpcgen") and rpcgen.HEADERS.is_dir():
        server = rpcgen.build_peer(FILE, ROOT / "tests" / "support" / "rpc_server.c", "-m", folder)
        found |= {f"C, {kind}": (kind, (server, kind)) for kind in ("tcp", "udp")}
    return found


def main() -> None:
    """Print a table in Markdown."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {
            name: stack.enter_context(closing(Server(kind, *command)))
            for name, (kind, command) in commands(Path(folder)).items()
        }
        cases = [(case, window) for case in CASES for window in WINDOWS]
        best = {name: dict.fromkeys(cases, inf) for name in servers}
        for _ in range(ROUNDS):
            for name, server in servers.items():
                for place in cases:
                    best[name][place] = min(best[name][place], server.cost(*place))
    print(f"Python {sys.version.split()[0]}, microseconds of processor time for a call, by the calls outstanding:\n")
    print(f"| server | {' | '.join(f'{case}, {window}' for case, window in cases)} |")
    print("| --- |" + " --- |" * len(cases))
    for name, costs in best.items():
        print(f"| {name} | {' | '.join(f'{cost:.1f}' for cost in costs.values())} |")


if __name__ == "__main__":
    if sys.argv[1:]:
        {"ours": serve_ours, "sunrpc": serve_sunrpc}[sys.argv[1]](sys.argv[2])
    else:
        main()
