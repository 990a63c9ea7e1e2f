"""The command ``python3 -m reactor``: `main` has its arguments and servers, `options` reads them from a file too,
`places` where they listen, `activation` the sockets that systemd passes, `notify` what it is told, `certificates` TLS,
`stopping` the end of the process, `errors` those of the user.
"""
