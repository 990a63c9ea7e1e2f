"""Requests that have passed without a row are counted once, whoever looks meanwhile."""

import os
import signal
import threading

import pytest

from reactor import Reactor

PEER = ("127.0.0.1", 1)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal on this system")
def test_a_signal_handler_that_looks_at_the_table_while_they_are_counted_loses_none():
    seen = []

    class Size(int):
        def __radd__(self, other):  # when sizes are summed up
            if not seen:
                signal.raise_signal(signal.SIGUSR1)
            return int(self) + other

    with Reactor() as reactor:
        before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(reactor.stats()["ended"]))
        try:
            for serial in range(20):
                reactor.table.count_passed((serial, PEER, int, Size(1), 2, None))
            stats = reactor.stats()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert len(seen) == 1
        assert (stats["ended"], stats["total_in"], stats["total_out"]) == ({"": 20}, 20, 40)
        assert [record["serial"] for record in reactor.table.closed] == list(range(20))


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal on this system")
def test_a_signal_handler_that_raises_while_they_are_counted_has_none_counted_twice():
    class Size(int):
        def __radd__(self, other):
            signal.raise_signal(signal.SIGUSR1)
            return int(self) + other

    def interrupt(*_):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise KeyboardInterrupt

    with Reactor() as reactor:
        before = signal.signal(signal.SIGUSR1, interrupt)
        try:
            for serial in range(20):
                reactor.table.count_passed((serial, PEER, int, 1, Size(2), None))
            with pytest.raises(KeyboardInterrupt):
                reactor.stats()
            stats = reactor.stats()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert (stats["ended"], stats["total_in"], stats["total_out"]) == ({"": 20}, 20, 40)
        assert [record["serial"] for record in reactor.table.closed] == list(range(20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_can_look_although_another_thread_looked_when_it_was_forked():
    with Reactor() as reactor:
        held, done = threading.Event(), threading.Event()

        def look():
            with reactor.table._lock:
                held.set()
                done.wait()

        thread = threading.Thread(target=look)
        thread.start()
        held.wait()
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            reactor.stats()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        done.set()
        thread.join()
        assert status == 0
