"""Conversations in files: `Recording` writes what passes a server, `read` gives it back as the turns of the client.

A recorded file is text. Its first line is `HEAD`. Each other line is one event of a connection, as the server sees it:
the seconds since the first event, the word of the filter `Tap`, and the bytes as a Python literal::

    # recorded conversation
    0.000000 sent b'220 ready\\r\\n'
    0.012000 received b'EHLO example\\r\\n'
    0.013000 sent b'250 example\\r\\n'
    0.020000 input ended

Lines that begin with ``#`` and empty lines are comments, so a file may be written, and changed, by hand. A file with
another first line is raw: its bytes are what the client sends, in one turn.
"""

from __future__ import annotations

import ast
import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...rows.filters.tap import INPUT_ENDED, OUTPUT_ENDED, RECEIVED, SENT, Tap

if TYPE_CHECKING:
    from ...handlers.channel import StreamChannel

HEAD = "# recorded conversation"
FORM = "SECONDS, then received or sent with a literal such as b'GET\\r\\n', or input ended, or output ended"


class Event(NamedTuple):
    """What a connection has received or sent, or (with ``b""``) that its input or its output has ended."""

    seconds: float
    what: str
    data: bytes


class Turn(NamedTuple):
    """What the client sends, and what the server answers before the client sends more (``b""`` if not known)."""

    sent: bytes
    answer: bytes


class Recording(Tap):
    """A filter that writes its connection to a file of its own in the ``directory``, which must exist.

    The files are ``conversation-PID-NUMBER.txt``. Each event is handed to the kernel before it is passed on, so a
    process that is killed loses none. ``OSError`` ends the request. Behind a filter that encrypts, it is plain text.

    >>> import tempfile
    >>> from functools import partial
    >>> from handlers import StreamMachine, World
    >>> from handlers.filter import chain
    >>> from handlers.services import Echo
    >>> with tempfile.TemporaryDirectory() as name:
    ...     channel = chain(StreamMachine(Echo(), World(now=lambda: 5.0)), [partial(Recording, directory=name)])
    ...     channel.advance()
    ...     _ = channel.feed(b"hello")
    ...     [path] = Path(name).iterdir()
    ...     print(path.read_text())
    ...     read(path)
    # recorded conversation
    0.000000 received b'hello'
    0.000000 sent b'hello'
    <BLANKLINE>
    [Turn(sent=b'hello', answer=b'hello')]

    For a server: ``filters = [partial(Recording, directory="conversations")]``.
    """

    __slots__ = ("path", "start")

    def __init__(self, inner: StreamChannel, directory: str | os.PathLike[str]) -> None:
        super().__init__(inner, _write)
        self.path = Path(directory) / f"conversation-{os.getpid()}-{next(NUMBERS)}.txt"
        self.start: float | None = None


NUMBERS = count(1)


def _write(tap: Any, now: float, what: str, data: bytes) -> None:
    head = ""
    if tap.start is None:
        tap.start, head = now, f"{HEAD}\n"
    with open(tap.path, "a", encoding="ascii") as file:
        file.write(f"{head}{now - tap.start:.6f} {what}{f' {data!r}' if data else ''}\n")


def read(path: str | os.PathLike[str]) -> list[Turn]:
    """The turns of a recorded file, or the bytes of a raw file as one turn.

    The first turn sends nothing if the server speaks first. Raises ``OSError``, or ``ValueError`` that names the file
    and the line.
    """
    content = Path(path).read_bytes()
    if not content.startswith(HEAD.encode()):
        return [Turn(content, b"")]
    return turns(events(content, str(path)))


def events(content: bytes, name: str) -> list[Event]:
    """The events of a recorded file with this content. Raises ``ValueError`` that says ``name`` and the line."""
    found = []
    for number, line in enumerate(content.decode("latin-1").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                found.append(_event(line))
            except (ValueError, SyntaxError):
                raise ValueError(f"{name}, line {number}: {line[:60]!r} is no event; write {FORM}") from None
    return found


def _event(line: str) -> Event:
    seconds, _, rest = line.strip().partition(" ")
    if rest in (INPUT_ENDED, OUTPUT_ENDED):
        return Event(float(seconds), rest, b"")
    what, _, literal = rest.partition(" ")
    data = ast.literal_eval(literal.strip())
    if what not in (RECEIVED, SENT) or not isinstance(data, bytes):
        raise ValueError
    return Event(float(seconds), what, data)


def turns(told: list[Event]) -> list[Turn]:
    """The turns of a connection: what was received, up to where something was sent, and what was sent until the next.

    >>> turns([Event(0, "sent", b"hi"), Event(1, "received", b"a"), Event(1, "received", b"b"), Event(2, "sent", b"!")])
    [Turn(sent=b'', answer=b'hi'), Turn(sent=b'ab', answer=b'!')]
    """
    found: list[Turn] = []
    for _, what, data in told:
        if what == RECEIVED and (not found or found[-1].answer):
            found.append(Turn(data, b""))
        elif what == RECEIVED:
            found[-1] = found[-1]._replace(sent=found[-1].sent + data)
        elif what == SENT and not found:
            found.append(Turn(b"", data))
        elif what == SENT:
            found[-1] = found[-1]._replace(answer=found[-1].answer + data)
    return found
