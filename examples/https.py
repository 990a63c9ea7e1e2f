"""The files of a directory by HTTPS: `http.server`'s blocking handler, unchanged, over TLS in select mode.

The loop waits for all clients, and a slow one delays nobody: the handler runs when its request has come whole. It runs
in a thread (`work`), which waits while its client takes a long file; else the loop would hold the file.

python3 examples/https.py [PORT [CERTIFICATE [DIRECTORY]]]      the file certificate.pem has the key, too
curl --cacert ca.pem https://localhost:7015/                    is a client
"""

import signal
import ssl
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers.http import http_request
from reactor import SelectTCPServer
from reactor.tls import TLSMixIn


class Files(SimpleHTTPRequestHandler):
    request = http_request
    work = "thread"
    protocol_version = "HTTP/1.1"  # the connection is kept for the next request
    timeout = 30

    def log_message(self, text: str, *arguments: object) -> None:
        print(self.address_string(), text % arguments, flush=True)


class Server(TLSMixIn, SelectTCPServer):
    """TLS, in front of TCP."""


def main(port: str = "7015", certificate: str = "certificate.pem", directory: str = ".") -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with Server(("127.0.0.1", int(port)), partial(Files, directory=directory), context=context) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
