"""``python3 -m reactor serve``: serves one handler class on any number of sockets until a signal comes.

This module has what a process needs and a loop does not: the arguments, the line on the terminal, errors in one line.
`stopping` has the end of the process.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import reactor as package

from .. import BaseServer, Reactor, TCPServer, handlers
from ..handlers.blocking.framing import is_framing
from ..servers.kinds import class_of
from .activation import ConnectionMixIn, inherited_mixin, is_over, with_inherited
from .errors import Wrong, say
from .loading import DEFAULT_CLASS, load
from .notify import Notifier
from .options import Parser, parse
from .places import DEFAULT_URL, SCHEMES, parse_url, url_of
from .stopping import (
    CUT,
    GRACE,
    Ending,
    Interruptible,
    Stopped,
    do_nothing,
    hold_signals,
    replace_hangup,
    stop_at_once_on_signals,
    stop_on_signals,
    wind_down,
)
from .terminal import is_terminal, overwrite, show_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType
    from typing import Any, NoReturn

    from .certificates import Certificates
    from .places import Place

LONGEST = 86_400
"""The longest grace, in seconds."""
BACKLOG = 1024
"""Length of the accept queue (``listen(2)``); the kernel may have a lower maximum (``somaxconn``)."""

MOST = 1024
"""The most workers or threads."""

MODES = {"select": "Select", "sync": "", "fork": "Forking", "thread": "Threading"}
STREAMS = "tcp://, tcp6://, tls://, tls6:// or unix://"
DATAGRAMS = "udp://, udp6:// or unix+dgram://"
REMEDIES = {
    "EACCES": "permission is missing: bind a port from 1024 up, or a path in a directory of your own",
    "EADDRINUSE": "stop the server that uses it, or bind another URL (port 0 takes a free one)",
    "EADDRNOTAVAIL": "this machine does not have this address: bind an address of this machine, such as 127.0.0.1",
    "ENOENT": "make the directory first",
}
EXAMPLES = """\
URLs:
  tcp://HOST:PORT       tcp6://[HOST]:PORT      unix:///PATH        unix://@NAME
  udp://HOST:PORT       udp6://[HOST]:PORT      unix+dgram:///PATH  unix+dgram://@NAME
  tls://HOST:PORT       tls6://[HOST]:PORT      (with --tls; SIGHUP reads the certificate again)
  systemd:[NAME]        systemd+tls:[NAME]      (sockets that systemd has passed: all, or those of this name)

  Port 0 takes a free port. tcp6://[::]:PORT takes IPv4 clients too. @NAME is an abstract name (Linux).

exit status:
  0: all requests have finished.  3: some were cut; standard error says which.  2: nothing could be served.

