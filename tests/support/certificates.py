"""Certificates for tests, made once in a run by the ``openssl`` program: a CA, a server's and a client's."""

import functools
import shutil
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path

NAME = "service.test"
"""The name in the server's certificate."""


def folder():
    """The directory of the certificates, made when it is first asked for, by whichever thread that is."""
    with _making:
        return _folder()


@functools.cache
def _folder():
    """A directory with ``ca.pem``, and with ``NAME.pem`` and ``NAME.key`` of the server and of the client alice."""
    place = tempfile.TemporaryDirectory(prefix="reactor-certificates-")
    _kept.append(place)  # until the process ends
    path = Path(place.name)
    _run(path, "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
    for name, subject in ((NAME, f"/CN={NAME}"), ("alice", "/O=Example/CN=alice")):
        _run(path, "req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        (path / "names").write_text(f"subjectAltName=DNS:{name}")
        _run(
            path, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", "names",
        )  # fmt: skip
    return path


_KEY = "-newkey", "ed25519", "-nodes"
_kept = []
_making = threading.Lock()


def _run(place, *command):
    openssl = shutil.which("openssl")
    assert openssl, "openssl is not installed"
    subprocess.run([openssl, *command], cwd=place, check=True, capture_output=True)


def server_context(ask_client=False):
    """A server's context, which asks for a client's certificate if told so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder() / f"{NAME}.pem", folder() / f"{NAME}.key")
    if ask_client:
        context.load_verify_locations(folder() / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(version=None, named=False):
    """A client's context, of one version or of any, with alice's certificate if ``named``."""
    context = ssl.create_default_context(cafile=folder() / "ca.pem")
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if named:
        context.load_cert_chain(folder() / "alice.pem", folder() / "alice.key")
    return context
