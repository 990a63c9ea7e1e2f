"""The command ``python3 -m reactor``: `main` has its arguments and servers, `options` reads them from a file too,
`loading` finds the handler, `places` are where they listen, `activation` has the sockets that systemd passes, `notify`
what it is told, `certificates` TLS, `workers` serves by several processes, `threads` by several threads, `terminal` has
the line on a terminal, `stopping` the end of the process, `errors` those of the user.
"""
