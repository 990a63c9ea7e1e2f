"""Readiness to channel, and channel to kernel: the rows whose requests the loop, a caller, a child or a thread drives.

`driven`      what all rows with a channel have in common; the row of a call, which has no descriptor
`stream`      the row of a connection
`rowless`     the first turn of a new connection, which may end its request before it has a row
`copying`     sends files of a connection's output (``sendfile(2)``)
`relaying`    moves what comes on a connection to another one in the kernel (``splice(2)``)
`packets`     the row of one request of datagrams
`brief`       the first turn of such a request, which may end it before it has a row or a machine
`connected`   the row of a datagram socket that a handler has connected to one peer
`shared`      the socket that many requests share
`connecting`  a connection that a handler opens (`Connected`)
`names`       the addresses of a host, looked up without blocking the loop; `dns` asks a name server
`blocking`    the row of a blocking handler
`framed`      the row of a blocking handler that has a framing
`face`        the row of a blocking handler that has filters in front of it
`hangup`      whether a hang-up means that no input is left
`lingering`   closes a connection without losing output
`urgent`      urgent data of TCP
`ancillary`   what recvmsg(2) returns besides the data: addresses, errors, descriptors
`networks`    networks, as a user writes them
`filters`     the filters that need more than bytes

A row carries its server, for its handler, and never calls it: what it has to tell, it tells its `request.Owner`.
"""
