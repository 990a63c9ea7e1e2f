"""An oscilloscope that sees a sine wave: a device of IEEE 488.2, without a network."""

from __future__ import annotations

from collections.abc import Callable
from math import sin, tau

MOST_POINTS = 1_000_000
"""Points that a waveform may have."""
IDENTITY = "Example,Oscilloscope,0,1.0"
COMMAND_ERROR, EXECUTION_ERROR, QUERY_ERROR = 32, 16, 4
"""Bits of the event status register (IEEE 488.2, section 11.5.1)."""
AVAILABLE, EVENT = 16, 32
"""Bits of the status byte: an answer is available, an event that is enabled has happened (section 11.2)."""


PERIOD = bytes(round(100 * sin(tau * number / 100)) & 0xFF for number in range(100))
"""One period of the sine, each point a signed byte."""


def waveform(points: int) -> bytes:
    """So many points of the sine."""
    return (PERIOD * (points // len(PERIOD) + 1))[:points]


def block(data: bytes) -> bytes:
    """Arbitrary data of a definite length (IEEE 488.2, section 8.7.9)."""
    length = b"%d" % len(data)
    return b"#%d%b%b" % (len(length), length, data)


class Scope:
    """The settings, and what becomes of a message. All links have the same.

    >>> scope = Scope()
    >>> scope.run(b"*idn?")
    b'Example,Oscilloscope,0,1.0\\n'
    >>> scope.run(b"WAV:POIN 3; POIN?;*OPC?; *TRG"), scope.run(b"wav:points?;:waveform:data?")
    (b'1\\n', b'3;#13\\x00\\x06\\r\\n')
    >>> scope.run(b"*ESR?;*ESR?;SYST:ERR?;SYST:ERR?")  # POIN? alone was no command
    b'32;0;-113,"Undefined header";0,"No error"\\n'
    """

    def __init__(self) -> None:
        self.points = 1000
        self.triggers = 0
        self.events = 0
        self.enabled = 0
        self.error = (0, "No error")
        self._queries: dict[str, Callable[[], bytes]] = {
            "*IDN": IDENTITY.encode,
            "*OPC": lambda: b"1",
            "*STB": lambda: b"%d" % self.status(False),
            "*ESR": self._take_events,
            "*ESE": lambda: b"%d" % self.enabled,
            "SYST:ERR": self._take_error,
            "WAV:POIN": lambda: b"%d" % self.points,
            "WAV:DATA": lambda: block(waveform(self.points)),
            "TRIG:COUN": lambda: b"%d" % self.triggers,
        }
        self._commands: dict[str, Callable[[str], object]] = {
            "*RST": lambda _: self._set_points("1000"),
            "*CLS": lambda _: (self._take_events(), self._take_error()),
            "*ESE": self._enable,
            "*TRG": lambda _: self.trigger(),
            "WAV:POIN": self._set_points,
        }

    def run(self, message: bytes) -> bytes:
        """Do what the message says; returns the answer, which is empty if nothing was asked."""
        answers = []
        for text in message.decode("latin-1").split(";"):
            header, _, argument = text.strip().partition(" ")
            name = short(header)
            if name.endswith("?") and name[:-1] in self._queries:
                answers.append(self._queries[name[:-1]]())
            elif name in self._commands:
                self._try(self._commands[name], argument.strip())
            elif name:
                self.fail(COMMAND_ERROR, -113, "Undefined header")
        return b";".join(answers) + b"\n" if answers else b""

    def trigger(self) -> None:
        """Begin a measurement."""
        self.triggers += 1

    def status(self, available: bool) -> int:
        """The status byte; ``available``: there is an answer to read."""
        return (AVAILABLE if available else 0) | (EVENT if self.events & self.enabled else 0)

    def fail(self, event: int, number: int, text: str) -> None:
        """Note an error."""
        self.events |= event
        self.error = number, text

    def _try(self, command: Callable[[str], object], argument: str) -> None:
        try:
            command(argument)
        except ValueError:
            self.fail(EXECUTION_ERROR, -222, "Data out of range")

    def _set_points(self, text: str) -> None:
        if not 1 <= int(text) <= MOST_POINTS:
            raise ValueError(text)
        self.points = int(text)

    def _enable(self, text: str) -> None:
        if not 0 <= int(text) <= 255:
            raise ValueError(text)
        self.enabled = int(text)

    def _take_events(self) -> bytes:
        events, self.events = self.events, 0
        return b"%d" % events

    def _take_error(self) -> bytes:
        (number, text), self.error = self.error, (0, "No error")
        return b'%d,"%b"' % (number, text.encode())


def short(header: str) -> str:
    """The header in upper case, with the short form of each of its words.

    >>> short("*idn?"), short(":waveform:points?"), short("wav:poin")
    ('*IDN?', 'WAV:POIN?', 'WAV:POIN')
    """
    words = {"WAVEFORM": "WAV", "POINTS": "POIN", "SYSTEM": "SYST", "ERROR": "ERR", "TRIGGER": "TRIG", "COUNT": "COUN"}
    name, query = (header[:-1], "?") if header.endswith("?") else (header, "")
    return ":".join(words.get(word, word) for word in name.upper().removeprefix(":").split(":")) + query
