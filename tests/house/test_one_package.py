"""`reactor.handlers` and ``handlers`` are one package: whichever name is imported first, no module exists twice.

Each test runs a program in an interpreter of its own, because what an import does depends on what has been
imported before. A package of the user's is in the way in `tests.house.test_beside_user_handlers`.
"""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.orders import ORDERS, UNIQUE
from tests.house.stubs import stubs, written

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "handlers").rglob("*.py")
)

HEAD = (
    UNIQUE
    + f"""
sys.path.insert(0, sys.argv[1])

def check():
    for name in {MODULES!r}:
        plain, ours = import_module(name), import_module("reactor." + name)
        assert plain is ours, name
        assert plain.__name__ in (name, "reactor." + name), plain
        assert (plain.__spec__.name, plain.__spec__.loader) == (plain.__name__, plain.__loader__), plain.__spec__
        parent, _, child = name.rpartition(".")
        if parent:
            assert getattr(import_module(parent), child) is plain, name
    each_module_exists_once()
"""
)


def run(program, *arguments, place=ROOT):
    """What the program prints; nothing is on its path but the standard library and ``place``."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", HEAD + program, str(place), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


EVERY_ORDER = ORDERS + "in_every_order(sys.argv[2:], check)"


@pytest.mark.slow
def test_no_module_exists_twice_in_whatever_order_the_names_are_imported():
    names = "reactor", "reactor.handlers", "reactor.handlers.services", "handlers", "handlers.services"
    assert run(EVERY_ORDER, *names) == "passed\n" * 120


@pytest.mark.slow
def test_no_module_exists_twice_where_both_packages_are_in_a_zip_file(tmp_path):
    place = tmp_path / "both.zip"
    with zipfile.ZipFile(place, "w") as file:
        for folder in ("handlers", "reactor"):
            for path in (ROOT / folder).rglob("*.py"):
                file.write(path, path.relative_to(ROOT))
    names = "handlers.services", "reactor.handlers.services"
    assert run(EVERY_ORDER, *names, place=place) == "passed\n" * 2


def test_no_module_exists_twice_where_two_paths_lead_to_one_directory(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(ROOT)
    program = """
import handlers
sys.path[:] = [sys.argv[2], *sys.path[1:]]
import reactor
assert reactor.__file__.startswith(sys.argv[2])
assert reactor.handlers is handlers
"""
    run(program, link)


def test_nothing_takes_the_name_handlers_before_it_is_imported():
    assert run("import reactor, reactor.handlers.services; print('handlers' in sys.modules)") == "False\n"


@pytest.mark.parametrize("first", ["handlers", "reactor"])
def test_classes_are_pickled_under_either_name(first):
    program = """
import pickle
import_module(sys.argv[2])
from handlers import Until
from reactor.handlers.services import Echo
assert pickle.loads(pickle.dumps(Echo)) is Echo
assert pickle.loads(pickle.dumps(Until(b"a"))) == Until(b"a")
for module in "handlers", "reactor.handlers":
    assert pickle.loads(f"c{module}.services\\nEcho\\n.".encode()) is Echo  # as another process has pickled it
"""
    run(program, first)


@pytest.mark.parametrize("first", ["handlers", "reactor"])
def test_the_source_of_a_class_is_found(first):
    program = """
import inspect
import_module(sys.argv[2])
from handlers import services
from reactor.handlers.services import Echo
assert inspect.getsource(Echo).startswith("class Echo("), inspect.getsource(Echo)
assert inspect.getmodule(Echo) is services
assert inspect.getsource(services) in open(services.__file__).read()
"""
    run(program, first)


@pytest.mark.parametrize("first", ["handlers", "reactor"])
def test_a_module_is_reloaded_in_place(first):
    program = """
from importlib import reload
import_module(sys.argv[2])
check()
import handlers.services
for module in handlers, handlers.services:
    before = vars(module)["__dir__" if module is handlers else "Echo"]
    assert reload(module) is module
    assert vars(module)["__dir__" if module is handlers else "Echo"] is not before
check()
"""
    run(program, first)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["handlers", "reactor"])
def test_both_packages_can_be_imported_anew(first):
    program = """
