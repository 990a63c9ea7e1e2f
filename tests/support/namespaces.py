"""Network namespaces (network_namespaces(7))."""

import os
import subprocess
import sys

from tests import ROOT
from tests.support.programs import program, refuse, search_path

LONG = 100
"""Seconds that a packet may take: it may be lost nine times in a row."""


def in_namespace(script, module, call):
    """Run a shell script in a network namespace of its own; its arguments are a command for ``call`` in ``module``.

    ``module`` is one of `tests.hosts`. Returns the output of the script.
    """
    program("ip")
    alone = [program("unshare"), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    python = [sys.executable, "-c", f"from tests.hosts import {module}; {module}.{call}"]
    command = [*alone, "sh", "-c", script, "sh", *python]
    environment = {**os.environ, "PATH": search_path()}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2 * LONG)
    if run.returncode and "unshare failed" in run.stderr:
        refuse(f"no network namespace can be had here ({run.stderr.strip()}): be root, or allow user namespaces")
    assert run.returncode == 0, run.stderr
    return run.stdout
