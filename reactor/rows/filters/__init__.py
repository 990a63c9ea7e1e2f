"""Filters that need more than bytes, or that help to test what is behind them.

They are in `tls`, `dtls`, `mac`, `proxy`, `chaos` and `tap`. Each is imported where it is wanted, and stands in
``filters`` of a server or of `Connected`: ``filters = [partial(Tap, tell=print)]``. For a server of datagrams there are
`PacketMAC`, `PacketChaos` and `PacketTap`, and `DTLS`, which `DTLSMixIn` puts in. The contract is in `handlers.filter`
for streams, and in `handlers.packet_filter` for datagrams. `bindings` are what authentication inside TLS is bound to.
"""
