"""A piece of a conversation that comes again and again, each time with another number in it: `Repeated`."""

from __future__ import annotations

from typing import NamedTuple

from ..running.snippets import LETTERS, in_letters, literal

BATCH = 64
"""How often a piece comes at once."""


class Repeated(NamedTuple):
    """A piece of a conversation that comes again and again."""

    start: tuple[bytes, ...]
    """What comes before it: some bytes of a stream, or packets."""
    before: bytes
    """The piece up to its number."""
    after: bytes | None
    """The rest of the piece; ``None`` if it has no number and is always the same."""
    name: bytes = b""
    """Bytes of the piece that are a binary number each time, wherever they are in it."""
    width: int = 0
    """The digits of the number, with zeros in front, if it has to be as long as what it is in the place of."""
    is_word: bool = False
    """Whether the number is in letters, because a word is there: where one is, a number may be none."""
    size: int = 0
    """The bytes of the number, if it is binary."""

    def batch(self, first: int) -> list[bytes]:
        """The piece 64 times, numbered from ``first`` on."""
        numbers = range(first, first + BATCH)
        if self.name:
            size = len(self.name)
            return [self.before.replace(self.name, (number + 1).to_bytes(size, "big")) for number in numbers]
        if self.after is None:
            return [self.before] * BATCH
        if self.size:
            told = ((number % 256**self.size).to_bytes(self.size, "big") for number in numbers)
            return [self.before + digits + self.after for digits in told]
        told = (b"%0*d" % (self.width, number) for number in numbers)
        return [self.before + (digits.translate(LETTERS) if self.is_word else digits) + self.after for digits in told]

    def code(self, name: str, batches: int, packets: bool) -> str:
        """The statements that feed the machine ``name``; a client takes the answers to ``packets``."""
        start = "".join(f"{name}.feed({literal(piece)})\n" for piece in self.start if piece)
        count = BATCH * batches
        if self.name:
            loop = f"number in range(1, {count + 1})"
            fed = f"{literal(self.before)}.replace({literal(self.name)}, number.to_bytes({len(self.name)}, 'big'))"
        elif self.after is None:
            loop, fed = f"_ in range({count})", literal(self.before)
        elif self.size:
            told = f"(number % {256**self.size}).to_bytes({self.size}, 'big')"
            loop, fed = f"number in range({count})", f"{literal(self.before)} + {told} + {literal(self.after)}"
        else:
            digits = b"%%0%dd" % self.width if self.width else b"%d"
            form = literal(self.before.replace(b"%", b"%%") + digits + self.after.replace(b"%", b"%%"))
            loop, fed = f"number in range({count})", f"{form} % number"
            if self.is_word:
                letters = in_letters(f"{digits!r} % number")
                fed = f"{literal(self.before)} + {letters} + {literal(self.after)}"
        taken = f"\n    list(iter({name}.read, None))" if packets else ""
        return f"{start}for {loop}:\n    {name}.feed({fed}){taken}"
