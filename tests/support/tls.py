"""A client of TLS whose bytes a test sends itself."""

import ssl


def exchange(plain, coming, going, call):
    """Make a call on an ``ssl.SSLObject``, and send and receive what it wants until it succeeds."""
    while True:
        result = attempt(call)
        if going.pending:
            plain.sendall(going.read())
        if result is not None:
            return result
        if data := plain.recv(65_536):
            coming.write(data)
        else:
            coming.write_eof()


def attempt(call):
    """What the call returns, ``True`` for nothing; ``None`` if it needs more input."""
    try:
        result = call()
    except ssl.SSLWantReadError:
        return None
    return True if result is None else result
