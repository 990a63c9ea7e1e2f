"""The servers that are measured, ours and others; ``python3 -m tests.benchmarks.peers`` serves one in a process."""
