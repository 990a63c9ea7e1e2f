"""``python3 -m reactor`` without its start: a process that has imported the command forks a child for each call of it.

A call that is refused ends before anything is served, and most of its time is that of an interpreter that starts. The
child has the arguments, the directory and the variables of the call, and nothing that another child has done.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests import ROOT
from tests.support import manager


class Ended(NamedTuple):
    """How a call has ended."""

    status: int
    said: str
    """All that it has written on standard error."""


class ForkingCommand:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forking_command"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def call(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], passed: str, patience: float
    ) -> Ended:
        """Call the command, which must end by itself, in so many seconds; ``passed``: sockets of `manager`, if any."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([arguments, str(cwd), dict(environment), passed]) + "\n")
        stdin.flush()
        if not select.select([stdout], [], [], patience)[0]:
            self.close()
            raise AssertionError(f"{arguments} does not end")
        return Ended(*json.loads(stdout.readline()))

    def close(self) -> None:
        """End the process, and a call that has not ended."""
        os.killpg(self._process.pid, signal.SIGKILL)  # the session of the process has no other group
        self._process.communicate()


# In that process


def called(*call: Any) -> Ended:
    """Fork a child that becomes the command, and wait for its end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        os.dup2(writer, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os._exit(become(*call))
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    return Ended(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text)


def become(arguments: Sequence[str], cwd: str, environment: Mapping[str, str], passed: str) -> int:
    """Run the command as a new interpreter in that directory does; returns the exit status."""
    os.chdir(cwd)
    os.environ.update(environment)
    if passed:
        variables = manager.passed(passed)
        os.environ.clear()
        os.environ.update(variables)
    sys.path[:1] = dict.fromkeys([cwd, str(ROOT)])  # as `-m` and PYTHONPATH make it
    sys.argv[1:] = arguments
    try:
        runpy.run_module("reactor", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    import reactor.command.main  # noqa: F401 - what each child has then

    for line in sys.stdin:
        print(json.dumps(called(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
