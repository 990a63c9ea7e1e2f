"""The line about the table that the command keeps on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
from time import monotonic

import pytest

from tests.support.command import LOCAL, PATIENCE, Connect, Start, talk


class Terminal:
    """A terminal of so many columns, and the text on it."""

    def __init__(self, columns: int) -> None:
        import fcntl
        import struct
        import termios

        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._lines = [""]
        self._column = 0
        self._columns = columns

    def wait_for(self, text: str) -> str:
        """Wait until a line has the text; returns that line."""
        deadline = monotonic() + PATIENCE
        while True:
            for line in self._lines:
                if text in line:
                    return line
            assert monotonic() < deadline, self._lines
            self._read()

    def wait_until(self, last_line: str) -> None:
        """Wait until this is the last line."""
        deadline = monotonic() + PATIENCE
        while self._lines[-1].rstrip() != last_line:
            assert monotonic() < deadline, self._lines
            self._read()

    def close(self) -> None:
        os.close(self._master)
        os.close(self.slave)

    def _read(self) -> None:
        if not select.select([self._master], [], [], 0.1)[0]:
            return
        for character in os.read(self._master, 65_536).decode():
            if character == "\r":
                self._column = 0
            elif character == "\n":
                self._lines.append("")
            else:
                line = self._lines[-1]
                self._lines[-1] = line[: self._column] + character + line[self._column + 1 :]
                self._column += 1
                assert self._column < self._columns, "a line that wraps can't be overwritten"


@pytest.mark.slow
@pytest.mark.parametrize("columns", [20, 100])
def test_a_terminal_shows_a_line_about_the_table(start: Start, connect: Connect, columns: int) -> None:
    terminal = Terminal(columns + len("listening on tcp://127.0.0.1:12345 (select)"))
    try:
        command = start("serve", "--bind", LOCAL, stderr=terminal.slave)
        url = terminal.wait_for("(select)").split()[2]
        terminal.wait_for("rows 0, bytes in 0, out 0, oldest 0 s")
        client = connect(url)
        assert talk(client, b"hello") == b"hello"
        terminal.wait_for("rows 1, bytes in 5, out 5, oldest 1 s")
        assert command.stop(signal.SIGINT) == 0
        terminal.wait_until("")
    finally:
        terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize("many", ["--workers=2", "--threads=2"])
def test_the_line_is_about_the_rows_of_all_loops(start: Start, connect: Connect, many: str) -> None:
    terminal = Terminal(100)
    try:
        command = start("serve", "--bind", LOCAL, many, stderr=terminal.slave)
        url = terminal.wait_for("(select)").split()[2]
        clients = [connect(url) for _ in range(4)]
        assert [talk(client, b"hello") for client in clients] == [b"hello"] * 4
        terminal.wait_for("rows 4, bytes in 20, out 20, oldest ")
        assert command.stop(signal.SIGINT) == 0
        terminal.wait_until("")
    finally:
        terminal.close()


def test_it_serves_on_when_the_terminal_is_closed(start: Start, connect: Connect) -> None:
    terminal = Terminal(100)
    command = start("serve", "--bind", LOCAL, stderr=terminal.slave)
    url = terminal.wait_for("(select)").split()[2]
    terminal.close()
    assert talk(connect(url), b"hello") == b"hello"
    assert command.stop() == 0


def test_without_a_terminal_there_is_no_line(start: Start, connect: Connect) -> None:
    command = start("serve", "--bind", LOCAL)
    assert talk(connect(*command.urls(1, "select")), b"hello") == b"hello"
    assert command.stop() == 0
    assert command.rest() == ""
