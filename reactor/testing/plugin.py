"""The plugin for pytest: a simulated world, a real server in each mode, and no test that leaks.

Where the package is installed pytest finds it by itself; else ``pytest_plugins = ["reactor.testing.plugin"]``
in a ``conftest.py``. A test that asks for one of these fixtures ends with an error if it leaves a row, a
descriptor, a thread or a child behind; so does one that asks for ``leaks_nothing``, or every one with
``leaks_nothing = true`` in the configuration. A test that has failed is not asked for more. What a fixture
of a class, a module or a package opens must be gone when its end has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .loopback import MODES, modes_here

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterator

    from .served import Served
    from .world import World

_BEFORE: pytest.StashKey[set[Hashable]] = pytest.StashKey()
_AROUND: pytest.StashKey[list[set[Hashable]]] = pytest.StashKey()
_FAILED: pytest.StashKey[bool] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The setting in the configuration."""
    parser.addini("leaks_nothing", "no test may leave a row, a descriptor, a thread or a child behind", "bool", False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A server in fork mode runs in a thread here; Python says rightly, and for every test, that this is no habit."""
    for item in items:
        if "serve" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning"))


# Fixtures


@pytest.fixture
def leaks_nothing() -> None:
    """The test may not leave a row, a descriptor, a thread or a child behind."""


@pytest.fixture
def simulate(request: pytest.FixtureRequest, leaks_nothing: None) -> Iterator[Callable[..., World]]:
    """Make simulated worlds: ``simulate(plan, **options)`` is a `World` with these, checked and closed at the end.

    ::

        @pytest.mark.parametrize("seed", range(100))
        def test_echo(simulate, seed):
            world = simulate(seed)
            world.serve(SelectTCPServer, ("10.0.0.1", 7), Echo)
            world.connect(("10.0.0.1", 7)).send(b"hello").expect(b"hello").shutdown()
            world.run()
    """
    from .world import World

    worlds: list[World] = []

    def simulate(plan: Any = None, **options: Any) -> World:
        worlds.append(World(plan, **options))
        return worlds[-1]

    yield simulate
    if not request.node.stash.get(_FAILED, False):  # else what is wrong has been said
        for world in worlds:
            world.close()


@pytest.fixture
def simulated_world(simulate: Callable[..., World]) -> World:
    """A simulated world in which nothing goes wrong."""
    return simulate()


@pytest.fixture
def serve(leaks_nothing: None) -> Iterator[Callable[..., Served]]:
    """Serve for real, on a free port of loopback: ``serve(Handler, "thread").connect()`` is a connected client.

    See `reactor.testing.served.Served` for what else it takes and gives.
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
    """Close it, and give what is wrong with that, so that the others are closed too."""
    try:
        server.close()
    except Exception as error:
        return error
    return None


@pytest.fixture(params=MODES)
def serve_in_each_mode(request: pytest.FixtureRequest, serve: Callable[..., Served]) -> Callable[..., Served]:
    """``serve`` in one of the modes; the test is run once for each that the host has.

    ::

        def test_echo(serve_in_each_mode):
            client = serve_in_each_mode(Echo).connect()
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
    """
    if request.param not in modes_here():
        pytest.skip("this host can't fork")

    def serve_so(kind: Any, **options: Any) -> Served:
        return serve(kind, request.param, **options)

    return serve_so


# Leaks


def _is_asked_for(request: pytest.FixtureRequest) -> bool:
    return bool("leaks_nothing" in request.fixturenames or request.config.getini("leaks_nothing"))


@pytest.fixture(autouse=True)
def _looked_after(request: pytest.FixtureRequest) -> Iterator[None]:
    """Look what there is before the test, and again when its other fixtures are gone: this one is the first of them."""
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
    """What a fixture opens that outlives the test is its own, and not the test's: it must be gone when that is."""
    if fixturedef.scope == "function" or not _is_asked_for(request):
        return (yield)
    from .leaks import held, left, refuse

    opened: set[Hashable] = set()
    if fixturedef.scope != "session":  # what lives as long as the process goes with it
        fixturedef.addfinalizer(lambda: refuse(left(set(held()) - opened)))  # called last
    already = set(held())
    around = request.config.stash.setdefault(_AROUND, [])
    around.append(already)
    try:
        result = yield
    finally:
        around.pop()
    opened |= set(held()) - already
    for one in (*around, request._pyfuncitem.stash.get(_BEFORE, set())):
        one |= opened  # neither does it belong to the fixture that has asked for this one
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Remember whether the test has failed."""
    if call.excinfo is not None and not isinstance(call.excinfo.value, pytest.skip.Exception):
        item.stash[_FAILED] = True
    return (yield)
