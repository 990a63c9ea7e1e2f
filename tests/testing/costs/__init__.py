"""Tests of the properties of work."""
