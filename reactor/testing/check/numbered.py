"""A piece of a conversation that comes again and again: `Repeated`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..running.snippets import literal, names_in

if TYPE_CHECKING:
    from ..running.forms import Form

BATCH = 64
"""How often a piece comes at once."""


class Repeated(NamedTuple):
    """A piece of a conversation that comes again and again."""

    start: tuple[bytes, ...]
    """What comes before it: some bytes of a stream, or packets."""
    piece: Form
    """The piece, with the number in it."""

    @property
    def key(self) -> object:
        """Equal for what is the same."""
        return self.start, self.piece.code

    def batch(self, first: int) -> list[bytes]:
        """The piece 64 times, numbered from ``first`` on."""
        return [self.piece.write(number) for number in range(first, first + BATCH)]

    def code(self, name: str, batches: int, packets: bool) -> str:
        """The statements that feed the machine ``name``; the client takes the answers."""
        start = "".join(f"{name}.feed({literal(piece)})\n" for piece in self.start if piece)
        number = "number" if "number" in names_in(self.piece.code) else "_"
        taken = f"list(iter({name}.read, None))" if packets else f"{name}.read()"
        return f"{start}for {number} in range({BATCH * batches}):\n    {name}.feed({self.piece.code})\n    {taken}"
