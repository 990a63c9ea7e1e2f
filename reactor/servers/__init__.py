"""The servers: classes with the names and the contract of ``socketserver``.

A server has the public names of ``socketserver`` and one private attribute, ``_srv``, a `service.Service`. The service
leads a request from its arrival to its end. Its parts:

    `intake`        the contract of the two parts that take arrivals from the socket:
                    `connections` for listeners, `exchanges` for datagram sockets
    `passing`       the short way of a datagram request, which passes without a row
    `associations`  takes DTLS packets: lets in the peers that have proved their address
    `arrivals`      takes what has arrived, so many in a batch
    `sharing`       a worker process's share of the connections of a listener that others serve too
    `admission`     which requests are let in, and what becomes of the others
    `direct`        the direct way of a connection, where nothing unusual is declared
    `queue`         the requests that wait for a child or a thread
    `mode`          the contract of a mode, and the plain mode; the room ``modes`` registers the others
    `serving`       when the server takes requests: `serve_forever()`, `handle_request()`, `shutdown()`
    `periodic`      calls that the server makes while it takes requests
    `framed`        blocking handlers that run over requests which have come whole
    `answers`       ends what blocking handlers answer in threads and children, when their server closes
    `crew`          the threads in which they answer
    `overdue`       the end of blocking handlers of the plain mode when the time of a drain is over
    `last`          how listening ends
    `in_hand`       which row belongs to the request that a hook is given
    `inners`        the loops that each drive one request for a caller, a child or a thread
    `hooks`         calls hooks that may raise
    `heirs`         the children of `fork_request()`
    `words`         what a child reports of its request when it exits
    `wrapped`       connections that the user has wrapped with ``ssl``
    `kinds`         which kind of handler or hook the user has given

Users derive from the classes in `base`, `tcp`, `udp` and `unix`; `access`, `activation`, `tls` and `dtls` have mix-ins.
`rpcbind` registers servers of RPC.
"""
