"""Handlers that the linter and the diagrams read."""
