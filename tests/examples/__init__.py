"""Tests of `examples/`, each run as a process; the NFS server and the instrument run in a thread of the tests too."""
