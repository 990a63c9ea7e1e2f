"""Tests of `examples/`, each run as a process."""
