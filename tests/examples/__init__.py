"""Tests of `examples/`, each run as a process; servers of protocols run in a thread of the tests too."""
