"""`reactor.handlers` is the package ``handlers`` beside this one, under a name that no other project has.

Many projects have a ``handlers.py`` or a package ``handlers`` of their own, and ``import handlers`` finds the
first on ``sys.path``. So this package imports its handlers as `reactor.handlers`, and `Finder` finds them
by their place: in the directory, or the zip file, that this package is in.

Each module exists once. The name by which it is imported first becomes its ``__name__``. Where ``handlers``
reaches the same file, the other name is an alias: ``sys.modules`` maps it to the same module object. The name
``handlers`` is not taken before somebody imports it, because a project's directory may be put on ``sys.path``
later: pytest does so after it has loaded its plugins.

Type checkers read the stubs in ``reactor/handlers/``; there is no code in that directory. The stubs repeat what
``handlers`` has, so that both names are one class to a checker too. (Where that name is the user's, a checker
follows it to the user's module.)
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
else:
    Loader = object  # importlib.abc takes longer to import than all of this package

PLAIN = "handlers"
OURS = f"{__package__}.{PLAIN}"
HOME = os.path.dirname(os.path.dirname(__file__))
"""The directory, or the zip file, that both packages are in."""


class Finder:
    """Finds `OURS` and the aliases, before the other finders on ``sys.meta_path`` are asked.

    It has no state but ``sys.modules``. Locks need no care: an alias waits for the module's own name, never the
    other way round.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of ``name`` if it is `OURS` or an alias, else None (see ``importlib.abc.MetaPathFinder``).

        Raises ``ModuleNotFoundError`` if there is no package `PLAIN` in `HOME`.
        """
        if name == OURS:
            return self._find_ours()
        ours = sys.modules.get(OURS)
        if ours is None or name in sys.modules:  # the latter: importlib.reload()
            return None
        if name == PLAIN:
            found = self._search(PLAIN, None)
            return alias(found, OURS) if found and is_of(ours, found) else None
        return self._find_submodule(name, ours)

    def _find_ours(self) -> ModuleSpec:
        """The spec of the package, which is an alias if the package has been imported as `PLAIN`."""
        found = self._search(OURS, [HOME])
        if found is None or found.submodule_search_locations is None:
            raise ModuleNotFoundError(f"no package {PLAIN!r} beside {__package__!r} in {HOME}", name=OURS)
        plain = sys.modules.get(PLAIN)
        imported = plain is not None and plain.__name__ == PLAIN and is_of(plain, found)
        return alias(found, PLAIN) if imported else found

    def _find_submodule(self, name: str, ours: ModuleType) -> ModuleSpec | None:
        """The spec of ``name`` if it is the other name of a module in the package ``ours``."""
        own = ours.__name__
        other = PLAIN if own == OURS else OURS
        if not name.startswith(f"{other}.") or sys.modules.get(other) is not ours:
            return None
        path = getattr(sys.modules.get(name.rpartition(".")[0]), "__path__", None)
        found = path and self._search(name, path)
        if not found:
            return None
        own_name = own + name.removeprefix(other)
        module = sys.modules.get(own_name)
        # The own name may reach a package of the user's by now, if the program has put one in the place of ours.
        reached = is_of(module, found) if module else sys.modules.get(own) is ours
        return alias(found, own_name) if reached else found

    def _search(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """What the other finders find."""
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            found: ModuleSpec | None = find and find(name, path)
            if found is not None:
                return found
        return None


class AliasLoader(Loader):
    """Gives a module one more name, instead of loading its file again."""

    def __init__(self, own_name: str) -> None:
        self._own_name = own_name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself, imported by its own name."""
        __import__(self._own_name)
        module = sys.modules[self._own_name]
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Put back the module's own spec, which the import system has replaced by that of the alias."""
        module.__spec__ = self._own_spec


def alias(found: ModuleSpec, own_name: str) -> ModuleSpec:
    """The spec ``found``, now with a loader that gives the module ``own_name``."""
    found.loader = AliasLoader(own_name)
    return found


def is_of(module: ModuleType, spec: ModuleSpec) -> bool:
    """Whether ``module`` was loaded from the file that ``spec`` names. (One of the paths may have symbolic links.)"""
    file = getattr(module, "__file__", None)
    if file is None or spec.origin is None:
        return False
    return bool(file == spec.origin or os.path.realpath(file) == os.path.realpath(spec.origin))


# An earlier import of this module, which has gone out of sys.modules, may have left a finder with another HOME.
sys.meta_path[:] = [Finder(), *(finder for finder in sys.meta_path if type(finder).__module__ != __name__)]
