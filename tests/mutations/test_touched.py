"""Which lines of the hot modules a step runs: both ways to find it out, where Python has both."""

import os
import sys
import threading

import pytest

from reactor.loop import timers
from tests import ROOT
from tests.mutations import touched

PATH = "reactor/loop/timers.py"


class Step:
    """A step that calls a function, and finds nothing."""

    def __init__(self, work):
        self._work = work

    def run(self, following):
        self._work()


def arm(deadline=1.0):
    timers.Timers().arm(timers.Timer(deadline, print, ()))


def in_a_thread():
    thread = threading.Thread(target=arm)
    thread.start()
    thread.join()


def in_a_child():
    pid = os.fork()
    if pid == 0:
        try:
            arm()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.fixture(params=["Tracer", "Monitor"][: 1 + hasattr(sys, "monitoring")])
def lines(request, monkeypatch):
    if request.param == "Tracer":
        monkeypatch.setattr(touched, "Monitor", touched.Tracer)
    lines = touched.Lines()
    assert type(lines.marker).__name__ == request.param
    return lines


def texts(lines, work):
    """The lines of one module that the step runs."""
    finding, marks = lines.run(Step(work), None)
    assert finding is None
    source = (ROOT / PATH).read_text().splitlines()
    return [text.strip() for number, text in enumerate(source, 1) if marks[lines.number(PATH, number)]]


@pytest.mark.parametrize("work", [arm, in_a_thread, in_a_child])
def test_the_lines_that_a_step_runs_are_marked(lines, work):
    found = texts(lines, work)
    assert "if item.deadline < item.armed:" in found
    assert "self._take_out(item)" not in found


def test_each_step_has_its_own_lines(lines):
    once = texts(lines, arm)
    assert texts(lines, lambda: None) == []
    assert texts(lines, arm) == once


def test_a_trace_function_stays_where_it_was(lines):
    def trace(frame, event, argument):
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        texts(lines, arm)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
