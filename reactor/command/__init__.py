"""The command ``python3 -m reactor``: `main` has its arguments and servers, `stopping` the end of the process."""
