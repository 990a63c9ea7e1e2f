"""Reads which modules of the project each module imports: at run time (inside functions too), or for a checker only."""

import ast
from graphlib import CycleError, TopologicalSorter

from tests import ROOT


def modules(*folders):
    """The modules below the folders: ``{name: path}``."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source, name, is_package, known):
    """Those of the ``known`` modules that the source of the module ``name`` imports, in any way."""
    at_run_time, for_checkers = split_imports(source, name, is_package, known)
    return at_run_time | for_checkers


def split_imports(source, name, is_package, known):
    """The ``known`` modules that are imported at run time, and those below ``if TYPE_CHECKING``.

    ``reactor.handlers`` is an alias of ``handlers``, so its modules count as those of ``handlers``.
    """
    tree = ast.parse(source)
    checked = {
        id(node) for test in ast.walk(tree) if isinstance(test, ast.If) and _is_type_checking(test.test)
        for statement in test.body for node in ast.walk(statement)
    }  # fmt: skip
    found = set(), set()
    for node in ast.walk(tree):
        found[id(node) in checked].update(_imported(node, name, is_package, known))
    return found[0] & known, found[1] & known


def _is_type_checking(test):
    return isinstance(test, (ast.Name, ast.Attribute)) and ast.unparse(test).endswith("TYPE_CHECKING")


def _imported(node, name, is_package, known):
    if isinstance(node, ast.Import):
        return {_unaliased(alias.name) for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    parts = name.split(".")
    above = parts[: len(parts) - node.level + is_package] if node.level else []
    module = ".".join([*above, *([node.module] if node.module else [])])
    submodules = {_unaliased(f"{module}.{alias.name}") for alias in node.names} & known
    return submodules or {_unaliased(module)}


def _unaliased(module):
    return module.removeprefix("reactor.") if f"{module}.".startswith("reactor.handlers.") else module


def circle(edges):
    """The modules of a circle of imports; nothing if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return None
