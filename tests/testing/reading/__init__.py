"""Tests of what reads the source of a handler: the linter and the diagrams."""
