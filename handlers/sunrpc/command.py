"""``python3 -m handlers.sunrpc compile FILE.x [-o FILE.py] [-D NAME=VALUE]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .language import PACKAGE, LanguageError, translate


def run_command(arguments: Sequence[str] | None = None, package: str = PACKAGE) -> int:
    """Run the command with ``arguments``, by default those of the process. Returns the exit status.

    The modules that it writes import from ``package``.
    """
    parser = argparse.ArgumentParser(prog="python3 -m handlers.sunrpc", description="ONC RPC (RFC 5531)")
    commands = parser.add_subparsers(required=True)
    compiling = commands.add_parser("compile", help="write the Python module for a .x file")
    compiling.add_argument("file", metavar="FILE.x")
    compiling.add_argument("-o", dest="output", metavar="FILE.py", help="default: standard output")
    compiling.add_argument(
        "-D", dest="defines", metavar="NAME=VALUE", action="append", default=[], help="define a macro; default value: 1"
    )
    given = parser.parse_args(arguments)
    pairs = (define.partition("=") for define in given.defines)
    try:
        text = translate(given.file, {name: value if equal else "1" for name, equal, value in pairs}, package)
        if given.output:
            Path(given.output).write_text(text)
        else:
            sys.stdout.write(text)
    except (LanguageError, ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
