"""Tests of what a client sends: strategies, and conversations of files and rules."""
