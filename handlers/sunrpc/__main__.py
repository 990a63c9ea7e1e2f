"""``python3 -m handlers.sunrpc``: see `handlers.sunrpc.command`."""

import sys

from handlers.sunrpc.command import run_command

if __name__ == "__main__":
    sys.exit(run_command())
