"""What a process holds of the host's resources: descriptors, threads, children."""

import os
import threading
from pathlib import Path


def descriptors():
    """The descriptors that this process has open."""
    place = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return {int(name) for name in os.listdir(place)}


def named(numbers):
    """What descriptors of this process are, as far as the system tells: sockets, pipes, paths."""
    return {number: _name(number) for number in numbers}


def _name(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return "closed, or on a system without /proc"


def resources():
    """The number of descriptors and of threads of this process, and its children, zombies included."""
    return len(os.listdir("/proc/self/fd")), threading.active_count(), children_of(os.getpid())


def children_of(pid):
    """The pids, as text, of the children of a process, zombies included."""
    return {stat.parent.name for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == pid}


def _parent(stat):
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None  # the process has ended
