"""The words of the language: names, numbers, strings and punctuation, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .errors import LanguageError, Place

KEYWORDS = {
    "bool", "case", "char", "const", "default", "double", "enum", "float", "hyper", "int", "long", "namespace",
    "opaque", "program", "quadruple", "short", "string", "struct", "switch", "typedef", "union", "unsigned", "version",
    "void",
}  # fmt: skip

PUNCTUATION = {
    "{": "LBRACE", "}": "RBRACE", "(": "LPAR", ")": "RPAR", "[": "LSQB", "]": "RSQB", "<": "LESSTHAN", ">": "MORETHAN",
    "*": "STAR", ",": "COMMA", ";": "SEMICOLON", ":": "COLON", "=": "EQUAL",
}  # fmt: skip

_PATTERN = re.compile(
    r"""\s+
    | (?P<NAME> [A-Za-z_]\w* )
    | (?P<NUMBER> -?\s*\d\w* )
    | (?P<LITERAL> "(?:\\.|[^"\\])*" )
    | (?P<OPERATOR> \|\||&&|==|!=|<=|>=|<<|>>|[-!~+/%&|^{}()\[\]<>*,;:=] )
    """,
    re.VERBOSE | re.ASCII,
)
_NUMBER = re.compile(r"(-?)\s*(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)[uUlL]*\Z")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}


class Word(str):
    """A word: its text, its kind (NAME, NUMBER, LITERAL, a keyword or punctuation in capitals) and its place."""

    __slots__ = ("kind", "place")

    def __new__(cls, text: str, kind: str, place: Place) -> Word:
        word = super().__new__(cls, text)
        word.kind, word.place = kind, place
        return word

    kind: str
    place: Place

    def at(self, place: Place) -> Word:
        """The same word at another place."""
        return Word(self, self.kind, place)

    def error(self, message: str) -> LanguageError:
        """The error that something is wrong with the word."""
        return LanguageError(self.place, message)

    def number(self) -> int:
        """The value of a decimal, octal or hexadecimal constant."""
        found = _NUMBER.match(self)
        if not found:
            raise self.error(f"{self} is no number")
        sign, digits = found.groups()
        if len(digits) > 100:
            raise self.error("the number is too large")
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
        return int(sign + digits, base)

    def string(self) -> str:
        """The value of a string, with the escapes of C that are one character."""
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), self[1:-1])


def read_words(text: str, place: Place) -> Iterator[Word]:
    """The words of a line, or of a part of one that begins at this place."""
    position = 0
    while position < len(text):
        here = place._replace(column=place.column + position)
        found = _PATTERN.match(text, position)
        if not found:
            raise LanguageError(here, f"unexpected character {text[position]!r}")
        if kind := found.lastgroup:
            yield Word(found[0], _kind(kind, found[0]), here)
        position = found.end()


def _kind(kind: str, text: str) -> str:
    if kind == "NAME" and text in KEYWORDS:
        return text.upper()
    return PUNCTUATION.get(text, kind) if kind == "OPERATOR" else kind
