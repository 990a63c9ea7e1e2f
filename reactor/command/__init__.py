"""The command ``python3 -m reactor``: `main` has its arguments and servers, `places` where they listen, `activation`
the sockets that systemd passes, `certificates` its TLS, `stopping` the end of the process, `errors` those of its user.
"""
