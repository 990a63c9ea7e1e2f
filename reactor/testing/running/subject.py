"""The handler class under test: how to construct its machine, at run time and in the text of a printed test."""

from __future__ import annotations

import builtins
import re
import textwrap
import time
from contextlib import contextmanager
from copy import copy
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ... import handlers
from ...handlers import DatagramHandler, DatagramMachine, Packet, StreamMachine, World
from ...handlers.blocking.buffered import buffered
from ...handlers.handler import Handler
from ...servers.kinds import class_of
from .pristine import restorer
from .snippets import names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...handlers import Machine

PEER = ("127.0.0.1", 50_000)
"""The client's address unless a `World` gives another."""


def world_of(world: World | None, server: object = None) -> World:
    """``world``, by default one whose clock stands still, with ``server`` as its server if that is not ``None``.

    Raises `TypeError` if one of the two is not what it should be, or if each has a server.
    """
    if world is None:
        world = World(peer=PEER, now=lambda: 0.0)
    elif not isinstance(world, World):
        raise TypeError(f"world is a handlers.World(peer, server, now), which answers the handler, not {world!r}")
    if server is None:
        return world
    if isinstance(server, (type, FunctionType)):
        raise TypeError(
            f"server is an object with the attributes that the handler uses, and does not make one: {server!r}"
        )
    if world.server is not None:
        raise TypeError("the server is given twice: as server, and in world")
    world = copy(world)
    world.server = server
    return world


