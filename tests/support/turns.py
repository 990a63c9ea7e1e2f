"""What is one of many alike, such as a handler that `check` is tried on: a submission tries a part of them.

``REACTOR_TURN=K/N`` has every N-th tried, and another N-th for each K from 0 to N - 1; ``.ci/run`` takes K from the
commit. Without the variable all are tried.
"""

import os
from zlib import crc32

TURN = os.environ.get("REACTOR_TURN", "0/1")


def is_in_turn(name, turn=TURN):
    """Whether what has this name is tried in a turn."""
    number, count = map(int, turn.split("/"))
    return crc32(name.encode()) % count == number
