"""The handler class that a test is about: how its machines are made, in fact and as code that is printed."""

from __future__ import annotations

import ast
import re
import textwrap
from typing import TYPE_CHECKING, Any

import handlers
from handlers import DatagramHandler, DatagramMachine, Packet, StreamMachine, World
from handlers.buffered import buffered
from handlers.handler import Handler

from ..bounds import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from handlers import Machine

    from .schedule import Late

PEER = ("127.0.0.1", 50_000)
"""The client's address where no `World` says otherwise."""


class Subject:
    """A handler class under test, and how its machines are made: in fact and in code."""

    def __init__(self, kind: Any, world: World | None = None) -> None:
        if not isinstance(kind, type):
            raise TypeError(f"what is tried is a handler class, not {kind!r}: it makes a new handler for each request")
        if not hasattr(kind, "handle"):
            raise TypeError(f"{kind.__name__} is no handler class: derive it from StreamHandler or DatagramHandler")
        if world is not None and not isinstance(world, World):
            raise TypeError(f"world is a handlers.World(peer, server, now), which answers a handler, not {world!r}")
        self.kind = kind
        self.name: str = kind.__name__
        self.world = World(peer=PEER, now=lambda: 0.0) if world is None else world
        self.blocking = not issubclass(kind, Handler)
        """Whether it is one of ``socketserver``'s own kind, run as select mode runs it."""
        self.packets = takes_packets(kind)
        self.handler: Any = buffered(kind, self.packets) if self.blocking else kind
        self.machine: type[Machine] = DatagramMachine if self.packets else StreamMachine
        self._mentioned: list[type] = [kind]

    def conversation(self, given: bytes | Iterable[bytes]) -> list[bytes]:
        """The packets, or the one piece of a stream, that a client sends."""
        pieces = pieces_of(given, "conversation")
        return pieces if self.packets else [b"".join(pieces)]

    def construct(self, asked: set[str]) -> str:
        """The code that makes a machine, in a world with what the handler ``asked`` it for."""
        handler = f"buffered({self.name}, packets={self.packets})()" if self.blocking else f"{self.name}()"
        world = self.in_world(asked)
        return f"{self.machine.__name__}({handler}{f', {world}' if world else ''})"

    def in_world(self, asked: set[str]) -> str:
        """The code of a world that can answer what was ``asked``; nothing if that is nothing."""
        say: dict[str, Callable[[], str]] = {
            "peer": lambda: f"peer={self.world.peer!r}",
            "server": lambda: "server=server",
            "now": lambda: f"now=lambda: {self.world.now()!r}",
        }
        world = ", ".join(text() for name, text in say.items() if name in asked)
        return f"World({world})" if world else ""

    def mention(self, kind: type) -> str:
        """The name of a class that is not the project's, to be imported where the code has it."""
        if getattr(handlers, kind.__name__, None) is not kind:
            self._mentioned.append(kind)
        return kind.__name__

    def imports(self, body: str) -> list[str]:
        """The import statements that ``body`` needs."""
        rooms = {
            "handlers": list(handlers.__all__),
            "handlers.buffered": ["buffered"],
            "reactor.testing.counting": ["held", "line_limit"],
            "reactor.testing.loopback": ["ask"],
            "reactor.testing.schedule": ["END", "work"],
        }
        for kind in self._mentioned:
            if "." not in kind.__qualname__ and kind.__module__ not in ("builtins", "__main__"):
                rooms.setdefault(kind.__module__, []).append(kind.__name__)
        known = {name: room for room, names in rooms.items() for name in names}
        used = _names(body)
        return [
            f"from {room} import {', '.join(found)}"
            for room, names in rooms.items()
            if (found := [name for name in dict.fromkeys(names) if name in used and known[name] == room])
        ]

    def test(self, title: str, body: str) -> str:
        """A test function as one would write it, with its imports."""
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()
        imports = "".join(f"{line}\n" for line in self.imports(body))
        given = "server" if "server" in _names(body) else ""
        return f"{imports}\n\ndef test_{name}_{title}({given}):\n{textwrap.indent(body.rstrip(), '    ')}\n"


