"""What a test needs of the host: without it the test is skipped, or fails where it must be there."""

import os
import shutil

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