examples:
  python3 -m reactor serve
  python3 -m reactor serve my_module:MyHandler --mode fork --bind tcp://0.0.0.0:7007
  python3 -m reactor serve --options serve.conf
  python3 -m reactor serve reactor.handlers.http:Files --bind tcp://127.0.0.1:8080
  python3 -m reactor serve wsgi:my_site:application --mode thread --bind tcp://127.0.0.1:8080
  python3 -m reactor serve reactor.handlers.services:DaytimeDatagram --bind udp://127.0.0.1:0 --bind udp6://[::1]:0
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (default: those of the process). Returns the exit status (see `EXAMPLES`)."""
    try:
        stop_at_once_on_signals()
        options = parse(*parsers(), arguments)
        places = with_inherited(options.bind or [parse_url(DEFAULT_URL)])
        certificates = find_certificates(options, places)
        notifier = Notifier()
        if options.workers or options.threads:
            return CUT if serve_by_many(options, places, certificates, notifier) else 0
        kind, is_registered = load(options.handler), options.rpcbind
        cut = serve(kind, options.handler, options.mode, places, options.grace, certificates, is_registered, notifier)
    except Wrong as wrong:
        say(f"python3 -m reactor serve: {wrong}\n")
        return 2
    except Stopped:
        return 0  # the signal came before anything was served
    return CUT if cut else 0


# Arguments


def parsers() -> tuple[Parser, Parser]:
    """The parser of the command line, and that of the options of ``serve``."""
    top = Parser(prog="python3 -m reactor", description="Serve protocols with one loop and one table.")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    command: Parser = commands.add_parser(
        "serve", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES,
        help="serve a handler class until SIGINT or SIGTERM",
        description="Serve a handler class until SIGINT or SIGTERM.",
    )  # fmt: skip
    command.add_argument(
        "handler", metavar="MODULE:CLASS", nargs="?", default=DEFAULT_CLASS,
        help="the handler class; the module is looked up in the current directory first (default: %(default)s). "
        "wsgi:MODULE:APP serves a WSGI application over HTTP",
    )  # fmt: skip
    command.add_argument(
        "--mode", choices=MODES, default="select",
        help="what drives the requests: one loop drives all at once (select), the process one after the other (sync), "
        "a child or a thread drives each (fork, thread); default: %(default)s",
    )  # fmt: skip
    command.add_argument(
        "--bind", metavar="URL", action="append", type=parse_url,
        help=f"where to serve; may be given several times (default: {DEFAULT_URL})",
    )  # fmt: skip
    command.add_argument(
        "--grace", metavar="SECONDS", type=parse_seconds, default=GRACE,
        help="how long requests that are open, or have been sent, may take to finish after SIGINT or SIGTERM, before "
        "they are cut; a second signal cuts them at once (default: %(default)g)",
    )  # fmt: skip
    command.add_argument(
        "--tls", metavar="CERT", help="the certificate for tls:// URLs, with its chain and perhaps its key (PEM)"
    )
    command.add_argument("--tls-key", metavar="KEY", help="its key, if it is in a file of its own (PEM)")
    command.add_argument(
        "--tls-client-ca",
        metavar="CA",
        help="the CAs of which clients need a certificate (default: they need none)",
    )
    command.add_argument(
        "--rpcbind", action="store_true",
        help="register the programs of an RPC handler with the rpcbind(8) of this host until the signal",
    )  # fmt: skip
    command.add_argument(
        "--workers", metavar="N", type=parse_count,
        help="have so many processes serve, each with one loop (mode select), and replace those that die; SIGHUP "
        "replaces all, one by one, with the code that is there then; SIGUSR1 prints the table of all",
    )  # fmt: skip
    command.add_argument(
        "--threads", metavar="N", type=parse_count,
        help="have so many threads serve, each with one loop (mode select), and one table, which SIGUSR1 "
        "prints; only a free-threaded Python runs them on several cores",
    )  # fmt: skip
    command.add_argument(
        "--options", metavar="FILE",
        help="a file with more options, one a line: NAME = VALUE, where NAME is that of an option here without its "
        "dashes, or handler; # begins a comment line. The command line wins over the file",
    )  # fmt: skip
    return top, command


def find_certificates(options: argparse.Namespace, places: Sequence[Place]) -> Certificates | None:
    """The certificates for the places that need some. Raises `Wrong` if one is missing, or if none is needed."""
    secure = [place.url for place in places if place.scheme.startswith("tls")]
    if options.tls is None:
        if secure:
            raise Wrong(f"{secure[0]}: name the certificate and its key with --tls CERT --tls-key KEY")
        if options.tls_key or options.tls_client_ca:
            raise Wrong("--tls-key and --tls-client-ca go with --tls CERT, which names the certificate")
        return None
    if not secure:
        raise Wrong(f"--tls {options.tls}: no URL needs it; --bind tls://HOST:PORT or tls6://[HOST]:PORT")
    from .certificates import Certificates  # which needs ssl

    return Certificates(options.tls, options.tls_key, options.tls_client_ca)


def parse_seconds(text: str) -> float:
    """The number of seconds in ``text``. Raises ``argparse.ArgumentTypeError`` with what is wrong."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r}: write seconds from 0 to {LONGEST}, such as 2.5")
    return seconds


