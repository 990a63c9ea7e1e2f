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
"""
