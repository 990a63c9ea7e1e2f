"""Tests of what observes the table and the loop: the watchdog."""
