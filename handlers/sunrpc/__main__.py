"""``python3 -m handlers.sunrpc``: see `command`."""

import sys

from .command import run_command

if __name__ == "__main__":
    sys.exit(run_command(package=__package__ or ""))
