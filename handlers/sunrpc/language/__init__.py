"""The language of ``.x`` files (RFC 4506, section 6; RFC 5531, section 12), compiled to Python.

    python3 -m handlers.sunrpc compile FILE.x [-o FILE.py] [-D NAME=VALUE]

writes a module of dataclasses, enums and type aliases, with a class for each program and version; `load` makes the same
module without a file. ``pip install 'select-reactor[sunrpc]'`` installs the parser; what has been written needs none.

What is compiled beyond the RFCs, as real files use it:

- ``rpcgen``: lines that begin with ``%`` are passed over. ``#include "FILE"`` (looked for beside the file),
  ``#define`` without parameters, ``#undef``, ``#if``, ``#ifdef``, ``#ifndef``, ``#elif``, ``#else``, ``#endif`` and
  ``#error`` are evaluated, with ``RPC_HDR`` defined as in ``rpcgen -h``. Constants may be octal or hexadecimal, and
  names of constants, of members of enums, and of programs, versions and procedures. ``char``, ``short`` and ``long``
  have four bytes. Names of C's headers, such as ``u_int``, ``int32_t``, ``bool_t`` and ``netobj``, are known unless the
  file defines them.
- What only C would know is looked for where C has it from: a constant in ``%#define NAME NUMBER``, and anything in
  ``X.x`` beside the file where it has ``%#include "X.h"``; only what is used is written. ``-D`` defines the rest,
  constants (``-D MAX=64``) and types (``-D 'uint64=unsigned hyper'``).
- libnfs: ``//`` begins a comment.
- Stellar: ``namespace NAME { ... }`` is passed over and what is in it is defined. An enum, struct or union may be
  declared where it is used; without a name it is called after where that is, such as ``Outer_field``.
- ``struct X``, ``union X`` and ``enum X`` name a type X, whichever of these it is. Definitions may stand in any order.

What is refused: macros with parameters, ``opaque`` and ``string`` without a length, and a name defined twice.

A string is a ``str``, opaque data ``bytes``; a pointer is the value or None, and a pointer to what may be None already
is a list of at most one item, which has the same encoding. A union has its discriminant and ``value``. A name that
Python needs itself gets an underscore at its end.

The modules: `words`, `preprocess` and `conditions` read a file, `grammar` makes a `tree` of it, `scope` looks up and
checks names, `generate` writes Python with `names` that it can have, and `errors` say where something is wrong.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from .errors import LanguageError, Place
from .generate import Generator
from .grammar import parse
from .preprocess import Preprocessor
from .scope import PRELUDE, Scope
from .words import read_words

__all__ = ["PACKAGE", "LanguageError", "Place", "load", "translate"]

PACKAGE = "handlers.sunrpc"
"""What a module imports from. Beside a package ``handlers`` of another project, ``python3 -m reactor.handlers.sunrpc``
writes one that imports from ``reactor.handlers.sunrpc``, which is the same."""


def translate(path: str | Path, defines: Mapping[str, str] | None = None, package: str = PACKAGE) -> str:
    """The Python module for the file; ``defines`` are macros, as by ``-D``. A `LanguageError` says what is wrong.

    The module imports `xdr` and `program` from the package.
    """
    try:
        preprocessor = Preprocessor(defines or {})
        own = parse(preprocessor.read(Path(path)))
        others = [definition for header in preprocessor.headers for definition in parse(preprocessor.read(header))]
        others += parse(read_words(PRELUDE, Place("predefined", 1, 1)))
        return Generator(Scope(own, others, preprocessor.constants)).module(Path(path).name, package)
    except RecursionError:
        raise LanguageError(Place(str(path), 1, 1), "definitions, macros or conditions are nested too deeply") from None


def load(path: str | Path, defines: Mapping[str, str] | None = None) -> ModuleType:
    """The module for the file, executed. The same contents give the same module; `sys.modules` keeps it."""
    source = translate(path, defines, __name__.rpartition(".")[0])
    name = f"{Path(path).stem}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module  # before it is executed: dataclasses look for it there
        try:
            exec(compile(source, f"<written from {path}>", "exec"), vars(module))
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