def parse_count(text: str) -> int:
    """The number of workers or threads in ``text``. Raises ``argparse.ArgumentTypeError``."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 1 to {MOST}; best one for each core")
    return int(text)


# Serving it


def serve(
    kind: Any, name: str, mode: str, places: Sequence[Place], grace: float, certificates: Certificates | None,
    is_registered: bool, notifier: Notifier,
) -> int:  # fmt: skip
    """Serve the class ``kind``, which the user has named ``name``, at ``places`` until a signal.

    After the signal, open requests have ``grace`` seconds to finish. Returns how many were cut. Raises `Wrong`.
    """
    reactor = Reactor()
    ending = Ending(reactor, grace, notifier.stopping)
    stop_on_signals(ending)
    servers: list[TCPServer] = []
    try:
        for place in places:
            check_kind(kind, name, mode, place)
            servers.append(make_server(kind, mode, place, ending, certificates))
        if certificates is not None:
            renew_at_sighup(certificates, servers, reactor, notifier)
        with ExitStack() as until_signal:
            if is_registered:
                register(servers, until_signal)
            notifier.ready(reactor)
            for place, server in zip(places, servers, strict=True):
                if not isinstance(server, ConnectionMixIn):
                    say(f"listening on {actual_url(place, server)} ({mode})\n")
            run(ending, servers)
    finally:
        wind_down(servers, ending)
    return ending.cut


def serve_by_many(
    options: argparse.Namespace, places: Sequence[Place], certificates: Certificates | None, notifier: Notifier
) -> int:
    """Have several processes or threads serve what the options say until a signal.

    Returns how many requests were cut. Raises `Wrong`.
    """
    if options.workers:
        replace_hangup(do_nothing)  # which is to replace the workers: those that begin later are new anyway
    refuse_for_many(options, places)
    from .workers import Parent, listen

    def bind(place: Place, count: int) -> Any:
        prefix = "prefork" if options.workers else "select"
        with errors_of(prefix, place):
            kind = PacketPlaceholder if place.packets else handlers.StreamHandler
            return listen(server_class(prefix, place)(place.address, kind, False), count, BACKLOG)

    def make(own: Sequence[Place], ending: Ending) -> list[TCPServer]:
        kind = load(options.handler)
        for place in own:
            check_kind(kind, options.handler, "select", place)
        return [make_server(kind, "select", place, ending, certificates) for place in own]

    def urls(servers: Sequence[TCPServer]) -> list[str]:
        return [actual_url(place, server) for place, server in zip(places, servers, strict=True)]

    if options.workers:
        parent = Parent(options.workers, places, options.grace, bind, make, notifier)
        return parent.run(urls(parent.servers))
    from .threads import Threads

    load(options.handler)  # first, while a signal ends the process at once
    threads = Threads(options.threads, places, options.grace, bind, make, notifier)
    if certificates is not None:
        renew_at_sighup(certificates, threads.servers, threads.reactor, notifier)
    for url in urls(threads.sources):
        say(f"listening on {url} (select)\n")
    return threads.run()


def refuse_for_many(options: argparse.Namespace, places: Sequence[Place]) -> None:
    """Raise `Wrong` for options that do not go with several processes or threads."""
    name = f"--workers {options.workers}" if options.workers else f"--threads {options.threads}"
    if options.workers and options.threads:
        raise Wrong(f"{name}: it does not go with --threads {options.threads}; leave one of them away")
    if options.workers and not hasattr(os, "fork"):
        raise Wrong(f"{name}: this host can't fork; leave it away, and one process serves")
    if options.mode != "select":
        raise Wrong(f"{name}: each has one loop (mode select); leave --mode {options.mode} away")
    if options.rpcbind:
        raise Wrong(f"{name}: the first that ends would remove the registrations; leave --rpcbind away")
    for place in places:
        if isinstance(place.address, socket.socket) and inherited_mixin(place.address) is ConnectionMixIn:
            raise Wrong(f"{place.url}: one connection was passed, for one loop; leave {name} away")


class PacketPlaceholder(handlers.DatagramRequestHandler):
    """In place of the handler in the parent of workers, which serves nothing."""

    request: Any = handlers.Packet()


def register(servers: Sequence[TCPServer], stack: ExitStack) -> None:
    """Register the programs of the servers with rpcbind; the stack removes them. Raises `Wrong`."""
    from ..servers.rpcbind import RegistrationError, registered

    try:
        stack.enter_context(registered(*servers))
    except RegistrationError as error:
        raise Wrong(f"--rpcbind: {error}") from None


def run(ending: Ending, servers: Sequence[TCPServer]) -> None:
    """Run the loop until a signal or the end of passed connections; on a terminal, show a line about the table."""
    reactor = ending.reactor
    terminal = is_terminal()
    if terminal:
        show_table(reactor)
    try:
        reactor.run_while(lambda: ending.is_awaited() and not is_over(servers))
    except Stopped:
        pass  # a signal has ended it
    finally:
        if terminal:
            overwrite("")


def check_kind(kind: Any, name: str, mode: str, place: Place) -> None:
    """Raise `Wrong` for a handler that can't be served on this kind of socket, or not in this mode."""
    kind = class_of(kind)
    if place.packets and issubclass(kind, (handlers.StreamHandler, *blocking_kinds("StreamRequestHandler"))):
        raise Wrong(f"{name} is for streams, {place.url} is not; name a datagram handler, or --bind {STREAMS}")
    if not place.packets and issubclass(kind, (handlers.DatagramHandler, *blocking_kinds("DatagramRequestHandler"))):
        raise Wrong(f"{name} is for datagrams, {place.url} is not; name a stream handler, or --bind {DATAGRAMS}")
    if mode == "select" and not issubclass(kind, handlers.Handler):
        check_request(kind, name, handlers.Packet if place.packets else handlers.StreamWait)


def blocking_kinds(name: str) -> list[type]:
    """The classes of blocking handlers with this name: this package's, and that of ``socketserver`` if it is loaded."""
    return [getattr(home, name) for home in (handlers, sys.modules.get("socketserver")) if hasattr(home, name)]


