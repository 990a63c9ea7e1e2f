"""``python3 -m reactor``: see `reactor.command`."""

from reactor.command.main import run_command

run_command()
