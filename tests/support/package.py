"""The handlers of the package `handlers`."""

import importlib
import pkgutil

import handlers
from handlers import Handler


def handlers_here():
    """Every handler class of the package ``handlers`` that is no base class of another one there."""
    names = [f"handlers.{module.name}" for module in pkgutil.iter_modules(handlers.__path__)]
    modules = [importlib.import_module(name) for name in names]
    kinds = [(module, kind) for module in modules for kind in vars(module).values()]
    found = [
        kind for module, kind in kinds
        if isinstance(kind, type) and issubclass(kind, Handler) and kind.__module__ == module.__name__
        and kind.handle is not Handler.handle and not kind.__name__.startswith("_")
    ]  # fmt: skip
    return [kind for kind in found if not any(kind in other.__mro__[1:] for other in found)]
