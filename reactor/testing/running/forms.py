"""How a number is written into a piece that comes again and again, and the source text for that: `Form`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .snippets import literal

if TYPE_CHECKING:
    from collections.abc import Callable

_LETTERS = bytes.maketrans(b"0123456789", b"abcdefghij")


class Number(NamedTuple):
    """A number that belongs to the number of a piece."""

    of: Callable[[int], int]
    code: str
    """The expression for it, in which the number of the piece is called ``number``."""


ITSELF = Number(lambda number: number, "number")


def following(first: int) -> Number:
    """The numbers from this one on."""
    return Number(lambda number: first + number, f"({first} + number)")


class Form(NamedTuple):
    """What is written for the number of a piece.

    >>> form = around(b"GET ", digits(width=3), b"\\n")
    >>> form.write(7), form.code
    (b'GET 007\\n', "b'GET ' + b'%03d' % number + b'\\\\n'")
    """

    write: Callable[[int], bytes]
    code: str
    """The expression for it, in which the number of the piece is called ``number``."""


def digits(width: int = 0, number: Number = ITSELF) -> Form:
    """At least ``width`` digits, with zeros in front."""
    form = b"%%0%dd" % width if width else b"%d"
    return Form(lambda at: form % number.of(at), f"{form!r} % {number.code}")


def letters(width: int = 0, number: Number = ITSELF) -> Form:
    """The digits as letters, because a word is there: where one is, a number may be none."""
    form = digits(width, number)
    code = f"({form.code}).translate(bytes.maketrans(b'0123456789', b'abcdefghij'))"
    return Form(lambda at: form.write(at).translate(_LETTERS), code)


def binary(size: int, number: Number = ITSELF, order: str = "big") -> Form:
    """So many bytes: the number, without what does not fit into them."""
    most = 1 << 8 * size
    code = f"({number.code} % {most}).to_bytes({size}, {order!r})"
    return Form(lambda at: (number.of(at) % most).to_bytes(size, order), code)  # type: ignore[arg-type]


def same(piece: bytes) -> Form:
    """Always the same piece."""
    return Form(lambda _: piece, literal(piece))


def around(before: bytes, form: Form, after: bytes) -> Form:
    """The form, between these bytes."""
    parts = [literal(before) if before else "", form.code, literal(after) if after else ""]
    return Form(lambda at: before + form.write(at) + after, " + ".join(filter(None, parts)) or "b''")


def instead(piece: bytes, name: bytes, form: Form) -> Form:
    """The piece, with the form wherever it has the bytes ``name``."""
    code = f"{literal(piece)}.replace({literal(name)}, {form.code})"
    return Form(lambda at: piece.replace(name, form.write(at)), code)
