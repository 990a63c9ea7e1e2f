"""Kerberos 5 of the test's own: a realm with its KDC, on a free port of the loopback interface.

All its files are in one directory, and only the processes that are given its `environment` know of it. Two of them are
in this module: ``python -m tests.support.kerberos serve MODE TRANSPORT`` and ``… call TRANSPORT PORT SIZE``.
"""

import importlib.util
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from socket import SOCK_DGRAM, SOCK_STREAM

from handlers.sunrpc.auth import AuthError
from handlers.sunrpc.client import DatagramClient, StreamClient
from handlers.sunrpc.gss.acceptor import Acceptor
from handlers.sunrpc.gss.client import establish
from handlers.sunrpc.gss.mechanism import GSSError
from handlers.sunrpc.gss.server import GSS
from handlers.sunrpc.gss.wire import Caller, Service
from handlers.sunrpc.message import RPCError
from tests import ROOT
from tests.support.programs import needed, program
from tests.support.rpc import Calculator, Calculator3, Datagram, Stream, x
from tests.support.serving import PACKETS, PATIENCE, STREAMS, made, server_class, wait_until

SERVICE = "calc@localhost"

CONFIG = """
[libdefaults]
 default_realm = TEST
 dns_lookup_kdc = false
 dns_canonicalize_hostname = false
 rdns = false
[realms]
 TEST = {{
  kdc = 127.0.0.1:{port}
 }}
[domain_realm]
 localhost = TEST
"""

KDC = """
[kdcdefaults]
 kdc_listen = 127.0.0.1:{port}
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 TEST = {{
  database_name = {directory}/principal
  key_stash_file = {directory}/stash
  acl_file = {directory}/acl
 }}
"""


def free_port():
    """A port of the loopback interface that is free for TCP and UDP."""
    for _ in range(20):
        with closing(socket.socket()) as stream, closing(socket.socket(type=SOCK_DGRAM)) as packets:
            stream.bind(("127.0.0.1", 0))
            try:
                packets.bind(stream.getsockname())
            except OSError:
                continue
            return stream.getsockname()[1]
    raise OSError("no port is free for TCP and UDP")


class Realm:
    """The realm TEST with the user alice, who has a ticket, and the service calc/localhost, whose key is there."""

    def __init__(self, directory: Path) -> None:
        needed(importlib.util.find_spec("gssapi"), "gssapi")
        names = "kdb5_util", "kadmin.local", "krb5kdc", "kinit"
        self._programs = {name: program(name) for name in names}
        port = free_port()
        (directory / "krb5.conf").write_text(CONFIG.format(port=port))
        (directory / "kdc.conf").write_text(KDC.format(port=port, directory=directory))
        self.environment = {
            **os.environ,
            "KRB5_CONFIG": f"{directory}/krb5.conf",
            "KRB5_KDC_PROFILE": f"{directory}/kdc.conf",
            "KRB5_KTNAME": f"FILE:{directory}/keytab",
            "KRB5CCNAME": f"FILE:{directory}/ccache",
            "KRB5RCACHENAME": "none:",
            "LC_ALL": "C",  # the language of messages
        }
        self._run("kdb5_util", "create", "-s", "-r", "TEST", "-P", "master")
        self._run("kadmin.local", "-q", "addprinc -pw sesame alice")
        self._run("kadmin.local", "-q", "addprinc -randkey calc/localhost")
        self._run("kadmin.local", "-q", f"ktadd -k {directory}/keytab calc/localhost")
        command = [self._programs["krb5kdc"], "-n", "-P", f"{directory}/pid"]
        self._kdc = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: self._answers(port), "the start of the KDC")
            self._run("kinit", "alice", send="sesame\n")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_: object):
        self.close()

    def close(self):
        """End the KDC."""
        self._kdc.kill()
        self._kdc.communicate(timeout=PATIENCE)

    def _run(self, name, *arguments, send=""):
        command = [self._programs[name], *arguments]
        done = subprocess.run(
            command, env=self.environment, input=send, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _answers(self, port):
        assert self._kdc.poll() is None, self._kdc.communicate()[0]
        with closing(socket.socket()) as client:
            client.settimeout(PATIENCE)
            return client.connect_ex(("127.0.0.1", port)) == 0

    def start(self, *command):
        """Start a process that knows the realm."""
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True)

    def server(self, mode, transport):
        """Start a server; it says its port."""
        return self.start(sys.executable, "-m", "tests.support.kerberos", "serve", mode, transport)

    def call(self, *arguments):
        """Run our client: all that it says."""
        return self.run(sys.executable, "-m", "tests.support.kerberos", "call", *arguments)

    def run(self, *command):
        """Run a command in the realm: all that it says."""
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout


class Named(Calculator):
    """Says how long the name of its user is, and how the call is protected."""

    def UID(self):  # noqa: N802
        if isinstance(self.credential, Caller):
            assert self.principal == self.credential.principal
            return 100 * self.credential.service + len(self.principal)
        return super().UID()


def serve(mode, transport):
    """Serve the calculator, with Kerberos, until the process is ended."""
    from handlers.sunrpc.gss.library import Library

    base, place = (Stream, STREAMS["tcp"]) if transport == "tcp" else (Datagram, PACKETS["udp"])
    mechanism = Library(SERVICE, os.environ["KRB5_KTNAME"]) if transport == "tcp" else Library()
    acceptor = Acceptor(mechanism)
    handler = type("Protected", (GSS, base), {"versions": (Named, Calculator3), "gss": acceptor})
    with made(server_class(mode, place), place, handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def call(transport, port, size):
    """Say the results of calls with each service, one with a result of so many bytes."""
    from handlers.sunrpc.gss.library import Initiator

    kind, of_client = (SOCK_STREAM, StreamClient) if transport == "tcp" else (SOCK_DGRAM, DatagramClient)
    for service in Service:
        with socket.socket(type=kind) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", int(port)))
            client = of_client(x.CALCULATOR_1, sock)
            initiator = Initiator(SERVICE, os.environ["KRB5CCNAME"]) if transport == "tcp" else Initiator(SERVICE)
            client.credential = establish(client, initiator, service)
            make_calls(client, int(size))
            client.credential.destroy(client)
            print(refused(client.call, "ADD", 2, 3))
            print(refused(establish, client, Initiator("other@localhost")))


def make_calls(client, size):
    """Make some calls, and say their results."""
    remote = client.remote
    print(remote.NOTHING(), remote.ADD(2, -5), remote.REPEAT(x.text("ab", 3)).value, remote.LATER(20))
    print(len(remote.FILL(size)), remote.UID(), refused(remote.FAIL, 0), refused(remote.UNDEFINED, 0))
    xids = [client.begin("ADD", number, 1) for number in range(50)]
    print(sum(client.result(xid) for xid in reversed(xids)))


def refused(call, *arguments):
    """What the call raises."""
    try:
        return call(*arguments)
    except (RPCError, AuthError, GSSError) as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
