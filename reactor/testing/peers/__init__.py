"""The room of the peers of filters: the other end of TLS, of a PROXY header, of a filter of your own.

A filter is tried with a peer that speaks its protocol. `check` and the clients of the simulated kernel give the peer
plain text to send, carry wire bytes between peer and filter, and compare the plain text. Modules, lowest first:

============  ===============================================================================
``peer``      `Peer`, the base of all peers, and `Through`, a filter with its peer
``header``    the peer of a filter that takes a header: `proxy`
``tls``       the other end of TLS, with a certificate for tests: `tls`. It imports ``ssl``
============  ===============================================================================

This room imports no other room.
"""
