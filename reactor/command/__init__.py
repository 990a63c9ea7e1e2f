"""The command ``python3 -m reactor``: `main` has its arguments and servers, `certificates` its
TLS, `stopping` the end of the process.
"""
