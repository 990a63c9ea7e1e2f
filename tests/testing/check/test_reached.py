"""`leaves_nothing_behind` finds state that a handler reaches by a property, or by a function of its module."""

import pytest

from handlers import StreamHandler, Until
from reactor.testing import leaves_nothing_behind
from reactor.testing.running.report import CheckFailed

by_property = {"loud": False}
by_function = {"loud": False}
LINE = Until(b"\n", limit=80)


def options():
    return by_function


class ByFunction(StreamHandler):
    """``!`` makes it answer in capitals."""

    def handle(self):
        return LINE, self.line

    def options(self):
        return options()

    def line(self, line):
        if line == b"!\n":
            self.options()["loud"] = True
        self.send(line.upper() if self.options()["loud"] else line)
        return self.handle()


class ByProperty(ByFunction):
    @property
    def shared(self):
        return by_property

    def options(self):
        return self.shared


class OfItsOwn(ByFunction):
    def setup(self):
        self.own = {"loud": False}

    def options(self):
        return self.own


@pytest.mark.parametrize("kind", [ByFunction, ByProperty])
def test_shared_options_are_found(kind):
    with pytest.raises(CheckFailed, match="depends on what another request has sent"):
        leaves_nothing_behind(kind, b"!\none\n")
    assert [by_function, by_property] == [{"loud": False}] * 2  # restored


def test_options_of_a_request_are_its_own():
    leaves_nothing_behind(OfItsOwn, b"!\none\n")
