"""Tests of runs of a handler: what it gets of a schedule, and what it costs."""
