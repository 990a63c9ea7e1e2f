"""Errors of the command: one line says what is wrong and how to correct it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.command import LOCAL, MODES, SPECIMENS, Connect, Refused, Start, assert_refused, talk
from tests.support.grids import grid

BROKEN = {
    "broken.py": "import os\n\nos.no_such_thing\n",
    "misspelt.py": "def f(:\n",
    "needy.py": "import no_such_library\n",
    "quitter.py": "raise SystemExit('enough\\nof it')\n",
    "bare.py": "from handlers.services import Echo as _\n",
}

REFUSED = {
    "no module": (["nope:Echo"], ["nope", "write the name with which Python imports it"]),
    "no submodule": (["handlers.nope:Echo"], ["handlers.nope"]),
    "a file": (["specimens.py:Lines"], ["specimens.py", "write the name with which Python imports it"]),
    "a path": (["./specimens:Lines"], ["./specimens:Lines", "MODULE:CLASS"]),
    "no class named": (["specimens"], ["specimens", "MODULE:CLASS"]),
    "nothing named": ([":"], ["MODULE:CLASS"]),
    "no such class": (["specimens:Line"], ["specimens has no Line", "Lines", "BlockingLines"]),
    "no class": (["specimens:number"], ["specimens:number is not a handler class", "Lines"]),
    "no handler": (["os:PathLike"], ["os:PathLike is not a handler class", "StreamHandler"]),
    "a handler of log records": (
        ["logging:Handler", "--mode=sync"],
        ["logging:Handler is not a handler class", "derive a class from reactor.handlers.StreamHandler"],
    ),
    "another handler of log records": (
        ["logging:FileHandler", "--mode=thread", f"--bind={LOCAL}"],
        ["logging:FileHandler is not a handler class", "derive a class from reactor.handlers.StreamHandler"],
    ),
    "half a handler": (["handlers:Handler"], ["handlers:Handler is not a handler class"]),
    "no handlers": (["bare:Echo"], ["bare has no Echo", "derive"]),
    "an error inside": (["broken:Echo"], ["broken can't be imported", "AttributeError", "no_such_thing", "line 3"]),
    "a syntax error": (["misspelt:Echo"], ["misspelt can't be imported", "SyntaxError", "line 1"]),
    "a library missing": (["needy:Echo"], ["needy can't be imported", "no_such_library", "needy.py, line 1"]),
    "an exit inside": (["quitter:Echo"], ["quitter can't be imported", "SystemExit: enough of it"]),
    "a stream handler": (
        ["handlers.services:Echo", "--bind=udp://127.0.0.1:0"],
        ["handlers.services:Echo is for streams", "udp://127.0.0.1:0", "datagram handler", "tcp://"],
    ),
    "a blocking stream handler": (
        ["specimens:BlockingLines", "--mode=sync", "--bind=udp://127.0.0.1:0"],
        ["specimens:BlockingLines is for streams", "udp://127.0.0.1:0"],
    ),
    "a stream handler of the standard library": (
        ["http.server:SimpleHTTPRequestHandler", "--mode=thread", "--bind=udp://127.0.0.1:0"],
        ["http.server:SimpleHTTPRequestHandler is for streams", "udp://127.0.0.1:0", "datagram handler", "tcp://"],
    ),
    "a datagram handler of the standard library": (
        ["socketserver:DatagramRequestHandler", "--mode=thread", f"--bind={LOCAL}"],
        ["socketserver:DatagramRequestHandler is for datagrams", LOCAL, "stream handler", "udp://"],
    ),
    "a datagram handler": (
        ["handlers.services:EchoDatagram"],
        ["handlers.services:EchoDatagram is for datagrams", "tcp://127.0.0.1:7007", "udp://"],
    ),
    "a handler that blocks": (
        ["specimens:BlockingLines", f"--bind={LOCAL}"],
        ["specimens:BlockingLines", "request =", "--mode sync, fork or thread"],
    ),
    "a datagram handler that blocks": (
        ["specimens:Packets", "--bind=udp://127.0.0.1:0"],
        ["specimens:Packets", "request = Packet()", "--mode sync, fork or thread"],
    ),
    "no such mode": (["--mode=asyncio"], ["--mode", "asyncio", "select", "fork"]),
    "no URL": (["--bind=7007"], ["'7007'", "tcp://", "unix+dgram://"]),
    "no such scheme": (["--bind=http://127.0.0.1:0"], ["'http://127.0.0.1:0'", "tcp://"]),
    "no port": (["--bind=tcp://127.0.0.1"], ["'tcp://127.0.0.1'", "tcp://HOST:PORT"]),
    "no number": (["--bind=tcp://127.0.0.1:echo"], ["'tcp://127.0.0.1:echo'", "tcp://HOST:PORT"]),
    "no such port": (["--bind=tcp://127.0.0.1:65536"], ["65535"]),
    "no host": (["--bind=udp://:0"], ["'udp://:0'", "udp://HOST:PORT"]),
    "IPv6 in IPv4": (["--bind=udp://[::1]:0"], ["'udp://[::1]:0'", "udp6://[::1]:0"]),
    "IPv4 in IPv6": (["--bind=tcp6://127.0.0.1:0"], ["'tcp6://127.0.0.1:0'", "write tcp://127.0.0.1:0"]),
    "IPv4 in brackets": (["--bind=udp6://[127.0.0.1]:0"], ["'udp6://[127.0.0.1]:0'", "write udp://127.0.0.1:0"]),
    "no brackets": (["--bind=tcp6://::1:0"], ["'tcp6://::1:0'", "tcp6://[::1]:0"]),
    "no such interface": (["--bind=tcp6://[::1%nowhere]:0"], ["'tcp6://[::1%nowhere]:0'", "no interface 'nowhere'"]),
    "no interface": (["--bind=udp6://[fe80::1]:0"], ["'udp6://[fe80::1]:0'", "needs its interface", "[fe80::1%eth0]"]),
    "no absolute path": (["--bind=unix://run/socket"], ["'unix://run/socket'", "unix:///absolute/path"]),
    "a directory": (["--bind=unix:///"], ["'unix:///'", "unix:///absolute/path"]),
    "no such directory": (["--bind=unix:///nowhere/socket"], ["unix:///nowhere/socket", "make the directory"]),
    "a long path": ([f"--bind=unix:///{'x' * 200}"], ["xxx", "too long", "bind a shorter path"]),
    "a long abstract name": ([f"--bind=unix://@{'x' * 200}"], ["xxx", "too long", "bind a shorter path"]),
    "a file for a directory": (
        ["--bind=unix:///etc/passwd/x"],
        ["unix:///etc/passwd/x", "Not a directory", "bind a path"],
    ),
    "a foreign address": (["--bind=tcp://192.0.2.1:0"], ["tcp://192.0.2.1:0", "127.0.0.1"]),
    "no IPv4 address": (["--bind=tcp://host.invalid:0"], ["tcp://host.invalid:0", "an IPv4 address", "tcp6://"]),
    "no IPv6 address": (["--bind=tcp6://host.invalid:0"], ["tcp6://host.invalid:0", "an IPv6 address", "tcp://"]),
    "no name": (["--bind=tcp://é..b:0"], ["tcp://é..b:0", "host name"]),
}


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with good modules and bad ones."""
    place = tmp_path_factory.mktemp("modules")
    for name, text in {**BROKEN, "specimens.py": SPECIMENS}.items():
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_an_error_is_one_line_with_what_is_wrong_and_the_remedy(
    refused: Refused, modules: Path, arguments: list[str], words: list[str]
) -> None:
    refused("serve", *arguments, words=words, cwd=modules)


