"""ONC RPC, also called Sun RPC (RFC 5531): servers, clients, XDR, and a compiler of ``.x`` files.

Of the reactor, only `reactor.servers.rpcbind` imports this package.

==============  ======================================================================================
`xdr`           External Data Representation (RFC 4506), usable alone: types, codecs, `Packer`
`auth`          authentication flavours: AUTH_NONE and AUTH_SYS
`gss`           RPCSEC_GSS (RFC 2203): Kerberos 5, for servers and clients
`message`       RPC messages: reads a call, writes a reply
`program`       base classes of programs and versions, and of the handlers that serve them
`record`        `RPCStreamHandler`: record marking, and the calls of one connection
`datagram`      `RPCDatagramHandler`: a call in each datagram, and the cache of duplicate requests
`tls`           `StartTLS`: RPC-with-TLS (RFC 9289)
`client`        `StreamClient`, `DatagramClient`: clients that block
`calling`       `StreamCaller`, `DatagramCaller`: calls that a handler makes inside a reactor
`registry`      `Registry`: the addresses of programs, and universal addresses
`rpcbind`       `Portmapper` and `Rpcbind`: serve such a registry (RFC 1833)
`registering`   `Registrar`: registers programs with a running rpcbind(8)
`language`      compiles a ``.x`` file to a Python module that uses `xdr` and `program`
`command`       ``python3 -m handlers.sunrpc``
==============  ======================================================================================
"""
