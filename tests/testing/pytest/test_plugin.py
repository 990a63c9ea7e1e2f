"""The plugin for pytest: its fixtures, and that a test which leaks anything does not pass.

Each test here runs pytest, as a user does, on a small file of tests, in a process that ends with all that they leak.
"""

import configparser
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from handlers import DatagramHandler, Delay, Packet, StreamHandler, StreamRequestHandler
from handlers.services import Echo
from reactor import Reactor
from reactor.testing import Leak, chaotic, leaks_nothing
from reactor.testing.pytest.served import Served
from reactor.testing.running.loopback import modes_here
from tests import ROOT
from tests.support import serving

pytest_plugins = ["pytester"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning"),  # as all these tests are
]

HEAD = """
import _thread, os, selectors, socket, subprocess, sys, threading, time
import pytest
from handlers import Delay, StreamHandler, StreamRequestHandler, Until
from handlers.services import Echo, EchoDatagram
from reactor import Reactor, SelectTCPServer
kept = []
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest with the plugin on a file of tests; returns its result."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(tests, *arguments, settings=""):
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{settings}")
        pytester.makepyfile(HEAD + tests)
        return pytester.runpytest_subprocess("-p", "reactor.testing.plugin", "-p", "no:cacheprovider", *arguments)

    return run


# Leaks

LEAKS = {
    "row": (
        """
        class Forgetful(StreamHandler):
            async def handle(self):
                await Delay(1000)

        def test_it(serve):
            serve(Forgetful).connect().sendall(b"x")
            while not len(kept):
                kept.append(1)
            server = serve(Forgetful)
            client = server.connect()
            while not len(server.server.reactor.table):
                time.sleep(0.001)
        """,
        "*Leak: left open after their clients were closed: row 1 (Forgetful.handle:*, Delay(1000)*)*",
    ),
    "row of a loop of its own": (
        """
        class Forgetful(StreamHandler):
            async def handle(self):
                await Delay(1000)

        def test_it(leaks_nothing, loop):
            with socket.create_connection(loop.server.server_address):
                loop.run_while(lambda: not len(loop.table))

        @pytest.fixture(scope="module")
        def loop():
            loop = Reactor()
            loop.server = SelectTCPServer(("127.0.0.1", 0), Forgetful, reactor=loop)
            yield loop
            loop.server.server_close()
            loop.close()
        """,
        "*Leak: left open: row 1 (Forgetful.handle:*, Delay(1000), driven by loop), descriptor *",
    ),
    "descriptor": (
        """
        def test_it(leaks_nothing):
            kept.extend(os.pipe())
        """,
        "*Leak: left open: descriptor * (pipe:*), descriptor * (pipe:*)",
    ),
    "thread": (
        """
        def test_it(leaks_nothing):
            threading.Thread(target=threading.Event().wait, name="forgotten", daemon=True).start()
        """,
        "*Leak: left open: thread 'forgotten'",
    ),
    "thread that has no name": (
        """
        def test_it(leaks_nothing):
            begun = threading.Event()  # until then Python does not know of it
            _thread.start_new_thread(lambda: (begun.set(), time.sleep(1000)), ())
            begun.wait()
        """,
        "*Leak: left open: thread [0-9]*",
    ),
    "selector": (
        """
        def test_it(leaks_nothing):
            kept.append(selectors.DefaultSelector())
        """,
        "*Leak: left open: descriptor *",
    ),
    "descriptor of a test that is skipped": (
        """
        def test_it(leaks_nothing):
            kept.extend(os.pipe())
            pytest.skip("so much for that")
        """,
        "*Leak: left open: descriptor * (pipe:*), descriptor * (pipe:*)",
    ),
    "descriptor of a fixture's end": (
        """
        @pytest.fixture
        def own():
            yield
            kept.extend(os.pipe())

        def test_it(own, leaks_nothing):
            pass
        """,
        "*Leak: left open: descriptor * (pipe:*), descriptor * (pipe:*)",
    ),
    "descriptor of a class": (
        """
        @pytest.fixture(scope="class")
        def its_own():
            kept.extend(os.pipe())
            yield

        class TestIt:
            def test_it(self, leaks_nothing, its_own):
                pass
        """,
        "*Leak: left open: descriptor * (pipe:*), descriptor * (pipe:*)",
    ),
    "child": (
        """
        def test_it(leaks_nothing):
            kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=kept_open))

        kept_open = os.pipe()[0]
        """,
        "*Leak: left open: child *",
    ),
    "child that has ended": (
        """
        def test_it(leaks_nothing):
            if not os.fork():
                os._exit(0)
        """,
        "*Leak: left open: child *",
    ),
    "simulated descriptor": (
        """
        def test_it(simulated_world):
            simulated_world.reactor()
            simulated_world.network.socket()
        """,
        "*Violation: left open: unnamed",
    ),
}


@pytest.mark.parametrize("what", LEAKS)
def test_a_test_that_leaks_does_not_pass(what, run):
    if "child" in what and (not hasattr(os, "fork") or not Path("/proc/self/stat").exists()):
        pytest.skip("this host can't say which children there are")
    text, told = LEAKS[what]
    result = run("\n".join(line[8:] for line in text.splitlines()))
    skipped = int("skipped" in what)
    result.assert_outcomes(passed=1 - skipped, skipped=skipped, errors=1)
    result.stdout.fnmatch_lines([f"E {told}"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


GOOD = """
@pytest.fixture(scope="module")
def shared():
    reader, writer = os.pipe()
    yield
    os.close(reader)
    os.close(writer)

