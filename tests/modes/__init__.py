"""Tests of the four modes, and of children and threads that work for a request."""
