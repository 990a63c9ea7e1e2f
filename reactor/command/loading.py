"""The handler class that the command is to serve: ``MODULE:CLASS`` or ``wsgi:MODULE:APP``."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from inspect import signature
from typing import TYPE_CHECKING

from .. import handlers
from ..servers.kinds import class_of
from .errors import Wrong

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

DEFAULT_CLASS = "reactor.handlers.services:Echo"  # not handlers.services: the user may have another package handlers


def load(name: str) -> Any:
    """The handler class that ``name`` (``MODULE:CLASS`` or ``wsgi:MODULE:APP``) means. Raises `Wrong`."""
    if name.startswith("wsgi:") and name.count(":") == 2:
        return load_application(name)
    module_name, _, class_name = name.partition(":")
    if not class_name or not is_module_name(module_name):
        raise Wrong(f"{name}: write MODULE:CLASS with the module's name for import, such as {DEFAULT_CLASS}")
    module = load_module(module_name)
    kind = getattr(module, class_name, None)
    if is_handler(kind):
        return kind
    problem = f"{module_name} has no {class_name}" if kind is None else f"{name} is not a handler class"
    known = sorted(
        key for key, value in vars(module).items() if is_handler(value) and value.__module__ == module.__name__
    )
    remedy = f"its handlers are {', '.join(known)}" if known else "derive a class from reactor.handlers.StreamHandler"
    raise Wrong(f"{problem}; {remedy}")


def load_application(name: str) -> Any:
    """The handler class for the WSGI application that ``name`` (``wsgi:MODULE:APP``) means. Raises `Wrong`."""
    _, module_name, app_name = name.split(":")
    if not app_name.isidentifier() or not is_module_name(module_name):
        raise Wrong(f"{name}: write wsgi:MODULE:APP with the module's name for import, such as wsgi:site:application")
    application = getattr(load_module(module_name), app_name, None)
    if not callable(application):
        problem = f"has no {app_name}" if application is None else f"has a {app_name} that can't be called"
        raise Wrong(f"{module_name} {problem}; name the WSGI application (PEP 3333)")
    return load_module("reactor.handlers.http.wsgi").handler_of(application)


def is_module_name(name: str) -> bool:
    """Whether it is a name for ``import``, dotted or not."""
    return all(part.isidentifier() for part in name.split("."))


def load_module(name: str) -> ModuleType:
    """Import the module, from the current directory first. Raises `Wrong`."""
    here = os.getcwd()
    if here not in sys.path:  # Python was started with -P
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise Wrong(
                f"no module named {error.name} in {here} or on sys.path; write the name with which Python imports it"
            ) from None
        steps = [step for step in traceback.extract_tb(error.__traceback__) if step.filename[0] != "<"]
        files = [step for step in steps if step.filename not in (__file__, importlib.__file__)]
        where = f" ({files[-1].filename}, line {files[-1].lineno})" if files else ""
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise Wrong(f"{name} can't be imported: {text}{where}; correct it and start again") from None


def is_handler(kind: Any) -> bool:
    """Whether a server can serve it: a state machine, or a blocking handler, also one of ``socketserver``.

    It may be the class, a `functools.partial` of it, or a function that is declared to make one.
    """
    made = class_of(kind)
    handle = getattr(made, "handle", None)
    if not isinstance(made, type) or not callable(handle):
        return False
    if issubclass(made, handlers.Handler):
        return issubclass(made, (handlers.StreamHandler, handlers.DatagramHandler))
    is_one = takes(kind, "request", "client_address", "server")
    return is_one and (takes(handle, "self") or takes(handle))  # without self: a static method, or one of the class


def takes(function: Any, *arguments: str) -> bool:
    """Whether it can be called with so many arguments; true where that is not known, as for some classes in C.

    The constructors and ``handle()`` of what is called a handler and handles something else, such as
    `logging.FileHandler`, take other arguments.
    """
    try:
        signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        pass
    return True