import_module(sys.argv[2])
check()
import reactor.handlers
before, finders = reactor.handlers, len(sys.meta_path)
for name in [name for name in sys.modules if name.partition(".")[0] in ("handlers", "reactor")]:
    del sys.modules[name]
import_module(sys.argv[2])
check()
import reactor.handlers
assert reactor.handlers is not before
assert len(sys.meta_path) == finders
"""
    run(program, first)


@pytest.mark.parametrize("first", ["handlers", "reactor"])
def test_a_name_that_was_deleted_from_sys_modules_names_the_same_package_again(first):
    program = """
import_module(sys.argv[2])
check()
import handlers, reactor.handlers
before = handlers
for name in "handlers", "handlers.services":
    del sys.modules[name]
import handlers
assert handlers is before
"""
    run(program, first)


def test_what_a_program_puts_in_the_place_of_handlers_is_none_of_ours(tmp_path):
    """It may do so after ours has been imported under that name."""
    program = """
import handlers, reactor.handlers
ours = handlers
del sys.modules["handlers"]
sys.path.insert(0, sys.argv[2])
import handlers, handlers.services, reactor.handlers.services
assert handlers.MARK == handlers.services.MARK == "mine"
assert reactor.handlers is ours
assert issubclass(reactor.handlers.services.Echo, ours.StreamHandler)
each_module_exists_once()
"""
    (tmp_path / "handlers").mkdir()
    for name in "__init__", "services":
        (tmp_path / "handlers" / f"{name}.py").write_text("MARK = 'mine'")
    run(program, tmp_path)


@pytest.mark.parametrize("name", ["handlers.nope", "reactor.handlers.nope", "reactor.handlers.services.nope"])
@pytest.mark.parametrize("first", ["handlers", "reactor"])
def test_a_module_that_does_not_exist_is_reported_by_the_name_that_was_asked_for(first, name):
    program = """
import_module(sys.argv[2])
import handlers, reactor
try:
    import_module(sys.argv[3])
except ModuleNotFoundError as error:
    assert error.name == sys.argv[3], error
    assert sys.argv[3] in str(error)
else:
    raise AssertionError
"""
    run(program, first, name)


def test_an_error_in_a_module_leaves_neither_name(tmp_path):
    program = """
import handlers, reactor.handlers
handlers.__path__.append(sys.argv[2])
for name in "reactor.handlers.faulty", "handlers.faulty":
    try:
        import_module(name)
    except ZeroDivisionError:
        assert "handlers.faulty" not in sys.modules
        assert "reactor.handlers.faulty" not in sys.modules
    else:
        raise AssertionError
"""
    (tmp_path / "faulty.py").write_text("1 / 0\n")
    run(program, tmp_path)


def test_threads_that_import_at_one_time_by_either_name_get_one_module(tmp_path):
    program = """
import threading
import_module(sys.argv[3])
import handlers, reactor
handlers.__path__.append(sys.argv[2])
found, together = [], threading.Barrier(8)

def load(name):
    together.wait()
    found.append(import_module(name).READY)

names = ["handlers.slow", "reactor.handlers.slow"] * 4
threads = [threading.Thread(target=load, args=[name]) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 8 and len(set(map(id, found))) == 1, found
"""
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.1)\nREADY = object()\n")
    for first in "handlers", "reactor":
        run(program, tmp_path, first)


def test_a_reactor_without_its_handlers_says_what_is_missing(tmp_path):
    (tmp_path / "reactor").symlink_to(ROOT / "reactor")
    (tmp_path / "handlers.py").write_text("")
    program = """
try:
    from reactor import Reactor
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(program, place=tmp_path) == f"no package 'handlers' beside 'reactor' in {tmp_path}\n"


def absolute(source):
    """The modules that the source imports by an absolute name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["handlers", "reactor"])
def test_neither_package_imports_handlers_by_a_name_that_may_be_the_users(folder):
    found = {path: set(absolute(path.read_text())) for path in (ROOT / folder).rglob("*.py")}
    assert len(found) > 6
    assert {path: names for path, names in found.items() if {n for n in names if n.split(".")[0] == "handlers"}} == {}


def test_type_checkers_have_a_stub_for_each_module():
    assert written() == stubs(), "python3 -m tests.house.stubs writes them"
