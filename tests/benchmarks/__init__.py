"""``python3 -m tests.benchmarks``: what messages, connections, memory and imports cost, beside other servers.

cases        what is measured: a service, its load, its peers, and the bounds that are aimed at
peers/       the servers that are measured; each serves in a process of its own
floor.c      the least that a server with epoll has to do
load.c       the load: connections and messages, where neither `wrk` nor `redis-benchmark` makes it
measuring    one server and its load, each on its own processor; the processor time of the server
tools        the C programs, `wrk` and `redis-benchmark`
alone        what needs no client: deadlines, imports, feeding a machine
memory       what an idle connection takes
rounds       interleaved rounds over the servers of a case, and what comes of them
report       tables in Markdown, and the machine on which they were measured
chart        a picture of them
"""
