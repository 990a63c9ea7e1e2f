"""The plugin for pytest: a simulated world, a real server in each mode, and no test that leaks.

Where the package is installed, pytest loads the plugin by itself. Elsewhere, put
``pytest_plugins = ["reactor.testing.plugin"]`` into ``conftest.py``.

A test that uses one of the fixtures ends with an error if it leaves a row, a descriptor, a thread or a child behind. So
does a test that uses the fixture ``leaks_nothing``, and, with ``leaks_nothing = true`` in the configuration, every
test. A test that has failed is not checked. A fixture of a class, a module or a package is checked at its own end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ..running.loopback import MODES, modes_here

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterator

    from ..kernel.world import World
    from .served import Served

_BEFORE: pytest.StashKey[set[Hashable]] = pytest.StashKey()
_AROUND: pytest.StashKey[list[set[Hashable]]] = pytest.StashKey()
_FAILED: pytest.StashKey[bool] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``leaks_nothing`` to the configuration."""
    parser.addini("leaks_nothing", "no test may leave a row, a descriptor, a thread or a child behind", "bool", False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore Python's warning about a fork in a process with threads: a server in fork mode runs in a thread here."""
    for item in items:
        if "serve" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning"))


# Fixtures


@pytest.fixture
def leaks_nothing() -> None:
    """The test must not leave a row, a descriptor, a thread or a child behind."""


@pytest.fixture
def simulate(request: pytest.FixtureRequest, leaks_nothing: None) -> Iterator[Callable[..., World]]:
    """Construct simulated worlds: ``simulate(plan, **options)`` is a `World`, which is closed after the test.

    ::

        @pytest.mark.parametrize("seed", range(100))
        def test_echo(simulate, seed):
            world = simulate(seed)
            world.serve(SelectTCPServer, ("10.0.0.1", 7), Echo)
            world.connect(("10.0.0.1", 7)).send(b"hello").expect(b"hello").shutdown()
            world.run()
    """
    from ..kernel.world import World

    worlds: list[World] = []

    def simulate(plan: Any = None, **options: Any) -> World:
        worlds.append(World(plan, **options))
        return worlds[-1]

    yield simulate
    if not request.node.stash.get(_FAILED, False):  # a failed test has shown a fault already
        for world in worlds:
            world.close()


@pytest.fixture
def simulated_world(simulate: Callable[..., World]) -> World:
    """A simulated world without faults."""
    return simulate()


@pytest.fixture
def serve(leaks_nothing: None) -> Iterator[Callable[..., Served]]:
    """Run real servers on free ports of loopback: ``serve(Handler, "thread").connect()`` is a connected client.

    ``serve`` takes the arguments of `reactor.testing.pytest.served.Served` and returns one.
    """
    from .served import Served

    servers: list[Served] = []

    def serve(kind: Any, mode: str = "select", **options: Any) -> Served:
        servers.append(Served(kind, mode, **options))
        return servers[-1]

    yield serve
    errors = [error for server in servers if (error := _closed(server)) is not None]
    if errors:
        raise errors[0]


def _closed(server: Served) -> BaseException | None:
    """Close the server and return the exception of `Served.close`, so that the other servers are closed too."""
    try:
        server.close()
    except Exception as error:
        return error
    return None


@pytest.fixture(params=MODES)
def serve_in_each_mode(request: pytest.FixtureRequest, serve: Callable[..., Served]) -> Callable[..., Served]:
    """``serve`` in one of the modes: the test runs once for each mode that the host has.

    ::

        def test_echo(serve_in_each_mode):
            client = serve_in_each_mode(Echo).connect()
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
    """
    if request.param not in modes_here():
        pytest.skip("this host cannot fork")

    def serve_so(kind: Any, **options: Any) -> Served:
        return serve(kind, request.param, **options)

    return serve_so


# Leaks


def _is_asked_for(request: pytest.FixtureRequest) -> bool:
    return bool("leaks_nothing" in request.fixturenames or request.config.getini("leaks_nothing"))


@pytest.fixture(autouse=True)
def _checked_for_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare what is open before the test and after it. As the first fixture of the test, this one ends last."""
    if not _is_asked_for(request):
        yield
        return
    from .leaks import held, left, refuse

    before = request.node.stash[_BEFORE] = set(held())
    yield
    if not request.node.stash.get(_FAILED, False):
        refuse(left(before))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """What a fixture of a wider scope opens belongs to the fixture, not to the test: check it at the fixture's end."""
    if fixturedef.scope == "function" or not _is_asked_for(request):
        return (yield)
    from .leaks import held, left, refuse

    opened: set[Hashable] = set()
    if fixturedef.scope != "session":  # the end of a session is the end of the process
        fixturedef.addfinalizer(lambda: refuse(left(set(held()) - opened)))  # the first one added runs last
    already = set(held())
    around = request.config.stash.setdefault(_AROUND, [])
    around.append(already)
    try:
        result = yield
    finally:
        around.pop()
    opened |= set(held()) - already
    for one in (*around, request._pyfuncitem.stash.get(_BEFORE, set())):
        one |= opened  # it does not belong to the fixture that uses this one either
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Note whether the test has failed."""
    if call.excinfo is not None and not isinstance(call.excinfo.value, pytest.skip.Exception):
        item.stash[_FAILED] = True
    return (yield)
