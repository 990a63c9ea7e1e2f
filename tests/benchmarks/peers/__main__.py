"""Serve one service with one peer, or print the names of those that can serve here."""

import gc
import json
import os
import socket
import sys
import threading
import tracemalloc

from tests.benchmarks.peers import SERVICES, names


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


if __name__ == "__main__":
    found = names()
    if sys.argv[1:] == ["--names"]:
        print(json.dumps(found))
    else:
        main(*sys.argv[1:])
