"""The source of the project, and the imports in it."""

import ast
from functools import cache

from tests import ROOT


def sources(folder):
    """Every source below the folder, with the package that it is in."""
    return [(path, ".".join(path.parent.relative_to(ROOT).parts)) for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def imported(source, package):
    """The modules that the source imports anywhere, by their absolute names.

    ``package`` is the package of the source. In ``from a import b``, ``b`` may be a module, so both ``a`` and ``a.b``
    are returned. An import by a computed name is returned as ``importlib``.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            names.add("importlib")
    return frozenset(names)
