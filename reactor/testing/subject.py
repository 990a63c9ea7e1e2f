"""The handler class that a test is about: how its machines are made, in fact and as code that is printed."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import handlers
from handlers import DatagramHandler, DatagramMachine, Packet, StreamMachine, World
from handlers.buffered import buffered
from handlers.handler import Handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from handlers import Machine

PEER = ("127.0.0.1", 50_000)
"""The client's address where no `World` says otherwise."""


class Subject:
    """A handler class under test, and how its machines are made: in fact and in code."""

    def __init__(self, kind: Any, world: World | None = None) -> None:
        self.kind = kind
        self.name: str = kind.__name__
        self.world = World(peer=PEER, now=lambda: 0.0) if world is None else world
        self.blocking = not issubclass(kind, Handler)
        """Whether it is one of ``socketserver``'s own kind, run as select mode runs it."""
        self.packets = takes_packets(kind)
        self.handler: Any = buffered(kind, self.packets) if self.blocking else kind
        self.machine: type[Machine] = DatagramMachine if self.packets else StreamMachine

    def conversation(self, given: bytes | Iterable[bytes]) -> list[bytes]:
        """The packets, or the one piece of a stream, that a client sends."""
        pieces = [given] if isinstance(given, bytes) else list(given)
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

    def imports(self, body: str) -> list[str]:
        """The import statements that ``body`` needs."""
        rooms = {
            "handlers": list(handlers.__all__),
            "handlers.buffered": ["buffered"],
            "reactor.testing.counting": ["held", "line_limit"],
            "reactor.testing.loopback": ["ask"],
            "reactor.testing.schedule": ["END", "work"],
        }
        if self.kind.__qualname__ == self.name and self.kind.__module__ != "__main__":
            rooms[self.kind.__module__] = [*rooms.get(self.kind.__module__, ()), self.name]
        lines = []
        body = re.sub(r"  # .*", "", body)
        for room, names in rooms.items():
            used = [name for name in names if re.search(rf"(?<![.\w]){name}\b", body)]
            if used:
                lines.append(f"from {room} import {', '.join(used)}")
        return lines

    def test(self, title: str, body: str) -> str:
        """A test function as one would write it, with its imports."""
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()
        imports = "".join(f"{line}\n" for line in self.imports(body))
        return f"{imports}\n\ndef test_{name}_{title}():\n{textwrap.indent(body.rstrip(), '    ')}\n"


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
    """Three and more equal lines in a row become a loop."""
    folded: list[str] = []
    place = 0
    while place < len(lines):
        count = 1
        while place + count < len(lines) and lines[place + count] == lines[place]:
            count += 1
        if count > 2:
            folded.append(f"for _ in range({count}):\n    {lines[place]}")
        else:
            folded.extend(lines[place : place + count])
        place += count
    return folded
