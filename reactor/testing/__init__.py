"""Property tests of partial reads, and a simulated network."""

from .faults import Fault, fewest, plans
from .invariants import INVARIANTS, Invariant, Violation
from .world import World

__all__ = ["INVARIANTS", "Fault", "Invariant", "Violation", "World", "fewest", "plans"]
