"""The options of the command: from its command line, and from the file that ``--options FILE`` names.

The lines of the file are ``NAME = VALUE``, with the names of the command line without the dashes, and ``handler``. A
value is the rest of the line, so it needs no quotes; an option that takes no value is its name alone. A line that
begins with ``#`` is a comment. What the command line says wins.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .errors import Wrong

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

POSITIONAL = "handler"
NOT_IN_FILE = ("options",)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    where = ""
    """The place in a file of what is being parsed."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {self.where}{message} (see --help)\n")


def parse(parser: Parser, command: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the arguments, and of the file that they name.

    ``command`` is the parser below ``parser`` that has the options. Exits at an error in an option, wherever it is.
    Raises `Wrong` for a file that can't be read.
    """
    options = parser.parse_args(arguments)
    if options.options is None:
        return options
    found = read(command, options.options, [name for name in vars(options) if name not in NOT_IN_FILE])
    for name in [name for name, value in found.items() if isinstance(value, list) and vars(options)[name]]:
        del found[name]  # argparse would append to it what the command line has
    command.set_defaults(**found)
    return parser.parse_args(arguments)


def read(command: Parser, file: str, names: Sequence[str]) -> dict[str, Any]:
    """The options that the file has, as attributes of a namespace; ``names`` are those that it may have."""
    found: dict[str, Any] = {}
    for number, line in enumerate(_lines(file), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            command.where = f"{file}, line {number}: "
            name, value = _option(command, line, names)
            if isinstance(value, list):
                value = [*found.get(name, []), *value]
            elif name in found:
                command.error(f"{name} is there a second time, and it has one value; remove one of the lines")
            found[name] = value
    command.where = ""
    return found


def _option(command: Parser, line: str, names: Sequence[str]) -> tuple[str, Any]:
    """The attribute that a line means, and its value."""
    spelling, separator, text = (part.strip() for part in line.partition("="))
    name = spelling.replace("-", "_")
    if name not in names:
        known = ", ".join(name.replace("_", "-") for name in names)
        command.error(f"{spelling!r} is no option; the options of a file are {known}")
    is_positional = name == POSITIONAL
    if not text and (separator or is_positional):
        command.error(f"{spelling} has no value; write {spelling} = VALUE, or remove the line")
    arguments = ["--", text] if is_positional else [f"--{spelling}{separator}{text}"]
    return name, getattr(command.parse_args(arguments), name)


def _lines(file: str) -> list[str]:
    """The lines of the file. Raises `Wrong`."""
    try:
        with open(file, encoding="utf-8-sig") as stream:
            return stream.read().split("\n")
    except UnicodeDecodeError:
        problem = "it is not UTF-8; save it as UTF-8"
    except (OSError, ValueError) as error:
        problem = f"{getattr(error, 'strerror', None) or error}; name a file whose lines are NAME = VALUE"
    raise Wrong(f"--options {file}: {problem}")
