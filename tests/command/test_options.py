"""``--options FILE``: options of the command from a file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import KEYS, NAME, client_context
from tests.support.command import LOCAL, Connect, Refused, Start, serves, talk


def written(directory: Path, text: str | bytes) -> str:
    """A file with the text; its name."""
    file = directory / "serve.conf"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


def test_a_file_has_every_kind_of_option(start: Start, connect: Connect, specimens: Path, tmp_path: Path) -> None:
    (tmp_path / "with a space").mkdir()
    socket = f"unix://{tmp_path}/with a space/# = socket"
    certificate = (KEYS / f"{NAME}.pem").read_text()
    (tmp_path / "a certificate.pem").write_text(certificate)
    options = written(
        tmp_path,
        f"\ufeff# how it is served\r\n\r\nhandler = specimens:Lines\n   mode=thread   \n  # a comment\n"
        f"bind = tls://127.0.0.1:0\nbind\t=\t{socket}\ntls = {tmp_path}/a certificate.pem\ngrace = 0.5",
    )
    command = start("serve", "--options", options, cwd=specimens)
    secure, unix = (command.line().removeprefix("listening on ").removesuffix(" (thread)") for _ in range(2))
    assert unix == socket
    assert talk(connect(unix), b"hello\n") == b"HELLO\n"
    with client_context().wrap_socket(connect(secure), server_hostname=NAME) as client:
        assert talk(client, b"hello\n") == b"HELLO\n"


def test_the_command_line_wins(start: Start, connect: Connect, specimens: Path, tmp_path: Path) -> None:
    text = "handler = specimens:Lines\nbind = tcp://192.0.2.1:1\nmode = fork\ngrace = 9\n"
    arguments = ["reactor.handlers.services:Echo", "--bind", LOCAL, "--mode=select", "--grace=2"]
    command = start("serve", "--options", written(tmp_path, text), *arguments, cwd=specimens)
    (url,) = command.urls(1, "select")
    assert serves(connect, url)
    assert command.stop() == 0


def test_an_empty_file_changes_nothing(start: Start, connect: Connect, tmp_path: Path) -> None:
    command = start("serve", "--bind", LOCAL, "--options", written(tmp_path, ""))
    (url,) = command.urls(1, "select")
    assert serves(connect, url)


WRONG = {
    "no such option": ("\n#\nspeed = 1", ["serve.conf, line 3: 'speed' is no option", "handler, mode, bind"]),
    "a shortened name": ("gra = 1", ["serve.conf, line 1: 'gra' is no option"]),
    "no name": (" = 1", ["serve.conf, line 1: '' is no option"]),
    "a section": ("[serve]", ["serve.conf, line 1: '[serve]' is no option"]),
    "help": ("help", ["serve.conf, line 1: 'help' is no option"]),
    "another file": ("options = x", ["serve.conf, line 1: 'options' is no option"]),
    "no value": ("grace", ["serve.conf, line 1: ", "--grace", "expected one argument"]),
    "an empty value": ("grace =", ["serve.conf, line 1: grace has no value", "grace = VALUE"]),
    "a wrong number": ("grace = soon", ["line 1: ", "--grace", "'soon': write seconds from 0"]),
    "a wrong URL": ("bind = tcp://x", ["line 1: ", "--bind", "'tcp://x': write tcp://HOST:PORT"]),
    "a wrong choice": ("mode = fast", ["line 1: ", "--mode", "'fast'", "'select', 'sync'"]),
    "a value too many": ("rpcbind = yes", ["line 1: ", "--rpcbind", "'yes'"]),
    "one value twice": ("mode = sync\nmode = fork", ["line 2: mode is there a second time", "remove"]),
    "no handler": ("handler", ["line 1: handler has no value"]),
    "a quoted value": ("mode = 'sync'", ["line 1: ", "--mode"]),
    "NUL in a path": ("bind = unix:///nowhere/a\0b", ["line 1: ", "--bind", "'unix:///nowhere/a\\x00b'", "no NUL"]),
    "not UTF-8": (b"handler = \xff", ["--options", "serve.conf: it is not UTF-8"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_file_the_line_and_the_remedy(
    refused: Refused, tmp_path: Path, text: str | bytes, words: list[str]
) -> None:
    refused("serve", "--options", written(tmp_path, text), words=words)


@pytest.mark.parametrize(("name", "words"), [("none", ["No such file"]), (".", ["Is a directory"]), ("", ["No such"])])
def test_a_file_that_can_not_be_read_is_refused(refused: Refused, tmp_path: Path, name: str, words: list[str]) -> None:
    refused("serve", "--options", f"{tmp_path}/{name}" if name else "", words=["--options", *words])


def test_what_is_wrong_in_the_values_together_is_told_as_for_the_command_line(refused: Refused, tmp_path: Path) -> None:
    refused("serve", "--options", written(tmp_path, "tls-key = x"), words=["--tls-key", "--tls CERT"])


def test_help_tells_of_the_file_and_every_option_but_this_can_be_in_it(start: Start, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reactor", "serve"]
    said = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "NAME = VALUE" in said
    options = set(re.findall(r"^  --([a-z-]+)", said, re.MULTILINE)) - {"options"}
    assert len(options) >= 7
    refused = subprocess.run([*command, "--options", written(tmp_path, "x")], capture_output=True, text=True)
    assert set(refused.stderr.partition(" are ")[2].partition(" (see")[0].split(", ")) == options | {"handler"}
