"""Telnet: lines of text with commands among them (RFC 854); every option is refused (RFC 855, RFC 1143).

`Telnet` is the base class, `TelnetEcho` an example. A user who wants to stop what was typed has the client send a
Synch, which is urgent data: the text that is still on its way is dropped.
"""

from __future__ import annotations

import re

from .causes import LimitPassed
from .handler import StreamHandler
from .wait import StreamWait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .handler import Step

IAC, DONT, DO, WONT, WILL, SB, GA, EL, EC, AYT, AO, IP, BRK, DM, NOP, SE = range(255, 239, -1)
"""The codes of the commands (RFC 854); `IAC` stands in front of each command."""

TEXT, SUBNEGOTIATION, SYNCH = "text", "subnegotiation", "synch"
"""What the text that comes now is: the user's; parameters of an option, which are dropped; or text before the end of
a Synch, which is dropped."""

_BREAK = re.compile(rb"\xff|\n|\r\0")
_COMMAND = re.compile(rb"\xff(?:([\xfb-\xfe].|[^\xfb-\xfe])|[\xfb-\xfe]?\Z)", re.DOTALL)  # \Z: the last is incomplete


class Piece(StreamWait):
    """The next piece of a Telnet stream: a command, or text up to the next command or the end of the line.

    A line ends with CR LF, with CR NUL (RFC 1123, section 3.3.1) or with LF. Text of more than ``limit`` bytes is
    `LimitPassed`.
    """

    __slots__ = ()

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        if len(held) > start and held[start] == IAC:
            size = 3 if len(held) > start + 1 and WILL <= held[start + 1] <= DONT else 2
            return start + size if len(held) >= start + size else -1
        found = _BREAK.search(held, max(start, scanned - 1), start + self.limit)
        if found is not None:
            return found.start() if held[found.start()] == IAC else found.end()
        if len(held) - start >= self.limit:
            raise LimitPassed(self)
        return -1


class Telnet(StreamHandler):
    """The server's end of a Telnet connection. Derive a class and define `line`, and perhaps `command`.

    `handle` waits for the first line. To send a greeting, override it and end with ``return super().handle()``.

    >>> from handlers import StreamMachine
    >>> class Upper(Telnet):
    ...     def line(self, line):
    ...         self.send_line(line.upper())
    ...         return self.next_line()
    >>> machine = StreamMachine(Upper())
    >>> machine.feed(bytes([IAC, DO, 1]) + b"helo" + bytes([IAC, EC]) + b"lo\\r\\n")
    >>> machine.read() == bytes([IAC, WONT, 1]) + b"HELLO\\r\\n"
    True
    """

    nvt_piece = Piece(limit=4096)
    """The wait for the next piece. Its limit, in bytes, is also the limit of a line."""

    _nvt_mode = TEXT
    _nvt_line: bytearray | None = None  # the beginning of the line, if there are commands in the middle of it

    def handle(self) -> Step:
        return self.next_line()

    def next_line(self) -> Step:
        """The step that waits for the next line; `line` returns it."""
        return self.nvt_piece, self.nvt_received

    def line(self, line: bytes) -> Step:
        """A state: answer a line, which is given without CR LF."""
        raise NotImplementedError(f"{type(self).__name__} must define line()")

    def command(self, code: int) -> Step:
        """Called for a command that this class does not handle (`IP`, `AO`, `BRK`, …). Returns a step, or ``None``.

        It is called in the order of the text; after a Synch, in whatever wait the request is.
        """
        return None

    def send_line(self, line: bytes) -> None:
        """Send a line, which is given without CR LF."""
        self.send(line.replace(b"\xff", b"\xff\xff") + b"\r\n")

    def nvt_received(self, piece: bytes) -> Step:
        """The state that gets the next piece."""
        if piece[0] == IAC and piece[1] != IAC:
            return self._nvt_obey(piece) or self.next_line()
        if self._nvt_mode is not TEXT:
            return self.next_line()
        text = self._nvt_line = self._nvt_line or bytearray()
        text += piece[-1:] if piece[0] == IAC else piece
        if len(text) > self.nvt_piece.limit:
            raise LimitPassed(self.nvt_piece, bytes(text))
        if not piece.endswith((b"\n", b"\r\0")):
            return self.next_line()
        self._nvt_line = None
        return self.line(bytes(text[: -2 if text.endswith((b"\r\n", b"\r\0")) else -1]))

    def urgent(self, data: bytes) -> Step:
        """The client sends a Synch: drop the text up to the `DM` that ends it, but obey the commands (RFC 854)."""
        self._nvt_mode, self._nvt_line = SYNCH, None
        step: Step = None
        for found in _COMMAND.finditer(self.take_held() + data):
            if found[1] is None:  # some clients mark the IAC as urgent, and not the DM: then the DM has not come yet
                self.put_back(found[0])
            elif found[1][0] != IAC:
                step = self._nvt_obey(found[0]) or step
        return step

    def _nvt_obey(self, command: bytes) -> Step:
        code = command[1]
        if self._nvt_mode is SUBNEGOTIATION or (self._nvt_mode is SYNCH and code == DM):
            self._nvt_mode = TEXT  # a subnegotiation ends with SE, or with a command that is not allowed in it
        if code == DO:
            self.send(bytes([IAC, WONT, command[2]]))
        elif code == WILL:
            self.send(bytes([IAC, DONT, command[2]]))
        elif code == SB and self._nvt_mode is TEXT:
            self._nvt_mode = SUBNEGOTIATION
        elif code == EC:
            del (self._nvt_line or bytearray())[-1:]
        elif code == EL:
            self._nvt_line = None
        elif code == AYT:
            self.send_line(b"[Yes]")
        elif code not in (DONT, WONT, SB, SE, DM, NOP):  # DONT, WONT: the option is off, so no answer (RFC 1143)
            return self.command(code)
        return None


class TelnetEcho(Telnet):
    """Send each line back."""

    def line(self, line: bytes) -> Step:
        self.send_line(line)
        return self.next_line()
