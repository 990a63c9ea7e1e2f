"""What may import what, what ``import`` loads, that every public name has a docstring, and the size of modules.

The imports are read and not executed, so those in functions and behind conditions are found too.
"""

import inspect
import re
import subprocess
import sys

import pytest

import handlers
import reactor
from handlers import services
from tests import ROOT
from tests.support.sources import imported, sources

IMPURE = {
    "socket", "selectors", "select", "os", "threading", "time", "asyncio", "multiprocessing", "ssl", "signal",
    "subprocess", "concurrent", "posix", "nt", "_socket", "_thread", "_ssl", "_asyncio", "_multiprocessing",
    "importlib", "reactor", "examples", "tests",
}  # fmt: skip
"""What no handler may import: it asks its driver for time, peer and server."""

ON_DEMAND = {
    f"reactor/{name}.py": {"ssl"}
    for name in ("command/certificates", "rows/filters/bindings", "rows/filters/tls", "servers/tls")
}
ON_DEMAND["reactor/rows/filters/dtls.py"] = {"OpenSSL", "OpenSSL.SSL"}
"""What a module that is imported only where it is named needs."""

HEAVY = {"asyncio", "multiprocessing", "ssl", "OpenSSL", "unittest", "pytest", "hypothesis", "examples", "tests"}
"""What ``import reactor`` may not load."""


CONTRACT = {
    "saying",
    "causes",
    "wait",
    "waits",
    "elsewhere",
    "connected",
    "sources",
    "events",
    "first",
    "files",
    "programs",
    "world",
    "handler",
    "states",
    "machine",
    "datagrams",
    "machines",
    "channel",
    "duplicates",
    "filter",
    "base_link",
    "link",
    "packet_filter",
    "packet_link",
    "wire",
    "blocking",
    "refusal",
}
"""The modules of ``handlers`` that are the contract; the others are protocols."""


def offences(source, package, banned):
    """Those of its imports that are banned, or inside of what is banned."""
    return {name for name in imported(source, package) for ban in banned if f"{name}.".startswith(f"{ban}.")}


def all_offences(files, banned):
    found = {path.relative_to(ROOT): offences(path.read_text(), package, banned) for path, package in files}
    return {str(path): names for path, names in found.items() if names}


# What may import what


def test_handlers_are_pure():
    assert len(sources("handlers")) >= 6
    assert all_offences(sources("handlers"), IMPURE) == {}


def test_the_reactor_imports_nothing_heavy():
    files = [(path, package) for path, package in sources("reactor") if "testing" not in package.split(".")]
    assert len(files) >= 10
    assert all_offences(files, HEAVY) == ON_DEMAND


def particular():
    """The modules of ``handlers`` that are protocols."""
    names = {path.stem for path in (ROOT / "handlers").iterdir() if path.suffix == ".py" or path.is_dir()}
    found = {f"handlers.{name}" for name in names if name not in CONTRACT and not name.startswith("__")}
    return found | {f"reactor.{name}" for name in found}


def test_only_the_command_imports_particular_protocols():
    assert "handlers.services" in particular()
    files = [(path, package) for path, package in sources("reactor") if path.name != "__main__.py"]
    offending = all_offences(files, particular())
    assert offending.keys() == {"reactor/servers/rpcbind.py"}  # which is imported only where it is named
    assert all(f"{name}.".startswith("reactor.handlers.sunrpc.") for name in offending["reactor/servers/rpcbind.py"])


def test_only_the_tools_for_tests_import_a_test_library():
    files = sources("reactor/testing")
    plugin = [source for source in files if source[0].match("testing/pytest/plugin.py")]
    assert len(plugin) == 1
    offending = all_offences([source for source in files if source not in plugin], HEAVY - {"hypothesis"})
    asked_for = "peers/tls.py", "probe/command.py", "probe/exchange.py"  # imported only where they are named
    assert offending == {f"reactor/testing/{name}": {"ssl"} for name in asked_for}
    assert all_offences(plugin, HEAVY - {"pytest"}) == {}


@pytest.mark.parametrize(
    ("source", "package", "banned", "found"),
    [
        ("import socket", "handlers", IMPURE, {"socket"}),
        ("import socket as s, io", "handlers", IMPURE, {"socket"}),
        ("import os.path", "handlers", IMPURE, {"os.path"}),
        ("from os import path", "handlers", IMPURE, {"os", "os.path"}),
        ("from time import monotonic as now", "handlers", IMPURE, {"time", "time.monotonic"}),
        ("def state(self):\n    import select", "handlers", IMPURE, {"select"}),
        ("if typing:\n    from reactor.table import Row", "handlers", IMPURE, {"reactor.table", "reactor.table.Row"}),
        ("try:\n    import ssl\nexcept ImportError:\n    pass", "handlers", IMPURE, {"ssl"}),
        ("__import__('so' + 'cket')", "handlers", IMPURE, {"importlib"}),
        ("from importlib import import_module", "handlers", IMPURE, {"importlib", "importlib.import_module"}),
        ("from concurrent import futures", "handlers", IMPURE, {"concurrent", "concurrent.futures"}),
        ("from .. import reactor", "handlers.http", {"handlers.reactor"}, {"handlers.reactor"}),
        ("from handlers import services", "reactor", {"handlers.services"}, {"handlers.services"}),
        ("from . import services", "handlers", {"handlers.services"}, {"handlers.services"}),
        ("from .. import services", "handlers.http", {"handlers.services"}, {"handlers.services"}),
        ("import handlers.services", "reactor", {"handlers.services"}, {"handlers.services"}),
        ("import selectors, socketserver, timeit", "handlers", {"select", "socket", "time"}, set()),
        ("from handlers import Until\nfrom .time import now\nreactor = 'import os'", "handlers", IMPURE, set()),
    ],
)  # fmt: skip
def test_banned_imports_are_found_and_no_others(source, package, banned, found):
    assert offences(source, package, banned) == found


