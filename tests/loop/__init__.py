"""Tests of the loop: selectors, timers, watches, wake-ups, callbacks and signals."""