class Subject:
    """A handler class under test.

    Raises `TypeError` if ``kind`` is not a handler class or a `functools.partial` of one, or ``world`` not a
    `handlers.World`.
    """

    def __init__(self, kind: Any, world: World | None = None) -> None:
        self.given: Any = kind
        """What a server is given: the class, or a `functools.partial` of it."""
        arguments, named = (kind.args, kind.keywords) if isinstance(kind, partial) else ((), {})
        while isinstance(kind, partial):
            kind = kind.func
        if not isinstance(kind, type):
            raise TypeError(
                f"expected a handler class, not {kind!r}: each request needs a new handler (a class that takes "
                f"arguments: functools.partial(Class, ...))"
            )
        if not hasattr(kind, "handle"):
            raise TypeError(f"{kind.__name__} is no handler class: derive it from StreamHandler or DatagramHandler")
        self.kind = kind
        self.name: str = kind.__name__
        said = [*map(_argument, arguments), *(f"{name}={_argument(value)}" for name, value in named.items())]
        self.text = f"partial({', '.join([self.name, *said])})" if said else self.name
        """The source text of what was given; ``...`` stands for an argument that has none."""
        self.world = world_of(world)
        self.restore = restorer(self.world.server, kind)
        """Puts the server into the state that it has now: each run begins with it."""
        self.blocking = not issubclass(kind, Handler)
        """Whether it is a blocking handler of ``socketserver``'s kind; it runs as in select mode."""
        self._arguments, self._named = ((), {}) if self.blocking else (arguments, named)
        self.packets = takes_packets(kind)
        """Whether it is a datagram handler."""
        self.handler: Any = buffered(self.given, self.packets) if self.blocking else kind
        """The class that runs: ``kind``, or what select mode makes of a blocking handler."""
        self.machine: type[Machine] = DatagramMachine if self.packets else StreamMachine
        self.before: list[bytes] = []
        """Messages with which each run begins, each fed alone."""
        self._mentioned: list[type] = [kind]

    def make(self) -> Any:
        """A new handler."""
        return self.handler(*self._arguments, **self._named)

    @contextmanager
    def in_its_time(self) -> Iterator[None]:
        """Within the ``with`` block, ``time.time()`` is the time of the world, if it is a blocking handler.

        Other handlers ask their row. One of ``http.server`` has no other way to write the time into its answer.
        """
        if not self.blocking:
            yield
            return
        before, time.time = time.time, self.world.now
        try:
            yield
        finally:
            time.time = before

    def conversation(self, given: bytes | Iterable[bytes]) -> list[bytes]:
        """The input of a client: a list of packets, or of a stream a list with all its bytes as one item."""
        pieces = pieces_of(given, "conversation")
        return pieces if self.packets else [b"".join(pieces)]

    def construct(self, asked: set[str], now: str = "") -> str:
        """The source text that constructs a machine, in a world (`in_world`)."""
        handler = f"buffered({self.text}, packets={self.packets})()" if self.blocking else f"{self.text}()"
        world = self.in_world(asked, now)
        return f"{self.machine.__name__}({handler}{f', {world}' if world else ''})"

    def in_world(self, asked: set[str], now: str = "") -> str:
        """The source text of a world that answers the questions ``asked``; empty if there are none.

        ``now`` is the source text of the time, by default that of the time that the world has now.
        """
        say: dict[str, Callable[[], str]] = {
            "peer": lambda: f"peer={self.world.peer!r}",
            "server": lambda: "server=server",
            "credentials": lambda: f"credentials={self.world.credentials!r}",
            "now": lambda: f"now=lambda: {now or repr(self.world.now())}",
            "plain": lambda: "plain=True",
        }
        world = ", ".join(text() for name, text in say.items() if name in asked)
        return f"World({world})" if world else ""

    def mention(self, kind: type) -> str:
        """The name of ``kind``; a printed test that uses this name imports the class."""
        if getattr(handlers, kind.__name__, None) is not kind:
            self._mentioned.append(kind)
        return kind.__name__

    def imports(self, body: str) -> list[str]:
        """The import statements that ``body`` needs."""
        modules = {
            "reactor.handlers": list(handlers.__all__),
            "reactor.handlers.blocking.buffered": ["buffered"],
            "functools": ["partial"],
            "reactor.testing": [
                "END",
                "RESET",
                "Take",
                "ask",
                "calls_nothing_that_blocks",
                "changed",
                "copied",
                "drip",
                "drops_no_step",
                "held",
                "largest_number",
                "line_limit",
                "make_calls",
                "memory",
                "play",
                "play_through",
                "remains",
                "seconds",
                "slowdown",
                "trickle",
                "work",
            ],
        }
        for kind in self._mentioned:
            if "." not in kind.__qualname__ and kind.__module__ not in ("builtins", "__main__"):
                modules.setdefault(kind.__module__, []).append(kind.__name__)
        known = {name: module for module, names in modules.items() for name in names}
        used = names_in(body)
        return [
            f"from {module} import {', '.join(found)}"
            for module, names in modules.items()
            if (found := [name for name in dict.fromkeys(names) if name in used and known[name] == module])
        ]

    def test(self, title: str, body: str) -> str:
        """The source text of a test function with the statements ``body``, and of its imports."""
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()
        imports = "".join(f"{line}\n" for line in self.imports(body))
        given = ", ".join(name for name in ("server", "through") if name in names_in(body))
        return f"{imports}\n\ndef test_{name}_{title}({given}):\n{textwrap.indent(body.rstrip(), '    ')}\n"


def pieces_of(given: Any, name: str) -> list[bytes]:
    """``given``, which is bytes or an iterable of bytes, as a list. Raises `TypeError` for anything else."""
    if isinstance(given, bytes):
        return [given]
    if isinstance(given, (str, bytearray, memoryview)) or not hasattr(given, "__iter__"):
        raise TypeError(f"{name} is bytes, or a list of bytes, not {given!r}")
    pieces = list(given)
    for piece in pieces:
        if not isinstance(piece, bytes):
            raise TypeError(f"{name} is bytes, or a list of bytes, and {piece!r} is not bytes")
    return pieces


def takes_packets(kind: Any) -> bool:
    """Whether a handler class, or a `functools.partial` of one, blocking or not, is for datagrams."""
    kind = class_of(kind)
    if issubclass(kind, Handler):
        return issubclass(kind, DatagramHandler)
    return isinstance(getattr(kind, "request", None), Packet)


def _argument(value: object) -> str:
    """The source text of an argument; ``...`` if that is none, or has names for which a test has no import."""
    said = repr(value)
    try:
        names = names_in(said)
    except SyntaxError:
        return "..."
    return said if names <= {*handlers.__all__, *vars(builtins)} else "..."
