"""What the command says: `Wrong`, an error of the user, which ends it, and other lines on standard error."""

import sys


class Wrong(Exception):
    """An error of the user. The text is one line: what is wrong, and how to correct it."""


def say(text: str) -> None:
    """Write ``text`` on standard error, if there is one."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            pass  # the reader of the pipe has gone; the service goes on
