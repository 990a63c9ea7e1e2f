"""Tests of rows: what a stream, an exchange of datagrams or an outgoing connection does with its socket."""
