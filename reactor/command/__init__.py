"""The process that ``python3 -m reactor`` is: `main` its arguments and servers, `stopping` how it ends."""
