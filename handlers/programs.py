"""`Ran`: another program, run in a child process with pipes, as a wait."""

from __future__ import annotations

from .saying import safe_repr
from .waits import Outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any, TypeAlias

    from .wait import Wait

    Text: TypeAlias = str | bytes


class Finished:
    """How a program has ended: its exit ``status`` (negative: the number of the signal that killed it), and what it
    has written to its standard output (``output``) and to its standard error (``errors``)."""

    __slots__ = ("errors", "output", "status")

    def __init__(self, status: int, output: bytes, errors: bytes) -> None:
        self.status = status
        self.output = output
        self.errors = errors

    def __repr__(self) -> str:
        return f"Finished({self.status}, {len(self.output)} bytes of output, {len(self.errors)} of errors)"


class Ran(Outside):
    """Until the program has ended; the result is a `Finished`.

    ``program`` is the list of its name (searched on ``PATH``) and its arguments; no shell is involved. ``input`` is
    what it reads from its standard input. It may write ``limit`` bytes to its standard output and its standard error
    together; past that it is killed, and the cause is `Failed` with an ``OverflowError``. If it can't be started, the
    cause is `Failed` with the ``OSError``. An exit status other than 0 is no failure.

    The program is killed when the wait times out and when the row ends, or its client, inside `WhileConnected`. It
    inherits no descriptor but the three pipes. Programs count in ``Reactor.max_children``, with those of `Forked`.
    """

    __slots__ = ("environment", "input", "limit", "program")

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Wait, Finished, Finished]: ...

    def __init__(
        self, program: Sequence[Text], input: bytes = b"", *,  # noqa: A002  # the name that subprocess.run() has
        limit: int = 1 << 20, environment: Mapping[str, str] | None = None, timeout: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(timeout)
        if isinstance(program, (str, bytes)) or not program:
            raise TypeError(f"Ran: program is a list of the program's name and its arguments, not {program!r}")
        if not isinstance(input, (bytes, bytearray, memoryview)):
            raise TypeError(f"Ran: input is bytes, not {input!r}")
        if not isinstance(limit, int) or limit < 0:
            raise ValueError(f"Ran: limit is a number of bytes >= 0, not {limit!r}")
        self.program = tuple(program)
        self.input = bytes(input)
        self.limit = limit
        self.environment = environment

    def _said(self) -> tuple[object, ...]:
        environment: Any = None if self.environment is None else tuple(sorted(self.environment.items()))
        return (self.program, self.input, self.limit, environment)

    def __repr__(self) -> str:
        return f"Ran({safe_repr(self.program)})"
