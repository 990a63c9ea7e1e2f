"""`Preprocessor`: handles comments, ``%`` lines, ``#include``, ``#define`` and conditions, as ``rpcgen`` does.

The result is a list of words. Each has its place in the original file, which errors name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from .conditions import evaluated, holds
from .errors import LanguageError, Place
from .words import Word, read_words

DEPTH = 32
"""How deep files may include each other."""

_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|/\*|//')
_DIRECTIVE = re.compile(r"\s*#\s*(\w*)")
_INCLUDE = re.compile(r'\s*(?:"([^"]+)"|<([^>]+)>)\s*\Z')
_CONSTANT = re.compile(r"%\s*#\s*define\s+(\w+)\s+([^/]+)(?:/[*/].*)?\Z")
_HEADER = re.compile(r"%\s*#\s*include\s*[<\"](?:[^>\"]*/)?([^/>\"]+)\.h[>\"]")
_IGNORED = {"", "ident", "pragma", "warning"}

COMMAND_LINE = Place("command line", 1, 1)


class Preprocessor:
    """Reads a file and what it includes. ``macros`` are those defined so far; RPC_HDR is, as in ``rpcgen -h``."""

    def __init__(self, defines: Mapping[str, str]) -> None:
        self.macros: dict[str, list[Word]] = {}
        for name, value in {"RPC_HDR": "1", **defines}.items():
            self.macros[name] = [*read_words(value, COMMAND_LINE)]
        self.constants: dict[str, Word] = {}
        """The numbers of ``%#define NAME NUMBER``, where the number may be an expression."""
        self.headers: list[Path] = []
        """The files ``X.x`` beside one that has ``%#include "X.h"``."""
        self._seen: set[Path] = set()
        self._open: list[Path] = []

    def read(self, path: Path, named: Place | None = None) -> Iterator[Word]:
        """The words of the file; ``named`` is the place that includes it."""
        try:
            lines = path.read_text("utf-8", "surrogateescape").split("\n")
        except OSError as error:
            place = named or Place(str(path), 1, 1)
            raise LanguageError(place, f"cannot read {path}: {error.strerror}") from None
        if len(self._open) >= DEPTH:
            raise LanguageError(named or COMMAND_LINE, f"more than {DEPTH} files include each other")
        self._open.append(path)
        self._seen.add(path)
        yield from self._read(path, lines)
        self._open.pop()

    def _read(self, path: Path, lines: list[str]) -> Iterator[Word]:
        conditions: list[_Condition] = []
        for text, place in _joined(_bare(lines, str(path))):
            directive = _DIRECTIVE.match(text)
            if not directive:
                if not all(condition.holds for condition in conditions):
                    continue
                if text.startswith("%"):
                    self._pass_over(path, text, place)
                else:
                    yield from self._expanded(read_words(text, place), frozenset())
                continue
            word, rest = directive[1], text[directive.end() :]
            after = place._replace(column=place.column + directive.end())
            if self._conditional(word, rest, after, conditions) or not all(each.holds for each in conditions):
                continue
            if word == "include":
                yield from self.read(self._included(path, rest, after), after)
            else:
                self._direct(word, rest, place, after)
        if conditions:
            raise LanguageError(conditions[-1].place, "the condition has no #endif")

    def _pass_over(self, path: Path, text: str, place: Place) -> None:
        """Note what a line for C defines or includes, for names that are defined nowhere else."""
        if define := _CONSTANT.match(text):
            with suppress(LanguageError):  # it is C that has to understand it
                body = [self.constants.get(word, word) for word in read_words(define[2], place)]
                self.constants.setdefault(define[1], Word(str(evaluated(body, place)), "NUMBER", place))
        elif include := _HEADER.match(text):
            header = path.parent / f"{include[1]}.x"
            if header not in self._seen and header.is_file():
                self.headers.append(header)
                self._seen.add(header)

    def _conditional(self, word: str, rest: str, place: Place, conditions: list[_Condition]) -> bool:
        """Whether the directive is one of a condition, which it then begins, goes on with or ends."""
        if word in ("if", "ifdef", "ifndef"):
            outer = all(condition.holds for condition in conditions)
            conditions.append(_Condition(place, outer and self._true(word, rest, place), not outer))
        elif word in ("elif", "else", "endif"):
            if not conditions:
                raise LanguageError(place, f"#{word} without #if")
            if word == "endif":
                conditions.pop()
            else:
                conditions[-1].otherwise(word == "else", lambda: self._true("if", rest, place), place)
        else:
            return False
        return True

    def _true(self, word: str, rest: str, place: Place) -> bool:
        if word == "if":
            return holds(
                [*read_words(rest, place)], self.macros, lambda found: self._expanded(found, frozenset()), place
            )
        return (self._name(rest, place) in self.macros) == (word == "ifdef")

    def _direct(self, word: str, rest: str, place: Place, after: Place) -> None:
        if word == "define":
            name = self._name(rest, after)
            start = name.place.column - after.column + len(name)
            if rest[start : start + 1] == "(":
                raise name.error("a macro with parameters is not supported")
            self.macros[name] = [*read_words(rest[start:], after._replace(column=after.column + start))]
        elif word == "undef":
            self.macros.pop(self._name(rest, after), None)
        elif word == "error":
            raise LanguageError(place, f"#error{rest}".rstrip())
        elif word not in _IGNORED:
            raise LanguageError(place, f"unknown directive #{word}")

    def _name(self, rest: str, place: Place) -> Word:
        found = re.match(r"\s*([A-Za-z_]\w*)", rest)
        if not found:
            raise LanguageError(place, "a name is missing")
        return Word(found[1], "NAME", place._replace(column=place.column + found.start(1)))

    def _included(self, path: Path, rest: str, place: Place) -> Path:
        """The file that is included, which is looked for beside the one that includes it."""
        found = _INCLUDE.match(rest)
        if not found:
            raise LanguageError(place, 'the name of the file is missing: #include "FILE"')
        return path.parent / (found[1] or found[2])

    def _expanded(self, found: Iterator[Word], within: frozenset[str]) -> Iterator[Word]:
        """The words with macros replaced; a macro is not replaced within itself."""
        for word in found:
            if word in self.macros and word not in within:
                body = (part.at(word.place) for part in self.macros[word])
                yield from self._expanded(body, within | {word})
            else:
                yield word