# What an import loads


def brought_in(statement, banned):
    """Those of the banned modules that the statement loads in a fresh interpreter.

    Modules that are loaded before are forgotten first, so that an import of them is found too.
    """
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"banned = {sorted(banned)!r}\n"
        "for name in banned: sys.modules.pop(name, None)\n"
        f"{statement}\n"
        "print(*(name for name in banned if name in sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


def test_handlers_bring_in_nothing_impure():
    inner = {"importlib", "_thread"}  # the first is always loaded; `collections` loads the second
    assert brought_in("import handlers, handlers.services, handlers.blocking.buffered", IMPURE - inner) == set()


def test_the_reactor_brings_in_nothing_heavy():
    assert brought_in("import reactor", HEAVY | particular()) == set()
    assert brought_in("import reactor; reactor.Reactor().close()", HEAVY | particular()) == set()


def test_an_import_that_is_brought_in_is_found():
    assert brought_in("import socketserver", IMPURE) >= {"socket", "selectors", "os", "threading", "time"}
    assert brought_in("import handlers.services", {"handlers.services"}) == {"handlers.services"}


# Docstrings


def says(kind, part):
    """Whether the method, or one that it overrides, has a docstring."""
    return any(vars(base)[part].__doc__ for base in kind.__mro__ if part in vars(base))


def undocumented(module):
    """The public names of a module, and the public methods of its public classes, that have no docstring."""
    home = module.__name__.partition(".")[0]
    for name in module.__all__:
        thing = getattr(module, name)
        if not thing.__doc__:
            yield f"{module.__name__}.{name}"
        for kind in getattr(thing, "__mro__", ()):
            own = kind.__module__.partition(".")[0] == home
            for part, member in vars(kind).items() if own else ():
                method = inspect.isroutine(member) or isinstance(member, (property, staticmethod, classmethod))
                if method and not part.startswith("_") and not says(kind, part):
                    yield f"{kind.__module__}.{kind.__name__}.{part}"


@pytest.mark.parametrize("module", [handlers, reactor])
def test_every_public_name_has_a_docstring(module):
    assert sorted(set(undocumented(module))) == []


def test_every_service_has_a_docstring():
    own = {
        name: thing for name, thing in vars(services).items() if getattr(thing, "__module__", "") == services.__name__
    }
    assert {"Echo", "CharGenDatagram", "daytime", "time32"} <= own.keys()
    assert [name for name, thing in own.items() if not thing.__doc__] == []


def test_a_name_without_a_docstring_is_found():
    module = type(sys)("silent")
    exec(
        "class Silent:\n"
        "    def method(self): pass\n"
        "    @property\n"
        "    def size(self): pass\n"
        "    @classmethod\n"
        "    def make(cls): pass\n"
        "    def _private(self): pass\n"
        "class Telling:\n"
        "    'Tells.'\n"
        "    def method(self): 'Tells.'\n"
        "class Derived(Telling, Silent):\n"
        "    'Tells.'\n"
        "    def method(self): pass\n"
        "def function(): pass\n"
        "__all__ = ['Silent', 'Telling', 'Derived', 'function']\n",
        vars(module),
    )
    silent = {f"silent.Silent{part}" for part in ("", ".method", ".size", ".make")}
    assert set(undocumented(module)) == silent | {"silent.function"}


# Size


def test_every_module_has_a_docstring():
    files = [path for folder in ("handlers", "reactor", "examples", "tests") for path, _ in sources(folder)]
    assert len(files) > 20
    begins = re.compile(r'''(\s*#.*\n|\s*\n)*r?"""''')
    assert [path for path in files if (text := path.read_text()) and not begins.match(text)] == []


def test_no_module_is_too_long():
    files = [path for folder in ("handlers", "reactor", "examples") for path, _ in sources(folder)]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in files}
    compiled = '"""Written from '  # what the compiler of .x files has written
    lines = {name: len(text.splitlines()) for name, text in texts.items() if not text.startswith(compiled)}
    assert lines["handlers/machine.py"] > 100
    assert {name: count for name, count in lines.items() if count > 500} == {}


# The tools for tests


DRAWING = {"inputs", "costs", "check"}
"""The rooms of ``reactor.testing`` that use Hypothesis."""


def test_only_the_rooms_that_draw_import_hypothesis():
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "reactor" / "testing").rglob("[a-z]*.py")]
    others = [".".join(path.parts) for path in paths if path.parent.name not in DRAWING]
    assert len(others) > 20
    assert _imported(", ".join(others), "hypothesis") == []


WITHOUT = """
import sys
sys.modules["hypothesis"] = None
import handlers.services, reactor.testing
from reactor.testing.running.subject import Subject
known = ", ".join(reactor.testing.__all__)
[names] = [line for line in Subject(handlers.services.Echo).imports(known) if line.startswith("from reactor.testing ")]
exec(names)
print(names)
"""


def test_what_a_printed_test_imports_needs_no_hypothesis():
    said = subprocess.check_output([sys.executable, "-c", WITHOUT], cwd=ROOT, text=True, timeout=60)
    assert {"END,", "changed,", "copied,", "memory,", "seconds,", "slowdown,", "work"} <= set(said.split())


def test_the_reactor_imports_no_tool_for_tests():
    assert _imported("reactor", "reactor.testing", "hypothesis") == []


def _imported(modules, *names):
    """Which of ``names`` an import of ``modules`` loads."""
    script = f"import sys, {modules}; print(*[name for name in {names!r} if name in sys.modules])"
    return subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True, timeout=60).split()
