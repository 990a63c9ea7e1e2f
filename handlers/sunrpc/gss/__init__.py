"""RPCSEC_GSS (RFC 2203): calls that are authenticated, protected from change, or encrypted by a mechanism of GSS-API.

A server has `server.GSS` in front of its handler, and an `acceptor.Acceptor`, which holds the contexts of its clients.
A client calls `client.establish`. Of the mechanism both need little: `mechanism` says what. The one that the host has,
Kerberos 5 above all, is in `library`, which needs the package ``gssapi``: ``pip install 'select-reactor[gss]'``.

::

    class Calculators(GSS, RPCStreamHandler):
        versions = (Calculator,)
        gss = Acceptor(Library("calc@host.example"))

    class Calculator(CALCULATOR_1):
        def authorize(self, procedure):
            demand(self.credential, Service.INTEGRITY)

`Version.credential` is then a `wire.Caller`, and the row of the call has the name of the user as its `principal`.

`mechanism`   what a mechanism of GSS-API does, as far as it is needed here
`wire`        the credential, the results of context creation, and the protection of arguments and results
`window`      the sequence numbers that a context has seen
`acceptor`    the contexts of a server: created, found, aged
`server`      `GSS`, the base class in front of a handler
`client`      the contexts of a client
`library`     the mechanisms of the host's library, by the package ``gssapi``

What it costs a server, in CPU time, with Kerberos 5 and AES-256 on one core of an AMD EPYC: 0.1 ms to accept a context;
for a small call and its reply 28 µs with service none, 41 with integrity, 43 with privacy; for 8 KiB in each direction
24, 70 and 148 µs, for a MiB 0.4, 4 and 13 ms. The loop does nothing else meanwhile, so a service that takes protected
calls from many clients keeps `RecordHandler.max_record` small, or runs in thread mode: the library works outside of the
interpreter's lock.
"""
