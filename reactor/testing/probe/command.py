"""The command line of the probe."""

from __future__ import annotations

import argparse
import json
import re
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...command.places import parse_url
from ..running.recorded import read
from .exchange import Target
from .probe import Unusable, probe
from .reports import as_json, as_junit, as_text
from .trials import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

STREAMS = ("tcp", "tcp6", "tls", "tls6", "unix")
NAMES = ("cut", "bytes", "slow", "coalesced", "half-close", "reset")
EPILOG = """\
URLs:
  tcp://HOST:PORT   tcp6://[HOST]:PORT   tls://HOST:PORT   tls6://[HOST]:PORT   unix:///PATH   unix://@NAME

CONVERSATION is a file: what the filter reactor.testing.Recording has written, or the raw bytes that a client sends.
It is played twice first. What differs then needs a mask, for example --mask 'Date: [^\\r]*'.

exit status:
  0 nothing was found   1 a property does not hold   2 wrong arguments, or no answer from the server
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (default: those of the process). Returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        for name in filter(None, (options.json, options.junit)):
            Path(name).open("ab").close()  # now: a probe takes long
        result = probe(
            target_of(options.url, options.insecure), read(options.conversation), masks=options.mask,
            limits=Limits(options.quiet, options.patience, options.places), connections=options.connections,
            skipped=options.skip,
        )  # fmt: skip
        sys.stdout.write(as_text(result))
        if options.json:
            Path(options.json).write_text(json.dumps(as_json(result), indent=1) + "\n")
        if options.junit:
            Path(options.junit).write_bytes(as_junit(result))
    except (Unusable, ValueError, OSError) as error:
        sys.stderr.write(f"python3 -m reactor.testing probe: {error}\n")
        return 2
    return int(any(outcome.found for outcome in result.outcomes))


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(prog="python3 -m reactor.testing")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "probe", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EPILOG,
        help="probe a running server: any cut, end and reset of a conversation",
        description="Probe a running server: any cut, end and reset of a conversation.",
    )  # fmt: skip
    command.add_argument("url", metavar="URL", help="where the server is")
    command.add_argument("conversation", metavar="CONVERSATION", help="a file with a conversation that it answers")
    command.add_argument(
        "--mask", metavar="REGEX", action="append", default=[], type=mask,
        help="what may differ from run to run, such as a date; may be given several times",
    )  # fmt: skip
    command.add_argument(
        "--quiet", metavar="SECONDS", type=positive, default=Limits().quiet,
        help="an answer is over when nothing has come for so long (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--patience", metavar="SECONDS", type=positive, default=Limits().patience,
        help="an answer is missing when it has not come in so long (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--connections", metavar="N", type=count, default=32, help="connections at a time (%(default)s)"
    )  # fmt: skip
    command.add_argument(
        "--places", metavar="N", type=count, default=Limits().places,
        help="places of a conversation that are tried, at most (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--skip", metavar="PROPERTY", action="append", default=[], choices=NAMES,
        help=f"leave a property out: {', '.join(NAMES)}; may be given several times",
    )  # fmt: skip
    command.add_argument("--insecure", action="store_true", help="take any certificate of a tls:// server")
    command.add_argument("--json", metavar="FILE", help="write the findings as JSON")
    command.add_argument("--junit", metavar="FILE", help="write the findings as JUnit XML")
    return top


def target_of(url: str, is_insecure: bool) -> Target:
    """The server at a URL. Raises `Unusable`, or ``OSError`` for a name that has no address."""
    try:
        place = parse_url(url)
    except argparse.ArgumentTypeError as error:
        raise Unusable(str(error)) from None
    if place.scheme not in STREAMS:
        raise Unusable(f"{url!r}: give one of {', '.join(f'{scheme}://' for scheme in STREAMS)}")
    if place.scheme == "unix":
        return Target(url, socket.AF_UNIX, place.address)
    host, port, *zone = place.address
    family = socket.AF_INET6 if place.scheme.endswith("6") else socket.AF_INET
    try:
        address: Any = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
    except socket.gaierror as error:
        raise Unusable(f"{url!r}: {host} has no address: {error.strerror}") from None
    address = (*address[:2], *zone) if zone else address
    if not place.scheme.startswith("tls"):
        return Target(url, family, address)
    context = ssl.create_default_context()
    if is_insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return Target(url, family, address, context, host)


def mask(text: str) -> bytes:
    """A regular expression of bytes."""
    try:
        re.compile(text.encode())
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text.encode()


def positive(text: str) -> float:
    """A number of seconds above 0, and no more than a day."""
    seconds = float(text)
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds above 0, at most 86400")
    return seconds


def count(text: str) -> int:
    """A number from 1 to 10,000."""
    number = int(text)
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1 to 10000")
    return number
