"""A fixture for rows: the kinds of stream socket."""

import pytest

from tests.support.serving import STREAMS


@pytest.fixture(params=["tcp", "unix"])
def place(request):
    return STREAMS[request.param]
