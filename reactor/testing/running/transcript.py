"""The calls of a run as the statements of a test."""

from __future__ import annotations

from .snippets import literal


class Transcript:
    """Records the calls on one machine and writes them as source text.

    ``machine`` is the name of the variable that holds the machine. A call is recorded before it is made, so the last
    one is the one that raised.
    """

    def __init__(self, machine: str, packets: bool) -> None:
        self.calls: list[bytes | str | None] = []
        """Bytes that were fed, statements, and ``None`` where a machine was constructed."""
        self._machine = machine
        self._packets = packets
        self._output = "output" if machine == "machine" else f"{machine}_output"
        self._is_collected = False  # whether a statement has added output to the variable

    def construct(self) -> None:
        """A new machine is constructed."""
        self.calls.append(None)

    def feed(self, data: bytes) -> None:
        """The machine is fed with ``data``."""
        self.calls.append(data)

    def call(self, call: str) -> None:
        """A method of the machine is called; ``call`` has its name and its arguments."""
        self.calls.append(f"{self._machine}.{call}")

    def make_calls(self) -> bool:
        """A call of the handler is made. Whether that is in the statement that makes the one before it."""
        code = f"make_calls({self._machine})"
        is_same = self.calls[-1] == code
        if not is_same:
            self.calls.append(code)
        return is_same

    def take(self, limit: int) -> None:
        """At most ``limit`` bytes of output are read, or one packet."""
        read = f".append({self._machine}.read())" if self._packets else f" += {self._machine}.read({limit})"
        self._collect(read)

    def drain(self) -> None:
        """All output is read."""
        self._collect(f" += {self._rest()}")

    def output(self) -> str:
        """The expression for the whole output, after the statements."""
        rest = f"list({self._rest()})" if self._packets else self._rest()
        return f"{self._output} + {rest}" if self._is_collected else rest

    def statements(self, construct: str, calls: list[bytes | str | None]) -> list[str]:
        """The statements for ``calls``; ``construct`` is the expression that constructs a machine."""
        advance, end = f"{self._machine}.advance()", f"{self._machine}.end()"
        is_begun = bool(calls) and calls[0] is not None
        lines = (
            [f"{self._output} = {'[]' if self._packets else repr(b'')}"] if self._is_collected and not is_begun else []
        )
        for call, following in zip(calls, [*calls[1:], None], strict=False):
            if call is None:
                lines.append(f"{self._machine} = {construct}")
            elif isinstance(call, bytes):
                lines.append(f"{self._machine}.feed({literal(call)})")
            elif call != advance or not (isinstance(following, bytes) or following == end):
                lines.append(call)  # without advance(), feed() and end() start the request as well
        return lines

    def _collect(self, read: str) -> None:
        self._is_collected = True
        self.calls.append(f"{self._output}{read}")

    def _rest(self) -> str:
        return f"iter({self._machine}.read, None)" if self._packets else f"{self._machine}.read()"