@pytest.fixture
def own():
    with socket.socket() as sock:
        yield sock

def test_what_is_given_back(leaks_nothing, own, shared):
    thread = threading.Thread(target=time.sleep, args=(0.05,))
    thread.start()  # it ends soon after the test

def test_the_next(leaks_nothing, shared):
    subprocess.run([sys.executable, "-c", ""], check=True)

def test_late(leaks_nothing, request):
    request.getfixturevalue("last")

@pytest.fixture(scope="class")
def server(request):
    request.getfixturevalue("shared")
    request.getfixturevalue("outlives_it")
    with SelectTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()

@pytest.fixture(scope="module")
def outlives_it():
    with socket.socket():
        yield

class TestServer:
    def test_one(self, server, leaks_nothing):
        with socket.create_connection(server.server_address) as client:
            client.sendall(b"one")
            assert client.recv(3) == b"one"

    def test_other(self, leaks_nothing, server):
        self.test_one(server, None)

def test_what_is_waited_for_later(leaks_nothing):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def end():
        with child:
            child.stdin.close()

    threading.Thread(target=end).start()

@pytest.fixture(scope="session")
def last():
    sock = socket.socket()
    yield
    sock.close()
"""


def test_resources_that_are_released_or_belong_to_a_wider_scope_are_no_leak(run):
    run(GOOD).assert_outcomes(passed=6)


def test_the_resource_tracker_of_multiprocessing_is_no_leak(run):
    result = run("""
multiprocessing = pytest.importorskip("multiprocessing")

@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
def test_processes(leaks_nothing, method):
    context = multiprocessing.get_context(method)
    process = context.Process(target=print)
    process.start()
    process.join()
    process.close()
    queue = context.SimpleQueue()
    queue.put(context.Value("i").value)
    queue.close()

def test_memory(leaks_nothing):
    import multiprocessing.shared_memory
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=10)
    memory.close()
    memory.unlink()
""")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] > 1


LEAKING = """
def test_it():
    kept.extend(os.pipe())
"""


def test_a_test_without_the_marker_may_leak(run):
    run(LEAKING).assert_outcomes(passed=1)


def test_the_configuration_can_check_all_tests(run):
    run(LEAKING, settings="leaks_nothing = true").assert_outcomes(passed=1, errors=1)


def test_a_test_that_has_failed_is_not_checked_for_leaks(run):
    result = run("""
def test_it(leaks_nothing, simulated_world):
    kept.extend(os.pipe())
    simulated_world.network.socket()
    assert False
""")
    result.assert_outcomes(failed=1)


def test_a_leak_does_not_fail_the_next_test(run):
    result = run("""
def test_one(leaks_nothing):
    kept.extend(os.pipe())

def test_two(leaks_nothing):
    pass
""")
    result.assert_outcomes(passed=2, errors=1)


# The fixtures


def test_the_server_fixture_serves_in_each_mode(run):
    result = run(
        """
class Blocking(StreamRequestHandler):
    request = Until(b"\\n")

    def handle(self):
        self.wfile.write(self.rfile.readline().upper())

def test_streams(serve_in_each_mode):
    server = serve_in_each_mode(Echo)
    one, other = server.connect(), server.connect()
    one.sendall(b"one")
    assert one.recv(3) == b"one"
    one.close()
    other.sendall(b"other")
    assert other.recv(5) == b"other"
    other.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""

def test_blocking_handlers(serve_in_each_mode):
    client = serve_in_each_mode(Blocking).connect()
    client.sendall(b"one\\n")
    assert client.recv(10) == b"ONE\\n"

def test_datagrams(serve_in_each_mode):
    client = serve_in_each_mode(EchoDatagram).connect()
    client.send(b"one")
    assert client.recv(10) == b"one"
""",
        "-v",
    )
    result.assert_outcomes(passed=3 * len(modes_here()), skipped=3 * (4 - len(modes_here())))
    result.stdout.fnmatch_lines([f"*test_streams?{mode}? PASSED*" for mode in modes_here()])


def test_the_world_fixtures_run_simulated_worlds(run):
    result = run("""
