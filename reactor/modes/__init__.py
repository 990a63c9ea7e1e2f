"""The modes: what drives a request. The plain mode, in which the caller drives it, is ``servers.mode``.

In `select` the loop drives every request, in `forking` a child process each, in `threading` a thread each. Each of
these modules has the mix-in that users derive from, and the mode that is registered for it. `mixin` is the base class
of the mix-ins. `select_udp` and `select_unix` have the servers of select mode that are not of TCP. `mailbox` has the
pipes that tell children to end or to drain, and the sockets that carry packets to a child. `jobs` does the work of the
waits `Forked` and `Threaded`, `programs` that of `Ran`, `answering` that of `Answered`: it runs blocking handlers over
requests that have come whole.

In `prefork` several processes each do what `select` does. A `supervisor` in their parent keeps them running; `worker`
is such a process as it sees itself; they talk over a `control`, and their tables are `joined`.
"""
