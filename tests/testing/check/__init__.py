"""Tests of `check`: its strategies and schedules, the handlers that pass, and the bugs that it finds."""
