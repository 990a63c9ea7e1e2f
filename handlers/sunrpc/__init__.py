"""ONC RPC, called Sun RPC (RFC 5531), and what it is made of. Nothing else imports this package.

==============  ======================================================================================
`xdr`           External Data Representation (RFC 4506), usable alone: types, codecs, `Packer`
`auth`          authentication flavours: AUTH_NONE and AUTH_SYS
`message`       the messages: a call is read, a reply is written
`program`       programs, versions and procedures, as classes; and what serves them has in common
`record`        `RPCStreamHandler`: record marking, and the calls of one connection
`datagram`      `RPCDatagramHandler`: a call in each datagram, and the cache of duplicate requests
`client`        `StreamClient`, `DatagramClient`: clients that block
`rpcbind`       `Portmapper`: which port a program has (RFC 1833)
`language`      compiles a ``.x`` file to a Python module of both
`command`       ``python3 -m handlers.sunrpc``
==============  ======================================================================================
"""
