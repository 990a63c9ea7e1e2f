"""Fixtures of the tests of the command: the process, its clients, and a module of handlers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.support.command import PATIENCE, SPECIMENS, Command, Refused, Start, assert_refusal
from tests.support.forking_command import ForkingCommand


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command with arguments: in the checkout, or with ``cwd=`` elsewhere and the checkout on PYTHONPATH."""
    commands: list[Command] = []

    def start(
        *arguments: str,
        cwd: Path = ROOT,
        stderr: Any = subprocess.PIPE,
        python: Sequence[str] = (sys.executable, "-m", "reactor"),
        **environment: str,
    ) -> Command:
        # Behind what is there already: a mutation may be planted by it.
        inherited = filter(None, [os.environ.get("PYTHONPATH")])
        path = {} if cwd == ROOT else {"PYTHONPATH": os.pathsep.join([*inherited, str(ROOT)])}
        command = Command([*python, *arguments], cwd, stderr, {**path, **environment})
        commands.append(command)
        return command

    yield start
    for command in commands:
        command.destroy()


@pytest.fixture(scope="session")
def forking_command() -> Iterator[ForkingCommand]:
    """A process that has imported the command."""
    command = ForkingCommand()
    yield command
    command.close()


@pytest.fixture
def refused(forking_command: ForkingCommand) -> Refused:
    """``refused(ARGUMENT..., words=[...])``: the command prints one line with these words, and exits with status 2.

    ``passed``: the sockets that `tests.support.manager` passes to it.
    """

    def refused(*arguments: str, words: Sequence[str], cwd: Path = ROOT, passed: str = "", **environment: str) -> None:
        status, said = forking_command.call(arguments, cwd, environment, passed, PATIENCE)
        assert_refusal(status, said, words)

    return refused


@pytest.fixture
def specimens(tmp_path: Path) -> Path:
    """A directory with the module ``specimens``."""
    (tmp_path / "specimens.py").write_text(SPECIMENS)
    return tmp_path


@pytest.fixture
def connect() -> Iterator[Callable[[str], socket.socket]]:
    """Connect to a URL; the sockets are closed at the end."""
    sockets: list[socket.socket] = []

    def connect(url: str) -> socket.socket:
        scheme, _, rest = url.partition("://")
        kind = socket.SOCK_DGRAM if scheme in ("udp", "udp6", "unix+dgram") else socket.SOCK_STREAM
        address: Any
        if scheme.startswith("unix"):
            family, address = socket.AF_UNIX, rest.replace("@", "\0")
        else:
            host, _, port = rest.rpartition(":")
            address = (host.strip("[]"), int(port))
            family = socket.AF_INET6 if scheme.endswith("6") else socket.AF_INET
        client = socket.socket(family, kind)
        sockets.append(client)
        client.settimeout(PATIENCE)
        if scheme == "unix+dgram":
            client.bind("")  # a name for the reply to go to
        client.connect(address)
        return client

    yield connect
    for each in sockets:
        each.close()
