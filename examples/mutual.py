"""An echo for clients with a certificate of one CA: mutual TLS. The handler knows the name in the certificate.

python3 examples/mutual.py [PORT [CERTIFICATE [CA]]]      the files: certificate.pem, with the key, and ca.pem
openssl s_client -connect 127.0.0.1:7014 -CAfile ca.pem -cert client.pem      is a client
"""

import signal
import ssl
import sys

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

from handlers import Some, StreamHandler
from reactor import SelectTCPServer
from reactor.tls import TLSMixIn


class Echo(StreamHandler):
    async def handle(self) -> None:
        self.send(f"hello, {self.principal}\n".encode())
        while True:
            self.send(await Some())


class Server(TLSMixIn, SelectTCPServer):
    """TLS, in front of TCP."""


def main(port: str = "7014", certificate: str = "certificate.pem", ca: str = "ca.pem") -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate)
    with Server(("127.0.0.1", int(port)), Echo, context=context) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
