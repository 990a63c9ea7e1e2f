"""A fork costs time for each page that the process has. The process of the tests forks thousands of times."""

import ctypes
import sys

M_TRIM_THRESHOLD = -1
M_ARENA_MAX = -8
"""Parameters of ``mallopt(3)``."""


def make_cheap():
    """Keep this process small, and what a child frees of it little. Called before it has threads."""
    if sys.implementation.name == "cpython":
        # A child that a server's thread forks frees what is local to the main thread: thousands of Hypothesis'
        # strategies, whose pages are copied for that one by one. With one reference more they stay as they are.
        ctypes.pythonapi.PyThreadState_GetDict.restype = ctypes.c_void_p
        ctypes.pythonapi.Py_IncRef(ctypes.c_void_p(ctypes.pythonapi.PyThreadState_GetDict()))
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # Each thread of a server would have an arena of its own, which keeps what the thread has freed; and the more
        # memory was freed at once, the more would be kept.
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 20)