class _Condition:
    """One #if, and whether what follows it now is compiled."""

    def __init__(self, place: Place, holds: bool, decided: bool) -> None:
        self.place = place
        self.holds = holds
        self._decided = decided or holds
        self._last = False

    def otherwise(self, last: bool, true: Callable[[], bool], place: Place) -> None:
        """Go on with #elif, whose condition ``true()`` looks at if it matters, or with #else."""
        if self._last:
            raise LanguageError(place, "the condition already has an #else")
        self._last = last
        self.holds = not self._decided and (last or true())
        self._decided = self._decided or self.holds


def _bare(lines: list[str], file: str) -> Iterator[tuple[str, Place]]:
    """The lines with spaces for comments. Those that begin with ``%`` are left as they are."""
    comment: Place | None = None
    for number, line in enumerate(lines, 1):
        text, position = "", 0
        if not comment and line.startswith("%"):
            yield line, Place(file, number, 1)
            continue
        while position < len(line):
            if comment:
                end = line.find("*/", position)
                stop = len(line) if end < 0 else end + 2
                comment = comment if end < 0 else None
                text += " " * (stop - position)
                position = stop
                continue
            found = _COMMENT.search(line, position)
            stop = found.start() if found else len(line)
            text += line[position:stop]
            position = stop
            if found and found[0] == "//":
                break
            if found and found[0] == "/*":
                comment = Place(file, number, found.start() + 1)
                text += "  "
                position += 2
            elif found:
                text += found[0]
                position = found.end()
        yield text, Place(file, number, 1)
    if comment:
        raise LanguageError(comment, "the comment has no end")


def _joined(lines: Iterator[tuple[str, Place]]) -> Iterator[tuple[str, Place]]:
    """The lines; one that ends with a backslash goes on in the next one."""
    held = ""
    start: Place | None = None
    for text, place in lines:
        start = start or place
        held += text
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        yield held, start
        held, start = "", None
    if start:
        yield held, start
