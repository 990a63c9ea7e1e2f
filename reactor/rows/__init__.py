"""Readiness to channel, and channel to kernel: the rows whose requests the loop, a caller, a child or a thread drives.

`driven` is what all of them have in common, and a call (a row without a descriptor); `stream` the row of a
connection; `packets` the row of one exchange of datagrams; `shared` the socket that many of those share; `connecting`
a connection that a handler opens; `blocking` the row of a blocking handler, `face` that of one which has filters in
front of it; `hangup` a peer that has gone; `lingering` the close that loses nothing; `urgent` and `ancillary` what
comes beside the data; `networks` the networks that a user names; `filters` the filters that need more than bytes.

Nothing here knows a server: whoever makes a row is its `Owner`.
"""
