"""Plants a mutation in memory: in a process that has imported the source, or in one that is going to.

A function runs the code object that it refers to. So a mutation inside a function is planted by giving the functions of
the module the code of the mutated source: nothing is imported again, which takes longer than most tests. What a module
or a class computes when it is imported has gone into other modules by then; such a mutation needs a new process, in
which the loader compiles the mutated source (`startup.sitecustomize`). So do the processes that a test starts.
"""

from __future__ import annotations

import gc
import json
import os
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

from tests import ROOT
from tests.mutations.startup import sitecustomize

STARTUP = str(Path(sitecustomize.__file__).parent)


class Mutant(NamedTuple):
    """A module with a mutation."""

    path: str
    """The path of the module in the checkout."""
    source: str
    """Its whole text, with the mutation."""


class NotInPlaceError(Exception):
    """The mutation changes what a module or a class computes when it is imported, or the variables of a closure."""


def functions_by_path():
    """The functions of the source that exist in this process, by the path of their module in the checkout."""
    found = {}
    roots = tuple(f"{ROOT / folder}{os.sep}" for folder in ("handlers", "reactor"))
    for function in gc.get_objects():
        if type(function) is FunctionType and function.__code__.co_filename.startswith(roots):
            path = Path(function.__code__.co_filename).relative_to(ROOT).as_posix()
            found.setdefault(path, []).append(function)
    return found


def environment(mutant, file):
    """What a new process needs in its environment to have the mutant planted; writes the mutant to ``file``."""
    Path(file).write_text(json.dumps([str(ROOT / mutant.path), mutant.source]))
    path = [STARTUP, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {sitecustomize.MUTANT: str(file), "PYTHONPATH": os.pathsep.join(path)}


def plant(mutant, functions):
    """Give the functions of the mutated module their new code; ``functions`` is what `functions_by_path` has returned.

    A module that is imported later is compiled from the mutated source. Raises `NotInPlaceError`.
    """
    path = ROOT / mutant.path
    before, after = (compile(source, path, "exec", dont_inherit=True) for source in (path.read_text(), mutant.source))
    changed = dict(_changed(before, after))
    for function in functions.get(mutant.path, ()):
        if function.__code__ in changed:
            try:
                function.__code__ = changed[function.__code__]
            except ValueError as error:
                raise NotInPlaceError(str(error)) from error
    sitecustomize.compile_instead(str(path), mutant.source)


def _changed(before, after):
    """The code objects of functions that differ: pairs of the old one and the new one."""
    if not before.co_flags & CO_OPTIMIZED:  # the body of a module or of a class: it has run already
        if _own(before) != _own(after):
            raise NotInPlaceError(f"{before.co_name} runs when it is imported")
    elif before != after:
        yield before, after
    for old, new in zip(_inner(before), _inner(after), strict=False):
        yield from _changed(old, new)


def _inner(code):
    return [const for const in code.co_consts if isinstance(const, CodeType)]


def _own(code):
    """What the code does by itself, without the code of the functions and classes in it."""
    consts = [const.co_name if isinstance(const, CodeType) else (type(const), const) for const in code.co_consts]
    return code.co_code, code.co_names, consts
