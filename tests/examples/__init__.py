"""Tests of `examples/`, each run as a process; the NFS server runs in a thread of the tests too."""
