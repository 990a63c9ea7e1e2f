"""Which lines of the hot modules each fast test runs, and how long it takes; kept in a file outside the checkout.

Lines that run in threads and forked children count; those of programs that a test starts do not. Python 3.12 or later
finds it out many times faster: see `Monitor`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import zlib
from base64 import b64decode, b64encode
from contextlib import contextmanager
from hashlib import sha256
from mmap import mmap
from pathlib import Path
from time import monotonic

from tests import ROOT
from tests.mutations import trials
from tests.mutations.ruled import hot_modules

LIMIT = 20.0
"""Seconds: a test that takes longer while it is traced finds no mutation."""


class Lines:
    """A number for each line of the hot modules, and the bytes in which those that run are marked."""

    def __init__(self):
        self.bases = {}
        end = 0
        digest = sha256()
        for path in hot_modules():
            source = (ROOT / path).read_bytes()
            digest.update(source)
            self.bases[path] = end
            end += source.count(b"\n") + 1
        self.digest = digest.hexdigest()
        self._marks = mmap(-1, end)  # shared with forked children
        marker = Monitor if hasattr(sys, "monitoring") else Tracer
        self.marker = marker(self._marks, {str(ROOT / path): base - 1 for path, base in self.bases.items()})

    def number(self, path, line):
        """The number of a line, which is counted from 1."""
        return self.bases[path] + line - 1

    def run(self, step, following):
        """Run the step; returns its finding and the lines that it has run, each a byte that is 1."""
        self._marks[:] = bytes(len(self._marks))
        with self.marker.marking():
            finding = step.run(following)
        return finding, self._marks[:]


class Monitor:
    """Marks a line the first time that it runs, and is not called for it again: this costs nearly nothing."""

    def __init__(self, marks, bases):
        self._marks = marks
        self._bases = bases

    @contextmanager
    def marking(self):
        """Mark what runs meanwhile, in any thread."""
        monitoring = sys.monitoring
        tool, line = monitoring.COVERAGE_ID, monitoring.events.LINE
        monitoring.use_tool_id(tool, __name__)
        monitoring.register_callback(tool, line, self._mark)
        monitoring.restart_events()
        monitoring.set_events(tool, line)
        try:
            yield
        finally:
            monitoring.set_events(tool, monitoring.events.NO_EVENTS)
            monitoring.register_callback(tool, line, None)
            monitoring.free_tool_id(tool)

    def _mark(self, code, number):
        base = self._bases.get(code.co_filename)
        if base is not None:
            self._marks[base + number] = 1
        return sys.monitoring.DISABLE


class Tracer:
    """The same for Python before 3.12, by a trace function, which is called for every line that runs."""

    def __init__(self, marks, bases):
        self._tracers = {path: self._tracer(marks, base) for path, base in bases.items()}

    @staticmethod
    def _tracer(marks, base):
        def trace(frame, event, argument):
            if event == "line":
                marks[base + frame.f_lineno] = 1
            return trace

        return trace

    @contextmanager
    def marking(self):
        """Mark what runs meanwhile in this thread, and in those that begin meanwhile."""
        before = sys.gettrace()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(before)

    def _trace(self, frame, event, argument):
        return self._tracers.get(frame.f_code.co_filename)


class Touched:
    """The map from lines to steps, as the file has it."""

    def __init__(self, directory, steps):
        self._lines = Lines()
        self._file = Path(directory, f"touched-{self._lines.digest[:16]}")
        self._steps = {str(step): step for step in steps}
        self.seconds = {}
        """What each step takes without a mutation, while its lines are traced."""
        self._marks = {}
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                self._take(*json.loads(line))

    def _take(self, name, seconds, marks):
        self.seconds[name] = seconds
        self._marks[name] = zlib.decompress(b64decode(marks)) if marks else b""

    def complete(self, tried):
        """Run the steps that are not in the file yet; one that fails without a mutation finds none."""
        left = [step for name, step in self._steps.items() if name not in self._marks]
        with self._file.open("a") as file:
            while left:
                print(f"{len(left)} tests are still to be traced", flush=True)
                left = left[self._trace(tried, left[:200], file) :]

    def _trace(self, tried, steps, file):
        """Trace the steps until one does not end; returns how many."""

        def run(tell):
            for number, step in enumerate(steps):
                tell("begins", number)
                begun = monotonic()
                finding, marks = self._lines.run(step, steps[number + 1] if number + 1 < len(steps) else None)
                packed = "" if finding else b64encode(zlib.compress(marks)).decode()
                tell("traced", str(step), monotonic() - begun, packed)

        done = 0
        with trials.Trial(run) as trial:
            while (said := trial.listen(LIMIT)) not in (None, ("late",)):
                if said[0] == "traced":
                    self._keep(file, *said[1:])
                    done += 1
        if done < len(steps):
            self._keep(file, str(steps[done]), LIMIT, "")
            done += 1
        trials.end_orphans()
        return done

    def _keep(self, file, *values):
        self._take(*values)
        file.write(json.dumps(values) + "\n")
        file.flush()

    def by(self, path, lines):
        """The steps that run one of these lines: the fastest first, and four times as slow ones of the same room."""
        numbers = [self._lines.number(path, line) for line in lines]
        room = f"tests/{path.split('/')[-2]}/"

        def cost(name):
            return self.seconds[name] if name.startswith(room) else 4 * self.seconds[name]

        found = [name for name, marks in self._marks.items() if marks and any(marks[number] for number in numbers)]
        return [self._steps[name] for name in sorted(found, key=cost) if name in self._steps]


def directory():
    """The directory for what is kept from run to run; it is made."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "select-reactor", "mutations")
    path.mkdir(parents=True, exist_ok=True)
    return path
