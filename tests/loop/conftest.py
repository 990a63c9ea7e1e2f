"""Fixtures for the loop: a reactor with each selector, and a pipe."""

import os
from contextlib import closing

import pytest

from reactor import Reactor
from tests.support.loops import SELECTORS, recording


@pytest.fixture(params=SELECTORS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def reactor(request):
    """A reactor with each selector, which records (`reactor.recorded`)."""
    with closing(Reactor(recording(request.param))) as reactor:
        reactor.recorded = reactor._selector
        yield reactor


@pytest.fixture
def pipe():
    """An empty pipe: its reading end and its writing end."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)