@pytest.mark.parametrize("arguments", [[], ["server"], ["serve", "--fast"]])
def test_wrong_arguments_are_refused(start: Start, refused: Refused, arguments: list[str]) -> None:
    refused(*arguments, words=["--help"])
    assert_refused(start(*arguments), "--help")


@grid(mode=MODES, scheme=["tcp", "udp", "unix"], together=1)
def test_an_address_in_use_is_refused(
    start: Start, refused: Refused, connect: Connect, tmp_path: Path, scheme: str, mode: str
) -> None:
    handler = "handlers.services:EchoDatagram" if scheme == "udp" else "handlers.services:Echo"
    bind = f"unix://{tmp_path}/socket" if scheme == "unix" else f"{scheme}://127.0.0.1:0"
    first = start("serve", handler, "--bind", bind)
    (url,) = first.urls(1, "select")
    other = f"unix://{tmp_path}/other" if scheme == "unix" else bind
    words = [url, "stop the server that uses it"]
    refused("serve", handler, "--mode", mode, "--bind", other, "--bind", url, words=words)
    assert talk(connect(url), b"hello") == b"hello"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("missing", "arguments", "words"),
    [
        ("os.fork", ["--mode=fork"], ["--mode fork", "can't fork", "--mode select or sync"]),
        ("socket.AF_UNIX", ["--bind=unix:///tmp/socket"], ["unix:///tmp/socket", "no Unix sockets", "tcp://"]),
    ],
)
def test_a_mode_or_socket_that_the_host_lacks_is_refused(
    start: Start, missing: str, arguments: list[str], words: list[str]
) -> None:
    lacking = textwrap.dedent(f"""\
        import functools, os, runpy, socket
        socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)  # a host that lacks it has another
        del {missing}
        runpy.run_module("reactor", run_name="__main__")
    """)
    assert_refused(start("serve", *arguments, python=(sys.executable, "-c", lacking)), *words)


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"]])
def test_help_names_the_arguments(start: Start, arguments: list[str]) -> None:
    command = start(*arguments)
    assert command.process.stdout is not None
    said = command.process.stdout.read().decode()
    assert command.status() == 0
    assert command.rest() == ""
    assert said.startswith("usage: python3 -m reactor")
    assert "serve" in said
    if "serve" in arguments:
        for word in ("MODULE:CLASS", "--mode", "unix+dgram:///PATH", "tcp://127.0.0.1:7007", "handlers.services:Echo"):
            assert word in said
