"""The package works in a project that has a ``handlers.py``, or a package ``handlers``, of its own.

Each test runs from a checkout and from a wheel, in a process of its own and with an empty environment.
"""

import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.house.orders import ORDERS, UNIQUE
from tests.house.stubs import stubs

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60  # seconds that anything may take before it is found to hang

MINE = "MARK = 'mine'\nPREFIX = b'> '\n"
PROJECTS = {
    "module": {"handlers.py": MINE},
    "package": {"handlers/__init__.py": MINE, "handlers/services.py": MINE},
}
APP = """
import handlers
from reactor.handlers import StreamHandler, Until
from reactor.handlers.services import Echo


class Upper(StreamHandler):
    async def handle(self):
        line = await Until(b"\\n", limit=80)
        self.send(handlers.PREFIX + line.upper())


class Same(Echo):
    pass
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from a copy of the checkout: a build writes beside the sources."""
    source, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("handlers", "reactor"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", place, source)
    [file] = place.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The directory in which the wheel is installed."""
    place = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--target", place, wheel)
    return place


def pip(command, *arguments):
    """Run pip, which reads neither a registry nor a configuration."""
    options = ["--isolated", "--disable-pip-version-check", "--quiet", "--no-index", "--no-cache-dir"]
    done = subprocess.run(
        [sys.executable, "-I", "-m", "pip", command, *options, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.fixture(params=["checkout", pytest.param("wheel", marks=pytest.mark.slow)])
def place(request):
    """The directory that has both packages."""
    return ROOT if request.param == "checkout" else request.getfixturevalue("installed")


@pytest.fixture(params=PROJECTS)
def project(request, tmp_path):
    """The directory of a project with handlers of its own."""
    folder = tmp_path / "project"
    for name, text in {**PROJECTS[request.param], "app.py": APP}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


# What is imported

CHECK = (
    UNIQUE
    + """
def check():
    place = sys.argv[1]
    import handlers, reactor, reactor.handlers, reactor.handlers.services
    assert handlers.MARK == "mine", handlers
    if hasattr(handlers, "__path__"):
        assert import_module("handlers.services").MARK == "mine"
    for module in reactor, reactor.handlers, reactor.handlers.services:
        assert module.__file__.startswith(place), module
    from reactor import SelectTCPServer, StreamRequestHandler
    from reactor.handlers import StreamHandler
    assert StreamRequestHandler is reactor.handlers.StreamRequestHandler
    assert issubclass(reactor.handlers.services.Echo, StreamHandler)
    each_module_exists_once()
"""
)

EVERY_ORDER = (
    CHECK
    + ORDERS
    + """
names = ["handlers.services"] if os.path.isdir(sys.argv[2] + "/handlers") else ["handlers"]
in_every_order([*names, "app", "reactor", "reactor.handlers.services"], check)
"""
)


def run(*arguments, cwd, **environment):
    """What Python prints that is run with the arguments, in the directory ``cwd``."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env={key: str(value) for key, value in environment.items()},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_names_are_imported_in_any_order_from_the_current_directory(place, project):
    assert run("-c", EVERY_ORDER, place, project, cwd=project, PYTHONPATH=place) == "passed\n" * 24


@pytest.mark.slow
def test_names_are_imported_in_any_order_where_the_users_come_first_on_the_path(place, project, tmp_path):
    program = "import sys; sys.path[:0] = sys.argv[2], sys.argv[1]\n" + EVERY_ORDER
    assert run("-I", "-c", program, place, project, cwd=tmp_path) == "passed\n" * 24


LATER = """
sys.path.insert(0, sys.argv[1])
import reactor.handlers.services
sys.path.insert(0, sys.argv[2])
check()
"""


@pytest.mark.slow
def test_the_users_directory_may_come_onto_the_path_later(place, project, tmp_path):
    run("-I", "-c", CHECK + LATER, place, project, cwd=tmp_path)


@pytest.mark.slow
def test_the_users_module_may_be_the_program_itself(place, tmp_path):
    program = "from reactor.handlers.services import Echo\nimport handlers\nprint(handlers.__file__ == __file__)\n"
    (tmp_path / "handlers.py").write_text(program)
    assert run(tmp_path / "handlers.py", cwd=tmp_path, PYTHONPATH=place).splitlines() == ["True", "True"]


def test_the_users_module_may_import_ours(place, tmp_path):
    (tmp_path / "handlers.py").write_text(f"from reactor.handlers import StreamHandler\nimport reactor\n{MINE}")
    program = "import handlers\nassert issubclass(handlers.StreamHandler, handlers.reactor.handlers.Handler)\n"
    run("-c", CHECK + program + "check()", place, cwd=tmp_path, PYTHONPATH=place)


def test_a_module_without_a_file_may_be_called_handlers(place, tmp_path):
    program = (
        "import types\nsys.modules['handlers'] = types.ModuleType('handlers')\nhandlers = sys.modules['handlers']\n"
    )
    run("-c", CHECK + program + "handlers.MARK = 'mine'\ncheck()", place, cwd=tmp_path, PYTHONPATH=place)


def test_without_one_in_the_way_both_names_are_ours(place, tmp_path):
    program = "import reactor, handlers.services\nassert handlers is reactor.handlers\nprint(handlers.__file__)"
    assert run("-c", program, cwd=tmp_path, PYTHONPATH=place) == f"{place / 'handlers' / '__init__.py'}\n"


# The command

MODES = ("select", "sync", "fork", "thread")
ISOLATED = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('reactor', None, '__main__', True)"


@contextmanager
def serving(*arguments, cwd, **environment):
    """The port of the command, which must end in order when it is told to."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments), "--bind", "tcp://127.0.0.1:0"], cwd=cwd,
        env={key: str(value) for key, value in environment.items()}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            line = process.stderr.readline()
            assert line.startswith("listening on tcp://127.0.0.1:"), line + process.stderr.read()
            yield int(line.split()[2].rpartition(":")[2])
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=PATIENCE)
            assert (process.returncode, rest) == (0, "")
        finally:
            process.kill()


def ask(port, data):
    """What the server answers to ``data``."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


@pytest.mark.parametrize("mode", [MODES[0], *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES[1:])])
def test_the_command_serves_the_users_handler(place, project, mode):
    with serving("-m", "reactor", "serve", "app:Upper", "--mode", mode, cwd=project, PYTHONPATH=place) as port:
        assert ask(port, b"abc\n") == b"> ABC\n"


