"""Tests of `handlers/`: waits, machines, blocking handlers and specimens, over bytes and not over a network."""
