"""Tests of `python3 -m reactor serve` as a process."""