@pytest.mark.slow
@pytest.mark.parametrize("handler", [[], ["reactor.handlers.services:Echo"], ["app:Same"]], ids=" ".join)
def test_the_command_serves_a_handler_of_ours(place, project, handler):
    with serving("-m", "reactor", "serve", *handler, cwd=project, PYTHONPATH=place) as port:
        assert ask(port, b"abc\n") == b"abc\n"


@pytest.mark.slow
def test_the_command_serves_the_users_handler_where_python_is_isolated(place, project):
    with serving("-I", "-c", ISOLATED, place, "serve", "app:Upper", cwd=project) as port:
        assert ask(port, b"abc\n") == b"> ABC\n"


# The tools for tests

TESTS = """
import handlers
from reactor import SelectTCPServer
from reactor.handlers import StreamHandler, Until
from reactor.handlers.services import Echo
from reactor.testing import check
import pytest
from app import Upper

def test_the_users_handlers_are_imported():
    assert handlers.MARK == "mine"

def test_a_handler_is_checked():
    check(Echo, b"abc", b"abc", examples=5)

def test_a_printed_test_is_run():
    class Faulty(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\\\\n"))
    with pytest.raises(AssertionError) as caught:
        check(Faulty, b"a\\\\nb", b"b", examples=5)
    _, _, code = str(caught.value).partition("\\\\n\\\\n")
    assert "from reactor.handlers import" in code, code

def test_a_world_is_simulated(simulate):
    world = simulate(1)
    world.serve(SelectTCPServer, ("10.0.0.1", 7), Upper)
    world.connect(("10.0.0.1", 7)).send(b"abc\\\\n").expect(b"> ABC\\\\n")
    world.run()
"""


@pytest.mark.slow
def test_the_plugin_for_pytest_runs_in_the_users_project(place, project):
    """The plugin is loaded before the project's directory is on the path, as it is where the wheel is installed."""
    (project / "test_app.py").write_text(TESTS.replace("\\\\", "\\"))
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); import pytest; sys.exit(pytest.main())"
    options = ["-p", "reactor.testing.plugin", "-p", "no:cacheprovider", "-q", "--rootdir", project]
    said = run("-I", "-c", program, place, *options, cwd=project, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "4 passed" in said, said


# The wheel


@pytest.mark.slow
def test_the_wheel_has_every_module_and_what_type_checkers_need(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for name in ("handlers", "reactor") for path in (ROOT / name).rglob("*.py")}
    assert names == modules | {"handlers/py.typed", "reactor/py.typed"} | {
        f"reactor/handlers/{name}" for name in stubs()
    }
