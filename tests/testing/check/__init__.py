"""Tests of `check`: the handlers that pass, and the faults that it finds."""
