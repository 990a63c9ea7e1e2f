"""What a test needs of the host: without it the test is skipped, or fails where it must be there."""

import os
import shutil
import subprocess
import threading

import pytest


def refuse(reason):
    """Skip the test for this reason; with ``REACTOR_REAL_CLIENTS=1``, fail."""
    (pytest.fail if os.environ.get("REACTOR_REAL_CLIENTS") == "1" else pytest.skip)(reason)


def needed(found, name):
    """``found``, if there is anything in it; `refuse` if not."""
    if not found:
        refuse(f"{name} is not installed")
    return found


def search_path() -> str:
    """``PATH`` and where the programs of the system administrator are, which other users often have not in theirs."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def program(name: str) -> str:
    """The path of the program."""
    return needed(shutil.which(name, path=search_path()), name)


no_fork = threading.Lock()
"""No thread of this process forks while it is held: a child has a copy of whatever is under way in other threads."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release
    )  # fmt: skip


def start(command, **options):
    """As ``subprocess.Popen``, in a process that has a server in a thread, which may fork.

    ``Popen`` waits until nobody has the writing end of a pipe of its own any more. A child of the server that was
    forked just then has it, and may wait for this very program. So no child is forked meanwhile.
    """
    with no_fork:
        return subprocess.Popen(command, **options)


def run(command, send=b"", timeout=30):
    """As ``subprocess.run`` with ``send`` as the input of the program, with its output and errors as bytes."""
    with start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            output, errors = process.communicate(send, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