def check_request(kind: Any, name: str, wait: type[handlers.Wait]) -> None:
    """Raise `Wrong` for a blocking handler that does not declare when a request has come whole."""
    request = getattr(kind, "request", None)
    if not isinstance(request, wait) and (wait is handlers.Packet or not is_framing(request)):
        example = "Packet()" if wait is handlers.Packet else 'Until(b"\\r\\n")'
        raise Wrong(
            f"{name} is a blocking handler, and in mode select nothing may block; take --mode sync, fork or thread, "
            f"or declare on the class when a request has come whole, such as request = {example}"
        )


def renew_at_sighup(
    certificates: Certificates, servers: Sequence[TCPServer], reactor: Reactor, notifier: Notifier
) -> None:
    """Have SIGHUP read the certificate again, for the handshakes that begin then. A wrong file changes nothing."""
    secure = [server for server in servers if hasattr(server, "context")]

    def renew() -> None:
        from .certificates import Unusable

        notifier.reloading()
        try:
            certificates.renew(secure)
        except Unusable as wrong:
            say(f"python3 -m reactor serve: {wrong}. The certificate from before stays\n")
        finally:
            notifier.reloaded()

    def at_sighup(number: int, frame: FrameType | None) -> None:
        reactor.call_soon(renew)

    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, at_sighup)


def make_server(kind: Any, mode: str, place: Place, ending: Ending, certificates: Certificates | None) -> TCPServer:
    """Make a server, which listens then. Raises `Wrong`."""
    with errors_of(mode, place):
        server: TCPServer = server_class(mode, place, ending, certificates)(place.address, kind, reactor=ending.reactor)
    return server


@contextmanager
def errors_of(mode: str, place: Place) -> Iterator[None]:
    """A context in which a server is made; what fails raises `Wrong` with the remedy."""
    try:
        yield
    except RuntimeError as error:
        raise Wrong(f"--mode {mode}: {error}. In this command: --mode select or sync") from None
    except (TypeError, UnicodeError) as error:
        raise Wrong(f"{place.url}: {error}; write a host name, or an address") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE and error.filename:
            raise Wrong(f"{place.url}: {error.strerror}") from None  # the text names a remedy already
        other = "bind an address that this machine has"
        if place.scheme.startswith("unix"):
            other = "bind a path in a directory that can be written" if error.errno else "bind a shorter path"
        elif isinstance(error, socket.gaierror):  # the same for an unknown name as for one of the other family
            scheme, six, _ = place.scheme.partition("6")
            own, url = ("IPv6", f"{scheme}:// for IPv4") if six else ("IPv4", f"{scheme}6:// for IPv6")
            other = f"bind a name that has an {own} address, or write {url}"
        remedy = REMEDIES.get(errno.errorcode.get(error.errno or 0, ""), other)
        raise Wrong(f"{place.url}: {error.strerror or error}; {remedy}") from None


def server_class(
    mode: str, place: Place, ending: Ending | None = None, certificates: Certificates | None = None
) -> Any:
    """The server class for the mode and the socket, with the settings of the command. Raises `Wrong`."""
    prefix = "Prefork" if mode == "prefork" else MODES[mode]
    base = getattr(package, prefix + SCHEMES[place.scheme], None)
    if base is None:
        raise Wrong(f"{place.url}: this host has no Unix sockets; --bind a tcp:// or udp:// URL")
    mixins: list[type] = [Interruptible] if mode in ("sync", "fork") else []
    members: dict[str, Any] = {
        "allow_reuse_address": os.name == "posix" and not place.packets,  # a restart must not wait for TIME_WAIT
        "request_queue_size": BACKLOG,
        "daemon_threads": True,  # a thread that does not end can't delay the exit; wind_down() waits for the others
        "block_on_close": False,
        "ending": ending,
    }
    if place.scheme.startswith("tls") and certificates is not None:
        from .certificates import TLSMixIn, Unusable

        try:
            members["context"] = certificates.context()
        except Unusable as wrong:
            raise Wrong(str(wrong)) from None
        mixins.insert(0, TLSMixIn)
    if isinstance(place.address, socket.socket):
        mixins.insert(0, inherited_mixin(place.address))
    if place.scheme.endswith("6"):
        members["address_family"] = socket.AF_INET6
    return type(base.__name__, (*mixins, base), members)


def actual_url(place: Place, server: BaseServer) -> str:
    """The URL at which the server can be reached, with the address and the port that it is bound to."""
    return place.url if isinstance(place.address, str) else url_of(place.scheme, server.server_address)


# The process


def run_command() -> NoReturn:
    """Run the command with the arguments of the process, and exit."""
    status = main()
    hold_signals()
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:  # the reader of the pipe has gone; Python's own flush at exit would make the status 120
        sys.stderr = None
    sys.exit(status)
