"""Tests of the simulated world: its kernel, its faults, its invariants; and of `chaotic` sockets."""
