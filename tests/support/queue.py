"""Servers whose requests wait for a child or a thread, and a host that has none to give."""

import errno
import os
import threading

import pytest

from tests.support.serving import receive

BOUNDS = {"fork": "max_children", "thread": "max_threads"}
every_mode = pytest.mark.parametrize("mode", BOUNDS)


def drivers(server):
    """What each row is driven by, without the number of it."""
    found = [(row["stage"], row["driven_by"]) for row in server.reactor.table.as_dicts()]
    return [stage if stage == "queued" else driver.split()[0] for stage, driver in found]


def one_at_a_time(mode, number=1):
    return {BOUNDS[mode]: number}


def has_none_left(monkeypatch, mode, is_short):
    """While ``is_short()``, the host refuses each fork, or thread, of a server that is `running`."""

    def fork():
        if is_short():
            raise OSError(errno.EAGAIN, "no child")
        return real()

    def start(thread):
        if threading.current_thread().name == "server" and is_short():
            raise RuntimeError("can't start new thread")
        real(thread)

    host, name, call = {"fork": (os, "fork", fork), "thread": (threading.Thread, "start", start)}[mode]
    real = getattr(host, name)
    monkeypatch.setattr(host, name, call)


def greet(client):
    """Have the first line of the client answered."""
    client.sendall(b"one\n")
    assert receive(client, 4) == b"one\n"
