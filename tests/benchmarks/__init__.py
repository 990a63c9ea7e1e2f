"""``python3 -m tests.benchmarks``: what messages, connections, memory and imports cost, beside other servers."""
