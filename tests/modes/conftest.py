"""Fixtures for the modes: outside work, the end of a child, and a server to connect to."""

import os

import pytest

from handlers.services import Echo
from tests.support.outside import Gate
from tests.support.serving import serving


@pytest.fixture(scope="module")
def upstream():
    """The address of an Echo server."""
    with serving(Echo, "select") as server:
        yield server.server_address


@pytest.fixture(params=["pidfd", "pipe"])
def ending(request, monkeypatch):
    """How the end of a child is noticed: by a pidfd, or by a pipe where the host has no pidfd."""
    if request.param == "pipe":
        monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.fixture
def gate(nothing_left):
    """A gate for outside work."""
    with Gate() as gate:
        yield gate