@pytest.mark.parametrize("seed", range(10))
def test_a_seed(simulate, seed):
    world = simulate(seed, latency=0.1)
    world.serve(SelectTCPServer, ("10.0.0.1", 7), Echo)
    client = world.connect(("10.0.0.1", 7)).send(b"hello").expect(b"hello").shutdown()
    world.run()

def test_none(simulated_world):
    simulated_world.serve(SelectTCPServer, ("10.0.0.1", 7), Echo)
    client = simulated_world.connect(("10.0.0.1", 7)).send(b"hello").expect(b"hello").expect_end()
    simulated_world.run()
    assert simulated_world.clock.now > 299
    assert simulated_world.plan.injected == []
""")
    result.assert_outcomes(passed=11)


def test_every_fixture_has_a_docstring(run):
    result = run("", "--fixtures")
    for name in ("simulate", "simulated_world", "serve", "serve_in_each_mode", "leaks_nothing"):
        result.stdout.re_match_lines([rf"{name}\b.*plugin\.py"])
    _, header, fixtures = result.stdout.str().partition("fixtures defined from reactor.testing.pytest.plugin")
    assert header
    assert "no docstring available" not in fixtures


def test_it_may_be_installed_and_also_be_named_in_a_conftest(pytester, monkeypatch):
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    installed = pytester.mkdir("reactor-1.dist-info")
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: reactor\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(f"[pytest11]{settings['options.entry_points']['pytest11']}\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), str(ROOT)]))
    pytester.makeconftest('pytest_plugins = ["reactor.testing.plugin"]')
    pytester.makepyfile("def test_it(simulated_world): pass")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_plugin_does_not_import_hypothesis():
    script = "import sys, reactor.testing.plugin, reactor.testing.pytest.plugin; assert 'hypothesis' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


# `Served`, the class behind the fixtures


class Forgetful(StreamHandler):
    """Does not end by itself."""

    async def handle(self):
        await Delay(1000)


class Stuck(StreamRequestHandler):
    """A blocking handler that waits without end."""

    gate: threading.Event

    def handle(self):
        self.gate.wait(30)


@pytest.mark.parametrize("mode", modes_here())
def test_a_row_that_does_not_end_is_cancelled(mode):
    with leaks_nothing():
        served = Served(Forgetful, mode, grace=0.05)
        served.connect()
        serving.wait_until(lambda: len(served.server.reactor.table))
        with pytest.raises(Leak, match=r"^left open after their clients were closed: row 1 \(Forgetful.handle"):
            served.close()
        served.close()


@pytest.mark.parametrize("mode", [mode for mode in modes_here() if mode in ("fork", "thread")])
def test_a_blocking_handler_that_does_not_end_does_not_hang_the_test(mode):
    kind = type("Stuck", (Stuck,), {"gate": threading.Event()})
    served = Served(kind, mode, grace=0.05)
    served.connect()
    serving.wait_until(lambda: len(served.server.reactor.table))
    with pytest.raises(Leak, match="row 1"):
        served.close()
    kind.gate.set()


def test_an_exception_that_leaves_serve_forever_fails_the_test():
    def verify_request(self, request, client_address):
        raise KeyboardInterrupt("oh")

    served = Served(Echo, verify_request=verify_request)
    assert served.connect().recv(1) == b""
    with pytest.raises(KeyboardInterrupt, match="oh"):
        served.close()


def test_a_server_that_can_not_be_made_leaves_no_descriptor():
    with leaks_nothing(), pytest.raises(TypeError, match="Three ways out"):
        Served(Stuck, "select")


def test_a_server_may_have_a_chaotic_network():
    network = chaotic(1)
    with leaks_nothing(), Served(Echo, network=network) as served:
        client = served.connect()
        for _ in range(20):
            client.sendall(b"hello")
            assert b"".join(iter(lambda: client.recv(1), b"o"))
    assert network.plan.injected


def test_a_datagram_server_is_closed_with_its_exchanges_open():
    class Patient(DatagramHandler):
        async def handle(self):
            self.send(await Packet())
            await Packet()

    with leaks_nothing(), Served(Patient) as served:
        client = served.connect()
        client.send(b"one")
        assert client.recv(10) == b"one"
        assert len(served.server.reactor.table) == 1


def test_a_loop_that_is_forgotten_is_a_leak():
    gc.collect()  # so that garbage of other tests is not collected during this one
    with pytest.raises(Leak, match=r"^left open: descriptor \d+ \(anon_inode:\[eventpoll\]\)$"), leaks_nothing(0):
        loop = Reactor()
    loop.close()
