"""`looking`: a look at the table while a request has no row yet, at any one point where a signal handler may run."""

import sys
from contextlib import contextmanager


class Look:
    """Looks once, at the ``point``-th call, or return of a function in C, while a request has no row."""

    def __init__(self, table, point):
        self.table = table
        self.left = point
        self.has_looked = False

    def __call__(self, frame, event, argument):
        if event in ("call", "c_return") and self.table.rowless is not None and not self.has_looked:
            self.has_looked = not self.left
            self.left -= 1
            if self.has_looked:
                len(self.table)


@contextmanager
def looking(table, point):
    """Looks in the block; yields the `Look`."""
    look, before = Look(table, point), sys.getprofile()
    sys.setprofile(look)
    try:
        yield look
    finally:
        sys.setprofile(before)


def outcomes(play):
    """The different outcomes of ``play(point)`` for all points, and the number of points.

    ``play`` returns whether the table was looked at, and what can be seen of the request.
    """
    found, point = [], 0
    while True:
        looked, outcome = play(point)
        if outcome not in found:
            found.append(outcome)
        if not looked:
            return found, point
        point += 1
