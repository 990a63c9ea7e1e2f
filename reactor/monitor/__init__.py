"""Observation of a running reactor: `watchdog` reports what blocks the loop."""
