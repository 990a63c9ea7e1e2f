"""A directory that `examples/nfs_server.py` serves, in a thread of this process."""

import os

import pytest

from tests.support.nfs import connected, serving


@pytest.fixture
def umask():
    """That of the server: none, so that the mode of a new file is what the client has asked for."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def server(tmp_path, umask):
    """The server."""
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as server:
        yield server


@pytest.fixture
def client(server):
    """A client of the server."""
    with connected(server) as client:
        yield client


@pytest.fixture
def directory(server, tmp_path):
    """The directory that is served."""
    return tmp_path / "served"
