"""The handler classes of a package."""

import importlib
import pkgutil
import socketserver

import handlers
from handlers import BaseRequestHandler, DatagramHandler, Handler, StreamHandler
from reactor.testing.running.subject import Subject


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


BASES = Handler, StreamHandler, DatagramHandler, BaseRequestHandler, socketserver.BaseRequestHandler


def classes_of(package):
    """Every handler class of the package, and of all packages in it; blocking ones too."""
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return {
        kind for module in modules for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, BASES) and kind.__module__ == module.__name__
    }  # fmt: skip


def classes_run(corpus):
    """The classes whose code runs for a corpus of `Right`: the handlers, their versions, and the bases of these."""
    kinds = [Subject(right.kind).handler for right in corpus] + [Subject(right.kind).kind for right in corpus]
    kinds += [version for kind in kinds for version in getattr(kind, "versions", ())]
    return classes_above(kinds)


def classes_above(kinds):
    """The classes and all their bases."""
    return {base for kind in kinds for base in kind.__mro__}
