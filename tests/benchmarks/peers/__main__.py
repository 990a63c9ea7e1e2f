"""``python3 -m tests.benchmarks.peers SERVICE NAME [PORT]``: serve in a process of its own.

It prints the port that it listens at, answers questions about itself on standard input, and ends when that ends.
``--names`` prints the names of those that can serve here: a peer whose package can not be imported is left out, so only
the standard library is needed.
"""

import gc
import json
import os
import socket
import sys
import threading
import tracemalloc
from importlib.util import find_spec

from tests.benchmarks.peers import (  # noqa: F401 - each notes its peers
    gevents,
    ours,
    redis,
    standard,
    streams,
    tornados,
    trios,
    twisteds,
)
from tests.benchmarks.peers.registry import SERVICES


def answer_questions() -> None:
    """For each line of input print how many bytes Python has allocated; end the process with the input."""
    for _ in sys.stdin:
        gc.collect()
        print(tracemalloc.get_traced_memory()[0], flush=True)
    os._exit(0)


def listening(service: str) -> socket.socket:
    """A socket that listens, or for datagrams one that is bound."""
    if service == "datagrams":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        return sock
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def main(service: str, name: str, *port: str) -> None:
    listener = listening(service)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=answer_questions, daemon=True).start()
    SERVICES[service][name].serve(listener, *map(int, port))


def names() -> dict[str, list[str]]:
    """The names of the peers that can serve here, by their services."""
    return {
        service: [name for name, peer in peers.items() if all(map(find_spec, peer.needs))]
        for service, peers in SERVICES.items()
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["--names"]:
        print(json.dumps(names()))
    else:
        main(*sys.argv[1:])
