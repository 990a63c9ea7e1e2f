"""`World`: the driver of a machine without a reactor; `NO_MACHINE`: the machine of a handler without a request."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .handler import Answer, DatagramHandler
    from .waits import Address


class World:
    """The driver of a machine without a reactor: answers what a handler asks.

    ``now`` is a function that returns seconds since 1970-01-01 00:00 UTC, such as ``time.time``.
    ``credentials`` and ``descriptors`` are what a `StreamHandler` finds under these names.

    In a ``plain`` world, input and output are the plain text of the conversation whatever filter the handler puts in
    front of itself (`Filtered`): the filter is not made and counts as open, and the handler finds its `Filter.facts`.
    The client is one that waits for the filter, so what it has sent is not `TooEarly`.
    """

    turns = -1  # no other request waits
    socket: Any = None
    principal: Any = None
    secured: Any = None
    peer_certificate: Any = None
    alpn: Any = None
    proxy_header: Any = None
    left: tuple[str, ...] = ()

    def __init__(
        self, peer: Address | None = None, server: object = None, now: Callable[[], float] | None = None, *,
        credentials: tuple[int, int, int] | None = None, descriptors: Sequence[int] = (), plain: bool = False,
    ) -> None:  # fmt: skip
        self.peer = peer
        self.server = server
        self._now = now
        self.credentials = credentials
        self.descriptors = list(descriptors)
        self.plain = plain
        self.passed: list[int] = []
        """The descriptors that the handler has sent."""
        self.calls: list[tuple[DatagramHandler, bytes, Answer]] = []
        """The calls that the handler has made; the code that drives the machine runs them."""
        self.channel: Any = None
        """The channel to drive from now on, if a filter was put in or has left; else ``None``."""

    def now(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC. Raises `RuntimeError` if no ``now`` was given."""
        if self._now is None:
            raise RuntimeError("this machine has no clock: give it World(now=time.time)")
        return self._now()

    def touched(self) -> None:
        """Nothing to do: the code that feeds the machine reads its output after that."""

    def rest(self) -> None:
        """The code that feeds the machine calls `advance` next. Never called where `turns` is -1, as by default."""
        self.touched()

    def pass_on(self, descriptors: Sequence[int]) -> None:
        """Keep them in `passed`."""
        self.passed += descriptors

    def call(self, handler: DatagramHandler, packet: bytes, answer: Answer) -> None:
        """Keep it in `calls`."""
        self.calls.append((handler, packet, answer))

    def queue_step(self, step: Callable[[], object]) -> bool:
        """``False``: no other request waits, so the step may be done now."""
        return False

    def channel_binding(self, kind: str) -> bytes | None:
        """``None``: there is no secure channel."""
        return None

    def replace(self, channel: Any, by: Any) -> None:
        """Keep it in `channel`."""
        self.channel = by


class NoMachine:
    """Stands for the machine of a handler that has no request yet."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # such as __deepcopy__, which Python asks every object for
            raise AttributeError(name)
        raise RuntimeError(
            "this handler has no request yet: it can send, and ask for its peer or server, from setup() on; a handler "
            "that is given to Connected, after that wait"
        )


NO_MACHINE = NoMachine()
