"""Peers for tests of filters: the other end of TLS, of the PROXY protocol, or of a filter of your own.

A filter is tested with a peer that speaks its protocol. `check` and the clients of the simulated kernel give the peer
plain text to send, carry wire bytes between the peer and the filter, and compare the plain text that arrives. Modules:

============  ===============================================================================
``peer``      `Peer`, the base of all peers, and `Through`, a filter with its peer
``header``    `proxy`: the filter `Proxy` with a peer that sends a PROXY header
``tls``       `tls`: the filter `TLS` with a TLS client, and a certificate. Imports ``ssl``
============  ===============================================================================

This room imports no other room of ``testing``.
"""