def pieces_of(given: Any, name: str) -> list[bytes]:
    """Bytes, or several of them, as a list; raises `TypeError` for anything else."""
    if isinstance(given, bytes):
        return [given]
    if isinstance(given, (str, bytearray, memoryview)) or not hasattr(given, "__iter__"):
        raise TypeError(f"{name} is bytes, or a list of bytes, not {given!r}")
    pieces = list(given)
    for piece in pieces:
        if not isinstance(piece, bytes):
            raise TypeError(f"{name} is bytes, or a list of bytes, and {piece!r} is none")
    return pieces


def takes_packets(kind: Any) -> bool:
    """Whether a handler class, blocking or not, is one for datagrams."""
    if issubclass(kind, Handler):
        return issubclass(kind, DatagramHandler)
    return isinstance(getattr(kind, "request", None), Packet)


class Asked:
    """The driver of a machine that is played to: answers from a world, and remembers what was asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked: set[str] = set()

    @property
    def peer(self) -> Any:
        self.asked.add("peer")
        return self._world.peer

    @property
    def server(self) -> Any:
        if self._world.server is not None:
            self.asked.add("server")
        return self._world.server

    def now(self) -> float:
        self.asked.add("now")
        return self._world.now()

    @property
    def turns(self) -> int:
        return self._world.turns

    def touched(self) -> None:
        """Nothing to do: the run reads the machine when it is its turn."""


class Row:
    """What a reactor's own `Pace` asks of a row: so a run keeps the times that a class declares as a loop does."""

    def __init__(self, handler: Handler, now: float) -> None:
        self.progress = now
        self.deadline = now
        self.total_in = self.total_out = 0
        self.reactor = self.timers = self
        self._pace = Pace.of(handler, now)

    def arm(self, row: Row) -> None:
        """Nothing to do: whoever lets time pass looks at the deadline."""

    def took(self, count: int, now: float) -> None:
        """So many bytes have come."""
        self.total_in += count
        self.progress = now

    def gave(self, count: int, now: float) -> None:
        """So many bytes have gone."""
        self.total_out += count
        self.progress = now

    def begin(self, machine: Machine, now: float) -> None:
        """A wait has begun."""
        pace = self._pace
        self.deadline = now + machine.patience if pace is None else pace.begin(self, machine, now)  # type: ignore[arg-type]

    def expire(self, machine: Late, now: float) -> None:
        """The deadline has come."""
        if self._pace is None:
            machine.expire()
        else:
            self._pace.expire(self, machine, now)  # type: ignore[arg-type]


def _names(code: str) -> set[str]:
    """The names that ``code`` uses."""
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}


def is_literal(value: Any) -> bool:
    """Whether the ``repr`` of ``value`` is code that gives it again, whatever has been imported."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except Exception:  # it may be code for something else, or none, and an object may compare as it likes
        return False


def brief(value: Any) -> str:
    """``value`` as code, for a comment: cut short.

    >>> brief(b"abc"), brief(b"0123456789" * 9 + b".")
    ("b'abc'", "b'01234567890123456789012345678901234567 …")
    """
    code = literal(value)
    return code if len(code) <= 48 else f"{code[:40]} …"


def literal(value: Any) -> str:
    """``value`` as code; bytes and lists that repeat themselves are written short.

    >>> print(literal(b"ab" * 50), literal(b"abc"), literal([b"x"] * 99))
    b'ab' * 50 b'abc' [b'x'] * 99
    """
    if isinstance(value, (bytes, list)) and len(value) > 48:
        for size in range(1, 33):
            if len(value) % size == 0 and value[size:] == value[:-size]:
                return f"{literal(value[:size])} * {len(value) // size}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def folded(lines: list[str]) -> list[str]:
    """Three and more equal lines in a row, or groups of a few lines, become a loop.

    >>> folded(["a()", "b()", "c()", "b()", "c()", "b()", "c()"])
    ['a()', 'for _ in range(3):\\n    b()\\n    c()']
    """
    folded: list[str] = []
    place = 0
    while place < len(lines):
        for size in 1, 2, 3, 4:
            group, count = lines[place : place + size], 1
            while lines[place + count * size : place + (count + 1) * size] == group:
                count += 1
            if count > 2:
                folded.append("\n    ".join([f"for _ in range({count}):", *group]))
                place += count * size
                break
        else:
            folded.append(lines[place])
            place += 1
    return folded
